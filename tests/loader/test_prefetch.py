"""Prefetched batches: the same ones in the same order, ahead by so many, with a place of their own to resume from."""

from __future__ import annotations

import json
import threading
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, Dataset, IterableDataset, TensorDataset
from headrace.errors import ArgumentError, ArgumentTypeError, HeadraceError
from headrace.loader.prefetch import PrefetchedBatches

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recorder:
    """A mover that notes what it is asked to do."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.finished: list[Any] = []

    def begin(self, loader: Any) -> Iterator[Any]:
        return iter(loader)

    def start(self, batch: Any) -> Any:
        self.started.append(batch)
        return len(self.started) - 1

    def finish(self, moved: Any) -> Any:
        self.finished.append(moved)
        return self.started[moved]


class Failing(Dataset[Any]):
    """Numbers, some of which cannot be read."""

    def __init__(self, *bad: int) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        if index in self.bad:
            raise OSError(f"{index} is gone")
        return index


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(np.arange(20)), batch_size=2, shuffle=True, seed=3, **options)


def numbers(batches: Any) -> list[list[int]]:
    return [batch[0].tolist() for batch in batches]


@pytest.mark.parametrize("size", [1, 2, 3, 10, 50])
def test_batches_come_in_order_in_every_epoch(size: int) -> None:
    expected, found = loader(), PrefetchedBatches(loader(), size, Recorder())
    assert len(found) == 10
    for _ in range(3):
        assert numbers(found) == numbers(expected)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_so_many_are_begun_before_one_is_handed_out(size: int) -> None:
    mover = Recorder()
    batches = iter(PrefetchedBatches(range(6), size, mover))
    for taken in range(1, 7):
        next(batches)
        assert len(mover.started) == min(6, taken + size - 1)
        assert len(mover.finished) == taken
    with pytest.raises(StopIteration):
        next(batches)
    with pytest.raises(StopIteration):
        next(batches)


def test_nothing_is_loaded_before_the_first_batch_is_asked_for() -> None:
    mover = Recorder()
    iter(PrefetchedBatches(range(6), 2, mover))
    assert mover.started == []


@pytest.mark.parametrize(("workers", "backend"), [(0, "auto"), (2, "thread"), (2, "process")])
@pytest.mark.parametrize("size", [1, 3])
def test_a_state_counts_what_was_handed_out(size: int, workers: int, backend: Any) -> None:
    with loader(num_workers=workers, backend=backend) as ours, loader() as plain:
        prefetched = PrefetchedBatches(ours, size, Recorder())
        at_first = prefetched.state_dict()
        assert at_first == plain.state_dict()
        for batch, expected in zip(prefetched, plain, strict=True):
            assert batch[0].tolist() == expected[0].tolist()
            assert prefetched.state_dict() == plain.state_dict()
        assert prefetched.state_dict() == plain.state_dict()  # the next epoch


@given(taken=st.integers(0, 25), size=st.integers(1, 5), other=st.integers(1, 5))
def test_any_stop_is_resumed_exactly(taken: int, size: int, other: int) -> None:
    whole = numbers([*loader(), *loader_at(1)])
    first = PrefetchedBatches(loader(), size, Recorder())
    seen: list[list[int]] = []
    while len(seen) < taken and len(seen) < 20:
        for batch in first:
            seen += numbers([batch])
            if len(seen) == taken:
                break
    second = PrefetchedBatches(loader(), other, Recorder())
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    while len(seen) < 20:
        seen += numbers(second)
    assert seen == whole


def loader_at(epoch: int) -> DataLoader[Any]:
    found = loader()
    found.set_epoch(epoch)
    return found


def test_a_state_of_prefetched_batches_is_one_of_loaders() -> None:
    prefetched = PrefetchedBatches(loader(), 2, Recorder())
    next(iter(prefetched))
    plain = loader()
    plain.load_state_dict(prefetched.state_dict())
    assert numbers(plain) == numbers(loader())[1:]


def test_a_loaded_state_counts_at_once() -> None:
    prefetched = PrefetchedBatches(loader(), 2, Recorder())
    state = prefetched.state_dict()
    batches = iter(prefetched)
    next(batches)
    prefetched.load_state_dict(state)
    assert prefetched.state_dict() == state


@pytest.mark.parametrize("bad", [(0,), (4,), (5, 6), (11,), tuple(range(12))])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_an_error_comes_at_its_turn_and_iteration_goes_on(bad: tuple[int, ...], size: int) -> None:
    def outcomes(batches: Iterator[Any], stateful: Any) -> list[Any]:
        found: list[Any] = []
        while True:
            try:
                found.append(next(batches).tolist())
            except StopIteration:
                return [*found, stateful.state_dict()]
            except OSError as error:
                found.append(str(error))
            found.append(stateful.state_dict())

    plain = DataLoader(Failing(*bad), batch_size=2, seed=0)
    prefetched = PrefetchedBatches(DataLoader(Failing(*bad), batch_size=2, seed=0), size, Recorder())
    assert outcomes(iter(prefetched), prefetched) == outcomes(iter(plain), plain)


def test_an_error_names_the_step_that_failed() -> None:
    batches = iter(PrefetchedBatches(DataLoader(Failing(5), batch_size=2), 4, Recorder()))
    next(batches)
    next(batches)
    with pytest.raises(OSError, match="5 is gone") as caught:
        next(batches)
    assert any("step 2" in note for note in caught.value.__notes__)


def test_what_cannot_be_moved_is_told_at_its_turn() -> None:
    class Refusing(Recorder):
        def start(self, batch: Any) -> Any:
            if batch == 2:
                raise ArgumentError("not this one")
            return super().start(batch)

    batches = iter(PrefetchedBatches(range(4), 3, Refusing()))
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ArgumentError, match="not this one"):
        next(batches)
    assert list(batches) == [3]


def test_a_loader_closed_meanwhile_says_so_after_what_is_ready() -> None:
    inner = loader()
    batches = iter(PrefetchedBatches(inner, 3, Recorder()))
    next(batches)
    inner.close()
    assert numbers([next(batches), next(batches)]) == numbers(loader())[1:3]
    with pytest.raises(HeadraceError, match="the loader is closed"):
        next(batches)


def test_threads_may_share_an_iterator() -> None:
    batches = iter(PrefetchedBatches(loader(), 3, Recorder()))
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.extend(chain(*numbers(batches)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(20))


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(10))


def test_a_stream_is_resumed_where_the_consumer_was() -> None:
    first = PrefetchedBatches(DataLoader(Stream(), batch_size=2), 3, Recorder())
    batches = iter(first)
    assert next(batches).tolist() == [0, 1]
    second = PrefetchedBatches(DataLoader(Stream(), batch_size=2), 2, Recorder())
    second.load_state_dict(first.state_dict())
    assert [batch.tolist() for batch in second] == [[2, 3], [4, 5], [6, 7], [8, 9]]


@pytest.mark.parametrize("size", [0, -1, True, 1.5, None, "2"])
def test_a_size_that_is_none(size: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^size must be a positive integer, .*, but got size="):
        PrefetchedBatches(range(3), size, Recorder())


def test_a_loader_that_is_none() -> None:
    with pytest.raises(ArgumentTypeError, match=r"loader must be a DataLoader or another iterable of batches, .* int"):
        PrefetchedBatches(3, 2, Recorder())  # type: ignore[arg-type]


def test_a_loader_without_a_state() -> None:
    prefetched = PrefetchedBatches([1, 2], 2, Recorder())
    assert list(prefetched) == [1, 2]
    for method in (prefetched.state_dict, lambda: prefetched.load_state_dict({})):
        with pytest.raises(ArgumentTypeError, match=r"a list has no .*state_dict; to resume, prefetch from a headrace"):
            method()


def test_copies_are_a_stage_of_loading() -> None:
    source = loader()
    for _ in PrefetchedBatches(source, 2, Recorder()):
        pass
    stats = source.stats()
    copies = stats.stages["device_copy"]
    assert (copies.batches, copies.bytes) == (10, stats.bytes) == (10, 20 * 8)
    assert 0 < copies.seconds < stats.consumer_seconds


def test_a_loader_without_a_clock_is_moved_all_the_same() -> None:
    assert list(PrefetchedBatches([1, 2, 3], 2, Recorder())) == [1, 2, 3]
