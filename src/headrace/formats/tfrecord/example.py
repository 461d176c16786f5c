"""Features of tf.train.Example, written without TensorFlow; `example_reader` reads them.

The formats: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/example.proto and
https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BYTES", "FLOATS", "Feature"]
__all__ += ["INTEGERS", "encode", "make_feature"]

# What values are, by the number of their field in tf.train.Feature.
BYTES, FLOATS, INTEGERS = 1, 2, 3


@dataclass(frozen=True)
class Feature:
    """The description of a feature: its kind, dtype and shape.

    Attributes:
        kind: what the record has: 1 bytes, 2 floats, 3 integers.
        dtype: of the array; None for bytes and strings.
        shape: of a sample's value; None for as many values as there are, in one dimension.
        is_text: whether bytes are UTF-8 to be decoded.
        is_optional: whether a single value is None where a record does not have it.
    """

    kind: int
    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] | None = ()
    is_text: bool = False
    is_optional: bool = False


def make_feature(description: Any) -> Feature:
    """Return the Feature of a user's description.

    Args:
        description: `bytes`, `str`, or the dtype of a number; or that and a shape, which is None where the
            number of values differs between samples.

    Raises:
        ArgumentTypeError: it is something else.

    >>> make_feature((np.float32, (4,)))
    Feature(kind=2, dtype=dtype('float32'), shape=(4,), is_text=False, is_optional=False)
    """
    if isinstance(description, Feature):
        return description
    what, shape = description if isinstance(description, tuple) and len(description) == 2 else (description, ())
    shape = (shape,) if isinstance(shape, int) else shape
    if not (shape is None or (isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape))):
        raise ArgumentTypeError(f"the shape of a feature is a tuple of integers or None, but got {shape!r}")
    if what in (bytes, str):
        return Feature(BYTES, None, shape, is_text=what is str)
    dtype = _dtype(what)
    if dtype is None or dtype.kind not in "biuf":
        raise ArgumentTypeError(
            "a feature is bytes, str or a dtype of numbers, or (that, shape) for several values, but got "
            f"{description!r}"
        )
    return Feature(FLOATS if dtype.kind == "f" else INTEGERS, dtype, shape)


def _dtype(what: Any) -> np.dtype[Any] | None:
    try:
        found: np.dtype[Any] = np.dtype(what)
    except TypeError:
        return None
    return found


def encode(features: Mapping[str, Any]) -> bytes:
    r"""Return a record that is the tf.train.Example of some features.

    Args:
        features: by name: bytes, strings, numbers, arrays of numbers (whose shape is not kept), or lists of these.

    Raises:
        ArgumentTypeError: a feature is something else.

    >>> encode({"label": 3})
    b'\n\x10\n\x0e\n\x05label\x12\x05\x1a\x03\n\x01\x03'
    """
    entries = (
        _chunk(1, _chunk(1, name.encode()) + _chunk(2, _encode_feature(name, features[name]))) for name in features
    )
    return _chunk(1, b"".join(entries))


def _encode_feature(name: str, value: Any) -> bytes:
    if isinstance(value, bytes | str):
        value = [value]
    if isinstance(value, list | tuple) and value and all(isinstance(each, bytes | str) for each in value):
        return _chunk(BYTES, b"".join(_chunk(1, each.encode() if isinstance(each, str) else each) for each in value))
    array = np.asarray(value)
    if array.dtype.kind == "f":
        return _chunk(FLOATS, _chunk(1, array.astype("<f4").tobytes()))
    if array.dtype.kind in "biu" and (array.dtype != np.uint64 or not (array > np.iinfo(np.int64).max).any()):
        numbers = array.astype(np.int64).ravel().tolist()
        return _chunk(INTEGERS, _chunk(1, b"".join(_varint(number & (1 << 64) - 1) for number in numbers)))
    raise ArgumentTypeError(
        f"a feature is bytes, a string, numbers of at most 64 bits or a list of them, but {name!r} is {value!r:.80}"
    )


def _chunk(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
