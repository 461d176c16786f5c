"""Chains of transforms on images that lie in an array: what a recipe can express is done in one pass.

The rows of the batch are not gathered first. The transforms that a recipe cannot express run after it
as they would have, with the same draws.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.batch.arena import empty
from headrace.errors import ArgumentError
from headrace.faces import batch_function, fast_face
from headrace.kernels.cores import threads
from headrace.keys import part, slot
from headrace.transforms.base import ImageTransform, image_axes
from headrace.transforms.recipe import Recipe, channels_last

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Step = tuple[tuple[int, ...], Callable[[Any], Any]]

__all__ = ["apply_to_rows", "flat_steps", "make_rows", "write_steps"]


def apply_to_rows(
    images: NDArray[Any],
    rows: NDArray[np.int64],
    functions: Sequence[Step],
    wrap: Callable[[NDArray[Any]], Any],
) -> Any:
    """What functions that work on batches make of some of the images, or None if nothing is won by this.

    Args:
        images: shape (N, ...).
        rows: which of them, shape (n,), int64.
        functions: one after the other, each with the slots, one in the other, in which it draws.
        wrap: makes of an ndarray what the functions are given.
    """
    steps = list(flat_steps(functions))
    recipe = _begin(images, len(rows), steps[0][1]) if steps and len(rows) else None
    if recipe is None:
        return None
    axes = recipe.axes
    written = write_steps(recipe, steps)
    if written == 0:
        return None
    out = empty((len(rows), *recipe.shape), recipe.dtype)
    make_rows(recipe, channels_last(images, axes), rows, out)
    value = wrap(out)
    for path, function in steps[written:]:
        with slot(*path):
            apply = batch_function(function)
            assert apply is not None  # noqa: S101 - all of them work on batches
            value = apply(value)
    return value


def make_rows(recipe: Recipe, images: NDArray[np.uint8], rows: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Write what a recipe makes of some of the images.

    Args:
        recipe: of as many images as there are rows.
        images: shape (N, height, width, channels).
        rows: which of them, shape (n,), int64.
        out: shape (n, *recipe.shape), of the recipe's dtype.

    Raises:
        OutOfRangeError: there is no such row.
    """
    pixels, last, active = recipe.pixels(), channels_last(out, recipe.axes), kernels.active()
    if recipe.scaling is None:
        active.cut(images, rows, pixels.places, pixels.table, pixels.fill, last, pixels.terms, recipe.lines)
    else:
        active.scale(images, rows, recipe.scaling, pixels, last, threads())


def flat_steps(functions: Sequence[Step]) -> Iterator[Step]:
    """The functions with those of each Compose in its place."""
    for path, function in functions:
        inner = fast_face(function, "steps", "__call__")
        if inner is None:
            yield path, function
        else:
            yield from flat_steps([((*path, number), each) for number, each in enumerate(inner())])


def write_steps(recipe: Recipe, steps: Sequence[Step]) -> int:
    """Let the functions write themselves into the recipe as far as it can express them; how many it could."""
    for number, (path, function) in enumerate(steps):
        if not _write(recipe, path, function):
            return number
    return len(steps)


def _begin(images: NDArray[Any], count: int, first: Any) -> Recipe | None:
    """An empty recipe, if the first function is one for these images."""
    if images.dtype != "uint8" or not isinstance(first, ImageTransform):
        return None
    try:
        axes = image_axes(images.shape[1:], images.dtype, first.layout)
    except ArgumentError:  # the transform itself will say so
        return None
    _, height, width, channels = channels_last(images, axes).shape
    return Recipe(_extents(count, height, width), channels, axes, repeats=True)


@lru_cache(16)
def _extents(count: int, height: int, width: int) -> NDArray[np.int64]:
    """The same height and width for each of `count` images; nobody writes to it."""
    return np.broadcast_to(np.array([height, width], np.int64), (count, 2))


def _write(recipe: Recipe, path: tuple[int, ...], function: Any) -> bool:
    """Let a function write itself into the recipe; whether it has."""
    lower = fast_face(function, "lower", "transform")
    if lower is None:
        return False
    with slot(*path):
        if recipe.uniform or function.takes_any_sizes:
            return recipe.fits(function.layout) and bool(lower(recipe))
        return _write_by_size(recipe, function.layout, lower)


def _write_by_size(recipe: Recipe, layout: str | None, lower: Callable[[Recipe], object]) -> bool:
    """The same for images of several sizes, those of one size at a time."""
    sizes, which = np.unique(recipe.sizes, axis=0, return_inverse=True)
    parts = []
    for number in range(len(sizes)):
        rows = np.flatnonzero(which.reshape(-1) == number)
        some = recipe.part(rows)
        with part(rows, len(recipe)):
            if not (some.fits(layout) and lower(some)):
                return False
        parts.append((rows, some))
    recipe.take_in(parts)
    return True
