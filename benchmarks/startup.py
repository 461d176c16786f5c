"""How soon a loader with workers gives its first batch, and how much memory all of its processes take.

    python -m benchmarks.startup [--smoke]

Each contender has a process of its own in each round, so that its memory is its own. There it makes the table and the
dataset, asks for the first batch of a shuffled epoch, and goes on: the memory is that of the process and of all that
descend from it in the midst of the epoch, memory that several share counted once (Pss). "before" is the memory when
the table is there and the loader is not, with what the contender has imported. "again" is the time to the first batch
of a later epoch, and "own" the memory that the last worker shares with no other process. headrace's own workers need
torch where the table is made of tensors. The second table is of a list of 1.2 million tuples of a path and a label, as
large folders of images become: Python objects, which processes cannot share as they share arrays.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import (
    Comparison,
    Measurement,
    begin,
    family,
    fewer,
    private_memory,
    proportional_memory,
    rival,
    show,
    touch,
)

from headrace import DataLoader, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WORKERS = 2
BATCH = 128
# What is to be reached with a list, by worker processes: seconds until the first batch, and bytes of each one's own.
FIRST, OWN = 1.0, 100e6


@dataclass(frozen=True)
class Figures:
    """What one contender took.

    Attributes:
        seconds: from `iter()` until the first batch was there.
        before: memory in bytes before there was a loader.
        under_way: memory in bytes in the midst of the epoch.
        processes: how many processes there were then.
        own: memory in bytes that the last of them had for itself.
        again: seconds until the first batch of a later epoch.
    """

    seconds: float
    before: int
    under_way: int
    processes: int
    own: int
    again: float


class Rows:
    """The table as ndarrays, for torch."""

    def __init__(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], np.int64]:
        return self.x[index], self.y[index]


class Listed:
    """A list of paths and labels, of which samples are numbers."""

    def __init__(self, samples: list[tuple[str, int]]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[int, int]:
        path, label = self.samples[index]
        return len(path), label


def with_headrace(backend: Any, *, tensors: bool = False) -> Callable[[NDArray[Any], NDArray[Any]], Any]:
    """Make headrace's loader."""

    def make(x: NDArray[Any], y: NDArray[Any]) -> Any:
        parts: list[Any] = [x, y]
        if tensors:
            torch: Any = rival("torch")
            parts = [torch.from_numpy(x), torch.from_numpy(y)]
        return DataLoader(TensorDataset(*parts), BATCH, shuffle=True, seed=0, num_workers=WORKERS, backend=backend)

    return make


def with_torch(context: str, *, tensors: bool) -> Callable[[NDArray[Any], NDArray[Any]], Any]:
    """Make torch's loader."""

    def make(x: NDArray[Any], y: NDArray[Any]) -> Any:
        torch: Any = rival("torch")
        data: Any = rival("torch.utils.data")
        rows = data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y)) if tensors else Rows(x, y)
        return data.DataLoader(rows, BATCH, shuffle=True, num_workers=WORKERS, multiprocessing_context=context)

    return make


def listed_with_headrace(backend: Any) -> Callable[[list[Any]], Any]:
    """Make headrace's loader of a list."""
    return lambda samples: DataLoader(
        Listed(samples), BATCH, shuffle=True, seed=0, num_workers=WORKERS, backend=backend
    )


def listed_with_torch(context: str) -> Callable[[list[Any]], Any]:
    """Make torch's loader of a list."""

    def make(samples: list[Any]) -> Any:
        data: Any = rival("torch.utils.data")
        return data.DataLoader(
            Listed(samples), BATCH, shuffle=True, num_workers=WORKERS, multiprocessing_context=context
        )

    return make


def make_table(rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows of numbers and their labels."""
    return np.random.default_rng(0).random((rows, 64), np.float32), np.arange(rows) % 10


def make_list(rows: int) -> tuple[list[tuple[str, int]]]:
    """Paths and labels, as a folder of images has them."""
    return ([(f"/data/train/class-{number % 1000:04d}/{number:08d}.jpg", number % 1000) for number in range(rows)],)


LISTED: dict[str, Callable[..., Any]] = {
    "headrace, 2 processes": listed_with_headrace("process"),
    "headrace, 2 threads": listed_with_headrace("thread"),
    "torch, fork": listed_with_torch("fork"),
    "torch, spawn": listed_with_torch("spawn"),
}
CONTENDERS: dict[str, Callable[..., Any]] = {
    "headrace, 2 processes": with_headrace("process"),
    "headrace, processes, tensors": with_headrace("process", tensors=True),
    "headrace, auto (2 threads)": with_headrace("auto"),
    "torch, fork, tensors": with_torch("fork", tensors=True),
    "torch, fork, ndarrays": with_torch("fork", tensors=False),
    "torch, spawn, tensors": with_torch("spawn", tensors=True),
    "torch, spawn, ndarrays": with_torch("spawn", tensors=False),
}


# What there is of each kind: the data, and the contenders.
KINDS: dict[str, tuple[Callable[[int], tuple[Any, ...]], dict[str, Callable[..., Any]]]] = {
    "table": (make_table, CONTENDERS),
    "list": (make_list, LISTED),
}


def measure(kind: str, name: str, rows: int, batches: int) -> Figures:
    """Run a contender in this process, as far into an epoch as the number of batches."""
    if _needs_torch(name):
        rival("torch.utils.data")
    make_data, contenders = KINDS[kind]
    data = make_data(rows)
    before = proportional_memory(family())
    loader = contenders[name](*data)
    start = perf_counter()
    iterator = iter(loader)
    batch = next(iterator)
    seconds = perf_counter() - start
    for _ in range(batches - 1):
        touch(batch)
        batch = next(iterator)
    processes = family()
    under_way, own = proportional_memory(processes), private_memory(processes[-1])
    del iterator
    return Figures(seconds, before, under_way, len(processes), own, time_again(loader, 3 if batches > 100 else 1))


def time_again(loader: Any, epochs: int) -> float:
    """Return the seconds until the first batch of a later epoch, the median of so many."""
    times = []
    for _ in range(epochs):
        start = perf_counter()
        iterator = iter(loader)
        next(iterator)
        times.append(perf_counter() - start)
        del iterator
    return statistics.median(times)


def _needs_torch(name: str) -> bool:
    return name.startswith("torch") or name.endswith("tensors")


def run_alone(kind: str, name: str, rows: int, batches: int) -> Figures:
    """The same in a process of its own."""
    program = f"import benchmarks.startup as s; s.print_figures({kind!r}, {name!r}, {rows}, {batches})"
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE)  # noqa: S603
    return Figures(**json.loads(done.stdout))


def print_figures(kind: str, name: str, rows: int, batches: int) -> None:
    """Print what `measure` finds, for another process to read."""
    print(json.dumps(asdict(measure(kind, name, rows, batches))))


def show_kind(title: str, kind: str, rows: int, *, smoke: bool) -> None:
    """Measure all contenders of a kind, and print their table."""
    batches, rounds = (4, 1) if smoke else (2000, fewer(5))
    has_torch = rival("torch") is not None
    # To import torch again and again is no trial.
    shown = [name for name in KINDS[kind][1] if not smoke or not ("spawn" in name or "tensors" in name)]
    names = [name for name in shown if has_torch or not _needs_torch(name)]
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(run_alone(kind, name, rows, batches))
    aimed = "headrace, 2 processes" if kind == "list" else None
    show(Comparison(title, tuple(result(name, found.get(name), aimed=name == aimed) for name in shown)))


def main() -> None:
    """Run all of it."""
    smoke = begin("time to the first batch, and memory")
    rows, paths = (2000, 2000) if smoke else (1_000_000, 1_200_000)
    megabytes = rows * (64 * 4 + 8) / 1e6
    how = f"shuffled, batch {BATCH}, {WORKERS} workers"
    show_kind(f"{rows:,} x 64 float32 and a label ({megabytes:.0f} MB), {how}", "table", rows, smoke=smoke)
    show_kind(f"a list of {paths:,} tuples of a path and a label, {how}", "list", paths, smoke=smoke)


def result(name: str, rounds: list[Figures] | None, *, aimed: bool) -> Measurement:
    """The line of a contender: the medians of its rounds, memory in MB; "more" is what the loader adds."""
    kind = "headrace" if name.startswith("headrace") else "rival"
    if rounds is None:
        return Measurement(name, kind, note="not installed")
    seconds = [of_round.seconds for of_round in rounds]
    before = statistics.median(of_round.before for of_round in rounds) / 1e6
    under_way = statistics.median(of_round.under_way for of_round in rounds) / 1e6
    median = statistics.median(seconds)
    own = statistics.median(of_round.own for of_round in rounds)
    figures: dict[str, float | str] = {
        "first ms best": min(seconds) * 1e3,
        "first ms median": median * 1e3,
        "again ms": statistics.median(of_round.again for of_round in rounds) * 1e3,
        "before MB": before,
        "under way MB": under_way,
        "more MB": under_way - before,
        "processes": rounds[-1].processes,
        "own MB": own / 1e6,
    }
    aims = (median / FIRST, own / OWN) if aimed else ()
    aim = f"{FIRST:g} s, {OWN / 1e6:g} MB of its own" if aimed else ""
    return Measurement(name, kind, figures, median, min(seconds), rounds=len(rounds), aims=aims, aim=aim)


if __name__ == "__main__":
    main()
