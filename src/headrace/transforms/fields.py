"""A chain applied to several fields of a sample by the same draws: to image, mask, boxes and labels."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.batch.capabilities import batch_function
from headrace.batch.tree import get_field, replace_field
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.images.layout import run_step
from headrace.rng.draws import replays
from headrace.transforms.annotations import boxes_of, extent_of, is_stack, keep, keypoints_of, like, move_boxes
from headrace.transforms.base import Transform
from headrace.transforms.blur import GaussianBlur
from headrace.transforms.choice import RandomApply, RandomChoice, RandomOrder
from headrace.transforms.color import ColorJitter, Grayscale, RandomGrayscale
from headrace.transforms.compose import Compose
from headrace.transforms.conversions import PILToTensor, ToDtype, ToTensor
from headrace.transforms.decode import Decode
from headrace.transforms.erasing import RandomErasing
from headrace.transforms.fill import fill_of
from headrace.transforms.pixels import Normalize, ToCHW, ToFloat
from headrace.transforms.tone import RandomChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    Path = tuple[int | str, ...]

__all__ = ["FieldsTransform"]

_KINDS = ("image", "mask", "boxes", "keypoints", "labels")
_DENSE = {"image", "mask"}  # which make batches

_CONTAINERS = (Compose, RandomApply, RandomChoice, RandomOrder)
# What changes the image alone: its values, or the kind of array that it is. A rectangle that is erased is no move.
_OF_IMAGES = (
    ColorJitter,
    Decode,
    GaussianBlur,
    Grayscale,
    Normalize,
    PILToTensor,
    RandomChange,
    RandomErasing,
    RandomGrayscale,
    ToCHW,
    ToDtype,
    ToFloat,
    ToTensor,
)


class FieldsTransform(Transform):
    """A chain of transforms applied to fields of a sample, which it moves together.

    Images become what the chain makes of them. Masks are cut, flipped, turned and scaled as the images are, by the
    nearest pixel. Boxes are as well, clipped to the image, and left out where nothing remains of them, with their
    labels.

    Args:
        transform: the chain, of headrace's own transforms.
        field: which fields, by what they are: "image", "mask" (shape (height, width), or (n, height, width) for n of
            them), "boxes" (shape (n, 4): left, top, right and bottom in pixels), "keypoints" (shape (..., 2): x and y)
            and "labels" (arrays or lists with a value for each box). Each is the name or position of a field, a tuple
            of them for one inside another, or a list for several. Without "labels" a field of that name beside the
            boxes is taken.

    Raises:
        ArgumentError: a kind is none of these, or there is neither an image nor a mask; when called, a mask is not
            of the image's size, boxes are no boxes, or labels are not as many.
        ArgumentTypeError: a transform is not known to move masks and boxes as it moves images.

    >>> from headrace import RandomHorizontalFlip
    >>> flip = FieldsTransform(RandomHorizontalFlip(1), {"image": 0, "boxes": 1})
    >>> flip((np.zeros((8, 10, 3), np.uint8), np.array([[1.0, 0.0, 3.0, 4.0]])))[1].tolist()
    [[7.0, 0.0, 9.0, 4.0]]
    """

    def __init__(self, transform: Callable[[Any], Any], field: Mapping[str, Any]) -> None:
        self.transform = transform
        self.field = dict(field)
        self._paths = _check_fields(self.field)
        self._of_masks = _rebuilt(transform, _for_masks)
        self._of_points = _rebuilt(transform, _Moving)
        leaves = [*_leaves(transform), self]
        self._layout = next((each.layout for each in leaves if getattr(each, "layout", None)), None)
        self._who = type(leaves[0]).__name__

    def __repr__(self) -> str:
        return f"FieldsTransform(transform={self.transform!r}, field={self.field!r})"

    @property
    def batched(self) -> bool:
        """Whether there are images and masks alone, and the chain can be applied to batches of them."""
        dense = all(kind in _DENSE or not paths for kind, paths in self._paths.items())
        chains = (self.transform, self._of_masks)
        return dense and all(batch_function(chain) is not None for chain in chains)

    @property
    def releases_gil(self) -> bool:
        """Whether the chain does."""
        return bool(getattr(self.transform, "releases_gil", False))

    @property
    def is_random(self) -> bool:
        """Whether the chain is."""
        return bool(getattr(self.transform, "is_random", False))

    def __call__(self, sample: Any) -> Any:
        """Return the sample with its fields moved."""
        again = replays(1)
        extent = self._check_extents(sample)
        out = self._with_dense(sample, again, batched=False)
        if self._paths["boxes"] or self._paths["keypoints"]:
            assert extent is not None  # noqa: S101 - there is an image or a mask
            with again():
                moving = run_step(self._of_points, self._points(sample, extent), None, batched=False)
            out = self._with_points(out, moving)
        return out

    def apply_batch(self, batch: Any) -> Any:
        """Return the batch with its images and masks moved."""
        first = _get(batch, (*self._paths["image"], *self._paths["mask"])[0])
        return self._with_dense(batch, replays(len(first)), batched=True)

    def _with_dense(self, sample: Any, again: Callable[[], Any], *, batched: bool) -> Any:
        """Return a sample or a batch with images and masks moved."""
        for kind, chain, layout in (("image", self.transform, None), ("mask", self._of_masks, "CHW")):
            for path in self._paths[kind]:
                with again():
                    value = run_step(chain, _get(sample, path), layout, batched=batched)
                sample = _replace(sample, path, value)
        return sample

    # ------------------------------------------------------------------ sizes

    def _check_extents(self, sample: Any) -> tuple[int, int] | None:
        """Return the height and width that images and masks have; raise an ArgumentError unless it is the same."""
        found = {
            path: extent_of(_get(sample, path), self._layout if kind == "image" else "CHW", self._who)
            for kind in ("image", "mask")
            for path in self._paths[kind]
        }
        if len(set(found.values())) > 1:
            sizes = ", ".join(f"{_name(path)}: {height} x {width}" for path, (height, width) in found.items())
            raise ArgumentError(
                f"fields that move together must have one height and width, but got {sizes}; "
                "a mask is of shape (height, width) or (n, height, width)"
            )
        return next(iter(found.values()), None)

    # ------------------------------------------------------------------ boxes and keypoints

    def _points(self, sample: Any, extent: tuple[int, int]) -> _Points:
        boxes = [boxes_of(_get(sample, path), _name(path)) for path in self._paths["boxes"]]
        keypoints = [keypoints_of(_get(sample, path), _name(path)) for path in self._paths["keypoints"]]
        return _Points(extent, boxes, keypoints)

    def _with_points(self, sample: Any, moved: _Points) -> Any:
        """Return a sample with moved points; boxes of which nothing remains are left out."""
        for path, points in zip(self._paths["keypoints"], moved.keypoints, strict=True):
            sample = _replace(sample, path, like(points, _get(sample, path), _name(path)))
        for path, boxes in zip(self._paths["boxes"], moved.boxes, strict=True):
            remains = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
            for beside in self._beside(sample, path, len(boxes)):
                sample = _replace(sample, beside, keep(_get(sample, beside), remains, _name(beside)))
            sample = _replace(sample, path, like(boxes[remains], _get(sample, path), _name(path)))
        return sample

    def _beside(self, sample: Any, path: Path, count: int) -> list[Path]:
        """Return the fields that have something for each box: labels, and masks of which there are as many."""
        labels = self._paths["labels"]
        if not labels and "labels" in _names(_get(sample, path[:-1])):
            labels = [(*path[:-1], "labels")]
        return [*labels, *(each for each in self._paths["mask"] if is_stack(_get(sample, each), count))]


class _Points(NamedTuple):
    """The boxes and keypoints of an image of a size, on their way through a chain.

    Attributes:
        size: height and width of the image.
        boxes: for each of the fields, shape (n, 4), float64.
        keypoints: for each of the fields, shape (n, 2), float64.
    """

    size: tuple[int, int]
    boxes: list[NDArray[np.float64]]
    keypoints: list[NDArray[np.float64]]


class _Moving(Transform):
    """Moves points as a transform moves the pixels of an image."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __call__(self, sample: _Points) -> _Points:
        """Return the points then."""
        size, move = self.transform.place(sample.size)
        boxes = [move_boxes(boxes, size, move) for boxes in sample.boxes]
        return _Points(size, boxes, [move(points) for points in sample.keypoints])

    def apply_batch(self, batch: Any) -> Any:
        """Refuse: points of several images are moved one by one."""
        raise NotImplementedError


class _Staying(Transform):
    """Leaves what it is given as it is."""

    def __call__(self, sample: Any) -> Any:
        """Return the sample."""
        return sample

    def apply_batch(self, batch: Any) -> Any:
        """Return the batch."""
        return batch

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    def layout_after(self, layout: str | None) -> str | None:
        """Return where the channels are: as before."""
        return layout


# ---------------------------------------------------------------- the chain, for masks and for points


def _rebuilt(transform: Any, leaf: Callable[[Any], Transform]) -> Any:
    """Return the same chain, choices and orders included, of other transforms."""
    if isinstance(transform, _CONTAINERS):
        container = copy.copy(transform)
        container.transforms = [_rebuilt(each, leaf) for each in transform.transforms]
        return container
    if isinstance(transform, _OF_IMAGES):
        return _Staying()
    if not callable(getattr(transform, "place", None)):
        raise ArgumentTypeError(
            f"it is not known how {transform!r} moves masks and boxes; apply it in a map of the image alone: "
            "dataset.map(transform, field='image')"
        )
    return leaf(transform)


def _for_masks(transform: Any) -> Transform:
    """Return the transform for masks, whose pixels are numbers of classes: nothing lies between two of them."""
    of_masks: Transform = copy.copy(transform)
    for name, value in (("layout", None), ("interpolation", "nearest")):
        if hasattr(of_masks, name):
            setattr(of_masks, name, value)
    if hasattr(of_masks, "fill"):
        of_masks.fill = fill_of(of_masks.fill, "mask")
    return of_masks


def _leaves(transform: Any) -> Iterable[Any]:
    if isinstance(transform, _CONTAINERS):
        for each in transform.transforms:
            yield from _leaves(each)
    else:
        yield transform


# ---------------------------------------------------------------- fields


def _get(value: Any, path: Path) -> Any:
    """Return a field inside of fields."""
    for name in path:
        value = get_field(value, name)
    return value


def _replace(value: Any, path: Path, item: Any) -> Any:
    """Return a copy of a sample in which a field inside of fields is replaced."""
    if not path:
        return item
    return replace_field(value, path[0], _replace(get_field(value, path[0]), path[1:], item))


def _names(value: Any) -> Iterable[Any]:
    """Return the names of the fields of a dict, a namedtuple or a dataclass."""
    named = getattr(value, "_fields", None) or getattr(value, "__dataclass_fields__", None) or ()
    return value if isinstance(value, dict) else named


def _name(path: Path) -> str:
    return ".".join(map(str, path))


def _check_fields(field: dict[str, Any]) -> dict[str, list[Path]]:
    """Return the paths of the fields of each kind."""
    unknown = [kind for kind in field if kind not in _KINDS]
    if unknown:
        raise ArgumentError(f"a field of several must be one of {', '.join(_KINDS)}, but got {unknown[0]!r}")
    paths = {kind: _paths_of(kind, field.get(kind, [])) for kind in _KINDS}
    if len(paths["boxes"]) > 1:
        raise ArgumentError(f"only one field of boxes can move with others, but got {field['boxes']!r}")
    if not paths["image"] and not paths["mask"]:
        raise ArgumentError(f"fields that move together need an image or a mask, but got field={field!r}")
    return paths


def _paths_of(kind: str, value: Any) -> list[Path]:
    several = value if isinstance(value, list) else [value]
    paths = [each if isinstance(each, tuple) else (each,) for each in several]
    if any(not path or not all(type(name) in (int, str) for name in path) for path in paths):
        raise ArgumentTypeError(
            f"{kind!r} must be the position or name of a field, a tuple of them for one inside another, or a list "
            f"for several, but got {value!r}"
        )
    return paths
