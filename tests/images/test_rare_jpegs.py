"""JPEGs that few decoders read whole, in a window and at a part of their size: the pixels are the same everywhere."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import kernels
from headrace.errors import DecodeError
from headrace.images.codecs.decode import decode
from headrace.kernels import native, reference
from headrace.rng.context import use_keys
from headrace.transforms import CenterCrop, Compose, Decode, RandomCrop, RandomResizedCrop, Resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

Image = pytest.importorskip("PIL.Image", reason="Pillow decodes, and is the oracle")

NATIVE = native.load()
KERNELS = [reference] + ([] if isinstance(NATIVE, str) else [NATIVE])


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 7, 3), np.uint8)).resize((width, height), 3)
    noisy = np.asarray(small).astype(int) + rng.integers(-20, 21, (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


# ---------------------------------------------------------------- lossless


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def lossless(pixels: NDArray[np.uint8]) -> bytes:
    """A lossless JPEG (SOF3, ITU-T T.81, annex H) of grey pixels: the predictor is the pixel on the left."""
    height, width = pixels.shape
    predicted = np.empty((height, width), int)
    predicted[:, 1:] = pixels[:, :-1]
    predicted[1:, 0] = pixels[:-1, 0]
    predicted[0, 0] = 128
    bits = []
    for difference in (pixels - predicted).ravel().tolist():
        size = abs(difference).bit_length()
        bits.append(f"{size:04b}")  # all codes are of four bits
        if size:
            bits.append(f"{difference if difference > 0 else difference + 2**size - 1:0{size}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = bytes([8]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([1, 1, 0x11, 0])
    codes = bytes([0]) + bytes([0, 0, 0, 9] + [0] * 12) + bytes(range(9))
    start = bytes([1, 1, 0, 1, 0, 0])
    return b"\xff\xd8" + segment(0xC3, frame) + segment(0xC4, codes) + segment(0xDA, start) + scan + b"\xff\xd9"


@pytest.fixture(scope="module")
def of_grey() -> tuple[bytes, NDArray[np.uint8]]:
    pixels = photograph(120, 90)[..., 0]
    data = lossless(pixels)
    try:
        decode(data, "L")
    except DecodeError:
        pytest.skip("Pillow's libjpeg reads no lossless JPEG")
    return data, pixels


def test_lossless(of_grey: tuple[bytes, Any]) -> None:
    data, pixels = of_grey
    np.testing.assert_array_equal(decode(data, "L"), pixels)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [8, 20, 44, 60, 200])
def test_lossless_where_less_would_be_decoded(size: int, mode: str, of_grey: tuple[bytes, Any]) -> None:
    data, pixels = of_grey
    whole = Image.fromarray(pixels)
    if mode == "RGB":
        whole = whole.convert("RGB")
    expected = np.asarray(whole.resize((size, size), Image.Resampling.BILINEAR)).astype(int)
    chain = Compose([Decode(mode), Resize((size, size))])
    assert np.abs(chain(data) - expected).max() <= 1
    np.testing.assert_array_equal(chain.apply_batch([data])[0], chain(data))


def test_lossless_windows(of_grey: tuple[bytes, Any]) -> None:
    data, pixels = of_grey
    np.testing.assert_array_equal(Compose([Decode("L"), CenterCrop(50)])(data), pixels[35:85, 20:70])


def test_lossless_that_is_broken_is_an_error(of_grey: tuple[bytes, Any]) -> None:
    data, _ = of_grey
    with pytest.raises(DecodeError, match="broken or truncated"):
        Compose([Decode(), Resize(20)])(data[: len(data) // 2])


# ---------------------------------------------------------------- progressive, with scans missing


def incomplete(scans: int, **options: Any) -> bytes:
    """A progressive JPEG that ends, properly, after so many scans."""
    file = BytesIO()
    Image.fromarray(photograph(75, 100)).save(file, "JPEG", progressive=True, **options)
    data = file.getvalue()
    position = -1
    for _ in range(scans + 1):
        position = data.index(b"\xff\xda", position + 1)
    return data[:position] + b"\xff\xd9"


INCOMPLETE = [incomplete(scans) for scans in (1, 2, 3, 5, 8)] + [incomplete(1, subsampling=0)]


@pytest.mark.parametrize("data", INCOMPLETE)
def test_incomplete_progressive_is_one_image(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for each in KERNELS:
        monkeypatch.setattr(kernels, "active", lambda each=each: each)
        found.append(decode(data))
    for pixels in found:
        np.testing.assert_array_equal(pixels, found[0])


@pytest.mark.parametrize("data", INCOMPLETE)
@pytest.mark.parametrize("crop", [RandomCrop(24, padding=None), CenterCrop(31)])
def test_windows_of_incomplete_progressive(data: bytes, crop: Any) -> None:
    full, chain = decode(data), Compose([Decode(), crop])
    for index in range(8):
        with use_keys(7, np.array([index])):
            window = chain(data)
        places = np.lib.stride_tricks.sliding_window_view(full, window.shape)[..., 0, :, :, :]
        assert (places == window).all(axis=(2, 3, 4)).any()


@pytest.mark.parametrize("data", INCOMPLETE)
@pytest.mark.parametrize("chain", [[Resize(20)], [RandomResizedCrop(16)], [RandomResizedCrop(16, antialias=False)]])
def test_incomplete_progressive_at_a_part_of_its_size(
    data: bytes, chain: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for each in KERNELS:
        monkeypatch.setattr(kernels, "active", lambda each=each: each)
        with use_keys(7, np.array([3])):
            found.append(Compose([Decode(), *chain])(data))
    for pixels in found:
        np.testing.assert_array_equal(pixels, found[0])
