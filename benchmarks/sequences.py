"""Padded batches against torch's pad_sequence, the packing of rows, and the first batch of a large mixture.

    python -m benchmarks.sequences [--smoke]

The last column has the figure against its aim: at most 1 is well.
"""

from __future__ import annotations

import statistics
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Comparison, Contender, Measurement, begin, per, print_table, race, rival, show

from headrace import DataLoader, PadCollate, TokenDocuments, pad_collate
from headrace.bench.workloads.mixture import first_batch
from headrace.sampling.packing import pack_rows

if TYPE_CHECKING:
    from collections.abc import Callable

torch: Any = rival("torch")
FIELDS = {"input_ids": 0, "labels": -100}
BATCH = 32
# What is to be reached: lengths packed in a second, the share of rows that is filled, milliseconds until the first
# batch of a mixture, and its bytes.
RATE, FULL, FIRST, MEMORY = 20e6, 0.99, 20, 1e6


def padders(samples: list[dict[str, Any]], repeats: int, convert: Callable[[Any], Any]) -> list[Contender]:
    """The ways to make a batch of samples, so many times."""
    pad = PadCollate(FIELDS)

    def headrace() -> None:
        for _ in range(repeats):
            pad(samples)

    def with_torch() -> None:
        sequence = torch.nn.utils.rnn.pad_sequence
        for _ in range(repeats):
            for name, value in FIELDS.items():
                sequence([convert(sample[name]) for sample in samples], batch_first=True, padding_value=value)

    return [
        Contender("headrace PadCollate", headrace),
        Contender("torch pad_sequence, in a loop", with_torch if torch else None, aim=1 / 5),
    ]


def print_padding(repeats: int, rounds: int) -> None:
    """Print what a padded batch takes, of lists, of arrays and of tensors."""
    rng = np.random.default_rng(0)
    arrays = [{name: rng.integers(0, 50_000, length) for name in FIELDS} for length in rng.integers(50, 512, BATCH)]
    lists = [{name: values.tolist() for name, values in sample.items()} for sample in arrays]
    kinds: list[tuple[str, list[dict[str, Any]], Any]] = [
        ("lists of integers", lists, torch and torch.tensor),
        ("arrays", arrays, torch and torch.from_numpy),
    ]
    if torch:
        tensors = [{name: torch.from_numpy(values) for name, values in sample.items()} for sample in arrays]
        kinds.append(("tensors", tensors, lambda tensor: tensor))
    for kind, samples, convert in kinds:
        entries = padders(samples, repeats, convert)
        title = f"a padded batch of {BATCH} samples with two sequences each, {kind}"
        print_table(title, entries, race(entries, rounds), {"us/batch": per(repeats, 1e-6)})


def print_documents(count: int, rounds: int) -> None:
    """Print what padded batches of the documents of a file take, in random order."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(50, 512, count)
    steps = count // BATCH
    with TemporaryDirectory() as folder:
        path = Path(folder, "train.bin")
        np.concatenate([np.append(rng.integers(1, 50_000, length - 1), 0) for length in lengths]).astype(
            np.uint16
        ).tofile(path)
        loader = DataLoader(
            TokenDocuments(path, np.uint16, eos=0), BATCH, shuffle=True, seed=0, drop_last=True, collate_fn=pad_collate
        )
        data, bounds = np.memmap(path, np.uint16, "r"), np.cumsum([0, *lengths]).tolist()

        def headrace() -> None:
            for _ in loader:
                pass

        def with_torch() -> None:
            order = torch.randperm(count).tolist()
            for step in range(steps):
                some = order[step * BATCH : (step + 1) * BATCH]
                documents = [data[bounds[each] : bounds[each + 1]].astype(np.int64) for each in some]
                torch.nn.utils.rnn.pad_sequence(list(map(torch.from_numpy, documents)), batch_first=True)

        entries = [
            Contender("headrace TokenDocuments, pad_collate", headrace),
            Contender("torch pad_sequence, slices of a map", with_torch if torch else None),
        ]
        title = f"padded batches of {BATCH} documents of a file, uint16 to int64"
        print_table(title, entries, race(entries, rounds), {"us/batch": per(steps, 1e-6)})


def print_packing(length: int, rounds: int) -> None:
    """Print how fast sequences are packed, and how full the rows are."""
    lengths = np.random.default_rng(0).lognormal(np.log(800), 0.7, length).astype(np.int64).clip(1, 2048)
    seconds = []
    for _ in range(rounds):
        start = perf_counter()
        table = pack_rows(lengths, 2048, window=4096)
        seconds.append(perf_counter() - start)
    rate, full = length / statistics.median(seconds), lengths.sum() / (2048 * len(table))
    title = f"{length:,} lengths (lognormal, median 800) packed into rows of 2,048, windows of 4,096"
    figures: dict[str, float | str] = {"lengths/s": rate, "filled": f"{full:.2%}"}
    aims = RATE / rate, (1 - full) / (1 - FULL)
    show(
        Comparison(
            title, (Measurement("headrace", figures=figures, aims=aims, aim=f"{RATE:,.0f}/s, {FULL:.0%} filled"),)
        )
    )


def print_mixture(length: int, rounds: int) -> None:
    """Print what the first batch of a mixture takes."""
    first_batch(10)
    seconds = []
    for _ in range(rounds):
        start = perf_counter()
        first_batch(length)
        seconds.append(perf_counter() - start)
    tracemalloc.start()
    first_batch(length)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    took = statistics.median(seconds) * 1e3
    title = f"the first 256 samples of a mixture of 10 datasets of {length:,}, shuffled"
    figures: dict[str, float | str] = {"ms": took, "MB at the peak": most / 1e6}
    aims = took / FIRST, most / MEMORY
    show(
        Comparison(
            title, (Measurement("headrace", figures=figures, aims=aims, aim=f"{FIRST} ms, {MEMORY / 1e6:g} MB"),)
        )
    )


def main() -> None:
    """Run all of it."""
    smoke = begin("padding, packing and mixing of sequences")
    print_padding(*((2, 2) if smoke else (100, 15)))
    print_documents(*((64, 2) if smoke else (16_000, 9)))
    print_packing(*((10_000, 2) if smoke else (10**6, 15)))
    print_mixture(10**9, 2 if smoke else 25)


if __name__ == "__main__":
    main()
