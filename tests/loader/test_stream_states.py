"""Streams with a state of their own: a resumed run goes on from it, and reads nothing again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from headrace import DataLoader, IterableDataset, get_worker_info

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = 41
KINDS: list[dict[str, Any]] = [
    {},
    {"num_workers": 2, "backend": "thread"},
    {"num_workers": 2, "backend": "process"},
    {"num_workers": 2, "backend": "process", "shard": True},
    {"num_workers": 2, "backend": "process", "persistent_workers": True},
    {"rank": 0, "world_size": 2},
    {"rank": 1, "world_size": 2, "num_workers": 2, "backend": "process"},
]


class Counting(IterableDataset[Any]):
    """Numbers, a share for each worker; each sample says how many this copy has read by itself."""

    def __init__(self, length: int = LENGTH) -> None:
        self.length = length
        self.at = self.read = 0

    def share(self) -> range:
        info = get_worker_info()
        return range(self.length) if info is None else range(info.id, self.length, info.num_workers)

    def __iter__(self) -> Iterator[Any]:
        numbers = self.share()
        while self.at < len(numbers):
            self.at, self.read = self.at + 1, self.read + 1
            yield numbers[self.at - 1], self.read
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


class Iterating(Counting):
    """The same, whose iterators have the state."""

    def __iter__(self) -> Any:
        return Numbers(self.share())

    state_dict = None  # type: ignore[assignment]


class Numbers:
    def __init__(self, numbers: range) -> None:
        self.numbers = numbers
        self.at = self.read = 0

    def __next__(self) -> Any:
        if self.at == len(self.numbers):
            raise StopIteration
        self.at, self.read = self.at + 1, self.read + 1
        return self.numbers[self.at - 1], self.read

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


def numbers(batches: Any) -> list[list[int]]:
    return [[number for number, _ in batch] for batch in batches]


def make(stream: type[Counting], **arguments: Any) -> DataLoader[Any]:
    return DataLoader(stream(), 4, seed=0, collate_fn=list, **arguments)


@pytest.mark.parametrize("stream", [Counting, Iterating])
@pytest.mark.parametrize("arguments", KINDS, ids=str)
def test_goes_on_from_its_state(stream: type[Counting], arguments: dict[str, Any]) -> None:
    with make(stream, **arguments) as whole:
        expected = numbers(whole)
    for steps in (0, 1, 2, 3, len(expected)):
        with make(stream, **arguments) as going:
            batches = iter(going)
            begun = numbers(next(batches) for _ in range(steps))
            state = json.loads(json.dumps(going.state_dict()))
        with make(stream, **arguments) as resumed:
            resumed.load_state_dict(state)
            rest = list(resumed)
            assert numbers([*resumed]) == expected  # the next epoch is whole
        assert begun + numbers(rest) == expected
        if rest and not arguments.get("num_workers"):
            assert rest[0][0][1] <= 4 + 1  # nothing has been read again


def test_a_persistent_worker_goes_back() -> None:
    arguments = {"num_workers": 2, "backend": "process", "persistent_workers": True}
    with make(Counting, **arguments) as loader:
        batches = iter(loader)
        first = numbers(next(batches) for _ in range(3))
        state = loader.state_dict()
        rest = numbers(batches)
        loader.load_state_dict(state)
        assert numbers(loader) == rest
        assert numbers(loader) == first + rest


def test_another_place_takes_no_state() -> None:
    going = make(Counting)
    batches = iter(going)
    expected = numbers([*[next(batches) for _ in range(3)]])
    resumed = make(Counting)
    resumed.load_state_dict(going.state_dict())
    resumed.seek(1)
    assert numbers([next(iter(resumed))]) == expected[1:2]


def test_states_of_streams_without_one_are_as_before() -> None:
    loader = DataLoader(iter_of(range(10)), 2, seed=0)
    next(iter(loader))
    assert "stream" not in loader.state_dict()


def iter_of(samples: range) -> Any:
    class Plain(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(samples)

    return Plain()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_shuffled_stream_of_hugging_face_is_read_again() -> None:
    """Its own state would lose what its buffer holds."""
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"x": list(range(50))})

    def make_loader() -> DataLoader[Any]:
        stream = table.to_iterable_dataset().shuffle(seed=1, buffer_size=10)
        return DataLoader(stream, 4, seed=0, collate_fn=lambda rows: [row["x"] for row in rows])

    going = make_loader()
    batches = iter(going)
    begun = [next(batches) for _ in range(3)]
    resumed = make_loader()
    resumed.load_state_dict(going.state_dict())
    assert begun + list(resumed) == list(make_loader())
