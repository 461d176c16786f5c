"""Chains of transforms on images that lie in an array: what a program can express is done in one pass.

The rows of the batch are not gathered first. The transforms that a program cannot express run after it
as they would have, with the same draws.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import frameworks, kernels
from headrace.batch.arena import empty
from headrace.batch.capabilities import capability
from headrace.errors import ArgumentError
from headrace.images.layout import entry_layouts, image_axes, is_own, run_steps
from headrace.images.program import Program, channels_last
from headrace.images.steps import flat_steps
from headrace.kernels.cores import threads
from headrace.rng.draws import present_place
from headrace.rng.places import part, slot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Step

__all__ = ["ProgramWriter", "apply_to_rows", "make_rows", "run_batch", "write_steps"]

_FIXED = (int, float, str, type(None), np.dtype, np.generic)


def apply_to_rows(
    images: NDArray[Any],
    rows: NDArray[np.int64],
    functions: Sequence[Step],
    wrap: Callable[[NDArray[Any]], Any],
    writer: ProgramWriter,
    layout: str | None = None,
) -> Any:
    """Apply functions that work on batches to some of the images; return None if nothing is won by this.

    Args:
        images: shape (N, ...).
        rows: which of them, shape (n,), int64.
        functions: one after the other, each with the slots, one in the other, in which it draws.
        wrap: makes of an ndarray what the functions are given.
        writer: knows how it went for the last batch.
        layout: where the channels of the images are, where that is known.
    """
    steps = list(flat_steps(functions))
    program, written = writer.write(images, len(rows), steps, layout) if steps and len(rows) else (None, 0)
    if program is None or not written:
        return None
    out = empty((len(rows), *program.shape), program.dtype)
    make_rows(program, channels_last(images, program.source_axes), rows, out)
    layout = entry_layouts([function for _, function in steps[:written]], layout)[-1]
    return run_batch(steps[written:], wrap(out), layout)


def run_batch(functions: Sequence[Step], value: Any, layout: str | None) -> Any:
    """Return what functions make of a batch, those that a program can express in one pass.

    Args:
        functions: one after the other, each with the slots in which it draws; all work on batches.
        value: the batch.
        layout: where the channels of images are, where that is known.
    """
    steps = list(flat_steps(functions))
    while steps:
        value, count = _pass(value, steps, layout) or (run_steps(steps[:1], value, layout, batched=True), 1)
        layout = entry_layouts([function for _, function in steps[:count]], layout)[-1]
        steps = steps[count:]
    return value


def _pass(value: Any, steps: list[Step], layout: str | None) -> tuple[Any, int] | None:
    """Return what the first functions make of a batch in one pass, and how many; None where that is none."""
    adapter = None if capability(steps[0][1], "lower") is None else frameworks.find(value)
    images = None if adapter is None else adapter.to_numpy(value)
    if adapter is None or images is None or not images.size:
        return None
    program, written = _write_anew(images, len(images), steps, layout)
    if program is None or not written:
        return None
    out = empty((len(images), *program.shape), program.dtype)
    make_rows(program, channels_last(images, program.source_axes), np.arange(len(images)), out)
    return adapter.from_numpy(out, value), written


def make_rows(program: Program, images: NDArray[np.uint8], rows: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Write what a program makes of some of the images.

    Args:
        program: of as many images as there are rows.
        images: shape (N, height, width, channels).
        rows: which of them, shape (n,), int64.
        out: shape (n, *program.shape), of the program's dtype.

    Raises:
        OutOfRangeError: there is no such row.
    """
    pixels, last, active = program.pixels(), channels_last(out, program.axes), kernels.active()
    if program.scaling is None:
        active.cut(images, rows, pixels.places, pixels.table, pixels.fill, last, pixels.terms, pixels.lines, threads())
    else:
        active.scale(images, rows, program.scaling, pixels, last, threads())


def write_steps(program: Program, steps: Sequence[Step], layout: str | None) -> int:
    """Let the functions write themselves into the program as far as it can express them.

    Args:
        program: of some images.
        steps: the functions, each with the slots in which it draws.
        layout: where the channels of the images are, as far as the chain before knows.

    Returns:
        How many it could express.
    """
    layouts = entry_layouts([function for _, function in steps], layout)
    for number, (path, function) in enumerate(steps):
        if not _write(program, path, function, layouts[number]):
            return number
    return len(steps)


class ProgramWriter:
    """Writes chains into programs, and knows the last one: for the next batch of the same images it is the same again.

    It pickles as one that knows nothing yet.
    """

    def __init__(self) -> None:
        self._last: _CachedProgram | None = None

    def __reduce__(self) -> tuple[type[ProgramWriter], tuple[()]]:
        return ProgramWriter, ()

    def write(
        self, images: NDArray[Any], count: int, steps: list[Step], layout: str | None
    ) -> tuple[Program | None, int]:
        """Return the program of so many of the images, None if there can be none, and how many steps it expresses."""
        found = present_place(count)
        if found is None:
            return _write_anew(images, count, steps, layout)
        place, draw = found
        last = self._last
        if last is None or layout != last.layout or not last.holds(place, images, steps):
            program, number = _write_anew(images, count, steps, layout)
            if program is None or not program.is_general or not all(is_own(function) for _, function in steps[:number]):
                return program, number
            attributes = _attributes(steps[:number])
            last = self._last = _CachedProgram(place, images.shape[1:], layout, steps, attributes, program, number)
        height, width = last.program.source_size
        return last.program.again(_extents(count, height, width), draw), last.number


class _CachedProgram(NamedTuple):
    """A general program, and what it was made of."""

    place: tuple[int, int]
    shape: tuple[int, ...]
    layout: str | None
    steps: list[Step]
    attributes: list[Any]
    program: Program
    number: int

    def holds(self, place: tuple[int, int], images: NDArray[Any], steps: list[Step]) -> bool:
        """Return whether it would be written again at this place for these images, by these steps as they are now."""
        return (
            place == self.place
            and images.shape[1:] == self.shape
            and images.dtype == np.uint8
            and len(steps) == len(self.steps)
            and all(one[1] is other[1] and one[0] == other[0] for one, other in zip(steps, self.steps, strict=True))
            and _attributes(steps[: self.number]) == self.attributes
        )


def _attributes(steps: list[Step]) -> list[Any]:
    """Return the functions' attributes: while these are equal, also inside lists, the functions write the same."""
    return [_kept(value) for _, function in steps for value in vars(function).values()]


def _kept(value: Any) -> Any:
    """Return an unchanging stand-in for a value; one for a value that may change equals itself alone."""
    if isinstance(value, _FIXED):
        return value
    if isinstance(value, tuple | list):
        return tuple(map(_kept, value))
    return (value.dtype, value.tobytes()) if isinstance(value, np.ndarray) else object()


def _write_anew(images: NDArray[Any], count: int, steps: list[Step], layout: str | None) -> tuple[Program | None, int]:
    program = _begin(images, count, steps[0][1], layout)
    return program, 0 if program is None else write_steps(program, steps, layout)


def _begin(images: NDArray[Any], count: int, first: Any, layout: str | None) -> Program | None:
    """Return an empty program, if the first function is one for these images."""
    if images.dtype != "uint8" or capability(first, "lower") is None:
        return None
    try:
        axes = image_axes(images.shape[1:], first.layout, layout)
    except ArgumentError:  # the transform itself will say so
        return None
    _, height, width, channels = channels_last(images, axes).shape
    return Program(_extents(count, height, width), channels, axes, repeats=True)


@lru_cache(16)
def _extents(count: int, height: int, width: int) -> NDArray[np.int64]:
    """Return the same height and width for each of `count` images; it must not be written to."""
    return np.tile(np.array([height, width], np.int64), (count, 1))


def _write(program: Program, path: tuple[int, ...], function: Any, known: str | None) -> bool:
    """Let a function write itself into the program; whether it has."""
    lower = capability(function, "lower")
    if lower is None:
        return False
    with slot(*path):
        if program.uniform or function.takes_any_sizes:
            return _fits(program, function, known) and bool(lower(program))
        return _write_by_size(program, function, known, lower)


def _fits(program: Program, function: Any, known: str | None) -> bool:
    """Return whether a transform sees the images as the program does, or in any case the same."""
    any_will_do = function.layout is None and not function.uses_layout
    return any_will_do or program.fits(function.layout, known)


def _write_by_size(program: Program, function: Any, known: str | None, lower: Callable[[Program], object]) -> bool:
    """Return the same for images of several sizes, those of one size at a time."""
    sizes, which = np.unique(program.sizes, axis=0, return_inverse=True)
    parts = []
    for number in range(len(sizes)):
        rows = np.flatnonzero(which.reshape(-1) == number)
        some = program.part(rows)
        with part(rows, len(program)):
            if not (_fits(some, function, known) and lower(some)):
                return False
        parts.append((rows, some))
    program.take_in(parts)
    return True
