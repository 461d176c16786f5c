"""Settings of frameworks that workers take over from the program."""

from __future__ import annotations

from typing import Any

from headrace.frameworks.registry import adapter_modules, register
from headrace.frameworks.torch_late import torch_settings

__all__ = ["settings", "use_settings"]


def settings() -> dict[str, Any]:
    """Return what the program has set in frameworks, and which it has registered: plain values."""
    found: dict[str, Any] = {"adapters": dict(adapter_modules())}
    of_torch = torch_settings()
    return found if of_torch is None else {**found, "torch": of_torch}


def use_settings(found: dict[str, Any], *, own_process: bool) -> None:
    """Let the frameworks compute in this thread as they do in the program.

    Args:
        found: what `settings` gave there.
        own_process: whether the process is a worker's own; then what a process has but once is set, too.
    """
    for library, adapter in found["adapters"].items():
        register(library, adapter)
    if "torch" in found:
        from headrace.frameworks import torch

        torch.use_settings(found["torch"], own_process=own_process)
