"""A profile as a page of HTML, which needs nothing beside itself: no script, no network."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from headrace.insight.columns import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from headrace.insight.profile import Profile

__all__ = ["html_report"]

_WIDTH, _LEFT = 720, 130  # of a drawing, and of the names in it, in units that scale with the window
_ROW, _PANEL = 22, 110  # the heights of a row of bars, and of a curve
_SHOWN = 60  # steps of the timeline
_COLORS = ("#3f7fbf", "#d98032", "#4f9f5f", "#a35fb5", "#bf4f5f", "#8f8f3f", "#4f9f9f")
_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #ffffff; --line: #d0d0d0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e4; --paper: #16181c; --line: #3c4048; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; padding: 1rem;
       max-width: 60rem; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; fill: var(--ink); font-size: 12px; }
@media (max-width: 40rem) { svg { font-size: 20px; } }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: right; }
td { white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
tr + tr { border-top: 1px solid var(--line); }
.wide { overflow-x: auto; } pre { white-space: pre-wrap; }
"""


def html_report(
    profile: Profile, title: str, verdict: str = "", by_batch_size: Mapping[int, Profile] | None = None
) -> str:
    """Return the page of a profile: its verdict, the stages, the timeline of steps and workers, memory over time.

    Args:
        profile: what was measured.
        title: the heading, such as the loader's name.
        verdict: what follows from it, in words.
        by_batch_size: profiles of the loader alone at some batch sizes, the smallest first, to be drawn beside each
            other.

    >>> from headrace import DataLoader
    >>> from headrace.insight.profile import profile_loader
    >>> profile = profile_loader(DataLoader(range(10), batch_size=5), sum, epochs=1)
    >>> html_report(profile, "ten numbers").startswith("<!doctype html>")
    True
    """
    stats = profile.stats
    summary = [
        ("batches", f"{stats.batches:,}"),
        ("samples a second", f"{stats.samples_per_second:,.0f}"),
        ("waiting for batches", f"{stats.wait_share:.1%}"),
        ("of it for the first batch", f"{stats.start_share:.1%}"),
        ("workers", stats.settings.workers_text()),
        ("memory at most", f"{profile.peak_memory / 1e6:,.0f} MB"),
    ]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(verdict)}</p>" if verdict else "",
        _table(("run", ""), summary),
        "<h2>Stages of loading</h2>",
        _stages(profile),
        "<h2>Steps and workers</h2>",
        _timeline(profile),
        "<h2>Memory</h2>",
        _memory(profile.memory),
    ]
    if by_batch_size:
        parts += ["<h2>Batch size</h2>", _batch_sizes(by_batch_size)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _drawing(height: float, title: str, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img"><title>{escape(title)}</title>' + "".join(parts) + "</svg>"
    )


def _bar(x: float, y: float, width: float, height: float, color: str, tip: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:g}" fill="{color}">'
        f"<title>{escape(tip)}</title></rect>"
    )


def _name(y: float, text: str) -> str:
    return f'<text x="{_LEFT - 8}" y="{y:g}" text-anchor="end">{escape(text)}</text>'


def _stages(profile: Profile) -> str:
    """Draw the time of each stage as a bar, over a table of the same."""
    stages = profile.stats.stages
    total = sum(stage.seconds for stage in stages.values()) or 1
    parts, rows = [], []
    for number, name in enumerate(name for name in STAGES if name in stages):
        stage = stages[name]
        share = stage.seconds / total
        y = number * _ROW
        parts.append(_name(y + 15, name.replace("_", " ")))
        parts.append(_bar(_LEFT, y + 4, share * (_WIDTH - _LEFT), 14, _COLORS[number], f"{share:.1%}"))
        each = stage.seconds / max(stage.batches, 1) * 1e3
        moved = f"{stage.bytes / 1e6:,.1f} MB" if stage.bytes else ""
        rows.append((name.replace("_", " "), f"{share:.1%}", f"{stage.seconds:.3f} s", f"{each:.3f} ms", moved))
    drawing = _drawing(len(rows) * _ROW + 4, "time of the stages of loading", parts)
    return drawing + _table(("stage", "share", "time", "a batch", "moved"), rows)


def _timeline(profile: Profile) -> str:
    """Draw the last steps as the loop saw them, and below them what each worker did meanwhile."""
    steps = profile.stats.timeline.steps[-_SHOWN:]
    tasks = profile.stats.timeline.tasks
    if not len(steps):
        return "<p>No steps were taken.</p>"
    begin, end = float(steps["asked"][0]), float(steps["handed_out"][-1])
    tasks = tasks[(tasks["ended"] > begin) & (tasks["begun"] < end) & (tasks["worker"] >= 0)]
    scale = (_WIDTH - _LEFT) / max(end - begin, 1e-9)
    workers = np.unique(tasks["worker"]).tolist()
    rows = ["loop waits", *(f"worker {number}" for number in workers)]
    parts = [_name(number * _ROW + 15, name) for number, name in enumerate(rows)]
    for step in steps:
        asked, got = float(step["asked"]), float(step["handed_out"])
        tip = f"epoch {step['epoch']}, step {step['step']}: waited {1e3 * (got - asked):.2f} ms"
        parts.append(_bar(_LEFT + (asked - begin) * scale, 4, (got - asked) * scale, 14, _COLORS[1], tip))
    for task in tasks:
        begun, ended = max(float(task["begun"]), begin), min(float(task["ended"]), end)
        row = 1 + workers.index(int(task["worker"]))
        color = _COLORS[int(task["step"]) % 2 * 2]
        tip = f"epoch {task['epoch']}, step {task['step']}: {1e3 * (task['ended'] - task['begun']):.2f} ms"
        parts.append(_bar(_LEFT + (begun - begin) * scale, row * _ROW + 4, (ended - begun) * scale, 14, color, tip))
    height = len(rows) * _ROW + 20
    parts.append(f'<text x="{_WIDTH}" y="{height - 4:g}" text-anchor="end">{1e3 * (end - begin):,.1f} ms</text>')
    words = f"<p>The last {len(steps)} steps. Where a worker's bar has another colour, another batch begins.</p>"
    return words + _drawing(height, "when the loop waited and the workers loaded", parts)


def _memory(memory: Sequence[tuple[float, int]]) -> str:
    """Draw memory over time."""
    if len(memory) < 2:
        return "<p>The system does not say.</p>"
    most, end = max(size for _, size in memory), memory[-1][0] or 1
    points = " ".join(
        f"{_LEFT + when / end * (_WIDTH - _LEFT):.1f},{120 - size / most * 100:.1f}" for when, size in memory
    )
    parts = [
        _name(28, f"{most / 1e6:,.0f} MB"),
        _name(124, "0"),
        f'<polyline points="{points}" fill="none" stroke="{_COLORS[0]}" stroke-width="2"/>',
        f'<text x="{_WIDTH}" y="138" text-anchor="end">{end:,.1f} s</text>',
    ]
    return _drawing(140, "memory over time", parts)


def _batch_sizes(profiles: Mapping[int, Profile]) -> str:
    """Draw the throughput of each batch size over the memory, and a table of both."""
    rates = [(size, profile.steady_rate) for size, profile in profiles.items()]
    peaks = [(size, profile.peak_memory / 1e6) for size, profile in profiles.items()]
    parts = [*_curve(0, "samples / s", rates, _COLORS[0]), *_curve(_PANEL, "memory, MB", peaks, _COLORS[1])]
    parts += [
        f'<text x="{x:.1f}" y="{2 * _PANEL + 14}" text-anchor="middle">{size:,}</text>'
        for x, (size, _) in zip(_places(len(rates)), rates, strict=True)
    ]
    parts.append(_name(2 * _PANEL + 14, "batch size"))
    rows = [
        (f"{size:,}", f"{rate:,.0f}", f"{profile.peak_memory / 1e6:,.0f} MB", f"{_batch_bytes(profile) / 1e6:,.2f} MB")
        for (size, profile), (_, rate) in zip(profiles.items(), rates, strict=True)
    ]
    drawing = _drawing(2 * _PANEL + 20, "throughput and memory against batch size", parts)
    words = "<p>The loader alone, without a consumer; memory is that of the program and its workers.</p>"
    return words + drawing + _table(("batch size", "samples a second", "memory at most", "a batch"), rows)


def _curve(top: float, name: str, points: Sequence[tuple[int, float]], color: str) -> list[str]:
    """Draw values from 0 up, each with its number."""
    most, bottom = max(value for _, value in points) or 1, top + _PANEL - 8
    places = [
        (x, bottom - value / most * (_PANEL - 32)) for x, (_, value) in zip(_places(len(points)), points, strict=True)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [
        _name(top + _PANEL / 2, name),
        f'<line x1="{_LEFT}" y1="{bottom}" x2="{_WIDTH}" y2="{bottom}" stroke="var(--line)"/>',
        f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>',
    ]
    for (x, y), (size, value) in zip(places, points, strict=True):
        tip = f"batch size {size:,}: {value:,.0f} {name}"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"><title>{escape(tip)}</title></circle>')
        parts.append(f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{value:,.0f}</text>')
    return parts


def _places(count: int) -> list[float]:
    """Return where batch sizes stand: beside each other, as each is a multiple of the one before."""
    return [_LEFT + (number + 0.5) * (_WIDTH - _LEFT) / count for number in range(count)]


def _batch_bytes(profile: Profile) -> float:
    return profile.stats.bytes / max(profile.stats.batches, 1)
