"""Small batches that are loaded together are what they are when each is loaded alone."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import (
    Compose,
    DataLoader,
    Dataset,
    HeadraceWarning,
    RandomCrop,
    RandomHorizontalFlip,
    StackDataset,
    TensorDataset,
    ToFloat,
    Transform,
)
from headrace.batch.coalesce import SMALL
from headrace.errors import WorkerError
from headrace.loader.cursor import Epoch
from headrace.loader.fetch import BatchReader
from headrace.loader.tasks import SampleTask
from headrace.pipeline.compile import compile_dataset
from headrace.testing import check_same

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

LENGTH = 103
IMAGES = np.random.default_rng(0).integers(0, 256, (LENGTH, 6, 6, 3), np.uint8)
AUGMENT = Compose([RandomCrop(6, padding=2), RandomHorizontalFlip(), ToFloat()])
WORKERS = [("auto", 0), ("thread", 1), ("thread", 3), ("process", 2)]


def rows() -> TensorDataset:
    return TensorDataset(IMAGES, np.arange(LENGTH))


DATASETS: dict[str, Any] = {
    "rows": rows,
    "augmented": lambda: rows().map(AUGMENT, field=0),
    "parts": lambda: rows().subset(range(LENGTH - 1, 0, -1)),
    "two": lambda: rows() + rows(),
    "a dict": lambda: StackDataset(x=rows().map(AUGMENT, field=0), y=rows()),
}


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many samples have been read at once, for batches that go together."""
    counts: list[int] = []
    read = BatchReader.read_at_once

    def counting(self: BatchReader, selection: Any) -> Any:
        counts.append(len(selection))
        return read(self, selection)

    monkeypatch.setattr(BatchReader, "read_at_once", counting)
    return counts


@pytest.mark.parametrize("make", DATASETS.values(), ids=DATASETS)
@pytest.mark.parametrize(("backend", "workers"), WORKERS)
def test_the_same_batches(make: Any, backend: Any, workers: int) -> None:
    expected = list(DataLoader(make(), 4, shuffle=True, seed=3))
    with DataLoader(make(), 4, shuffle=True, seed=3, num_workers=workers, backend=backend) as loader:
        check_same(list(loader), expected)


def test_small_batches_are_coalesced(at_once: list[int]) -> None:
    with DataLoader(rows(), 4, num_workers=2, backend="thread") as loader:
        sizes = [len(labels) for _, labels in loader]
    assert sizes == [4] * 25 + [3]
    assert max(at_once) > 12
    assert all(count % 4 == 0 for count in at_once[:-1])


def test_the_consumer_itself_gathers_a_bounded_part_ahead(at_once: list[int]) -> None:
    rows = np.arange(4000 * 250, dtype=np.float32).reshape(4000, 250)  # 1000 bytes each
    batches = list(DataLoader(TensorDataset(rows, np.arange(4000)), 64, shuffle=True, seed=3))
    check_same(batches, list(DataLoader(Plain(rows), 64, shuffle=True, seed=3)))
    assert max(at_once) == SMALL // (64 * 1008) * 64  # bytes of a batch
    assert all(batch.base is None or batch.base.nbytes <= SMALL for batch, _ in batches)


class Plain(Dataset[Any]):
    """Rows that are read one by one."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Any:
        return self.rows[index], index


def test_what_may_be_replaced_between_two_batches_is_not_gathered_ahead(at_once: list[int]) -> None:
    dataset: Any = rows().subset(range(LENGTH))
    batches = iter(DataLoader(dataset, 4))
    next(batches)
    next(batches)
    dataset.indices = np.arange(LENGTH)[::-1]
    assert next(batches)[1].tolist() == [94, 93, 92, 91]
    assert not at_once


def test_each_step_of_batches_gathered_ahead_is_a_state(at_once: list[int]) -> None:
    expected = list(DataLoader(rows(), 4, shuffle=True, seed=3))
    at_once.clear()
    batches = iter(DataLoader(rows(), 4, shuffle=True, seed=3))
    for step in range(1, len(expected)):
        next(batches)
        resumed = DataLoader(rows(), 4, shuffle=True, seed=3)
        resumed.load_state_dict(batches.state_dict())
        check_same(list(resumed), expected[step:])
    assert at_once


@pytest.mark.parametrize("in_order", [True, False])
def test_resume_at_every_step(at_once: list[int], in_order: bool) -> None:
    def make() -> DataLoader[Any]:
        return DataLoader(
            rows().map(AUGMENT, field=0), 8, shuffle=True, seed=3, num_workers=2, backend="thread", in_order=in_order
        )

    expected = {tuple(batch[1].tolist()): batch for batch in DataLoader(make().dataset, 8, shuffle=True, seed=3)}
    for step in range(14):
        with make() as first, make() as second:
            batches = iter(first)
            found = [next(batches) for _ in range(step)]
            second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
            found += list(second)
            assert sorted(tuple(batch[1].tolist()) for batch in found) == sorted(expected)
            for batch in found:
                check_same(batch, expected[tuple(batch[1].tolist())])
    assert at_once


class Broken(TensorDataset):
    """One of its rows cannot be read."""

    bad = 42

    def __getitem__(self, index: int, /) -> Any:
        if index == self.bad:
            raise ValueError("a bad row")
        return super().__getitem__(index)

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        if self.bad in indices:
            raise ValueError("a bad row")
        return super().get_batch(indices)

    def reads_together(self) -> bool:
        return True


@pytest.mark.parametrize(("backend", "workers"), WORKERS)
def test_error_belongs_to_one_coalesced_batch(backend: Any, workers: int) -> None:
    with DataLoader(Broken(np.arange(LENGTH)), 4, num_workers=workers, backend=backend) as loader:
        batches = iter(loader)
        found: list[Any] = [next(batches)[0].tolist() for _ in range(10)]
        with pytest.raises(ValueError, match="a bad row") as caught:
            next(batches)
        notes = caught.value.__notes__
        assert "while reading sample 42 of Broken" in notes
        assert sum("step 10 of epoch 0" in note for note in notes) == 1
        assert caught.value.__context__ is None  # that the batches could not be read at once is no news
        found += [batch.tolist() for (batch,) in batches]
    assert found == [list(range(at, min(at + 4, LENGTH))) for at in range(0, LENGTH, 4) if at != 40]


@pytest.mark.parametrize("calls", [1, 2])
def test_after_ctrl_c_the_first_batch_that_was_not_handed_out_comes_next(
    monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    read, left = BatchReader.read_at_once, [calls]

    def interrupted(self: BatchReader, selection: Any) -> Any:
        found = read(self, selection)
        left[0] -= len(selection) > 4
        if left[0] == 0 and len(selection) > 4:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(BatchReader, "read_at_once", interrupted)
    loader = DataLoader(TensorDataset(np.arange(1000)), 4, shuffle=True, seed=3)
    expected = [loader.batch(step, 0)[0].tolist() for step in range(250)]
    batches = iter(loader)
    found: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(batch.tolist() for (batch,) in batches)
    state = loader.state_dict()
    assert found == expected[: len(found)]
    assert 0 < len(found) < 250
    found += [batch.tolist() for (batch,) in batches]
    assert found == expected
    resumed = DataLoader(TensorDataset(np.arange(1000)), 4, shuffle=True, seed=3)
    resumed.load_state_dict(state)
    assert [batch.tolist() for (batch,) in resumed] == expected[state["step"] :]


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_a_bad_sample_is_passed_over(backend: Any) -> None:
    with DataLoader(Broken(np.arange(LENGTH)), 4, num_workers=2, backend=backend, on_error="skip") as loader:
        with pytest.warns(HeadraceWarning, match="sample 42"):
            found = [batch.tolist() for (batch,) in loader]
        assert [bad.index for bad in loader.bad_samples] == [42]
    assert found[10] == [40, 41, 43]
    assert [index for batch in found for index in batch] == [index for index in range(LENGTH) if index != 42]


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_errors_of_batches_that_come_in_any_order(backend: Any) -> None:
    """Each is of one batch, and where its neighbours went on shows in the state."""
    with DataLoader(Broken(np.arange(LENGTH)), 4, num_workers=2, backend=backend, in_order=False) as loader:
        batches, found = iter(loader), list[int]()
        with pytest.raises(ValueError, match="a bad row"):
            found.extend(index for (batch,) in batches for index in batch.tolist())
        state = loader.state_dict()
        rest = [index for (batch,) in batches for index in batch.tolist()]
        loader.load_state_dict(state)
        assert sorted(index for (batch,) in loader for index in batch.tolist()) == sorted(rest)
    assert sorted(found + rest) == [index for index in range(LENGTH) if index not in range(40, 44)]


def test_a_bad_sample_is_replaced() -> None:
    def make(**options: Any) -> DataLoader[Any]:
        return DataLoader(Broken(np.arange(LENGTH)), 4, seed=3, on_error="replace", **options)

    with pytest.warns(HeadraceWarning, match="sample 42"):
        expected = list(make())
    with make(num_workers=2, backend="thread") as loader, pytest.warns(HeadraceWarning, match="sample 42"):
        check_same(list(loader), expected)


class Mortal(Broken):
    """A row that is the death of its worker, once: then there is a file."""

    def __init__(self, *tensors: Any, grave: str) -> None:
        super().__init__(*tensors)
        self.grave = grave

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        if self.bad in indices and not Path(self.grave).exists():
            Path(self.grave).touch()
            os._exit(1)
        return TensorDataset.get_batch(self, indices)

    def reads_together(self) -> bool:
        return True


@pytest.mark.parametrize("in_order", [True, False])
def test_batches_of_a_dead_worker_are_done_by_another(tmp_path: Path, in_order: bool) -> None:
    dataset = Mortal(np.arange(LENGTH), grave=str(tmp_path / "grave"))
    options: dict[str, Any] = {"num_workers": 2, "backend": "process", "in_order": in_order}
    with DataLoader(dataset, 4, on_worker_death="restart", **options) as loader:
        found = [batch.tolist() for (batch,) in loader]
    assert Path(dataset.grave).exists()
    assert sorted(found) == [list(range(at, min(at + 4, LENGTH))) for at in range(0, LENGTH, 4)]


def test_a_worker_that_dies_takes_no_batch_with_it(tmp_path: Path) -> None:
    """The state after its death still has all that were not handed out."""
    dataset = Mortal(np.arange(LENGTH), grave=str(tmp_path / "grave"))
    with DataLoader(dataset, 4, num_workers=2, backend="process") as loader:
        found = list[int]()
        with pytest.raises(WorkerError, match="steps"):
            found.extend(index for (batch,) in loader for index in batch.tolist())
        state = loader.state_dict()
    with DataLoader(dataset, 4, num_workers=2, backend="process") as loader:
        loader.load_state_dict(state)
        found += [index for (batch,) in loader for index in batch.tolist()]
    assert found == list(range(LENGTH))


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_persistent_workers(at_once: list[int], backend: Any) -> None:
    def make(**options: Any) -> DataLoader[Any]:
        return DataLoader(rows().map(AUGMENT, field=0), 4, shuffle=True, seed=3, **options)

    alone = make()
    with make(num_workers=2, backend=backend, persistent_workers=True) as loader:
        for _ in range(3):
            check_same(list(loader), list(alone))
    assert at_once or backend == "process"


class Own(TensorDataset):
    """A dataset with a get_batch of its own, which may be anything."""

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        return super().get_batch(indices)


class Centred(Transform):
    """What becomes of a sample depends on its batch."""

    batched = True

    def __call__(self, value: Any) -> Any:
        return value - value.mean()

    def apply_batch(self, batch: Any) -> Any:
        return batch - batch.mean()


OTHER_WAYS: list[dict[str, Any]] = [
    {"batch_size": 4, "collate_fn": list},
    {"batch_size": 4, "sampler": range(40)},
    {"batch_sampler": [[1, 2]] * 9},
    {"batch_size": None},
]


def test_unequal_samples_are_not_coalesced(at_once: list[int]) -> None:
    alone: list[Dataset[Any]] = [Own(IMAGES), rows().map(Centred(), field=0), Own(IMAGES).map(AUGMENT, field=0)]
    for dataset in alone:
        assert not compile_dataset(dataset).reads_together
        with DataLoader(dataset, 4, num_workers=2, backend="thread") as loader:
            list(loader)
    for options in OTHER_WAYS:
        with DataLoader(rows(), num_workers=2, backend="thread", **options) as loader:
            list(loader)
    assert not at_once


def test_no_more_bytes_than_are_allowed_to_be_in_flight(at_once: list[int]) -> None:
    batch_bytes = 4 * (6 * 6 * 3 + 8)
    limit = 4 * 3 * batch_bytes
    with DataLoader(rows(), 4, num_workers=2, backend="thread", prefetch_bytes=limit) as loader:
        list(loader)
    assert max(at_once) == 12


def test_a_task_says_which_steps_it_has() -> None:
    task = SampleTask(Epoch(2, 7), 5, np.arange(9), parts=(4, 4, 1))
    assert str(task) == "steps 5 to 7 of epoch 2 (seed 7)"
    assert str(task.singly()[2]) == "step 7 of epoch 2 (seed 7)"
    sent = pickle.loads(pickle.dumps(task))
    assert (sent.parts, sent.steps, sent.selection.tolist()) == ((4, 4, 1), range(5, 8), list(range(9)))
    assert [single.selection.tolist() for single in sent.singly()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
