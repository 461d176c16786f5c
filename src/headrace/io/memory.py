"""The memory of this machine or container."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["total_memory"]

# The limits of a control group: of the second version of Linux's hierarchy, and of the first.
_LIMITS = {"cgroup2": ("memory.max", "memory.high"), "cgroup": ("memory.limit_in_bytes",)}


def total_memory(proc: str = "/proc/self") -> int:
    """Return the memory of the machine, or what the process may use of it, in bytes.

    That is the least of the limits of its control group and of all groups above that, as containers, SLURM and
    systemd set them.

    Args:
        proc: where Linux describes the process.

    >>> total_memory() > 1 << 20
    True
    """
    sizes = [sys.maxsize]
    with suppress(AttributeError, OSError, ValueError):  # not on all systems
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError):
        for group, names in _groups(Path(proc)):
            for name in names:
                with suppress(OSError, ValueError):  # not there, or the word "max"
                    sizes.append(int((group / name).read_text(encoding="ascii")))
    return min(sizes)


def _groups(proc: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the folders of the process's control groups that count memory, up to the highest in sight, with limits."""
    own = {}
    for line in (proc / "cgroup").read_text(encoding="utf-8").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            own["cgroup2"] = path
        elif "memory" in controllers.split(","):
            own["cgroup"] = path
    for line in (proc / "mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        (root, mount), (kind, _, options) = before.split()[3:5], after.split()[:3]
        if kind not in own or (kind == "cgroup" and "memory" not in options.split(",")):
            continue
        top = Path(mount)
        group = top / own[kind].removeprefix(root if root != "/" else "").lstrip("/")
        # In a container the path may be that which the host sees, of which only the mount itself is in sight.
        if ".." in group.parts or not group.is_dir():
            group = top
        for each in (group, *group.parents):
            yield each, _LIMITS[kind]
            if each == top:
                break
