"""Transforms that change values, types and layout of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.images.layout import Axes, is_own
from headrace.transforms.base import ImageTransform, per_channel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from headrace.images.program import Program

__all__ = ["JUST_BELOW_ONE", "Normalize", "ToCHW", "ToFloat", "find_dtype", "is_float"]

JUST_BELOW_ONE = 1 - 1e-3  # so that equal parts of 0 ... 1 become each of the integers, as in torchvision
_LARGEST_BYTE = 255


class Normalize(ImageTransform):
    """Subtract a mean and divide by a standard deviation, per channel.

    Args:
        mean: one number, or one a channel, in the images' own units.
        std: likewise, none of them zero.
        inplace: accepted as torchvision takes it; what a transform is given stays as it is.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: std has a zero, or mean and std differ in length; when called, they do not
            fit the channels.
        ArgumentTypeError: when called with integers, for which ToFloat() must come first.

    Named as torchvision.transforms.Normalize.

    >>> Normalize(mean=0.5, std=0.25)(np.ones((1, 2, 2), np.float32)).ravel()
    array([2., 2., 2., 2.], dtype=float32)
    """

    def __init__(
        self,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        inplace: bool = False,  # noqa: ARG002, FBT001, FBT002 - torchvision's
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(layout)
        means, deviations = _numbers("mean", mean), _numbers("std", std)
        if means.ndim > 1 or means.shape != deviations.shape:
            raise ArgumentError(f"mean and std must be numbers or as long as each other, but got {mean!r} and {std!r}")
        if not np.isfinite((means, deviations)).all() or not deviations.all():
            raise ArgumentError(f"mean and std must be finite and std not zero, but got {mean!r} and {std!r}")
        self.mean = mean
        self.std = std

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    @property
    def uses_layout(self) -> bool:
        """Whether there is a number for each channel."""
        return not isinstance(self.mean, int | float) and np.asarray(self.mean).size > 1

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the normalised images, in the same floating-point type."""
        if not is_float(images.dtype):
            raise ArgumentTypeError(
                f"Normalize takes floating-point images, but got {images.dtype}; put ToFloat() before it"
            )
        out = empty(images.shape, images.dtype)
        np.subtract(images, per_channel("mean", self.mean, images, axes), out=out)
        np.divide(out, per_channel("std", self.std, images, axes), out=out)
        return out

    def lower(self, program: Program) -> bool:
        """Write what the images become into a program; whether it can express that."""
        if not is_float(program.dtype):
            return False
        mean, std = _hashable(self.mean), _hashable(self.std)
        return program.change(self.transform, (mean, std), mean, std)


class ToFloat(ImageTransform):
    """Turn integers into floating-point numbers in [0, 1] by dividing by the type's largest value.

    Floating-point images change their type only, booleans become 0 and 1.

    Args:
        dtype: the floating-point type; "bfloat16" too, where the package ml_dtypes is there. After
            Normalize it loses less than before it.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: dtype is no floating-point type.
        ArgumentTypeError: when called with what are no real numbers to NumPy.

    The scaling is that of torchvision.transforms.v2.ToDtype(scale=True).

    >>> ToFloat()(np.array([[0, 255]], np.uint8))
    array([[0., 1.]], dtype=float32)
    """

    def __init__(self, dtype: DTypeLike = np.float32, *, layout: str | None = None) -> None:
        super().__init__(layout)
        self.dtype = _float_type(dtype)

    @property
    def uses_layout(self) -> bool:
        """Never: all numbers become others in the same way."""
        return False

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:  # noqa: ARG002 - layout is all one here
        """Return the images in the floating-point type."""
        if images.dtype == self.dtype:
            return images
        if images.dtype.kind not in "biufV" or images.dtype.type is np.void:  # JAX's small floats are of kind V
            raise ArgumentTypeError(f"ToFloat takes real numbers, but got {images.dtype}; convert the images before it")
        out = empty(images.shape, self.dtype)
        if images.dtype.kind in "iu":  # float16 cannot hold the largest values of most integers
            between = np.result_type(self.dtype, np.float32)
            largest = between.type(np.iinfo(images.dtype).max)
            np.divide(images, largest, out=out, dtype=between, casting="unsafe")
        else:
            np.copyto(out, images, casting="unsafe")
        return out

    def lower(self, program: Program) -> bool:
        """Write what the images become into a program; whether it can express that."""
        largest = (_LARGEST_BYTE,) if program.dtype == np.uint8 else ()
        return program.change(self.transform, (self.dtype,), *largest)


class ToCHW(ImageTransform):
    """Move the channels to the front: HWC becomes CHW, HW becomes 1HW, CHW stays.

    Args:
        layout: the layout that comes in: "HW", "CHW", "HWC", or None to infer it from each image.

    >>> ToCHW()(np.zeros((32, 24, 3), np.uint8)).shape
    (3, 32, 24)
    """

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the images with the channels in front, as a view."""
        if axes.channels is None:
            return images[:, np.newaxis]
        return images if axes.channels == 1 else np.moveaxis(images, axes.channels, 1)

    def lower(self, program: Program) -> bool:
        """Write what the images become into a program; whether it can express that."""
        program.move_channels_first()
        return True

    def layout_after(self, layout: str | None) -> str | None:  # noqa: ARG002 - it is always the same
        """Return where the channels are now."""
        return "CHW" if is_own(self) else None


def _numbers(name: str, values: object) -> NDArray[np.float64]:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} must be a number, or one a channel, but got {name}={values!r}") from None


def find_dtype(dtype: Any) -> np.dtype[Any]:
    """Return a type of NumPy's, for its name or torch's type of that name; bfloat16 is that of ml_dtypes.

    Raises:
        ArgumentError: there is no such type.
    """
    named = dtype is None or type(dtype).__module__ == "torch"  # NumPy takes None for float64
    name = str(dtype).removeprefix("torch.") if named else dtype
    try:
        found: np.dtype[Any] = np.dtype(_bfloat16() if name == "bfloat16" else name)
    except TypeError as error:
        raise ArgumentError(f"dtype must be a type that NumPy knows, but got dtype={dtype!r}") from error
    return found


def _float_type(dtype: Any) -> np.dtype[Any]:
    found = find_dtype(dtype)
    if not is_float(found):
        raise ArgumentError(f"dtype must be a floating-point type, but got dtype={dtype!r}")
    return found


def _bfloat16() -> Any:
    try:
        import ml_dtypes
    except ImportError:
        raise ArgumentError(
            "dtype='bfloat16' needs the package ml_dtypes, which teaches NumPy this type: pip install ml_dtypes"
        ) from None
    return ml_dtypes.bfloat16


def is_float(dtype: np.dtype[Any]) -> bool:
    """Return whether it is a floating-point type, of NumPy or of ml_dtypes; that one registers those of kind V."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _hashable(values: float | Sequence[float]) -> Any:
    return values if isinstance(values, int | float | tuple) else tuple(np.ravel(values).tolist())
