"""Rows of arrays in memory, shuffled, in batches: what a tabular model or a small image set needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import DataLoader, TensorDataset
from headrace.bench.race import Contender, rival, touch_all
from headrace.bench.results import rate
from headrace.bench.work import Race, missing, of_rivals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["works"]

_OURS, _WITH_TORCH, _FLOOR = "headrace, ndarrays", "headrace, tensors", "bare loop, np.take(out=)"
# Rows of what would take too long.
_FEW, _MANY = 20_000, 200_000


@dataclass(frozen=True)
class _Case:
    """The shape of the rows, the size of a batch, and the part of the speed of the bare loop that is to be reached."""

    rows: int
    shape: tuple[int, ...]
    dtype: str
    batch: int
    aim: float = 1.0

    @property
    def title(self) -> str:
        of = "x".join(map(str, self.shape))
        kind = {"f4": "float32", "u1": "uint8"}[self.dtype]
        return f"{self.rows:,} x {of} {kind} and a label, batch {self.batch}"


_CASES = (
    _Case(1_000_000, (64,), "f4", 128, 0.9),
    _Case(1_000_000, (64,), "f4", 256, 0.9),
    _Case(1_000_000, (64,), "f4", 1024),
    _Case(1_000_000, (64,), "f4", 4096),
    _Case(50_000, (3, 32, 32), "u1", 128),
    _Case(1024, (3, 224, 224), "f4", 64),
    _Case(100_000, (8,), "f4", 2),
)


def works(folder: Path, wanted: Collection[str], *, smoke: bool = False) -> Iterator[Race]:  # noqa: ARG001
    """Yield a table for each shape of rows and size of batches.

    Args:
        folder: stays empty.
        wanted: the names of the rivals that take part.
        smoke: with tiny sizes, to see that it runs.
    """
    rng = np.random.default_rng(0)
    for case in _CASES:
        rows = max(case.rows // 500, 16) if smoke else case.rows
        case = _Case(rows, case.shape, case.dtype, case.batch, case.aim)
        x = rng.integers(0, 256, (rows, *case.shape), np.uint8).astype(case.dtype)
        y = rng.integers(0, 10, rows)
        figures = {"krows/s": rate(rows / 1e3), "MB/s": rate((x.nbytes + y.nbytes) / 1e6)}
        makers = {"headrace": _ours, "numpy": _loops, "torch": _with_torch, "hf": _hugging_face, "grain": _grain}
        yield Race(case.title, of_rivals(makers, wanted, x, y, case), figures, 1 if smoke else 7)


def _ours(x: NDArray[Any], y: NDArray[Any], case: _Case) -> Iterator[Contender]:
    """With ndarrays; tensors come with torch."""
    loader: DataLoader[Any] = DataLoader(TensorDataset(x, y), case.batch, shuffle=True)
    yield Contender.over(_OURS, lambda: loader, most=1 / case.aim, against=_FLOOR)


def _loops(x: NDArray[Any], y: NDArray[Any], case: _Case) -> Iterator[Contender]:
    """The floor: a permutation and one indexing for each array and batch."""
    size, rng = case.batch, np.random.default_rng(0)
    out = np.empty((size, *x.shape[1:]), x.dtype), np.empty(size, y.dtype)

    def fancy() -> Iterator[Any]:
        order = rng.permutation(len(x))
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            yield x[rows], y[rows]

    def take() -> Iterator[Any]:
        order = rng.permutation(len(x))
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            # It is gone with the next one, which no loader may do.
            yield [np.take(array, rows, 0, out=to[: len(rows)]) for array, to in zip((x, y), out, strict=True)]

    yield Contender.over("bare NumPy loop", fancy, against=_OURS)
    yield Contender.over(_FLOOR, take, against=_OURS, limit=True)


def _with_torch(x: NDArray[Any], y: NDArray[Any], case: _Case) -> Iterable[Contender]:
    """Headrace with tensors, torch's loader as its tutorials have it, and as experts make it read whole batches."""
    torch: Any = rival("torch")
    names = _WITH_TORCH, "bare torch loop", "torch DataLoader", "torch DataLoader, whole batches"
    if not torch:
        return missing(*names)
    data, size = torch.utils.data, case.batch
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    rows = data.TensorDataset(a, b)
    few = min(len(x), _MANY)
    some = data.DataLoader(data.TensorDataset(a[:few], b[:few]), size, shuffle=True)
    batches = data.BatchSampler(data.RandomSampler(rows), size, drop_last=False)

    def loop() -> Iterator[Any]:
        order = torch.randperm(len(x))
        for start in range(0, len(x), size):
            chosen = order[start : start + size]
            yield a[chosen], b[chosen]

    ours: DataLoader[Any] = DataLoader(TensorDataset(a, b), size, shuffle=True)
    whole = data.DataLoader(rows, sampler=batches, batch_size=None)  # each "sample" is a batch of indices
    part = f"torch DataLoader, {few:,} rows" if few < len(x) else "torch DataLoader"
    return [
        Contender.over(_WITH_TORCH, lambda: ours),
        Contender.over("bare torch loop", loop, against=_WITH_TORCH),
        Contender(part, lambda: touch_all(some), share=few / len(x), against=_WITH_TORCH),
        Contender.over("torch DataLoader, whole batches", lambda: whole, against=_WITH_TORCH),
    ]


def _hugging_face(x: NDArray[Any], y: NDArray[Any], case: _Case) -> Iterable[Contender]:
    """A dataset of Arrow columns in NumPy's format, in batches as its documentation iterates over them."""
    if (case.batch, x.ndim) != (256, 2):
        return []
    count = min(len(x), _FEW)
    name = f"datasets, iter(batch_size), {count:,} rows"
    library: Any = rival("datasets")
    if not library:
        return missing(name)
    table = library.Dataset.from_dict({"x": x[:count], "y": y[:count]}).with_format("numpy")
    seeds = iter(range(1_000_000))

    def epoch() -> Iterator[Any]:
        for batch in table.shuffle(seed=next(seeds)).iter(case.batch):
            yield batch["x"], batch["y"]

    return [Contender(name, lambda: touch_all(epoch()), share=count / len(x), against=_OURS)]


def _grain(x: NDArray[Any], y: NDArray[Any], case: _Case) -> Iterable[Contender]:
    """Rows as a source has them, shuffled and put into batches one by one."""
    if (case.batch, x.ndim) != (256, 2):
        return []
    count = min(len(x), _FEW)
    name = f"Grain, {count:,} rows"
    library: Any = rival("grain")
    if not library:
        return missing(name)
    rows = list(zip(x[:count], y[:count], strict=True))
    dataset = library.MapDataset.source(rows).seed(0).shuffle().batch(case.batch)
    return [Contender(name, lambda: touch_all(dataset.to_iter_dataset()), share=count / len(x), against=_OURS)]
