"""Tables and columns of pandas, Polars, Arrow and NumPy. None of these is imported to recognise one.

Rows are told by their position: the labels that pandas gives them play no part.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentTypeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["array_of_series", "as_numbers", "as_values", "frame_columns", "is_frame", "is_series"]

_FRAMES = {"pandas": ["DataFrame"], "polars": ["DataFrame"], "pyarrow": ["Table", "RecordBatch"]}
_SERIES = {"pandas": ["Series", "Index"], "polars": ["Series"], "pyarrow": ["Array", "ChunkedArray"]}
_NUMBERS = {bool: np.bool_, int: np.int64, float: np.float64}


def is_frame(value: object) -> bool:
    """Return whether the value is a DataFrame of pandas or Polars, a table of Arrow, or an open .npz file."""
    return _is_one_of(value, _FRAMES) or isinstance(value, np.lib.npyio.NpzFile)


def is_series(value: object) -> bool:
    """Return whether the value is a column of such a table."""
    return _is_one_of(value, _SERIES)


def frame_columns(frame: Any) -> Iterator[tuple[Any, Any]]:
    """Give the name and the values of each column of a table."""
    if isinstance(frame, np.lib.npyio.NpzFile):
        yield from frame.items()
    elif _is_one_of(frame, {"pandas": ["DataFrame"]}):
        yield from ((name, frame.iloc[:, number]) for number, name in enumerate(frame.columns))
    elif _is_one_of(frame, {"polars": ["DataFrame"]}):
        yield from zip(frame.columns, frame.get_columns(), strict=True)
    else:
        yield from zip(frame.schema.names, frame.columns, strict=True)


def as_values(series: Any) -> Any:
    """Return the values of a column of a table, in their order: an ndarray, an array of Arrow, or a list.

    Numbers that lie in an ndarray are taken from there. All else is taken through Arrow, if pyarrow is there and knows
    the values.
    """
    if _is_one_of(series, {"pandas": ["Series", "Index"]}):
        dtype = series.dtype
        if isinstance(dtype, np.dtype) and dtype.kind in "biufcmM":
            return series.to_numpy()
    return _as_arrow(series)


def array_of_series(series: Any) -> Any:
    """Return the values of a column of a table as an ndarray.

    Raises:
        ArgumentTypeError: a value is missing, which an ndarray of numbers cannot say.
    """
    values = as_values(series)
    if isinstance(values, np.ndarray):
        return values
    nulls = getattr(values, "null_count", 0)
    if nulls:
        raise ArgumentTypeError(
            f"{nulls} of {len(values)} values of a {type(series).__name__} are null; fill them first"
        )
    return values.to_numpy(zero_copy_only=False) if hasattr(values, "to_numpy") else np.asarray(values)


def as_numbers(values: Sequence[Any]) -> Any:
    """Return a sequence of Python numbers of one type as an ndarray; any other as it is."""
    kinds = set(map(type, values))
    dtype = _NUMBERS.get(kinds.pop()) if len(kinds) == 1 else None
    try:
        return values if dtype is None else np.array(values, dtype)
    except OverflowError:
        return values


def _as_arrow(series: Any) -> Any:
    """Return the values as an array of Arrow; as a list where that cannot be."""
    if _is_one_of(series, {"pyarrow": ["Array", "ChunkedArray"]}):
        return series
    try:
        from headrace.formats.arrow.memory import from_series

        return from_series(series)
    except (ImportError, TypeError, ValueError, NotImplementedError):  # Arrow's own errors are of these
        return series.to_list()


def _is_one_of(value: object, classes: dict[str, list[str]]) -> bool:
    """Return whether the value is of one of the classes, by the names of their modules."""
    for module, names in classes.items():
        found = sys.modules.get(module)
        if found is not None and isinstance(
            value, tuple(getattr(found, name) for name in names if hasattr(found, name))
        ):
            return True
    return False
