"""Random generators of Python, NumPy and torch: as sources of seeds, and the global ones to be seeded."""

from __future__ import annotations

import random
import sys

import numpy as np

from headrace.errors import ArgumentTypeError

__all__ = ["check_generator", "draw_seed", "seed_globals"]

_BITS = 63  # fits an int64 everywhere, JSON readers included


def check_generator(generator: object) -> None:
    """Refuse what `draw_seed` cannot draw from.

    Raises:
        ArgumentTypeError: the generator is of another kind.
    """
    if not (generator is None or isinstance(generator, random.Random | np.random.Generator) or _is_torch(generator)):
        raise ArgumentTypeError(
            f"generator must be a numpy.random.Generator, a random.Random, a torch.Generator or None, got {generator!r}"
        )


def draw_seed(generator: object = None) -> int:
    """A seed below 2**63 drawn from the generator, or from Python's `random` for None.

    Raises:
        ArgumentTypeError: the generator is of another kind.

    >>> draw_seed(np.random.default_rng(0)) == draw_seed(np.random.default_rng(0))
    True
    """
    check_generator(generator)
    if generator is None:
        return random.getrandbits(_BITS)
    if isinstance(generator, random.Random):
        return generator.getrandbits(_BITS)
    if isinstance(generator, np.random.Generator):
        return int(generator.integers(2**_BITS))
    from headrace.adapters import torch

    return torch.draw_seed(generator)


def seed_globals(seed: int) -> None:
    """Seed the generators that a process shares: `random`, `numpy.random` and, if it is in use, torch's.

    Args:
        seed: a non-negative integer.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the legacy generator is what is meant
    if sys.modules.get("torch") is not None:
        from headrace.adapters import torch

        torch.seed(seed % 2**_BITS)


def _is_torch(generator: object) -> bool:
    if sys.modules.get("torch") is None:
        return False
    from headrace.adapters import torch

    return torch.is_generator(generator)
