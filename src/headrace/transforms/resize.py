"""Transforms that scale images: by the nearest pixels, or by filters that are widened where they shrink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import kernels
from headrace.batch.arena import empty
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.images.interpolation import check_interpolation
from headrace.images.program import channels_last
from headrace.kernels.cores import threads
from headrace.kernels.images import Interpolation, Pixels, Scaling
from headrace.kernels.taps import Taps, taps
from headrace.rng.draws import draw
from headrace.transforms.base import ImageTransform, RandomImageTransform
from headrace.transforms.chance import CropBox, check_range, note_boxes, random_crop_boxes
from headrace.transforms.placement import Placement, scaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes
    from headrace.images.program import Program

__all__ = ["RandomResizedCrop", "Resize"]

_INTERPOLATIONS = [kind.name.lower() for kind in Interpolation]
_STRIP_BYTES = 1 << 18  # of rows that are scaled together: they stay in the cache, and their memory is used again


class _Resampling(NamedTuple):
    """The way in which pixels of a scaled image are made; see `headrace.kernels.images.Scaling`."""

    interpolation: Interpolation
    antialias: bool


class Resize(ImageTransform):
    """Scale the image.

    Args:
        size: (height, width) in pixels, or one integer for the shorter side; the other one keeps
            its proportion, rounded down.
        interpolation: "nearest" for the pixel that the middle of the new one falls on, "bilinear" for
            those around it, "bicubic" for more of them, which keeps edges sharper; torchvision's and
            Pillow's constants too.
        max_size: with one integer, what the longer side is at most, in pixels: where it would be
            longer, it becomes that, and the shorter side keeps its proportion.
        antialias: whether all pixels count where the image shrinks, as in Pillow, rather than the
            four nearest ones, or sixteen if bicubic; "nearest" takes one in any case.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: a size or interpolation is not allowed, or max_size is not larger than one
            integer; when called, the images have no pixels.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point; "nearest" takes all types.

    Named as torchvision.transforms.v2.Resize, with its defaults. Bytes are scaled along the width,
    then along the height, and rounded after each as Pillow rounds them: the result is Pillow's, to the
    last bit, or differs by 1, bicubic by a few, where Pillow takes the height first. The nearest pixels
    are those that torchvision calls nearest-exact; bicubic is Keys' curve with a = -0.5.

    >>> Resize(2)(np.zeros((3, 4, 6), np.float32)).shape
    (3, 2, 3)
    """

    takes_any_sizes = True

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: Any = "bilinear",
        max_size: int | None = None,
        antialias: bool = True,  # noqa: FBT001, FBT002 - torchvision's order
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(layout)
        self.size = _check_size(size)
        self.interpolation = check_interpolation(interpolation, _INTERPOLATIONS)
        self.max_size = _check_max_size(max_size, self.size)
        self.antialias = bool(antialias)

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the scaled images; `images` itself if they have that size already."""
        _check_images(images, "Resize", self.interpolation)
        extent = images.shape[axes.height], images.shape[axes.width]
        size = self._size_of(extent)
        if size == extent:
            return images
        out = _empty_of_size(images, axes, size)
        if images.dtype == np.uint8:
            whole = [CropBox(0, 0, *extent)] * len(images)
            _scale_bytes(channels_last(images, axes), channels_last(out, axes), whole, _resampling(self))
        else:
            _scale(_planes(images, axes), _planes(out, axes), _resampling(self))
        return out

    def place(self, extent: tuple[int, int]) -> Placement:
        """Return where an image of a height and width comes to lie."""
        return scaled(extent, self._size_of(extent))

    def lower(self, program: Program) -> bool:
        """Write what the images become into a program; whether it can express that."""
        if not program.can_scale() or 0 in program.sizes:
            return False
        sizes: Any = self.size
        if isinstance(self.size, int):
            sizes = [self._size_of((height, width)) for height, width in program.sizes.tolist()]
        program.scale(sizes, *_resampling(self))
        return True

    def _size_of(self, extent: tuple[int, int]) -> tuple[int, int]:
        """Return the size that an image of that height and width is scaled to."""
        if isinstance(self.size, tuple):
            return self.size
        # As torchvision rounds: down, the shorter side from what the longer one was rounded to.
        shorter, longer = self.size, int(self.size * max(extent) / min(extent))
        if self.max_size is not None and longer > self.max_size:
            shorter, longer = max(1, int(self.max_size * shorter / longer)), self.max_size
        return (shorter, longer) if extent[0] <= extent[1] else (longer, shorter)


class RandomResizedCrop(RandomImageTransform):
    """Cut a crop of random area and shape out of the image and scale it to a size.

    Args:
        size: (height, width) of the result in pixels, or one integer for both.
        scale: the least and the largest area of the crop, as parts of the image.
        ratio: the least and the largest width over height of the crop; its logarithm is uniform.
        interpolation: "nearest", "bilinear" or "bicubic"; see Resize.
        antialias: whether all pixels count where the crop shrinks; see Resize.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: a size, range or interpolation is not allowed; when called, the images have no pixels.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point; "nearest" takes all types.

    Named as torchvision.transforms.v2.RandomResizedCrop; Szegedy et al., "Going Deeper with
    Convolutions", CVPR 2015. Where ten crops did not fit, the largest one in the middle is taken
    that has an allowed shape.

    >>> RandomResizedCrop(24)(np.zeros((3, 40, 60), np.float32)).shape
    (3, 24, 24)
    """

    takes_any_sizes = True

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: Any = "bilinear",
        antialias: bool = True,  # noqa: FBT001, FBT002 - torchvision's order
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(layout)
        checked = _check_size(size)
        self.size = checked if isinstance(checked, tuple) else (checked, checked)
        self.scale = check_range("scale", scale, 0)
        self.ratio = check_range("ratio", ratio, 0)
        self.interpolation = check_interpolation(interpolation, _INTERPOLATIONS)
        self.antialias = bool(antialias)

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the scaled crops, one of each image."""
        _check_images(images, "RandomResizedCrop", self.interpolation)
        extent = images.shape[axes.height], images.shape[axes.width]
        crops = self._crop_boxes(np.tile(extent, (len(images), 1)))
        out = _empty_of_size(images, axes, self.size)
        if images.dtype == np.uint8:
            _scale_bytes(channels_last(images, axes), channels_last(out, axes), crops, _resampling(self))
            return out
        for row, crop in enumerate(crops):
            source, target = (_planes(batch[row : row + 1], axes) for batch in (images, out))
            rows, columns = crop.slices
            _scale(source[:, rows, columns], target, _resampling(self))
        return out

    def place(self, extent: tuple[int, int]) -> Placement:
        """Return where an image of a height and width comes to lie."""
        (crop,) = self._crop_boxes(np.array([extent]))
        size, scale = scaled((crop.height, crop.width), self.size)
        return Placement(size, lambda points: scale(points - np.array([crop.left, crop.top])))

    def lower(self, program: Program) -> bool:
        """Write what the images become into a program; whether it can express that."""
        if not program.can_scale() or 0 in program.sizes:
            return False
        program.crop_each(np.array(self._crop_boxes(program.sizes), np.int64).reshape(-1, 4))
        program.scale(self.size, *_resampling(self))
        return True

    def _crop_boxes(self, extents: NDArray[np.int64]) -> list[CropBox]:
        """Return the crop of each image, whose height and width are given."""
        crops = random_crop_boxes(draw(len(extents)), extents, self.scale, self.ratio)
        pairs = zip(crops, extents.tolist(), strict=True)
        boxes = [crop or _central((height, width), self.ratio) for crop, (height, width) in pairs]
        note_boxes(self, boxes)
        return boxes


def _central(extent: tuple[int, int], ratio: tuple[float, float]) -> CropBox:
    """Return the largest crop in the middle whose width over height is allowed."""
    height, width = extent
    if width / height < ratio[0]:
        height = min(height, max(1, round(width / ratio[0])))
    elif width / height > ratio[1]:
        width = min(width, max(1, round(height * ratio[1])))
    return CropBox((extent[0] - height) // 2, (extent[1] - width) // 2, height, width)


# ---------------------------------------------------------------- the work, on shape (n, height, width, channels)


def _resampling(transform: Resize | RandomResizedCrop) -> _Resampling:
    return _Resampling(Interpolation[transform.interpolation.upper()], transform.antialias)


def _scale_bytes(source: NDArray[np.uint8], out: NDArray[np.uint8], crops: list[CropBox], how: _Resampling) -> None:
    """Write a crop of each image of bytes, scaled to the size of `out`, into it."""
    count, height, width, channels = out.shape
    boxes = np.array([(top, left, top + high, left + wide) for top, left, high, wide in crops], np.float64)
    sizes = np.tile(np.array([height, width], np.int32), (count, 1))
    places = np.tile(np.array([0, 0, 1, 1, 0, height, 0, width], np.int32), (count, 1))
    values = np.tile(np.arange(256, dtype=np.uint8), (channels, 1))
    scaling = Scaling(np.zeros(count, np.int32), boxes.reshape(count, 4), sizes, how.antialias, how.interpolation)
    pixels = Pixels(places, values, np.zeros(channels, np.uint8))
    kernels.active().scale(source, np.arange(count), scaling, pixels, out, threads())


def _scale(source: NDArray[Any], out: NDArray[Any], how: _Resampling) -> None:
    """Write floating-point images, scaled to the size of `out`, into it: a strip of one, or a few, at a time."""
    count, height, width, channels = source.shape
    to_height, to_width = out.shape[1:3]
    if how.interpolation == Interpolation.NEAREST:
        rows, columns = taps(0, height, to_height, *how).places[0], taps(0, width, to_width, *how).places[0]
        out[...] = source[:, rows[:, np.newaxis], columns]
        return
    dtype = np.result_type(source.dtype, np.float32)
    vertical, horizontal = taps(0, height, to_height, *how), taps(0, width, to_width, *how)
    rows_at_once = max(1, _STRIP_BYTES // (max(width, to_width) * channels * dtype.itemsize))
    images_at_once = max(1, rows_at_once // to_height)
    lines = source.reshape(count, height, width * channels)
    for start in range(0, count, images_at_once):
        some = slice(start, start + images_at_once)
        for top in range(0, to_height, rows_at_once):
            rows = slice(top, top + rows_at_once)
            strip = _filter(lines[some], vertical.part(rows), dtype)
            strip = strip.reshape(*strip.shape[:2], width, channels)
            _scale_columns(strip, out[some, rows], horizontal)


def _scale_columns(strip: NDArray[Any], out: NDArray[Any], of: Taps) -> None:
    count, height, width, channels = strip.shape
    # Columns are filtered as lines, which are contiguous: that is worth turning the image twice.
    columns = _filter(strip.swapaxes(1, 2).reshape(count, width, height * channels), of, strip.dtype)
    result = columns.reshape(count, -1, height, channels).swapaxes(1, 2)
    np.copyto(out, result, casting="unsafe")


def _filter(lines: NDArray[Any], of: Taps, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return weighted sums of lines, shape (n, lines, pixels) to (n, size, pixels).

    Sums of products in a given order, and no matrix product, whose order depends on the number of
    images and threads: so the bytes are the same for an image alone and in a batch.
    """
    total: NDArray[Any] | None = None
    for places, weights in zip(of.places, of.weights.astype(dtype), strict=True):
        tap = lines.take(places, axis=1).astype(dtype, copy=False)
        tap *= weights[:, np.newaxis]
        total = tap if total is None else np.add(total, tap, out=total)
    assert total is not None  # noqa: S101 - there is a tap at least
    return total


def _planes(images: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """Return the images as shape (n, height, width, channels), each channel an image of its own where they come first.

    A view of contiguous images.
    """
    height, width = images.shape[axes.height], images.shape[axes.width]
    return images.reshape(-1, height, width, images.shape[3] if axes.channels == 3 else 1)


def _empty_of_size(images: NDArray[Any], axes: Axes, size: tuple[int, int]) -> NDArray[Any]:
    shape = list(images.shape)
    shape[axes.height], shape[axes.width] = size
    return empty(tuple(shape), images.dtype)


# ---------------------------------------------------------------- arguments


def _check_images(images: NDArray[Any], who: str, interpolation: str) -> None:
    if images.dtype != np.uint8 and images.dtype.kind != "f" and interpolation != "nearest":
        raise ArgumentTypeError(
            f"{who} takes uint8 or floating-point images, but got {images.dtype}; put ToFloat() before it"
        )
    if 0 in images.shape[1:]:
        raise ArgumentError(f"{who} takes images of at least one pixel, but got shape {images.shape[1:]}")


def _check_size(size: Any) -> int | tuple[int, int]:
    numbers = tuple(size) if isinstance(size, list | tuple) or np.ndim(size) == 1 else (size,)
    integers = all(isinstance(number, int | np.integer) and not isinstance(number, bool) for number in numbers)
    if len(numbers) not in (1, 2) or not integers or min(numbers) < 1:
        raise ArgumentError(f"size must be a positive integer or (height, width), but got size={size!r}")
    return int(numbers[0]) if len(numbers) == 1 else (int(numbers[0]), int(numbers[1]))


def _check_max_size(max_size: Any, size: int | tuple[int, int]) -> int | None:
    if max_size is None:
        return None
    if isinstance(size, tuple):
        raise ArgumentError(f"max_size goes with one integer as size, but got max_size={max_size!r} and size={size}")
    if isinstance(max_size, bool) or not isinstance(max_size, int | np.integer) or max_size <= size:
        raise ArgumentError(f"max_size must be an integer larger than size={size}, but got max_size={max_size!r}")
    return int(max_size)
