"""Batches of rows that several sequences share, with the fields that trainers know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import kernels
from headrace.batch.arena import empty

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["PackedRows", "Style"]

IGNORED = -100  # the label that losses leave out, as in torch


@dataclass(eq=False)
class PackedRows:
    """Sequences, and the rows that their pieces stand in.

    Attributes:
        rows: how many rows.
        length: items a row.
        values: the fields of the sequences by name, all sequences end to end and C-contiguous.
        tokens: the name of the tokens among them.
        starts: the first item of each piece among these, shape (pieces,), int64.
        lengths: its items.
        places: where it goes, row after row, rising.
        padding: the token of places that no sequence has.
        most: the pieces that a row may have.
    """

    rows: int
    length: int
    values: dict[str, NDArray[Any]]
    tokens: str
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    places: NDArray[np.int64]
    padding: int
    most: int

    def field(self, name: str, fill: Any, *, ahead: int = 0) -> NDArray[Any]:
        """Return a field of all rows, shape (rows, length, ...).

        Args:
            name: of the field.
            fill: what stands in the padding.
            ahead: by how many items the field runs ahead of the tokens.
        """
        return self._place(self.values[name], self.starts + ahead, fill)

    def labels(self, *, ahead: int = 0) -> NDArray[Any]:
        """Return the labels of all rows, which are the tokens unless the samples have some."""
        return self.field("labels" if "labels" in self.values else self.tokens, IGNORED, ahead=ahead)

    def inputs(self) -> NDArray[Any]:
        """Return the tokens of all rows."""
        return self.field(self.tokens, self.padding)

    def others(self, *, ahead: int = 0) -> dict[str, NDArray[Any]]:
        """Return the fields beside tokens and labels, with zeros in the padding."""
        names = [name for name in self.values if name not in (self.tokens, "labels")]
        return {name: self.field(name, 0, ahead=ahead) for name in names}

    def positions(self) -> NDArray[np.int64]:
        """Return the place of each item in its piece, shape (rows, length); 0 in the padding."""
        return self._place(self._counted(), self._begins, 0)

    def positions_that_go_on(self) -> NDArray[np.int64]:
        """Return the same with positions that count on in the padding."""
        found = np.broadcast_to(np.arange(self.length), (self.rows, self.length)).copy()
        last = np.zeros((self.rows, self.length), np.int64)  # where the piece begins
        last.reshape(-1)[self.places] = self.places % self.length
        return found - np.maximum.accumulate(last, axis=1)

    def segments(self) -> NDArray[np.int32]:
        """Return which piece of its row each item is of, from 1 on, shape (rows, length); 0 in the padding."""
        return self._place(np.repeat(self.numbers + 1, self.lengths).astype(np.int32), self._begins, 0)

    @property
    def row_of(self) -> NDArray[np.int64]:
        """The row of each piece."""
        return self.places // self.length

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The number of each piece in its row, from 0 on."""
        rows = self.row_of
        return np.arange(len(rows)) - np.searchsorted(rows, rows)

    @property
    def filled(self) -> NDArray[np.int64]:
        """The items of each row that are no padding, shape (rows,)."""
        return np.bincount(self.row_of, self.lengths, self.rows).astype(np.int64)

    @property
    def _begins(self) -> NDArray[np.int64]:
        return np.cumsum(self.lengths) - self.lengths

    def _counted(self) -> NDArray[np.int64]:
        return np.arange(int(self.lengths.sum())) - np.repeat(self._begins, self.lengths)

    def _place(self, values: NDArray[Any], starts: NDArray[np.int64], fill: Any) -> NDArray[Any]:
        item = values.shape[1:]
        out = empty((self.rows * self.length, *item), values.dtype)
        kernels.active().place_pieces(values, starts, self.lengths, self.places, fill, out)
        return out.reshape(self.rows, self.length, *item)


def _hugging_face(packed: PackedRows) -> dict[str, Any]:
    labels = packed.labels()
    labels.reshape(-1)[packed.places] = IGNORED
    return {
        "input_ids": packed.inputs(),
        "labels": labels,
        "position_ids": packed.positions(),
        **packed.others(),
    }


def _torchtitan(packed: PackedRows) -> tuple[dict[str, Any], NDArray[Any]]:
    inputs = {
        "input": packed.inputs(),
        "positions": packed.positions(),
        **packed.others(ahead=1),
    }
    return inputs, packed.labels(ahead=1)


def _megatron(packed: PackedRows) -> dict[str, Any]:
    labels = packed.labels(ahead=1)
    others = packed.others(ahead=1)
    mask = labels != IGNORED
    ends = np.full((packed.rows, packed.length + 1), packed.length, np.int32)
    ends[packed.row_of, packed.numbers] = packed.places % packed.length  # padding is part of the last one
    return {
        "tokens": packed.inputs(),
        "labels": labels,
        "loss_mask": (mask * others.pop("loss_mask", 1)).astype(np.float32),
        "position_ids": packed.positions_that_go_on(),
        "cu_seqlens": ends,
        "max_seqlen": np.diff(ends, axis=1).max(axis=1),
        **others,
    }


def _grain(packed: PackedRows) -> dict[str, Any]:
    segments, positions = packed.segments(), packed.positions().astype(np.int32)
    batch: dict[str, Any] = {}
    for name in packed.values:
        batch[name] = packed.field(name, packed.padding if name == packed.tokens else 0)
        batch[f"{name}_positions"], batch[f"{name}_segment_ids"] = positions, segments
    return batch


def _maxtext(packed: PackedRows) -> dict[str, Any]:
    inputs, segments = packed.inputs(), packed.segments()
    positions = packed.positions().astype(np.int32)
    targets, target_segments = _shifted(inputs, packed.padding), _shifted(segments, 0)
    target_segments[targets == packed.padding] = 0
    return {
        "inputs": inputs,
        "targets": targets,
        "inputs_segmentation": segments,
        "targets_segmentation": target_segments,
        "inputs_position": positions,
        "targets_position": positions,
        **packed.others(),
    }


def _shifted(rows: NDArray[Any], fill: int) -> NDArray[Any]:
    """Return rows moved to the left by one item."""
    moved = np.full_like(rows, fill)
    moved[:, :-1] = rows[:, 1:]
    return moved


def _torchtune(packed: PackedRows) -> dict[str, Any]:
    lengths = np.zeros((packed.rows, packed.most + 1), np.int64)
    lengths[packed.row_of, packed.numbers] = packed.lengths
    lengths[np.arange(packed.rows), np.bincount(packed.row_of, minlength=packed.rows)] = packed.length - packed.filled
    return {
        "tokens": packed.inputs(),
        "labels": packed.labels(ahead=1),
        "input_pos": packed.positions_that_go_on(),
        "seq_lens": lengths,
        **packed.others(ahead=1),
    }


class Style(NamedTuple):
    """The fields of a trainer.

    Attributes:
        make: makes a batch of rows.
        ahead: by how many items labels run ahead of the tokens: a sequence has so many items less.
    """

    make: Callable[[PackedRows], Any]
    ahead: int = 0


STYLES = {
    "hf": Style(_hugging_face),
    "torchtitan": Style(_torchtitan, ahead=1),
    "megatron": Style(_megatron, ahead=1),
    "grain": Style(_grain),
    "maxtext": Style(_maxtext),
    "torchtune": Style(_torchtune, ahead=1),
}
