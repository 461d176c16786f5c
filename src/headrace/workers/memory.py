"""The memory that processes have, as the system tells it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["private_memory", "proportional_memory"]

_PROC = Path("/proc")


def proportional_memory(processes: Iterable[int]) -> int:
    """Return the bytes of memory of the processes, what several share counted once; 0 where the system does not say."""
    return sum(_rollup(process, "Pss:") for process in processes)


def private_memory(process: int) -> int:
    """Return the bytes of memory of a process that no other has mapped; 0 where the system does not say."""
    return _rollup(process, "Private_Clean:", "Private_Dirty:")


def _rollup(process: int, *names: str) -> int:
    try:
        text = (_PROC / str(process) / "smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(names))
