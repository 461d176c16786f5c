"""Metrics in the text format of Prometheus, version 0.0.4."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Metric", "as_exposition"]


class Metric(NamedTuple):
    """A metric.

    Attributes:
        name: as Prometheus has names; that of a counter ends in "_total".
        help: what it counts, in one line.
        kind: "counter" or "gauge".
        values: the labels of each value, by name, and the value.
    """

    name: str
    help: str
    kind: str
    values: list[tuple[dict[str, str], float]]


def as_exposition(metrics: Iterable[Metric]) -> str:
    """Return metrics as Prometheus scrapes them; one without values is left out.

    >>> print(as_exposition([Metric("batches_total", "Batches.", "counter", [({"worker": "0"}, 2)])]), end="")
    # HELP batches_total Batches.
    # TYPE batches_total counter
    batches_total{worker="0"} 2
    """
    lines = []
    for metric in metrics:
        if metric.values:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
            lines += [f"{metric.name}{_labels(labels)} {value!r}" for labels, value in metric.values]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: dict[str, str]) -> str:
    inner = ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
