"""Sequences packed into rows of one length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.packed import STYLES
from headrace.datasets.composed import ComposedDataset
from headrace.datasets.lengths import sequence_lengths
from headrace.datasets.tables import as_dataset
from headrace.errors import ArgumentError
from headrace.pipeline.blocks import checked_lengths
from headrace.pipeline.describe import describe
from headrace.pipeline.nodes import Node, Packing
from headrace.pipeline.packed import PackedStyle
from headrace.sampling.packing import pack_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from headrace.pipeline.reading import Indexable

__all__ = ["PackedDataset"]

_STRATEGIES = ("best_fit", "first_fit", "best_fit_split", "wrapped")
_OVERFLOWS = ("truncate", "split", "drop", "error")
_INTEGERS = {"length": (1, 2**24 - 1), "window": (1, 2**31 - 1), "max_sequences": (1, 2**31 - 1)}
_INTEGERS |= dict.fromkeys(("bos", "padding_value"), (-(2**63), 2**63 - 1))


class PackedDataset(ComposedDataset[Any]):
    """Rows that the sequences of a dataset share; `Dataset.pack_sequences` makes it and has its arguments.

    Args:
        dataset: any object with `__len__` and `__getitem__`, or a table, whose samples are sequences.
        length: items a row.
        **given: the other arguments of `Dataset.pack_sequences`.
    """

    made_of = ("dataset", "table", "style")
    keeps_slots = True

    def __init__(
        self,
        dataset: Indexable[Any],
        length: int,
        *,
        strategy: str,
        style: str,
        window: int,
        max_sequences: int | None,
        overflow: str,
        bos: int | None,
        padding_value: int,
        field: int | str | None,
        lengths: ArrayLike | None,
    ) -> None:
        _check_choice("strategy", strategy, _STRATEGIES)
        _check_choice("style", style, tuple(STYLES))
        _check_choice("overflow", overflow, _OVERFLOWS)
        optional = {"max_sequences": max_sequences, "bos": bos}
        _check_integers(length=length, window=window, padding_value=padding_value)
        _check_integers(**{name: value for name, value in optional.items() if value is not None})
        if strategy == "wrapped" and max_sequences is not None:
            raise ArgumentError(
                "strategy='wrapped' fills rows end to end, whatever number of sequences that takes, but got "
                f"max_sequences={max_sequences}; leave it out, or take another strategy"
            )
        self.dataset = as_dataset(dataset)
        self.style = PackedStyle(length, style, bos, padding_value, field)
        if lengths is None:
            found = sequence_lengths(self.dataset, field)
        else:
            found = checked_lengths(self.dataset, lengths, "pack_sequences got lengths =")
        taken = np.maximum(found + self.style.change, 0) * (found > 0)
        self.table = pack_rows(taken, length, strategy=strategy, window=window, most=max_sequences, overflow=overflow)

    def __len__(self) -> int:
        return len(self.table)

    def node(self) -> Node:
        """Return the description of the dataset."""
        return Packing(self, describe(self.dataset), self.table, self.style)

    def blocks(self) -> NDArray[np.int64]:
        """Return where the rows of each window begin, and the last ones end."""
        return self.table.blocks


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, allowed))}, but got {name}={value!r}")


def _check_integers(**given: Any) -> None:
    for name, value in given.items():
        low, high = _INTEGERS[name]
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
            raise ArgumentError(f"{name} must be an integer from {low} to {high}, but got {name}={value!r}")
