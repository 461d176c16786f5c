"""Arrow's arrays as fields of samples and batches.

Numbers without nulls are seen where Arrow has them, and copied once, into the batch. What a sample has where a value is
null is None; no batch has nulls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

import numpy as np

from headrace import kernels
from headrace.batch.arena import empty
from headrace.batch.collate import default_collate
from headrace.batch.ragged import Ragged
from headrace.batch.rows import gather_rows
from headrace.errors import ArgumentError, CorruptDataError, MixedSamplesError, RaggedSamplesError
from headrace.kernels.scans import RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from headrace.kernels.checks import GatherShards
    from headrace.kernels.scans import SliceRecords

__all__ = [
    "BinaryColumn",
    "ColumnParts",
    "DecodedColumn",
    "FixedSizeColumn",
    "NestedColumn",
    "ObjectColumn",
    "RaggedColumn",
    "StructColumn",
    "TextColumn",
    "Wanted",
]

_TABLED = 1 << 18  # rows: tables of them take 6 megabytes


@dataclass(frozen=True)
class Wanted:
    """Some rows of columns, and what errors tell of them.

    Attributes:
        name: of the field.
        which: the place of each row's column, shape (n,), int64.
        rows: which of its rows, shape (n,), int64.
        indices: their indices in the dataset, shape (n,), int64.
    """

    name: str
    which: NDArray[np.int64]
    rows: NDArray[np.int64]
    indices: NDArray[np.int64]

    def field(self, name: str) -> Wanted:
        """Return the same rows of a field inside of this one."""
        return Wanted(f"{self.name}.{name}", self.which, self.rows, self.indices)


C = TypeVar("C", bound="DecodedColumn")


class ColumnParts(tuple[C, ...], Generic[C]):
    """One column of several record batches, with the kernels that gather batches of it."""

    @cached_property
    def are_alike(self) -> bool:
        """Whether the parts are of one class: some lists may have nulls in them, and others not."""
        return len(set(map(type, self))) == 1

    @cached_property
    def have_nulls(self) -> bool:
        """Whether a row of any part is null."""
        return any(part.nulls is not None for part in self)

    @cached_property
    def fields(self) -> dict[str, ColumnParts[Any]]:
        """The fields of structs."""
        structs: Any = self
        return {name: ColumnParts(struct.fields[name] for struct in structs) for name in structs[0].fields}

    @cached_property
    def gather_rows(self) -> GatherShards | None:
        """The kernel that gathers rows of fixed size; None where one part needs nothing, or rows are objects."""
        arrays = [part.array for part in cast("ColumnParts[FixedSizeColumn]", self)]
        if len(arrays) == 1 or arrays[0].dtype.hasobject:
            return None
        return kernels.active().prepare_gather_shards(arrays)

    @cached_property
    def slice_rows(self) -> SliceRecords | None:
        """The kernel that makes bytes objects of rows; None where their table would take more than it saves."""
        parts = cast("ColumnParts[BinaryColumn]", self)
        if sum(len(part.offsets) for part in parts) > _TABLED:
            return None
        return kernels.active().prepare_slices([part.content for part in parts], [part.table for part in parts])


class DecodedColumn(ABC):
    """One column of a record batch.

    Attributes:
        nulls: which rows are null, shape (n,), bool; None where none is.
    """

    nulls: NDArray[np.bool_] | None = None

    def row(self, row: int) -> Any:
        """Return the value of a row, as a sample has it."""
        return None if self.nulls is not None and self.nulls[row] else self._row(row)

    @classmethod
    def gather(cls, columns: Sequence[DecodedColumn], wanted: Wanted) -> Any:
        """Gather some rows of several columns into a batch.

        Raises:
            MixedSamplesError: a value is null, or has no batch.
            RaggedSamplesError: lists differ in length.
            CorruptDataError: bytes are not the text that they should be, or lie outside of the column.
        """
        parts = columns if isinstance(columns, ColumnParts) else ColumnParts(columns)
        if parts.have_nulls:
            _refuse_nulls(parts, wanted)
        if not parts.are_alike:
            return _collate(parts, wanted)
        try:
            return parts[0]._gather(parts, wanted)  # noqa: SLF001 - of a derived class
        except ArgumentError as error:
            raise CorruptDataError(f"column {wanted.name!r} is damaged: {error}") from error

    @classmethod
    def gather_ragged(cls, parts: ColumnParts[Any], wanted: Wanted) -> Any:
        """Gather the same with lists that differ in length as Ragged; None where a value is null, or has no batch."""
        if parts.have_nulls or not parts.are_alike:
            return None
        try:
            return parts[0]._gather_ragged(parts, wanted)  # noqa: SLF001 - of a derived class
        except ArgumentError as error:
            raise CorruptDataError(f"column {wanted.name!r} is damaged: {error}") from error

    @classmethod
    def _gather_ragged(cls, columns: ColumnParts[Self], wanted: Wanted) -> Any:  # noqa: ARG003 - of those that can
        return None

    def row_lengths(self) -> NDArray[np.int64] | None:
        """Return how many items the list in each row has; None where a row is null, or none is known to be a list."""
        return None if self.nulls is not None else self._row_lengths()

    def _row_lengths(self) -> NDArray[np.int64] | None:
        return None

    @abstractmethod
    def _row(self, row: int) -> Any:
        """Return the value of a row that is not null."""

    @classmethod
    @abstractmethod
    def _gather(cls, columns: ColumnParts[Self], wanted: Wanted) -> Any:
        """Gather rows that are not null; the columns are all of this class."""


class FixedSizeColumn(DecodedColumn):
    """Values of one size, and lists of them that all have one length: rows of an array."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def _row(self, row: int) -> Any:
        return self.array[row]

    def _row_lengths(self) -> NDArray[np.int64] | None:
        return np.full(len(self.array), self.array.shape[1]) if self.array.ndim > 1 else None

    @classmethod
    def _gather(cls, columns: ColumnParts[Self], wanted: Wanted) -> Any:
        return gather_rows([column.array for column in columns], wanted.which, wanted.rows, columns.gather_rows)

    @classmethod
    def _gather_ragged(cls, columns: ColumnParts[Self], wanted: Wanted) -> Any:
        return cls._gather(columns, wanted)


class RaggedColumn(DecodedColumn):
    """Lists of any length, whose items are rows of an array: a row is an array."""

    def __init__(self, items: NDArray[Any], offsets: NDArray[Any]) -> None:
        self.items = items
        self.offsets = offsets

    def _row(self, row: int) -> Any:
        start, stop = self.offsets[row : row + 2].tolist()
        return self.items[start:stop]

    def _row_lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets).astype(np.int64, copy=False)

    @classmethod
    def _gather(cls, columns: ColumnParts[Self], wanted: Wanted) -> Any:
        starts, lengths = _ranges([column.offsets for column in columns], wanted)
        if len(set(lengths.tolist())) > 1:
            return _collate(columns, wanted)
        length = int(lengths[0]) if len(lengths) else 0
        out = cls._end_to_end(columns, wanted, starts, lengths)
        return out.reshape(len(starts), length, *out.shape[1:])

    @classmethod
    def _gather_ragged(cls, columns: ColumnParts[Self], wanted: Wanted) -> Ragged | None:
        if columns[0].items.ndim > 1:  # the lists in which may differ or not, which makes a difference
            return None
        starts, lengths = _ranges([column.offsets for column in columns], wanted)
        return Ragged(cls._end_to_end(columns, wanted, starts, lengths), lengths)

    @classmethod
    def _end_to_end(
        cls, columns: ColumnParts[Self], wanted: Wanted, starts: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[Any]:
        """Return the items of lists, given where these start and how many they have."""
        items = columns[0].items
        out = empty((int(lengths.sum()), *items.shape[1:]), items.dtype)
        if out.nbytes:
            width = out.nbytes // len(out)
            sources = [column.items.reshape(-1).view(np.uint8) for column in columns]
            kernels.active().gather_ranges(
                sources, wanted.which, starts * width, lengths * width, out.reshape(-1).view(np.uint8)
            )
        return out


class NestedColumn(DecodedColumn):
    """Lists of lists: a row is an array where the lists in it are of one length, else a list of arrays."""

    def __init__(self, items: DecodedColumn, offsets: NDArray[Any], empty: NDArray[Any]) -> None:
        self.items = items
        self.offsets = offsets
        self.empty = empty  # what a row without items is

    def _row(self, row: int) -> Any:
        start, stop = self.offsets[row : row + 2].tolist()
        items = [self.items.row(place) for place in range(start, stop)]
        are_alike = all(isinstance(item, np.ndarray) and item.shape == items[0].shape for item in items)
        return (np.stack(items) if items else self.empty) if are_alike else items

    def _row_lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets).astype(np.int64, copy=False)

    @classmethod
    def _gather(cls, columns: ColumnParts[Self], wanted: Wanted) -> Any:
        starts, lengths = _ranges([column.offsets for column in columns], wanted)
        items = Wanted(
            wanted.name,
            np.repeat(wanted.which, lengths),
            np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum()),
            np.repeat(wanted.indices, lengths),
        )
        if len(set(lengths.tolist())) > 1 or not len(items.rows):
            return _collate(columns, wanted)
        try:
            batch = DecodedColumn.gather([column.items for column in columns], items)
        except RaggedSamplesError:  # which is no error of a batch if the same lists differ in all samples
            return _collate(columns, wanted)
        if not isinstance(batch, np.ndarray):
            return _collate(columns, wanted)
        return batch.reshape(len(starts), lengths[0], *batch.shape[1:])


class BinaryColumn(DecodedColumn):
    """Values of any length: a row is bytes."""

    def __init__(self, content: NDArray[np.uint8], offsets: NDArray[Any]) -> None:
        self.content = content
        self.offsets = offsets

    @cached_property
    def table(self) -> NDArray[Any]:
        """The places of the rows in the content, RECORD, shape (n,)."""
        table = np.zeros(len(self.offsets) - 1, RECORD)
        table["offset"] = self.offsets[:-1]
        np.subtract(self.offsets[1:], self.offsets[:-1], out=table["length"], dtype=np.int64)
        return table

    def _row(self, row: int) -> Any:
        start, stop = self.offsets[row : row + 2].tolist()
        return self.content[start:stop].tobytes()

    @classmethod
    def _gather(cls, columns: ColumnParts[Self], wanted: Wanted) -> Any:
        if columns.slice_rows is not None:
            return columns.slice_rows(wanted.which, wanted.rows, verify=False)[0]
        starts, lengths = _ranges([column.offsets for column in columns], wanted)
        return kernels.active().slice_ranges([column.content for column in columns], wanted.which, starts, lengths)

    @classmethod
    def _gather_ragged(cls, columns: ColumnParts[Self], wanted: Wanted) -> Any:
        return cls._gather(columns, wanted)


class TextColumn(BinaryColumn):
    """The same of text: a row is a string."""

    def _row(self, row: int) -> Any:
        return str(super()._row(row), "utf-8")

    @classmethod
    def _gather(cls, columns: ColumnParts[Self], wanted: Wanted) -> Any:
        texts = super()._gather(columns, wanted)
        try:
            return list(map(bytes.decode, texts))
        except UnicodeDecodeError as error:
            bad = texts.index(error.object)
            raise CorruptDataError(
                f"column {wanted.name!r} should be text, but in sample {wanted.indices[bad]} it is not UTF-8: {error}"
            ) from error


class StructColumn(DecodedColumn):
    """Several columns under one name: a row is a dict."""

    def __init__(self, fields: Mapping[str, DecodedColumn]) -> None:
        self.fields = fields

    def _row(self, row: int) -> Any:
        return {name: field.row(row) for name, field in self.fields.items()}

    @classmethod
    def _gather(cls, columns: ColumnParts[Self], wanted: Wanted) -> Any:
        return {name: DecodedColumn.gather(parts, wanted.field(name)) for name, parts in columns.fields.items()}


class ObjectColumn(DecodedColumn):
    """Anything else: a row is what Arrow makes of it for Python."""

    def __init__(self, array: pa.Array) -> None:
        self.array = array

    def _row(self, row: int) -> Any:
        return self.array[row].as_py()

    @classmethod
    def _gather(cls, columns: ColumnParts[Self], wanted: Wanted) -> Any:
        return _collate(columns, wanted)


def _ranges(offsets: Sequence[NDArray[Any]], wanted: Wanted) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the starts and the lengths of the wanted rows."""
    if len({array.dtype for array in offsets}) > 1:
        offsets = [array.astype(np.int64, copy=False) for array in offsets]
    starts = gather_rows(offsets, wanted.which, wanted.rows).astype(np.int64, copy=False)
    stops = gather_rows(offsets, wanted.which, wanted.rows + 1).astype(np.int64, copy=False)
    return starts, stops - starts


def _collate(columns: Sequence[DecodedColumn], wanted: Wanted) -> Any:
    """Collate the rows as samples; errors name the field."""
    if not len(wanted.rows):
        return []
    rows = zip(wanted.which.tolist(), wanted.rows.tolist(), strict=True)
    samples = [{wanted.name: columns[number].row(row)} for number, row in rows]
    return default_collate(samples, wanted.indices)[wanted.name]


def _refuse_nulls(columns: Sequence[DecodedColumn], wanted: Wanted) -> None:
    for number, column in enumerate(columns):
        if column.nulls is None:
            continue
        here = np.flatnonzero(wanted.which == number)
        bad = here[column.nulls[wanted.rows[here]]]
        if len(bad):
            raise MixedSamplesError(
                f"column {wanted.name!r} is null in sample {wanted.indices[bad[0]]}, and a batch has no nulls; leave "
                "it out with columns=[...], fill it before (pyarrow.compute.fill_null), or give samples a value in "
                "place of None with dataset.map(...)"
            )
