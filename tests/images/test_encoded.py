"""Chains on encoded images: one pass gives the same pixels with every decoder, alone and in a batch, and Pillow's."""

from __future__ import annotations

import importlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import kernels
from headrace.errors import DecodeError
from headrace.kernels import active, native, reference
from headrace.rng.context import use_keys
from headrace.transforms import (
    CenterCrop,
    Compose,
    Decode,
    Normalize,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    ToCHW,
    ToFloat,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Image = pytest.importorskip("PIL.Image", reason="Pillow decodes, and is the oracle")

MODULE = importlib.import_module("headrace.images.codecs.jpeg")
NATIVE = native.load()
ORIENTATION = 0x0112

KINDS: dict[str, dict[str, Any]] = {
    "4:2:0": {"subsampling": 2},
    "4:2:2": {"subsampling": 1},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "grey": {"mode": "L"},
    "stored as RGB": {"keep_rgb": True},
    "CMYK": {"mode": "CMYK"},
    "PNG": {"form": "PNG"},
    "WebP": {"form": "WEBP", "lossless": True},
}


def photograph(height: int, width: int, seed: int = 0) -> Any:
    """Smooth shapes and some noise."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).resize((width, height), 3)
    noisy = np.asarray(small).astype(int) + rng.integers(-9, 10, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encoded(
    height: int, width: int, mode: str = "RGB", form: str = "JPEG", turn: int = 1, seed: int = 0, **options: Any
) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    file = BytesIO()
    photograph(height, width, seed).convert(mode).save(file, form, exif=exif, **options)
    return file.getvalue()


class _decoding_by:
    """While this is open, that decoder of JPEG is used."""

    def __init__(self, decoder: str) -> None:
        self._decoder = decoder

    def __enter__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        if self._decoder != "kernels":
            self._patch.setattr(kernels, "active", lambda: reference)
        if self._decoder == "Pillow":
            self._patch.setattr(MODULE, "_simplejpeg", lambda: None)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


DECODERS = ["kernels", "simplejpeg", "Pillow"]
PIXELS = [RandomHorizontalFlip(), ToFloat(), Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), ToCHW()]
CHAINS: dict[str, list[Any]] = {
    "train": [RandomResizedCrop(20), *PIXELS],
    "evaluate": [Resize(30), CenterCrop(24), ToFloat(), ToCHW()],
    "small windows": [RandomResizedCrop((9, 13), scale=(0.01, 0.1))],
    "flips first": [RandomHorizontalFlip(), RandomVerticalFlip(), RandomResizedCrop((12, 17))],
    "cut only": [RandomCrop((16, 18), padding=0), *PIXELS],
    "padded": [Resize((30, 33)), RandomCrop(32, padding=3)],
    "at most so long": [Resize(30, max_size=50), CenterCrop(12), RandomVerticalFlip()],
    "nearest pixels": [RandomResizedCrop((21, 10), interpolation="nearest"), RandomHorizontalFlip()],
    "cubic": [RandomResizedCrop(20, interpolation="bicubic"), *PIXELS],
    "four pixels": [Resize((11, 7), antialias=False)],
    "lines repeated": [Resize((30, 33)), RandomCrop(32, 3, padding_mode="reflect"), *PIXELS],
    "lines repeated in a corner": [Resize((20, 18)), Pad((9, 0, 2, 7), 0, "symmetric"), CenterCrop(5), Pad(2), *PIXELS],
    "and a function": [RandomResizedCrop(20), ToFloat(), lambda image: image * 2],
}


def batch(chain: Any, files: list[bytes], decoder: str = "kernels") -> Any:
    with _decoding_by(decoder), use_keys(7, np.arange(len(files))):
        return chain.apply_batch(files)


def singly(chain: Any, files: list[bytes], decoder: str = "kernels") -> Any:
    samples = []
    with _decoding_by(decoder):
        for number, file in enumerate(files):
            with use_keys(7, np.array([number])):
                samples.append(chain(file))
    return np.stack(samples)


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_pixels_from_each_decoder_alone_and_in_a_batch(kind: str, chain: list[Any]) -> None:
    files = [encoded(40 + 17 * n, 75 - 5 * n, turn=1 + n, seed=n, **KINDS[kind]) for n in range(8)]
    whole = Compose([Decode(), *chain])
    expected = batch(whole, files)
    for decoder in DECODERS:
        np.testing.assert_array_equal(singly(whole, files, decoder), expected, err_msg=decoder)
        np.testing.assert_array_equal(batch(whole, files, decoder), expected, err_msg=decoder)


def test_files_of_all_kinds_in_one_batch() -> None:
    files = [encoded(60, 50, seed=n, **options) for n, options in enumerate(KINDS.values())]
    whole = Compose([Decode(), *CHAINS["train"]])
    np.testing.assert_array_equal(batch(whole, files), singly(whole, files))


@given(st.data(), st.sampled_from(list(KINDS)), st.integers(1, 8))
@settings(max_examples=150)
def test_any_window(data: st.DataObject, kind: str, turn: int) -> None:
    """Of any size of images, into any size: margins, edges and rounding are where mistakes would be."""
    height, width = data.draw(st.tuples(st.integers(1, 130), st.integers(1, 130)))
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    low = data.draw(st.floats(0.001, 1))
    file = encoded(height, width, turn=turn, seed=data.draw(st.integers(0, 3)), **KINDS[kind])
    interpolation = data.draw(st.sampled_from(["nearest", "bilinear", "bicubic"]))
    crop = RandomResizedCrop(size, (low, 1), (0.2, 5), interpolation, data.draw(st.booleans()))
    whole = Compose([Decode(), crop, RandomHorizontalFlip()])
    expected = singly(whole, [file], "Pillow")
    for decoder in ("kernels", "simplejpeg"):
        np.testing.assert_array_equal(batch(whole, [file], decoder), expected, err_msg=decoder)


def pillow(file: bytes, window: tuple[int, int, int, int], size: tuple[int, int]) -> Any:
    """All of the image decoded, cut and scaled, first along its width."""
    image = importlib.import_module("PIL.ImageOps").exif_transpose(Image.open(BytesIO(file))).convert("RGB")
    cut = image.crop(window)
    return np.asarray(cut.resize((size[1], cut.height), 2).resize(size[::-1], 2))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_pillows_pixels_where_nothing_is_left_out(kind: str, turn: int) -> None:
    """A window less than twice as large as what becomes of it is decoded at full size."""
    file = encoded(70, 90, turn=turn, **KINDS[kind])
    height, width = (90, 70) if turn >= 5 else (70, 90)
    found = Compose([Decode(), CenterCrop((50, 40)), Resize((33, 36))])(file)
    top, left = (height - 50) // 2, (width - 40) // 2
    np.testing.assert_array_equal(found, pillow(file, (left, top, left + 40, top + 50), (33, 36)))


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
@pytest.mark.parametrize("factor", [2, 3, 4, 7, 8, 13])
def test_near_pillows_pixels_where_less_is_decoded(factor: int, turn: int) -> None:
    """Windows that begin between the pixels of the smaller image are still where they should be."""
    file = encoded(241, 331, turn=turn, quality=95)
    height, width = (331, 241) if turn >= 5 else (241, 331)
    size = (height // factor - 2, width // factor - 2)
    found = Compose([Decode(), CenterCrop((height - 3, width - 5)), Resize(size)])(file)
    top, left = round(1.5), round(2.5)
    expected = pillow(file, (left, top, left + width - 5, top + height - 3), size)
    difference = np.abs(found.astype(int) - expected)
    assert difference.mean() < 1.5
    assert np.quantile(difference, 0.99) <= 6
    shifted = pillow(file, (left + 2 * factor, top, left + width - 5, top + height - 3), size)
    assert np.abs(found.astype(int) - shifted).mean() > 2 * difference.mean()


@pytest.mark.skipif(not getattr(active(), "decodes", False), reason="the kernels in use have no decoder")
def test_windows_of_the_native_decoder_are_decoded_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage below the window is not noticed by it, which shows that it has not been there."""
    monkeypatch.setattr(MODULE, "decode_by_pillow", lambda *_: pytest.fail("Pillow was asked"))
    good, height = encoded(400, 64, quality=95), 30
    file = bytearray(good)
    file[-400:-300] = b"\xff" * 100
    top = Compose([Decode(), _Top(height)])
    np.testing.assert_array_equal(top(bytes(file)), top(good))
    with pytest.raises(BaseException, match="Pillow was asked"):
        Compose([Decode(), _Top(390)])(bytes(file))


class _Top(CenterCrop):
    """The upper rows."""

    def __init__(self, height: int) -> None:
        super().__init__((height, 64))

    def _offset(self, extent: tuple[int, int]) -> tuple[int, int]:
        return 0, 0


# -- errors


def damaged() -> Iterator[tuple[str, bytes]]:
    good = encoded(200, 300)
    yield "empty", b""
    yield "no image", b"Not Found"
    yield "truncated", good[: len(good) // 2]
    yield "no pixels", good[:400]
    middle = bytearray(good)
    middle[len(good) // 2 : len(good) // 2 + 200] = b"\xff" * 200
    yield "damaged in the middle", bytes(middle)
    place = good.index(b"\xff\xc0") + 5
    yield "65,535 pixels", good[:place] + b"\xff\xff\xff\xff" + good[place + 4 :]
    yield "PNG, truncated", encoded(50, 50, form="PNG")[:500]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("kind", "file"), list(damaged()), ids=[kind for kind, _ in damaged()])
def test_a_damaged_file_is_one_error_that_names_its_place(kind: str, file: bytes, decoder: str) -> None:
    good = encoded(40, 50)
    chain = Compose([Decode(), Resize((30, 40))])
    with pytest.raises(DecodeError) as caught:
        batch(chain, [good, good, file, good], decoder)
    assert caught.value.__notes__ == ["image 2 of the batch"]
    with pytest.raises(DecodeError) as alone:
        singly(chain, [file], decoder)
    assert str(alone.value) == str(caught.value)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_truncated_file_is_an_error_whichever_window_is_asked_for(decoder: str) -> None:
    good = encoded(300, 200)
    chain = Compose([Decode(), RandomResizedCrop(8, scale=(0.01, 0.02))])
    for number in range(10):
        with _decoding_by(decoder), use_keys(number, np.arange(1)), pytest.raises(DecodeError):
            chain(good[:-100])


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_limit_of_pixels(decoder: str) -> None:
    good = encoded(40, 50)
    assert batch(Compose([Decode(max_pixels=2000), Resize((4, 4))]), [good], decoder).shape == (1, 4, 4, 3)
    with pytest.raises(DecodeError, match="max_pixels=1,999 are allowed"):
        batch(Compose([Decode(max_pixels=1999), Resize((4, 4))]), [good], decoder)


def test_images_that_stay_of_several_sizes_are_no_batch() -> None:
    chain = Compose([Decode(), Resize(10)])
    assert not chain.batched
    assert [chain(encoded(20, width)).shape for width in (20, 40)] == [(10, 10, 3), (10, 20, 3)]
    assert Compose([Decode(), Resize(10), CenterCrop(8)]).batched
    assert not Compose([Decode(None), Resize((8, 8))]).batched
    assert not Compose([Decode(), lambda image: image, Resize((8, 8))]).batched


def test_grey() -> None:
    files = [encoded(40, 50, mode=mode, form=form) for mode, form in (("L", "JPEG"), ("RGB", "JPEG"), ("L", "PNG"))]
    chain = Compose([Decode("L"), RandomResizedCrop(12), ToFloat(), ToCHW()])
    expected = batch(chain, files)
    assert expected.shape == (3, 1, 12, 12)
    for decoder in DECODERS:
        np.testing.assert_array_equal(batch(chain, files, decoder), expected)
        np.testing.assert_array_equal(singly(chain, files, decoder), expected)
