"""Adapters: how the arrays of each framework are recognised, read and made.

One file a framework, listed in `registry`. A framework is never imported to find out whether a value is one of its own:
a program that holds such a value has imported it already.
"""

from headrace.frameworks.base import (
    common_framework,
    explain,
    find,
    framework_in_use,
    framework_of,
    plain_stacker,
    rebuild,
    reduce,
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
    reseeded_globals,
    restore_generator,
    restore_globals,
    seed_globals,
)
from headrace.frameworks.ranks import ranks_in_use
from headrace.frameworks.registry import Adapter, Framework, adapter_modules, register
from headrace.frameworks.settings import settings, use_settings
from headrace.frameworks.torch_late import (
    can_pin,
    enter_worker,
    is_channels_last,
    is_iterable_dataset,
    is_torch_collate,
    is_torch_data,
    pin,
    worker_info,
)

__all__ = [
    "Adapter",
    "Framework",
    "adapter_modules",
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
    "is_torch_collate",
    "is_torch_data",
    "kept_globals",
    "pin",
    "plain_stacker",
    "preview_seed",
    "private_globals",
    "ranks_in_use",
    "rebuild",
    "reduce",
    "register",
    "reseeded_globals",
    "restore_generator",
    "restore_globals",
    "seed_globals",
    "settings",
    "use_settings",
    "worker_info",
]
