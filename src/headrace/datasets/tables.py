"""Tables as datasets: a dict of arrays, a DataFrame, or one column of it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from headrace import frameworks
from headrace.batch.ragged import find_token_field
from headrace.datasets.base import Dataset
from headrace.datasets.frames import as_numbers, as_values, frame_columns, is_frame, is_series
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.pipeline.columns import ArrayColumn, Columns, DatasetColumn, SequenceColumn
from headrace.pipeline.reading import check_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ColumnDataset", "SeriesDataset", "as_dataset", "open_table"]


class ColumnDataset(Columns[dict[Any, Any]], Dataset[dict[Any, Any]]):
    """Columns of one length: sample i is the dict of their i-th values.

    A loader, and whatever else takes a dataset, makes one of a dict of arrays or a DataFrame itself. Rows are told by
    their position, never by a label. Batches are read column by column; numbers are not copied before that.

    Args:
        columns: a dict of ndarrays, tensors, Series or lists, with a string as the key of each; or a DataFrame of
            pandas or Polars, a table of Arrow, or what `numpy.load` gives for an .npz file.

    Raises:
        ArgumentError: there are no columns, two have one name, or their lengths differ.
        ArgumentTypeError: a column is none of these.

    >>> import numpy as np
    >>> dataset = ColumnDataset({"image": np.zeros((100, 28, 28)), "name": [f"image {i}" for i in range(100)]})
    >>> dataset[7]["image"].shape, dataset[7]["name"]
    ((28, 28), 'image 7')
    """

    keeps_slots = True

    def __init__(self, columns: Any) -> None:
        if not is_frame(columns) and not isinstance(columns, dict):
            raise ArgumentTypeError(
                f"ColumnDataset takes a dict of arrays or a DataFrame, but got a {type(columns).__name__}; for arrays "
                "without names use TensorDataset"
            )
        pairs = list(frame_columns(columns)) if is_frame(columns) else list(columns.items())
        names = [name for name, _ in pairs]
        if not names:
            raise ArgumentError("ColumnDataset needs at least one column, got none")
        if len(set(names)) < len(names):
            raise ArgumentError(f"the columns of a table need names that differ, but got {names}; rename some of them")
        self.columns = {name: _values(name, values) for name, values in pairs}
        self._set_columns(_columns(self.columns))
        lengths = {name: column.length for name, column in zip(names, self._columns, strict=True)}
        if len(set(lengths.values())) > 1:
            raise ArgumentError(f"the columns of a dataset need one length, but got {lengths}")

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._set_columns(_columns(self.columns))

    def _join(self, values: list[Any]) -> dict[Any, Any]:
        return dict(zip(self.columns, values, strict=True))

    def _token_field(self) -> int | str | None:
        return find_token_field(list(self.columns))

    def _position(self, field: int | str | None) -> int | None:
        return list(self.columns).index(field) if field in self.columns else None


class SeriesDataset(Columns[Any], Dataset[Any]):
    """The values of one column of a table, by position.

    Args:
        series: a Series of pandas or Polars, or an array of Arrow.
    """

    keeps_slots = True

    def __init__(self, series: Any) -> None:
        self.values = as_values(series)
        self._set_columns([_column(self.values, "the Series")])

    def __getstate__(self) -> dict[str, Any]:
        return {"values": self.values}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.values = state["values"]
        self._set_columns([_column(self.values, "the Series")])

    def _join(self, values: list[Any]) -> Any:
        return values[0]

    def _token_field(self) -> None:
        return None

    def _position(self, field: int | str | None) -> int | None:
        return 0 if field is None else None


def as_dataset(value: Any, name: str = "dataset") -> Any:
    """Return the dataset that a value stands for: of a table its rows, of a Series its values, any other itself.

    Args:
        value: anything that was given as a dataset.
        name: what an error calls it.

    Raises:
        ArgumentTypeError: it is no dataset.
        ArgumentError: it is a table whose columns differ in length.
    """
    dataset = open_table(value)
    check_dataset(dataset, name)
    return dataset


def open_table(value: Any, *, of_lists: bool = True) -> Any:
    """Return the rows of a table, or the values of a Series, as a dataset; any other value itself.

    Args:
        value: anything.
        of_lists: take a dict for a table that has lists only.

    Raises:
        ArgumentError: the columns of the table differ in length.
        ArgumentTypeError: a dict of arrays has something else beside them.
    """
    if is_frame(value) or _is_dict_of_columns(value, of_lists=of_lists):
        return ColumnDataset(value)
    return SeriesDataset(value) if is_series(value) else value


def _is_dict_of_columns(value: Any, *, of_lists: bool) -> bool:
    """Return whether a dict has columns as its values, and not the samples of its keys.

    The keys of columns are strings, while samples are asked for by numbers. A dict of a class that reads in a way of
    its own is a dataset of its own.
    """
    if not isinstance(value, dict) or not value or not all(isinstance(key, str) for key in value):
        return False
    kind = type(value)
    if kind.__getitem__ is not dict.__getitem__ or (hasattr(kind, "__missing__") and kind is not defaultdict):
        return False
    return any(map(_is_array, value.values())) or (of_lists and all(isinstance(item, list) for item in value.values()))


def _is_array(value: Any) -> bool:
    if is_series(value):
        return True
    return frameworks.find(value) is not None and len(getattr(value, "shape", (0,))) > 0


def _values(name: Any, values: Any) -> Any:
    """Return the values of a column as they are kept: an array of a framework or of Arrow, or a list."""
    if is_series(values):
        return as_values(values)
    if isinstance(values, list | tuple | range):
        return as_numbers(values)
    if frameworks.find(values) is None:
        reason = frameworks.explain(values)
        raise ArgumentTypeError(
            f"column {name!r} is a {type(values).__name__}{f' ({reason})' if reason else ''}; allowed are ndarrays, "
            "tensors, Series and lists"
        )
    return values


def _columns(columns: Mapping[Any, Any]) -> list[DatasetColumn]:
    return [_column(values, f"column {name!r}", name) for name, values in columns.items()]


def _column(values: Any, title: str, name: Any = None) -> DatasetColumn:
    adapter = frameworks.find(values)
    if adapter is not None:
        return ArrayColumn(values, title, adapter)
    if is_series(values):  # of Arrow
        from headrace.formats.arrow.memory import ArrowColumn

        return ArrowColumn(values, title if name is None else name)
    return SequenceColumn(values, title if name is None else name)
