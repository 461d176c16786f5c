"""Torch's tensors and torch's own datasets, as ported scripts have them.

    python -m benchmarks.tensors [--smoke]

Every contender goes through a full epoch in this process. Samples are float32 tensors that lie in a list, alone, in a
tuple or in a dict with a label; then the plainest of ports, in which nothing but the loader is replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.common import Contender, begin, per, print_table, race, rate, rival

from headrace import DataLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

COLLATED, TABLE = 64, 256  # samples a batch
torch: Any = rival("torch")
data: Any = rival("torch.utils.data")

SHAPES: dict[str, tuple[float, Callable[[Any, int], Any]]] = {
    "alone": (1.0, lambda tensor, _: tensor),
    "in a tuple": (0.8, lambda tensor, number: (tensor, torch.tensor(number))),
    "in a dict": (0.8, lambda tensor, number: {"x": tensor, "y": torch.tensor(number)}),
}


def collated(size: int, count: int, place: Callable[[Any, int], Any], aim: float) -> list[Contender]:
    """Samples that lie in a list, so that little but collation is measured."""
    samples = [place(torch.zeros(size), number) for number in range(count)]
    return _pair(samples, COLLATED, aim)


def ports(count: int) -> dict[str, Any]:
    """Torch's own datasets over a table of 32 features and a label."""
    table = data.TensorDataset(torch.randn(count, 32), torch.randint(0, 2, (count,)))
    half = count // 2
    return {
        "TensorDataset": table,
        "random_split": data.random_split(table, [half, count - half])[0],
        "ConcatDataset": data.ConcatDataset([table, table]),
    }


def _pair(dataset: Sequence[Any], batch_size: int, aim: float, **options: Any) -> list[Contender]:
    return [
        Contender("headrace", _epochs(DataLoader(dataset, batch_size, **options))),
        Contender("torch DataLoader", _epochs(data.DataLoader(dataset, batch_size, **options)), aim=aim),
    ]


def _epochs(loader: Iterable[Any]) -> Callable[[], None]:
    def run() -> None:
        for _ in loader:
            pass

    return run


def main() -> None:
    """Run all of it."""
    smoke = begin("torch's tensors and datasets")
    rounds = 1 if smoke else 7
    if not torch:
        print("headrace reads torch's tensors here, and torch is not installed")
        return
    torch.set_num_threads(1)
    for size in (1, 32, 1024, 12_288):
        count = 128 if smoke else 4096 if size > 1024 else 16_384
        for where, (aim, place) in SHAPES.items():
            entries = collated(size, count, place, aim)
            figures = {"us/sample": per(count, 1e-6)}
            print_table(f"{count:,} tensors of {4 * size:,} bytes {where}", entries, race(entries, rounds), figures)
    for name, dataset in ports(1000 if smoke else 100_000).items():
        for how, options in (("", {}), (", collate_fn=torch's default_collate", {"collate_fn": data.default_collate})):
            entries = _pair(dataset, TABLE, 1 / 9, shuffle=True, **options)
            title = f"{name} of {len(dataset):,} rows, shuffled, batch {TABLE}{how}"
            print_table(title, entries, race(entries, rounds), {"samples/s": rate(len(dataset))})


if __name__ == "__main__":
    main()
