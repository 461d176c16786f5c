"""Pickles of arrays and plain values, read without running anything that they name."""

from __future__ import annotations

import io
import math
import pickle
import re
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    class _PythonUnpickler:
        """The part of pickle._Unpickler that is used here."""

        def __init__(self, file: IO[bytes], *, encoding: str) -> None: ...
        def load(self) -> Any: ...
        def find_class(self, module: str, name: str, /) -> Any: ...
        def get_extension(self, code: int, /) -> Any: ...
else:
    # The one in C makes room for as many values as a number in the file says, so that a flipped bit
    # costs gigabytes; this one keeps a dict.
    from pickle import _Unpickler as _PythonUnpickler

__all__ = ["PickledArray", "unpickle"]


def unpickle(content: bytes, where: str) -> Any:
    """Return the value of a pickle of arrays, as `PickledArray`, and plain values; of others ArgumentError."""
    try:
        return _PlainUnpickler(content, where).load()
    except ArgumentError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise ArgumentError(
            f"{where}: this is no pickle of arrays and plain values, or a damaged one "
            f"({type(error).__name__}: {error}); get the file anew"
        ) from error


class _PlainUnpickler(_PythonUnpickler):
    """An unpickler that makes arrays and plain values, and calls nothing that a file may name.

    The few names that a pickled array needs stand for functions of this file, wrapped so that a
    pickle can neither reach into them nor make instances of their types.
    """

    def __init__(self, content: bytes, where: str) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._where = where

    def find_class(self, module: str, name: str, /) -> _Stand:
        if (module, name) not in _STANDS:
            raise ArgumentError(
                f"{self._where}: its pickle names {module}.{name}, which is refused: allowed are arrays and plain "
                "values; get the original file"
            )
        return _STANDS[module, name]

    def get_extension(self, code: int, /) -> Any:
        raise ArgumentError(
            f"{self._where}: its pickle names the extension {code}, which is refused: allowed are arrays and plain "
            "values; get the original file"
        )


class _Stand:
    """A stand-in for a global in a pickle: it can be called, and not be changed."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a state for what has none")


class _DType:
    """A dtype of numbers while it is being read."""

    __slots__ = ("dtype",)

    def __init__(self, code: bytes | str, *_: object) -> None:
        code = code.decode() if isinstance(code, bytes) else code
        if not re.fullmatch("[|<>=]?[biuf][1248]", code):
            raise pickle.UnpicklingError("an array of something else than numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order: Any = state[1].decode() if isinstance(state[1], bytes) else state[1]
        self.dtype = self.dtype.newbyteorder(order)


class PickledArray:
    """An array while it is being read, and then the array."""

    __slots__ = ("array",)

    def __init__(self, *_: object) -> None:
        self.array: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.array = _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if not isinstance(dtype, _DType) or len(data) != math.prod(shape) * dtype.dtype.itemsize:
        raise pickle.UnpicklingError("an array and its data differ in length")
    return np.ndarray(shape, dtype.dtype, data, order=order)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    made = PickledArray()
    made.array = _array(data, dtype, shape, order)
    return made


def _encode(text: str, encoding: str) -> bytes:
    """Return bytes from the text that Python 3 writes of them for Python 2."""
    if encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("an encoding other than latin1")
    return text.encode("latin1")


def _no_call(*_: object) -> None:
    raise pickle.UnpicklingError("an array made by other means than those of pickle")


_STANDS = {
    ("_codecs", "encode"): _Stand(_encode),
    ("__builtin__", "bytes"): _Stand(lambda: b""),  # the way of protocol 2 to write no bytes
    ("numpy", "dtype"): _Stand(_DType),
    ("numpy", "ndarray"): _Stand(_no_call),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Stand(PickledArray) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Stand(_from_buffer) for core in ("core", "_core")},
}
