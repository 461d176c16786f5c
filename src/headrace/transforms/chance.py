"""Random decisions made from random words: yes or no, a number of a range, a crop box."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import kernels
from headrace.errors import ArgumentError
from headrace.rng.notes import note, notes_wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "CropBox",
    "check_probability",
    "check_range",
    "fractions",
    "happens",
    "is_number",
    "more_words",
    "note_boxes",
    "random_crop_boxes",
]

_WORDS = 2.0**32
_ATTEMPTS = 10  # as in torchvision


class CropBox(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rows and the columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def happens(words: NDArray[np.uint32], p: float) -> NDArray[np.bool_]:
    """Return whether what has the probability p happens, for each word.

    >>> happens(np.array([0, 2**31, 2**32 - 1], np.uint32), 0.5)
    array([ True, False, False])
    """
    return words < p * _WORDS


def fractions(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return the words as uniform numbers in [0, 1).

    >>> fractions(np.array([0, 2**30], np.uint32))
    array([0.  , 0.25])
    """
    return words / _WORDS


def more_words(words: NDArray[np.uint32], number: int) -> NDArray[np.uint32]:
    """Draw four further random words for each row of `words`, from its last two.

    So a decision that takes an unknown number of words still draws once, and nothing behind it
    depends on how many it took.

    Args:
        words: what was drawn, shape (n, 4).
        number: which further words, from 0.

    >>> more_words(np.zeros((2, 4), np.uint32), 0).shape
    (2, 4)
    """
    seeds = words[:, 2].astype(np.uint64) << np.uint64(32) | words[:, 3]
    return kernels.active().philox(0, seeds.view(np.int64), number)


def random_crop_boxes(
    words: NDArray[np.uint32],
    extent: tuple[int, int] | NDArray[np.int64],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    *,
    smaller: bool = False,
) -> list[CropBox | None]:
    """Return a box of random area, shape and place for each row of `words`; None where ten attempts failed.

    Args:
        words: what was drawn, shape (n, 4).
        extent: the height and width that the boxes lie in: two integers, or two a row, shape (n, 2).
        scale: the least and the largest area, as parts of the whole.
        ratio: the least and the largest width over height; its logarithm is uniform.
        smaller: whether a box must be less high and less wide than the whole.
    """
    extents: list[list[int]] = np.broadcast_to(np.asarray(extent), (len(words), 2)).tolist()
    boxes: list[CropBox | None] = [None] * len(words)
    pending = list(range(len(words)))
    for attempt in range(_ATTEMPTS):
        if not pending:
            break
        for row, trial in zip(pending, more_words(words[pending], attempt).tolist(), strict=True):
            boxes[row] = _try_box(trial, extents[row], scale, ratio, less=smaller)
        pending = [row for row in pending if boxes[row] is None]
    return boxes


def note_boxes(transform: object, boxes: Sequence[CropBox | None], **drawn: Sequence[Any] | NDArray[Any]) -> None:
    """Note the boxes that a transform has drawn for some images, beside other values.

    Args:
        transform: the transform.
        boxes: one an image; None for none.
        **drawn: values by name, one an image.
    """
    if notes_wanted():
        sides = {name: [box and getattr(box, name) for box in boxes] for name in CropBox._fields}
        note(transform, **drawn, **({} if boxes and None in boxes else sides))


def _try_box(
    words: list[int],
    extent: list[int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    *,
    less: bool,
) -> CropBox | None:
    # Python's numbers, since NumPy's exp may round otherwise for one number than for many
    most_height, most_width = extent
    area = most_height * most_width * _between(words[0], *scale)
    shape = math.exp(_between(words[1], math.log(ratio[0]), math.log(ratio[1])))
    height, width = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
    if not (0 < height <= most_height - less and 0 < width <= most_width - less):
        return None
    top, left = words[2] * (most_height - height + 1) >> 32, words[3] * (most_width - width + 1) >> 32
    return CropBox(top, left, height, width)


def _between(word: int, low: float, high: float) -> float:
    return low + (high - low) * word / _WORDS


def check_probability(p: Any) -> float:
    """Return the probability as a float.

    Raises:
        ArgumentError: it is none.
    """
    if not is_number(p) or not 0 <= p <= 1:
        raise ArgumentError(f"p must be a probability in [0, 1], but got p={p!r}")
    return float(p)


def check_range(name: str, value: Any, least: float, most: float = math.inf) -> tuple[float, float]:
    """Return the two ends of a range as floats.

    Args:
        name: what the range is of.
        value: what was given for it.
        least: what the lower end is at least; 0 stands for more than 0.
        most: what the upper end is at most.

    Raises:
        ArgumentError: it is no range, or not in these limits.
    """
    ends = tuple(value) if isinstance(value, list | tuple | np.ndarray) else ()
    if len(ends) == 2 and all(map(is_number, ends)):
        low, high = map(float, ends)
        if least <= low <= high <= most and low != 0 and math.isfinite(high):
            return low, high
    upper = "" if most == math.inf else f" <= {most:g}"
    raise ArgumentError(f"{name} must be (low, high) with 0 < low <= high{upper}, but got {name}={value!r}")


def is_number(value: Any) -> bool:
    """Return whether it is a real number, and no truth value."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
