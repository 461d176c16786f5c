"""Images that Pillow decodes: all but most JPEGs."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import DecodeError
from headrace.images.codecs.images import check_size, turned
from headrace.images.codecs.registry import Codec
from headrace.kernels.exif import orientation, without_exif

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Array = NDArray[np.uint8]

__all__ = ["CODECS", "decode_by_pillow", "read_size_by_pillow"]

_READERS = {  # which class of Pillow's reads a format, and in which of its modules
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "PPM": ("PpmImagePlugin", "PpmImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),  # since Pillow 11.3
    "JPEG 2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
}

# The mode of Pillow's that keeps what is stored, by the mode that it reads; all others become RGB.
_AS_STORED = {"1": "L", "L": "L", "RGBA": "RGBA", "RGBa": "RGBA", "LA": "RGBA", "La": "RGBA", "PA": "RGBA"}

_RAW_EXIF = "Raw profile type exif"  # a text of PNG

_WIDTH, _HEIGHT, _DEPTH = 0x0100, 0x0101, 0x0102  # tags of TIFF


@cache
def _reader(form: str) -> Any:
    """Return the class of Pillow's that reads a format."""
    module, name = _READERS[form]
    try:
        import PIL  # noqa: F401 - missing as a whole, or of a broken installation?
    except ImportError as error:
        raise ImportError(f"Pillow decodes {form} images and is not there: pip install 'headrace[images]'") from error
    try:
        return getattr(import_module(f"PIL.{module}"), name)
    except ImportError as error:
        raise ImportError(f"this Pillow is too old for {form} images: pip install --upgrade Pillow") from error


def decode_by_pillow(data: bytes, form: str, mode: str | None, max_pixels: int, denominator: int = 1) -> Array:
    """Return the image as an array, a JPEG at a part of its size if asked for; see Codec.decode."""
    # Pillow warns of JPEGs whose EXIF data are broken, whose pixels may be sound.
    data, exif, xmp = without_exif(data) if form == "JPEG" else (data, b"", b"")
    image = _opened(data, form)
    width, height = _stored_size(image)
    check_size(form, width, height, max_pixels)
    with _explained(data, form):
        if form == "JPEG 2000":
            _check_end(data)
        if denominator > 1:
            image.draft(image.mode, (max(1, width // denominator), max(1, height // denominator)))
        image.load()
        pixels = _converted(image, form, mode)
        if form not in ("JPEG", "TIFF"):  # TIFF images are turned by Pillow itself
            exif, xmp = _metadata(image.info)
    return turned(pixels, orientation(exif, xmp))


def _check_end(data: bytes) -> None:
    """Raise a ValueError for a JPEG 2000 that was cut off, of which Pillow makes a blurred image."""
    start = data.find(b"\xff\x4f\xff\x51")
    if data.find(b"\xff\xd9", start) < 0:
        raise ValueError("it has no end")


def _metadata(info: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return the EXIF and the XMP data of an image that is loaded, where Pillow looks for them."""
    exif, xmp = info.get("exif"), info.get("XML:com.adobe.xmp") or info.get("xmp")
    if exif is None and _RAW_EXIF in info:  # as ImageMagick writes it: its name, its length, and hexadecimal lines
        try:
            exif = bytes.fromhex("".join(info[_RAW_EXIF].split("\n")[3:]))
        except ValueError:
            exif = b""
    return exif or b"", xmp.encode() if isinstance(xmp, str) else xmp or b""


def _opened(data: bytes, form: str) -> Any:
    """Return the image with its header read, and no more."""
    reader = _reader(form)
    with _explained(data, form):
        return reader(BytesIO(data))


@contextmanager
def _explained(data: bytes, form: str) -> Iterator[None]:
    """Raise whatever goes wrong in Pillow, and that is any exception, as an error of a broken image."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DecodeError(f"a {form} image of {len(data):,} bytes is broken or truncated: {reason}") from error


def _converted(image: Any, form: str, mode: str | None) -> Array:
    """Return the pixels of a loaded image in our mode."""
    if image.mode.startswith("I") or image.mode == "F":
        grey = _upper_byte(image, form)
        return np.repeat(grey[..., np.newaxis], 3, axis=2) if mode == "RGB" else grey
    wanted = mode or _AS_STORED.get(image.mode, "RGB")
    if mode is None and image.mode == "P" and "transparency" in image.info:
        wanted = "RGBA"
    if wanted != "RGBA":
        image.info.pop("transparency", None)  # it is dropped anyway, and Pillow would warn of it
    return np.array(image if image.mode == wanted else image.convert(wanted))


def _upper_byte(image: Any, form: str) -> Array:
    """Return the upper 8 of a grey image's 16 bits. Pillow would clip them, and older ones read them as 32 bits."""
    depth = image.tag_v2.get(_DEPTH, (1,))[0] if form == "TIFF" else 16
    if depth != 16 or image.mode == "F":
        raise ValueError(f"it has {depth} bits a sample; allowed are 1, 2, 4, 8 and 16 without sign")
    values = np.asarray(image)
    if values.dtype.kind == "i" and form == "TIFF":
        raise ValueError("its samples have signs; which of them are black and white is not known")
    return (values >> 8).astype(np.uint8)


def _stored_size(image: Any) -> tuple[int, int]:
    """Return width and height. Pillow exchanges those of a TIFF image that it will turn, in newer versions."""
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(_WIDTH, image.size[0])), int(tags.get(_HEIGHT, image.size[1]))


def read_size_by_pillow(form: str, data: bytes) -> tuple[int, int]:
    """Return the width and height of what is stored, from the header of an image."""
    return _stored_size(_opened(data, form))


def _codec(form: str, signature: bytes, extension: str) -> Codec:
    def decode(data: bytes, mode: str | None, max_pixels: int) -> Array:
        return decode_by_pillow(data, form, mode, max_pixels)

    return Codec(form, signature, extension, decode, partial(read_size_by_pillow, form))


CODECS = [
    _codec("PNG", rb"\x89PNG\r\n\x1a\n", "png"),
    _codec("GIF", rb"GIF8[79]a", "gif"),
    _codec("BMP", rb"BM", "bmp"),
    _codec("TIFF", rb"II[*+]\0|MM\0[*+]", "tif"),
    _codec("PPM", rb"P[1-6][ \t\n\r\v\f]", "ppm"),
    _codec("WEBP", rb"RIFF....WEBP", "webp"),
    _codec("AVIF", rb"....ftypavi[fs]", "avif"),
    _codec("JPEG 2000", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "jp2"),
]
