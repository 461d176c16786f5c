"""Random generators of Python, NumPy and torch: as sources of seeds, and the global ones to be seeded."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np

from headrace.errors import ArgumentTypeError

__all__ = ["check_generator", "draw_seed", "global_states", "restore_globals", "seed_globals"]

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


def global_states() -> tuple[Any, ...]:
    """The states of these generators: equal before and after what has not drawn from them.

    >>> before = global_states()
    >>> global_states() == before, random.random() < 1, global_states() == before
    (True, True, False)
    """
    name, key, *rest = np.random.get_state()  # noqa: NPY002
    torch_state = None
    if sys.modules.get("torch") is not None:
        from headrace.adapters import torch

        torch_state = torch.state()
    return random.getstate(), (name, np.asarray(key).tobytes(), *rest), torch_state


def restore_globals(states: tuple[Any, ...]) -> None:
    """Let the generators go on where `global_states` found them."""
    of_random, (name, key, *rest), torch_state = states
    random.setstate(of_random)
    np.random.set_state((name, np.frombuffer(key, np.uint32), *rest))  # noqa: NPY002
    if torch_state is not None:
        from headrace.adapters import torch

        torch.restore(torch_state)


def _is_torch(generator: object) -> bool:
    if sys.modules.get("torch") is None:
        return False
    from headrace.adapters import torch

    return torch.is_generator(generator)
