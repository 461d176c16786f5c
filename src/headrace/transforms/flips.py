"""Transforms that mirror images."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from headrace.batch.arena import empty
from headrace.images.layout import Axes
from headrace.rng.draws import draw_chance
from headrace.rng.notes import note
from headrace.transforms.base import RandomImageTransform
from headrace.transforms.chance import check_probability
from headrace.transforms.placement import mirrored, shifted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.images.program import Program
    from headrace.transforms.placement import Placement

__all__ = ["RandomHorizontalFlip", "RandomVerticalFlip"]


class _RandomFlip(RandomImageTransform):
    """Flips each image along one axis with a probability."""

    def __init__(self, p: float = 0.5, *, layout: str | None = None) -> None:
        super().__init__(layout)
        self.p = check_probability(p)

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    @staticmethod
    @abstractmethod
    def axis(axes: Axes) -> int:
        """Return the axis to flip along."""

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the images, each flipped or not; `images` itself if none of them is flipped."""
        flipped = self._flipped(len(images))
        if not any(flipped):
            return images
        mirror = (*(slice(None),) * (self.axis(axes) - 1), slice(None, None, -1))
        out = empty(images.shape, images.dtype)
        for image, copy, flip in zip(images, out, flipped, strict=True):
            copy[...] = image[mirror] if flip else image
        return out

    def place(self, extent: tuple[int, int]) -> Placement:
        """Return where an image of a height and width comes to lie."""
        if not self._flipped(1)[0]:
            return shifted(0, 0, extent)
        return mirrored(extent, along_width=self.axis(Axes(1, 2, None)) == 2)

    def _flipped(self, count: int) -> list[bool]:
        flipped = draw_chance(count, self.p)
        note(self, flipped=flipped)
        return flipped

    def lower(self, program: Program) -> bool:
        """Write what the images become into a program; whether it can express that."""
        program.random_mirror(self.p, along=self.axis(program.axes))
        return True


class RandomHorizontalFlip(_RandomFlip):
    """Flip left and right with probability p.

    Args:
        p: the probability, 0 ... 1.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: p is no probability (also a ValueError).

    Named as torchvision.transforms.RandomHorizontalFlip. An image that is not flipped is returned
    itself.

    >>> RandomHorizontalFlip(p=1.0)(np.array([[1, 2, 3]]))
    array([[3, 2, 1]])
    """

    @staticmethod
    def axis(axes: Axes) -> int:
        """Return the width."""
        return axes.width


class RandomVerticalFlip(_RandomFlip):
    """Flip top and bottom with probability p.

    Args:
        p: the probability, 0 ... 1.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: p is no probability (also a ValueError).

    Named as torchvision.transforms.RandomVerticalFlip. An image that is not flipped is returned
    itself.

    >>> RandomVerticalFlip(p=1.0)(np.array([[1], [2]]))
    array([[2],
           [1]])
    """

    @staticmethod
    def axis(axes: Axes) -> int:
        """Return the height."""
        return axes.height
