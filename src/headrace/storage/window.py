"""Going through a file from its begin to its end: all of it at once where it is mapped, else part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from headrace.storage.source import Source

__all__ = ["Window", "windows"]

_BYTES = 1 << 24


class Window:
    """The part of a file that is in sight.

    Attributes:
        data: its bytes.
        start: where in the file it begins.
        position: how far in it one is.
    """

    def __init__(self, source: Source) -> None:
        view = source.view()
        self._source = source
        self._size = source.identity.size
        self._length = self._size if view is not None else _BYTES
        self.start = self.position = 0
        self.data: NDArray[np.uint8] = source.read(0, min(_BYTES, self._size)) if view is None else view

    def move_to(self, position: int) -> None:
        """Go on to a position in the window, or behind it."""
        self.position = position

    @property
    def ended(self) -> bool:
        """Whether the end of the file is reached."""
        return self.start + self.position >= self._size

    def more(self) -> bool:
        """Move the window so that it begins here; if it does already, make it larger. False at the end of the file."""
        if self.start + len(self.data) >= self._size:
            return False
        self._length = self._length * 2 if self.position == 0 else _BYTES
        self.start, self.position = self.start + self.position, 0
        self.data = self._source.read(self.start, min(self._length, self._size - self.start))
        return True


def windows(source: Source) -> Iterator[Window]:
    """One window, again and again until one has come to the end of the file."""
    window = Window(source)
    while not window.ended:
        yield window
