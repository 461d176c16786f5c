"""Encoded images become arrays: JPEG by the native kernels or by simplejpeg, all else by Pillow.

All give the same array, turned as the image's EXIF or XMP orientation says. What the first two cannot read
without a warning goes to Pillow, which thus decides everywhere what an image is.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.errors import ArgumentError, ArgumentTypeError, DecodeError
from headrace.kernels.exif import is_lossless, orientation, without_exif
from headrace.kernels.images import Pixels, Scaling
from headrace.transforms.base import Transform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from numpy.typing import NDArray

    Array = NDArray[np.uint8]

__all__ = ["Decode", "as_bytes", "check_size", "decode", "decode_reduced", "is_jpeg", "read_header"]

MAX_PIXELS = 178_956_970  # where Pillow, too, suspects a decompression bomb

_MODES = ("RGB", "L", None)

# How files begin. Pillow's own search is not used: it asks formats that nobody trains on, among them
# one that starts another program, and it has a limit of pixels for the whole process.
_JPEG = b"\xff\xd8\xff"
_BEGINNINGS = {
    _JPEG: "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    **{b"P%d%c" % (kind, space): "PPM" for kind in range(1, 7) for space in b" \t\n\r\v\f"},
}
_READERS = {  # which class of Pillow's reads a format, and in which of its modules
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "PPM": ("PpmImagePlugin", "PpmImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
}

# What simplejpeg decodes to, by our mode and the file's colours. What is not listed is Pillow's: CMYK,
# which libjpeg does not turn into RGB, and grey from colours, which Pillow rounds its own way.
_TURBO = {
    ("RGB", "YCbCr"): "RGB",
    ("RGB", "RGB"): "RGB",
    ("RGB", "Gray"): "RGB",
    ("L", "Gray"): "GRAY",
    (None, "YCbCr"): "RGB",
    (None, "RGB"): "RGB",
    (None, "Gray"): "GRAY",
}

# The mode of Pillow's that keeps what is stored, by the mode that it reads; all others become RGB.
_AS_STORED = {"1": "L", "L": "L", "RGBA": "RGBA", "RGBa": "RGBA", "LA": "RGBA", "La": "RGBA", "PA": "RGBA"}

_RAW_EXIF = "Raw profile type exif"  # a text of PNG

_WIDTH, _HEIGHT, _DEPTH = 0x0100, 0x0101, 0x0102  # tags of TIFF


class Decode(Transform):
    """Turn an encoded image into a uint8 array: JPEG, PNG, WebP, GIF, BMP, TIFF and PPM.

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
        _check_arguments(mode, max_pixels)
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

    def __call__(self, sample: Any) -> Array:
        """Return the image as an array."""
        return decode(sample, self.mode, self.max_pixels)

    def apply_batch(self, batch: Any) -> list[Array]:
        """Return each of the images, decoded."""
        return [self(sample) for sample in batch]

    def layout_after(self, layout: str | None) -> str:  # noqa: ARG002 - there are no images before
        """Return where the channels of the images are: behind height and width."""
        return "HWC"


def decode(data: Any, mode: str | None = "RGB", max_pixels: int = MAX_PIXELS) -> Array:
    """The image as a uint8 array; see Decode.

    Args:
        data: the encoded image: bytes, or a uint8 array of one dimension.
        mode: "RGB", "L", or None for what is stored.
        max_pixels: the largest image to decode, in pixels.

    Raises:
        ArgumentError: the mode is another, or max_pixels is not positive.
        ArgumentTypeError: data is neither bytes nor a one-dimensional uint8 array.
        DecodeError: this is no such image, broken, or too large (also a ValueError).
        ImportError: Pillow is needed and not there.

    >>> decode(b"P5 3 1 255 abc").shape
    (1, 3, 3)
    """
    _check_arguments(mode, max_pixels)
    encoded = as_bytes(data)
    form = _recognised(encoded)
    if form == "JPEG":
        return _decode_jpeg(encoded, mode, max_pixels)
    return _by_pillow(encoded, form, mode, max_pixels)


def decode_reduced(data: bytes, how: Decode, denominator: int, reason: str) -> Array:
    """A JPEG that the native kernels did not decode, at a part of its size, or where none can be had at its size.

    Args:
        data: the encoded image.
        how: to which mode, and how large it may be.
        denominator: 1, 2, 4 or 8: its size is divided by that and rounded up.
        reason: why the kernels did not decode it.

    Raises:
        DecodeError: the image is broken.

    >>> from PIL import Image
    >>> file = BytesIO()
    >>> Image.new("L", (9, 5)).save(file, "JPEG")
    >>> decode_reduced(file.getvalue(), Decode(), 4, "").shape
    (2, 3, 3)
    """
    pixels = _by_simplejpeg(data, how.mode, how.max_pixels, denominator)
    if pixels is not None:
        return pixels
    try:
        try:
            return _by_pillow(data, "JPEG", how.mode, how.max_pixels, denominator)
        except DecodeError:
            if denominator == 1:
                raise
            return _by_pillow(data, "JPEG", how.mode, how.max_pixels)
    except ImportError:
        if not kernels.active().has_libjpeg:
            raise
        raise DecodeError(f"a JPEG image of {len(data):,} bytes is broken or truncated: {reason}") from None


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes begin as a JPEG does.

    >>> is_jpeg(b"P5 3 1 255 abc")
    False
    """
    return data.startswith(_JPEG)


def read_header(data: Any) -> tuple[str, int, int]:
    """The format, width and height of an encoded image, which is not decoded.

    Width and height are as stored, before the image is turned as its EXIF or XMP orientation says.

    Args:
        data: the encoded image, or as much of it as holds the header: bytes, or a uint8 array.

    Returns:
        "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF" or "PPM"; width; height.

    Raises:
        ArgumentTypeError: data is neither bytes nor a one-dimensional uint8 array.
        DecodeError: this is no such image, or the header is broken (also a ValueError).
        ImportError: Pillow is needed and not there.

    >>> read_header(b"P5 3 1 255 abc")
    ('PPM', 3, 1)
    """
    encoded = as_bytes(data)
    form = _recognised(encoded)
    header = without_exif(encoded)[0] if form == "JPEG" else encoded
    width, height = _stored_size(_opened(header, form))
    return form, width, height


def _check_arguments(mode: object, max_pixels: object) -> None:
    if mode not in _MODES:
        raise ArgumentError(f"mode must be 'RGB', 'L', or None for what is stored, but got mode={mode!r}")
    if isinstance(max_pixels, bool) or not isinstance(max_pixels, int | np.integer) or max_pixels < 1:
        raise ArgumentError(f"max_pixels must be a positive integer, but got max_pixels={max_pixels!r}")


def check_size(form: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse an image of more than `max_pixels` pixels.

    Raises:
        DecodeError: it has more.
    """
    if width * height > max_pixels:
        raise DecodeError(
            f"a {form} image of {width} x {height} = {width * height:,} pixels, but max_pixels={max_pixels:,} are "
            "allowed; if you trust where it comes from, allow more: Decode(max_pixels=...)"
        )


def as_bytes(data: Any) -> bytes:
    """The bytes of an encoded image.

    Raises:
        ArgumentTypeError: data is neither bytes nor a one-dimensional uint8 array.
    """
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    if isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 1:
        return data.tobytes()
    what = f"{data.dtype} array of shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
    raise ArgumentTypeError(
        f"an encoded image is bytes or a uint8 array of one dimension, but got a {what}; read a file with "
        "pathlib.Path(path).read_bytes(), and do not decode twice"
    )


def _recognised(data: bytes) -> str:
    """The format that the bytes begin as."""
    for beginning, form in _BEGINNINGS.items():
        if data.startswith(beginning):
            return form
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    found = f"{len(data)} bytes that begin with {data[:12]!r}" if data else "0 bytes: the file is empty"
    raise DecodeError(f"no image was found, but {found}; known formats are {', '.join(_READERS)}")


# -- the decoders


@cache
def _simplejpeg() -> ModuleType | None:
    try:
        import simplejpeg  # it may not be installed
    except ImportError:
        return None
    module: ModuleType = simplejpeg
    return module


def _decode_jpeg(data: bytes, mode: str | None, max_pixels: int) -> Array:
    for decoder in (_by_kernel, _by_simplejpeg):
        pixels = decoder(data, mode, max_pixels)
        if pixels is not None:
            return pixels
    return _by_pillow(data, "JPEG", mode, max_pixels)


def _by_kernel(data: bytes, mode: str | None, max_pixels: int) -> Array | None:
    """A JPEG as an array; None if the kernels in use do not decode, or Pillow must decide."""
    active = kernels.active()
    header = active.jpeg_headers([data]) if active.decodes else _NO_HEADER
    height, width, components, turn = header[0].tolist()
    if not components or (mode == "L" and components != 1):
        return None
    check_size("JPEG", width, height, max_pixels)
    channels = 3 if mode == "RGB" or components == 3 else 1
    out = np.empty((1, height, width, channels), np.uint8)
    whole = np.array([[0, 0, 1, 1, 0, height, 0, width]], np.int32)
    values, fill = np.tile(np.arange(256, dtype=np.uint8), (channels, 1)), np.zeros(channels, np.uint8)
    box, size = np.array([[0.0, 0, height, width]]), np.array([[height, width]], np.int32)
    as_it_is, one = Scaling(np.zeros(1, np.int32), box, size), np.ones(1, np.int32)
    if active.decode([data], header, one, as_it_is, Pixels(whole, values, fill), out):
        return None
    return _turned(out[0, ..., 0] if channels == 1 else out[0], turn)


_NO_HEADER = np.zeros((1, 4), np.int32)


def _by_simplejpeg(data: bytes, mode: str | None, max_pixels: int, denominator: int = 1) -> Array | None:
    """A JPEG as an array; None if simplejpeg is not there, or Pillow must decide."""
    turbo = _simplejpeg()
    if turbo is None or is_lossless(data):  # it writes a part of the size of a lossless one past its memory
        return None
    try:
        height, width, colours, _ = turbo.decode_jpeg_header(data)
    except ValueError:
        return None
    wanted = _TURBO.get((mode, colours))
    if wanted is None:
        return None
    check_size("JPEG", width, height, max_pixels)
    try:
        least = {"min_height": -(-height // denominator), "min_width": -(-width // denominator)}
        pixels = turbo.decode_jpeg(data, wanted, **(least if denominator > 1 else {}))
    except ValueError:
        return None
    return _turned(pixels[..., 0] if wanted == "GRAY" else pixels, orientation(*without_exif(data)[1:]))


@cache
def _reader(form: str) -> Any:
    """The class of Pillow's that reads a format."""
    module, name = _READERS[form]
    try:
        import PIL  # noqa: F401 - missing as a whole, or of a broken installation?
    except ImportError as error:
        raise ImportError(f"Pillow decodes {form} images and is not there: pip install 'headrace[images]'") from error
    return getattr(import_module(f"PIL.{module}"), name)


def _by_pillow(data: bytes, form: str, mode: str | None, max_pixels: int, denominator: int = 1) -> Array:
    # Pillow warns of JPEGs whose EXIF data are broken, whose pixels may be sound.
    data, exif, xmp = without_exif(data) if form == "JPEG" else (data, b"", b"")
    image = _opened(data, form)
    width, height = _stored_size(image)
    check_size(form, width, height, max_pixels)
    with _explained(data, form):
        if denominator > 1:
            image.draft(image.mode, (max(1, width // denominator), max(1, height // denominator)))
        image.load()
        pixels = _converted(image, form, mode)
        if form not in ("JPEG", "TIFF"):  # TIFF images are turned by Pillow itself
            exif, xmp = _metadata(image.info)
    return _turned(pixels, orientation(exif, xmp))


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
    """The image with its header read, and no more."""
    reader = _reader(form)
    with _explained(data, form):
        return reader(BytesIO(data))


@contextmanager
def _explained(data: bytes, form: str) -> Iterator[None]:
    """Whatever goes wrong in Pillow, and that is any exception, is an image that is broken."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DecodeError(f"a {form} image of {len(data):,} bytes is broken or truncated: {reason}") from error


def _converted(image: Any, form: str, mode: str | None) -> Array:
    """The pixels of a loaded image in our mode."""
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
    """The upper 8 of a grey image's 16 bits. Pillow would clip them, and older ones read them as 32 bits."""
    depth = image.tag_v2.get(_DEPTH, (1,))[0] if form == "TIFF" else 16
    if depth != 16 or image.mode == "F":
        raise ValueError(f"it has {depth} bits a sample; allowed are 1, 2, 4, 8 and 16 without sign")
    values = np.asarray(image)
    if values.dtype.kind == "i" and form == "TIFF":
        raise ValueError("its samples have signs; which of them are black and white is not known")
    return (values >> 8).astype(np.uint8)


def _stored_size(image: Any) -> tuple[int, int]:
    """Width and height. Pillow exchanges those of a TIFF image that it will turn, in newer versions."""
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(_WIDTH, image.size[0])), int(tags.get(_HEIGHT, image.size[1]))


# -- orientation


def _turned(pixels: Array, which: int) -> Array:
    """The image as a person sees it, by the orientation of what is stored; contiguous."""
    if which >= 5:  # rows of the image are columns of what is stored
        pixels = np.swapaxes(pixels, 0, 1)
    if which in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if which in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
