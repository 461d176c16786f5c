"""State that a process inherits from the one that starts it, as it is now: environment, search path and limits."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ProcessState", "environment"]

# A worker is one of several; libraries that would take all cores for each are told so, unless the
# user has told them something else.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_LIMITS = [value for name, value in vars(resource).items() if name.startswith("RLIMIT_")]


def environment() -> dict[str, str]:
    """Return the environment variables that a worker starts with."""
    return _ONE_THREAD | os.environ


@dataclass(frozen=True)
class ProcessState:
    """The state that a worker takes over from the program, beside its open files.

    Args:
        variables: of the environment.
        path: where modules are searched.
        umask: of new files; None where it is not known.
        cores: that the process may run on; None where that is not known.
        limits: of resources.
    """

    variables: dict[str, str]
    path: list[str]
    umask: int | None
    cores: frozenset[int] | None
    limits: dict[int, tuple[int, int]]

    @classmethod
    def now(cls) -> ProcessState:
        """Return that of this process."""
        return cls(
            environment(),
            [str(entry) for entry in sys.path],
            _umask(),
            frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            {limit: resource.getrlimit(limit) for limit in _LIMITS},
        )

    def apply(self) -> None:
        """Give this process the state. What the system does not allow stays as it is."""
        if dict(os.environ) != self.variables:
            os.environ.clear()
            os.environ.update(self.variables)
        sys.path[:] = self.path
        if self.umask is not None:
            os.umask(self.umask)
        with suppress(OSError):
            if self.cores is not None:
                os.sched_setaffinity(0, self.cores)
        for limit, bounds in self.limits.items():
            with suppress(OSError, ValueError):
                resource.setrlimit(limit, bounds)


def _umask() -> int | None:
    """Read it where that changes nothing: setting it, the other way to know it, concerns other threads."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return None
