"""Flattening: the sequences of a batch end to end in one row, with where each begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["FlattenCollate"]

_MADE_ANEW = frozenset(("input_ids", "labels", "position_ids", "attention_mask"))


class FlattenCollate:
    """Makes one row of all sequences of a batch, without padding: pass it as a loader's `collate_fn`.

    It gives the fields of transformers' `DataCollatorWithFlattening`, for models whose attention takes sequences of
    different lengths. Samples are dicts with "input_ids"; "labels" are the tokens where samples have none, and other
    fields are put end to end alike. The rows of `dataset.pack_sequences` are taken apart again where their
    "position_ids" begin anew; each token of their padding is a sequence of its own.

    Args:
        return_position_ids: add "position_ids", int64, shape (1, tokens).
        return_flash_attn_kwargs: add "cu_seq_lens_q" and "cu_seq_lens_k", where sequences begin and the last one ends,
            int32, shape (sequences + 1,), and "max_length_q" and "max_length_k", the longest, as an int.
        return_seq_idx: add "seq_idx", int32, shape (1, tokens): the number of each token's sequence.
        separator_id: the label of the first token of each sequence, which has nothing before it.

    >>> FlattenCollate(return_seq_idx=True)([{"input_ids": [1, 2, 3]}, {"input_ids": [4, 5]}])
    {'input_ids': array([[1, 2, 3, 4, 5]]), 'labels': array([[-100,    2,    3, -100,    5]]), \
'position_ids': array([[0, 1, 2, 0, 1]]), 'seq_idx': array([[0, 0, 0, 1, 1]], dtype=int32)}
    """

    def __init__(
        self,
        *,
        return_position_ids: bool = True,
        return_flash_attn_kwargs: bool = False,
        return_seq_idx: bool = False,
        separator_id: int = -100,
    ) -> None:
        self.return_position_ids = return_position_ids
        self.return_flash_attn_kwargs = return_flash_attn_kwargs
        self.return_seq_idx = return_seq_idx
        self.separator_id = separator_id

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the batch of the samples, at least one."""
        if not samples or "input_ids" not in samples[0]:
            raise ArgumentError(f"FlattenCollate needs samples with a field 'input_ids', got {list(samples)!r:.80}")
        samples = [sample for sample in samples if len(sample["input_ids"])] or samples[:1]
        like = samples[0]["input_ids"]
        adapter = frameworks.find(like)

        def in_a_row(values: NDArray[Any]) -> Any:
            row = values[np.newaxis]
            return row if adapter is None else adapter.from_numpy(row, like)

        tokens = _joined(samples, "input_ids")
        begins = _begins(samples)
        labels = (_joined(samples, "labels") if "labels" in samples[0] else tokens).copy()
        labels[begins] = self.separator_id
        lengths = np.diff(begins, append=len(tokens))
        batch = {"input_ids": in_a_row(tokens), "labels": in_a_row(labels)}
        if self.return_position_ids:
            batch["position_ids"] = in_a_row(np.arange(len(tokens)) - np.repeat(begins, lengths))
        batch |= {name: in_a_row(_joined(samples, name)) for name in samples[0] if name not in _MADE_ANEW}
        if self.return_flash_attn_kwargs:
            ends = np.append(begins, len(tokens)).astype(np.int32)
            wrapped = ends if adapter is None else adapter.from_numpy(ends, like)
            longest = int(lengths.max(initial=0))
            batch |= {"cu_seq_lens_q": wrapped, "cu_seq_lens_k": wrapped}
            batch |= {"max_length_q": longest, "max_length_k": longest}
        if self.return_seq_idx:
            batch["seq_idx"] = in_a_row(np.repeat(np.arange(len(begins), dtype=np.int32), lengths))
        return batch


def _joined(samples: Sequence[Mapping[str, Any]], name: str) -> NDArray[Any]:
    arrays = [_array(sample[name]) for sample in samples]
    return np.concatenate(arrays, dtype=np.int64) if name in _MADE_ANEW else np.concatenate(arrays)


def _begins(samples: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    """Return the places where sequences begin."""
    if "position_ids" in samples[0]:
        return np.flatnonzero(_joined(samples, "position_ids") == 0)
    lengths = [len(sample["input_ids"]) for sample in samples]
    return np.cumsum([0, *lengths[:-1]])


def _array(value: Any) -> NDArray[Any]:
    adapter = frameworks.find(value)
    array = None if adapter is None else adapter.to_numpy(value)
    return np.asarray(value) if array is None else array
