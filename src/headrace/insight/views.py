"""Views of a loader's statistics: tables, and metrics for a monitoring system."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError
from headrace.insight.prometheus import Metric
from headrace.insight.table import TextTable
from headrace.insight.units import size_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["metrics_of", "tables_of"]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PLAIN = (
    ("batches", "counter", "Batches handed out."),
    ("samples", "counter", "Samples in them."),
    ("bytes", "counter", "Bytes of their arrays and strings."),
    ("wait_seconds", "counter", "Time that the consumer waited for batches."),
    ("consumer_seconds", "counter", "Time that the consumer took between batches."),
    ("bad_samples", "counter", "Samples that could not be read."),
)


def tables_of(stats: Mapping[str, Any]) -> list[TextTable]:
    """Return the tables that show statistics, as `LoaderStats.to_dict` gives them."""
    tables = [_overview(stats), _stages(stats), _workers(stats), _sources(stats), _slowest(stats)]
    return [table for table in tables if table.rows]


def _stages(stats: Mapping[str, Any]) -> TextTable:
    stages = stats["stages"]
    loading = sum(each["seconds"] for each in stages.values())
    rows = [
        (name, f"{each['seconds']:.3f} s", f"{each['seconds'] / loading:.1%}", _bytes(each["bytes"]))
        for name, each in stages.items()
    ]
    return TextTable(("stage", "time", "share", "bytes"), rows)


def _workers(stats: Mapping[str, Any]) -> TextTable:
    rows = [(number, f"{each['batches']:,}", f"{each['load']:.0%}") for number, each in stats["workers"].items()]
    return TextTable(("worker", "batches", "busy"), rows)


def _sources(stats: Mapping[str, Any]) -> TextTable:
    rows = [(name, f"{each['samples']:,}", f"{each['epochs']:.2f}") for name, each in stats["sources"].items()]
    return TextTable(("source", "samples", "epochs"), rows)


def _slowest(stats: Mapping[str, Any]) -> TextTable:
    rows = [
        (str(each["sample"]), f"{each['seconds'] * 1e3:.1f} ms", f"{each['epoch']}", f"{each['step']}")
        for each in stats["slowest_samples"]
    ]
    return TextTable(("slowest sample", "time", "epoch", "step"), rows)


def _overview(stats: Mapping[str, Any]) -> TextTable:
    waits, consumers, queue = stats["waits"], stats["consumers"], stats["queue"]
    rows = [
        ("batches", f"{stats['batches']:,}"),
        ("samples", f"{stats['samples']:,}"),
        ("samples a second", f"{stats['samples_per_second']:,.0f}"),
        ("bytes", _bytes(stats["bytes"])),
        ("waiting", f"{stats['wait_share']:.1%}"),
        ("of it for the first batch", f"{stats['start_share']:.1%}"),
        ("wait for a batch", f"{waits['mean'] * 1e3:.2f} ms"),
        ("99 % wait less than", f"{waits['p99'] * 1e3:.2f} ms"),
        ("consumer, a batch", f"{consumers['mean'] * 1e3:.2f} ms"),
        ("ready when asked for", f"{queue['depth']:.1f} batches"),
        ("bad samples", f"{stats['bad_samples']:,}"),
        *((name, f"{count:,}") for name, count in stats["counters"].items()),
    ]
    return TextTable(("loader", ""), rows)


def _bytes(number: int) -> str:
    return size_text(number) if number else ""  # of what is not counted


def metrics_of(stats: Mapping[str, Any], prefix: str) -> list[Metric]:
    """Return the metrics of statistics, as `LoaderStats.to_dict` gives them, with names that begin with a prefix."""
    if not _NAME.fullmatch(prefix):
        raise ArgumentError(
            f"prefix must be letters, digits and _, as names of Prometheus are, and begin with no digit, got {prefix!r}"
        )

    def metric(name: str, text: str, kind: str, values: list[tuple[dict[str, str], float]]) -> Metric:
        return Metric(f"{prefix}_{name}{'_total' if kind == 'counter' else ''}", text, kind, values)

    def each(group: str, label: str, value: str) -> list[tuple[dict[str, str], float]]:
        return [({label: name}, found[value]) for name, found in stats[group].items()]

    counted: list[tuple[dict[str, str], float]] = [({"name": name}, count) for name, count in stats["counters"].items()]
    return [
        *(metric(name, text, kind, [({}, stats[name])]) for name, kind, text in _PLAIN),
        metric("stage_seconds", "Time of each stage, over all workers.", "counter", each("stages", "stage", "seconds")),
        metric("stage_bytes", "Bytes that each stage moved.", "counter", each("stages", "stage", "bytes")),
        metric("worker_batches", "Batches of each worker.", "counter", each("workers", "worker", "batches")),
        metric("worker_seconds", "Time that each worker was busy.", "counter", each("workers", "worker", "seconds")),
        metric("source_samples", "Samples of each source.", "counter", each("sources", "source", "samples")),
        metric("dataset", "What the dataset counts.", "counter", counted),
        metric("queue_depth", "Batches ready when one is asked for.", "gauge", [({}, stats["queue"]["depth"])]),
    ]
