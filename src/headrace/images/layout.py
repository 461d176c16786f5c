"""The layout of images, and how it is tracked through a chain of transforms.

A decoder, or a layout that the user gives, decides it for all that follows: each step of a chain says what becomes of
it. Only where none is given is a layout taken from the shape, and only where that leaves no doubt.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.batch.capabilities import batch_function, capability
from headrace.errors import ArgumentError
from headrace.rng.places import slots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Step = tuple[tuple[int, ...], Callable[[Any], Any]]

__all__ = [
    "Axes",
    "entry_layouts",
    "find_layout",
    "image_axes",
    "in_layout",
    "is_own",
    "layout_after",
    "run_step",
    "run_steps",
]

LAYOUTS = ("HW", "CHW", "HWC")
_LAST = (1, 3, 4)  # channels behind height and width: grey, colour, colour with alpha
_MOST_FIRST = 4  # channels before them
_OWN = "headrace.transforms."  # the modules of transforms that work on each sample by itself


class Axes(NamedTuple):
    """The positions of height, width and channels among the dimensions of a batch of images."""

    height: int
    width: int
    channels: int | None


_AXES = {"HW": Axes(1, 2, None), "CHW": Axes(2, 3, 1), "HWC": Axes(1, 2, 3)}


@lru_cache(256)
def image_axes(
    shape: tuple[int, ...], layout: str | None = None, known: str | None = None, who: str = "Transform"
) -> Axes:
    """Return the axes of a batch of images, from the shape of one of them.

    Args:
        shape: the shape of one image.
        layout: "HW", "CHW", "HWC", or None for what is known, or else can be told from the shape.
        known: "CHW" or "HWC": where the channels are if the image has three dimensions.
        who: the transform that asks, for the text of the error.

    Raises:
        ArgumentError: the shape does not fit the layout, leaves doubts, or is no image's.

    >>> image_axes((32, 32, 3)), image_axes((4, 32, 3), None, "HWC")
    (Axes(height=1, width=2, channels=3), Axes(height=1, width=2, channels=3))
    """
    if layout is None and len(shape) in (2, 3):
        layout = find_layout(shape, known)
        if layout is None:
            raise ArgumentError(
                f"{who} got an image of shape {shape}, which may be CHW or HWC, since {_doubt(shape)}; "
                f"say which it is: {who}(..., layout='HWC') or 'CHW'"
            )
    if layout is None or len(layout) != len(shape):
        raise ArgumentError(
            f"an image of layout {layout or 'HW, CHW or HWC'} was expected, but got shape {shape}; "
            "say which it is with layout='HW', 'CHW' or 'HWC'"
        )
    return _AXES[layout]


def find_layout(shape: tuple[int, ...], known: str | None = None) -> str | None:
    """Return the layout of an image of this shape; None where there are doubts.

    Two dimensions are HW. Three are as is known; else HWC if there are 1, 3 or 4 channels at the end, CHW if there are
    at most 4 in front. Where both may be channels, the image is the one that is square, if only one of them is.

    >>> find_layout((3, 32, 32)), find_layout((32, 32, 3)), find_layout((32, 32, 13))
    ('CHW', 'HWC', None)
    """
    if len(shape) != 3:
        return "HW" if len(shape) == 2 else None
    if known in ("CHW", "HWC"):
        return known
    first, last = shape[0] <= _MOST_FIRST, shape[2] in _LAST
    if first and last:  # tiny images, or strips of a few rows
        first, last = shape[1] == shape[2], shape[0] == shape[1]
    if first == last:
        return None
    return "CHW" if first else "HWC"


def _doubt(shape: tuple[int, ...]) -> str:
    if shape[0] <= _MOST_FIRST:
        return f"both {shape[0]} and {shape[2]} may be its channels"
    return f"neither {shape[0]} nor {shape[2]} is a usual number of channels"


# ---------------------------------------------------------------- along a chain


def is_own(function: object) -> bool:
    """Return whether it is one of headrace's transforms, and not one derived from these."""
    return type(function).__module__.startswith(_OWN)


def layout_after(function: Callable[[Any], Any], layout: str | None) -> str | None:
    """Return the layout of what a function makes of images, as far as it says so in `layout_after`.

    Args:
        function: takes an image.
        layout: that of the images before; None where it is not known.

    >>> layout_after(lambda image: image.transpose(2, 0, 1), "HWC") is None
    True
    """
    method = capability(function, "layout_after")
    found: str | None = None if method is None else method(layout)
    return found


def entry_layouts(functions: Iterable[Callable[[Any], Any]], layout: str | None) -> list[str | None]:
    """Return the layout before each of the functions, and that after the last.

    >>> entry_layouts([str.upper], "HWC")
    ['HWC', None]
    """
    layouts = [layout]
    for function in functions:
        layouts.append(layout_after(function, layouts[-1]))
    return layouts


def run_steps(steps: Sequence[Step], value: Any, layout: str | None, *, batched: bool) -> Any:
    """Return what functions, each with the slots in which it draws, make of an image or a batch of them.

    Args:
        steps: one after the other.
        value: the image or the batch.
        layout: that of the images, where it is known.
        batched: whether it is a batch; then all functions work on batches.
    """
    last = len(steps) - 1
    with slots() as move_to:
        for number, (path, function) in enumerate(steps):
            call = function if layout is None and not batched else in_layout(function, layout, batched=batched)
            move_to(path)
            value = call(value)
            if number < last:
                layout = layout_after(function, layout)
    return value


def run_step(function: Callable[[Any], Any], value: Any, layout: str | None, *, batched: bool) -> Any:
    """Return what one function makes of an image or a batch; see in_layout."""
    return in_layout(function, layout, batched=batched)(value)


def in_layout(function: Callable[[Any], Any], layout: str | None, *, batched: bool) -> Callable[[Any], Any]:
    """Return a function of images that are laid out in this way: one with an `apply_in_layout` hears of it.

    Args:
        function: takes an image.
        layout: where the channels are, where that is known.
        batched: whether the function returned takes batches; then the other one can do so, too.
    """
    method = capability(function, "apply_in_layout")
    if method is not None and layout is not None:
        return partial(method, layout=layout, batched=batched)
    call = batch_function(function) if batched else function
    assert call is not None  # noqa: S101 - as the caller says
    return call
