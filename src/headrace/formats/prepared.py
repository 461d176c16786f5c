"""Functions that kernels prepared for the files of the last batch, which serve the next one of the same files."""

from __future__ import annotations

import operator
from itertools import chain
from typing import TYPE_CHECKING, Any

from headrace import kernels
from headrace.io.disk import open_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["LastPrepared"]


class LastPrepared:
    """The function that a kernel prepared last, and the arrays that it is for.

    Args:
        name: of the kernel, such as "prepare_slices".
        *more: what it takes besides arrays.
    """

    def __init__(self, name: str, *more: Any) -> None:
        self._name = name
        self._more = more
        self._last: tuple[list[NDArray[Any]], Any] | None = None

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return LastPrepared, (self._name, *self._more)  # other processes map the files anew

    def find(self, *arrays: Sequence[NDArray[Any]]) -> Any:
        """Return the function for these arguments of the kernel."""
        given, last = list(chain(*arrays)), self._last
        if last is None or len(last[0]) != len(given) or not all(map(operator.is_, last[0], given)):
            last = given, getattr(kernels.active(), self._name)(*arrays, *self._more)
            # What is kept is open: of many files there may be more than descriptors.
            self._last = last if len(given) <= open_files.limit // 4 else None
        return last[1]

    def close(self) -> None:
        """Give up the files."""
        self._last = None
