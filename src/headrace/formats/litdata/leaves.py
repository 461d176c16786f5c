"""The leaves of a litData sample: how each is decoded, and the tree that they make.

The serialisers are those of litdata (`litdata/streaming/serializers.py`); the tree is what torch's `treespec_dumps`
writes.
"""

from __future__ import annotations

import json
import pickle
import struct
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError, CorruptDataError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from headrace.formats.item_shards import Counter, Read

__all__ = ["Tree", "dtype_of_tokens", "find_counter", "find_decoder"]

# torch's dtypes by the codes of litdata, of which writers use the higher of a pair; 10 is bfloat16, which NumPy lacks.
_OF_TORCH = ["f4", "f4", "f8", "f8", "c8", "c8", "c16", "c16", "f2", "f2", None, "u1", "i1", "i2", "i2", "i4", "i4"]
_OF_TORCH += ["i8", "i8", "?", "u2"]
_OF_NUMPY = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", "?"]
_ORDERS = {"numpy": "<u4", "tensor": ">u4"}  # of the numbers in the headers of arrays
_BYTES = ("bytes", "jpeg", "file", "video", "tiff")


def _dtype(codes: list[str | None], code: int, kind: str) -> np.dtype[Any]:
    if not 0 <= code < len(codes) or codes[code] is None:
        raise StorageError(f"a {kind} of dtype code {code} is not read here; convert it to another dtype")
    return np.dtype(f"<{codes[code]}")


def dtype_of_tokens(leaf: str) -> np.dtype[Any] | None:
    """Return the dtype of a leaf that is an array without a header; None for others.

    >>> dtype_of_tokens("no_header_tensor:16")
    dtype('int32')
    """
    kind, _, code = leaf.partition(":")
    if kind == "no_header_tensor" and code.isdecimal():
        return _dtype(_OF_TORCH, int(code), "tensor")
    if kind == "no_header_numpy" and code.isdecimal():
        return _dtype([*_OF_NUMPY], int(code), "NumPy array")
    return None


def find_decoder(leaf: str, name: str, *, pickled: bool) -> Callable[[bytes], Any]:
    """Return the function that makes a value of the bytes of a leaf.

    Args:
        leaf: its serialiser, as the index has it.
        name: of the field, for the texts of errors.
        pickled: whether a pickle may be read, which runs what code it holds.

    Raises:
        ArgumentError: it is a pickle that may not be read.
        StorageError: there is no such serialiser.
    """
    dtype = dtype_of_tokens(leaf)
    if dtype is not None:
        return lambda data: np.frombuffer(data, dtype)
    if leaf == "pickle" and not pickled:
        raise ArgumentError(
            f"field {name!r} is pickled, and reading a pickle runs what code it holds; if you trust the files, read it "
            f"with pickled=[{name!r}]"
        )
    if leaf not in _DECODERS:
        raise StorageError(f"field {name!r} is stored by {leaf!r}, which is not read here")
    return _DECODERS[leaf]


def find_counter(leaf: str) -> Counter | None:
    """Return what counts the items of values without reading them, as `len` would; None where that cannot be.

    It is given a function that reads, and the begins and the sizes of values in bytes, each int64 of shape (n,), and
    returns as many numbers; None where values are not what they should be.
    """
    dtype = dtype_of_tokens(leaf)
    if dtype is not None:
        return lambda _, __, sizes: sizes // dtype.itemsize
    if leaf in _BYTES:
        return lambda _, __, sizes: sizes
    return partial(_first_dims, _ORDERS[leaf]) if leaf in _ORDERS else None


def _first_dims(
    dtype: str, read: Read, starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return the first dimensions of arrays, whose headers have numbers of this dtype."""
    if (sizes < 12).any():
        return None
    told = read(starts + 4, 8).view(dtype).reshape(-1, 2).astype(np.int64)
    found: NDArray[np.int64] = told[:, 1]
    return found if (told[:, 0] > 0).all() and (found <= sizes).all() else None


def _array(data: bytes) -> Any:
    """Return an array of NumPy behind its header: dtype code, dimensions, and their sizes, little-endian."""
    code, count = struct.unpack_from("<II", data)
    shape = struct.unpack_from(f"<{count}I", data, 8)
    return _shaped(data, _dtype([*_OF_NUMPY], code, "NumPy array"), shape, 8 + 4 * count)


def _tensor(data: bytes) -> Any:
    """Return a tensor, as an array, behind its header: the same, big-endian."""
    code, count = struct.unpack_from(">II", data)
    shape = struct.unpack_from(f">{count}I", data, 8)
    return _shaped(data, _dtype(_OF_TORCH, code, "tensor"), shape, 8 + 4 * count)


def _shaped(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> Any:
    wanted = int(np.prod(shape)) * dtype.itemsize
    if len(data) - offset != wanted:
        raise CorruptDataError(f"{dtype} of shape {shape} takes {wanted} bytes, but there are {len(data) - offset}")
    return np.frombuffer(data, dtype, offset=offset).reshape(shape)


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "int": lambda data: struct.unpack("<q", data)[0],
    "float": lambda data: struct.unpack("<d", data)[0],
    "bool": lambda data: struct.unpack("<?", data)[0],
    "str": lambda data: data.decode(),
    "numpy": _array,
    "tensor": _tensor,
    "pickle": pickle.loads,
    **dict.fromkeys(_BYTES, bytes),
}


class Tree:
    """A sample's tree, as the index describes it: dicts, lists and tuples of leaves.

    Args:
        text: `data_spec` of the index.

    Attributes:
        names: of the leaves, in order: their keys and positions, with dots between; "" for a sample that is one.

    Raises:
        CorruptDataError: the text describes no tree.
        StorageError: it has containers of other kinds.

    >>> leaf = '{"type": null, "context": null, "children_spec": []}'
    >>> tree = Tree('[1, {"type": "builtins.list", "context": "null", "children_spec": [%s, %s]}]' % (leaf, leaf))
    >>> tree.names, tree.build(iter("ab"))
    (['0', '1'], ['a', 'b'])
    """

    def __init__(self, text: Any) -> None:
        try:
            _, self._spec = json.loads(text)
            self.names = list(self._walk(self._spec, ""))
        except (TypeError, ValueError, KeyError, RecursionError) as error:
            raise CorruptDataError(f"the index describes no tree of a sample ({error}); get the file anew") from error

    def build(self, leaves: Iterator[Any]) -> Any:
        """Return a sample of its leaves."""
        return self._build(self._spec, leaves)

    def _walk(self, spec: Any, name: str) -> Iterator[str]:
        if spec["type"] is None:
            yield name
            return
        children = spec["children_spec"]
        for key, child in zip(_keys(spec, len(children)), children, strict=True):
            yield from self._walk(child, f"{name}.{key}" if name else str(key))

    def _build(self, spec: Any, leaves: Iterator[Any]) -> Any:
        if spec["type"] is None:
            return next(leaves)
        children = [self._build(child, leaves) for child in spec["children_spec"]]
        if spec["type"] == "builtins.dict":
            return dict(zip(_keys(spec, len(children)), children, strict=True))
        return tuple(children) if spec["type"] == "builtins.tuple" else children


def _keys(spec: Any, count: int) -> list[Any]:
    if spec["type"] == "builtins.dict":
        found: list[Any] = json.loads(spec["context"])
        return found
    if spec["type"] not in ("builtins.list", "builtins.tuple"):
        raise StorageError(f"samples hold a {spec['type']}, but dicts, lists and tuples are read")
    return list(range(count))
