"""Iterators: what torch's have beside their batches, and the ways of fetching."""

from __future__ import annotations

import gc
import pickle
import time
import weakref
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.torch.oracle import assert_same, both, ours, theirs  # noqa: E402

from headrace.torch.work import TorchReader  # noqa: E402

pytestmark = pytest.mark.usefixtures("by_value")


class Bulk:
    """Gives several samples at once, or a batch for a list of indices."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: Any) -> Any:
        self.asked.append(index)
        return torch.as_tensor(index) * 2

    def __getitems__(self, indices: list[int]) -> list[Any]:
        self.asked.append(("many", indices))
        return [torch.tensor(index * 2) for index in indices]


class Batched(Bulk):
    """Gives one dict for many indices, whatever their number."""

    def __getitems__(self, indices: list[int]) -> Any:
        return {"indices": torch.tensor(indices)}


class Plain(Bulk):
    __getitems__ = None  # type: ignore[assignment]


def unchanged(samples: Any) -> Any:
    return samples


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("kind", [Bulk, Batched, Plain])
def test_ways_of_fetching(kind: Any, num_workers: int) -> None:
    arguments = {"batch_size": 3, "num_workers": num_workers}
    assert_same(*both(kind, **arguments, collate_fn=unchanged))
    if kind is not Batched:
        assert_same(*both(kind, **arguments))
    assert_same(*both(kind, batch_size=None, sampler=[[0, 1], [5, 2, 2]], num_workers=num_workers))


def test_what_the_dataset_is_asked() -> None:
    for arguments in ({"batch_size": 3}, {"batch_size": None}, {"batch_sampler": [[0, 4], [3]]}):
        asked = []
        for module in (theirs, ours):
            dataset = Bulk()
            list(module.DataLoader(dataset, **arguments))
            asked.append(dataset.asked)
        assert asked[0] == asked[1]
        assert [type(each) for each in asked[0]] == [type(each) for each in asked[1]]


def test_other_datasets_than_torchs() -> None:
    for dataset, more in (
        (range(5), {}),
        ([1.0, 2.0], {}),
        ("abc", {}),
        (torch.arange(6).reshape(3, 2), {}),
        (np.arange(6).reshape(3, 2), {}),
        ({"a": 1, "b": 2}, {"sampler": ["b", "a"]}),
        ({0: 1, 1: 2}, {}),
    ):
        for single in ({}, {"batch_size": None}, {"batch_size": 2}):
            expected = list(theirs.DataLoader(dataset, **more, **single))
            assert_same(expected, list(ours.DataLoader(dataset, **more, **single)))


def test_every_dataset_of_torch() -> None:
    x, y = torch.arange(20.0).reshape(10, 2), torch.arange(10)
    tensors = theirs.TensorDataset(x, y)
    for dataset in (
        tensors,
        theirs.Subset(tensors, [3, 1, 9]),
        tensors + tensors,
        theirs.StackDataset(tensors, y),
        theirs.StackDataset(a=tensors, b=list(range(10))),
        theirs.random_split(tensors, [3, 7], torch.Generator().manual_seed(1))[1],
    ):
        for arguments in ({"batch_size": 4}, {}, {"batch_size": None}, {"batch_size": 4, "num_workers": 2}):
            expected = list(theirs.DataLoader(dataset, **arguments))
            assert_same(expected, list(ours.DataLoader(dataset, **arguments)))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_iterator(num_workers: int) -> None:
    loader = ours.DataLoader(list(range(10)), batch_size=4, num_workers=num_workers)
    batches = iter(loader)
    assert iter(batches) is batches
    assert isinstance(batches, torch.utils.data.dataloader._BaseDataLoaderIter)
    assert len(batches) == 3
    next(batches)
    assert len(batches) == 3
    assert batches._num_yielded == 1
    with pytest.raises(NotImplementedError):
        pickle.dumps(batches)
    assert len(list(batches)) == 2
    assert next(batches, None) is None
    assert next(batches, None) is None


def test_len_follows_a_growing_dataset() -> None:
    dataset = list(range(4))
    loader = ours.DataLoader(dataset, batch_size=4, shuffle=True)
    assert len(list(loader)) == 1
    dataset += list(range(4))
    assert len(loader) == len(list(loader)) == 2


def test_persistent_workers_are_one_iterator() -> None:
    loader = ours.DataLoader(Bulk(), batch_size=2, num_workers=1, persistent_workers=True)
    batches = iter(loader)
    first = next(batches)
    pids = [worker.pid for worker in batches._workers]
    assert iter(loader) is batches is loader._iterator
    assert_same(first, next(batches))
    assert len(list(batches)) == 3
    assert [worker.pid for worker in batches._workers] == pids
    loader._iterator._shutdown_workers()
    assert not any(worker.is_alive() for worker in batches._workers)


class Pids(Bulk):
    def __getitem__(self, index: int) -> Any:
        return torch.utils.data.get_worker_info().id

    __getitems__ = None  # type: ignore[assignment]


def test_tasks_go_round() -> None:
    found = [batch.tolist() for batch in ours.DataLoader(Pids(), num_workers=2)]
    assert found == [[0], [1], [0], [1], [0], [1], [0]]


@pytest.mark.parametrize("end", ["break", "del", "shutdown", "exhaust", "collect"])
def test_workers_end_well(end: str) -> None:
    batches = iter(ours.DataLoader(Plain(), num_workers=2))
    next(batches)
    workers = batches._workers
    assert [worker.is_alive() for worker in workers] == [True, True]
    assert len({worker.pid for worker in workers}) == 2
    if end == "shutdown":
        batches._shutdown_workers()
    elif end == "exhaust":
        list(batches)
    elif end == "collect":
        circle = [batches]
        circle.append(circle)
        del batches, circle
        gc.collect()
    else:
        del batches
    for worker in workers:
        worker.join(5)
    assert [worker.is_alive() for worker in workers] == [False, False]
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_without_workers_there_are_none() -> None:
    batches = iter(ours.DataLoader([1]))
    assert not hasattr(batches, "_workers")
    batches._shutdown_workers()


def test_iter_alone_asks_no_sampler_and_set_epoch_after_it_counts() -> None:
    for num_workers in (0, 1):
        loaders = []
        for _ in range(2):
            sampler = theirs.DistributedSampler(range(10), 2, 0)
            loaders.append((sampler, ours.DataLoader(list(range(10)), sampler=sampler, num_workers=num_workers)))
        (early, one), (late, other) = loaders
        early.set_epoch(3)
        batches = iter(other)
        late.set_epoch(3)
        assert_same(list(one), list(batches))


def test_a_loader_and_its_iterators_are_freed() -> None:
    loader = ours.DataLoader(list(range(10)), num_workers=1)
    batches = iter(loader)
    next(batches)
    gone = weakref.ref(loader), weakref.ref(batches)
    del loader, batches
    assert [each() for each in gone] == [None, None]


class SlowFirst(Bulk):
    __getitems__ = None  # type: ignore[assignment]

    def __getitem__(self, index: int) -> int:
        time.sleep(0.5 if index == 0 else 0.0)
        return index


def test_in_order_false_hands_out_what_is_there() -> None:
    found = [batch.item() for batch in ours.DataLoader(SlowFirst(), num_workers=2, in_order=False)]
    assert sorted(found) == list(range(7))
    assert found[0] != 0
    assert [batch.item() for batch in ours.DataLoader(SlowFirst(), num_workers=2)] == list(range(7))


def test_profiles_name_the_loader() -> None:
    with torch.profiler.profile() as profile:
        list(ours.DataLoader([1, 2]))
    assert any("enumerate(DataLoader)" in event.key for event in profile.key_averages())


def test_small_batches_that_are_read_together_are_tensors_of_their_own() -> None:
    x = torch.arange(64.0).reshape(32, 2)
    batches = list(ours.DataLoader(ours.TensorDataset(x), batch_size=4))
    parameter = torch.ones(2, requires_grad=True)
    loss = (batches[0][0] * parameter).sum()
    for (batch,) in batches[1:]:
        batch.mul_(2)  # of no concern to the graph of another batch
    loss.backward()
    assert batches[2][0]._base is None
    assert torch.equal(parameter.grad, x[:4].sum(0))


def test_a_dataset_that_is_changed_in_the_midst_of_an_epoch_is_heard() -> None:
    found = []
    for module in (theirs, ours):
        dataset = module.TensorDataset(torch.arange(12))
        batches = iter(module.DataLoader(dataset, batch_size=2))
        first = [next(batches), next(batches)]
        dataset.tensors = (torch.arange(12) * 10,)
        found.append([*first, *batches])
    assert_same(*found)


def test_after_ctrl_c_batches_that_were_read_together_come_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    read, left = TorchReader.read_at_once, [2]

    def interrupted(self: TorchReader, selection: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return read(self, selection)

    monkeypatch.setattr(TorchReader, "read_at_once", interrupted)
    data = torch.utils.data.TensorDataset(torch.arange(1000))
    batches = iter(ours.DataLoader(data, 4))
    found: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(number for (batch,) in batches for number in batch.tolist())
    assert 0 < len(found) < 1000
    found += [number for (batch,) in batches for number in batch.tolist()]
    assert found == list(range(1000))


@pytest.mark.parametrize("kind", ["DataLoader", "StatefulDataLoader"])
@pytest.mark.parametrize("seed", [None, 1])
def test_after_ctrl_c_the_batch_that_was_being_read_comes_again(kind: str, seed: int | None) -> None:
    class Interrupted(Plain):
        def __getitem__(self, index: int) -> Any:
            if index == 4 and len(self.asked) == 4:
                self.asked.append(index)
                raise KeyboardInterrupt
            return super().__getitem__(index)

    loader = getattr(ours, kind)(Interrupted(), batch_size=3, seed=seed)
    batches = iter(loader)
    found = [next(batches).tolist()]
    with pytest.raises(KeyboardInterrupt):
        next(batches)
    state = loader.state_dict()
    assert found + [batch.tolist() for batch in batches] == [[0, 2, 4], [6, 8, 10], [12]]
    loader.load_state_dict(state)
    assert [batch.tolist() for batch in loader] == [[6, 8, 10], [12]]
