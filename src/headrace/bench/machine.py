"""The machine that figures are of, and the versions of all that took part."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import headrace
from headrace import kernels

__all__ = ["cores", "describe", "machine", "use_cores", "versions"]

# The distributions whose versions are told; DALI's name has that of CUDA, which its CPU pipeline does not use.
_DISTRIBUTIONS = (
    "torch",
    "grain",
    "spdl",
    "tensorflow",
    "webdataset",
    "datasets",
    "nvidia-dali-cuda120",
    "mlx-data",
    "ffcv",
    "mosaicml-streaming",
    "litdata",
    "torchdata",
    "pyarrow",
    "lmdb",
    "pillow",
    "simplejpeg",
)


def machine() -> dict[str, str | int]:
    """Return the CPU, how many cores this process may use, the memory in GB, and the system.

    >>> sorted(machine())
    ['cores', 'cpu', 'memory_gb', 'system']
    """
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "memory_gb": _memory() // 10**9,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, NumPy, headrace and its kernels, and of each other library that is installed.

    >>> versions()["NumPy"] == np.__version__
    True
    """
    found = {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "headrace": f"{headrace.__version__} ({kernels.active().name} kernels)",
    }
    return found | {name: installed for name in _DISTRIBUTIONS if (installed := _version(name))}


def describe() -> str:
    """Return the machine and the versions that matter most as a line."""
    here, those = machine(), versions()
    parts = [str(here["cpu"]), f"{here['cores']} cores", *(f"{name} {those[name]}" for name in ("Python", "NumPy"))]
    parts.append(f"torch {those['torch']}" if "torch" in those else "no torch")
    return ", ".join([*parts, f"headrace {those['headrace']}"])


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_cores(count: int) -> None:
    """Leave this process, and those that it starts, so many cores, where the system lets a process choose."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
