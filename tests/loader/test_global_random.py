"""Code that draws from global generators finds them alike wherever it runs; the program's go on where they were."""

from __future__ import annotations

import importlib
import importlib.util
import random
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import (
    Compose,
    DataLoader,
    Dataset,
    ImageDataset,
    IterableDataset,
    RandomHorizontalFlip,
    StackDataset,
    TensorDataset,
    default_collate,
    frameworks,
    random_split,
)
from headrace.cache.randomness import runs_foreign_code

if TYPE_CHECKING:
    from collections.abc import Iterator

torch: Any = importlib.import_module("torch") if importlib.util.find_spec("torch") else None
LENGTH = 9


def drawn() -> list[float]:
    """Draw from each of the global generators."""
    found = [random.random(), np.random.random(), np.random.normal()]  # noqa: NPY002, S311
    if torch is not None:
        found.append(torch.rand(1).item())
    return found


class Drawing(Dataset[Any]):
    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int, /) -> Any:
        return index, np.array(drawn())


class DrawingStream(IterableDataset[Any]):
    """Draws where its iterator is made, and with each sample."""

    def __iter__(self) -> Iterator[Any]:
        order = random.sample(range(LENGTH), LENGTH)
        return self.samples(order)

    def samples(self, order: list[int]) -> Iterator[Any]:
        for index in order:
            yield index, np.array(drawn())


def collate(samples: list[Any]) -> Any:
    return default_collate(samples), np.array(drawn())


def noisy(value: Any) -> Any:
    return value + random.random()  # noqa: S311


LOADERS: dict[str, Any] = {
    "dataset": lambda **more: DataLoader(Drawing(), 4, shuffle=True, **more),
    "single samples": lambda **more: DataLoader(Drawing(), None, shuffle=True, **more),
    "collate_fn": lambda **more: DataLoader(range(LENGTH), 4, collate_fn=collate, **more),
    "mapped": lambda **more: DataLoader(TensorDataset(np.arange(LENGTH)).map(noisy, 0), 4, **more),
    "stream": lambda **more: DataLoader(DrawingStream(), 4, **more),
}
PROCESSES = {"num_workers": 1, "backend": "process"}


@pytest.fixture
def odd_globals() -> None:
    """Let NumPy have drawn one of a pair of normal numbers, of which it keeps the other."""
    np.random.seed(4)  # noqa: NPY002
    np.random.normal()  # noqa: NPY002


def epochs(loader: Any, count: int = 2) -> list[Any]:
    return [batch for _ in range(count) for batch in loader]


@pytest.mark.usefixtures("odd_globals")
@pytest.mark.parametrize("name", LOADERS)
def test_a_seed_decides_what_is_drawn_without_workers(name: str) -> None:
    before = frameworks.global_states()
    expected = epochs(LOADERS[name](seed=3))
    assert frameworks.global_states() == before
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    np.testing.assert_equal(epochs(LOADERS[name](seed=3)), expected)
    with pytest.raises(AssertionError):
        np.testing.assert_equal(epochs(LOADERS[name](seed=4)), expected)
    resumed = LOADERS[name](seed=3)
    resumed.set_epoch(1)
    np.testing.assert_equal(epochs(resumed, 1), expected[len(expected) // 2 :])


@pytest.mark.usefixtures("by_value")
@pytest.mark.parametrize("name", LOADERS)
def test_worker_processes_draw_the_same(name: str) -> None:
    np.testing.assert_equal(epochs(LOADERS[name](seed=3, **PROCESSES)), epochs(LOADERS[name](seed=3)))


@pytest.mark.usefixtures("odd_globals")
@pytest.mark.parametrize("name", [name for name in LOADERS if name != "stream"])
def test_a_batch_that_is_asked_for_draws_the_same(name: str) -> None:
    loader = LOADERS[name](seed=3)
    expected = epochs(loader)
    before = frameworks.global_states()
    steps = len(expected) // 2
    np.testing.assert_equal([loader.batch(at % steps, at // steps) for at in range(2 * steps)], expected)
    assert frameworks.global_states() == before


@pytest.mark.parametrize("name", [name for name in LOADERS if name != "stream"])
def test_a_batch_that_is_asked_for_leaves_the_generators_without_a_seed(name: str) -> None:
    loader = LOADERS[name]()
    before = frameworks.global_states()
    first = loader.batch(1)
    np.testing.assert_equal(loader.batch(1), first)
    assert frameworks.global_states() == before


def test_without_a_seed_the_programs_generators_decide() -> None:
    def run() -> list[Any]:
        random.seed(1)
        np.random.seed(2)  # noqa: NPY002
        if torch is not None:
            torch.manual_seed(3)
        return epochs(LOADERS["dataset"]())

    np.testing.assert_equal(run(), run())


def test_an_error_leaves_the_generators() -> None:
    class Failing(Drawing):
        def __getitem__(self, index: int, /) -> Any:
            raise ValueError(drawn())

    before = frameworks.global_states()
    loader = DataLoader(Failing(), 2, seed=0)
    uses: list[Any] = [lambda: next(iter(loader)), lambda: loader.batch(0)]
    for use in uses:
        with pytest.raises(ValueError, match="0"):
            use()
    assert frameworks.global_states() == before


IMAGES = np.zeros((8, 4, 4, 3), np.uint8)
OWN: dict[str, Any] = {
    "arrays": TensorDataset(IMAGES, np.arange(8)),
    "mapped": TensorDataset(IMAGES).map(Compose([RandomHorizontalFlip()]), field=0),
    "parts": random_split(StackDataset(x=IMAGES, y=range(8)), [0.5, 0.5], seed=0)[0] + TensorDataset(IMAGES),
    "cached": TensorDataset(IMAGES).cache(),
    "images": ImageDataset(["a.jpg"], [0]),
    "range": range(8),
    "list": [(1, 2.0), (3, 4.0)],
    "dicts": [{"x": np.zeros(3)}],
    "nothing": None,
    "collate": default_collate,
}
FOREIGN: dict[str, Any] = {
    "dataset": Drawing(),
    "stream": DrawingStream(),
    "within": StackDataset(x=Drawing(), y=range(LENGTH)),
    "subset": Drawing().subset([1, 2]),
    "function": TensorDataset(IMAGES).map(lambda x: x),
    "in a chain": TensorDataset(IMAGES).map(Compose([RandomHorizontalFlip(), lambda x: x]), field=0),
    "partial": partial(collate, []),
    "method": Drawing().__getitem__,
    "decoder": ImageDataset(["a.jpg"], [0], decode=lambda content: content),
    "collate": collate,
}


@pytest.mark.parametrize("name", OWN)
def test_own_code_draws_from_no_global_generator(name: str) -> None:
    assert not runs_foreign_code(OWN[name])


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_code_draws_from_global_generators(name: str) -> None:
    assert runs_foreign_code(FOREIGN[name])
