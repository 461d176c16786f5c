"""Transforms that cut several parts out of each image, to evaluate on all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.transforms.base import ImageTransform, Transform
from headrace.transforms.sizes import check_fits, check_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes

__all__ = ["FiveCrop", "TenCrop"]

_PLACES = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))  # down and right, in torchvision's order


class _Part(ImageTransform):
    """One of the parts.

    Args:
        size: its height and width.
        place: how far down and right it lies, 0 ... 1.
        mirror: the axis along which the image is mirrored first: "height", "width" or None.
        layout: of the images.
    """

    def __init__(
        self, size: tuple[int, int], place: tuple[float, float], mirror: str | None, layout: str | None
    ) -> None:
        super().__init__(layout)
        self.size = size
        self.place = place
        self.mirror = mirror

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the part of each, as a view."""
        extent = images.shape[axes.height], images.shape[axes.width]
        check_fits(self.size, *extent, "image")
        index = [slice(None)] * images.ndim
        if self.mirror is not None:
            index[getattr(axes, self.mirror)] = slice(None, None, -1)
            images = images[tuple(index)]
        starts = [round(part * (long - short)) for part, long, short in zip(self.place, extent, self.size, strict=True)]
        for axis, start, length in zip(axes[:2], starts, self.size, strict=True):
            index[axis] = slice(start, start + length)
        part: NDArray[Any] = images[tuple(index)]
        return part


class _MultiCrop(Transform):
    """Cuts several parts out of each image."""

    def __init__(self, size: int | Sequence[int], mirrors: Sequence[str | None], layout: str | None) -> None:
        self.size = check_size(size)
        self.layout = layout
        self._parts = [_Part(self.size, place, mirror, layout) for mirror in mirrors for place in _PLACES]

    @property
    def releases_gil(self) -> bool:
        """Whether other threads have the GIL for most of the time: NumPy on whole batches leaves it to them."""
        return True

    def __call__(self, sample: Any) -> tuple[Any, ...]:
        """Return the parts of the image, or of each image of a batch."""
        return self.apply_in_layout(sample, None, batched=False)

    def apply_batch(self, batch: Any) -> tuple[Any, ...]:
        """Return the parts, each a batch."""
        return self.apply_in_layout(batch, None, batched=True)

    def apply_in_layout(self, value: Any, layout: str | None, *, batched: bool) -> tuple[Any, ...]:
        """Return the parts of the image, or of each image of a batch.

        Args:
            value: the image or the batch.
            layout: where its channels are, as far as the chain knows.
            batched: whether it is surely a batch.
        """
        return tuple(part.apply_in_layout(value, layout, batched=batched) for part in self._parts)

    def __repr__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class FiveCrop(_MultiCrop):
    """Cut five parts out of the image: its corners and its middle.

    Args:
        size: (height, width) of each in pixels, or one integer for both.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: a size is not allowed; when called, it is larger than the image (also a ValueError).

    Named as torchvision.transforms.v2.FiveCrop. The result is a tuple: upper left, upper right, lower left, lower
    right, middle. A batch gives a tuple of five batches. `Lambda(numpy.stack)` makes one array of those of a sample.

    >>> import numpy as np
    >>> [int(crop[0, 0]) for crop in FiveCrop(1)(np.arange(9).reshape(3, 3))]
    [0, 2, 6, 8, 4]
    """

    def __init__(self, size: int | Sequence[int], *, layout: str | None = None) -> None:
        super().__init__(size, [None], layout)


class TenCrop(_MultiCrop):
    """Cut five parts out of the image, and five out of the mirrored one.

    Args:
        size: (height, width) of each in pixels, or one integer for both.
        vertical_flip: whether the image is mirrored top to bottom rather than left to right.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: a size is not allowed; when called, it is larger than the image (also a ValueError).

    Named as torchvision.transforms.v2.TenCrop. The result is a tuple: the five of `FiveCrop`, then those of the
    mirrored image. A batch gives a tuple of ten batches.

    >>> import numpy as np
    >>> [int(crop[0, 0]) for crop in TenCrop(1)(np.arange(9).reshape(3, 3))]
    [0, 2, 6, 8, 4, 2, 0, 8, 6, 4]
    """

    def __init__(
        self,
        size: int | Sequence[int],
        vertical_flip: bool = False,  # noqa: FBT001, FBT002 - torchvision's order
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(size, [None, "height" if vertical_flip else "width"], layout)
        self.vertical_flip = bool(vertical_flip)
