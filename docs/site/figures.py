"""Draw the figures of the explanation: `python docs/site/figures.py` writes docs/figures/*.svg.

What they show is computed by headrace itself, so a figure cannot say what the code does not do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headrace import DataLoader, TensorDataset
from headrace.sampling.packing import pack_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_FOLDER = Path(__file__).parents[1] / "figures"
_INK = "#808080"  # readable on white and on black
_COLORS = ("#3f7fbf", "#d98032", "#4f9f5f", "#a35fb5", "#bf4f5f", "#8f8f3f")


def svg(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """Return a drawing of so many units with its parts, whose title readers of screens are told."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="sans-serif" font-size="13" fill="{_INK}">\n<title>{title}</title>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    """Return words at a place."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{words}</text>'


def box(x: float, y: float, width: float, height: float, color: str) -> str:
    """Return a filled rectangle."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" fill="{color}"/>'


def frame(x: float, y: float, width: float, height: float) -> str:
    """Return the outline of a rectangle."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="none" stroke="{_INK}"/>'


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """Return a line with a head at its end."""
    head = f"M{to_x:g} {to_y:g} l-8 -4 v8 z"
    return f'<path d="M{x:g} {y:g} L{to_x - 8:g} {to_y:g}" stroke="{_INK}"/><path d="{head}"/>'


def draw_function() -> str:
    """Draw what a batch is computed from."""
    parts = []
    rows = (("seed, epoch, step", "plan", "indices"), ("seed, epoch, indices", "key", "randomness"))
    for number, (given, name, gives) in enumerate(rows):
        y = 20 + 70 * number
        parts += [text(85, y + 25, given), arrow(155, y + 20, 200, y + 20), frame(200, y, 90, 40)]
        parts += [text(245, y + 25, name), arrow(290, y + 20, 335, y + 20), text(380, y + 25, gives)]
        parts += [arrow(425, y + 20, 470, 75 if number == 0 else 85)]
    parts += [frame(470, 50, 170, 60), text(555, 75, "dataset, transforms"), text(555, 95, "in any worker")]
    parts += [arrow(640, 80, 685, 80), box(685, 55, 60, 50, _COLORS[0]), text(715, 125, "batch")]
    return svg(760, 150, "A batch is computed from seed, epoch and step alone", parts)


def draw_orders() -> str:
    """Draw which sample each place of an epoch has, for three kinds of shuffle."""
    count, side = 1500, 220
    dataset = TensorDataset(np.arange(count))
    loaders = {
        "shuffle=False": DataLoader(dataset, batch_size=count, shuffle=False),
        "shuffle=&quot;block&quot;": DataLoader(dataset, count, shuffle="block", block_size=50, window=4, seed=1),
        "shuffle=True": DataLoader(dataset, batch_size=count, shuffle=True, seed=1),
    }
    parts = []
    for panel, (label, loader) in enumerate(loaders.items()):
        left = 30 + panel * (side + 20)
        order = loader.batch(0)[0].tolist()
        dots = "".join(
            f"M{left + place * side / count:.1f} {20 + side - sample * side / count:.1f}h1.2"
            for place, sample in enumerate(order)
        )
        parts.append(f'<path d="{dots}" stroke="{_COLORS[panel]}" stroke-width="1.2"/>')
        parts += [frame(left, 20, side, side), text(left + side / 2, side + 40, label)]
    parts.append(text(15, 130, "sample").replace("<text", '<text transform="rotate(-90 15 130)"'))
    parts.append(text(380, side + 60, "place in the epoch"))
    return svg(760, side + 70, "Sample by place in the epoch, in order, shuffled in blocks, and shuffled", parts)


def draw_workers() -> str:
    """Draw when two workers load and when the loop computes: what `prefetch_factor` bounds."""
    load, work, steps, scale = 3.0, 2.0, 8, 27
    free, ready = [0.0, 0.0], []
    parts = []
    for step in range(steps):
        worker = step % 2
        begun = free[worker]
        free[worker] = begun + load
        ready.append(free[worker])
        left = 90 + begun * scale
        parts += [box(left, 20 + 40 * worker, load * scale - 2, 28, _COLORS[step % 6])]
        parts += [text(left + load * scale / 2, 39 + 40 * worker, str(step)).replace("<text", '<text fill="white"')]
    now = 0.0
    for step in range(steps):
        now = max(now, ready[step])
        left = 90 + now * scale
        parts += [box(left, 100, work * scale - 2, 28, _COLORS[step % 6])]
        parts += [text(left + work * scale / 2, 119, str(step)).replace("<text", '<text fill="white"')]
        now += work
    for number, name in enumerate(("worker 0", "worker 1", "the loop")):
        parts.append(text(80, 39 + 40 * number, name, "end"))
    parts.append(text(640, 150, "time", "end"))
    return svg(660, 160, "Two workers load the steps that the loop computes later", parts)


def draw_packing() -> str:
    """Draw sequences of different lengths in rows: padded one a row, and packed."""
    lengths = np.clip(np.random.default_rng(3).lognormal(4.2, 0.8, 12), 16, 256).astype(np.int64)
    table = pack_rows(lengths, 256)
    parts = [text(168, 15, "one sequence a row, padded"), text(548, 15, "pack_sequences(256)")]
    for number, length in enumerate(lengths.tolist()):
        parts += [frame(40, 25 + 16 * number, 256, 12), box(40, 25 + 16 * number, length, 12, _COLORS[number % 6])]
    for row in range(len(table)):
        left = 420
        parts.append(frame(left, 25 + 16 * row, 256, 12))
        for sequence in table.sequences[table.bounds[row] : table.bounds[row + 1]].tolist():
            parts.append(box(left, 25 + 16 * row, int(lengths[sequence]) - 1, 12, _COLORS[sequence % 6]))
            left += int(lengths[sequence])
    return svg(760, 225, "Sequences padded one a row, and packed into rows of one length", parts)


FIGURES: dict[str, Callable[[], str]] = {
    "function.svg": draw_function,
    "orders.svg": draw_orders,
    "packing.svg": draw_packing,
    "workers.svg": draw_workers,
}


if __name__ == "__main__":
    _FOLDER.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        (_FOLDER / name).write_text(draw(), encoding="utf-8")
