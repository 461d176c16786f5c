"""Random generators of three libraries as sources of seeds."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np
import pytest

from headrace.errors import ArgumentTypeError
from headrace.frameworks import check_generator, draw_seed


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
