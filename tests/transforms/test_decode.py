"""Decode: what Pillow makes of a file, by each decoder; what is no image is a DecodeError and nothing else."""

from __future__ import annotations

import importlib
import pickle
import re
import struct
import sys
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import kernels
from headrace.batch.capabilities import batch_function
from headrace.errors import ArgumentError, ArgumentTypeError, DecodeError
from headrace.images.codecs.decode import decode
from headrace.transforms import Decode, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Image = pytest.importorskip("PIL.Image", reason="Pillow decodes, and is the oracle")

MODULE = importlib.import_module("headrace.images.codecs.jpeg")
PILLOW = importlib.import_module("headrace.images.codecs.pillow")
WIDTH, HEIGHT = 37, 26


@pytest.fixture(params=["kernels", "simplejpeg", "Pillow"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the decoders of JPEG."""
    if request.param == "kernels":
        if not kernels.active().decodes:
            pytest.skip("the kernels in use have no decoder")
    else:
        without_kernels(monkeypatch)
    if request.param == "simplejpeg":
        pytest.importorskip("simplejpeg")
    elif request.param == "Pillow":
        monkeypatch.setattr(MODULE, "_simplejpeg", lambda: None)
    return str(request.param)


def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_by_kernel", lambda *_: None)


def picture() -> Any:
    """Smooth colours, in which every pixel differs from those that a turn would put there."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    return Image.fromarray(noise).resize((WIDTH, HEIGHT), 3)


def encoded(form: str, mode: str = "RGB", **options: Any) -> bytes:
    file = BytesIO()
    alpha = mode in ("RGBA", "LA")
    picture().convert("RGBA" if alpha else "RGB").convert(mode).save(file, form, **options)
    return file.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "JPEG 4:2:0": lambda: encoded("JPEG", subsampling=2),
    "JPEG 4:2:2": lambda: encoded("JPEG", subsampling=1),
    "JPEG 4:4:4": lambda: encoded("JPEG", subsampling=0, quality=95),
    "JPEG progressive": lambda: encoded("JPEG", progressive=True),
    "JPEG grey": lambda: encoded("JPEG", "L"),
    "JPEG CMYK": lambda: encoded("JPEG", "CMYK"),
    "JPEG stored as RGB": lambda: encoded("JPEG", keep_rgb=True),
    "PNG": lambda: encoded("PNG"),
    "PNG grey": lambda: encoded("PNG", "L"),
    "PNG grey, transparent": lambda: encoded("PNG", "LA"),
    "PNG RGBA": lambda: encoded("PNG", "RGBA"),
    "PNG palette": lambda: encoded("PNG", "P"),
    "PNG palette, transparent": lambda: encoded("PNG", "P", transparency=3),
    "PNG 1 bit": lambda: encoded("PNG", "1"),
    "PNG palette, 4 bits": lambda: encoded("PNG", "P", bits=4),
    "WebP": lambda: encoded("WEBP"),
    "WebP lossless RGBA": lambda: encoded("WEBP", "RGBA", lossless=True),
    "AVIF": lambda: encoded("AVIF"),
    "AVIF RGBA": lambda: encoded("AVIF", "RGBA"),
    "JPEG2000": lambda: encoded("JPEG2000"),
    "JPEG2000 grey": lambda: encoded("JPEG2000", "L"),
    "JPEG2000 RGBA": lambda: encoded("JPEG2000", "RGBA"),
    "JPEG2000 codestream": lambda: encoded("JPEG2000", no_jp2=True),
    "GIF": lambda: encoded("GIF", "P"),
    "GIF of shades": lambda: encoded("GIF", "L"),
    "BMP": lambda: encoded("BMP"),
    "BMP 1 bit": lambda: encoded("BMP", "1"),
    "TIFF": lambda: encoded("TIFF"),
    "TIFF LZW": lambda: encoded("TIFF", compression="tiff_lzw"),
    "TIFF JPEG": lambda: encoded("TIFF", compression="jpeg"),
    "TIFF CMYK": lambda: encoded("TIFF", "CMYK"),
    "PPM": lambda: encoded("PPM"),
    "PGM": lambda: encoded("PPM", "L"),
    "PBM": lambda: encoded("PPM", "1"),
}
STORED = {"grey": "L", "1 bit": "L", "PGM": "L", "PBM": "L", "RGBA": "RGBA", "transparent": "RGBA"}
CHANNELS = {"L": (), "RGB": (3,), "RGBA": (4,)}


def stored(name: str) -> str:
    """The mode that keeps all that the file holds."""
    return next((mode for part, mode in reversed(STORED.items()) if part in name), "RGB")


def oracle(data: bytes, mode: str) -> np.ndarray[Any, Any]:
    return np.array(Image.open(BytesIO(data)).convert(mode))


@pytest.mark.parametrize("mode", ["RGB", "L", None])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.usefixtures("decoder")
def test_as_pillow_reads_it(name: str, mode: str | None) -> None:
    data = FILES[name]()
    found, expected = decode(data, mode), oracle(data, mode or stored(name))
    assert found.shape == (HEIGHT, WIDTH, *CHANNELS[mode or stored(name)])
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert found.flags.writeable


@pytest.mark.parametrize("name", FILES)
def test_headers(name: str) -> None:
    data = FILES[name]()
    names = {"WebP": "WEBP", "PGM": "PPM", "PBM": "PPM", "JPEG2000": "JPEG 2000"}
    form = names.get(name.split()[0], name.split()[0])
    assert read_header(data) == (form, WIDTH, HEIGHT)
    if form not in ("TIFF", "AVIF", "WEBP"):  # of which the header is at the end, or says how long the file is
        assert read_header(data[: len(data) - 20]) == (form, WIDTH, HEIGHT)


def test_a_palette_of_several_transparencies() -> None:
    """Which Pillow would warn of, and which changes no colour."""
    alpha = bytes(range(0, 250, 5))
    plain, transparent = (encoded("PNG", "P", **options) for options in ({}, {"transparency": alpha}))
    for mode in ("RGB", "L"):
        np.testing.assert_array_equal(decode(transparent, mode), decode(plain, mode))
    np.testing.assert_array_equal(decode(transparent, None), oracle(transparent, "RGBA"))


# -- depths


def png(width: int, height: int, rows: bytes, depth: int = 8, colours: int = 0) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


DEEP = np.array([[0, 255, 256, 4095], [32768, 65279, 65280, 65535]], np.uint16)
UPPER = np.array([[0, 0, 1, 15], [128, 254, 255, 255]], np.uint8)


def deep_png() -> bytes:
    return png(4, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP), depth=16)


def deep_tiff(dtype: str = "<u2", kind: int = 1, depth: int = 16, order: str = "<") -> bytes:
    """A TIFF file with one strip: `kind` is 1 without, 2 with sign, 3 floating-point."""
    tags = [(256, 4), (257, 2), (258, depth), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2)]
    pixels = DEEP.astype(dtype).tobytes()
    tags += [(279, len(pixels)), (339, kind)]
    beginning = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(pixels))
    entries = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    return beginning + pixels + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("data", [deep_png(), deep_tiff(), deep_tiff(">u2", order=">")], ids=["PNG", "TIFF", "TIFF MM"])
def test_sixteen_bits_keep_their_upper_eight(data: bytes) -> None:
    np.testing.assert_array_equal(decode(data, "L"), UPPER)
    np.testing.assert_array_equal(decode(data, None), UPPER)
    np.testing.assert_array_equal(decode(data), np.stack([UPPER] * 3, axis=2))


def test_sixteen_bits_of_a_pgm() -> None:
    np.testing.assert_array_equal(decode(b"P5 4 2 65535 " + DEEP.astype(">u2").tobytes(), "L"), UPPER)


def test_sixteen_bits_a_colour() -> None:
    colours = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], axis=2)
    data = png(4, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours), depth=16, colours=2)
    np.testing.assert_array_equal(decode(data), np.stack([UPPER, UPPER[::-1], UPPER[:, ::-1]], axis=2))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (deep_tiff("<i2", kind=2), "its samples have signs; which of them are black and white is not known"),
        (deep_tiff("<u4", depth=32), "it has 32 bits a sample; allowed are 1, 2, 4, 8 and 16 without sign"),
        (deep_tiff("<f4", kind=3, depth=32), "it has 32 bits a sample; allowed are 1, 2, 4, 8 and 16 without sign"),
    ],
)
def test_depths_whose_white_is_unknown(data: bytes, text: str) -> None:
    with pytest.raises(DecodeError, match=re.escape(text)):
        decode(data)


# -- orientation

TURNS: dict[int, Callable[[Any], Any]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: np.rot90(pixels, 2),
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: np.swapaxes(pixels, 0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(np.swapaxes(pixels, 0, 1), 2),
    8: lambda pixels: np.rot90(pixels),
}


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """EXIF data of two tags, as programs write them in two byte orders and two types."""
    entry = struct.pack(f"{order}HHI", 0x0112, kind, 1)
    entry += struct.pack(f"{order}HH", orientation, 0) if kind == 3 else struct.pack(f"{order}I", orientation)
    before = struct.pack(f"{order}HHIHH", 0x0100, 3, 1, 6, 0)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + start + struct.pack(f"{order}IH", 8, 2) + before + entry + bytes(4)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(("form", "stored_as"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("WEBP", "RGB")])
@pytest.mark.usefixtures("decoder")
def test_turned_as_exif_says(form: str, stored_as: str, orientation: int, mode: str) -> None:
    """Also as Pillow's own function for it turns the image."""
    data = encoded(form, stored_as, exif=exif(orientation))
    found = decode(data, mode)
    image = Image.open(BytesIO(data))
    np.testing.assert_array_equal(found, TURNS[orientation](np.array(image.convert(mode))))
    upright = importlib.import_module("PIL.ImageOps").exif_transpose(image)
    np.testing.assert_array_equal(found, np.array(upright.convert(mode)))
    assert found.flags.c_contiguous
    assert read_header(data) == (form, WIDTH, HEIGHT)


@pytest.mark.parametrize("orientation", TURNS)
def test_tiff_is_turned_once(orientation: int) -> None:
    tags = importlib.import_module("PIL.TiffImagePlugin").ImageFileDirectory_v2()
    tags[0x0112] = orientation
    data = encoded("TIFF", tiffinfo=tags)
    np.testing.assert_array_equal(decode(data), TURNS[orientation](np.array(picture().convert("RGB"))))
    assert read_header(data) == ("TIFF", WIDTH, HEIGHT)


@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.usefixtures("decoder")
def test_ways_to_write_the_orientation(order: str, kind: int) -> None:
    plain = decode(encoded("JPEG"))
    found = decode(encoded("JPEG", exif=exif(6, order, kind)))
    np.testing.assert_array_equal(found, np.rot90(plain, -1))


@pytest.mark.parametrize("broken", [exif(0), exif(9), exif(70, kind=4), b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff"])
@pytest.mark.usefixtures("decoder")
def test_an_orientation_that_makes_no_sense_is_upright(broken: bytes) -> None:
    np.testing.assert_array_equal(decode(encoded("JPEG", exif=broken)), decode(encoded("JPEG")))


@pytest.mark.parametrize("length", range(len(exif(6))))
@pytest.mark.usefixtures("decoder")
def test_exif_that_ends_early(length: int) -> None:
    data = encoded("JPEG", exif=exif(6)[:length])
    assert decode(data).shape in ((HEIGHT, WIDTH, 3), (WIDTH, HEIGHT, 3))


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


@pytest.mark.usefixtures("decoder")
def test_exif_behind_other_segments_and_filling() -> None:
    data = encoded("JPEG")
    before = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>") + segment(0xFE, b"a comment") + b"\xff\xff"
    turned = data[:2] + before + segment(0xE1, exif(3)) + segment(0xE1, exif(8)) + data[2:]
    np.testing.assert_array_equal(decode(turned), decode(data)[::-1, ::-1])


# -- the first image of several


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_image_of_several(form: str) -> None:
    first, second = picture().convert("RGB"), Image.new("RGB", (WIDTH, HEIGHT), "red")
    file = BytesIO()
    first.save(file, form, save_all=True, append_images=[second], **({"lossless": True} if form == "WEBP" else {}))
    found = decode(file.getvalue())
    if form == "GIF":  # which has 256 colours
        np.testing.assert_array_equal(found, oracle(file.getvalue(), "RGB"))
    else:
        np.testing.assert_array_equal(found, np.array(first))


@pytest.mark.usefixtures("decoder")
def test_the_first_image_of_a_camera_that_takes_two() -> None:
    file = BytesIO()
    picture().convert("RGB").save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert read_header(file.getvalue()) == ("JPEG", WIDTH, HEIGHT)
    np.testing.assert_array_equal(decode(file.getvalue()), oracle(file.getvalue(), "RGB"))


# -- what is no image


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            b"",
            "no image was found, but 0 bytes: the file is empty; known formats are JPEG, PNG, GIF, BMP, TIFF, PPM",
        ),
        (b"Not Found\n", r"no image was found, but 10 bytes that begin with b'Not Found\n'; known formats are JPEG"),
        (b"<!DOCTYPE html><html>", "no image was found, but 21 bytes that begin with b'<!DOCTYPE ht'; known"),
        (b"\xff\xd8\xff", "a JPEG image of 3 bytes is broken or truncated: "),
        (b"\xff\xd8\xff" + bytes(1000), "a JPEG image of 1,003 bytes is broken or truncated: "),
        (b"\x89PNG\r\n\x1a\n", "a PNG image of 8 bytes is broken or truncated: "),
        (b"RIFF\0\0\0\0WEBP", "a WEBP image of 12 bytes is broken or truncated: "),
        (b"P5 0 1 255 ", "a PPM image of 11 bytes is broken or truncated: "),
    ],
)
@pytest.mark.usefixtures("decoder")
def test_what_is_no_image(data: bytes, text: str) -> None:
    with pytest.raises(DecodeError, match=f"^{re.escape(text)}") as caught:
        decode(data)
    assert isinstance(caught.value, ValueError)
    assert (caught.value.__cause__ is None) == text.startswith("no image")
    with pytest.raises(DecodeError, match=f"^{re.escape(text)}"):
        read_header(data)


# Bytes at the end that hold no pixels, without which Pillow reads the image all the same.
TAILS = {"JPEG": 2, "PNG": 24, "GIF": 2, "BMP": 3}


@pytest.mark.parametrize("name", [name for name in FILES if "bit" not in name])
@pytest.mark.usefixtures("decoder")
def test_truncated_anywhere_is_an_error(name: str) -> None:
    """Never an image whose lower part is grey."""
    data = FILES[name]()
    whole = decode(data)
    for length in [*range(0, len(data), 7), *range(len(data) - 30, len(data))]:
        try:
            found = decode(data[:length])
        except DecodeError:
            continue
        assert length >= len(data) - TAILS.get(name.split()[0], 0), length
        np.testing.assert_array_equal(found, whole)


def mutations(data: bytes, count: int) -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        bytes_ = np.frombuffer(data, np.uint8).copy()
        # half of them where headers lie
        reach = len(data) if rng.random() < 0.5 else min(len(data), 200)
        places = rng.integers(0, reach, rng.integers(1, 6))
        bytes_[places] = rng.integers(0, 256, len(places))
        cut = rng.integers(0, len(data)) if rng.random() < 0.2 else len(data)
        yield bytes_[:cut].tobytes() + (data[:50] if rng.random() < 0.1 else b"")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow's, on odd things that it reads nevertheless
@pytest.mark.parametrize("mode", ["RGB", None])
@pytest.mark.parametrize(
    "name", ["JPEG 4:2:0", "JPEG progressive", "JPEG CMYK", "PNG palette", "PNG RGBA", "GIF", "BMP"]
)
@pytest.mark.usefixtures("decoder")
def test_changed_bytes_give_an_image_or_the_one_error(name: str, mode: str | None) -> None:
    data = FILES[name]()
    outcomes = []
    for changed in mutations(data, 150):
        try:
            found = decode(changed, mode, max_pixels=1_000_000)
        except DecodeError as error:
            outcomes.append(str(error))
            continue
        assert found.dtype == np.uint8
        assert found.ndim in (2, 3)
        assert found.size
        assert found.shape[2:] in ((), (3,), (4,))
        outcomes.append("")
    assert len(set(outcomes)) > 3, "some are images, others are broken in several ways"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["JPEG 4:2:0", "JPEG grey", "JPEG progressive"])
def test_all_decoders_agree_on_what_is_broken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")

    def outcome(data: bytes) -> Any:
        try:
            return decode(data, max_pixels=1_000_000).tobytes()
        except DecodeError as error:
            return str(error)

    changed = list(mutations(FILES[name](), 150))
    native = [outcome(data) for data in changed]
    without_kernels(monkeypatch)
    assert [outcome(data) for data in changed] == native
    monkeypatch.setattr(MODULE, "_simplejpeg", lambda: None)
    assert [outcome(data) for data in changed] == native


# -- too large


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose header says what is not true."""
    data = encoded("JPEG")
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("JPEG", jpeg_of_size(65535, 65535)),
        ("PNG", png(65535, 65535, b"")),
        ("GIF", b"GIF89a" + struct.pack("<HH", 65535, 65535) + encoded("GIF", "P")[10:]),
        ("PPM", b"P5 65535 65535 255 abc"),
    ],
)
@pytest.mark.usefixtures("decoder")
def test_bombs_are_refused_by_their_header(form: str, data: bytes) -> None:
    assert read_header(data) == (form, 65535, 65535)
    text = (
        f"a {form} image of 65535 x 65535 = 4,294,836,225 pixels, but max_pixels=178,956,970 are allowed; "
        "if you trust where it comes from, allow more: Decode(max_pixels=...)"
    )
    with pytest.raises(DecodeError, match=f"^{re.escape(text)}$"):
        decode(data)


@pytest.mark.usefixtures("decoder")
def test_the_limit_is_exact() -> None:
    data = encoded("JPEG")
    assert Decode(max_pixels=WIDTH * HEIGHT)(data).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DecodeError, match=f"^a JPEG image of {WIDTH} x {HEIGHT} = {WIDTH * HEIGHT} pixels, but"):
        Decode(max_pixels=WIDTH * HEIGHT - 1)(data)


def test_no_other_limit_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(encoded("PNG")).shape == (HEIGHT, WIDTH, 3)


# -- arguments


@pytest.mark.parametrize("mode", ["RGBA", "rgb", "", 3])
def test_modes(mode: Any) -> None:
    text = re.escape(f"mode must be 'RGB', 'L', or None for what is stored, but got mode={mode!r}")
    for call in (Decode, lambda mode: decode(b"", mode)):
        with pytest.raises(ArgumentError, match=f"^{text}$"):
            call(mode)


@pytest.mark.parametrize("max_pixels", [0, -1, True, None, 1e6])
def test_limits(max_pixels: Any) -> None:
    with pytest.raises(ArgumentError, match=re.escape(f"a positive integer, but got max_pixels={max_pixels!r}")):
        Decode(max_pixels=max_pixels)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_kinds_of_bytes(kind: Any) -> None:
    data = encoded("JPEG")
    np.testing.assert_array_equal(decode(kind(data)), decode(data))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("cat.jpg", "a str"),
        (None, "a NoneType"),
        (np.zeros((2, 2, 3), np.uint8), "a uint8 array of shape (2, 2, 3)"),
        (np.zeros(9, np.float32), "a float32 array of shape (9,)"),
    ],
)
def test_what_is_no_bytes(data: Any, what: str) -> None:
    text = f"an encoded image is bytes or a uint8 array of one dimension, but got {what}; read a file with"
    with pytest.raises(ArgumentTypeError, match=f"^{re.escape(text)}"):
        decode(data)


def test_a_transform_of_single_samples() -> None:
    transform = Decode("L", max_pixels=2000)
    assert repr(transform) == "Decode(mode='L', max_pixels=2000)"
    assert batch_function(transform) is None
    assert transform.releases_gil
    assert repr(pickle.loads(pickle.dumps(transform))) == repr(transform)
    files = [encoded("PNG"), encoded("JPEG")]
    for found, data in zip(transform.apply_batch(files), files, strict=True):
        np.testing.assert_array_equal(found, transform(data))


# -- which decoder


def test_simplejpeg_serves_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")
    without_kernels(monkeypatch)
    monkeypatch.setattr(PILLOW, "_reader", lambda form: pytest.fail("Pillow was asked"))
    for mode in ("RGB", None):
        assert decode(encoded("JPEG"), mode).shape == (HEIGHT, WIDTH, 3)
    assert decode(encoded("JPEG", "L"), "L").shape == (HEIGHT, WIDTH)


@pytest.fixture
def no_decoders(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    without_kernels(monkeypatch)
    for name in ("simplejpeg", "PIL"):
        monkeypatch.setitem(sys.modules, name, None)
    MODULE._simplejpeg.cache_clear()
    PILLOW._reader.cache_clear()
    yield
    MODULE._simplejpeg.cache_clear()
    PILLOW._reader.cache_clear()


@pytest.mark.parametrize("name", ["JPEG 4:4:4", "PNG"])
def test_pillow_missing(name: str, request: pytest.FixtureRequest) -> None:
    data = FILES[name]()
    request.getfixturevalue("no_decoders")
    text = f"Pillow decodes {name.split()[0]} images and is not there: pip install 'headrace[images]'"
    for call in (decode, read_header):
        with pytest.raises(ImportError, match=f"^{re.escape(text)}$"):
            call(data)
