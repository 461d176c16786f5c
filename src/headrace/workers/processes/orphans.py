"""The end of workers whose program has been killed, whatever they are doing."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

__all__ = ["end_with"]

_PR_SET_PDEATHSIG = 1


def end_with(program: int) -> None:
    """Let the system kill this process when the program dies, also while it holds the GIL or is stopped.

    Linux does that for the parent of a process, and does it when the *thread* ends that has started the process. So
    it is asked for only where that is the parent's main thread, with which the parent ends. The parent may be a
    server of multiprocessing, which ends with the program.

    Args:
        program: the number of the process that this one must not outlive.
    """
    parent = os.getppid()
    if sys.platform != "linux" or not (parent == program or _is_from_server()) or not _is_from_main_thread(parent):
        return
    import ctypes  # not every worker needs it

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it has died meanwhile, which the system does not tell
        os._exit(1)


def _is_from_server() -> bool:
    """Return whether a server of multiprocessing has forked this process; if so, let that end before this one does.

    It ends when the last process closes a file that it gives to all that it forks, for their own use of servers; but
    these start servers of their own.
    """
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    file: int | None = getattr(server, "_forkserver_alive_fd", None)
    if file is None:
        return False
    os.close(file)
    server._forkserver_alive_fd = None  # type: ignore[union-attr] # noqa: SLF001 - there is no other way to tell it
    return True


def _is_from_main_thread(parent: int) -> bool:
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    except OSError:  # not shown to this process, or to none
        return False
    return str(os.getpid()) in children.split()
