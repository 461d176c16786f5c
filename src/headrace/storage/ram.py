"""How much memory there is."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["total_memory"]

# Where Linux says how much memory a container may use: its second version of control groups, and the first.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def total_memory() -> int:
    """The memory of the machine, or what its container may use of it, in bytes.

    >>> total_memory() > 1 << 20
    True
    """
    sizes = [sys.maxsize]
    with suppress(AttributeError, OSError, ValueError):  # not on all systems
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in _LIMITS:
        with suppress(OSError, ValueError):  # not there, or the word "max"
            sizes.append(int(Path(path).read_text(encoding="ascii")))
    return min(sizes)
