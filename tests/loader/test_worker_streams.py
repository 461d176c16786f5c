"""Streams that workers read: each process its own copy and share, or all of them one stream that is dealt out."""

from __future__ import annotations

import json
import re
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, IterableDataset, get_worker_info, sample_rng
from headrace.errors import DatasetChangedError, StateError
from headrace.testing import check_same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

BACKENDS: list[Any] = ["thread", "process"]


class Numbers(IterableDataset[Any]):
    """Numbers of the epoch with randomness of their own: the share of a worker if there is one, else all."""

    def __init__(self, length: int | None, *, shared: bool = True) -> None:
        self.length, self.shared = length, shared
        self.epoch = -1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, float]]:
        info = get_worker_info()
        assert info is None or info.dataset is self
        number, step = (info.id, info.num_workers) if info and self.shared else (0, 1)
        while self.length is None or number < self.length:
            yield 1000 * self.epoch + number, sample_rng().random()
            number += step


class Uneven(Numbers):
    """Workers have 0, 3, 6, ... samples."""

    def __iter__(self) -> Iterator[tuple[int, float]]:
        info = get_worker_info()
        assert info is not None
        for number in range(3 * info.id):
            yield 1000 * self.epoch + 100 * info.id + number, sample_rng().random()


class Flaky(IterableDataset[int]):
    """An iterator that fails at some numbers, once each, and can be asked again; the share of a worker."""

    def __init__(self, length: int, failing: set[int]) -> None:
        self.length, self.failing = length, failing

    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        self.number, self.step = (info.id, info.num_workers) if info else (0, 1)
        self.left = set(self.failing)
        return self

    def __next__(self) -> int:
        if self.number >= self.length:
            raise StopIteration
        if self.number in self.left:
            self.left.remove(self.number)
            raise OSError(f"{self.number} is broken")
        number = self.number
        self.number += self.step
        return number


def numbers(batches: Any) -> list[list[int]]:
    return [batch[0].tolist() for batch in batches]


def walk(batches: Any) -> list[Any]:
    """The batches, and the texts of errors in between."""
    found: list[Any] = []
    while True:
        try:
            found.append(next(batches).tolist())
        except StopIteration:
            return found
        except (OSError, RuntimeError) as error:
            found.append(str(error))


# ------------------------------------------------------------------ whole streams


def test_each_worker_process_has_the_whole_stream() -> None:
    """They take turns, batch by batch, each with randomness of its own."""
    options: dict[str, Any] = {"batch_size": 2, "num_workers": 2, "seed": 1}
    batches = list(DataLoader(Numbers(5, shared=False), backend="process", **options))
    assert numbers(batches) == [[0, 1], [0, 1], [2, 3], [2, 3], [4], [4]]
    assert len({value for _, drawn in batches for value in drawn.tolist()}) == 10
    check_same(batches, list(DataLoader(Numbers(5, shared=False), multiprocessing_context="fork", **options)))


def test_a_worker_reads_its_share() -> None:
    stream = Numbers(11)
    loader = DataLoader(stream, 2, num_workers=3, backend="process", persistent_workers=True)
    for epoch in range(3):
        expected = [[0, 3], [1, 4], [2, 5], [6, 9], [7, 10], [8]]
        assert numbers(loader) == [[1000 * epoch + number for number in batch] for batch in expected]
    loader.set_epoch(7)
    assert numbers(loader)[0] == [7000, 7003]
    assert stream.epoch == -1, "the user's own stream is not read"
    loader.close()
    whole = DataLoader(Numbers(11), 2, num_workers=3, drop_last=True, backend="process")
    assert numbers(whole) == [[0, 3], [1, 4], [2, 5], [6, 9], [7, 10]]
    single = DataLoader(Numbers(4), None, num_workers=2, backend="process")
    assert [number for number, _ in single] == [0, 1, 2, 3]


def test_streams_of_different_lengths() -> None:
    """A worker whose stream has ended is passed over; one may have nothing at all."""
    loader = DataLoader(Uneven(None), 2, num_workers=3, backend="process")
    assert numbers(loader) == [[100, 101], [200, 201], [102], [202, 203], [204, 205]]
    assert numbers(DataLoader(Uneven(None), 2, num_workers=1, backend="process")) == []


@pytest.mark.parametrize("shard", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_endless_stream(backend: Any, shard: bool) -> None:
    loader = DataLoader(Numbers(None), 2, num_workers=2, backend=backend, shard=shard)
    batches = iter(loader)
    found = [number for _ in range(20) for number in next(batches)[0].tolist()]
    assert sorted(found) == list(range(40))
    del batches
    assert next(iter(loader))[0][0] == 1000


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_stream_with_each_start_method(context: str) -> None:
    loader = DataLoader(Numbers(8), 2, num_workers=2, backend="process", multiprocessing_context=context)
    assert numbers(loader) == [[0, 2], [1, 3], [4, 6], [5, 7]]


def test_iterable_dataset_of_torch() -> None:
    """A stream that asks torch which worker it is in."""
    data = pytest.importorskip("torch.utils.data")

    class Theirs(data.IterableDataset):  # type: ignore[misc,name-defined]
        def __iter__(self) -> Iterator[int]:
            info = data.get_worker_info()
            return iter(range(9) if info is None else range(info.id, 9, info.num_workers))

    own = [batch.tolist() for batch in DataLoader(Theirs(), 2, num_workers=2, backend="process")]
    assert own == [[0, 2], [1, 3], [4, 6], [5, 7], [8]]
    assert own == [
        batch.tolist() for batch in data.DataLoader(Theirs(), 2, num_workers=2, multiprocessing_context="fork")
    ]
    assert [batch.tolist() for batch in DataLoader(Theirs(), 5)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8]]


# ------------------------------------------------------------------ one stream, dealt out


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("num_workers", [1, 2, 3])
@pytest.mark.parametrize("backend", BACKENDS)
def test_sharded_it_is_as_without_workers(backend: Any, num_workers: int, drop_last: bool) -> None:
    """The same bytes, though the stream would read a share if it could: nobody tells it of workers."""
    loader = DataLoader(
        Numbers(17),
        3,
        num_workers=num_workers,
        shard=True,
        drop_last=drop_last,
        backend=backend,
        seed=2,
        persistent_workers=True,
    )
    without = DataLoader(Numbers(17), 3, drop_last=drop_last, seed=2)
    for _ in range(2):
        check_same(list(loader), list(without))
    loader.close()


def test_threads_have_one_stream_together() -> None:
    """The user's own, with what it holds, which copies would share; it is read as if there were no workers."""

    class Queue(IterableDataset[int]):
        def __init__(self) -> None:
            self.left = list(range(50))

        def __iter__(self) -> Iterator[int]:
            assert get_worker_info() is None
            while self.left:
                number = self.left.pop(0)
                sleep(0.0002)
                yield number

    stream = Queue()
    loader = DataLoader(stream, 3, num_workers=4, backend="thread", collate_fn=lambda samples: samples)
    assert [number for batch in loader for number in batch] == list(range(50))
    stream.left = list(range(7))
    assert list(loader) == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_run_that_is_given_up_takes_nothing_from_the_next() -> None:
    loader = DataLoader(Numbers(None), 1, num_workers=4, backend="thread", persistent_workers=True)
    for epoch in range(30):
        batches = iter(loader)
        first = [next(batches)[0].item() for _ in range(3)]
        assert first == [1000 * epoch, 1000 * epoch + 1, 1000 * epoch + 2]
    loader.close()


class Shuffled(IterableDataset[int]):
    """In an order of its own, from a seed that may be unknown."""

    def __init__(self, seed: int | None, differing: int = 0) -> None:
        self.seed, self.differing = seed, differing

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng(self.seed).permutation(60)
        return iter([*range(self.differing), *order])


def take_turns(worker: int) -> None:
    """With a worker_init_fn all workers have a part in it."""


@pytest.mark.parametrize("options", [{"backend": "process"}, {"multiprocessing_context": "fork"}])
def test_a_stream_that_differs_from_worker_to_worker_is_refused(options: dict[str, Any]) -> None:
    """As one that WebDataset shuffles does; what is dealt out would be lost or doubled."""
    more: dict[str, Any] = {"num_workers": 2, "worker_init_fn": take_turns, **options}
    batches = iter(DataLoader(Shuffled(None), 4, shard=True, **more))
    next(batches)
    for _ in range(2):
        with pytest.raises(DatasetChangedError, match=r"different samples of the stream Shuffled, .*backend='thread'"):
            next(batches)
    late = iter(DataLoader(Shuffled(None, differing=40), 4, shard=True, in_order=False, **more))
    with pytest.raises(DatasetChangedError):
        list(late)
    found = [number for batch in DataLoader(Shuffled(7), 4, shard=True, **more) for number in batch.tolist()]
    assert found == list(np.random.default_rng(7).permutation(60))


def test_a_stream_that_differs_may_be_dealt_out_to_threads() -> None:
    loader = DataLoader(Shuffled(None), 4, num_workers=3, shard=True, backend="thread")
    assert sorted(number for batch in loader for number in batch.tolist()) == list(range(60))


def test_one_worker_gives_the_batches_of_no_workers() -> None:
    for backend in BACKENDS:
        loader = DataLoader(Numbers(7), 3, num_workers=1, backend=backend, seed=2)
        check_same(list(loader), list(DataLoader(Numbers(7), 3, seed=2)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_skipped_batches_are_not_collated(backend: Any) -> None:
    collated: list[int] = []  # each process has one of its own

    def collate(samples: list[Any]) -> Any:
        collated.extend(number for number, _ in samples)
        return collated.copy()

    loader = DataLoader(Numbers(24), 2, num_workers=2, shard=True, backend=backend, collate_fn=collate)
    batches = list(loader)
    assert [batch[-2:] for batch in batches] == [[number, number + 1] for number in range(0, 24, 2)]
    assert all(len(set(batch)) == len(batch) for batch in batches)


# ------------------------------------------------------------------ order


class Held(IterableDataset[int]):
    """The first worker's second sample waits for a mark, which the other one makes at its end if it is asked to."""

    def __init__(self, mark: Path, *, by_itself: bool) -> None:
        self.mark, self.by_itself = mark, by_itself

    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        assert info is not None
        yield 10 * info.id
        while info.id == 0 and not self.mark.exists():
            sleep(0.005)
        for number in range(1, 4):
            yield 10 * info.id + number
        if self.by_itself:
            self.mark.touch()


def test_a_slow_stream_does_not_change_the_order(tmp_path: Path) -> None:
    stream = Held(tmp_path / "mark", by_itself=True)
    loader = DataLoader(stream, 1, num_workers=2, prefetch_factor=5, backend="process")
    assert [batch.item() for batch in loader] == [0, 10, 1, 11, 2, 12, 3, 13]


def test_a_slow_stream_out_of_order(tmp_path: Path) -> None:
    """What the other worker was ahead is not lost, nor doubled, by a resume."""
    stream = Held(tmp_path / "mark", by_itself=False)
    loader = DataLoader(stream, 1, num_workers=2, prefetch_factor=5, backend="process", in_order=False)
    batches = iter(loader)
    assert {next(batches).item() for _ in range(4)} <= {0, 10, 11, 12, 13}
    found = next(batches).item()
    assert found in {0, 10, 11, 12, 13}
    state = json.loads(json.dumps(batches.state_dict()))
    stream.mark.touch()
    assert sorted(batch.item() for batch in batches) == [1, 2, 3]
    loader.load_state_dict(state)
    assert sorted(batch.item() for batch in loader) == [1, 2, 3]


# ------------------------------------------------------------------ resume


def check_resumes_everywhere(make: Callable[[], DataLoader[Any]]) -> None:
    loader = make()
    expected: list[Any] = []
    states = []
    for _ in range(2):
        batches = iter(loader)
        while True:
            states.append((json.dumps(loader.state_dict()), len(expected)))
            try:
                expected.append(next(batches))
            except StopIteration:
                break
    loader.close()
    resumed = make()  # its workers, if they stay, are brought from place to place
    for state, count in states:
        assert not json.loads(state)["ahead"], "a stream that has ended leaves no gap"
        resumed.load_state_dict(json.loads(state))
        found = [batch for _ in range(json.loads(state)["epoch"], 2) for batch in resumed]
        check_same(found, expected[count:])
    resumed.close()


STREAMS: list[tuple[type[Numbers], dict[str, Any]]] = [
    (Numbers, {"num_workers": 2, "backend": "thread"}),
    (Numbers, {"num_workers": 3, "backend": "thread", "drop_last": True}),
    (Numbers, {"num_workers": 2, "backend": "thread", "shard": True}),
    (Numbers, {"num_workers": 2, "backend": "process"}),
    (Numbers, {"num_workers": 3, "backend": "process", "drop_last": True}),
    (Numbers, {"num_workers": 2, "backend": "process", "shard": True}),
    (Uneven, {"num_workers": 3, "backend": "process"}),
    (Uneven, {"num_workers": 4, "backend": "process", "drop_last": True}),
]


@pytest.mark.parametrize(("kind", "options"), STREAMS)
def test_a_state_taken_anywhere_goes_on_there(kind: type[Numbers], options: dict[str, Any]) -> None:
    check_resumes_everywhere(lambda: DataLoader(kind(11), 2, seed=3, persistent_workers=True, **options))


def test_a_sharded_state_goes_on_with_any_workers() -> None:
    def make(num_workers: int, **options: Any) -> DataLoader[Any]:
        return DataLoader(Numbers(17), 3, num_workers=num_workers, shard=True, seed=2, backend="thread", **options)

    expected = list(make(0))
    for saved in (0, 1, 3):
        batches = iter(make(saved))
        first = [next(batches), next(batches)]
        state = json.loads(json.dumps(batches.state_dict()))
        for resumed in (0, 2, 4):
            loader = make(resumed)
            loader.load_state_dict(state)
            check_same(first + list(loader), expected)


def test_a_state_of_shares_belongs_to_as_many_workers() -> None:
    """Other workers would have other shares: there is no place among them that is the same."""
    batches = iter(DataLoader(Numbers(17), 3, num_workers=2, seed=2, backend="process"))
    next(batches)
    state = batches.state_dict()
    others: list[tuple[dict[str, Any], int | None]] = [
        ({"num_workers": 0}, None),
        ({"num_workers": 2, "backend": "thread"}, None),
        ({"num_workers": 3, "backend": "process"}, 3),
    ]
    for options, there in others:
        text = f"the number of workers that read the stream was 2 and is {there} here"
        with pytest.raises(StateError, match=re.escape(text)):
            DataLoader(Numbers(17), 3, seed=2, **options).load_state_dict(state)


def test_a_state_of_threads_goes_on_with_any_number_of_them() -> None:
    expected = list(DataLoader(Numbers(17), 3, seed=2))
    for saved, resumed in ((2, 3), (3, 0), (0, 2)):
        batches = iter(DataLoader(Numbers(17), 3, seed=2, num_workers=saved, backend="thread"))
        first = [next(batches), next(batches)]
        loader = DataLoader(Numbers(17), 3, seed=2, num_workers=resumed, backend="thread")
        loader.load_state_dict(json.loads(json.dumps(batches.state_dict())))
        check_same(first + list(loader), expected)


@pytest.mark.parametrize("shard", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_out_of_order_nothing_is_lost_or_doubled(backend: Any, shard: bool) -> None:
    def make() -> DataLoader[Any]:
        return DataLoader(
            Numbers(30), 2, num_workers=3, shard=shard, seed=2, backend=backend, in_order=False, persistent_workers=True
        )

    with make() as loader, make() as other:
        for consumed in (0, 1, 4, 8, 15):
            loader.set_epoch(0)
            batches = iter(loader)
            first = [next(batches) for _ in range(consumed)]
            state = json.loads(json.dumps(batches.state_dict()))
            other.load_state_dict(state)
            rest = numbers(other)
            assert sorted(rest) == sorted(numbers(batches))
            found = [number for batch in numbers(first) + rest for number in batch]
            assert sorted(found) == list(range(30))


# ------------------------------------------------------------------ errors


def test_an_error_loses_no_sample() -> None:
    """Each error comes once, before the batch in which it happened, and that is whole."""
    loader = DataLoader(Flaky(16, {0, 5, 7, 8}), 2, num_workers=2, backend="process")
    for _ in range(2):
        assert walk(iter(loader)) == [
            "0 is broken", [0, 2], [1, 3], [4, 6], "5 is broken", "7 is broken", [5, 7],
            "8 is broken", [8, 10], [9, 11], [12, 14], [13, 15],
        ]  # fmt: skip


def test_an_error_in_threads_is_as_without_workers() -> None:
    stream = Flaky(16, {0, 5, 7, 8})
    expected = walk(iter(DataLoader(stream, 2)))
    loader = DataLoader(stream, 2, num_workers=3, backend="thread")
    assert [walk(iter(loader)) for _ in range(2)] == [expected, expected]


@pytest.mark.parametrize("num_workers", [1, 3])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_of_a_sharded_stream_is_told_once(backend: Any, num_workers: int) -> None:
    """All workers come across it, and the one that has the batch in hand tells of it."""

    class Whole(Flaky):
        def __iter__(self) -> Iterator[int]:
            super().__iter__()
            assert (self.number, self.step) == (0, 1)
            return self

    stream = Whole(10, {0, 3, 4, 9})
    expected = walk(iter(DataLoader(stream, 2)))
    assert expected.count("3 is broken") == 1
    loader = DataLoader(stream, 2, num_workers=num_workers, shard=True, backend=backend)
    assert walk(iter(loader)) == expected


@pytest.mark.parametrize(("backend", "before"), [("thread", 2), ("process", 3)])
def test_errors_name_step_and_epoch(backend: Any, before: int) -> None:
    batches = iter(DataLoader(Flaky(8, {5}), 2, num_workers=2, backend=backend, seed=4))
    for _ in range(before):
        next(batches)
    with pytest.raises(OSError, match="5 is broken") as caught:
        next(batches)
    assert caught.value.__notes__ == [f"in step {before} of epoch 0 (seed 4)"]


@pytest.mark.parametrize("shard", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stream_that_cannot_begin(backend: Any, shard: bool) -> None:
    class Broken(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            raise OSError("no such file")

    loader = DataLoader(Broken(), num_workers=2, backend=backend, shard=shard)
    for _ in range(2):
        found = walk(iter(loader))
        assert set(found) == {"no such file"}
        assert 1 <= len(found) <= 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_of_collation_passes_the_batch_over(backend: Any) -> None:
    class Ragged(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            for number in range(6):
                yield np.full(1 + (number == 3), number)

    loader = DataLoader(Ragged(), 2, num_workers=2, backend=backend, shard=True)
    batches = iter(loader)
    assert next(batches).tolist() == [[0], [1]]
    with pytest.raises(ValueError, match=r"^the sample differs in shape: sample 2 has \(1,\), sample 3 has \(2,\)"):
        next(batches)
    state = batches.state_dict()
    assert next(batches).tolist() == [[4], [5]]
    loader.load_state_dict(state)
    assert [batch.tolist() for batch in loader] == [[[4], [5]]]


@pytest.mark.parametrize(("backend", "before"), [("thread", 2), ("process", 3)])
def test_a_state_taken_at_an_error(backend: Any, before: int) -> None:
    """The samples around it come after the resume."""
    loader = DataLoader(Flaky(12, {5}), 2, num_workers=2, backend=backend, seed=1)
    batches = iter(loader)
    found = [next(batches).tolist() for _ in range(before)]
    with pytest.raises(OSError, match="5 is broken"):
        next(batches)
    state = batches.state_dict()
    rest = [batch.tolist() for batch in batches]
    loader.load_state_dict(state)
    again = walk(iter(loader))
    assert [batch for batch in again if isinstance(batch, list)] == rest
    assert sorted(number for batch in found + rest for number in batch) == list(range(12))
