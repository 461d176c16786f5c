"""A batch becomes samples again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.cache.layout import Container, Field, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["unbatch"]


def unbatch(batch: Any, layout: Layout, count: int) -> list[Any] | None:
    """Return the samples that a batch was made of; None if they have another structure than the layout says.

    Args:
        batch: what a dataset made of samples.
        layout: says what a batch does not: which of its arrays were numbers of Python, which were NumPy's.
        count: how many samples there were.

    Returns:
        The samples. Their arrays are views of the batch.

    >>> layout = Layout(Layout.describe((np.zeros(2), 7, "name")))
    >>> unbatch((np.zeros((2, 2)), np.array([5, 6]), ["a", "b"]), layout, 2)
    [(array([0., 0.]), 5, 'a'), (array([0., 0.]), 6, 'b')]
    """
    return _rows(layout.root, batch, count)


def _rows(part: Any, value: Any, count: int) -> list[Any] | None:
    """Return the values of a part of the layout for each sample, from its value in the batch."""
    if isinstance(part, Container):
        return _containers(part, value, count)
    if isinstance(part, Field):
        return _fields(part, value, count)
    if part is None:
        return [None] * count if value is None else None
    return value if _are_texts(value) and len(value) == count else None


def _containers(part: Container, value: Any, count: int) -> list[Any] | None:
    values = part.parts(value)
    if values is None:
        return None
    columns = [_rows(item, each, count) for item, each in zip(part.items, values, strict=True)]
    known = [column for column in columns if column is not None]
    if len(known) < len(columns):
        return None
    return [part.rebuild([column[row] for column in known]) for row in range(count)]


def _fields(field: Field, value: Any, count: int) -> list[Any] | None:
    found = _memory(value)
    if found is None:
        return None
    kind, array = found
    if (field.is_array and kind != field.kind) or not _is_column(array, field, count):  # numbers become tensors
        return None
    if field.is_array:
        return [field.wrap(array[row, ...]) for row in range(count)]
    return list(array) if field.kind == "scalar" else array.tolist()


def _memory(value: Any) -> tuple[str, NDArray[Any]] | None:
    """Return the kind of an array, as a layout names it, and its memory."""
    return ("array", value) if type(value) is np.ndarray else frameworks.framework_of(value)


def _is_column(array: NDArray[Any], field: Field, count: int) -> bool:
    """Return whether rows of the array can be the field: strings cannot, as wide as the longest in the batch."""
    return array.dtype == field.dtype and array.dtype.kind not in "SU" and array.shape == (count, *field.shape)


def _are_texts(value: Any) -> bool:
    return type(value) is list and all(type(text) in (str, bytes) for text in value)
