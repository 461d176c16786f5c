"""Adapters: how the arrays of each framework are recognised, read and made.

One file a framework. A framework is never imported to find out whether a value is one of its own:
a program that holds such a value has imported it already.
"""

from headrace.frameworks.base import (
    Adapter,
    can_pin,
    common_framework,
    enter_worker,
    explain,
    find,
    framework_in_use,
    framework_of,
    is_channels_last,
    is_iterable_dataset,
    is_torch_data,
    pin,
    rebuild,
    reduce,
    settings,
    use_settings,
    worker_info,
)
from headrace.frameworks.global_rng import (
    check_generator,
    draw_seed,
    generator_state,
    global_states,
    is_generator,
    kept_globals,
    preview_seed,
    private_globals,
    restore_generator,
    restore_globals,
    seed_globals,
)

__all__ = [
    "Adapter",
    "can_pin",
    "check_generator",
    "common_framework",
    "draw_seed",
    "enter_worker",
    "explain",
    "find",
    "framework_in_use",
    "framework_of",
    "generator_state",
    "global_states",
    "is_channels_last",
    "is_generator",
    "is_iterable_dataset",
    "is_torch_data",
    "kept_globals",
    "pin",
    "preview_seed",
    "private_globals",
    "rebuild",
    "reduce",
    "restore_generator",
    "restore_globals",
    "seed_globals",
    "settings",
    "use_settings",
    "worker_info",
]
