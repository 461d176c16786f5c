"""Datasets that fail, die or restart their worker, which tests of workers share."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import Dataset, sample_rng

if TYPE_CHECKING:
    from collections.abc import Callable

    Eventually = Callable[[Callable[[], Any]], None]
    RunScript = Callable[..., Any]

BACKENDS = ["thread", "process"]
CONTEXTS = ["fork", "forkserver", "spawn"]
POOLS = [("thread", None), ("process", None), *(("process", context) for context in CONTEXTS)]


class Coded(Exception):
    """Keeps another thing than its constructor takes."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"{where} {code}")
        self.code = code


class Failing(Dataset[Any]):
    """Eight samples, of which one does what it is told to."""

    def __init__(self, fail: Callable[[], Any], at: int = 3) -> None:
        self.fail, self.at = fail, at

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int, /) -> Any:
        return self.fail() if index == self.at else index


def throw(error: BaseException) -> Any:
    raise error


def coded() -> Any:
    raise Coded(7, where="there")


def lists(batches: Any) -> list[Any]:
    return [batch.tolist() for batch in batches]


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


DEATHS: dict[str, tuple[Callable[[], Any], str]] = {
    "killed": (
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        r"was killed by signal 9 \(SIGKILL\), as the system does when memory runs out,",
    ),
    "segfault": (lambda: ctypes.string_at(0), r"was killed by signal 11 \(SIGSEGV\)"),
    "exit": (lambda: os._exit(3), "ended with exit code 3"),
    "quiet exit": (lambda: os._exit(0), "ended with exit code 0"),
}


def dying(how: str) -> Failing:
    return Failing(DEATHS[how][0])


class Once:
    """Does something in the first calls of all, in whichever process they are; returns 3 thereafter."""

    def __init__(self, marks: Path, name: str, act: Callable[[], Any], times: int = 1) -> None:
        self.marks, self.name, self.act, self.times = marks, name, act, times

    def __call__(self) -> int:
        for time in range(self.times):
            with suppress(FileExistsError):
                (self.marks / f"{self.name} {time}").open("x").close()
                self.act()
        return 3


class Mortal(Dataset[Any]):
    """Samples with randomness of their own and a large array; to read some of them is deadly, so many times."""

    def __init__(self, marks: Path, deadly: dict[int, int]) -> None:
        ways = [act for act, _ in DEATHS.values()]
        self.deaths = {
            index: Once(marks, f"at {index}", ways[index % len(ways)], times) for index, times in deadly.items()
        }

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if index in self.deaths:
            self.deaths[index]()
        return {
            "index": index,
            "own": sample_rng().random(),
            "global": np.random.random(),  # noqa: NPY002 - as users do
            "large": np.full(20_000, index, np.uint16),
        }
