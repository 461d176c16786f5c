"""The orientation that images carry in XMP, or in a PNG's raw profile: images are turned as Pillow turns them."""

from __future__ import annotations

import importlib
import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import kernels
from headrace.images.codecs.decode import decode
from headrace.kernels import native, reference
from headrace.transforms import Compose, Decode, Resize

Image = pytest.importorskip("PIL.Image", reason="Pillow decodes, and is the oracle")
PngInfo = importlib.import_module("PIL.PngImagePlugin").PngInfo
exif_transpose = importlib.import_module("PIL.ImageOps").exif_transpose

NATIVE = native.load()
AS_ATTRIBUTE = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'
AS_ELEMENT = b"<x:xmpmeta><tiff:Orientation>%d</tiff:Orientation></x:xmpmeta>"
XMP = [pattern % turn for pattern in (AS_ATTRIBUTE, AS_ELEMENT) for turn in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)]
ODD = [
    b"tiff:Orientation='6'",
    b'tiff:Orientation="" tiff:Orientation="6"',
    b"tiff:Orientation",
    b"tiff:Orientation>",
    b'tiff:Orientation="',
    b'tiff:tiff:Orientation="7 and more',
    b"",
]


def exif(turn: int | None) -> bytes:
    """EXIF data that say which way up the image is, or only how wide it is."""
    tag, value = (0x0112, turn) if turn is not None else (0x0100, 37)
    return b"Exif\0\0" + struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, tag, 3, 1, value, 0, 0)


def picture() -> Any:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (26, 37, 3), np.uint8))


def saved(form: str, **options: Any) -> bytes:
    file = BytesIO()
    picture().save(file, form, **({"lossless": True} if form == "WEBP" else {}), **options)
    return file.getvalue()


def turned(data: bytes) -> Any:
    return np.asarray(exif_transpose(Image.open(BytesIO(data))).convert("RGB"))


def text(value: bytes, *, international: bool) -> Any:
    info = PngInfo()
    (info.add_itxt if international else info.add_text)("XML:com.adobe.xmp", value.decode())
    return info


@pytest.mark.parametrize("xmp", XMP + ODD)
@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG", "PNG text"])
def test_xmp(form: str, xmp: bytes) -> None:
    options = {"pnginfo": text(xmp, international=form == "PNG")} if form.startswith("PNG") else {"xmp": xmp}
    data = saved(form[:4].strip(), **options)
    np.testing.assert_array_equal(decode(data), turned(data))
    if Image.open(BytesIO(data)).getexif().get(0x0112, 1) in (5, 6, 7, 8):
        assert decode(data).shape == (37, 26, 3)


@pytest.mark.parametrize("turn", [None, 1, 3, 9])
@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG"])
def test_exif_counts_before_xmp(form: str, turn: int | None) -> None:
    xmp = AS_ATTRIBUTE % 6
    options: dict[str, Any] = {"pnginfo": text(xmp, international=True)} if form == "PNG" else {"xmp": xmp}
    data = saved(form, exif=exif(turn), **options)
    np.testing.assert_array_equal(decode(data), turned(data))
    assert decode(data).shape == ((37, 26, 3) if turn is None else (26, 37, 3))


@pytest.mark.parametrize("turn", range(10))
def test_avif(turn: int) -> None:
    """Which has a turn of its own, that Pillow gives as EXIF."""
    data = saved("AVIF", exif=exif(turn))
    np.testing.assert_array_equal(decode(data), turned(data))
    assert decode(data).shape == ((37, 26, 3) if turn in (5, 6, 7, 8) else (26, 37, 3))


@pytest.mark.parametrize("turn", range(10))
@pytest.mark.parametrize("name", ["Raw profile type exif", "Raw profile type APP1"])
def test_raw_profile_of_a_png(name: str, turn: int) -> None:
    content = exif(turn).hex()
    lines = "\n".join(content[at : at + 72] for at in range(0, len(content), 72))
    info = PngInfo()
    info.add_text(name, f"\nexif\n{len(content) // 2:8}\n{lines}\n", zip=True)
    data = saved("PNG", pnginfo=info)
    np.testing.assert_array_equal(decode(data), turned(data))


@pytest.mark.parametrize("content", ["", "exif", "\nexif\n 4\nno hexadecimal numbers\n", "\nexif\n 8\n4578696600\n"])
def test_raw_profile_that_makes_no_sense_is_upright(content: str) -> None:
    info = PngInfo()
    info.add_text("Raw profile type exif", content)
    np.testing.assert_array_equal(decode(saved("PNG", pnginfo=info)), np.asarray(picture()))


def test_exif_whose_prefix_is_written_twice() -> None:
    data = saved("JPEG", exif=b"Exif\0\0" + exif(6))
    np.testing.assert_array_equal(decode(data), turned(data))
    assert decode(data).shape == (37, 26, 3)


def test_windows_are_turned_too() -> None:
    data = saved("JPEG", xmp=AS_ATTRIBUTE % 6)
    assert Compose([Decode(), Resize(13)])(data).shape == (18, 13, 3)


SEGMENTS = st.sampled_from([
    *[b"http://ns.adobe.com/xap/1.0/\0" + xmp for xmp in (*XMP[:4], *ODD)],
    *[exif(turn) for turn in (None, 0, 6, 9)],
    b"Exif\0\0",
    b"Exif\0\0" + exif(3),
    b"http://ns.adobe.com/xap/1.0/",
    b"",
])  # fmt: skip


@pytest.mark.skipif(isinstance(NATIVE, str), reason=str(NATIVE))
@given(st.lists(SEGMENTS, max_size=4), st.integers(0, 400))
@settings(max_examples=300)
def test_kernels_read_segments_alike(contents: list[bytes], cut: int) -> None:
    data = saved("JPEG")
    written = b"".join(b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content for content in contents)
    whole = data[:2] + written + data[2:]
    files = [whole, whole[: -1 - cut]]
    assert NATIVE.jpeg_headers(files).tolist() == reference.jpeg_headers(files).tolist()  # type: ignore[union-attr]
    assert kernels.active().jpeg_headers([whole])[0, 3] == Image.open(BytesIO(whole)).getexif().get(0x0112, 1) or (
        contents.count(b"") != len(contents)
    )
