"""Random generators of three libraries as sources of seeds."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.errors import ArgumentTypeError
from headrace.frameworks import check_generator, draw_seed, reseeded_globals, seed_globals

if TYPE_CHECKING:
    from collections.abc import Callable


def _torch() -> Any:
    return pytest.importorskip("torch", reason="its generator is one").Generator().manual_seed(0)


SOURCES = {"numpy": lambda: np.random.default_rng(0), "python": lambda: random.Random(0), "torch": _torch}  # noqa: S311


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_seeds_repeat_with_the_generator_and_move_it_on(source: Any) -> None:
    generator = source()
    check_generator(generator)
    seeds = [draw_seed(generator) for _ in range(100)]
    assert len(set(seeds)) == 100
    assert all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)
    assert max(seeds).bit_length() > 60
    again = source()
    assert [draw_seed(again) for _ in range(100)] == seeds


def test_without_a_generator_pythons_random_is_drawn_from() -> None:
    random.seed(3)
    seeds = [draw_seed(), draw_seed(None)]
    random.seed(3)
    assert [draw_seed(), draw_seed()] == seeds
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize("generator", [42, "seed", np.random, np.random.RandomState(0), random.random])
def test_other_generators_are_refused(generator: Any) -> None:
    text = f"generator must be a numpy.random.Generator, a random.Random, a torch.Generator or None, got {generator!r}"
    for call in (check_generator, draw_seed):
        with pytest.raises(ArgumentTypeError, match=f"^{re.escape(text)}$"):
            call(generator)


def _nothing() -> None:
    """Draw nothing."""


def _normal() -> None:
    np.random.standard_normal()  # noqa: NPY002 - an odd number of them leaves one for the next call


def _seed() -> None:
    np.random.seed(7)  # noqa: NPY002


def _draw() -> list[float]:
    return [random.random(), np.random.random(), np.random.standard_normal()]  # noqa: NPY002, S311


def _exchange() -> None:
    np.random.set_bit_generator(np.random.MT19937(3))  # type: ignore[attr-defined]


def _other() -> None:
    np.random.set_bit_generator(np.random.PCG64(3))  # type: ignore[attr-defined]


@pytest.mark.parametrize("between", [_nothing, random.random, np.random.random, _normal, _seed, _exchange, _other])
def test_the_program_goes_on_where_it_was_however_often_batches_are_seeded(between: Callable[[], Any]) -> None:
    def drawn(*, shielded: bool) -> list[float]:
        bits = np.random.get_bit_generator()  # type: ignore[attr-defined]
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        kept = reseeded_globals()
        found = []
        for number in range(6):
            if number in (2, 3, 5):
                between()
            if shielded:
                with kept:
                    seed_globals(number, devices=False)
                    batch = _draw()
                assert batch == batches.setdefault(number, batch)
            if number != 1:
                found += _draw()
        np.random.set_bit_generator(bits)  # type: ignore[attr-defined]
        return found

    batches: dict[int, Any] = {}
    assert drawn(shielded=True) == drawn(shielded=True) == drawn(shielded=False)
