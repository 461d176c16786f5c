"""What was decoded last: made once, and given up in time."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from headrace.io.lru import Recent


def test_the_least_recently_used_are_given_up() -> None:
    recent: Recent[str] = Recent(limit=100)
    made: list[str] = []

    def get(key: str) -> str:
        def make() -> tuple[str, int]:
            made.append(key)
            return key.upper(), 40

        return recent.get(key, make)

    assert [get(key) for key in "abacabb"] == list("ABACABB")
    assert made == ["a", "b", "c", "b"]
    assert len(recent) == 2
    assert recent.made == 4


def test_what_is_too_large_is_kept_alone() -> None:
    recent: Recent[int] = Recent(limit=10)
    for key in (1, 1, 2, 2):
        recent.get(key, lambda: (5, 1000))
    assert recent.made == 2
    assert len(recent) == 1


def test_a_value_is_made_by_one_of_many_threads() -> None:
    recent: Recent[int] = Recent(limit=1000)
    begin = Barrier(8)

    def get(number: int) -> list[int]:
        begin.wait(10)
        return [recent.get(key, lambda: (key * key, 8)) for key in range(50)]  # noqa: B023 - it is called at once

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(get, range(8))) == [[key * key for key in range(50)]] * 8
    assert recent.made == 50


def test_failed_value_is_made_again() -> None:
    recent: Recent[int] = Recent(limit=10)

    def fail() -> tuple[int, int]:
        raise KeyError("x")

    with pytest.raises(KeyError):
        recent.get(0, fail)
    assert len(recent) == 0
    assert recent.get(0, lambda: (1, 1)) == 1


def test_it_pickles_as_an_empty_one() -> None:
    recent: Recent[int] = Recent(limit=10)
    recent.get(0, lambda: (1, 1))
    copy = pickle.loads(pickle.dumps(recent))
    assert (copy.limit, len(copy), copy.made) == (10, 0, 0)
