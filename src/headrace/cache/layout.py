"""Encoding of samples as bytes, and back.

A layout says where the fields of a sample lie in a row of bytes. Taken from one sample it serves all of the same
structure, shapes and dtypes: their arrays, tensors and numbers have the same places in each row, and a batch of
them is gathered from the rows at once. Strings, and whatever else may differ in size, follow behind the row in a
form that describes itself, and so does the whole of a sample that is unlike the first one.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import frameworks
from headrace.cache.flexible_fields import as_bytes, from_bytes
from headrace.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Container", "Field", "Layout", "decode", "encode"]

_CONTAINERS: dict[str, type] = {"tuple": tuple, "list": list, "dict": dict}
_NUMBERS: dict[type, str] = {bool: "|b1", int: "<i8", float: "<f8", complex: "<c16"}
_NUMBER_CODES = {kind.__name__: code for kind, code in _NUMBERS.items()}
_ARRAYS = ("array", "scalar")  # kinds of fields that may be of any dtype, beside the names of frameworks
_LARGEST = 1 << 47  # bytes, of which no process can see so many
_LENGTH = struct.Struct("<I")
_ALIGNMENT = 16

# What JSON says of a sample: [type, parts, keys of a dict] of a container, [kind, dtype, shape] of a field,
# ["none"] of None, or ["rest"] of what has no place in the row.
_Description = list[Any]


class Field(NamedTuple):
    """A part of a sample that takes as many bytes in all of them.

    Attributes:
        kind: "array", "scalar" (of NumPy), "str", "bytes", "pickle", or the name of a Python number or a framework.
        dtype: of its values.
        shape: of it, in one sample.
        offset: where it begins in the row, in bytes.
    """

    kind: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def is_array(self) -> bool:
        """Whether one sample has an array there, NumPy's or a framework's."""
        return self.kind not in _NUMBER_CODES and self.kind not in ("scalar", *from_bytes)

    @property
    def end(self) -> int:
        """The offset in the row at which the field ends."""
        return self.offset + self.dtype.itemsize * math.prod(self.shape)

    def read(self, row: bytearray) -> Any:
        """Return the field of one sample; an array has the row's own memory."""
        array = np.ndarray(self.shape, self.dtype, row, self.offset)
        _check_characters(array)
        if self.kind in from_bytes:
            return from_bytes[self.kind](array.tobytes())
        if self.kind == "scalar":
            return array[()]
        return array.item() if self.kind in _NUMBER_CODES else self.wrap(array)

    def wrap(self, array: NDArray[Any]) -> Any:
        """Return the array, of one sample or of a batch, as an array of the field's framework."""
        _check_characters(array)
        try:
            return frameworks.rebuild(self.kind, array)
        except (TypeError, ValueError) as error:  # of a dtype that only another framework has
            raise CacheError(
                f"a cache is damaged: it tells of {self.kind} of {self.dtype} ({error}); delete it"
            ) from error

    def fits(self, kind: str, array: NDArray[Any]) -> bool:
        """Return whether an array of this kind can be the field."""
        return kind == self.kind and array.dtype == self.dtype and array.shape == self.shape


class Container(NamedTuple):
    """A part of a sample that holds others.

    Attributes:
        kind: "tuple", "list" or "dict".
        items: the parts: containers, fields, None for what is None, and ... for what has no place in the row.
        keys: of the parts of a dict.
    """

    kind: str
    items: list[Any]
    keys: list[int | str]

    def parts(self, value: Any) -> list[Any] | None:
        """Return the parts of such a container; None if it is another one."""
        parts, keys = _parts(value)
        same = type(value).__name__ == self.kind and parts is not None and len(parts) == len(self.items)
        return parts if same and keys == self.keys else None

    def get(self, key: int | str) -> Any:
        """Return the part at a position or key; None if there is none."""
        if self.kind == "dict":
            return dict(zip(self.keys, self.items, strict=True)).get(key)
        return self.items[key] if isinstance(key, int) and -len(self.items) <= key < len(self.items) else None

    def rebuild(self, parts: list[Any]) -> Any:
        """Return a container of these parts."""
        return dict(zip(self.keys, parts, strict=True)) if self.kind == "dict" else _CONTAINERS[self.kind](parts)


class Layout:
    """The layout of a row: where the parts of a sample lie in it.

    Args:
        text: what `describe` said of a sample. It may come from a file that anybody has written, so nothing is
            taken from it that `describe` does not say.

    Attributes:
        root: the sample as a Container, or as such has it among its items.
        fields: all of them, in order.
        nbytes: the length of a row.
        rests: how many parts of a sample have no place in the row.

    Raises:
        CacheError: it is no such text.

    >>> layout = Layout(Layout.describe((np.zeros((2, 2), np.uint8), 7, "name")))
    >>> row, rest = layout.take_apart((np.ones((2, 2), np.uint8), 8, "other"))
    >>> layout.read(bytearray(b"".join(row)), rest)
    (array([[1, 1],
           [1, 1]], dtype=uint8), 8, 'other')
    """

    def __init__(self, text: str) -> None:
        self.fields: list[Field] = []
        self.nbytes = 0
        self.rests = 0
        try:
            self.root = self._build(json.loads(text))
        except (ValueError, TypeError, LookupError, RecursionError, SyntaxError) as error:
            raise CacheError(
                f"a cache is damaged, or was not written by headrace: it has {text[:200]!r} where it should tell what "
                f"samples are like ({error}); delete it"
            ) from error

    @staticmethod
    def describe(sample: Any) -> str:
        """Return the text of a layout for samples like this one."""
        return json.dumps(_describe(sample))

    def take_apart(self, sample: Any) -> tuple[list[Any], list[Any]] | None:
        """Return the bytes of a row, in pieces, and what has no place in it; None for a sample of another layout."""
        contents: list[NDArray[Any]] = []
        rest: list[Any] = []
        return (self.row(contents), rest) if _collect(self.root, sample, contents, rest) else None

    def row(self, contents: list[NDArray[Any]]) -> list[Any]:
        """Return the bytes of a row, in pieces, of what the fields hold."""
        pieces: list[Any] = []
        end = 0
        for field, array in zip(self.fields, contents, strict=True):
            pieces += [bytes(field.offset - end), np.ascontiguousarray(array).reshape(-1).view(np.uint8)]
            end = field.end
        return pieces

    def read(self, row: bytearray, rest: list[Any]) -> Any:
        """Return the sample. Its arrays have the row's own memory."""
        if len(row) < self.nbytes:
            raise CacheError(f"a cache is damaged: {len(row)} bytes are there where {self.nbytes} should be; delete it")
        others = iter(rest)
        return self.rebuild(lambda part: next(others) if part is ... else part and part.read(row))

    def rebuild(self, make: Callable[[Any], Any]) -> Any:
        """Return the structure of the sample, with what `make` makes of each part that is no container."""
        return _rebuild(self.root, make)

    def _build(self, description: _Description) -> Any:
        kind = description[0]
        if kind in _CONTAINERS:
            _, parts, keys = description
            _check_keys(kind, parts, keys)
            return Container(kind, [self._build(part) for part in parts], keys)
        if kind == "none":
            return None
        if kind == "rest":
            self.rests += 1
            return ...
        _, code, shape = description
        dtype = np.dtype(code)
        _check_field(kind, dtype, code, shape)
        offset = -(-self.nbytes // dtype.alignment) * dtype.alignment
        self.fields.append(Field(kind, dtype, tuple(shape), offset))
        self.nbytes = self.fields[-1].end
        return self.fields[-1]


def _check_keys(kind: str, parts: Any, keys: Any) -> None:
    """Raise ValueError unless a container may have these parts and keys."""
    count = len(parts) if kind == "dict" else 0
    are_keys = isinstance(keys, list) and all(type(key) in (str, int) for key in keys)
    if not isinstance(parts, list) or not are_keys or len(set(keys)) != len(keys) or len(keys) != count:
        raise ValueError(f"a {kind} cannot have the keys {keys!r}")


def _check_field(kind: str, dtype: np.dtype[Any], code: Any, shape: Any) -> None:
    """Raise ValueError unless a field of this kind may be such an array."""
    if kind in _NUMBER_CODES:
        good = code == _NUMBER_CODES[kind] and shape == []
    elif kind in from_bytes:
        good = code == "|u1" and len(shape) == 1
    else:
        # A dtype with objects would take the bytes of the file for addresses.
        known = kind in _ARRAYS or kind in frameworks.adapter_modules()
        good = known and dtype.str == code and _is_plain(dtype) and (kind != "scalar" or shape == [])
    if not good or not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"no field is {kind!r} of dtype {code!r} and shape {shape!r}")
    if math.prod(length or 1 for length in shape) * dtype.itemsize >= _LARGEST:
        raise ValueError(f"no field is as large as one of shape {shape!r}")
    np.broadcast_to(np.empty((), dtype), (1, *shape))  # which takes no memory, and fails where there is no such shape


def encode(value: Any, *, pickles: bool) -> list[Any]:
    """Return the bytes of a value in a form that describes itself, in pieces.

    Args:
        value: tuples, lists and dicts of arrays, tensors, numbers, strings, bytes and None.
        pickles: pickle whatever else it holds.

    Raises:
        CacheError: it holds something else that may not, or cannot, be pickled.
    """
    contents: list[NDArray[Any]] = []
    text = json.dumps(_describe(value, contents, pickles=pickles))
    head = _LENGTH.pack(len(text)) + text.encode()
    return [head, bytes(-len(head) % _ALIGNMENT), *Layout(text).row(contents)]


def decode(content: NDArray[np.uint8], *, pickles: bool) -> Any:
    """Return the value that was encoded.

    Args:
        content: its bytes, which are copied.
        pickles: whether they may hold pickles.

    Raises:
        CacheError: they do, and may not; or they were not made by `encode`.

    >>> decode(np.frombuffer(b"".join(encode(["a", 1.5, b"c"], pickles=False)), np.uint8), pickles=False)
    ['a', 1.5, b'c']
    """
    end = _LENGTH.size + int.from_bytes(content[: _LENGTH.size].tobytes(), "little")
    layout = _layout(content[_LENGTH.size : end].tobytes())
    if not pickles and any(field.kind == "pickle" for field in layout.fields):
        raise CacheError("a cache on disk holds a pickle, which could run any code; delete it: it was not made here")
    try:
        return layout.read(bytearray(content[end + -end % _ALIGNMENT :]), [])
    except UnicodeDecodeError as error:
        raise CacheError(f"a cache is damaged: a text in it is no text ({error}); delete it") from error


@lru_cache(1024)
def _layout(text: bytes) -> Layout:
    return Layout(text.decode("utf-8", "replace"))


def _describe(value: Any, contents: list[NDArray[Any]] | None = None, *, pickles: bool = False) -> _Description:
    """Return a description of the value that JSON can hold.

    Args:
        value: a sample or a part of one.
        contents: a list for the bytes of its fields; None leaves those out that may differ in size.
        pickles: pickle what has no bytes of its own.
    """
    parts, keys = _parts(value)
    if parts is not None:
        return [type(value).__name__, [_describe(part, contents, pickles=pickles) for part in parts], keys]
    if value is None:
        return ["none"]
    found = _as_array(value)
    if found is None:
        if contents is None:
            return ["rest"]
        found = as_bytes(value, pickles=pickles)
    name, array = found
    if contents is not None:
        contents.append(array)
    return [name, array.dtype.str, array.shape]


def _parts(value: Any) -> tuple[list[Any] | None, list[Any]]:
    """Return the parts of a container, and the keys of a dict; None for what is no container, or has other keys."""
    if type(value) in (tuple, list):
        return list(value), []
    if type(value) is dict and all(type(key) in (str, int) for key in value):
        return list(value.values()), list(value)
    return None, []


def _as_array(value: Any) -> tuple[str, NDArray[Any]] | None:
    """Return the kind of a field, and its memory; None for what is no array of numbers and no number."""
    found: tuple[str, NDArray[Any]] | None
    if type(value) is np.ndarray:
        found = "array", value
    elif type(value) in _NUMBERS:
        try:
            found = type(value).__name__, np.asarray(value, _NUMBERS[type(value)])
        except OverflowError:
            return None
    elif isinstance(value, np.generic):
        found = None if isinstance(value, str | bytes) else ("scalar", np.asarray(value))
    else:
        found = frameworks.framework_of(value)
    return found if found is not None and _is_plain(found[1].dtype) else None


def _is_plain(dtype: np.dtype[Any]) -> bool:
    """Return whether a short text says all of the dtype, and its values are their bytes."""
    return not dtype.hasobject and dtype.itemsize > 0 and np.dtype(dtype.str) == dtype


def _collect(part: Any, value: Any, contents: list[NDArray[Any]], rest: list[Any]) -> bool:
    """Take what the fields of a part hold, and what has no place in the row; whether the value is such a part."""
    if isinstance(part, Container):
        values = part.parts(value)
        if values is None:
            return False
        return all(_collect(item, each, contents, rest) for item, each in zip(part.items, values, strict=True))
    if part is None:
        return value is None
    if part is ...:
        rest.append(value)
        return True
    found = _as_array(value)
    if found is None or not part.fits(*found):
        return False
    contents.append(found[1])
    return True


def _rebuild(part: Any, make: Callable[[Any], Any]) -> Any:
    return part.rebuild([_rebuild(item, make) for item in part.items]) if isinstance(part, Container) else make(part)


def _check_characters(array: NDArray[Any]) -> None:
    """Refuse texts with numbers that no character has, at which NumPy fails with a SystemError when they are shown."""
    if array.dtype.kind != "U" or not array.size:
        return
    numbers = np.ascontiguousarray(array).reshape(-1).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    if numbers.size and int(numbers.max()) > sys.maxunicode:
        raise CacheError(f"a cache is damaged: a text holds the character {int(numbers.max())}; delete it")
