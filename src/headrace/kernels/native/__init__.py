"""The kernels in C, called through ctypes, which releases the GIL while they run."""

from __future__ import annotations

import os
import sys
from ctypes import c_int
from functools import cache
from typing import TYPE_CHECKING

from headrace.kernels.native.calls import Library
from headrace.kernels.native.images import ImageKernels
from headrace.kernels.native.order import OrderKernels
from headrace.kernels.native.records import RecordKernels
from headrace.kernels.native.rows import RowKernels
from headrace.kernels.native.sequences import SequenceKernels
from headrace.kernels.native.slices import SliceKernels

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ABI", "LIBRARY", "NativeKernels", "find_library", "load"]

ABI = 24
LIBRARY = "headrace_kernels" + {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")


class NativeKernels(OrderKernels, RowKernels, RecordKernels, SliceKernels, ImageKernels, SequenceKernels):
    """The kernels of one loaded library; `headrace.kernels.reference` documents each function."""

    name = "native"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Load the library at `path`; an OSError or AttributeError says why it cannot be used."""
        library = Library(path)
        version = library.brief("headrace_abi", [], c_int)()
        if version != ABI:
            raise OSError(f"it has ABI {version}, but {ABI} is needed")
        OrderKernels.__init__(self, library)
        RowKernels.__init__(self, library)
        RecordKernels.__init__(self, library)
        SliceKernels.__init__(self, library)
        ImageKernels.__init__(self, library)
        SequenceKernels.__init__(self, library)


def _candidates() -> Iterator[str]:
    """Yield the places of the library: beside this file, then where the installed files say.

    An editable install leaves the sources where they are and puts the built library elsewhere.
    """
    kernels = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - pathlib takes long to import
    yield os.path.join(kernels, LIBRARY)  # noqa: PTH118 - the same
    from importlib import metadata  # a third of the time that importing headrace takes, and seldom needed

    try:
        files = metadata.files("headrace") or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == LIBRARY:
            yield str(file.locate())


def find_library() -> str | None:
    """Return the path of the built library, or None where it was not built."""
    return next((path for path in _candidates() if os.path.isfile(path)), None)  # noqa: PTH113 - the same


@cache
def load() -> NativeKernels | str:
    """Return the native kernels, or in one line why they cannot be used."""
    path = find_library()
    if path is None:
        return f"{LIBRARY} is not installed"
    try:
        return NativeKernels(path)
    except (OSError, AttributeError) as error:
        return f"{path} cannot be used: {error}"
