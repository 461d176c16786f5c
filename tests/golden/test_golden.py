"""Batches and states have the bytes that they have always had, however the code is arranged.

`golden.json` beside this file holds their hashes; `python tests/golden/test_golden.py` prints them as they are now.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

import headrace
from headrace import (
    CenterCrop,
    ColorJitter,
    Compose,
    ConcatDataset,
    CutMix,
    DataLoader,
    Dataset,
    Decode,
    Grayscale,
    ImageDataset,
    IterableDataset,
    MixUp,
    Normalize,
    Pad,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    StackDataset,
    TensorDataset,
    ToCHW,
    ToFloat,
    Transform,
    TrivialAugmentWide,
    default_collate,
    random_split,
    sample_rng,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

HERE = Path(__file__).parent
EXPECTED: dict[str, str] = json.loads((HERE / "golden.json").read_text())
SEEDS = (0, 12345)
WORKERS: dict[str, dict[str, Any]] = {
    "inline": {},
    "threads": {"num_workers": 2, "backend": "thread"},
    "processes": {"num_workers": 2, "backend": "process"},
}


# ---------------------------------------------------------------------- hashes


def digest(value: Any) -> str:
    """Return a hash of all that a batch holds: kinds, dtypes, shapes and bytes."""
    found = hashlib.blake2b(digest_size=12)
    _feed(found, value)
    return found.hexdigest()


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        found.update(f"array {array.dtype.str} {np.shape(value)} ".encode())
        found.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _feed(found, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, dict):
        found.update(f"dict {len(value)} ".encode())
        for key, each in value.items():
            found.update(repr(key).encode())
            _feed(found, each)
    elif isinstance(value, list | tuple):
        found.update(f"{type(value).__name__} {len(value)} ".encode())
        for each in value:
            _feed(found, each)
    else:
        found.update(f"{type(value).__name__} {value!r} ".encode())


# ---------------------------------------------------------------------- datasets


def images(count: int, seed: int = 0, shape: tuple[int, ...] = (12, 10, 3)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def numbered(count: int, seed: int = 0) -> TensorDataset:
    return TensorDataset(images(count, seed), np.arange(count))


class Negate(Transform):
    """A transform of whole batches that headrace does not know."""

    def __call__(self, sample: Any) -> Any:
        return -sample

    def apply_batch(self, batch: Any) -> Any:
        return -batch


class Scatter(Dataset[Any]):
    """Samples made one at a time, which draw."""

    def __len__(self) -> int:
        return 41

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        drawn = sample_rng()
        return {"x": np.full(3, index, np.float32) + drawn.random(3, np.float32), "n": index, "name": f"s{index}"}


class Point(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Record:
    image: Any
    label: Any


class Records(Dataset[Any]):
    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int, /) -> Record:
        return Record(images(1, index)[0], index)


class Batched(Dataset[Any]):
    """A dataset of the user's own that reads batches."""

    def __len__(self) -> int:
        return 37

    def __getitem__(self, index: int, /) -> Any:
        return np.int64(index) * 3, {"row": np.full(2, index)}

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        return indices * 3, {"row": np.repeat(indices[:, None], 2, 1)}


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        for number in range(29):
            yield number, sample_rng().random()


def noisy(value: Any) -> Any:
    return value + sample_rng().integers(1000)


def jitter(sample: Any) -> Any:
    return sample[0], sample[1], sample_rng().normal()


def double(value: Any) -> Any:
    return value * 2


VIEWS = Compose([RandomCrop((8, 8), padding=2), RandomHorizontalFlip(), ToFloat(), Normalize(0.5, 0.25), ToCHW()])
_FLIPS = Compose([RandomHorizontalFlip(), RandomVerticalFlip()])


def _encoded(folder: Path, names: tuple[str, ...], count: int) -> ImageDataset:
    return ImageDataset([folder / names[number % len(names)] for number in range(count)], np.arange(count))


def _photos() -> ImageDataset:
    return _encoded(HERE, ("photo.jpg", "gray.jpg", "photo.png"), 14)


def _packed(folder: Path, kind: str) -> Any:
    rows = StackDataset(
        image=images(33, shape=(6, 5, 3)), label=np.arange(33), weight=np.arange(33, dtype=np.float32) / 7
    )
    path = folder / f"rows{'' if kind == 'npy' else '.' + kind}"
    _write(rows, path, kind)
    return headrace.open_dataset(path)


def _write(dataset: Any, path: Path, kind: str) -> None:
    headrace.write_dataset(dataset, path, format=kind)


def _mapped(tree: Any) -> Any:
    return tree.map(RandomCrop((6, 8), padding=1), field=0).map(noisy, field=1).map(RandomVerticalFlip(), field=0)


def _deep() -> Any:
    tree: Any = numbered(40)
    for number in range(9):
        tree = tree.map((RandomHorizontalFlip(), RandomVerticalFlip(), Pad(1))[number % 3], field=0)
        tree = tree.map(Negate(), field=1).subset(np.random.default_rng(number).permutation(len(tree)))
    return tree


def _mixed_tree() -> Any:
    inner = ConcatDataset([numbered(20).map(RandomHorizontalFlip(), field=0), numbered(20, 1).map(Negate(), field=1)])
    outer = ConcatDataset([inner, numbered(20, 2).map(RandomVerticalFlip(), field=0)])
    return outer.subset(range(1, 60)).map(RandomCrop((6, 6), padding=2), field=0).map(Negate(), field=1)


def _photo_tree() -> Any:
    first, second = _photos().subset([3, 1, 5, 0, 8, 2]), _photos().map(noisy, field=1)
    return (
        (first + second).map(RandomResizedCrop(16), field=0).map(RandomHorizontalFlip(), field=0).map(double, field=1)
    )


def _colors() -> Any:
    chain = [
        ColorJitter(0.4, 0.4, 0.4, 0.1),
        RandomGrayscale(0.3),
        RandomApply([Pad(2, fill=7), CenterCrop((12, 10))], p=0.5),
        RandomChoice([RandomHorizontalFlip(1.0), RandomVerticalFlip(1.0)]),
        RandomErasing(0.5),
    ]
    return numbered(24).map(Compose(chain), field=0)


DATASETS: dict[str, Callable[[Path], Any]] = {
    "rows": lambda _: TensorDataset(
        np.arange(205, dtype=np.float32).reshape(41, 5), np.arange(41), np.arange(41) % 3 == 0
    ),
    "views": lambda _: numbered(50).map(VIEWS, field=0),
    "views, labels between": lambda _: numbered(50).map(RandomCrop(8), 0).map(Negate(), 1).map(ToFloat(), 0),
    "noisy labels": lambda _: _mapped(numbered(30)),
    "aliased fields": lambda _: (
        numbered(30).map(RandomCrop(9), 0).map(RandomHorizontalFlip(), -2).map(RandomCrop(7), 0)
    ),
    "whole samples": lambda _: numbered(30).map(jitter).map(RandomHorizontalFlip(), 0).map(noisy, 2),
    "deep": lambda _: _deep(),
    "end to end": lambda _: _mixed_tree(),
    "side by side": lambda _: StackDataset(a=_mapped(numbered(30)), b=numbered(30, 1).map(noisy, 1), c=range(30)).map(
        noisy, "c"
    ),
    "split": lambda _: random_split(numbered(40).map(VIEWS, field=0), [0.7, 0.3], seed=3)[0],
    "own samples": lambda _: Scatter(),
    "own samples, mapped": lambda _: headrace.MapDataset(Scatter(), noisy, "n").map(noisy, "x"),
    "own batches, mapped": lambda _: Batched().map(Negate(), 0).subset(range(3, 30)),
    "own over ours": lambda _: headrace.MapDataset(_Around(_mapped(numbered(30))), noisy, 1),
    "dataclasses": lambda _: Records().map(RandomHorizontalFlip(), "image").map(noisy, "label"),
    "namedtuples": lambda _: numbered(30).map(lambda sample: Point(*sample)).map(RandomCrop(6, padding=1), "x"),
    "list": lambda _: [(np.full(2, number), number, "text", 0.5) for number in range(19)],
    "colors": lambda _: _colors(),
    "wide": lambda _: numbered(20).map(TrivialAugmentWide(), field=0),
    "gray": lambda _: numbered(20).map(Grayscale(), 0).map(RandomVerticalFlip(), 0),
    "resized": lambda _: numbered(24).map(Compose([Resize((9, 17)), RandomResizedCrop((5, 6))]), 0),
    "photos": lambda _: _photos().map(Compose([RandomResizedCrop(24), RandomHorizontalFlip(), ToFloat()]), 0),
    "photos, resized": lambda _: _photos().map(Resize((20, 30)), 0).map(noisy, 1),
    "photos, cropped": lambda _: _photos().map(RandomCrop(16, padding=4), 0).map(RandomHorizontalFlip(), 0),
    "photos end to end": lambda _: _photo_tree(),
    "photos as bytes": lambda _: ImageDataset([HERE / "photo.jpg"] * 9, np.arange(9), decode=None).map(Decode(), 0),
    "cached": lambda _: _photos().map(Resize((20, 20)), 0).cache().map(VIEWS, 0),
    "cached on disk": lambda folder: numbered(30).map(Pad(2), 0).cache(folder / "cache").map(_FLIPS, 0).map(noisy, 1),
    **{
        kind: (lambda folder, kind=kind: _packed(folder, kind).map(RandomHorizontalFlip(), "image"))  # type: ignore[misc]
        for kind in ("npy", "tfrecord", "lmdb", "parquet")
    },
}
IN_PROCESSES = ("views", "noisy labels", "end to end", "own samples, mapped", "photos", "cached", "npy", "list")


class _Collated:
    """A `collate_fn` that mixes whole batches."""

    def __init__(self, mix: Callable[[Any], Any]) -> None:
        self.mix = mix

    def __call__(self, samples: list[Any]) -> Any:
        return self.mix(default_collate(samples))


LOADERS: dict[str, dict[str, Any]] = {
    "shuffled": {"batch_size": 8, "shuffle": True},
    "in order": {"batch_size": 7},
    "blocks": {"batch_size": 6, "shuffle": "block", "block_size": 4, "window": 2},
    "rank 1 of 3": {"batch_size": 3, "shuffle": True, "rank": 1, "world_size": 3, "drop_last": True},
    "single": {"batch_size": None, "shuffle": True},
    "mixed up": {"batch_size": 8, "shuffle": True, "collate_fn": _Collated(MixUp(num_classes=60))},
    "cut and mixed": {"batch_size": 8, "shuffle": True, "collate_fn": _Collated(CutMix(num_classes=60))},
}


class _Around(Dataset[Any]):
    """A dataset of the user's own over one of headrace's, which draws too."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int, /) -> Any:
        image, label = self.inner[index]
        return image, label + sample_rng().integers(10**6)


# ---------------------------------------------------------------------- cases


def _epochs(loader: DataLoader[Any]) -> str:
    """Return a hash of the first two epochs, of a batch on request, and of the states on the way."""
    found: list[Any] = []
    for _ in range(2):
        for batch in loader:
            found += [digest(batch), loader.state_dict()]
    return digest(found)


def _resumed(dataset: Any, step: int, **arguments: Any) -> str:
    """Return a hash of what follows a step of the second epoch, after a state has been loaded there."""
    loader = DataLoader(dataset, **arguments)
    loader.set_epoch(1)
    batches = iter(loader)
    for _ in range(step):
        next(batches)
    state = json.loads(json.dumps(batches.state_dict()))
    resumed = DataLoader(dataset, **arguments)
    resumed.load_state_dict(state)
    return digest([state, [digest(batch) for batch in resumed]])


def cases(folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Give each case's name, and a function that returns its hash.

    Args:
        folder: for files that datasets are made of; empty.
    """
    made: dict[str, Any] = {}

    def dataset(name: str) -> Any:
        if name not in made:
            inner = folder / "".join(filter(str.isalnum, name))
            inner.mkdir()
            made[name] = DATASETS[name](inner)
        return made[name]

    for name in DATASETS:
        for seed in SEEDS:
            for kind, workers in WORKERS.items():
                if kind == "processes" and (name not in IN_PROCESSES or seed):
                    continue
                more = {"batch_size": 8, "shuffle": True, "seed": seed, **workers}
                yield f"{name} | seed {seed} | {kind}", lambda n=name, m=more: _epochs(DataLoader(dataset(n), **m))  # type: ignore[misc]
        yield f"{name} | samples", lambda n=name: _samples(dataset(n))  # type: ignore[misc]
        for step in (0, 1, 2):
            more = {"batch_size": 6, "shuffle": True, "seed": 7}
            yield f"{name} | resumed at {step}", lambda n=name, s=step, m=more: _resumed(dataset(n), s, **m)  # type: ignore[misc]
    for name, arguments in LOADERS.items():
        for data in ("views", "own samples", "list") if name not in ("mixed up", "cut and mixed") else ("views",):
            more = {"seed": 5, **arguments}
            yield f"{name} | {data}", lambda n=data, m=more: _epochs(DataLoader(dataset(n), **m))  # type: ignore[misc]
    yield "stream", lambda: _epochs(DataLoader(Stream(), 4, seed=3))
    yield "stream, threads", lambda: _epochs(DataLoader(Stream(), 4, seed=3, num_workers=2, backend="thread"))
    yield "sampler", lambda: _epochs(DataLoader(numbered(30), 4, sampler=[5, 3, 29, 0, 0, 7], seed=1))
    yield "batch sampler", lambda: _epochs(DataLoader(Scatter(), batch_sampler=[[1, 2], [3], [40, 0, 7]], seed=1))


def _samples(dataset: Any) -> str:
    """Return a hash of some samples that are read outside of any loader."""
    random.seed(4)
    return digest([dataset[index] for index in (0, 3, len(dataset) - 1, -2)])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], str]]:
    """Each case's function by its name."""
    return dict(cases(tmp_path_factory.mktemp("golden")))


@pytest.mark.usefixtures("by_value")
@pytest.mark.parametrize("name", EXPECTED)
def test_golden(name: str, found: dict[str, Callable[[], str]]) -> None:
    assert found[name]() == EXPECTED[name]


def test_every_case_is_kept(found: dict[str, Callable[[], str]]) -> None:
    assert list(found) == list(EXPECTED)
    assert len({name.split(" | ")[0] for name in found}) >= len(DATASETS) + len(LOADERS)


def main() -> None:
    """Print all hashes."""
    with tempfile.TemporaryDirectory() as folder:
        found = {name: run() for name, run in cases(Path(folder))}
    json.dump(found, sys.stdout, indent=0)


if __name__ == "__main__":
    main()
