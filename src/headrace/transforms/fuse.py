"""Chains of transforms on images that lie in an array: what a recipe can express is done in one pass.

The rows of the batch are not gathered first. The transforms that a recipe cannot express run after it
as they would have, with the same draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError
from headrace.faces import batch_function, fast_face
from headrace.keys import slot
from headrace.transforms.base import Compose, ImageTransform, image_axes
from headrace.transforms.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["apply_to_rows"]


def apply_to_rows(
    images: NDArray[Any],
    rows: NDArray[np.int64],
    functions: Sequence[tuple[int, Callable[[Any], Any]]],
    wrap: Callable[[NDArray[Any]], Any],
) -> Any:
    """What functions that work on batches make of some of the images, or None if nothing is won by this.

    Args:
        images: shape (N, ...).
        rows: which of them, shape (n,), int64.
        functions: one after the other, each with the slot in which it draws.
        wrap: makes of an ndarray what the functions are given.
    """
    steps = list(_steps(functions))
    recipe = _begin(images, len(rows), steps[0][1]) if steps else None
    if recipe is None:
        return None
    written = 0
    for path, function in steps:
        if not _write(recipe, path, function):
            break
        written += 1
    if written == 0:
        return None
    value = wrap(recipe.make(rows))
    for path, function in steps[written:]:
        with slot(*path):
            apply = batch_function(function)
            assert apply is not None  # noqa: S101 - all of them work on batches
            value = apply(value)
    return value


def _steps(functions: Sequence[tuple[int, Any]], path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    """The functions with those of each Compose in its place."""
    for number, function in functions:
        inner = (*path, number)
        if type(function) is Compose:
            yield from _steps(list(enumerate(function.transforms)), inner)
        else:
            yield inner, function


def _begin(images: NDArray[Any], count: int, first: Any) -> Recipe | None:
    """An empty recipe, if the first function is one for these images."""
    if images.dtype != "uint8" or not isinstance(first, ImageTransform):
        return None
    try:
        axes = image_axes(images.shape[1:], images.dtype, first.layout)
    except ArgumentError:  # the transform itself will say so
        return None
    return Recipe(images, count, axes)


def _write(recipe: Recipe, path: tuple[int, ...], function: Any) -> bool:
    """Let a function write itself into the recipe; whether it has."""
    lower = fast_face(function, "lower", "transform")
    if lower is None or not recipe.fits(function.layout):
        return False
    with slot(*path):
        return bool(lower(recipe))
