"""The same function on several ranks, each a process of its own that talks to the others by gloo."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

__all__ = ["run_on_ranks"]

_ROOT = Path(__file__).parents[3]
_PROGRAM = "from tests.torch.clients.processes import be_ranks; be_ranks()"


def run_on_ranks(function: Callable[..., Any], world_size: int, *arguments: Any) -> list[Any]:
    """What `function(rank, world_size, *arguments)` of a test module returns on each rank."""
    request = pickle.dumps((function.__module__, function.__name__, world_size, arguments))
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.fspath(_ROOT), "GLOO_SOCKET_IFNAME": "lo"},
        cwd=_ROOT,
        start_new_session=True,
    )
    with program:
        try:
            said, complaints = program.communicate(request, timeout=100)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)  # ranks that hang, too
    assert program.returncode == 0, complaints.decode()[-3000:]
    found: list[Any] = pickle.loads(said.rpartition(b"\nRESULT ")[2])
    return found


def be_ranks() -> None:
    """Import what is asked for on standard input, and fork the ranks; what they return goes to standard output."""
    name, function_name, world_size, arguments = pickle.loads(sys.stdin.buffer.read())
    function = getattr(importlib.import_module(name), function_name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size)}
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(world_size)]
    ranks = [
        context.Process(target=_be_rank, args=(function, rank, world_size, arguments, end), daemon=False)
        for rank, (_, end) in enumerate(pipes)
    ]
    for process, (_, end) in zip(ranks, pipes, strict=True):
        process.start()
        end.close()
    found = [start.recv() for start, _ in pipes]
    sys.stdout.flush()
    sys.stdout.buffer.write(b"\nRESULT " + pickle.dumps(found))
    sys.stdout.buffer.flush()


def _be_rank(function: Callable[..., Any], rank: int, world_size: int, arguments: Any, end: Connection) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world_size), "NODE_RANK": "0"}
    end.send(function(rank, world_size, *arguments))
