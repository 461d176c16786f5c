"""Draws of a sample are the same whether it is drawn for alone, in its turn, or with its batch."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from headrace.errors import CacheError
from headrace.rng.context import each_sample, no_draws, part, read_in_turn, slot, use_keys
from headrace.rng.draws import draw, draw_below, draw_chance

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
    in_turn: list[Any] = []
    with use_keys(5, INDICES):
        read_in_turn(lambda _: numbers(1)[0], INDICES.tolist(), in_turn)
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
            found: list[Any] = []
            with part(some, len(INDICES)):
                read_in_turn(lambda _: numbers(1)[0], some.tolist(), found)
            assert found == [expected[row] for row in some]


def test_samples_read_before_an_error_are_there() -> None:
    read: list[int] = []
    with use_keys(5, INDICES), pytest.raises(ZeroDivisionError):
        read_in_turn(lambda key: 1 // (key - 5), [7, 6, 5, 4], read)
    assert read == [0, 1]


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
        read_in_turn(lambda _: draw_below(1, 5), [0, 1, 2], [])
