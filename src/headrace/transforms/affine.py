"""Transforms that turn, shear, scale and tilt images, and what they share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError
from headrace.images.interpolation import check_interpolation
from headrace.rng.draws import draw
from headrace.rng.notes import note, notes_wanted
from headrace.transforms.base import RandomImageTransform
from headrace.transforms.chance import check_probability, fractions, happens, is_number
from headrace.transforms.fill import check_fill, fill_of
from headrace.transforms.maps import IDENTITY, affine, perspective, rotated_size, rotation
from headrace.transforms.placement import mapped
from headrace.transforms.warping import INTERPOLATIONS, sampling_of, warp_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes
    from headrace.transforms.maps import Map
    from headrace.transforms.placement import Placement

__all__ = ["RandomAffine", "RandomPerspective", "RandomRotation", "Warping", "check_numbers"]


class Warping(RandomImageTransform):
    """Takes the pixels of each image from places that a map tells."""

    def __init__(
        self, interpolation: Any, fill: float | Sequence[float] | dict[str, Any] | None, layout: str | None
    ) -> None:
        super().__init__(layout)
        self.interpolation = check_interpolation(interpolation, INTERPOLATIONS)
        self.fill = check_fill(fill)

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    @abstractmethod
    def maps(self, count: int, extent: tuple[int, int]) -> list[Map]:
        """Return a map for each of so many images of a height and width."""

    def place(self, extent: tuple[int, int]) -> Placement:
        """Return where an image of a height and width comes to lie."""
        return mapped(self.maps(1, extent)[0], extent)

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the moved images; `images` itself if none of them is moved."""
        sampling = sampling_of(fill_of(self.fill), self.interpolation, images, axes)
        maps = self.maps(len(images), (images.shape[axes.height], images.shape[axes.width]))
        return warp_images(images, axes, maps, sampling)


class RandomRotation(Warping):
    """Turn the image by a random angle, counter-clockwise.

    Args:
        degrees: the least and the largest angle, or one number for the range from -degrees to it.
        interpolation: "nearest" for the pixel that a middle falls on, "bilinear" for the four around it;
            torchvision's and Pillow's constants too.
        expand: whether the result is so large that all of the image has room; then images of a batch differ in
            size, and the transform takes single ones.
        center: the point that it is turned around, x and y in pixels from the upper left corner; None for the middle.
        fill: the value of pixels that come from outside the image: one number, or one a channel; None for 0; a
            dict for an "image" and its "mask".
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: an argument is not allowed; when called, fill does not fit the channels, or a batch is to
            be expanded.
        ArgumentTypeError: when called with what pixels cannot be made of between others.

    Named as torchvision.transforms.v2.RandomRotation.

    >>> RandomRotation((90, 90))(np.array([[1, 2], [3, 4]]))
    array([[2, 4],
           [1, 3]])
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: Any = "nearest",
        expand: bool = False,  # noqa: FBT001, FBT002 - torchvision's order
        center: Sequence[float] | None = None,
        fill: float | Sequence[float] | dict[str, Any] | None = 0,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(interpolation, fill, layout)
        self.degrees = _check_angles("degrees", degrees, (2,))
        self.expand = bool(expand)
        self.center = _check_center(center)

    @property
    def batched(self) -> bool:
        """Whether images keep their size."""
        return not self.expand

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep their size."""
        return not self.expand

    def maps(self, count: int, extent: tuple[int, int]) -> list[Map]:
        """Return a map for each image, as large as before."""
        return [rotation(degrees, _center(self.center, extent)) for degrees in self._angles(count)]

    def place(self, extent: tuple[int, int]) -> Placement:
        """Return where an image of a height and width comes to lie."""
        if not self.expand:
            return super().place(extent)
        return mapped(*rotated_size(self._angles(1)[0], _center(self.center, extent), extent))

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the turned images; `images` itself if none of them is turned."""
        if not self.expand:
            return super().transform(images, axes)
        if len(images) != 1:
            raise ArgumentError("RandomRotation(expand=True) gives images of several sizes; apply it to each of them")
        extent = images.shape[axes.height], images.shape[axes.width]
        turned, size = rotated_size(self._angles(1)[0], _center(self.center, extent), extent)
        sampling = sampling_of(fill_of(self.fill), self.interpolation, images, axes)
        return warp_images(images, axes, [turned], sampling, size)

    def _angles(self, count: int) -> list[float]:
        angles: list[float] = _between(draw(count)[:, 0], self.degrees).tolist()
        note(self, degrees=angles)
        return angles


class RandomAffine(Warping):
    """Turn, move, scale and shear the image at random, around its middle.

    Args:
        degrees: the least and the largest angle, clockwise, or one number for the range from -degrees to it.
        translate: the largest moves to the sides and up and down, as parts of the width and of the height,
            0 ... 1; whole pixels are moved. None for none.
        scale: the least and the largest factor; None for 1.
        shear: degrees along the width: the least and the largest, or one number for the range from -shear to it;
            or four, of which two are along the height. None for none.
        interpolation: "nearest" or "bilinear"; see RandomRotation.
        fill: the value of pixels that come from outside the image: one number, or one a channel; None for 0; a
            dict for an "image" and its "mask".
        center: the point that is left where it is, but for the move; None for the middle.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: an argument is not allowed; when called, fill does not fit the channels.
        ArgumentTypeError: when called with what pixels cannot be made of between others.

    Named as torchvision.transforms.v2.RandomAffine.

    >>> RandomAffine(0, scale=(2, 2), center=(0, 0))(np.array([[1, 2], [3, 4]]))
    array([[1, 1],
           [1, 1]])
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: Any = "nearest",
        fill: float | Sequence[float] | dict[str, Any] | None = 0,
        center: Sequence[float] | None = None,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(interpolation, fill, layout)
        self.degrees = _check_angles("degrees", degrees, (2,))
        self.translate = None if translate is None else check_numbers("translate", translate, (2,), 0, 1)
        self.scale = None if scale is None else _check_scale(scale)
        self.shear = None if shear is None else _check_angles("shear", shear, (2, 4))
        self.center = _check_center(center)

    def maps(self, count: int, extent: tuple[int, int]) -> list[Map]:
        """Return a map for each image."""
        words = np.hstack([draw(count), draw(count)])
        right, down = self.translate or (0.0, 0.0)
        shears = (*(self.shear or ()), 0.0, 0.0, 0.0, 0.0)[:4]
        numbers = [
            _between(words[:, 0], self.degrees),
            np.rint(_between(words[:, 1], (-right * extent[1], right * extent[1]))),
            np.rint(_between(words[:, 2], (-down * extent[0], down * extent[0]))),
            _between(words[:, 3], self.scale or (1.0, 1.0)),
            _between(words[:, 4], shears[:2]),
            _between(words[:, 5], shears[2:]),
        ]
        turns, x, y, factors, along, up = numbers
        if notes_wanted():
            note(self, degrees=turns, right=x, down=y, scale=factors, shear=np.stack([along, up], axis=1))
        center = _center(self.center, extent)
        return [
            affine(turn, (x, y), by, (along, up), center)
            for turn, x, y, by, along, up in np.transpose(numbers).tolist()
        ]


class RandomPerspective(Warping):
    """Look at the image from a random side, with probability p.

    Args:
        distortion_scale: how far its corners come to lie inside at most, as a part of half of its sides, 0 ... 1.
        p: the probability, 0 ... 1.
        interpolation: "nearest" or "bilinear"; see RandomRotation.
        fill: the value of pixels that come from outside the image: one number, or one a channel; None for 0; a
            dict for an "image" and its "mask".
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: an argument is not allowed; when called, fill does not fit the channels.
        ArgumentTypeError: when called with what pixels cannot be made of between others.

    Named as torchvision.transforms.v2.RandomPerspective.

    >>> RandomPerspective(0.5, p=1.0)(np.zeros((32, 32, 3), np.uint8)).shape
    (32, 32, 3)
    """

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: Any = "bilinear",
        fill: float | Sequence[float] | dict[str, Any] | None = 0,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(interpolation, fill, layout)
        if not is_number(distortion_scale) or not 0 <= distortion_scale <= 1:
            raise ArgumentError(f"distortion_scale must be a number in [0, 1], but got {distortion_scale!r}")
        self.distortion_scale = float(distortion_scale)
        self.p = check_probability(p)

    def maps(self, count: int, extent: tuple[int, int]) -> list[Map]:
        """Return a map for each image, the identity for those that are left alone."""
        first, *others = draw(count), draw(count), draw(count)
        chosen = happens(first[:, 0], self.p).tolist()
        if min(extent) < 2:  # no corners to tell apart
            return [IDENTITY] * count
        corners = self._corners(np.hstack(others), extent)
        if notes_wanted():
            note(
                self,
                tilted=chosen,
                corners=[each if moved else [] for each, moved in zip(corners, chosen, strict=True)],
            )
        return [
            perspective(points, extent) if moved else IDENTITY for points, moved in zip(corners, chosen, strict=True)
        ]

    def _corners(self, words: NDArray[np.uint32], extent: tuple[int, int]) -> list[Any]:
        """Return where the corners of each image come to lie, pairs of x and y, clockwise from the upper left."""
        height, width = extent
        reach = np.array([int(self.distortion_scale * (side // 2)) + 1 for side in (width, height)] * 4)
        ends = np.array([0, 0, width - reach[0], 0, width - reach[0], height - reach[1], 0, height - reach[1]])
        places = (words * reach >> 32) + ends
        points: list[Any] = places.reshape(-1, 4, 2).tolist()
        return points


def _between(words: NDArray[np.uint32], ends: Sequence[float]) -> NDArray[np.float64]:
    """Return a uniform number of a range for each word."""
    low, high = ends
    return low + (high - low) * fractions(words)


def _center(center: tuple[float, ...] | None, extent: tuple[int, int]) -> tuple[float, float]:
    return (extent[1] / 2, extent[0] / 2) if center is None else (center[0], center[1])


# ---------------------------------------------------------------- arguments


def check_numbers(
    name: str, value: Any, lengths: tuple[int, ...], least: float = -np.inf, most: float = np.inf
) -> tuple[float, ...]:
    """Return several finite numbers of a range as floats.

    Raises:
        ArgumentError: they are none, not as many, or out of the range.
    """
    numbers = tuple(value) if isinstance(value, list | tuple | np.ndarray) else ()
    finite = all(is_number(each) and np.isfinite(each) for each in numbers)
    if len(numbers) in lengths and finite and all(least <= number <= most for number in numbers):
        return tuple(map(float, numbers))
    limits = "" if least == -np.inf else f" in [{least:g}, {most:g}]"
    many = " or ".join(map(str, lengths))
    raise ArgumentError(f"{name} must be {many} finite numbers{limits}, but got {name}={value!r}")


def _check_angles(name: str, value: Any, lengths: tuple[int, ...]) -> tuple[float, ...]:
    if is_number(value):
        if not 0 <= value < np.inf:
            raise ArgumentError(f"{name} as one number must not be negative, but got {name}={value!r}")
        return -float(value), float(value)
    return check_numbers(name, value, lengths)


def _check_scale(scale: Any) -> tuple[float, ...]:
    ends = check_numbers("scale", scale, (2,))
    if min(ends) <= 0:
        raise ArgumentError(f"scale must be two positive numbers, but got scale={scale!r}")
    return ends


def _check_center(center: Any) -> tuple[float, ...] | None:
    return None if center is None else check_numbers("center", center, (2,))
