"""The order in which Megatron-LM's GPTDataset goes through sequences, made from their lengths and a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GPTOrder", "gpt_order"]

_SEPARATE_BELOW = 0.80  # of an epoch: a last one of which fewer samples are taken is shuffled by itself


class GPTOrder(NamedTuple):
    """The three tables that Megatron caches.

    Attributes:
        documents: the sequences in the order in which they are read, int32 of shape (epochs * n,).
        bounds: for each sample but the last bound the place among `documents` and the token there with which it
            begins, int64 of shape (samples + 1, 2).
        samples: the samples in their order, int64 of shape (samples,).
    """

    documents: NDArray[np.int32]
    bounds: NDArray[np.int64]
    samples: NDArray[np.int64]


def gpt_order(
    lengths: NDArray[np.int64], length: int, *, first: int = 0, samples: int | None = None, seed: int = 1234
) -> GPTOrder:
    """Return the order of `megatron.core.datasets.gpt_dataset.GPTDataset`.

    Args:
        lengths: tokens of the sequences that are read, shape (n,).
        length: of a sample; it has one token more, which is the first of the next.
        first: the number of the first of these sequences.
        samples: how many there are to be at least; None for one epoch.
        seed: of its generator.

    Raises:
        ArgumentError: there are not enough tokens for a sample.

    >>> gpt_order(np.array([5, 1, 6]), 4).bounds.tolist()
    [[0, 0], [0, 4], [2, 2]]
    """
    per_epoch = int(lengths.sum())
    if per_epoch <= length and (samples is None or not per_epoch):
        raise ArgumentError(f"a sample of length={length} takes {length + 1} tokens, but there are {per_epoch}")
    epochs = 1 if samples is None else max(1, -(-(samples * length + 1) // per_epoch))
    before = ((epochs - 1) * per_epoch - 1) // length
    is_apart = epochs > 1 and samples is not None and _is_separate(samples - before, (per_epoch - 1) // length)
    numbers = np.arange(first, first + len(lengths), dtype=np.int32)
    random = np.random.RandomState(seed)  # Megatron's
    documents = _shuffled([np.tile(numbers, epochs - 1), numbers] if is_apart else [np.tile(numbers, epochs)], random)
    bounds = _bounds(lengths[documents - first], length)
    count = len(bounds) - 1
    parts = [(0, before), (before, count)] if is_apart else [(0, count)]
    return GPTOrder(documents, bounds, _shuffled([_arange(*part, count) for part in parts], random).astype(np.int64))


def _is_separate(last: int, per_epoch: int) -> bool:
    return last < int(_SEPARATE_BELOW * per_epoch)


def _arange(start: int, stop: int, count: int) -> NDArray[Any]:
    return np.arange(start, stop, dtype=np.uint32 if count < 2**32 - 2 else np.int64)


def _shuffled(parts: list[NDArray[Any]], random: np.random.RandomState) -> NDArray[Any]:
    for part in parts:
        random.shuffle(part)
    return np.concatenate(parts)


def _bounds(lengths: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return where samples begin: token k * length lies in the first sequence that has the token behind it as well."""
    ends = np.cumsum(lengths)
    places = np.arange((int(ends[-1]) - 1) // length + 1) * length
    sequences = np.searchsorted(ends, places + 1)
    return np.stack([sequences, places - (ends - lengths)[sequences]], 1)
