"""Cutting windows out of images: both kernels against single pixels in plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError
from headrace.kernels import native, reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.kernels import Kernels


NATIVE = native.load()
AVAILABLE: list[Kernels] = [reference] if isinstance(NATIVE, str) else [reference, NATIVE]


def plainly(
    source: NDArray[Any],
    indices: NDArray[Any],
    places: NDArray[Any],
    table: NDArray[Any],
    fill: NDArray[Any],
    size: Any,
    lines: Any = None,
) -> NDArray[Any]:
    if lines is not None:
        source = source[:, lines[0]][:, :, lines[1]]
    out = np.empty((len(indices), *size, len(table)), table.dtype)
    for i, (y0, x0, down, right, top, bottom, left, end) in enumerate(places.tolist()):
        for y, x, c in np.ndindex(*size, len(table)):
            row, column = y0 + down * y, x0 + right * x
            seen = top <= row < bottom and left <= column < end
            out[i, y, x, c] = table[c, source[indices[i], row, column, c]] if seen else fill[c]
    return out


MODES: list[Any] = ["edge", "reflect", "symmetric", "wrap"]


@st.composite
def padded_lines(draw: st.DrawFn, mode: Any, *extents: int) -> tuple[NDArray[np.int32], ...]:
    """Which rows and columns of an image stand for those of a padded one."""
    pixels = st.integers(0, 5)
    return tuple(np.pad(np.arange(extent, dtype=np.int32), draw(st.tuples(pixels, pixels)), mode) for extent in extents)


@st.composite
def cuts(draw: st.DrawFn, channels: Any = None, dtype: Any = None) -> dict[str, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    channels = channels or draw(st.integers(1, 6))
    dtype = dtype or draw(st.sampled_from([np.uint8, np.float16, np.float32]))
    count = draw(st.integers(0, 4))
    places = np.empty((count, 8), np.int32)
    source = rng.integers(0, 256, (3, height, width, channels), np.uint8)
    lines = draw(st.none() | st.sampled_from(MODES).flatmap(lambda mode: padded_lines(mode, height, width)))
    if lines is not None:
        height, width = map(len, lines)
    places[:, :2] = rng.integers(-12, 45, (count, 2))
    places[:, 2:4] = rng.choice([-1, 1], (count, 2))
    places[:, 4:6] = np.sort(rng.integers(0, height + 1, (count, 2)))
    places[:, 6:8] = np.sort(rng.integers(0, width + 1, (count, 2)))
    return {
        "source": source,
        "lines": lines,
        "indices": rng.integers(0, 3, count),
        "places": places,
        "table": rng.integers(0, 256, (channels, 256)).astype(dtype),
        "fill": rng.integers(0, 256, channels).astype(dtype),
        "size": (draw(st.integers(1, 9)), draw(st.integers(1, 40))),
    }


def planes(images: NDArray[Any]) -> NDArray[Any]:
    """The same images with the channels as planes in memory."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)


@given(cuts(), st.booleans(), st.booleans())
def test_against_single_pixels(given_cut: dict[str, Any], from_planes: bool, to_planes: bool) -> None:
    expected = plainly(**given_cut)
    del given_cut["size"]
    given_cut["source"] = planes(given_cut["source"]) if from_planes else given_cut["source"]
    for kernels in AVAILABLE:
        out = np.full(expected.shape, 77, expected.dtype)
        out = planes(out) if to_planes else out
        kernels.cut(**given_cut, out=out)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("to_planes", [False, True])
@pytest.mark.parametrize("from_planes", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 17])
def test_bytes_that_stay_as_they_are(kernels: Kernels, channels: int, from_planes: bool, to_planes: bool) -> None:
    """They are copied, mirrored or not, and nothing is written beside them."""
    table = np.tile(np.arange(256, dtype=np.uint8), (channels, 1))
    for width in range(1, 41):
        images = np.random.default_rng(width).integers(0, 256, (1, 3, width, channels), np.uint8)
        places = np.array([[0, 0, 1, 1, 0, 3, 0, width], [2, width - 1, -1, -1, 0, 3, 0, width]], np.int32)
        inside = np.concatenate([images, images[:, ::-1, ::-1]])
        expected = np.pad(inside, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=77)
        out = np.full(expected.shape, 77, np.uint8)
        out = planes(out) if to_planes else out
        source = planes(images) if from_planes else images
        kernels.cut(source, np.zeros(2, np.int64), places, table, np.zeros(channels, np.uint8), out[:, 1:-1, 1:-1])
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(("channel", "value"), [(0, 0), (1, 77), (2, 255)])
def test_one_byte_that_changes(kernels: Kernels, channel: int, value: int) -> None:
    table = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    table[channel, value] ^= 1
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    places, out = np.array([[0, 0, 1, 1, 0, 16, 0, 16]], np.int32), np.empty_like(images)
    kernels.cut(images, np.zeros(1, np.int64), places, table, np.zeros(3, np.uint8), out)
    assert [row.tolist() for row in out.reshape(256, 3).T] == table.tolist()


@given(cuts(dtype=np.uint8), st.booleans(), st.booleans())
def test_windows_of_bytes_that_stay_as_they_are(given_cut: dict[str, Any], from_planes: bool, to_planes: bool) -> None:
    given_cut["table"] = np.tile(np.arange(256, dtype=np.uint8), (len(given_cut["table"]), 1))
    expected = plainly(**given_cut)
    del given_cut["size"]
    given_cut["source"] = planes(given_cut["source"]) if from_planes else given_cut["source"]
    for kernels in AVAILABLE:
        out = np.full(expected.shape, 77, np.uint8)
        out = planes(out) if to_planes else out
        kernels.cut(**given_cut, out=out)
        np.testing.assert_array_equal(out, expected)


@given(cuts(channels=3, dtype=np.float32), st.integers(0, 2**32))
def test_computed_as_looked_up(given_cut: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    terms = rng.uniform(0.1, 300, (3, 3)).astype(np.float32)
    terms[0] = terms[0, 0]
    divisor, mean, deviation = terms[:, :, np.newaxis]
    table = (np.arange(256, dtype=np.float32) / divisor - mean) / deviation
    given_cut |= {"table": table, "fill": table[:, 0].copy()}
    expected = plainly(**given_cut)
    del given_cut["size"]
    for kernels in AVAILABLE:
        out = planes(np.full(expected.shape, 77, np.float32))
        kernels.cut(**given_cut, out=out, terms=terms)
        assert out.tobytes() == expected.tobytes()


def test_terms_that_are_not_the_tables_do_not_count(kernels: Kernels) -> None:
    """One value of the table differs by the last bit from what they come to."""
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 32, 3), np.uint8)
    terms = np.array([[255] * 3, [0.4] * 3, [0.2] * 3], np.float32)
    table = (np.arange(256, dtype=np.float32) / terms[0, 0] - terms[1, 0]) / terms[2, 0]
    table[77] = np.nextafter(table[77], np.float32(9))
    table = np.tile(table, (3, 1))
    places = np.tile(np.array([0, 0, 1, 1, 0, 9, 0, 32], np.int32), (2, 1))
    out = planes(np.empty((2, 9, 32, 3), np.float32))
    kernels.cut(images, np.arange(2), places, table, table[:, 0].copy(), out, terms)
    np.testing.assert_array_equal(out, table[0][images])


@pytest.mark.parametrize("offset", [-9, -3, 3, 9])
@pytest.mark.parametrize("step", [1, -1])
def test_nothing_outside_of_the_images_is_read(kernels: Kernels, offset: int, step: int) -> None:
    """What lies around them in memory is not what decides, be it there or not."""
    memory = np.random.default_rng(0).integers(0, 256, (4, 5, 32, 3), np.uint8)
    terms = np.repeat(np.array([[255], [0.5], [0.25]], np.float32), 3, 1)
    table = np.tile((np.arange(256, dtype=np.float32) / 255 - terms[1, 0]) / terms[2, 0], (3, 1))
    places = np.array([[0, offset + (31 if step < 0 else 0), 1, step, 0, 5, 0, 32]], np.int32)
    for source in (memory[1:2], np.ascontiguousarray(memory[1:2])):
        out = planes(np.empty((1, 5, 32, 3), np.float32))
        kernels.cut(source, np.arange(1), places, table, np.full(3, 7, np.float32), out, terms)
        size: Any = (5, 32)
        expected = plainly(source, np.arange(1), places, table, np.full(3, 7, np.float32), size)
        np.testing.assert_array_equal(out, expected)


def test_many_images_in_a_row(kernels: Kernels) -> None:
    """The last of them end where the memory does."""
    images = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), np.uint8)
    places = np.tile(np.array([0, 31, 1, -1, 0, 32, 0, 32], np.int32), (50, 1))
    table = np.tile(np.arange(256, dtype=np.float32), (3, 1))
    out = planes(np.empty((50, 32, 32, 3), np.float32))
    terms = np.repeat(np.array([[1], [0], [1]], np.float32), 3, 1)
    kernels.cut(images, np.arange(50), places, table, table[:, 0].copy(), out, terms)
    np.testing.assert_array_equal(out, images[:, :, ::-1])


GOOD: dict[str, Any] = {
    "source": np.zeros((2, 4, 5, 3), np.uint8),
    "indices": np.array([1]),
    "places": np.array([[0, 0, 1, 1, 0, 4, 0, 5]], np.int32),
    "table": np.zeros((3, 256), np.uint8),
    "fill": np.zeros(3, np.uint8),
    "out": np.zeros((1, 2, 2, 3), np.uint8),
}


def numbers(*each: int) -> NDArray[np.int32]:
    return np.array(each, np.int32)


def place(*each: int) -> NDArray[np.int32]:
    return numbers(*each)[np.newaxis]


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"source": np.zeros((2, 4, 5, 3), np.int8)}, ArgumentError, "source is int8 of shape"),
        ({"source": np.zeros((2, 4, 5), np.uint8)}, ArgumentError, "source is uint8 of shape"),
        ({"indices": np.array([2])}, OutOfRangeError, "Index 2 out of range for dataset of size 2"),
        ({"indices": np.array([-1])}, OutOfRangeError, "Index -1 out of range"),
        ({"indices": np.array([1.0])}, ArgumentTypeError, "indices has dtype float64"),
        ({"places": GOOD["places"][:, :7]}, ArgumentError, "places has shape"),
        (
            {"places": GOOD["places"].astype(np.int64)},
            ArgumentTypeError,
            "places, table, fill and out have dtypes int64",
        ),
        ({"table": np.zeros((3, 255), np.uint8)}, ArgumentError, "table has shape"),
        ({"fill": np.zeros(4, np.uint8)}, ArgumentError, "fill has shape"),
        ({"fill": np.zeros(3, np.float32)}, ArgumentTypeError, "dtypes int32, uint8, float32 and uint8"),
        ({"out": np.zeros((1, 2, 2, 4), np.uint8)}, ArgumentError, "out has shape"),
        ({"places": place(0, 0, 2, 1, 0, 4, 0, 5)}, ArgumentError, "a place shows what lies outside"),
        ({"places": place(0, 0, 1, 0, 0, 4, 0, 5)}, ArgumentError, "a place shows what lies outside"),
        ({"places": place(0, 0, 1, 1, -1, 4, 0, 5)}, ArgumentError, "a place shows what lies outside"),
        ({"places": place(0, 0, 1, 1, 0, 5, 0, 5)}, ArgumentError, "a place shows what lies outside"),
        ({"places": place(0, 0, 1, 1, 0, 4, 0, 6)}, ArgumentError, "a place shows what lies outside"),
        ({"lines": (numbers(0, 1, 2, 4), numbers(0, 1, 2, 3, 4))}, ArgumentError, "a line lies outside of images of 4"),
        ({"lines": (numbers(0, 1, 2, 3), numbers(0, 1, 2, 3, -1))}, ArgumentError, "a line lies outside of images"),
        ({"lines": (numbers(0, 1, 2), numbers(0, 1, 2, 3, 4))}, ArgumentError, "outside of images of 3 x 5"),
        ({"lines": (np.arange(4), np.arange(5))}, ArgumentError, "lines are int64 of shape"),
    ],
)
def test_refused(kernels: Kernels, changed: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        kernels.cut(**{**GOOD, **changed})


def test_the_reference_is_one_of_them() -> None:
    out = np.empty_like(GOOD["out"])
    reference.cut(**{**GOOD, "out": out})
    assert not out.any()
