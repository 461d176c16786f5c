"""How many function calls a batch takes, by the depth of the tree of datasets that it comes from.

    python -m benchmarks.depth [--smoke]

Frames are calls of Python functions of the loader's own package for one batch of 8, without workers: the mean of 32,
since small batches are gathered several at a time. Hops are the longest way down: how many of them are open at once.
Neither depends on how fast the machine is. The last column has the hops of the plain dataset against the aim of 8.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from benchmarks.common import Comparison, Measurement, begin, rival, show
from PIL import Image

import headrace
from headrace import DataLoader, ImageFolder, RandomHorizontalFlip, Resize, TensorDataset, Transform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

BATCH = 8
DEPTHS = (0, 1, 8, 32)
SAMPLES = 4096
COUNTED = 32  # batches
AIM = 8  # hops


class Calls(NamedTuple):
    """Calls of Python functions for a batch, and the most that are open at once."""

    frames: int
    hops: int


class Plus(Transform):
    """A transform of whole batches."""

    def __call__(self, sample: Any) -> Any:
        return sample + 1

    def apply_batch(self, batch: Any) -> Any:
        return batch + 1


def count_calls(batches: Iterator[Any], package: Path) -> Calls:
    """Count the calls of functions of a package for the batches from the third one on."""
    next(batches)
    next(batches)
    root = str(package)
    frames = hops = depth = 0

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal frames, hops, depth
        if not frame.f_code.co_filename.startswith(root):
            return
        if event == "call":
            frames, depth = frames + 1, depth + 1
            hops = max(hops, depth)
        elif event == "return":
            depth -= 1

    sys.setprofile(profile)
    try:
        for _ in range(COUNTED):
            next(batches)
    finally:
        sys.setprofile(None)
    return Calls(round(frames / COUNTED), hops)


def rows() -> TensorDataset:
    """The plainest dataset."""
    return TensorDataset(np.zeros((SAMPLES, 8), np.float32), np.arange(SAMPLES))


def maps(depth: int) -> Any:
    """Transforms of whole batches, one over the other."""
    dataset: Any = rows()
    for _ in range(depth):
        dataset = dataset.map(Plus(), field=0)
    return dataset


def functions(depth: int) -> Any:
    """Functions of single samples, one over the other."""
    dataset: Any = rows()
    for _ in range(depth):
        dataset = dataset.map(abs, field=0)
    return dataset


def subsets(depth: int) -> Any:
    """Selections, one over the other."""
    dataset: Any = rows()
    for _ in range(depth):
        dataset = dataset.subset(np.arange(SAMPLES))
    return dataset


def images(folder: str) -> Callable[[int], Any]:
    """Make flips over a folder of images."""

    def flips(depth: int) -> Any:
        dataset: Any = ImageFolder(folder, transform=Resize((8, 8)))
        for _ in range(depth):
            dataset = dataset.map(RandomHorizontalFlip(), field=0)
        return dataset

    return flips


def write_images(folder: str) -> None:
    """Write as many small images as the batches take."""
    for name in "ab":
        inner = Path(folder, name)
        inner.mkdir()
        for number in range(20 * BATCH):
            Image.new("RGB", (16, 16), (number % 256, 90, 120)).save(inner / f"{number}.jpg")


def of_headrace(dataset: Any) -> Calls:
    """Count headrace's own calls."""
    return count_calls(iter(DataLoader(dataset, BATCH, shuffle=True, seed=0)), Path(headrace.__file__).parent)


def of_grain(depth: int) -> Calls | None:
    """Count Grain's calls for as many maps."""
    grain = rival("grain")
    if grain is None:
        return None
    dataset = grain.MapDataset.source(rows()).shuffle(seed=0)
    for _ in range(depth):
        dataset = dataset.map(lambda sample: (sample[0] + 1, sample[1]))
    spec = find_spec("grain")
    assert spec is not None
    assert spec.origin is not None
    return count_calls(iter(dataset.batch(BATCH)), Path(spec.origin).parent)


def main() -> None:
    """Print all of it."""
    smoke = begin(f"calls for a batch of {BATCH}")
    depths = DEPTHS[:2] if smoke else DEPTHS
    with tempfile.TemporaryDirectory() as folder:
        write_images(folder)
        trees: dict[str, Callable[[int], Any]] = {
            "headrace, transforms of batches": maps,
            "headrace, functions of samples": functions,
            "headrace, subsets": subsets,
            "headrace, flips over images": images(folder),
        }
        results = [
            result(name, "headrace", {depth: of_headrace(make(depth)) for depth in depths})
            for name, make in trees.items()
        ]
        results.append(result("Grain, functions of samples", "rival", {depth: of_grain(depth) for depth in depths}))
    show(Comparison("frames (hops) of a batch, by the depth of the tree", tuple(results)))


def result(name: str, kind: str, found: dict[int, Calls | None]) -> Measurement:
    """A line of the table."""
    figures: dict[str, float | str] = {
        f"{depth} deep": f"{each.frames:,} ({each.hops})" for depth, each in found.items() if each is not None
    }
    if not figures:
        return Measurement(name, kind, note="not installed")
    plain = found[0]
    aims = (plain.hops / AIM,) if kind == "headrace" and plain is not None else ()
    return Measurement(name, kind, figures, aims=aims, aim=f"{AIM} hops")


if __name__ == "__main__":
    main()
