"""MessagePack for samples of several fields: https://msgpack.org, arrays as the msgpack-numpy package has them.

Nothing in such data runs code when it is read. Without headrace,
`msgpack.unpackb(data, object_hook=msgpack_numpy.decode)` reads it.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np

from headrace.errors import CorruptDataError

__all__ = ["is_dict", "packb", "unpackb"]


def packb(sample: Any) -> bytes:
    """Return the sample as bytes.

    Args:
        sample: dicts and lists of bytes, str, numbers and arrays, of no object dtype.

    >>> unpackb(packb({"image": np.zeros((2, 2), np.uint8), "label": 3}))
    {'image': array([[0, 0],
           [0, 0]], dtype=uint8), 'label': 3}
    """
    data: bytes = msgpack.packb(sample, default=_describe)
    return data


def unpackb(data: bytes) -> Any:
    """Return the sample that the bytes were made of.

    Raises:
        CorruptDataError: they are no MessagePack, or hold what needs code to be read.
    """
    try:
        return msgpack.unpackb(data, object_hook=_restore, strict_map_key=False)
    except CorruptDataError:
        raise
    except Exception as error:  # its own errors have no common base
        raise CorruptDataError(f"the bytes are no MessagePack ({type(error).__name__}: {error})") from error


def is_dict(data: bytes) -> bool:
    """Return whether the bytes are a dict that `unpackb` returns."""
    try:
        return isinstance(msgpack.unpackb(data, object_hook=_restore, strict_map_key=False), dict)
    except Exception:  # as above
        return False


def _describe(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and np.dtype(value.dtype.str) != value.dtype:
        raise TypeError(f"the dtype {value.dtype} has no form in MessagePack")
    if isinstance(value, np.ndarray):
        shape, content = value.shape, value.tobytes()
        return {b"nd": True, b"type": value.dtype.str, b"kind": b"", b"shape": shape, b"data": content}
    if isinstance(value, np.generic):
        return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}
    raise TypeError(f"a {type(value).__name__} has no form in MessagePack")


def _restore(entry: dict[Any, Any]) -> Any:
    if b"nd" not in entry:
        return entry
    if entry.get(b"kind", b"") not in (b"", ""):  # records, or pickled objects
        raise CorruptDataError(f"an array of kind {entry[b'kind']!r} is not read: only plain arrays are")
    array = np.frombuffer(entry[b"data"], np.dtype(entry[b"type"]))
    return array.reshape(entry[b"shape"]).copy() if entry[b"nd"] else array[0]
