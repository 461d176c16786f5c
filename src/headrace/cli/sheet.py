"""Contact sheets: the images of a batch side by side, each with its label under it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Layout = Literal["HW", "HWC", "CHW"]
    Pixels = NDArray[np.uint8]

__all__ = ["channels_last", "contact_sheet", "picture", "shown_range"]

PAPER = (250, 249, 246)
_INK = (38, 38, 44)
_SOFT_INK = (72, 72, 82)
NOT_A_NUMBER = (228, 40, 96)

MARGIN = 36  # round the whole sheet, and the measure of all other distances
GUTTER = 18  # between columns
_TITLE_SIZE = 22
_LABEL_SIZE = 17
LABEL_HEIGHT = 38  # from a picture to the next one below it
_TILE = 96  # small images are enlarged about to this

_CHANNELS = (1, 3, 4)


def contact_sheet(
    images: Sequence[NDArray[Any]] | NDArray[Any],
    labels: Sequence[object] | NDArray[Any],
    *,
    columns: int | None = None,
    scale: int | None = None,
    title: str = "",
    layout: Layout | None = None,
    value_range: tuple[float, float] | None = None,
) -> Image.Image:
    """Draw images in rows, each with its label under it.

    Args:
        images: a batch, or a list of images that may differ in size: any numbers, grey, RGB or RGBA.
        labels: one for each image; what `str` makes of it is written, cut where it is wider than its column.
        columns: images in a row. Without it, a sheet about twice as wide as high.
        scale: how many pixels of the sheet a pixel of an image is wide, with hard edges. Without it, small
            images are enlarged to about 96 pixels and others are left as they are.
        title: a line above the images.
        layout: "HW", "HWC" or "CHW". Without it, uint8 images that end in 1, 3 or 4 channels are HWC;
            others are CHW if they begin so, else HWC.
        value_range: the values of black and of white. Without it (0, 255) for uint8; for others (0, 1) if all
            values lie there, else the lowest and the highest value on the sheet.

    Returns:
        An RGB picture. Pixels that are infinite or not a number are pink in it.

    Raises:
        ArgumentError: no images, another number of labels, or an image that is neither grey, RGB nor RGBA.

    >>> import numpy as np
    >>> ramp = np.arange(64, dtype=np.uint8).reshape(8, 8)
    >>> sheet = contact_sheet([ramp, ramp.T], ["rows", "columns"], title="two ramps", value_range=(0, 63))
    >>> sheet.mode
    'RGB'

    """
    arrays = [channels_last(np.asarray(image), layout) for image in images]
    _check(arrays, labels, columns, scale)
    low, high = value_range or shown_range(arrays)
    pictures = [picture(array, low, high, scale or _scale(arrays)) for array in arrays]
    grid = _Grid.of(pictures, columns or _columns(len(pictures)), title)
    return _draw(grid, pictures, [str(label) for label in labels], title)


def _check(
    arrays: Sequence[NDArray[Any]],
    labels: Sequence[object] | NDArray[Any],
    columns: int | None,
    scale: int | None,
) -> None:
    if not arrays:
        raise ArgumentError("a contact sheet needs at least one image, got none")
    if len(labels) != len(arrays):
        raise ArgumentError(f"every image needs one label, got {len(arrays)} images and {len(labels)} labels")
    for name, value in (("columns", columns), ("scale", scale)):
        if value is not None and value < 1:
            raise ArgumentError(f"{name} must be at least 1, got {value}")


def channels_last(image: NDArray[Any], layout: Layout | None) -> NDArray[Any]:
    """Return the image as (height, width, channels)."""
    if layout is None:
        layout = _layout(image)
    if image.ndim != len(layout) or image.size == 0:
        raise ArgumentError(f"an image of layout {layout} cannot have shape {image.shape}")
    if layout == "HW":
        image = image[..., np.newaxis]
    elif layout == "CHW":
        image = image.transpose(1, 2, 0)
    if image.shape[-1] not in _CHANNELS:
        raise ArgumentError(f"an image has 1, 3 or 4 channels, got {image.shape[-1]} with layout {layout}")
    return image


def _layout(image: NDArray[Any]) -> Layout:
    if image.ndim == 2:
        return "HW"
    if image.ndim != 3:
        raise ArgumentError(f"an image has 2 or 3 axes (HW, HWC or CHW), got shape {image.shape}")
    if image.dtype != np.uint8 and image.shape[0] in _CHANNELS:
        return "CHW"
    return "HWC" if image.shape[-1] in _CHANNELS else "CHW"


def shown_range(arrays: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Return the values to be shown as black and as white."""
    if all(array.dtype == np.uint8 for array in arrays):
        return 0, 255
    values = np.concatenate([array[np.isfinite(array)] for array in arrays])
    if values.size == 0:
        return 0, 1
    low, high = float(values.min()), float(values.max())
    return (0, 1) if low >= 0 and high <= 1 else (low, high)


def _scale(arrays: Sequence[NDArray[Any]]) -> int:
    longest: int = max(side for array in arrays for side in array.shape[:2])
    return max(1, _TILE // longest)


def _columns(images: int) -> int:
    return math.ceil(math.sqrt(2 * images))


def picture(image: NDArray[Any], low: float, high: float, scale: int) -> Image.Image:
    """Return the image as an enlarged RGB picture, whatever its numbers and channels are."""
    finite = np.isfinite(image)
    shade = (np.where(finite, image, low).astype(np.float64) - low) / ((high - low) or 1)
    pixels: Pixels = (shade.clip(0, 1) * 255).round().astype(np.uint8)
    if pixels.shape[-1] == 4:
        pixels = _on_paper(pixels)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()
    pixels[~finite.all(axis=-1)] = NOT_A_NUMBER
    return Image.fromarray(pixels.repeat(scale, axis=0).repeat(scale, axis=1))


def _on_paper(rgba: Pixels) -> Pixels:
    """Return an RGBA image as it looks lying on the sheet."""
    opacity = rgba[..., 3:] / 255
    return (rgba[..., :3] * opacity + np.array(PAPER) * (1 - opacity)).round().astype(np.uint8)


@dataclass(frozen=True)
class _Grid:
    """The grid of a sheet: equal cells, each as large as the largest picture, in the middle of the sheet."""

    columns: int
    cell_width: int
    cell_height: int
    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, pictures: Sequence[Image.Image], columns: int, title: str) -> _Grid:
        columns = min(columns, len(pictures))
        rows = math.ceil(len(pictures) / columns)
        cell_width = max(picture.width for picture in pictures)
        cell_height = max(picture.height for picture in pictures)
        body = columns * (cell_width + GUTTER) - GUTTER
        top = MARGIN + (_TITLE_SIZE + MARGIN // 2 if title else 0)
        title_width = math.ceil(_font(_TITLE_SIZE).getlength(title))
        width = max(body, title_width) + 2 * MARGIN
        height = top + rows * (cell_height + LABEL_HEIGHT) + MARGIN // 2
        return cls(columns, cell_width, cell_height, (width - body) // 2, top, width, height)

    def corner(self, number: int) -> tuple[int, int]:
        """Return the upper left corner of a cell."""
        row, column = divmod(number, self.columns)
        return (
            self.left + column * (self.cell_width + GUTTER),
            self.top + row * (self.cell_height + LABEL_HEIGHT),
        )


def _draw(grid: _Grid, pictures: Sequence[Image.Image], labels: Sequence[str], title: str) -> Image.Image:
    sheet = Image.new("RGB", (grid.width, grid.height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, fill=_INK, font=_font(_TITLE_SIZE), anchor="lt")
    font = _font(_LABEL_SIZE)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = grid.corner(number)
        # Smaller pictures stand on the line of their row, in the middle of their column.
        at = (left + (grid.cell_width - picture.width) // 2, top + grid.cell_height - picture.height)
        sheet.paste(picture, at)
        below = (left + grid.cell_width / 2, top + grid.cell_height + 8)
        text = _shortened(label, font, grid.cell_width + GUTTER // 2)
        pen.text(below, text, fill=_SOFT_INK, font=font, anchor="ma")
    return sheet


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return the text, cut and ended by three dots where it is wider than `width`."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
