"""The batches are the same with workers, whatever these are and however many."""

from __future__ import annotations

import copy
import gc
import json
import os
import random
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import (
    Compose,
    DataLoader,
    Dataset,
    RandomCrop,
    RandomHorizontalFlip,
    StackDataset,
    TensorDataset,
    get_worker_info,
    sample_rng,
)
from headrace.testing import check_same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    RunScript = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

BACKENDS = ["thread", "process"]
CONTEXTS = [None, "fork", "forkserver", "spawn"]
POOLS = [("thread", None), *(("process", context) for context in CONTEXTS)]


@dataclass
class Noise:
    """A field of a type of its own."""

    values: Any
    name: str


class Noisy(Dataset[Any]):
    """Samples with randomness of their own, of several types."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> Any:
        return Noise(sample_rng().random((3, index % 2 + 1 - index % 2)), f"sample {index}"), np.float16(index)


def dataset(length: int = 23) -> Dataset[Any]:
    """Augmented images, large enough to travel in shared memory in a batch, beside other things."""
    images = np.arange(length * 48 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(length, 48, 48, 3)
    augment = Compose([RandomCrop(44, padding=1), RandomHorizontalFlip()])
    return StackDataset(image=TensorDataset(images, np.arange(length)).map(augment, field=0), rest=Noisy(length))


def loaded(loader: DataLoader[Any], epochs: int = 2) -> list[Any]:
    return [batch for _ in range(epochs) for batch in loader]


def lists(batches: Any) -> list[Any]:
    return [batch.tolist() for batch in batches]


class EpochSampler:
    """An order of its own in each epoch, which it has to be told."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng(self.epoch).permutation(self.length).tolist())


class Counting:
    """The indices 0, 1, 2, ... as a sampler; how many were drawn is counted."""

    def __init__(self) -> None:
        self.drawn = 0

    def __iter__(self) -> Iterator[int]:
        for index in range(40):
            self.drawn += 1
            yield index


# ------------------------------------------------------------------ the same bytes

LOADERS: dict[str, dict[str, Any]] = {
    "in order": {"batch_size": 5},
    "shuffled": {"batch_size": 5, "shuffle": True},
    "of whole batches": {"batch_size": 4, "shuffle": True, "drop_last": True},
    "of all at once": {"batch_size": 100, "shuffle": True},
    "of a rank": {"batch_size": 3, "shuffle": True, "rank": 1, "world_size": 2},
    "of samples": {"batch_size": None, "shuffle": True},
    "of a sampler": {"batch_size": 3, "sampler": [3, 1, 4, 1, 5, 9, 2, 6]},
    "of a batch_sampler": {"batch_sampler": [[3, 1], [4], [1, 5, 9]]},
    "of a collate_fn": {
        "batch_size": 5,
        "collate_fn": lambda samples: ("mine", [sample["rest"] for sample in samples]),
    },
}


@pytest.mark.parametrize(("backend", "context"), POOLS)
def test_the_same_bytes_as_without_workers(backend: Any, context: str | None) -> None:
    """Of any loader; each has its workers, so there is but one for each of the slower ways to start them."""
    number_of_workers = {"thread": 3, "process": 2}[backend]
    chosen = LOADERS if backend == "thread" or context is None else {"shuffled": LOADERS["shuffled"]}
    for name, arguments in chosen.items():
        loader = DataLoader(
            dataset(),
            seed=5,
            num_workers=number_of_workers,
            persistent_workers=True,
            backend=backend,
            multiprocessing_context=context,
            **arguments,
        )
        check_same(loaded(loader), loaded(DataLoader(dataset(), seed=5, **arguments)), f"a loader {name}")
        loader.close()


@pytest.mark.parametrize("num_workers", [1, 3, 8])
@pytest.mark.parametrize("backend", BACKENDS)
def test_any_number_of_workers(backend: Any, num_workers: int) -> None:
    """More than there are batches, too."""
    arguments: dict[str, Any] = {"batch_size": 6, "shuffle": True, "seed": 9}
    loader = DataLoader(dataset(), num_workers=num_workers, backend=backend, **arguments)
    check_same(loaded(loader, 1), loaded(DataLoader(dataset(), **arguments), 1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_dataset(backend: Any) -> None:
    assert list(DataLoader([], num_workers=2, backend=backend)) == []
    assert list(DataLoader(range(3), 4, drop_last=True, num_workers=1, backend=backend)) == []


def test_a_batch_asked_for_is_that_of_the_workers() -> None:
    loader = DataLoader(dataset(), 5, shuffle=True, seed=3, num_workers=2, backend="process")
    batches = list(loader)
    for step in (4, 0, 2):
        check_same(loader.batch(step), batches[step])


def test_seed_none_gives_the_same_order_with_workers() -> None:
    """Workers change nothing in what the epochs' seeds are drawn from."""
    found = []
    for num_workers in (0, 2):
        random.seed(0)
        found.append(loaded(DataLoader(dataset(), 5, shuffle=True, num_workers=num_workers, backend="thread")))
    check_same(found[1], found[0])


class Global(Dataset[Any]):
    """Draws from the generators that a process shares, as much older code does."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int, /) -> Any:
        return index, random.random(), np.random.random()  # noqa: NPY002, S311 - as users do


def test_global_generators_in_processes() -> None:
    """They are seeded for each batch, so that the number of workers makes no difference, nor does a resume."""

    def load(num_workers: int, **options: Any) -> list[Any]:
        return loaded(DataLoader(Global(), 2, seed=4, num_workers=num_workers, backend="process", **options))

    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    one = load(1)
    check_same(load(3), one)
    check_same(load(2, persistent_workers=True, multiprocessing_context="fork"), one)
    assert len({value for _, *drawn in one for values in drawn for value in values.tolist()}) == 48
    check_same((random.getstate(), np.random.get_state()), before)  # noqa: NPY002


def test_global_generators_of_torch() -> None:
    torch = pytest.importorskip("torch")

    class Theirs(Global):
        def __getitem__(self, index: int, /) -> Any:
            return index, torch.rand(2)

    def load(num_workers: int) -> list[Any]:
        return list(DataLoader(Theirs(), 2, seed=4, num_workers=num_workers, backend="process"))

    one, two = load(1), load(2)
    check_same(two, one)
    assert len({value for _, drawn in one for value in drawn.flatten().tolist()}) == 24


# ------------------------------------------------------------------ order


class Chain(Dataset[Any]):
    """The first sample waits until the last one has been read."""

    def __init__(self, mark: Path, length: int) -> None:
        self.mark, self.length = mark, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> int:
        if index == self.length - 1:
            self.mark.touch()
        while index == 0 and not self.mark.exists():
            sleep(0.005)
        return index


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_slow_batch_does_not_hold_up_the_others(tmp_path: Path, backend: Any) -> None:
    """While one worker has the first of nine batches in hand, the other one reads the eight that follow."""
    loader = DataLoader(Chain(tmp_path / "mark", 18), 2, num_workers=2, prefetch_factor=5, backend=backend)
    assert lists(loader) == [[index, index + 1] for index in range(0, 18, 2)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_order_false_hands_out_every_batch_once(tmp_path: Path, backend: Any) -> None:
    """The first one last, and none missing; a state that is taken on the way loses and doubles nothing."""
    mark = tmp_path / "mark"

    def make(num_workers: int) -> DataLoader[Any]:
        return DataLoader(Chain(mark, 16), 2, num_workers=num_workers, in_order=False, backend=backend, seed=1)

    batches = iter(make(2))
    first = [next(batches).tolist() for _ in range(4)]
    state = json.dumps(batches.state_dict())
    assert [0, 1] not in first
    assert json.loads(state)["step"] == 0
    assert json.loads(state)["ahead"] == sorted(batch[0] // 2 for batch in first)
    rest = lists(batches)
    assert sorted(first + rest) == [[index, index + 1] for index in range(0, 16, 2)]
    for num_workers in (0, 2):
        resumed = make(num_workers)
        resumed.load_state_dict(json.loads(state))
        assert sorted(lists(resumed)) == sorted(rest)
        assert len(lists(resumed)) == 8, "the next epoch is a whole one"


# ------------------------------------------------------------------ how far ahead


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("num_workers", "prefetch_factor", "in_flight"), [(1, 1, 1), (2, None, 4), (2, 3, 6)])
def test_prefetch_factor_bounds_tasks_in_flight(
    backend: Any, num_workers: int, prefetch_factor: int | None, in_flight: int
) -> None:
    sampler = Counting()
    loader = DataLoader(
        range(40), 2, sampler=sampler, num_workers=num_workers, prefetch_factor=prefetch_factor, backend=backend
    )
    batches = iter(loader)
    batches.begin()
    assert sampler.drawn == 2 * in_flight
    for step in range(10):
        assert next(batches).tolist() == [2 * step, 2 * step + 1]
        assert sampler.drawn == 2 * (step + in_flight)
    assert len(list(batches)) == 10


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("large", [False, True])
def test_prefetch_bytes_bounds_bytes_in_flight(backend: Any, large: bool) -> None:
    """However large batches are, there is always one; and none but one until it is known how large they are."""
    sampler = Counting()
    rows = np.zeros((40, 20_000 if large else 100), np.uint8)
    loader = DataLoader(
        TensorDataset(rows),
        2,
        sampler=sampler,
        num_workers=2,
        prefetch_factor=4,
        prefetch_bytes=3 * 2 * 20_000 + 10_000,
        backend=backend,
    )
    batches = iter(loader)
    batches.begin()
    assert sampler.drawn == 2
    for step in range(8):
        next(batches)
        assert sampler.drawn <= 2 * (step + (3 if large else 8))
    assert sampler.drawn > 16
    assert len(list(batches)) == 12


def test_batches_larger_than_the_bound() -> None:
    loader = DataLoader(TensorDataset(np.arange(40)), 2, num_workers=2, prefetch_bytes=1, backend="process")
    assert [batch[0].tolist() for batch in loader] == [[index, index + 1] for index in range(0, 40, 2)]


# ------------------------------------------------------------------ what workers are told


class Told(Dataset[Any]):
    """What code in a worker can find out."""

    begun = -1

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int, /) -> Any:
        info = get_worker_info()
        assert info is not None
        return info.id, info.num_workers, info.seed % 2**31, self.begun, info.dataset is self, os.getpid()


def begin(worker: int) -> None:
    info = get_worker_info()
    assert info is not None
    assert info.id == worker
    info.dataset.begun = worker + 10


@pytest.mark.parametrize(("backend", "context"), POOLS)
def test_get_worker_info_and_worker_init_fn(backend: Any, context: str | None) -> None:
    def told() -> dict[int, Any]:
        loader = DataLoader(
            Told(),
            num_workers=2,
            backend=backend,
            multiprocessing_context=context,
            worker_init_fn=begin,
            seed=3,
            collate_fn=lambda samples: samples[0],
        )
        return {worker: rest for worker, *rest in loader}

    found = told()
    assert set(found) <= {0, 1}
    for worker, (count, seed, begun, its_own, pid) in found.items():
        assert (count, its_own) == (2, True)
        assert begun == worker + 10 or backend == "thread"  # threads have the dataset in common
        assert (pid == os.getpid()) == (backend == "thread")
        assert told().get(worker, [2, seed])[1] == seed, "another run with the same seed has other workers' seeds"
    assert get_worker_info() is None


def test_torch_get_worker_info_works_in_workers() -> None:
    data = pytest.importorskip("torch.utils.data")

    class Theirs(data.Dataset):  # type: ignore[misc,name-defined]
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            info, ours = data.get_worker_info(), get_worker_info()
            assert ours is not None
            return (info.id, info.num_workers, info.seed, info.dataset is self) == (ours.id, 2, ours.seed, True)

    assert lists(DataLoader(Theirs(), 4, num_workers=2, backend="process")) == [[True] * 4]


# ------------------------------------------------------------------ workers that stay


@pytest.mark.parametrize(("backend", "context"), POOLS)
def test_persistent_workers(backend: Any, context: str | None) -> None:
    """Epochs of their own seeds and numbers reach them."""
    options: dict[str, Any] = {"batch_size": 4, "shuffle": True}
    loader = DataLoader(
        Noisy(12),
        num_workers=2,
        persistent_workers=True,
        backend=backend,
        multiprocessing_context=context,
        **options,
    )
    random.seed(7)
    found = loaded(loader, 3)
    next(iter(loader))  # given up half-way
    loader.set_epoch(1)
    found += loaded(loader, 1)
    random.seed(7)
    without = DataLoader(Noisy(12), **options)
    expected = loaded(without, 3)
    next(iter(without))
    without.set_epoch(1)
    check_same(found, expected + loaded(without, 1))
    loader.close()


@pytest.mark.parametrize("persistent", [False, True])
def test_persistent_workers_keep_their_processes(persistent: bool) -> None:
    loader = DataLoader(
        range(4), num_workers=1, persistent_workers=persistent, backend="process", collate_fn=lambda _: os.getpid()
    )
    pids = [set(loader) for _ in range(3)]
    assert [len(found) for found in pids] == [1, 1, 1]
    assert len(set.union(*pids)) == (1 if persistent else 3)
    loader.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_iterators_of_one_loader(backend: Any) -> None:
    loader = DataLoader(dataset(), 5, shuffle=True, seed=3, num_workers=1, persistent_workers=True, backend=backend)
    without = DataLoader(dataset(), 5, shuffle=True, seed=3)
    for _ in range(2):
        pairs = list(zip(loader, loader, strict=True))
        check_same(pairs, list(zip(without, without, strict=True)))
    loader.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_abandoned_epoch_does_not_affect_the_next(backend: Any) -> None:
    """What the workers still do for the iterator before is heard of no more."""
    loader = DataLoader(dataset(), 2, seed=3, num_workers=2, persistent_workers=True, backend=backend)
    for consumed in (1, 0, 3, 12, 2):
        batches = iter(loader)
        epoch = batches.state_dict()["epoch"]
        check_same([next(batches) for _ in range(consumed)], [loader.batch(step, epoch) for step in range(consumed)])
    loader.close()


def test_copies_of_a_loader_have_workers_of_their_own() -> None:
    loader = DataLoader(range(8), 2, seed=3, shuffle=True, num_workers=1, persistent_workers=True, backend="thread")
    first = lists(loader)
    other = copy.deepcopy(loader)
    loader.close()
    assert lists(other) != first
    other.set_epoch(0)
    assert lists(other) == first
    other.close()


# ------------------------------------------------------------------ which workers


def worker_threads() -> set[int | None]:
    gc.collect()  # of what other tests have left
    return {thread.ident for thread in threading.enumerate() if thread.name.startswith("headrace worker")}


def test_auto_takes_threads_where_there_is_no_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    before = worker_threads()
    batches = iter(DataLoader(Noisy(8), 2, num_workers=2))
    batches.begin()
    assert len(worker_threads() - before) == 2
    del batches


def test_auto_takes_threads_where_the_dataset_says_it_releases_the_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    images = np.zeros((8, 8, 8), np.uint8)
    choices: list[tuple[Any, dict[str, Any], bool]] = [
        (TensorDataset(images), {}, True),
        (TensorDataset(images).map(RandomHorizontalFlip(), field=0), {}, True),
        (TensorDataset(images), {"collate_fn": len}, False),
        (TensorDataset(images), {"multiprocessing_context": "spawn"}, False),
        (TensorDataset(images).map(lambda image: image), {}, False),
        (Noisy(8), {}, False),
    ]
    for chosen, options, threads in choices:
        before = worker_threads()
        batches = iter(DataLoader(chosen, 2, num_workers=2, **options))
        batches.begin()
        assert len(worker_threads() - before) == (2 if threads else 0)
        del batches


def test_a_worker_imports_what_the_dataset_needs_and_nothing_else(tmp_path: Path, run_script: RunScript) -> None:
    (tmp_path / "mine.py").write_text("import colorsys, sys\ndef look(samples):\n    return sorted(sys.modules)")
    script = run_script(
        """
        import multiprocessing, mailbox
        import mine
        from headrace import DataLoader

        print(*next(iter(DataLoader(range(2), num_workers=1, backend="process", collate_fn=mine.look))))
        """
    )
    imported = set(script.output().split())
    assert {"headrace.workers.processes.serve", "mine", "colorsys"} < imported
    frameworks = {"torch", "jax", "PIL", "cloudpickle"}
    assert not imported & (
        {"mailbox", "multiprocessing", "asyncio", "subprocess", "headrace.workers.processes.supervisor"} | frameworks
    )


@pytest.mark.parametrize("context", [None, "spawn"])
def test_worker_imports_from_the_same_path(context: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "/nowhere/in/particular"])
    monkeypatch.setattr(sys, "argv", ["train", "--lr=1"])
    monkeypatch.setenv("OF_THE_USER", "7")

    def look(samples: list[int]) -> Any:
        return sys.path, sys.argv, os.environ["OF_THE_USER"], str(Path.cwd())

    loader = DataLoader(range(2), num_workers=1, backend="process", multiprocessing_context=context, collate_fn=look)
    assert next(iter(loader)) == (sys.path, sys.argv, "7", str(Path.cwd()))


def test_libraries_in_a_worker_are_told_to_use_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the user has told them something else."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")

    def look(samples: list[int]) -> Any:
        return os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]

    assert next(iter(DataLoader(range(2), num_workers=1, backend="process", collate_fn=look))) == ("1", "3")
    assert "OMP_NUM_THREADS" not in os.environ


def test_script_without_main_guard(run_script: RunScript) -> None:
    """No guard, no module to import: lambdas, closures, classes and globals of the script itself."""
    script = run_script(
        """
        from dataclasses import dataclass
        import numpy as np
        from headrace import DataLoader, Dataset, IterableDataset, TensorDataset

        print("begun")
        scale = 10
        table = np.arange(100)

        @dataclass
        class Sample:
            x: object
            name: str

        class Mine(Dataset):
            def __len__(self):
                return len(table)

            def __getitem__(self, index):
                return Sample(helper(table[index]), f"{index}")

        class Stream(IterableDataset):
            def __iter__(self):
                yield from map(helper, range(4))

        class Unready(Exception):
            def __init__(self, first, second):
                super().__init__(f"{first} {second}")

        def helper(value):
            return value * scale

        def refuse(samples):
            raise Unready("not", "yet")

        for batch in DataLoader(Mine(), 50, num_workers=2, backend="process"):
            assert type(batch) is Sample, type(batch)
            print(batch.x.sum(), batch.name[-1])
        plus = TensorDataset(table).map(lambda row: row[0] + scale)
        print(next(iter(DataLoader(plus, 3, num_workers=1, backend="process"))))
        print(list(DataLoader(Stream(), 4, num_workers=1, backend="process")))
        print(len(list(DataLoader(Mine(), 50, num_workers=1, multiprocessing_context="fork"))))
        try:
            next(iter(DataLoader(range(4), num_workers=1, backend="process", collate_fn=refuse)))
        except Unready as error:
            print(error)
        """
    )
    assert script.output().splitlines() == [
        "begun",
        "12250 49",
        "37250 99",
        "[10 11 12]",
        "[array([ 0, 10, 20, 30])]",
        "2",
        "not yet",
    ]


@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_script_with_main_guard(context: str, run_script: RunScript) -> None:
    """As multiprocessing asks for with these."""
    script = run_script(
        f"""
        from headrace import DataLoader, Dataset

        class Mine(Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, index):
                return index * 10

        if __name__ == "__main__":
            print(list(DataLoader(Mine(), 4, num_workers=1, multiprocessing_context="{context}")))
        """
    )
    assert script.output() == "[array([ 0, 10, 20, 30])]\n"


def test_stats_with_workers() -> None:
    loader = DataLoader(range(10), 4, num_workers=2, backend="process")
    list(loader)
    assert (loader.stats().batches, loader.stats().samples) == (3, 10)


# ------------------------------------------------------------------ resume


@dataclass
class Point:
    """Where a state was taken: as JSON, and how many batches had come before."""

    state: str
    batches: int


def walk(loader: DataLoader[Any], epochs: range, points: list[Point] | None = None) -> list[Any]:
    """The batches of the epochs; those that fail are None. A state is taken wherever one can be."""
    found: list[Any] = []

    def take() -> None:
        if points is not None:
            points.append(Point(json.dumps(loader.state_dict()), len(found)))

    for _ in epochs:
        batches = iter(loader)
        while True:
            take()
            try:
                found.append(next(batches))
            except StopIteration:
                break
            except OSError:
                found.append(None)
    take()
    return found


class Failing(Noisy):
    """Some samples fail."""

    def __getitem__(self, index: int, /) -> Any:
        if index in (2, 11):
            raise OSError(f"sample {index} is broken")
        return super().__getitem__(index)


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 5, "shuffle": True},
        {"batch_size": 5, "sampler": EpochSampler(13)},
        {"batch_sampler": [[3, 1], [4], [2, 5, 9]]},
    ],
)
def test_a_state_taken_anywhere_with_any_workers_goes_on_with_any_others(arguments: dict[str, Any]) -> None:
    workers: list[dict[str, Any]] = [
        {"num_workers": 0},
        {"num_workers": 1, "backend": "thread"},
        {"num_workers": 3, "backend": "thread", "persistent_workers": True},
    ]

    def make(these: dict[str, Any]) -> DataLoader[Any]:
        return DataLoader(Failing(13), seed=4, **copy.deepcopy(arguments), **these)

    for these in workers:
        points: list[Point] = []
        expected = walk(make(these), range(2), points)
        for point in points:
            for others in workers:
                loader = make(others)
                state = json.loads(point.state)
                loader.load_state_dict(state)
                assert loader.state_dict() == state
                check_same(walk(loader, range(state["epoch"], 2)), expected[point.batches :])


@pytest.mark.parametrize("context", [None, "fork"])
def test_a_state_of_processes_goes_on_without_and_with_others(context: str | None) -> None:
    """One loader, whose workers stay, is brought to each place."""
    points: list[Point] = []
    options: dict[str, Any] = {"backend": "process", "multiprocessing_context": context, "persistent_workers": True}

    def make(num_workers: int, **options: Any) -> DataLoader[Any]:
        return DataLoader(Failing(13), 5, shuffle=True, seed=4, num_workers=num_workers, **options)

    with make(2, **options) as two, make(3, **options) as three:
        expected = walk(two, range(2), points)
        for point in points:
            for loader in (three, two, make(0)):
                state = json.loads(point.state)
                loader.load_state_dict(state)
                check_same(walk(loader, range(state["epoch"], 2)), expected[point.batches :])


@settings(deadline=None, max_examples=40)
@given(
    saved=st.integers(0, 4),
    resumed=st.integers(0, 4),
    consumed=st.integers(0, 12),
    in_order=st.booleans(),
    arguments=st.fixed_dictionaries(
        {
            "batch_size": st.integers(1, 6),
            "shuffle": st.booleans(),
            "drop_last": st.booleans(),
            "seed": st.integers(0, 2**64) | st.none(),
        }
    ),
)
def test_nothing_is_lost_or_doubled(
    saved: int, resumed: int, consumed: int, in_order: bool, arguments: dict[str, Any]
) -> None:
    """By threads, in any order; each part may come out of order."""

    def make(num_workers: int) -> DataLoader[Any]:
        return DataLoader(Noisy(12), num_workers=num_workers, in_order=in_order, backend="thread", **arguments)

    def names(batches: Any) -> list[tuple[str, ...]]:
        return [tuple(noise.name) for noise, _ in batches]

    loader = make(saved)
    batches = iter(loader)
    first = names(batch for _, batch in zip(range(consumed), batches, strict=False))
    other = make(resumed)
    other.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert other.state_dict() == loader.state_dict()
    if consumed > len(loader):  # its iterator has ended: that is the start of the next epoch
        return
    rest, expected = names(other), names(batches)
    if in_order:
        assert rest == expected
    assert Counter(rest) == Counter(expected)
    assert len(first + rest) == len(loader)
    assert len(set(first + rest)) == len(loader)
