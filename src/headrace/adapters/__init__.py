"""Adapters: how the arrays of each framework are recognised, read and made.

One file a framework. A framework is never imported to find out whether a value is one of its own:
whoever holds such a value has imported it already.
"""

from headrace.adapters.base import (
    Adapter,
    can_pin,
    enter_worker,
    find,
    framework_of,
    is_iterable_dataset,
    pin,
    rebuild,
    reduce,
    worker_info,
)
from headrace.adapters.generators import check_generator, draw_seed, global_states, restore_globals, seed_globals

__all__ = [
    "Adapter",
    "can_pin",
    "check_generator",
    "draw_seed",
    "enter_worker",
    "find",
    "framework_of",
    "global_states",
    "is_iterable_dataset",
    "pin",
    "rebuild",
    "reduce",
    "restore_globals",
    "seed_globals",
    "worker_info",
]
