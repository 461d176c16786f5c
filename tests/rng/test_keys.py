from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headrace import default_rng, sample_rng
from headrace.errors import ArgumentError
from headrace.rng.context import use_keys
from headrace.rng.draws import draw
from headrace.rng.keys import check_seed, epoch_key
from headrace.rng.places import each_sample, part, slot

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEY = 0x0123456789ABCDEF
COUNT = 20_000
CHANCE = 1e-9  # of a false alarm for one statistic, were the keys not fixed


def samples(*indices: int) -> use_keys:
    return use_keys(KEY, np.array(indices, np.int64))


def integer() -> int:
    """One draw of the present sample's own generator."""
    return int(sample_rng().integers(2**63))


# ------------------------------------------------------------------ known answers
# Streams are a promise between releases: whoever changes these changes every user's runs.


def test_known_epoch_keys() -> None:
    assert epoch_key(0, 0, "order") == 0x46FA09A08AC8650F
    assert epoch_key(0, 0, "draws") == 0x6CF0009DAC5D215C
    assert epoch_key(0, 1, "order") == 0xB378E0E115AB35E8
    assert epoch_key(2**100, 3, "order") == 0x215660A41F725980


def test_known_draws() -> None:
    with samples(0, 1, 2**40):
        assert draw(3).tolist() == [
            [2870536425, 1003916981, 2321557207, 2162689869],
            [1325245893, 2394275098, 1184334792, 1061427816],
            [526957371, 143710006, 590140647, 2666340830],
        ]
        assert draw(3)[:, 0].tolist() == [2740408987, 1126034651, 3920957723]
        with slot(1), slot(0):
            assert draw(3)[:, 0].tolist() == [1188074354, 1945735431, 3992092529]


def test_known_generators() -> None:
    """Raw words, since NumPy may change what it makes of them."""

    def words() -> list[int]:
        return [sample_rng().bit_generator.random_raw() for _ in range(2)]

    with samples(7):
        assert words() == [0x9B786192DF3E545C, 0x168DFCB6A0EDBCDB]
        with slot(1), slot(0):
            assert words()[0] == 0xDC839C413094E94F


# ------------------------------------------------------------------ epochs and seeds


@given(
    one=st.tuples(st.integers(0, 2**80), st.integers(0, 2**40), st.sampled_from(["order", "draws", "split"])),
    other=st.tuples(st.integers(0, 2**80), st.integers(0, 2**40), st.sampled_from(["order", "draws", "split"])),
)
def test_epoch_keys_differ(one: tuple[int, int, str], other: tuple[int, int, str]) -> None:
    assert (epoch_key(*one) == epoch_key(*other)) == (one == other)
    assert 0 <= epoch_key(*one) < 2**64


def test_seed_and_epoch_do_not_run_together() -> None:
    assert epoch_key(1, 11, "order") != epoch_key(11, 1, "order")
    assert epoch_key(1, 23, "order") != epoch_key(12, 3, "order")


@pytest.mark.parametrize("bad", [-1, 1.0, "1", True, np.True_, None])
def test_bad_seeds(bad: object) -> None:
    with pytest.raises(ArgumentError, match=f"^seed must be a non-negative integer or None, but got seed={bad!r}$"):
        check_seed(bad)


def test_seeds_become_python_integers() -> None:
    assert [check_seed(seed) for seed in (0, 2**90, np.int64(5), np.uint64(2**63))] == [0, 2**90, 5, 2**63]
    assert type(check_seed(np.int64(5))) is int


# ------------------------------------------------------------------ draws of a batch


def test_a_draw_belongs_to_the_sample_not_to_the_batch() -> None:
    with samples(5, 9, 2):
        whole = draw(3)
    for row, index in zip(whole, (5, 9, 2), strict=True):
        with samples(index):
            np.testing.assert_array_equal(draw(1)[0], row)


def test_each_call_draws_anew_and_each_run_the_same() -> None:
    def run() -> list[list[int]]:
        with samples(3, 4):
            return [draw(2).ravel().tolist() for _ in range(3)]

    assert run() == run()
    assert len({tuple(words) for words in run()}) == 3


def test_draws_differ_between_epochs_samples_calls_and_places() -> None:
    seen = set()
    for epoch in range(4):
        for index in range(4):
            with use_keys(epoch_key(0, epoch, "draws"), np.array([index])):
                for number in range(4):
                    with slot(number):
                        seen |= {tuple(draw(1)[0].tolist()) for _ in range(4)}
                seen |= {tuple(draw(1)[0].tolist()) for _ in range(4)}
    assert len(seen) == 4 * 4 * (4 * 4 + 4)


def test_one_draw_while_a_batch_is_loaded() -> None:
    with samples(3, 4):
        first, second = draw(1), draw(1)
        assert first.shape == (1, 4)
        assert (first != second).any()


def test_a_draw_for_another_number_of_samples() -> None:
    with samples(1, 2, 3), pytest.raises(ArgumentError, match=r"^a transform got a batch of 2 while 3 samples are"):
        draw(2)


def test_outside_a_loader_draws_follow_pythons_random() -> None:
    random.seed(4)
    first = draw(3), default_rng().random(), integer()
    random.seed(4)
    np.testing.assert_equal((draw(3), default_rng().random(), integer()), first)
    assert draw(3).tolist() != first[0].tolist()


# ------------------------------------------------------------------ places


def test_a_slot_is_left_as_it_was_entered() -> None:
    with samples(1):
        first = draw(1)
        second = draw(1)
    for number in (0, 1, 5):
        with samples(1):
            np.testing.assert_array_equal(draw(1), first)
            with slot(number):
                for _ in range(3):
                    draw(1)
            np.testing.assert_array_equal(draw(1), second)


def test_a_slot_is_left_by_an_error_too() -> None:
    with samples(1):
        before = draw(1)
    with samples(1):
        with pytest.raises(KeyError), slot(3):
            raise KeyError
        np.testing.assert_array_equal(draw(1), before)


def test_places_of_a_tree_differ() -> None:
    seen: dict[tuple[int, int | None], bytes] = {}
    with samples(1):
        for outer in range(30):
            with slot(outer):
                for inner in range(30):
                    with slot(inner):
                        seen[outer, inner] = draw(1).tobytes()
                seen[outer, None] = draw(1).tobytes()
    assert len(set(seen.values())) == 30 * 31


def test_a_slot_outside_a_loader_does_nothing() -> None:
    with slot(3), part(np.array([0]), 2):
        assert draw(2).shape == (2, 4)


def test_a_part_of_the_batch_has_its_own_samples() -> None:
    with samples(10, 11, 12, 13):
        whole = draw(4)
    with samples(10, 11, 12, 13):
        with part(np.array([3, 1]), 4):
            np.testing.assert_array_equal(draw(2), whole[[3, 1]])
        assert draw(4).shape == (4, 4)


def test_a_part_of_something_else_than_the_batch_changes_nothing() -> None:
    with samples(10, 11):
        whole = draw(2)
    with samples(10, 11), part(np.array([0, 5]), 6):
        np.testing.assert_array_equal(draw(2), whole)


def test_samples_that_do_not_say_who_they_are_draw_differently_at_the_same_place() -> None:
    words, numbers = set(), set()
    with samples(10, 11, 12):
        for _ in range(3):
            with slot(0):
                words.add(draw(1).tobytes())
            with slot(0):
                numbers.add(sample_rng().random())
    assert (len(words), len(numbers)) == (3, 3)


def test_each_sample_starts_at_the_same_place_whatever_the_one_before_drew() -> None:
    def run(greedy: bool) -> list[int]:
        drawn = []
        with samples(10, 11, 12), each_sample(3) as move_to:
            for position in range(3):
                move_to(position)
                drawn.append(integer())
                if greedy:
                    with slot(2):
                        integer()
                    integer()
        return drawn

    assert run(greedy=True) == run(greedy=False)
    alone = []
    for index in (10, 11, 12):
        with samples(index):
            alone.append(integer())
    assert run(greedy=False) == alone


def test_each_sample_of_another_number_leaves_the_draws_alone() -> None:
    with samples(10, 11):
        before = integer()
    with samples(10, 11), each_sample(5) as move_to:
        move_to(4)
        assert integer() == before


def test_keys_within_keys() -> None:
    """A dataset may itself iterate over a loader."""
    with samples(1):
        first, second = integer(), integer()
    with samples(1):
        assert integer() == first
        with samples(8, 9):
            draw(2)
            integer()
        assert integer() == second


def test_keys_of_threads_are_their_own() -> None:
    found = []
    with samples(1):
        thread = threading.Thread(target=lambda: found.append(draw(5).shape))
        thread.start()
        thread.join()
    assert found == [(5, 4)]  # not the draws of the sample that the other thread is loading


# ------------------------------------------------------------------ the sample's own generator


def test_a_generator_belongs_to_the_sample() -> None:
    with samples(-1):
        last = integer()
    drawn = set()
    for index in (0, 1, 2, 2**32, 2**63 - 1):
        with samples(index):
            drawn |= {integer(), integer()}
    assert len(drawn | {last}) == 11


def test_a_generator_and_draws_do_not_meet() -> None:
    with samples(1):
        words = draw(1).tobytes()
    with samples(1):
        assert sample_rng().bytes(16) != words


def test_a_generator_may_draw_much_without_meeting_the_next_samples() -> None:
    with samples(0):
        long = sample_rng().integers(2**63, size=10_000)
    with samples(1):
        other = sample_rng().integers(2**63, size=10_000)
    with samples(0):
        sample_rng()
        next_call = sample_rng().integers(2**63, size=10_000)
    assert len({*long.tolist(), *other.tolist(), *next_call.tolist()}) == 30_000


# ------------------------------------------------------------------ statistics


def uniforms(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    return words / 2.0**32


def test_draws_of_neighbouring_samples_are_uniform_and_independent() -> None:
    with use_keys(KEY, np.arange(COUNT)):
        values = uniforms(draw(COUNT))
    for word in values.T:
        assert stats.kstest(word, "uniform").pvalue > CHANCE
        assert abs(stats.pearsonr(word[:-1], word[1:]).statistic) < 6 / COUNT**0.5
    assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 6 / COUNT**0.5


@pytest.mark.parametrize("vary", ["seed", "epoch", "place", "call"])
def test_draws_of_neighbouring_places_are_independent(vary: str) -> None:
    rows = []
    for number in range(2):
        seed, epoch = (number if vary == "seed" else 0), (number if vary == "epoch" else 0)
        with (
            use_keys(epoch_key(seed, epoch, "draws"), np.arange(COUNT)),
            slot(number if vary == "place" else 0),
        ):
            if vary == "call" and number:
                draw(COUNT)
            rows.append(uniforms(draw(COUNT))[:, 0])
    assert abs(stats.pearsonr(*rows).statistic) < 6 / COUNT**0.5


def test_first_draws_of_neighbouring_generators_are_uniform_and_independent() -> None:
    values = []
    for index in range(4000):
        with samples(index):
            values.append(sample_rng().random())
    assert stats.kstest(values, "uniform").pvalue > CHANCE
    assert abs(stats.pearsonr(values[:-1], values[1:]).statistic) < 6 / len(values) ** 0.5
