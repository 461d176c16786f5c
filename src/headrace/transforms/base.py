"""The base classes of transforms, of samples and of images."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch.arena import empty
from headrace.batch.capabilities import capability
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.frameworks import numpy, pillow
from headrace.images.layout import LAYOUTS, find_layout, image_axes, is_own

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes

__all__ = ["ImageTransform", "RandomImageTransform", "Transform", "per_channel"]

# Modes of Pillow whose numbers are neither a brightness nor parts of red, green and blue; of whose numbers nothing lies
# between two.
_OTHER_COLOURS, _NOTHING_BETWEEN = ("P", "PA", "YCbCr", "HSV", "LAB"), ("1", "P", "PA")


class Transform(ABC):
    """A function of one sample that can also be applied to a whole batch, with the same result.

    Any function of a sample may stand in a chain; one that is a Transform lets the loader work on
    whole batches. Randomness comes from `headrace.sample_rng()`, or from `headrace.rng.draws.draw`.

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

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype, so that changed ones fit into a batch with others; if in doubt, no."""
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


def per_channel(name: str, values: float | Sequence[float], images: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """Return one number, or one a channel, in the images' dtype and shaped to broadcast against them.

    Raises:
        ArgumentError: there are neither one nor as many numbers as channels, or the dtype cannot hold them.

    >>> from headrace.images.layout import Axes
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

    Derive from it and write `transform`. It takes ndarrays, torch tensors, JAX arrays, boxed tensors and
    images of Pillow, and returns the same kind; of an image of Pillow an ndarray, where Pillow has none
    for the result. Called with one dimension more than an image has (four, where no layout is given), it
    takes the first one for the batch.

    Without a layout it takes that of the chain: what `Decode` makes is HWC, what has come through `ToCHW` is CHW, and
    a layout given to one transform holds for those behind it, up to a function that is none of headrace's. Where
    nothing is known, three dimensions are HWC if the last one is 1, 3 or 4, and CHW if the first one is at most 4;
    where neither or both are, the image that is square, or an error that asks for a layout.

    Args:
        layout: "HW", "CHW", "HWC", or None for that of the chain, or of each image's shape.

    Attributes:
        takes_any_sizes: whether the method `lower`, where there is one, looks at the size of each image
            of the program (`sizes`), rather than at the one size of all (`size`).
        changes_colours: whether numbers are changed as a brightness, or as red, green and blue.

    Raises:
        ArgumentError: another layout; when called, no layout is known and the shape leaves doubts.

    >>> class Invert(ImageTransform):
    ...     def transform(self, images, axes):
    ...         return ~images
    >>> Invert()(np.array([[0, 255]], np.uint8))
    array([[255,   0]], dtype=uint8)
    """

    takes_any_sizes = False
    changes_colours = False

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

    @property
    def uses_layout(self) -> bool:
        """Whether it matters which dimensions are height, width and channels; if not, any shape will do."""
        return True

    @abstractmethod
    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return what the images become, or `images` itself where nothing changes.

        Args:
            images: shape (n, ...), never written to.
            axes: which dimensions of `images` are height, width and channels.
        """

    def __call__(self, sample: Any) -> Any:
        """Return what the image, or each image of a batch, becomes."""
        return self.apply_in_layout(sample, None, batched=False)

    def apply_batch(self, batch: Any) -> Any:
        """Return what the images become, contiguous in memory."""
        return self.apply_in_layout(batch, None, batched=True)

    def apply_in_layout(self, value: Any, layout: str | None, *, batched: bool) -> Any:
        """Return what the image, or each image of a batch, becomes.

        Args:
            value: the image or the batch.
            layout: where its channels are, as far as the chain knows.
            batched: whether it is surely a batch.
        """
        plain = type(value) is np.ndarray  # as most are: nothing is asked then
        if not plain and pillow.owns(value):
            return self._apply_to_pillow(value)
        images, adapter = (value, numpy) if plain else _as_array(value)
        if not batched and images.ndim > (3 if self.layout is None else len(self.layout)):
            method = capability(self, "apply_in_layout")
            return self.apply_batch(value) if method is None else method(value, layout, batched=True)
        if not batched:
            images = images[np.newaxis]
        out = self.transform(images, self._axes(images.shape[1:], layout))
        if out is images:
            return value
        made = _contiguous(out) if batched else out[0]
        return made if plain else adapter.from_numpy(made, value)

    def _apply_to_pillow(self, image: Any) -> Any:
        if self.changes_colours and image.mode in _OTHER_COLOURS:
            raise ArgumentTypeError(
                f"{type(self).__name__} changes colours, and an image of mode {image.mode!r} has others than red, "
                "green and blue; convert it before: image.convert('RGB')"
            )
        if getattr(self, "interpolation", "nearest") != "nearest" and image.mode in _NOTHING_BETWEEN:
            nearest = copy.copy(self)
            nearest.interpolation = "nearest"  # type: ignore[attr-defined] # it has one; Pillow does the same
            return nearest(image)
        pixels = pillow.to_numpy(image)[np.newaxis]
        axes = image_axes(pixels.shape[1:], "HWC" if pixels.ndim == 4 else "HW")
        out = self.transform(pixels, axes)
        if out is pixels:
            return image
        return _contiguous(out[0]) if self.layout_after("HWC") == "CHW" else pillow.from_numpy(out[0], image)

    def layout_after(self, layout: str | None) -> str | None:
        """Return where the channels of what comes out are: as before, but for classes that are not headrace's."""
        return (self.layout or layout) if is_own(self) else None

    def _axes(self, shape: tuple[int, ...], known: str | None) -> Axes:
        layout = self.layout
        if layout is None and not self.uses_layout and len(shape) == 3:
            layout = find_layout(shape, known) or "HWC"  # either will do
        return image_axes(shape, layout, known, type(self).__name__)


class RandomImageTransform(ImageTransform):
    """An image transform that draws."""

    @property
    def is_random(self) -> bool:
        """Whether the result depends on draws: it does."""
        return True


def _as_array(value: Any) -> tuple[NDArray[Any], frameworks.Adapter]:
    adapter = frameworks.find(value)
    array = None if adapter is None else adapter.to_numpy(value)
    if adapter is None or array is None:
        raise ArgumentTypeError(
            f"an image transform takes an ndarray, a torch or JAX array on the host, an image of Pillow, or an object "
            f"with an ndarray in .data, but got a {type(value).__module__}.{type(value).__qualname__}; "
            "convert it with numpy.asarray"
        )
    return array, adapter


def _contiguous(array: NDArray[Any]) -> NDArray[Any]:
    if array.flags.c_contiguous:
        return array
    out = empty(array.shape, array.dtype)
    np.copyto(out, array)
    return out
