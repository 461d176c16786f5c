"""The transform that decodes images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.images.codecs.decode import MAX_PIXELS, check_arguments, decode, read_header
from headrace.transforms.base import Transform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Decode", "read_header"]


class Decode(Transform):
    """Turn an encoded image into a uint8 array: JPEG, PNG, WebP, AVIF, JPEG 2000, GIF, BMP, TIFF, PPM.

    The array is as a person sees the image: turned as its EXIF or XMP orientation says. The first image of
    an animation or of several pages counts. 16-bit samples keep their upper 8 bits. Transparency is
    dropped, not blended, as in Pillow's `convert`. A truncated file is an error.

    Pillow decodes. Of JPEG the native kernels decode the baseline kind, and others where libjpeg-turbo was
    when headrace was built, or else simplejpeg where it is installed, faster and with the same result.
    `pip install 'headrace[images]'` installs what is needed.

    Args:
        mode: "RGB" for shape (height, width, 3), "L" for grey in shape (height, width), or None for
            what is stored: grey in two dimensions, RGB or RGBA in three. CMYK is RGB also then.
        max_pixels: the largest image to decode, in pixels: a small file can hold a huge one.

    Raises:
        ArgumentError: the mode is another, or max_pixels is not positive.
        ArgumentTypeError: when called with anything but bytes or a one-dimensional uint8 array.
        DecodeError: when called with what is no such image, broken, or too large (also a ValueError).
        ImportError: when called without Pillow.

    >>> Decode("L")(b"P5 3 1 255 abc")
    array([[97, 98, 99]], dtype=uint8)
    """

    def __init__(self, mode: str | None = "RGB", max_pixels: int = MAX_PIXELS) -> None:
        check_arguments(mode, max_pixels)
        self.mode = mode
        self.max_pixels = max_pixels

    @property
    def batched(self) -> bool:
        """Never: images in a batch of files differ in size."""
        return False

    @property
    def releases_gil(self) -> bool:
        """Whether other threads have the GIL for most of the time: both decoders leave it to them."""
        return True

    def __call__(self, sample: Any) -> NDArray[np.uint8]:
        """Return the image as an array."""
        return decode(sample, self.mode, self.max_pixels)

    def apply_batch(self, batch: Any) -> list[NDArray[np.uint8]]:
        """Return each of the images, decoded."""
        return [self(sample) for sample in batch]

    def decodes_to(self) -> tuple[str | None, int]:
        """Return the mode, and the most pixels: for a pass that decodes and goes on, and calls nothing here."""
        return self.mode, self.max_pixels

    def layout_after(self, layout: str | None) -> str:  # noqa: ARG002 - there are no images before
        """Return where the channels of the images are: behind height and width."""
        return "HWC"
