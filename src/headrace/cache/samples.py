"""Samples in a store, as samples and as batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.batch.arena import empty
from headrace.batch.collate import default_collate, join_numbers
from headrace.cache.layout import Container, Field, Layout, decode, encode
from headrace.cache.store import HEAD, UNIT, StoredBytes
from headrace.cache.unbatch import unbatch
from headrace.errors import CacheError
from headrace.pipeline.read_plan import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.cache.store import SampleStore

__all__ = ["CachedSamples"]


class CachedSamples:
    """The samples of a store.

    Args:
        store: where their bytes are.
        pickles: whether what has no bytes of its own may be pickled.
    """

    def __init__(self, store: SampleStore, *, pickles: bool) -> None:
        self.store = store
        self._pickles = pickles
        self._known: Layout | None = None

    @property
    def knows_samples(self) -> bool:
        """Whether it is known what samples are like."""
        return self._known is not None or self.store.nbytes > 0

    def check(self) -> None:
        """Raise CacheError if there are samples, and it cannot be told what they are like."""
        if self.knows_samples:
            _ = self._layout

    def learn(self, sample: Any) -> None:
        """Take the samples to be like this one, unless it is known what they are like."""
        if self._known is None:
            self._known = _row_layout(self.store.describe(Layout.describe(sample)))

    def unbatch(self, batch: Any, count: int) -> list[Any] | None:
        """Return the samples that a batch was made of; None if they are unlike the one that is known."""
        return unbatch(batch, self._layout, count)

    def keep(self, indices: NDArray[np.int64], samples: Sequence[Any]) -> tuple[NDArray[np.int64], int]:
        """Keep samples, as far as there is room.

        Args:
            indices: their numbers, all different.
            samples: the samples.

        Returns:
            Their entries in the store, 0 for those that are not kept; and how many bytes have been added.

        Raises:
            CacheError: one of them has no bytes of its own, and may not, or cannot, be pickled.
        """
        self.learn(samples[0])
        if self.store.room < self._layout.nbytes:
            return np.zeros(len(indices), np.int64), 0
        return self.store.add(indices, [self._bytes(sample) for sample in samples])

    def read(self, entry: int) -> Any:
        """Return the sample of an entry, in memory of its own."""
        content = self.store.read(entry)
        if entry < 0:
            return decode(content, pickles=self._pickles)
        return self._layout.read(bytearray(content[: self._layout.nbytes]), self._rest(content))

    def batch(
        self, indices: NDArray[np.int64], entries: NDArray[np.int64], given: tuple[Field, Any] | None = None
    ) -> Any:
        """Return the batch of samples that are rows.

        Args:
            indices: their numbers, for the texts of errors.
            entries: where they are, all positive.
            given: a field, and what the batch has in its place.
        """
        rests = [self._rest(self.store.read(entry)) for entry in entries.tolist()] if self._layout.rests else []
        columns = iter(list(zip(*rests, strict=True)))

        def make(part: Any) -> Any:
            if given is not None and part is given[0]:
                return given[1]
            if isinstance(part, Field):
                return self._gather(part, entries)
            return default_collate(next(columns) if part is ... else [None] * len(indices), indices)

        return join_numbers(self._layout.rebuild(make))

    def has_room(self, count: int) -> bool:
        """Return whether so many more rows can be kept."""
        return count == 0 or self.store.room >= count * (HEAD.size + self._layout.nbytes + UNIT)

    def has_array(self, field: int | str | None) -> bool:
        """Return whether it is known that samples have an array there."""
        return bool(self.store.nbytes) and self._field(field) is not None

    def rows(self, indices: NDArray[np.int64], entries: NDArray[np.int64], field: int | str | None) -> Rows | None:
        """Return the rows of a field of samples that are rows; None if it is no array.

        Args:
            indices: the samples' numbers, for the texts of errors.
            entries: where they are, all positive.
            field: a position or a key in the sample; None for all of it.
        """
        found = self._field(field)
        if found is None:
            return None
        return Rows(
            self._column(found, entries),
            entries,
            found.wrap,
            lambda value: self.batch(indices, entries, (found, value)),
        )

    @property
    def _layout(self) -> Layout:
        """The layout of all rows; there is one as soon as anything is kept."""
        if self._known is None:
            self._known = _row_layout(self.store.describe(""))
        return self._known

    def _bytes(self, sample: Any) -> StoredBytes:
        taken = self._layout.take_apart(sample)
        if taken is None:
            return StoredBytes(encode(sample, pickles=self._pickles), row=False)
        row, rest = taken
        return StoredBytes([*row, *encode(rest, pickles=self._pickles)] if self._layout.rests else row, row=True)

    def _rest(self, content: NDArray[np.uint8]) -> list[Any]:
        """Return the parts of a sample that follow its row."""
        if not self._layout.rests:
            return []
        rest: Any = decode(content[self._layout.nbytes :], pickles=self._pickles)
        if not isinstance(rest, list) or len(rest) != self._layout.rests:
            raise CacheError(f"a cache is damaged: a sample has {rest!r} for {self._layout.rests} parts; delete it")
        return list(rest)

    def _gather(self, field: Field, entries: NDArray[np.int64]) -> Any:
        column = self._column(field, entries)
        out = empty((len(entries), *field.shape), field.dtype)
        kernels.active().gather(column, entries, out)
        return field.wrap(out)

    def _column(self, field: Field, entries: NDArray[np.int64]) -> NDArray[Any]:
        """Return the field as it were in a row at each unit of the store: those that overlap are not meant."""
        data = self.store.data(entries)
        start = HEAD.size + field.offset
        if HEAD.size + field.end > len(data):
            raise CacheError(f"a cache is damaged: its rows of {field.end} bytes are not in its {len(data)}; delete it")
        one = np.ndarray(field.shape, field.dtype, data, start)
        places = (len(data) - start - one.nbytes) // UNIT + 1
        return np.ndarray((places, *one.shape), one.dtype, data, start, (UNIT, *one.strides))

    def _field(self, key: int | str | None) -> Field | None:
        """Return the array at a position or key of the sample."""
        part = self._layout.root
        if key is not None:
            part = part.get(key) if isinstance(part, Container) else None
        return part if isinstance(part, Field) and part.is_array else None


def _row_layout(text: str) -> Layout:
    """Return the layout of rows, which hold no texts and no pickles: these follow behind them, for `decode`.

    Raises:
        CacheError: it is none.
    """
    layout = Layout(text)
    if any(field.kind in ("str", "bytes", "pickle") for field in layout.fields):
        raise CacheError(
            f"a cache is damaged, or was not written by headrace: its rows would hold pickles or texts, which no row "
            f"does, and a pickle could run any code; delete it ({text[:200]!r})"
        )
    return layout
