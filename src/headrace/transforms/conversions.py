"""Transforms that make another kind of array of an image: of other numbers, in planes, of an image of Pillow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.frameworks import pillow
from headrace.transforms.base import ImageTransform, Transform
from headrace.transforms.pixels import JUST_BELOW_ONE, ToCHW, ToFloat, find_dtype, is_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.images.layout import Axes
    from headrace.images.program import Program

__all__ = ["PILToTensor", "ToDtype", "ToImage", "ToTensor"]

_INEXACT = (("f4", "i4"), ("f4", "i8"), ("f8", "i8"))  # floats that do not hold all integers of the other type


class ToDtype(ImageTransform):
    """Convert the numbers to another type, and scale them where that is asked for.

    Args:
        dtype: NumPy's name or type, or torch's.
        scale: whether the range of one type becomes that of the other: 0 ... 1 of floats, 0 ... 255 of uint8.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: dtype is no type of real numbers.
        ArgumentTypeError: when called with what are no real numbers to NumPy, or with floats that cannot be
            scaled to so many integers.

    Named as torchvision.transforms.v2.ToDtype. Integers scaled to others keep their highest bits.

    >>> ToDtype(np.float32, scale=True)(np.array([[0, 255]], np.uint8))
    array([[0., 1.]], dtype=float32)
    >>> ToDtype(np.uint8, scale=True)(np.array([[0, 0.5, 1]]))
    array([[  0, 127, 255]], dtype=uint8)
    """

    def __init__(self, dtype: Any, scale: bool = False, *, layout: str | None = None) -> None:  # noqa: FBT001, FBT002
        super().__init__(layout)
        self.dtype = find_dtype(dtype)
        if self.dtype.kind not in "biu" and not is_float(self.dtype):
            raise ArgumentError(f"dtype must be a type of real numbers, but got dtype={dtype!r}")
        self.scale = bool(scale)

    @property
    def uses_layout(self) -> bool:
        """Never: all numbers become others in the same way."""
        return False

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the images in the type."""
        if images.dtype == self.dtype:
            return images
        if images.dtype.kind not in "biuf" and not is_float(images.dtype):
            raise ArgumentTypeError(f"ToDtype takes real numbers, but got {images.dtype}; convert the images before it")
        if self.scale and images.dtype.kind != "b":
            if is_float(self.dtype):
                return ToFloat(self.dtype).transform(images, axes)
            return _to_integers(images, self.dtype)
        out = empty(images.shape, self.dtype)
        np.copyto(out, images, casting="unsafe")
        return out

    def lower(self, program: Program) -> bool:
        """Write what the images become into a program; whether it can express that."""
        if program.dtype == self.dtype:
            return True
        divides = self.scale and program.dtype == np.uint8 and is_float(self.dtype)
        return program.change(self.transform, (self.dtype, self.scale), *((255,) if divides else ()))


class ToImage(ToCHW):
    """Move the channels to the front, and turn an image of Pillow into an array.

    Args:
        layout: the layout that comes in: "HW", "CHW", "HWC", or None to infer it from each image.

    Named as torchvision.transforms.v2.ToImage, with which chains there begin. It is `ToCHW` by another name.

    >>> ToImage()(np.zeros((32, 24, 3), np.uint8)).shape
    (3, 32, 24)
    """


class ToTensor(ImageTransform):
    """Move the channels to the front, and turn bytes into floats in 0 ... 1.

    Args:
        layout: the layout that comes in: "HW", "CHW", "HWC", or None to infer it from each image.

    Named as torchvision.transforms.ToTensor. What comes out is of the kind that came in, and a NumPy array for an
    image of Pillow; a batch of them becomes a tensor where the loader gives tensors.

    >>> ToTensor()(np.full((32, 24, 3), 255, np.uint8)).max()
    np.float32(1.0)
    """

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the images as floats, with the channels in front."""
        planes = ToCHW().transform(images, axes)
        return ToFloat().transform(planes, axes) if images.dtype == np.uint8 else planes

    def lower(self, program: Program) -> bool:
        """Write what the images become into a program; whether it can express that."""
        return (program.dtype != np.uint8 or ToFloat().lower(program)) and ToCHW().lower(program)

    def layout_after(self, layout: str | None) -> str | None:
        """Return where the channels are now."""
        return ToCHW().layout_after(layout)


class PILToTensor(Transform):
    """Turn an image of Pillow into an array of its numbers, with the channels in front.

    Raises:
        ArgumentTypeError: when called with anything else.

    Named as torchvision.transforms.v2.PILToTensor. A batch of the arrays becomes a tensor where the loader gives
    tensors.

    >>> from PIL import Image
    >>> PILToTensor()(Image.new("RGB", (24, 32))).shape
    (3, 32, 24)
    """

    @property
    def batched(self) -> bool:
        """Never: images of Pillow make no batch."""
        return False

    def __call__(self, sample: Any) -> NDArray[Any]:
        """Return the image as an array."""
        if not pillow.owns(sample):
            raise ArgumentTypeError(
                f"PILToTensor takes an image of Pillow, but got a {type(sample).__qualname__}; ToCHW() takes arrays"
            )
        pixels = pillow.to_numpy(sample)
        return np.ascontiguousarray(pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0))

    def apply_batch(self, batch: Any) -> list[NDArray[Any]]:
        """Return each of the images as an array."""
        return [self(sample) for sample in batch]

    def layout_after(self, layout: str | None) -> str:  # noqa: ARG002 - it is always the same
        """Return where the channels are now."""
        return "CHW"


def _to_integers(images: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers as integers of another range."""
    if dtype.kind == "b":
        return np.asarray(images != 0)
    out = empty(images.shape, dtype)
    if images.dtype.kind in "iu":
        shift = _value_bits(images.dtype) - _value_bits(dtype)
        wide = images >> shift if shift > 0 else images.astype(dtype) << -shift
        np.copyto(out, wide, casting="unsafe")
        return out
    if (images.dtype.str[1:], dtype.str[1:]) in _INEXACT:
        raise ArgumentTypeError(
            f"{images.dtype} numbers cannot be scaled to {dtype}, whose values they do not all hold; "
            "give a smaller type, or scale=False"
        )
    np.copyto(out, images * images.dtype.type(np.iinfo(dtype).max + JUST_BELOW_ONE), casting="unsafe")
    return out


def _value_bits(dtype: np.dtype[Any]) -> int:
    """Return how many bits of an integer tell its size, without that of the sign."""
    return np.iinfo(dtype).bits - (dtype.kind == "i")
