"""`headrace plan`: what a run will read, ask for and find in its caches, without running it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headrace.cli.output import printing_results
from headrace.cli.target import find_target, loader_of
from headrace.errors import ArgumentError
from headrace.insight.plan import make_plan
from headrace.insight.table import TextTable, as_text
from headrace.insight.units import size_text
from headrace.io.progress import Progress

if TYPE_CHECKING:
    from headrace import DataLoader
    from headrace.insight.plan import PlannedEpoch, PlannedRank, RunPlan

__all__ = ["run"]

_FILES = 12  # lines of files, of those with the most bytes
_RANKS = 8
_COUNTERS = {  # of which columns are made, in this order
    "bytes_read": "of samples",
    "remote_requests": "requests",
    "remote_bytes": "fetched",
    "chunk_hits": "chunk hits",
    "chunk_misses": "chunk misses",
    "cache_hits": "cache hits",
    "cache_misses": "cache misses",
    "row_groups_decoded": "row groups decoded",
    "chunks_decoded": "chunks decoded",
}
_BYTES = ("bytes_read", "remote_bytes")


def run(
    target: str,
    *,
    ranks: int | None = None,
    workers: int | None = None,
    shuffle: str | None = None,
    block_size: int | None = None,
    window: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    epochs: int = 1,
    steps: int | None = None,
    as_json: bool = False,
) -> None:
    """Print what each epoch reads from which files, how good the shuffle is, and what it takes in memory.

    Args:
        target: as for `headrace show`.
        ranks: in place of the loader's own number of them; all are planned.
        workers: of each rank, in place of the loader's own.
        shuffle: "yes", "no" or "block", in place of the loader's own.
        block_size: samples a block.
        window: blocks that are shuffled among each other.
        batch_size: of a target that is no loader; 32 where it is not given.
        seed: in place of the loader's own.
        epochs: how many follow each other.
        steps: how many steps of each epoch; None for all.
        as_json: print one JSON object, for programs.

    Raises:
        ArgumentError: an argument is not allowed, or the target is no loader or dataset.
    """
    with printing_results(as_json=as_json) as show_result:
        loader = loader_of(find_target(target), seed, batch_size)
        count = loader.world_size if ranks is None else ranks
        if count < 1:
            raise ArgumentError(f"--ranks must be a positive integer, but got {count}")
        options = _options(workers, shuffle, block_size, window)
        as_it_is = ranks is None and loader.world_size == 1 and (workers, shuffle, block_size, window) == (None,) * 4
        loaders = [loader] if as_it_is else [_of_rank(loader, options, rank, count) for rank in range(count)]
        done = of = 0

        def watch(step: int, steps: int) -> None:
            nonlocal done, of
            done, of = step, steps
            show()

        with Progress(lambda: f"{done:,} of {of:,} steps planned") as show:
            planned = make_plan(loaders, epochs=epochs, steps=steps, watch=watch)
        show_result(json.dumps(planned.to_dict(), indent=2) if as_json else _as_text(planned, loaders[0]))


def _options(workers: int | None, shuffle: str | None, block_size: int | None, window: int | None) -> dict[str, Any]:
    options: dict[str, Any] = {} if workers is None else {"num_workers": workers}
    if shuffle is not None:
        options |= {"shuffle": {"yes": True, "no": False, "block": "block"}[shuffle], "sampler": None}
        if shuffle != "block":
            options |= {"block_size": None, "window": None}
    given = {"block_size": block_size, "window": window}
    return options | {name: value for name, value in given.items() if value is not None}


def _of_rank(loader: DataLoader[Any], options: dict[str, Any], rank: int, count: int) -> DataLoader[Any]:
    return loader.with_arguments(**options, rank=rank, world_size=count)


# ---------------------------------------------------------------------- as text


def _as_text(planned: RunPlan, loader: DataLoader[Any]) -> str:
    parts = [
        _title(planned, loader),
        _ranks(planned.ranks),
        _epochs(planned.epochs),
        *_files(planned),
        *_quality(planned),
        _memory(planned),
        *_timing(planned),
    ]
    return "\n\n".join(part for part in parts if part)


def _title(planned: RunPlan, loader: DataLoader[Any]) -> str:
    ranks = f"{len(planned.ranks)} rank{'s' if len(planned.ranks) > 1 else ''}"
    kind = "without workers" if planned.backend is None else f"with {planned.workers} workers ({planned.backend}) each"
    if loader.sampler is not None or loader.batch_sampler is not None:
        order = "in the order of a sampler"
    else:
        order = f"shuffle={loader.shuffle!r}" if loader.weights is None else "drawn by weights"
    size = "" if planned.batch_size is None else f"batch size {planned.batch_size}, "
    return f"{planned.samples:,} samples for {ranks} {kind}, {size}{order}"


def _ranks(ranks: tuple[PlannedRank, ...]) -> str:
    rows = []
    for each in ranks[:_RANKS]:
        spread = f"{each.smallest:,} to {each.largest:,}" if each.smallest < each.largest else f"{each.largest:,}"
        workers = "any" if each.workers is None else " ".join(f"{samples:,}" for samples in each.workers)
        rows.append((f"rank {each.rank}", f"{each.steps:,}", f"{each.samples:,}", spread, workers))
    table = as_text(TextTable(("", "steps", "samples", "a step", "by process"), rows))
    left = len(ranks) - _RANKS
    return f"{table}\nand {left:,} ranks more" if left > 0 else table


def _epochs(epochs: tuple[PlannedEpoch, ...]) -> str:
    names = [name for name in _COUNTERS if any(name in epoch.counters for epoch in epochs)]
    if not names:
        return "nothing is read from files, as far as the datasets tell"
    rows = []
    for epoch in epochs:
        found = [epoch.counters.get(name, 0) for name in names]
        cells = [size_text(count) if name in _BYTES else f"{count:,}" for name, count in zip(names, found, strict=True)]
        rows.append((f"epoch {epoch.number}", *cells))
    return as_text(TextTable(("read", *(_COUNTERS[name] for name in names)), rows))


def _files(planned: RunPlan) -> list[str]:
    files = sorted(planned.epochs[0].files, key=lambda use: -use.bytes_read)
    if not files:
        return []
    rows = [
        (
            use.path,
            f"{use.ranges:,}",
            size_text(use.bytes_read),
            f"{use.requests:,}" if use.far else "-",
            size_text(use.bytes_moved),
            f"{use.bytes_moved / use.bytes_read:.2f}" if use.bytes_read else "-",
        )
        for use in files[:_FILES]
    ]
    table = as_text(TextTable(("file, in epoch 0", "ranges", "of samples", "requests", "moved", "amplification"), rows))
    left = len(files) - _FILES
    notes = [f"and {left:,} files more"] if left > 0 else []
    if not all(use.far for use in files):
        notes.append("moved, of files of this machine: pages of 4 KiB, where the system has not kept them in memory")
    return ["\n".join([table, *notes])]


def _quality(planned: RunPlan) -> list[str]:
    order, lines = planned.order, []
    if order.distance is None:
        return ["a mixture's order is not held against a shuffle"]
    lines.append(f"samples that follow each other lie {order.distance:.2f} of a true shuffle's distance apart")
    if order.moved is not None:
        lines.append(f"neighbours come {order.moved:.2f} of a true shuffle's distance apart")
    if order.deviation is not None and order.true_deviation is not None:
        ratio = order.deviation / order.true_deviation if order.true_deviation else 1.0
        lines.append(
            f"classes: {order.deviation:.1%} of a batch would have to be of other classes to be as all samples are, "
            f"{ratio:.2f} times what a true shuffle has"
        )
    return ["\n".join(lines)]


def _memory(planned: RunPlan) -> str:
    memory = planned.memory
    early = f"; up to {size_text(memory.early)} are fetched early" if memory.early else ""
    if memory.batch is None or memory.held is None:
        return f"memory of a batch: not known, since reading one would write to the cache_dir{early}"
    return f"memory of a rank: {size_text(memory.batch)} a batch, {size_text(memory.held)} in flight{early}"


def _timing(planned: RunPlan) -> list[str]:
    found: dict[str, int] = {}
    for epoch in planned.epochs:
        for reason, count in epoch.timing.items():
            found[reason] = found.get(reason, 0) + count
    if not found:
        return ["the counts are exact: loader.stats().counters rises by them, if no request has to be made again"]
    return [
        "not exact, as it depends on which process is first:"
        + "".join(f"\n  {count:,} {reason}" for reason, count in found.items())
    ]
