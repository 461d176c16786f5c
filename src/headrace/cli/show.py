"""`headrace show`: the images of a batch with their labels, before and after what is random."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from headrace.cli.fields import find_images, find_labels
from headrace.cli.plain import draws, functions_of, layers_of, without_random
from headrace.cli.sheet import PAPER, channels_last, contact_sheet, picture, shown_range
from headrace.cli.target import find_target, loader_of
from headrace.datasets.lengths import sequence_lengths
from headrace.errors import ArgumentError
from headrace.pipeline.hints import blocks

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from headrace import DataLoader

    Images = list[NDArray[Any]]

__all__ = ["Sheet", "image_format", "sheet"]

_BATCH_SIZE = 16  # of a target that is no loader
_MOST = 32  # a sheet of more is no longer a glance
SIDE = 144  # of an image on the sheet, in pixels
_QUALITY = 95  # of formats that lose something
GAP = 4  # between an image before and after


class Sheet:
    """A picture of a batch, which notebooks show.

    Attributes:
        image: the picture.
    """

    def __init__(self, image: Image.Image) -> None:
        self.image = image

    def save(self, path: str | PathLike[str]) -> None:
        """Write the picture as a file of the format that its ending says: .png, .jpg, .webp and so on.

        Raises:
            ArgumentError: no format has this ending, or the file cannot be written.
        """
        form = image_format(path)
        try:
            self.image.save(path, form, **({"quality": _QUALITY} if form in ("JPEG", "WEBP") else {}))
        except OSError as error:
            raise ArgumentError(f"cannot write {path}: {error.strerror or error}; choose another file") from error

    def _repr_html_(self) -> str:
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG")
        return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" alt="a batch">'


def image_format(path: str | PathLike[str]) -> str:
    """Return the name of the format that the ending of a file says; PNG where there is none.

    Raises:
        ArgumentError: Pillow writes no format of this ending.

    >>> image_format("batch.jpg"), image_format("batch")
    ('JPEG', 'PNG')
    """
    Image.init()
    ending = Path(path).suffix.lower()
    form = Image.registered_extensions().get(ending, "") if ending else "PNG"
    if form not in Image.SAVE:
        raise ArgumentError(f"cannot write {path}: no image format ends in {ending!r}; take .png, .jpg or .webp")
    return form


def sheet(target: Any, step: int = 0, epoch: int = 0, seed: int | None = None, batch_size: int | None = None) -> Sheet:
    """Draw a batch: each image before and after what is random, with its label.

    What is random is found by trying: a function that draws is left out of the image before, the
    others stay. Pixels that Normalize has changed are shown as they were.

    Args:
        target: a DataLoader, a dataset, a function that makes one, the path of an image folder, or
            "module:object".
        step: which batch of the epoch.
        epoch: which epoch.
        seed: in place of the loader's own; None for that, or 0 where it has none.
        batch_size: of a target that is no loader, whose samples are shuffled; 16 where it is not given.

    Raises:
        ArgumentError: the target cannot be shown, or its batch has no images.
        OutOfRangeError: the epoch has no such step.

    >>> from headrace import RandomCrop, TensorDataset
    >>> dataset = TensorDataset(np.zeros((40, 8, 8, 3), np.uint8), np.arange(40))
    >>> sheet(dataset.map(RandomCrop(8), field=0), step=1).image.mode
    'RGB'
    """
    name = target if isinstance(target, str) else type(target).__name__
    loader = loader_of(find_target(target) if isinstance(target, str) else target, seed, batch_size, _BATCH_SIZE)
    if loader.batch_size is None and loader.batch_sampler is None:
        raise ArgumentError("the loader hands out single samples; give it a batch_size to see a batch")
    batch = loader.batch(step, epoch)
    after = find_images(batch)
    labels = find_labels(batch, len(after), _classes(loader.dataset))
    before = _before(loader, step, epoch, after)
    title = f"{name}: seed {loader.seed}, epoch {epoch}, step {step}"
    title += ", before and after" if before else ""
    title += f", {_MOST} of {len(after)}" if len(after) > _MOST else ""
    pictures = _pictures(after[:_MOST], loader.dataset)
    if before:
        pictures = list(map(_side_by_side, _pictures(before[:_MOST], loader.dataset), pictures))
    wide = 2 if before else 1
    columns = max(1, math.ceil(math.sqrt(2 * len(pictures) / wide)))
    arrays = [np.asarray(each) for each in pictures]
    return Sheet(contact_sheet(arrays, labels[:_MOST], columns=columns, scale=1, title=title))


def _classes(dataset: Any) -> list[str] | None:
    """Return the names of the classes, where a dataset has them."""
    for layer in layers_of(dataset):
        if isinstance(getattr(layer, "classes", None), list | tuple):
            return list(layer.classes)
    return None


class _Indices:
    """A dataset whose samples are their own indices, and lie as those of another one."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        return index

    def blocks(self) -> Any:
        """Return the blocks of the dataset."""
        return blocks(self._dataset)

    def lengths(self) -> Any:
        """Return the lengths of the dataset's sequences."""
        return sequence_lengths(self._dataset)


def _before(loader: DataLoader[Any], step: int, epoch: int, after: Images) -> Images:
    """Return the images of the same samples without what is random; none where nothing is, or it cannot be left out."""
    indices = _indices_of(loader).batch(step, epoch)
    plain = without_random(loader.dataset)
    with draws() as noticed:
        before = [find_images(plain[index], single=True)[0] for index in indices[:_MOST]]
    same = len(before) == len(after[:_MOST]) and all(map(np.array_equal, before, after))
    return [] if noticed.any or same else before


def _indices_of(loader: DataLoader[Any]) -> DataLoader[Any]:
    """Return a loader of the indices that a loader has in its batches."""
    indices = _Indices(loader.dataset)
    return loader.with_arguments(
        dataset=indices, collate_fn=list, num_workers=0, worker_init_fn=None, on_error="raise", max_errors=None
    )


# ---------------------------------------------------------------- pictures


def _pictures(images: Images, dataset: Any) -> list[Image.Image]:
    """Return images as they look, each about as large as the others."""
    arrays = [channels_last(_without_normalisation(image, dataset), None) for image in images]
    low, high = shown_range(arrays)
    return [_fitted(picture(array, low, high, 1)) for array in arrays]


def _without_normalisation(image: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Return the values before Normalize, where it has been applied."""
    if image.dtype == np.uint8:
        return image
    values = channels_last(image.astype(np.float64), None)
    for function in functions_of(dataset):
        if type(function).__name__ != "Normalize":
            continue
        std, mean = (np.ravel(np.asarray(getattr(function, name), np.float64)) for name in ("std", "mean"))
        if len(std) in (1, values.shape[-1]):
            # what rounding has moved out of 0 ... 1 goes back
            values = (values * std + mean).round(5)
    return values


def _fitted(image: Image.Image) -> Image.Image:
    """Return the picture enlarged by a whole number, or scaled down, to fit its place."""
    longest = max(image.size)
    if longest <= SIDE:
        times = SIDE // longest
        return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    size = (max(1, image.width * SIDE // longest), max(1, image.height * SIDE // longest))
    return image.resize(size, Image.Resampling.LANCZOS)


def _side_by_side(before: Image.Image, after: Image.Image) -> Image.Image:
    height = max(before.height, after.height)
    pair = Image.new("RGB", (before.width + GAP + after.width, height), PAPER)
    pair.paste(before, (0, (height - before.height) // 2))
    pair.paste(after, (before.width + GAP, (height - after.height) // 2))
    return pair
