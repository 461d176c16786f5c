"""Compare headrace.torch with torch's own loader: a training loop's one import changed.

    python -m benchmarks.torch_face

Both sides take turns in one process, and the least time of several rounds counts, of the process for what is loaded in
it, else of the clock. The last column is headrace's time against what it is to be at most: up to 1 is well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from benchmarks.common import Comparison, Measurement, begin, rival, show

if TYPE_CHECKING:
    from collections.abc import Callable

torch = rival("torch")
_ROUNDS = 5


class Nothing:
    """Samples that cost nothing."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return 0


class Tensors(Nothing):
    """Samples that are made one by one."""

    def __getitem__(self, index: int) -> Any:
        return torch.full((3, 64, 64), float(index)), index


def compare(clock: Callable[[], float], dataset: Any, rounds: int = _ROUNDS, **arguments: Any) -> tuple[float, float]:
    """Return the least seconds that an epoch takes with torch's loader, and with ours."""
    modules = rival("torch.utils.data"), rival("headrace.torch")
    loaders, best = [module.DataLoader(dataset, **arguments) for module in modules], [float("inf")] * 2
    for _ in range(rounds):
        for side, loader in enumerate(loaders):
            start = clock()
            for _batch in loader:
                pass
            best[side] = min(best[side], clock() - start)
    return best[0], best[1]


def result(name: str, theirs: float, ours: float, aim: float, unit: str = "ms") -> Measurement:
    """A line of the table: both sides, how many times as much torch takes, and what that is to be."""
    scale = 1e3 if unit == "ms" else 1e-6
    figures: dict[str, float | str] = {
        "torch": f"{theirs * scale:,.1f} {unit}",
        "headrace": f"{ours * scale:,.1f} {unit}",
        "torch / headrace": theirs / ours,
    }
    return Measurement(
        f"headrace, {name}", figures=figures, aims=(aim * ours / theirs,), aim=f"{aim} times torch's speed"
    )


_FIRST_BATCH = """
import json, resource, sys, time
import torch, torch.utils.data
module, arguments, length = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
loaders = __import__(module, fromlist=["DataLoader"])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
next(iter(loaders.DataLoader(range(length), batch_size=64, shuffle=True, **arguments)))
took = time.perf_counter() - start
print(json.dumps([took, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024]))
"""


def first_batch(module: str, length: int, **arguments: Any) -> tuple[float, float]:
    """Return the seconds until the first batch of a shuffled epoch, and the bytes it took, in a process of its own."""
    command = [sys.executable, "-c", _FIRST_BATCH, module, json.dumps(arguments), str(length)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])  # noqa: S603
    seconds, memory = json.loads(done.stdout)
    return seconds, memory


def main() -> None:
    smoke = begin(__doc__ or "")
    if torch is None:
        print("headrace.torch is compared with torch, which is not installed")
        return
    torch.set_num_threads(1)
    rows, samples, large = (2_000, 200, 10_000) if smoke else (20_000, 3_000, 100_000_000)
    table = torch.utils.data.TensorDataset(torch.randn(rows, 64), torch.arange(rows))
    results = []
    for size in (32, 256):
        took = compare(process_time, table, batch_size=size, shuffle=True)
        results.append(result(f"TensorDataset, batches of {size}, shuffled", *took, 20))
    for size in (1, 64):
        took = compare(process_time, Nothing(rows), batch_size=size)
        results.append(result(f"samples that cost nothing, batches of {size}", *took, 1))
    for kept in (True, False):
        took = compare(perf_counter, Tensors(samples), 3, batch_size=64, num_workers=2, persistent_workers=kept)
        results.append(result(f"a tensor a sample, 2 workers{', kept' * kept}", *took, 2))
    show(Comparison("an epoch of torch's loader, and of headrace.torch", tuple(results)))
    show(Comparison(f"the first batch of {large:,} samples, shuffled", tuple(first_batches(large))))


def first_batches(large: int) -> list[Measurement]:
    """The lines of what comes before the first batch."""
    theirs, exact = first_batch("torch.utils.data", large), first_batch("headrace.torch", large)
    own = first_batch("headrace.torch", large, seed=0)
    return [
        result("torch's order, time", theirs[0], exact[0], 1),
        result("torch's order, memory", max(1.0, theirs[1]), max(1.0, exact[1]), 5, "MB"),
        result("its own order (seed=0), against 50 ms", 0.05, own[0], 1),
    ]


if __name__ == "__main__":
    main()
