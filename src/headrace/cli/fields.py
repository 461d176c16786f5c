"""Finding the images and the labels among the fields of a batch, or of a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch.tree import children
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["find_images", "find_labels"]

_CHANNELS = (1, 3, 4)
_LABELS = ("label", "labels", "target", "targets", "y", "class")
_LEAST = 4  # pixels that a grey image is high and wide; less is a table of numbers
_SHARE = 0.005  # of a mixed label that is still worth its place


def find_images(value: Any, *, single: bool = False) -> list[NDArray[Any]]:
    """Return the images of the first field that holds such.

    Args:
        value: a batch; or one sample.
        single: whether it is a sample.

    Raises:
        ArgumentError: no field does; the text says what there is.
    """
    fields = list(_fields(value))
    for _, field in fields:
        found = _images_in(field, single=single)
        if found:
            return found
    there = ", ".join(f"{'.'.join(map(str, path)) or 'it'}: {_what(field)}" for path, field in fields)
    raise ArgumentError(f"the {'sample' if single else 'batch'} has no images: {there or 'it is empty'}")


def find_labels(batch: Any, count: int, classes: list[str] | None) -> list[str]:
    """Return the captions of the images: the field of a label's name, or the first with one value an image.

    Args:
        batch: the batch.
        count: how many images it has.
        classes: the names of the classes.
    """
    fields = sorted(_fields(batch), key=lambda field: not (field[0] and str(field[0][-1]) in _LABELS))
    for _, field in fields:
        array = _array(field)
        if _are_labels(field, array):
            texts = [_text(each, classes) for each in (field if array is None else array)]
            if len(texts) == count:
                return texts
    return [""] * count


def _fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the fields from left to right, a list of images or of labels as one of them."""
    pairs = children(value)
    if pairs is None or _is_list_of_images(value) or _is_list_of_labels(value):
        yield path, value
        return
    for key, item in pairs:
        yield from _fields(item, (*path, key))


def _images_in(field: Any, *, single: bool) -> list[NDArray[Any]]:
    if _is_list_of_images(field):
        return [array for item in field if (array := _array(item)) is not None]
    array = _array(field)
    if array is None:
        return []
    if single:
        return [array] if _is_image(array.shape) else []
    return list(array) if array.ndim > 2 and len(array) and _is_image(array.shape[1:]) else []


def _is_list_of_images(value: Any) -> bool:
    arrays = [_array(item) for item in value] if isinstance(value, list | tuple) else []
    return bool(arrays) and all(array is not None and array.ndim == 3 and _is_image(array.shape) for array in arrays)


def _is_list_of_labels(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(item, str | bytes | int | float) for item in value)
    )


def _are_labels(field: Any, array: NDArray[Any] | None) -> bool:
    """Return whether it is a list of labels, one number for each image, or its share in each class."""
    if array is None:
        return _is_list_of_labels(field)
    return array.ndim == 1 or (array.ndim == 2 and array.dtype.kind == "f" and np.allclose(array.sum(1), 1, atol=0.01))


def _is_image(shape: tuple[int, ...]) -> bool:
    if len(shape) == 2:
        return min(shape) >= _LEAST
    return len(shape) == 3 and (shape[0] in _CHANNELS or shape[2] in _CHANNELS) and min(shape) > 0


def _array(value: Any) -> NDArray[Any] | None:
    """Return the value as numbers in memory; those that NumPy has no name for as float32."""
    adapter = frameworks.find(value)
    array = None if adapter is None else adapter.to_numpy(value)
    if array is None or array.dtype.kind in "biuf":
        return array
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else None


def _text(label: Any, classes: list[str] | None) -> str:
    if isinstance(label, np.ndarray):
        shares = [(float(share), number) for number, share in enumerate(label) if share > _SHARE]
        return ", ".join(f"{_text(number, classes)} {share:.2g}" for share, number in sorted(shares, reverse=True))
    if isinstance(label, bytes):
        return label.decode(errors="replace")
    if isinstance(label, int | np.integer) and not isinstance(label, bool):
        return str(classes[label]) if classes and 0 <= label < len(classes) else str(label)
    return f"{label:.3g}" if isinstance(label, float | np.floating) else str(label)


def _what(field: Any) -> str:
    array = _array(field)
    return type(field).__name__ if array is None else f"{array.dtype} of shape {array.shape}"
