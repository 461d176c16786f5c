"""Progress of what takes long: a line on stderr."""

from __future__ import annotations

import math
import sys
from time import monotonic
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Progress"]

_PATIENCE = 2.0  # seconds before the first line
_BETWEEN = 0.1  # seconds between two lines


class Progress:
    r"""A line on stderr that says how far it is, written over and over; each call shows it if it is time to.

    Args:
        text: gives the line.
        wanted: whether to show it, from the first call on; None for after two seconds, where stderr is a
            terminal.

    >>> with Progress(lambda: "half of it done", wanted=False) as show:
    ...     show()
    """

    def __init__(self, text: Callable[[], str], *, wanted: bool | None = None) -> None:
        # Python has no stderr in a program without a console
        terminal = sys.stderr is not None and sys.stderr.isatty()
        shown = terminal if wanted is None else wanted and sys.stderr is not None
        self._text = text
        self._due = monotonic() + (_PATIENCE if wanted is None else 0) if shown else math.inf
        self._longest = 0

    def __enter__(self) -> Self:
        return self

    def __call__(self) -> None:
        """Show how far it is, if it is time to."""
        if monotonic() < self._due:
            return
        self._due = monotonic() + _BETWEEN
        line = f"headrace: {self._text()}"
        sys.stderr.write(f"\r{line.ljust(self._longest)}")
        sys.stderr.flush()
        self._longest = max(self._longest, len(line))

    def __exit__(self, *_: object) -> None:
        if self._longest:
            sys.stderr.write("\n")
