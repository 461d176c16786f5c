"""Going through bytes from their begin to their end: all of them at once where they are mapped, else part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from headrace.io.source import ByteSource

__all__ = ["FileView", "read_through", "records_at_once", "views"]

_BYTES = 1 << 24
_AT_ONCE = 1 << 28  # bytes of a mapped file
_FIRST = 64  # records, as long as their size is not known


class FileView:
    """The part of a file that is in sight.

    Args:
        read: gives the bytes at an offset, as many as are asked for but at the end of the file. Offsets
            only rise.
        data: what is in sight at first; None to read it.
        most: how large it may become, in bytes; None for any size.

    Attributes:
        data: the bytes.
        start: where in the file they begin.
        position: how far in them one is.
        most: how large it may become.
    """

    def __init__(
        self,
        read: Callable[[int, int], NDArray[np.uint8]],
        data: NDArray[np.uint8] | None = None,
        most: int | None = None,
    ) -> None:
        self._read = read
        self.most = most
        self._length = self._bounded(_BYTES)
        self._is_last = data is not None
        self.start = self.position = 0
        self.data = self._load() if data is None else data

    def move_to(self, position: int) -> None:
        """Go on to a position in the view, or behind it."""
        self.position = position

    @property
    def ended(self) -> bool:
        """Whether this is the end of the file."""
        return self._is_last and self.position >= len(self.data)

    @property
    def is_full(self) -> bool:
        """Whether the view begins here, and may not be enlarged."""
        return self.most is not None and self.position == 0 and len(self.data) >= self.most

    def more(self) -> bool:
        """Move the view so that it begins here; if it does already, enlarge it. False at the end of the file."""
        if self._is_last:
            return False
        self._length = self._bounded(self._length * 2 if self.position == 0 else _BYTES)
        self.start, self.position = self.start + self.position, 0
        self.data = self._load()
        return True

    def _bounded(self, length: int) -> int:
        return length if self.most is None else min(length, self.most)

    def _load(self) -> NDArray[np.uint8]:
        data = self._read(self.start, self._length)
        self._is_last = len(data) < self._length
        return data


def views(source: ByteSource) -> Iterator[FileView]:
    """Return one view of a file, again and again until one has come to its end."""
    size = source.identity.size

    def read(start: int, length: int) -> NDArray[np.uint8]:
        return source.read(min(start, size), max(min(length, size - start), 0))

    return read_through(FileView(read, source.view()))


def read_through(view: FileView) -> Iterator[FileView]:
    """Yield the view, again and again until one has come to the end."""
    while not view.ended:
        yield view


def records_at_once(most: int, count: int, position: int) -> int:
    """Return how many records to look for at once, so that progress is shown and Ctrl-C is noticed now and then.

    Args:
        most: how many there may be.
        count: how many there were so far.
        position: in how many bytes.

    >>> records_at_once(1000, 10, 10 * 2**24), records_at_once(1000, 0, 0)
    (16, 64)
    """
    return min(max(_AT_ONCE * count // max(position, 1), 1) if count else _FIRST, most)
