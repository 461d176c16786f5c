"""Workers that load ahead: large batches, tiny batches, and samples that take Python a while.

    python -m benchmarks.workers [--smoke]

All have two workers, and load ahead what torch does: two batches a worker. Each round is an epoch with workers of its
own; starting and ending them and the first batches do not count (`python -m benchmarks.startup` measures the start).
Each batch is touched, not gone through.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Contender, Same, begin, per, print_table, race, rate, rival, steady

from headrace import DataLoader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

WORKERS = 2
AHEAD = 2  # batches a worker
PASSED_OVER = 10  # batches of each epoch that do not count
STRATEGIES = ("file_descriptor", "file_system")
torch: Any = rival("torch")
data: Any = rival("torch.utils.data")
grain: Any = rival("grain")
spdl: Any = rival("spdl.pipeline")


class Slow(Same):
    """Samples that take a number of turns of a loop in Python.

    Args:
        sample: the array.
        length: how many samples there are.
        turns: the number.
    """

    def __init__(self, sample: NDArray[Any], length: int, turns: int) -> None:
        super().__init__(sample, length)
        self.turns = turns

    def __getitem__(self, index: int) -> tuple[NDArray[Any], int]:
        spin(self.turns)
        return super().__getitem__(index)


def spin(turns: int) -> int:
    """Keep Python busy, with the GIL held."""
    total = 0
    for turn in range(turns):
        total += turn & 1
    return total


def turns_in(seconds: float) -> int:
    """How many turns of the loop take so long, at best."""
    turns = 10_000
    best = min(_seconds_of(turns) for _ in range(50))
    return round(turns * seconds / best)


def _seconds_of(turns: int) -> float:
    start = perf_counter()
    spin(turns)
    return perf_counter() - start


def headrace_loader(dataset: Any, batch: int, workers: int, backend: str = "process") -> Contender:
    """Headrace with that many workers, or none."""
    name = f"headrace, {workers} {'threads' if backend == 'thread' else 'processes'}" if workers else "headrace, inline"
    options: dict[str, Any] = {"backend": backend, "prefetch_factor": AHEAD} if workers else {}
    return Contender(name, lambda: iter(DataLoader(dataset, batch, num_workers=workers, **options)))


def torch_loader(dataset: Any, batch: int, workers: int, strategy: str = STRATEGIES[0]) -> Contender:
    """torch with that many forked workers, or none."""
    name = f"torch, {workers} processes, {strategy}" if workers else "torch, inline"
    options = {"multiprocessing_context": "fork", "prefetch_factor": AHEAD} if workers else {}

    def run() -> Any:
        torch.multiprocessing.set_sharing_strategy(strategy)
        return iter(data.DataLoader(dataset, batch, num_workers=workers, **options))

    return Contender(name, run if torch else None)


def bare_ring(dataset: Same, batch: int) -> Contender:
    """The floor: two forked processes that write a ring of shared blocks, and pipes of one byte to say so."""

    def run() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        rings = [_Ring(dataset, batch, number) for number in range(WORKERS)]
        try:
            for number in range(len(dataset) // batch):
                yield from rings[number % WORKERS].take()
        finally:
            for ring in rings:
                ring.end()

    there = hasattr(os, "memfd_create")
    return Contender("bare ring, 2 processes", run if there else None, "this system has no memfd", limit=True)


class _Ring:
    """A forked process and the blocks that it writes, one more than it is ahead.

    Args:
        dataset: what it loads.
        batch: samples a batch.
        number: which of the processes it is; it loads every other batch.
    """

    def __init__(self, dataset: Same, batch: int, number: int) -> None:
        self._blocks = [_Block(dataset.sample, batch) for _ in range(AHEAD + 1)]
        self._free, self._ready = os.pipe(), os.pipe()
        self._next = 0
        os.write(self._free[1], bytes(len(self._blocks)))
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=self._serve, args=(dataset, batch, number), daemon=True)
        self._process.start()

    def take(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Give the next batch, and its block back when the one after it is asked for."""
        os.read(self._ready[0], 1)
        block = self._blocks[self._next % len(self._blocks)]
        self._next += 1
        yield block.images, block.labels
        os.write(self._free[1], b"\0")

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()
        for end in (*self._free, *self._ready):
            os.close(end)

    def _serve(self, dataset: Same, batch: int, number: int) -> None:
        for turn, start in enumerate(range(number * batch, len(dataset), WORKERS * batch)):
            os.read(self._free[0], 1)
            block = self._blocks[turn % len(self._blocks)]
            images, labels = zip(*(dataset[index] for index in range(start, start + batch)), strict=True)
            np.stack(images, out=block.images)
            block.labels[:] = labels
            os.write(self._ready[1], b"\0")


class _Block:
    """Shared memory for a batch."""

    def __init__(self, sample: NDArray[Any], batch: int) -> None:
        size = sample.nbytes * batch
        file = os.memfd_create("batch")
        os.ftruncate(file, size + 8 * batch)
        memory = mmap.mmap(file, size + 8 * batch)
        os.close(file)
        self.images = np.frombuffer(memory, sample.dtype, sample.size * batch).reshape(batch, *sample.shape)
        self.labels = np.frombuffer(memory, np.int64, batch, offset=size)


def grain_loader(dataset: Same, batch: int) -> Contender:
    """Grain's threads, each of which stacks a batch."""

    def run() -> Any:
        options = grain.ReadOptions(num_threads=WORKERS, prefetch_buffer_size=WORKERS * AHEAD)
        return iter(grain.MapDataset.source(dataset).batch(batch).to_iter_dataset(options))

    return Contender("Grain, 2 threads", run if grain else None)


def spdl_loader(dataset: Same, batch: int) -> Contender:
    """SPDL's threads, each of which stacks a batch."""

    def load(start: int) -> tuple[NDArray[Any], NDArray[Any]]:
        return stack([dataset[index] for index in range(start, start + batch)])

    def run() -> Iterator[Any]:
        builder = spdl.PipelineBuilder().add_source(range(0, len(dataset), batch))
        builder = builder.pipe(load, concurrency=WORKERS, output_order="input").add_sink(WORKERS * (AHEAD - 1))
        pipeline = builder.build(num_threads=WORKERS)
        with pipeline.auto_stop():
            yield from pipeline

    return Contender("SPDL, 2 threads", run if spdl else None)


def stack(samples: Sequence[tuple[NDArray[Any], int]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The usual collate_fn of those who want ndarrays."""
    images, labels = zip(*samples, strict=True)
    return np.stack(images), np.array(labels)


def print_large(batches: int, side: int, rounds: int) -> None:
    """Print how quickly large batches arrive."""
    batch = 64
    dataset = Same(np.ones((3, side, side), np.float32), batch * (PASSED_OVER + batches))
    entries = [
        headrace_loader(dataset, batch, WORKERS),
        headrace_loader(dataset, batch, WORKERS, "thread"),
        headrace_loader(dataset, batch, 0),
        *(torch_loader(dataset, batch, WORKERS, strategy) for strategy in STRATEGIES),
        bare_ring(dataset, batch),
        grain_loader(dataset, batch),
        spdl_loader(dataset, batch),
    ]
    megabytes = batches * batch * (dataset.sample.nbytes + 8) / 1e6
    title = f"{batches:,} batches of {batch} x 3x{side}x{side} float32 and a label, all samples one array"
    figures = {"MB/s": rate(megabytes), "ms/batch": per(batches, 1e-3)}
    print_table(title, entries, race(entries, rounds, steady(PASSED_OVER)), figures)


def print_tiny(batches: int, rounds: int) -> None:
    """Print what a batch costs that holds next to nothing."""
    batch = 2
    dataset = Same(np.ones(8, np.float32), batch * (PASSED_OVER + batches))
    entries = [
        headrace_loader(dataset, batch, WORKERS),
        headrace_loader(dataset, batch, WORKERS, "thread"),
        headrace_loader(dataset, batch, 0),
        torch_loader(dataset, batch, WORKERS),
        torch_loader(dataset, batch, 0),
    ]
    title = f"{batches:,} batches of {batch} x 8 float32 and a label"
    print_table(title, entries, race(entries, rounds, steady(PASSED_OVER)), {"us/batch": per(batches, 1e-6)})


def print_slow(batches: int, seconds: float, rounds: int) -> None:
    """Print how much quicker two workers are than none where samples take Python a while."""
    batch, turns = 16, turns_in(seconds)
    dataset = Slow(np.ones(8, np.float32), batch * (PASSED_OVER + batches), turns)
    entries = [
        headrace_loader(dataset, batch, WORKERS),
        headrace_loader(dataset, batch, WORKERS, "thread"),
        headrace_loader(dataset, batch, 0),
        torch_loader(dataset, batch, WORKERS),
        torch_loader(dataset, batch, 0),
    ]
    took = race(entries, rounds, steady(PASSED_OVER))
    title = f"{batches:,} batches of {batch} samples of {turns:,} turns of a Python loop ({seconds * 1e3:g} ms) each"
    print_table(title, entries, took, {"ms/batch": per(batches, 1e-3)})


def main() -> None:
    """Run all of it."""
    smoke = begin("workers that load ahead")
    rounds = 1 if smoke else 7
    print_large(4 if smoke else 150, 8 if smoke else 224, rounds)
    print_tiny(20 if smoke else 5000, rounds)
    print_slow(2 if smoke else 60, 1e-4 if smoke else 1e-3, rounds)


if __name__ == "__main__":
    main()
