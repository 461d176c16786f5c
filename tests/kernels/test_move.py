"""Moves of images: both kernels against images that are padded, cut and mirrored for real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.kernels import native, reference
from headrace.kernels.moves import Kind, Move, signed
from headrace.kernels.scalar import philox_one

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.kernels import Kernels


NATIVE = native.load()
AVAILABLE: list[Kernels] = [reference] if isinstance(NATIVE, str) else [reference, NATIVE]
FILL = 255


@st.composite
def moves_of(draw: st.DrawFn, height: int, width: int) -> list[Move]:
    """Some moves that fit images of that size: windows inside of them, and paddings around what is seen."""
    moves = [Move(Kind.WHOLE)]
    for kind in draw(st.lists(st.sampled_from([Kind.BOX, Kind.PAD, Kind.CROP, Kind.MIRROR]), max_size=6)):
        key, stream, block = draw(st.tuples(*[st.integers(0, 2**bits - 1) for bits in (64, 32, 32)]))
        high, wide = draw(st.integers(1, height)), draw(st.integers(1, width))
        if kind == Kind.BOX:
            top, left = draw(st.integers(0, height - high)), draw(st.integers(0, width - wide))
            moves.append(Move(kind, numbers=(top, left, high, wide)))
            height, width = high, wide
        elif kind == Kind.CROP:
            moves.append(Move(kind, key, stream, block, (high, wide)))
            height, width = high, wide
        elif kind == Kind.MIRROR:
            likely = draw(st.sampled_from([0, 2**31, 2**32]))
            moves.append(Move(kind, key, stream, block, (draw(st.integers(0, 1)), likely)))
        else:
            top, left, bottom, right = draw(st.tuples(*[st.integers(0, 3)] * 4))
            moves += [Move(Kind.HIDE), Move(kind, numbers=(top, left, top + bottom, left + right))]
            height, width = height + top + bottom, width + left + right
    return moves


def moved(image: NDArray[np.uint8], index: int, moves: list[Move]) -> NDArray[np.uint8]:
    """The image itself, after all of the moves."""
    for kind, key, stream, block, numbers in moves:
        words = philox_one(key, index, stream, block)
        if kind == Kind.BOX:
            top, left, high, wide = numbers
            image = image[top : top + high, left : left + wide]
        elif kind == Kind.CROP:
            high, wide = numbers
            top, left = (
                word * (size - part + 1) >> 32 for word, size, part in zip(words, image.shape, numbers, strict=False)
            )
            image = image[top : top + high, left : left + wide]
        elif kind == Kind.MIRROR and words[0] < numbers[1]:
            image = np.flip(image, numbers[0])
        elif kind == Kind.PAD:
            top, left, rows, columns = numbers
            image = np.pad(image, ((top, rows - top), (left, columns - left)), constant_values=FILL)
    return image


def table(moves: list[Move]) -> NDArray[np.int64]:
    return np.array([move.row() for move in moves], np.int64)


@pytest.mark.parametrize("kernels", AVAILABLE, ids=lambda kernels: kernels.name)
@given(data=st.data())
def test_what_is_seen(kernels: Kernels, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 20))
    moves = data.draw(moves_of(height, width))
    indices = np.array(data.draw(st.lists(st.integers(0, 2**63 - 1), max_size=4)), np.int64)
    images = np.random.default_rng(0).integers(0, 255, (len(indices), height, width, 1), np.uint8)
    places = np.full((len(indices), 8), 77, np.int32)
    kernels.move(indices, np.broadcast_to(np.array([height, width]), (len(indices), 2)), table(moves), places)
    for image, index, place in zip(images, indices.tolist(), places, strict=True):
        expected = moved(image[..., 0], index, moves)
        out = np.empty((1, *expected.shape, 1), np.uint8)
        values, fill = np.arange(256, dtype=np.uint8)[np.newaxis], np.array([FILL], np.uint8)
        kernels.cut(image[np.newaxis], np.zeros(1, np.int64), place[np.newaxis], values, fill, out)
        np.testing.assert_array_equal(out[0, ..., 0], expected)


@pytest.mark.skipif(len(AVAILABLE) == 1, reason="there is one kernel only")
@given(data=st.data())
def test_both_kernels_agree(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 3))
    sizes = np.array([[data.draw(st.integers(5, 30)) for _ in range(2)] for _ in range(count)], np.int64)
    moves = data.draw(moves_of(5, 5))
    moves.insert(data.draw(st.integers(1, len(moves))), Move(Kind.REPEAT, numbers=(2, 3, 40, 50)))
    moves.insert(data.draw(st.integers(1, len(moves))), Move(Kind.HIDE))
    found: list[Any] = []
    for kernels in AVAILABLE:
        places, rows = np.zeros((count, 8), np.int32), table(moves)
        kernels.move(np.arange(count), sizes, rows[:2], places)
        kernels.move(np.arange(count), sizes, rows[1:], places)
        found.append(places)
    np.testing.assert_array_equal(*found)


def test_a_key_of_64_bits_is_kept() -> None:
    assert [signed(key) for key in (0, 2**63 - 1, 2**63, 2**64 - 1)] == [0, 2**63 - 1, -(2**63), -1]


@pytest.mark.parametrize("kernels", AVAILABLE, ids=lambda kernels: kernels.name)
def test_arrays_that_do_not_fit(kernels: Kernels) -> None:
    good: list[Any] = [np.zeros(2, np.int64), np.ones((2, 2), np.int64), table([Move(Kind.WHOLE)])]
    good.append(np.zeros((2, 8), np.int32))
    wrong = [
        (0, np.zeros(2, np.int32), ArgumentTypeError),
        (1, np.ones((2, 3), np.int64), ArgumentError),
        (1, np.ones((2, 2), np.int32), ArgumentError),
        (1, np.ones((2, 2), np.int64).T, ArgumentError),
        (2, np.zeros((1, 7), np.int64), ArgumentError),
        (2, np.zeros((1, 8), np.int32), ArgumentError),
        (3, np.zeros((2, 8), np.int64), ArgumentError),
        (3, np.zeros((3, 8), np.int32), ArgumentError),
    ]
    for place, array, error in wrong:
        arrays = [*good[:place], array, *good[place + 1 :]]
        with pytest.raises(error):
            kernels.move(*arrays)
