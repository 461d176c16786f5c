"""Draws of a sample are the same whether it is drawn for alone, in its turn, or with its batch."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.errors import CacheError
from headrace.rng.context import no_draws, use_keys
from headrace.rng.draws import draw, draw_below, draw_chance
from headrace.rng.places import below, each_sample, part, read_in_turn, slot

if TYPE_CHECKING:
    from collections.abc import Callable

INDICES = np.array([7, 2**40, *range(200, 70, -1)])


def numbers(count: int) -> list[list[Any]]:
    """What three transforms draw, two of which stand in slots: for each sample a list."""
    with slot(3, 1):
        below = draw_below(count, 9, 1000, 1)
    with slot(4):
        words, chances = draw(count).tolist(), draw_chance(count, 0.3)
    return [list(each) for each in zip(*below, words, chances, draw_chance(count, 0.5), strict=True)]


def test_samples_in_turn_draw_as_their_batch_does() -> None:
    with use_keys(5, INDICES):
        expected = numbers(len(INDICES))
    with use_keys(5, INDICES):
        in_turn = read_in_turn(lambda _: numbers(1)[0], iter(INDICES.tolist()))
    assert in_turn == expected
    moved = []
    with use_keys(5, INDICES), each_sample(len(INDICES)) as move_to:
        for position in (0, 100, 3, 131, 64, 63, 0):  # in any order
            move_to(position)
            moved.append((position, numbers(1)[0]))
    assert moved == [(position, expected[position]) for position, _ in moved]
    for position in (0, 70):
        with use_keys(5, INDICES[position : position + 1]):
            assert numbers(1) == [expected[position]]


def test_parts_of_a_batch_draw_for_themselves() -> None:
    with use_keys(5, INDICES):
        expected = numbers(len(INDICES))
    rows = np.arange(1, len(INDICES), 2)
    with use_keys(5, INDICES):
        for some in (rows, rows[::-1], rows[:3]):
            with part(some, len(INDICES)):
                found = read_in_turn(lambda _: numbers(1)[0], iter(some.tolist()))
            assert found == [expected[row] for row in some]


def test_the_key_of_an_error_is_the_last_one_given() -> None:
    keys = iter([7, 6, 5, 4])
    with use_keys(5, INDICES[:4]), pytest.raises(ZeroDivisionError):
        read_in_turn(lambda key: 1 // (key - 5), keys)
    assert list(keys) == [4]


@pytest.mark.parametrize("reads", [lambda: None, lambda: numbers(1), lambda: read_below(3)])
def test_what_samples_before_drew_shifts_nothing(reads: Callable[[], object]) -> None:
    def read(key: int) -> tuple[Any, ...]:
        if key % 3 == 0:
            reads()
        with slot(4), slot():
            inner = numbers(1)[0]
        outer = numbers(1)[0]
        return inner, outer, reads() if key % 3 == 1 else None, numbers(1)[0]

    def alone(position: int) -> tuple[Any, ...]:
        with use_keys(5, INDICES[position : position + 1]):
            numbers(1)
            return read(position)

    with use_keys(5, INDICES[:30]):
        before = numbers(30)
        found = read_in_turn(read, iter(range(30)))
        after = numbers(30)
    assert found == [alone(position) for position in range(30)]
    with use_keys(5, INDICES[:30]):
        assert (numbers(30), numbers(30)) == (before, after)


def read_below(count: int) -> list[Any]:
    """Read samples that a sample is made of."""
    with below(np.arange(count)):
        return read_in_turn(lambda _: numbers(1)[0], iter(list(range(count))))


def test_outside_of_loaders_draws_follow_from_random() -> None:
    def drawn() -> list[Any]:
        random.seed(3)
        return [numbers(1), numbers(4)]

    assert drawn() == drawn()


def test_the_bounds_are_kept_and_reached() -> None:
    with use_keys(1, np.arange(4000)):
        (below,) = draw_below(4000, 3)
        often = sum(draw_chance(4000, 0.25))
    assert set(below) == {0, 1, 2}
    assert 800 < often < 1200
    assert (draw_chance(1, 0.0), draw_chance(1, 1.0)) == ([False], [True])


def test_cached_samples_do_not_draw() -> None:
    with no_draws(np.arange(3)), pytest.raises(CacheError, match="draws random numbers"):
        read_in_turn(lambda _: draw_below(1, 5), iter([0, 1, 2]))
