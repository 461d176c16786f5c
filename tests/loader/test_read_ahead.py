"""Datasets hear early which samples will be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, Dataset, HeadraceWarning

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("by_value")
AHEAD = 8  # batches


class Log(Dataset[int]):
    """Writes down what it hears and what it reads, in whichever process."""

    def __init__(self, file: Path, length: int = 60) -> None:
        self.file = file
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> int:
        self.write("read", [index])
        return index

    def will_need(self, indices: Any) -> None:
        self.write("heard", indices.tolist())

    def write(self, what: str, indices: list[int]) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps([what, indices]) + "\n")

    def entries(self) -> list[Any]:
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


def heard(log: Log) -> list[int]:
    return [index for what, indices in log.entries() if what == "heard" for index in indices]


def test_will_need_runs_ahead_without_workers(log: Log) -> None:
    batches = [batch.tolist() for batch in DataLoader(log, 4, shuffle=True, seed=3)]
    told = [indices for what, indices in log.entries() if what == "heard"]
    assert told[0] == [index for batch in batches[1 : AHEAD + 1] for index in batch]
    assert told[1:] == batches[AHEAD + 1 :]
    events = log.entries()
    for step, batch in enumerate(batches[AHEAD + 1 :], AHEAD + 1):
        told_at = events.index(["heard", batch])
        assert events[told_at + 1] == ["read", [batches[step - AHEAD][0]]]


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_will_need_names_each_sample_once_with_workers(log: Log, backend: Any) -> None:
    with DataLoader(log, 4, shuffle=True, seed=3, num_workers=2, backend=backend) as loader:
        batches = [batch.tolist() for batch in loader]
    first = 2 if backend == "process" else 1  # processes take turns, and each hears of its own
    assert sorted(heard(log)) == sorted(index for batch in batches[first:] for index in batch)


def test_will_need_after_a_resume(log: Log) -> None:
    loader = DataLoader(log, 4, shuffle=True, seed=3)
    batches = iter(loader)
    for _ in range(5):
        next(batches)
    state = loader.state_dict()
    log.file.unlink()
    resumed = DataLoader(log, 4, shuffle=True, seed=3)
    resumed.load_state_dict(state)
    rest = [batch.tolist() for batch in resumed]
    assert heard(log) == [index for batch in rest[1:] for index in batch]


def test_will_need_through_wrapping_datasets(log: Log) -> None:
    loader = DataLoader(log.map(abs).subset(np.arange(59, -1, -1)), 10)
    list(loader)
    assert heard(log) == list(range(49, -1, -1))


class Fickle(Log):
    """Wants to hear from its twentieth sample on."""

    heard_from = 20

    def reads_ahead(self) -> bool:
        return [what for what, _ in self.entries()].count("read") >= self.heard_from


def test_a_dataset_hears_when_it_wants_to(log: Log) -> None:
    batches = [batch.tolist() for batch in DataLoader(Fickle(log.file), 4)]
    assert heard(log) == [index for batch in batches[5:] for index in batch]


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_a_dataset_hears_nothing_that_it_does_not_want(log: Log, backend: Any) -> None:
    deaf = Fickle(log.file)
    deaf.heard_from = 1000
    for workers in (0, 2):
        with DataLoader(deaf + deaf, 4, num_workers=workers, backend=backend if workers else "auto") as loader:
            assert sum(map(len, loader)) == 120
    assert heard(log) == []


class Coalesced(Log):
    """Is read several batches at a time."""

    def get_batch(self, indices: Any) -> Any:
        self.write("read", indices.tolist())
        return indices.copy()

    def reads_together(self) -> bool:
        return True


def test_of_batches_that_are_read_together_each_is_told_once(log: Log) -> None:
    batches = [batch.tolist() for batch in DataLoader(Coalesced(log.file, 200), 4, shuffle=True, seed=3)]
    assert heard(log) == [index for batch in batches[1:] for index in batch]
    reads = [indices for what, indices in log.entries() if what == "read"]
    assert len(reads) < len(batches)
    assert [index for indices in reads for index in indices] == [index for batch in batches for index in batch]


def test_custom_sampler_is_not_drawn_early(log: Log) -> None:
    list(DataLoader(log, 4, sampler=range(60)))
    list(DataLoader(log, batch_sampler=[[1, 2], [3]]))
    assert heard(log) == []


def test_batch_does_not_call_will_need(log: Log) -> None:
    DataLoader(log, 4, seed=0).batch(2)
    assert heard(log) == []


def test_failing_will_need_warns(log: Log) -> None:
    class Deaf(Log):
        def will_need(self, indices: Any) -> None:
            raise OSError("no pages")

    text = r"^Deaf\.will_need failed, so samples are not asked for early: OSError: no pages$"
    with pytest.warns(HeadraceWarning, match=text):
        batches = list(DataLoader(Deaf(log.file), 40))
    assert [len(batch) for batch in batches] == [40, 20]
