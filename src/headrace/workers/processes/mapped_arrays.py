"""Arrays that lie in memory-mapped files: another process maps the file again, and nothing is copied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MappedFile", "dtype_name", "mapped_root", "reduce_view"]


def dtype_name(dtype: np.dtype[Any]) -> np.dtype[Any] | str:
    """Return the dtype as text, which pickle reads quickly, where text says all."""
    is_numpys_own = 0 <= dtype.num < 256
    return dtype.str if is_numpys_own and dtype.names is None else dtype


@dataclass(frozen=True, slots=True)
class MappedFile:
    """The part of a file that is mapped. The worker gets it as an array of its bytes."""

    path: Any  # str or Path, as the mapping has it
    mode: str
    offset: int
    nbytes: int

    @classmethod
    def of(cls, root: np.memmap[Any, Any]) -> MappedFile:
        """Return the file that a mapping maps."""
        if root.mode == "r":
            return cls(root.filename, "r", root.offset, root.nbytes)
        root.flush()
        return cls(root.filename, "r+", root.offset, root.nbytes)

    def __reduce__(self) -> Any:
        return _map_file, (self.path, self.mode, self.offset, self.nbytes)


def _map_file(path: Any, mode: Any, offset: int, nbytes: int) -> np.memmap[Any, Any]:
    return np.memmap(path, np.uint8, mode, offset, (nbytes,))


def mapped_root(array: NDArray[Any]) -> np.memmap[Any, Any] | None:
    """Return the mapping that the array is a view of, if another process can map the same bytes."""
    if array.nbytes == 0:
        return None
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    if not isinstance(root, np.memmap) or root.filename is None or root.mode == "c":
        return None
    try:
        size = Path(root.filename).stat().st_size
    except OSError:
        return None
    return root if size >= root.offset + root.nbytes else None


def reduce_view(array: NDArray[Any], root: np.memmap[Any, Any], file: MappedFile) -> Any:
    """Return the reduction of a view of a mapping for pickle.

    Args:
        array: the view.
        root: the mapping.
        file: of the mapping; the same object for all its views, so that they share it in the worker too.
    """
    offset = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    is_memmap = type(array) is np.memmap
    dtype = dtype_name(array.dtype)
    return _rebuild_view, (file, dtype, array.shape, offset, array.strides, is_memmap, array.flags.writeable)


def _rebuild_view(
    mapped: np.memmap[Any, Any],
    dtype: np.dtype[Any] | str,
    shape: tuple[int, ...],
    offset: int,
    strides: tuple[int, ...],
    is_memmap: bool,  # noqa: FBT001 - pickle calls it by position
    writeable: bool,  # noqa: FBT001
) -> NDArray[Any]:
    array: NDArray[Any] = np.ndarray(shape, dtype, mapped, offset, strides)
    if is_memmap:
        array = array.view(np.memmap)
        array.__array_finalize__(mapped)  # it knows its file, as a slice of the mapping would
    if not writeable:
        array.flags.writeable = False
    return array
