"""`headrace memory`: the memory that a loader takes, predicted and measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from headrace.cli.output import printing_results
from headrace.cli.target import find_target, loader_of
from headrace.errors import ArgumentError
from headrace.insight.memory import measure_memory
from headrace.insight.units import size_text
from headrace.io.progress import Progress

if TYPE_CHECKING:
    from headrace import DataLoader
    from headrace.insight.memory import MemoryUse

__all__ = ["check_sizes_can_change", "parse_sizes", "run"]

_SIZES = (32, 64, 128, 256)


def run(
    target: str, *, batch_sizes: str | None = None, workers: int | None = None, batches: int = 8, as_json: bool = False
) -> None:
    """Print a line for each batch size, and what shuffling and collating cost.

    Args:
        target: as for `headrace show`.
        batch_sizes: numbers with commas between them.
        workers: in place of the loader's own.
        batches: how many are loaded of each size.
        as_json: print one JSON object, for programs.

    Raises:
        ArgumentError: a size is none, or the target is no loader or dataset.
    """
    sizes = list(_SIZES) if batch_sizes is None else parse_sizes(batch_sizes)
    if batches < 1:
        raise ArgumentError(f"--batches must be a positive integer, but got {batches}")
    with printing_results(as_json=as_json) as show_result:
        loader = loader_of(find_target(target), None, None, sizes[0])
        check_sizes_can_change(loader, "--batch-sizes")
        options = {} if workers is None else {"num_workers": workers}
        with Progress(lambda: f"{len(found)} of {len(sizes)} batch sizes measured") as show:
            found: list[MemoryUse] = []
            for size in sizes:
                show()
                found += measure_memory(
                    lambda each: loader.with_arguments(batch_size=each, **options), [size], batches=batches
                )
        show_result(json.dumps([asdict(each) for each in found], indent=2) if as_json else _as_text(found, loader))


def check_sizes_can_change(loader: DataLoader[Any], option: str) -> None:
    """Refuse a loader whose batches are not of a number of samples.

    Raises:
        ArgumentError: it is one.
    """
    if loader.batch_sampler is not None or loader.batch_by != "samples":
        decides = "a batch_sampler" if loader.batch_sampler is not None else f"batch_by={loader.batch_by!r}"
        raise ArgumentError(f"{option} cannot be tried with {decides}, which decides them")


def parse_sizes(text: str) -> list[int]:
    """Return the batch sizes that are given with commas between them.

    Raises:
        ArgumentError: one is no positive integer.

    >>> parse_sizes("32,64")
    [32, 64]
    """
    return [_size(size) for size in text.split(",")]


def _size(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ArgumentError(f"--batch-sizes are positive integers with commas between them, got {text!r}")
    return int(text)


def _as_text(found: list[MemoryUse], loader: DataLoader[Any]) -> str:
    rows = [["batch size", "a sample", "a batch", "held, predicted", "grown, measured", "each worker"]]
    for each in found:
        sizes = (each.sample, each.batch, each.predicted, each.measured)
        rows.append(
            [f"{each.batch_size:,}", *map(size_text, sizes), size_text(each.each_worker) if each.each_worker else "-"]
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    last = found[-1]
    return "\n".join(
        [
            *lines,
            f"collating copies each batch once: {size_text(last.batch)} at batch size {last.batch_size}",
            f"shuffling takes no memory; a stored permutation of {len(loader.dataset):,} samples would take "
            + size_text(last.stored_shuffle),
        ]
    )
