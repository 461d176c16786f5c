"""Scaling and decoding kernels: the native ones are the reference's, and the reference is Pillow's."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError
from headrace.kernels import native, reference
from headrace.kernels.images import Interpolation, Pixels, Scaling, Turn

Image = pytest.importorskip("PIL.Image", reason="Pillow is the oracle")

NATIVE = native.load()


def bytes_shown(places: Any, channels: int) -> Pixels:
    values = np.tile(np.arange(256, dtype=np.uint8), (channels, 1))
    return Pixels(np.array(places, np.int32), values, np.full(channels, 9, np.uint8))


def scaled(kernels: Any, image: Any, box: Any, size: tuple[int, int], turn: int = 0, **options: Any) -> Any:
    """One image, all of it shown."""
    one = Scaling(np.array([turn], np.int32), np.array([box], np.float64), np.array([size], np.int32), **options)
    out = np.empty((1, *size, image.shape[2]), np.uint8)
    shown = bytes_shown([[0, 0, 1, 1, 0, size[0], 0, size[1]]], image.shape[2])
    kernels.scale(image[np.newaxis], np.zeros(1, np.int64), one, shown, out)
    return out[0]


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@st.composite
def scalings(draw: st.DrawFn) -> dict[str, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    channels, count = draw(st.integers(1, 6)), draw(st.integers(0, 4))
    turns = rng.integers(0, 8, count).astype(np.int32)
    parts = draw(st.sampled_from([1, 2, 8]))
    boxes = np.empty((count, 4))
    for row, turn in enumerate(turns):
        extents = (width, height) if turn & Turn.TRANSPOSED else (height, width)
        for axis, extent in enumerate(extents):
            boxes[row, axis::2] = np.sort(rng.choice(extent * parts + 1, 2, replace=False)) / parts
    sizes = rng.integers(1, 50, (count, 2)).astype(np.int32)
    if draw(st.booleans()):  # as they are
        sizes = np.ceil(boxes[:, 2:] - boxes[:, :2]).astype(np.int32)
    places = np.empty((count, 8), np.int32)
    places[:, :2] = rng.integers(-5, 45, (count, 2))
    places[:, 2:4] = rng.choice([-1, 1], (count, 2))
    for axis in range(2):
        ends = (
            rng.integers(0, sizes[:, axis] + 1, (2, count))
            if draw(st.booleans())
            else [sizes[:, axis] * 0, sizes[:, axis]]
        )
        places[:, 4 + 2 * axis : 6 + 2 * axis] = np.sort(np.transpose(ends), axis=1)
    dtype = draw(st.sampled_from([np.uint8, np.float16, np.float32]))
    table = rng.integers(0, 256, (channels, 256)).astype(dtype)
    lines: Any = None
    if count and draw(st.booleans()):
        lines = tuple(rng.integers(0, least, draw(st.integers(1, 60))).astype(np.int32) for least in sizes.min(axis=0))
        np.minimum(places[:, 4:], np.repeat([len(numbers) for numbers in lines], 2), out=places[:, 4:])
    return {
        "source": rng.integers(0, 256, (3, height, width, channels), np.uint8),
        "indices": rng.integers(0, 3, count),
        "scaling": Scaling(turns, boxes, sizes, draw(st.booleans()), draw(st.sampled_from(Interpolation))),
        "pixels": Pixels(places, table, rng.integers(0, 256, channels).astype(dtype), lines=lines),
        "out": np.zeros((count, draw(st.integers(1, 40)), draw(st.integers(1, 40)), channels), dtype),
    }


def planes(images: Any) -> Any:
    """The same images with the channels as planes in memory."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)


@pytest.mark.skipif(isinstance(NATIVE, str), reason=str(NATIVE))
@given(scalings(), st.booleans(), st.booleans(), st.integers(1, 3))
@settings(max_examples=300)
def test_native_is_the_reference(case: dict[str, Any], from_planes: bool, to_planes: bool, threads: int) -> None:
    reference.scale(**case)
    found = planes(case["out"]) if to_planes else np.zeros_like(case["out"])
    source = planes(case["source"]) if from_planes else case["source"]
    NATIVE.scale(**{**case, "source": source, "out": found}, threads=threads)  # type: ignore[union-attr]
    np.testing.assert_array_equal(found, case["out"])


PILLOWS = {kind: Image.Resampling[kind.name] for kind in Interpolation}


@given(st.tuples(*[st.integers(1, 90)] * 4), st.sampled_from(Interpolation))
def test_each_direction_is_pillows(extents: tuple[int, int, int, int], kind: Interpolation) -> None:
    height, width, to_height, to_width = extents
    image = noise(height, width, 3)
    for size in ((height, to_width), (to_height, width)):
        expected = np.asarray(Image.fromarray(image).resize(size[::-1], PILLOWS[kind]))
        found = scaled(reference, image, (0, 0, height, width), size, interpolation=kind)
        np.testing.assert_array_equal(found, expected)


@given(st.tuples(*[st.integers(1, 60)] * 4), st.tuples(*[st.integers(0, 9)] * 4))
def test_the_nearest_pixels_are_pillows(extents: tuple[int, int, int, int], around: tuple[int, int, int, int]) -> None:
    """Both directions at once, and those of a window as those of the window alone."""
    height, width, to_height, to_width = extents
    top, left, bottom, right = around
    image = noise(top + height + bottom, left + width + right, 3)
    box = (top, left, top + height, left + width)
    window = Image.fromarray(image[top : top + height, left : left + width])
    expected = np.asarray(window.resize((to_width, to_height), Image.Resampling.NEAREST))
    found = scaled(reference, image, box, (to_height, to_width), interpolation=Interpolation.NEAREST)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", Interpolation)
@pytest.mark.parametrize(("low", "high", "size"), [(0.5, 39.25, 7), (0.25, 39.5, 60), (0, 40, 3)])
def test_a_box_between_pixels_is_pillows(kernels: Any, kind: Interpolation, low: float, high: float, size: int) -> None:
    """Of whole images: there Pillow, too, sees nothing outside."""
    image = noise(40, 1, 3)
    expected = np.asarray(Image.fromarray(image).resize((1, size), PILLOWS[kind], (0, low, 1, high)))
    np.testing.assert_array_equal(scaled(kernels, image, (low, 0, high, 1), (size, 1), interpolation=kind), expected)


def test_cubic_weights_that_are_negative(kernels: Any) -> None:
    """Beside an edge the values overshoot, and stay those of a byte."""
    image = np.repeat(np.array([0, 255, 255, 0], np.uint8), 5)[:, np.newaxis, np.newaxis]
    for size in (7, 20, 33):
        expected = np.asarray(Image.fromarray(image[..., 0]).resize((1, size), Image.Resampling.BICUBIC))
        found = scaled(kernels, image, (0, 0, 20, 1), (size, 1), interpolation=Interpolation.BICUBIC)
        np.testing.assert_array_equal(found[..., 0], expected)


def test_lines_that_stand_for_others(kernels: Any) -> None:
    """As if the scaled image were made, and lines of it were taken from there."""
    image, rows, columns = noise(9, 14, 3), np.array([5, 0, 0, 3, 5], np.int32), np.array([2, 1, 6, 6], np.int32)
    whole = scaled(reference, image, (1, 2, 8, 13), (6, 7))
    one = Scaling(np.zeros(1, np.int32), np.array([[1.0, 2, 8, 13]]), np.array([[6, 7]], np.int32))
    out = np.empty((1, 4, 5, 3), np.uint8)
    shown = bytes_shown([[4, -1, -1, 1, 0, 5, 0, 4]], 3)._replace(lines=(rows, columns))
    kernels.scale(image[np.newaxis], np.zeros(1, np.int64), one, shown, out)
    np.testing.assert_array_equal(out[0, :, 1:], whole[rows[4:0:-1]][:, columns])
    assert (out[0, :, 0] == 9).all()


@pytest.mark.parametrize("turn", range(8))
def test_turns(kernels: Any, turn: int) -> None:
    image = noise(9, 14, 3)
    turned = image.swapaxes(0, 1) if turn & Turn.TRANSPOSED else image
    turned = turned[::-1] if turn & Turn.ROWS_MIRRORED else turned
    turned = turned[:, ::-1] if turn & Turn.COLUMNS_MIRRORED else turned
    expected = scaled(reference, np.ascontiguousarray(turned), (1, 2, 8, 9), (5, 6))
    np.testing.assert_array_equal(scaled(kernels, image, (1, 2, 8, 9), (5, 6), turn), expected)


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"box": (0, 0, 10, 14)}, ArgumentError, "a box does not lie in its image"),
    ({"box": (3, 0, 3, 14)}, ArgumentError, "a box does not lie in its image"),
    ({"box": (0, float("nan"), 9, 14)}, ArgumentError, "a box does not lie in its image"),
    ({"turn": 8}, ArgumentError, "a turn is none of 0 to 7"),
    ({"interpolation": 3}, ArgumentError, "interpolation is 3, but an Interpolation, 0 to 2, is needed"),
]


@pytest.mark.parametrize(("changed", "error", "text"), WRONG)
def test_wrong_scalings(kernels: Any, changed: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        scaled(kernels, noise(9, 14, 3), **{"box": (0, 0, 9, 14), "size": (4, 4), **changed})


def test_wrong_arrays(kernels: Any) -> None:
    one = Scaling(np.zeros(1, np.int32), np.array([[0.0, 0, 9, 14]]), np.array([[4, 4]], np.int32))
    shown, out = bytes_shown([[0, 0, 1, 1, 0, 4, 0, 4]], 3), np.empty((1, 4, 4, 3), np.uint8)
    image, first = noise(1, 9, 14, 3), np.zeros(1, np.int64)
    long: Any = (first, first)
    with pytest.raises(OutOfRangeError):
        kernels.scale(image, first + 1, one, shown, out)
    with pytest.raises(ArgumentError, match="a place shows what lies outside"):
        kernels.scale(image, first, one, bytes_shown([[0, 0, 1, 1, 0, 5, 0, 4]], 3), out)
    ok, wide = np.zeros(4, np.int32), np.array([0, 4], np.int32)
    for lines, text in (
        ((ok, wide), "a line lies outside"),
        ((ok, -wide), "a line lies outside"),
        ((ok, wide[:1]), "a place"),
    ):
        with pytest.raises(ArgumentError, match=text):
            kernels.scale(image, first, one, shown._replace(lines=lines), out)
    with pytest.raises(ArgumentError, match="lines are int64 of shape"):
        kernels.scale(image, first, one, shown._replace(lines=long), out)
    with pytest.raises(ArgumentTypeError, match="three times the same"):
        kernels.scale(image, first, one, shown, out.astype(np.float32))
    with pytest.raises(ArgumentError, match="boxes is float32"):
        kernels.scale(image, first, one._replace(boxes=one.boxes.astype(np.float32)), shown, out)
    with pytest.raises(ArgumentError, match="uint8 of"):
        kernels.scale(image[..., :0], first, one, shown, out)


# ---------------------------------------------------------------- headers of JPEG


def jpeg(height: int = 20, width: int = 30, turn: int = 6) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = turn
    file = BytesIO()
    Image.new("RGB", (width, height)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_headers(kernels: Any) -> None:
    grey = BytesIO()
    Image.new("L", (7, 5)).save(grey, "JPEG")
    found = kernels.jpeg_headers([jpeg(), grey.getvalue(), b"", b"\xff\xd8\xff", b"P5 1 1 255 a"])
    assert found.tolist() == [[20, 30, 3, 6], [5, 7, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.skipif(isinstance(NATIVE, str), reason=str(NATIVE))
@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=8), st.integers(0, 700))
@settings(max_examples=500)
def test_headers_of_anything_are_read_alike(changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(jpeg())
    for place, value in changes:
        data[place % len(data)] = value
    files = [bytes(data), bytes(data[:length])]
    assert NATIVE.jpeg_headers(files).tolist() == reference.jpeg_headers(files).tolist()  # type: ignore[union-attr]


def test_decoding_says_what_it_could_not(kernels: Any) -> None:
    files = [jpeg(turn=1), jpeg(turn=1)[:200]]
    headers = kernels.jpeg_headers(files)
    headers[1] = headers[0]
    one = Scaling(
        np.zeros(2, np.int32), np.tile([0.0, 0, 20, 30], (2, 1)), np.tile(np.array([20, 30], np.int32), (2, 1))
    )
    out = np.full((2, 20, 30, 3), 77, np.uint8)
    shown = bytes_shown(np.tile([0, 0, 1, 1, 0, 20, 0, 30], (2, 1)), 3)
    failures = kernels.decode(files, headers, np.ones(2, np.int32), one, shown, out, 2)
    assert [row for row, _ in failures] == ([1] if kernels.decodes else [0, 1])
    assert all(reason for _, reason in failures)
    assert kernels.decodes == (out[0] == 0).all()
    with pytest.raises(ArgumentError, match="denominators must be 1, 2, 4 or 8"):
        kernels.decode(files, headers, np.full(2, 3, np.int32), one, shown, out)
    with pytest.raises(ArgumentError, match="a box does not lie in its image"):
        kernels.decode(files, headers, np.full(2, 2, np.int32), one, shown, out)
