"""Annotations of images as arrays of any framework: masks, boxes, keypoints and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.frameworks import pillow
from headrace.images.encoded import upright_size
from headrace.images.layout import image_axes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["as_array", "boxes_of", "extent_of", "is_stack", "keep", "keypoints_of", "like", "move_boxes"]


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return an annotation as an array, of lists a copy.

    Raises:
        ArgumentTypeError: it is neither an array nor a list.
    """
    if pillow.owns(value):
        return pillow.to_numpy(value)
    adapter = frameworks.find(value)
    array = np.asarray(value) if adapter is None and isinstance(value, list) else None
    array = adapter.to_numpy(value) if adapter is not None else array
    if array is None:
        raise ArgumentTypeError(f"the field {name} must be an array, but got a {type(value).__qualname__}")
    return array


def like(moved: NDArray[np.float64], value: Any, name: str) -> Any:
    """Return moved points as an array of the kind and dtype of what they were, integers rounded to the nearest."""
    before = as_array(value, name)
    numbers = (moved if before.dtype.kind == "f" else np.rint(moved)).astype(before.dtype)
    if before.ndim != 2:
        numbers = numbers.reshape(before.shape)
    adapter = frameworks.find(value)
    return numbers.tolist() if adapter is None else adapter.from_numpy(numbers, value)


def keep(value: Any, kept: NDArray[np.bool_], name: str) -> Any:
    """Return the items that belong to boxes that are kept."""
    if len(value) != len(kept):
        raise ArgumentError(f"there must be one of {name} for each box, but got {len(value)} for {len(kept)}")
    if kept.all():
        return value
    adapter = frameworks.find(value)
    if adapter is None:
        return type(value)(item for item, keep in zip(value, kept, strict=True) if keep)
    return adapter.from_numpy(as_array(value, name)[kept], value)


def is_stack(value: Any, count: int) -> bool:
    """Return whether the value is an array of so many masks."""
    shape = np.shape(value)
    return len(shape) == 3 and shape[0] == count


def boxes_of(value: Any, name: str) -> NDArray[np.float64]:
    """Return boxes as a copy of shape (n, 4); raise an ArgumentError for what is none."""
    boxes = as_array(value, name)
    if boxes.size == 0 and boxes.ndim < 3:
        return np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iuf":
        raise ArgumentError(
            f"the boxes in {name} must be of shape (n, 4), left, top, right and bottom in pixels, but got "
            f"{boxes.dtype} of shape {boxes.shape}"
        )
    return boxes.astype(np.float64)


def keypoints_of(value: Any, name: str) -> NDArray[np.float64]:
    """Return keypoints as a copy of shape (n, 2); raise an ArgumentError for what is none."""
    points = as_array(value, name)
    if points.ndim < 1 or points.shape[-1] != 2 or points.dtype.kind not in "iuf":
        raise ArgumentError(
            f"the keypoints in {name} must be of shape (..., 2), x and y in pixels, but got {points.dtype} of "
            f"shape {points.shape}"
        )
    return points.reshape(-1, 2).astype(np.float64)


def extent_of(value: Any, layout: str | None, who: str) -> tuple[int, int]:
    """Return the height and width of an image, decoded or not; of several masks those of each.

    Args:
        value: the image or the masks.
        layout: that of one with three dimensions; None for what its shape says.
        who: the transform that is applied to it, for the text of an error.
    """
    if isinstance(value, bytes) or (isinstance(value, np.ndarray) and value.ndim == 1):
        return upright_size(value)
    if pillow.owns(value):
        return value.size[1], value.size[0]
    shape = as_array(value, "an image or mask").shape
    axes = image_axes(shape, layout if len(shape) == 3 else None, None, who)
    return shape[axes.height - 1], shape[axes.width - 1]


def move_boxes(
    boxes: NDArray[np.float64], size: tuple[int, int], move: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the boxes around moved boxes, clipped to an image of a size."""
    corners = move(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)).reshape(-1, 4, 2)
    around = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    height, width = size
    clipped: NDArray[np.float64] = np.nan_to_num(around).clip(0, [width, height, width, height])
    return clipped
