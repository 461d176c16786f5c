"""Workers of a pool as the processes that code written for torch looks at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threading import Thread

__all__ = ["ThreadHandle", "WorkerHandle", "worker_handles"]


class WorkerHandle:
    """A worker process, with the attributes of `multiprocessing.Process`.

    Args:
        process: the process that has been started.
        number: of the worker.
    """

    daemon = True

    def __init__(self, process: Any, number: int) -> None:
        self._process = process
        self.pid: int = process.pid
        self.name = f"headrace worker {number}"

    @property
    def exitcode(self) -> int | None:
        """Its exit code, or minus the signal that killed it; None while it runs."""
        code: int | None = self._process.poll()
        return code

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, so many seconds at most."""
        self._process.wait(1e6 if timeout is None else timeout)

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it."""
        self._process.kill()


class ThreadHandle:
    """A worker thread, with the same attributes; it ends with its pool only.

    Args:
        thread: the thread.
    """

    daemon = True

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self.pid = os.getpid()
        self.name = thread.name

    @property
    def exitcode(self) -> int | None:
        """0 once it has ended; None while it runs."""
        return None if self.is_alive() else 0

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, so many seconds at most."""
        self._thread.join(timeout)

    def terminate(self) -> None:
        """Do nothing: a thread cannot be made to end."""

    kill = terminate


def worker_handles(pool: Any) -> list[Any]:
    """Return the workers of a pool: processes, or threads; none where it has neither."""
    supervisor = getattr(pool, "supervisor", None)
    if supervisor is None:
        return list(map(ThreadHandle, getattr(pool, "threads", ())))
    return [WorkerHandle(process, number) for number, process in enumerate(supervisor.processes)]
