"""What a transform is, and how images are laid out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import adapters
from headrace.batch.arena import empty
from headrace.errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Axes", "ImageTransform", "RandomImageTransform", "Transform", "image_axes", "per_channel"]

LAYOUTS = ("HW", "CHW", "HWC")
_CHANNELS = (1, 3, 4)  # grey, colour, colour with alpha
_MOST_CHANNELS = 4


class Transform(ABC):
    """A function of one sample that can also be applied to a whole batch, with the same result.

    Any function of a sample may stand in a chain; one that is a Transform lets the loader work on
    whole batches. Randomness comes from `headrace.sample_rng()`, or from `headrace.keys.draw`.

    >>> class Double(Transform):
    ...     def __call__(self, sample):
    ...         return 2 * sample
    ...     def apply_batch(self, batch):
    ...         return 2 * batch
    >>> Double()(3), Double().apply_batch(np.array([3, 4]))
    (6, array([6, 8]))
    """

    @property
    def batched(self) -> bool:
        """Whether `apply_batch` can be used."""
        return True

    @property
    def releases_gil(self) -> bool:
        """Whether `apply_batch` leaves other threads the GIL for most of its time; if in doubt, no."""
        return False

    @property
    def is_random(self) -> bool:
        """Whether the result depends on draws, so that it must not be cached."""
        return False

    @abstractmethod
    def __call__(self, sample: Any) -> Any:
        """Return what the sample becomes."""

    @abstractmethod
    def apply_batch(self, batch: Any) -> Any:
        """Return what the batch becomes: the same as each of its samples would alone."""

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name.lstrip('_')}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


class Axes(NamedTuple):
    """Where height, width and channels are among the dimensions of a batch of images."""

    height: int
    width: int
    channels: int | None


_AXES = {"HW": Axes(1, 2, None), "CHW": Axes(2, 3, 1), "HWC": Axes(1, 2, 3)}


@lru_cache(256)
def image_axes(shape: tuple[int, ...], dtype: np.dtype[Any], layout: str | None) -> Axes:
    """The axes of a batch of images, from the shape of one of them.

    Without a layout two dimensions are HW. Three are HWC if a uint8 image ends in 1, 3 or 4
    channels, else CHW if there are at most 4 in front, else HWC if it ends in 1, 3 or 4, else CHW.

    Args:
        shape: the shape of one image.
        dtype: its dtype.
        layout: "HW", "CHW", "HWC", or None to infer it.

    Raises:
        ArgumentError: the shape does not fit the layout, or is no image's.

    >>> image_axes((32, 32, 3), np.dtype(np.uint8), None)
    Axes(height=1, width=2, channels=3)
    """
    if layout is None and len(shape) in (2, 3):
        layout = "HW" if len(shape) == 2 else _infer_layout(shape, dtype)
    if layout is None or len(layout) != len(shape):
        raise ArgumentError(
            f"an image of layout {layout or 'HW, CHW or HWC'} was expected, but got shape {shape}; "
            "say which it is with layout='HW', 'CHW' or 'HWC'"
        )
    return _AXES[layout]


def _infer_layout(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    ends_in_channels = shape[2] in _CHANNELS
    if dtype == np.uint8 and ends_in_channels:
        return "HWC"
    if shape[0] <= _MOST_CHANNELS or not ends_in_channels:
        return "CHW"
    return "HWC"


def per_channel(name: str, values: float | Sequence[float], images: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """One number, or one a channel, in the images' dtype and shaped to broadcast against them.

    Raises:
        ArgumentError: there are neither one nor as many numbers as channels, or the dtype cannot hold them.

    >>> per_channel("mean", [1, 2], np.zeros((8, 2, 4, 4)), Axes(2, 3, 1)).shape
    (2, 1, 1)
    """
    try:
        numbers = np.atleast_1d(np.asarray(values, images.dtype))
    except (OverflowError, TypeError, ValueError) as error:
        raise ArgumentError(f"{name}={values!r} cannot be a value of {images.dtype} images: {error}") from error
    channels = 1 if axes.channels is None else images.shape[axes.channels]
    if numbers.ndim != 1 or len(numbers) not in (1, channels):
        raise ArgumentError(f"{name} has {numbers.size} values for images with {channels} channels: {values!r}")
    shape = [1] * (images.ndim - 1)
    if axes.channels is not None:
        shape[axes.channels - 1] = len(numbers)
    return numbers.reshape(shape)


class ImageTransform(Transform):
    """A transform of images as arrays, one at a time or a batch of them.

    Derive from it and write `transform`. It takes ndarrays, torch tensors, JAX arrays and boxed
    tensors, and returns the same kind. Called with one dimension more than an image has (four, where
    no layout is given), it takes the first one for the batch.

    Args:
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Attributes:
        takes_any_sizes: whether the method `lower`, where there is one, looks at the size of each image
            of the recipe (`sizes`), rather than at the one size of all (`size`).

    Raises:
        ArgumentError: another layout.

    >>> class Invert(ImageTransform):
    ...     def transform(self, images, axes):
    ...         return ~images
    >>> Invert()(np.array([[0, 255]], np.uint8))
    array([[255,   0]], dtype=uint8)
    """

    takes_any_sizes = False

    def __init__(self, layout: str | None = None) -> None:
        if layout is not None and layout not in LAYOUTS:
            raise ArgumentError(f"layout must be 'HW', 'CHW', 'HWC' or None, but got layout={layout!r}")
        self.layout = layout

    @property
    def releases_gil(self) -> bool:
        """Whether other threads have the GIL for most of the time: NumPy on whole batches leaves it to them."""
        return True

    @property
    def gives_one_size(self) -> bool:
        """Whether images of any sizes become images of one size: that of an attribute `size` (height, width)."""
        return isinstance(getattr(self, "size", None), tuple)

    @abstractmethod
    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return what the images become, or `images` itself where nothing changes.

        Args:
            images: shape (n, ...), never written to.
            axes: which dimensions of `images` are height, width and channels.
        """

    def __call__(self, sample: Any) -> Any:
        """Return what the image, or each image of a batch, becomes."""
        array, adapter = _as_array(sample)
        dimensions = 3 if self.layout is None else len(self.layout)
        if array.ndim > dimensions:
            return self.apply_batch(sample)
        images = array[np.newaxis]
        out = self._checked(images)
        return sample if out is images else adapter.from_numpy(out[0], sample)

    def apply_batch(self, batch: Any) -> Any:
        """Return what the images become, contiguous in memory."""
        images, adapter = _as_array(batch)
        out = self._checked(images)
        return batch if out is images else adapter.from_numpy(_contiguous(out), batch)

    def _checked(self, images: NDArray[Any]) -> NDArray[Any]:
        return self.transform(images, image_axes(images.shape[1:], images.dtype, self.layout))


class RandomImageTransform(ImageTransform):
    """An image transform that draws."""

    @property
    def is_random(self) -> bool:
        """Whether the result depends on draws: it does."""
        return True


def _as_array(value: Any) -> tuple[NDArray[Any], adapters.Adapter]:
    adapter = adapters.find(value)
    array = None if adapter is None else adapter.to_numpy(value)
    if adapter is None or array is None:
        raise ArgumentTypeError(
            f"an image transform takes an ndarray, a torch or JAX array on the host, or an object with an ndarray in "
            f".data, but got a {type(value).__module__}.{type(value).__qualname__}; convert it with numpy.asarray"
        )
    return array, adapter


def _contiguous(array: NDArray[Any]) -> NDArray[Any]:
    if array.flags.c_contiguous:
        return array
    out = empty(array.shape, array.dtype)
    np.copyto(out, array)
    return out
