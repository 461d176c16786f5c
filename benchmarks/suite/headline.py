"""The few figures that the README shows, picked from the results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.suite.results import tables

from headrace.bench.results import Comparison, Measurement, show_number

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["headline", "headline_table"]


@dataclass(frozen=True)
class Pick:
    """A row of the headline.

    Args:
        work: what the row calls it.
        benchmark: where the figures are from.
        title: a part of the title of the table.
        ours: the contender of headrace.
        others: how the names of the rivals begin.
        limit: how the name of the limit begins.
        figure: the column that is shown.
    """

    work: str
    benchmark: str
    title: str
    ours: str
    others: tuple[str, ...]
    limit: str
    figure: str


_PICKS = (
    Pick(
        "rows of 64 floats in memory, shuffled, batch 256",
        "table",
        "batch 256",
        "headrace, ndarrays",
        ("torch DataLoader, 2", "torch DataLoader, whole batches", "bare NumPy loop"),
        "bare loop, np.take",
        "krows/s",
    ),
    Pick(
        "CIFAR images: crop, flip, normalise",
        "images",
        "crop, flip, normalise",
        "headrace, 2 threads",
        ("torch DataLoader, 2", "DALI", "NumPy on whole batches", "torch on whole batches"),
        "",
        "images/s",
    ),
    Pick(
        "JPEG files of 500x375: random resized crop, flip, normalise",
        "jpeg",
        "near 500x375",
        "headrace, 2 threads",
        ("torch DataLoader and Pillow", "DALI", "tf.data", "mlx-data"),
        "simplejpeg",
        "images/s",
    ),
    Pick(
        "batches of 38 MB from worker processes",
        "workers",
        "x 3x224x224",
        "headrace, 2 processes",
        ("torch, 2 processes, file_descriptor", "Grain", "SPDL"),
        "bare ring",
        "MB/s",
    ),
    Pick(
        "records of 1 KB in a TFRecord file, any order",
        "storage",
        "in random order",
        "headrace, TFRecord",
        ("tf.data", "webdataset"),
        "bare mmap",
        "krecords/s",
    ),
    Pick(
        "windows of 1,024 tokens, batch 32",
        "tokens",
        "windows of 1,024 tokens",
        "headrace",
        ("nanoGPT",),
        "slices",
        "Mtokens/s",
    ),
)


def headline(found: dict[str, Any]) -> Iterator[tuple[Pick, Comparison]]:
    """Yield each row with the contenders that it shows; what was not measured is left out."""
    for pick in _PICKS:
        for name, table in tables(found):
            chosen = _choose(pick, table) if name == pick.benchmark and pick.title in table.title else []
            if len(chosen) > 1:
                yield pick, replace(table, title=pick.work, results=tuple(chosen))
                break


def _choose(pick: Pick, table: Comparison) -> list[Measurement]:
    starts = (*pick.others, *([pick.limit] if pick.limit else []))
    wanted = [result for result in table.results if result.name == pick.ours and result.seconds]
    for start in starts:
        wanted += [
            result
            for result in table.results
            if result.seconds and result not in wanted and result.name.startswith(start)
        ][:1]
    return wanted if wanted and wanted[0].name == pick.ours else []


def headline_table(found: dict[str, Any]) -> str:
    """Return the headline as a table in Markdown: speeds, and headrace's in times of each."""
    lines = ["| work | headrace | others: headrace is so many times as fast | limit |", "| --- | --- | --- | --- |"]
    for pick, table in headline(found):
        ours, *others = table.results
        limits = [result for result in others if result.kind == "limit"]
        rivals = [result for result in others if result.kind != "limit"]
        cells = [pick.work, f"{_value(ours, pick)} {pick.figure}", *(_times(ours, each) for each in (rivals, limits))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _value(result: Measurement, pick: Pick) -> str:
    value = result.figures[f"{pick.figure} median"]
    return value if isinstance(value, str) else show_number(value)


def _times(ours: Measurement, others: list[Measurement]) -> str:
    return " · ".join(f"{each.name}: {show_number((each.seconds or 0) / (ours.seconds or 1))}" for each in others)
