"""Fields of samples as features of a tf.train.Example, and back.

An Example holds bytes, 64-bit integers and 32-bit floats, each a list. What that leaves open stands beside a feature
NAME: `NAME/shape` where the shape of an array is not the number of its values, `NAME/dtype` where the values are text,
or of another dtype than int64, float32 and uint8 (which is bytes), and `NAME/float64` with all bits of such numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FieldRestorer", "check_names", "kind_of", "make_features"]

_SHAPE, _DTYPE, _EXACT = _ENDINGS = ("/shape", "/dtype", "/float64")
_TEXT = "str"


def check_names(names: Sequence[str]) -> None:
    """Refuse fields that would stand where it is told of others.

    Raises:
        ArgumentError: with their names.
    """
    for name in names:
        taken = [name + ending for ending in _ENDINGS if name + ending in names]
        if taken:
            raise ArgumentError(
                f"field {taken[0]!r} stands where a TFRecord file tells the shape or dtype of {name!r}; rename one of "
                "them with dataset.map(...), or take another format"
            )


def kind_of(value: Any) -> str:
    """Describe what all samples must have alike in a field, which records do not tell one by one."""
    if isinstance(value, str | bytes):
        return "a text" if isinstance(value, str) else "bytes"
    array = np.asarray(value)
    return f"an array of {array.dtype}" if isinstance(value, np.ndarray) and array.ndim else f"a single {array.dtype}"


def make_features(name: str, value: Any) -> dict[str, Any]:
    """Return the features that a field becomes.

    Raises:
        ArgumentTypeError: no feature holds it.
    """
    if isinstance(value, bytes):
        return {name: value}
    if isinstance(value, str):
        return {name: value, name + _DTYPE: _TEXT}
    array = np.asarray(value)
    dtype, is_array = array.dtype, isinstance(value, np.ndarray) and array.ndim > 0
    is_bytes = is_array and dtype == np.uint8
    features: dict[str, Any] = {name: array.tobytes() if is_bytes else _numbers(name, array)}
    if is_array and (is_bytes or array.ndim > 1 or array.size == 1):
        features[name + _SHAPE] = np.array(array.shape)
    if dtype == np.float64:
        features[name + _EXACT] = array.astype("<f8").tobytes()
    elif not is_bytes and dtype not in (np.int64, np.float32):
        features[name + _DTYPE] = dtype.str
    return features


def _numbers(name: str, array: Any) -> Any:
    """Return the values as a list of integers or floats has them; those of float64 are rounded."""
    if array.dtype.kind in "mM":
        return array.view(np.int64)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > np.dtype(np.float64).itemsize:
        raise ArgumentTypeError(f"no feature holds {array.dtype}, which {name!r} is")
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):  # what is too large is an infinity, and exact beside it
        return array.astype(np.float32)


class FieldRestorer:
    """Makes of features the fields that they were.

    Args:
        names: of the features.

    Attributes:
        fields: those that are made of several features.
    """

    def __init__(self, names: Sequence[str]) -> None:
        known = set(names)
        self.fields = [name for name in names if any(name + ending in known for ending in _ENDINGS)]

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Return the sample, with fields in place of features that tell of each other."""
        restored = dict(sample)
        for name in self.fields:
            beside = [sample.get(name + ending) for ending in _ENDINGS]
            try:
                restored[name] = _restored(sample[name], *beside)
            except (ValueError, TypeError, UnicodeDecodeError):  # of another program, which means other things by them
                continue
            for ending in _ENDINGS:
                restored.pop(name + ending, None)
        return restored


def _restored(value: Any, shape: Any, dtype: Any, exact: Any) -> Any:
    """Return a field; what does not stand beside it is None or empty."""
    if value is None:
        return None
    if isinstance(dtype, bytes) and dtype.decode() == _TEXT:
        return value.decode()
    if isinstance(exact, bytes):
        value = np.frombuffer(exact, "<f8").reshape(np.shape(value))
    elif isinstance(dtype, bytes):
        value = _as_dtype(np.asarray(value), np.dtype(dtype.decode()))
    elif isinstance(value, bytes):
        value = np.frombuffer(value, np.uint8)
    if shape is not None and np.size(shape):
        value = np.reshape(value, np.atleast_1d(shape))
    return value[()] if isinstance(value, np.ndarray) else value


def _as_dtype(array: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind not in "biufmM":
        raise ValueError(f"no writer makes features of {dtype}")
    return array.view(dtype) if dtype.kind in "mM" else array.astype(dtype)
