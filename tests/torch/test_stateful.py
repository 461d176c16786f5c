"""StatefulDataLoader: what torchdata's gives after a resume, for datasets and samplers with and without a state."""

from __future__ import annotations

import copy
import json
import pathlib
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")
torchdata = pytest.importorskip("torchdata.stateful_dataloader")

from tests.torch.oracle import assert_same, ours, theirs  # noqa: E402
from torchdata.stateful_dataloader.sampler import StatefulDistributedSampler  # noqa: E402

from headrace import HeadraceWarning  # noqa: E402
from headrace.errors import StateError  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),  # torchdata's
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled"),  # as it is without ranks
]
LOADERS = (torchdata.StatefulDataLoader, ours.StatefulDataLoader)
LENGTH = 22


class Counting:
    """A dataset with indices whose samples tell how many have been read before, in this copy of it."""

    def __init__(self) -> None:
        self.read = 0

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> tuple[int, int]:
        self.read += 1
        return index, self.read

    def state_dict(self) -> dict[str, Any]:
        return {"read": self.read, "tensor": torch.tensor([self.read])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.read = state["read"]
        assert state["tensor"].item() == self.read


class Stream(theirs.IterableDataset):
    """Numbers, a share for each worker, of a different length."""

    def share(self) -> list[int]:
        info = torch.utils.data.get_worker_info()
        return list(range(LENGTH)) if info is None else list(range(info.id, LENGTH - 9 * info.id, info.num_workers))

    def __iter__(self) -> Iterator[int]:
        return iter(self.share())


class StatefulStream(Stream):
    """The same with a state of its own."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[int]:
        share = self.share()
        while self.at < len(share):
            self.at += 1
            yield share[self.at - 1]
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


class Numbers:
    """An iterator with a state."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers, self.at = numbers, 0

    def __iter__(self) -> Numbers:
        return self

    def __next__(self) -> int:
        if self.at == len(self.numbers):
            raise StopIteration
        self.at += 1
        return self.numbers[self.at - 1]

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


class StreamOfIterators(Stream):
    def __iter__(self) -> Iterator[int]:
        return Numbers(self.share())


class StatefulIterator(StatefulStream):
    """A stream that is its own iterator."""

    def __iter__(self) -> Any:
        self.numbers = self.share()
        return self

    def __next__(self) -> int:
        if self.at == len(self.numbers):
            self.at = 0
            raise StopIteration
        self.at += 1
        return self.numbers[self.at - 1]


class WithState(theirs.Sampler):
    """A sampler whose state says where it stands."""

    def __init__(self) -> None:
        self.at = 0

    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Iterator[int]:
        while self.at < LENGTH:
            self.at += 1
            yield (self.at * 7) % LENGTH
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


class WithIteratorState(theirs.Sampler):
    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Iterator[int]:
        return Numbers([(at * 7) % LENGTH for at in range(LENGTH)])


DATASETS = {
    "plain": lambda: list(range(LENGTH)),
    "counting": Counting,
    "stream": StatefulStream,
    "iterators": StreamOfIterators,
    "iterator": StatefulIterator,
}


def resumed(kind: Any, make: Any, stop: int, *, epochs: int = 2, **arguments: Any) -> list[Any]:
    """The batches of some epochs after a stop: what comes next, in a loader that is given the state."""
    torch.manual_seed(1)
    loader = kind(make(), batch_size=3, **given(arguments))
    list(islice(iter(loader), stop))
    state = copy.deepcopy(loader.state_dict())
    torch.manual_seed(2)
    loader = kind(make(), batch_size=3, **given(arguments))
    loader.load_state_dict(state)
    return [batch for _ in range(epochs) for batch in loader]


def given(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value() if name == "sampler" else value for name, value in arguments.items()}


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize(
    ("num_workers", "every", "stop"), [(0, 1, 0), (0, 1, 1), (0, 1, 5), (0, 3, 5), (2, 1, 4), (2, 3, 1), (2, 3, 5)]
)
def test_resumed_as_torchdata_does(name: str, num_workers: int, stop: int, every: int) -> None:
    arguments = {"num_workers": num_workers, "snapshot_every_n_steps": every}
    expected, found = (resumed(kind, DATASETS[name], stop, epochs=1, **arguments) for kind in LOADERS)
    assert_same(expected, found)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("name", DATASETS)
def test_epochs_are_those_of_torchdata(name: str, num_workers: int) -> None:
    found = []
    for kind in LOADERS:
        loader = kind(DATASETS[name](), batch_size=3, num_workers=num_workers)
        found.append([list(loader) for _ in range(2)])
    assert_same(*found)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_shuffled_epochs_are_those_that_torchdata_has_without_workers(num_workers: int) -> None:
    """With workers it draws two orders for an epoch."""
    torch.manual_seed(1)
    expected = torchdata.StatefulDataLoader(range(LENGTH), 3, shuffle=True)
    expected = [list(expected) for _ in range(3)]
    torch.manual_seed(1)
    loader = ours.StatefulDataLoader(range(LENGTH), 3, shuffle=True, num_workers=num_workers)
    assert_same(expected, [list(loader) for _ in range(3)])


@pytest.mark.parametrize(("num_workers", "stop"), [(0, 1), (0, 5), (0, 8), (2, 5)])
def test_shuffled_epochs_go_on_as_without_a_stop(stop: int, num_workers: int) -> None:
    """As torchdata's does where it is stopped in an epoch: also the epochs after it."""
    torch.manual_seed(1)
    loader = ours.StatefulDataLoader(range(LENGTH), 3, shuffle=True, num_workers=num_workers)
    whole = [batch for _ in range(3) for batch in loader]
    found = resumed(ours.StatefulDataLoader, DATASETS["plain"], stop, epochs=3, shuffle=True, num_workers=num_workers)
    assert_same(whole[stop:], found[: len(whole) - stop])
    if stop < 8:
        expected = resumed(torchdata.StatefulDataLoader, DATASETS["plain"], stop, shuffle=True)
        assert_same(expected, found[: len(expected)])


@pytest.mark.parametrize("sampler", [WithState, WithIteratorState, lambda: StatefulDistributedSampler(range(9), 2, 0)])
@pytest.mark.parametrize(("num_workers", "stop"), [(0, 0), (0, 1), (2, 1)])
def test_samplers_with_a_state(sampler: Any, num_workers: int, stop: int) -> None:
    arguments = {"sampler": sampler, "num_workers": num_workers}
    expected, found = (resumed(kind, DATASETS["plain"], stop, **arguments) for kind in LOADERS)
    assert_same(expected, found)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_sampler_with_a_state_begins_the_next_epoch(num_workers: int) -> None:
    def loader() -> Any:
        sampler = StatefulDistributedSampler(range(9), 2, 0)
        return ours.StatefulDataLoader(range(9), 2, sampler=sampler, num_workers=num_workers)

    first = loader()
    epochs = [list(first), list(first)]
    other = loader()
    other.load_state_dict(first.state_dict())
    assert_same(epochs[1], list(other))


@pytest.mark.parametrize(("others", "seed"), [((0, 2), None), ((2, 0), 5), ((2, 1), None)])
def test_another_number_of_workers_where_the_dataset_has_indices(others: tuple[int, int], seed: int | None) -> None:
    torch.manual_seed(1)
    loaders = [
        ours.StatefulDataLoader(range(LENGTH), 3, shuffle=True, num_workers=number, seed=seed) for number in others
    ]
    batches = iter(loaders[0])
    list(islice(batches, 2))
    loaders[1].load_state_dict(loaders[0].state_dict())
    assert_same(list(batches), list(loaders[1]))


@pytest.mark.parametrize("make", [Counting, StatefulStream])
def test_another_number_of_copies_is_refused(make: Any) -> None:
    loader = ours.StatefulDataLoader(make(), 3, num_workers=2)
    next(iter(loader))
    other = ours.StatefulDataLoader(make(), 3, num_workers=1)
    with pytest.raises(StateError, match="2"):
        other.load_state_dict(loader.state_dict())


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stream_without_a_state_is_read_again(num_workers: int) -> None:
    loader = ours.StatefulDataLoader(Stream(), 3, num_workers=num_workers)
    batches = iter(loader)
    list(islice(batches, 3))
    other = ours.StatefulDataLoader(Stream(), 3, num_workers=num_workers)
    with pytest.warns(HeadraceWarning, match="up to step 3"):
        other.load_state_dict(loader.state_dict())
    assert_same(list(batches), list(other))


@pytest.mark.parametrize("arguments", [{"shard": True}, {"backend": "thread"}])
@pytest.mark.parametrize("every", [1, 2])
def test_a_stream_that_is_dealt_out(arguments: dict[str, Any], every: int) -> None:
    class Whole(StatefulStream):
        def share(self) -> list[int]:
            return list(range(LENGTH))

    arguments = {**arguments, "snapshot_every_n_steps": every}
    expected = list(ours.StatefulDataLoader(Whole(), 3))
    found = resumed(ours.StatefulDataLoader, Whole, 3, epochs=1, num_workers=2, **arguments)
    assert_same(expected[3:], found)


def test_workers_that_persist_keep_the_states_of_their_datasets() -> None:
    arguments: dict[str, Any] = {"num_workers": 2, "persistent_workers": True}
    loader = ours.StatefulDataLoader(Counting(), 3, **arguments)
    whole = [list(loader) for _ in range(2)]
    loader.load_state_dict(ours.StatefulDataLoader(Counting(), 3, **arguments).state_dict())
    assert_same(whole[0], list(loader))
    other = ours.StatefulDataLoader(Counting(), 3, **arguments)
    other.load_state_dict(loader.state_dict())
    assert_same(whole[1], list(other))


@pytest.mark.parametrize("make", [Counting, StatefulStream])
@pytest.mark.parametrize("stop", [0, 3])
def test_a_state_of_a_loader_that_has_not_gone_on(make: Any, stop: int) -> None:
    loader = ours.StatefulDataLoader(make(), 3)
    batches = iter(loader)
    list(islice(batches, stop))
    second, third = (ours.StatefulDataLoader(make(), 3) for _ in range(2))
    second.load_state_dict(loader.state_dict())
    third.load_state_dict(second.state_dict())
    assert second.state_dict() == third.state_dict() == loader.state_dict()
    assert_same(list(batches), list(third))


# ------------------------------------------------------------------ the state


def test_entries_are_always_the_same() -> None:
    for make in (*DATASETS.values(), Stream):
        loader = ours.StatefulDataLoader(make(), 3)
        for _ in range(2):
            state = loader.state_dict()
            assert {name: type(value) for name, value in state.items()} == {
                "version": int,
                "loader": str,
                "position": str,
                "snapshot": str,
            }
            assert json.loads(json.dumps(state)) == state
            next(iter(loader))


def test_an_empty_state_changes_nothing() -> None:
    loader = ours.StatefulDataLoader(range(9), 3)
    batches = iter(loader)
    next(batches)
    loader.load_state_dict({})
    assert len(list(batches)) == 2


@pytest.mark.parametrize("kind", [ours.StatefulDataLoader, torchdata.StatefulDataLoader, ours.DataLoader])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_state_of_another_kind_names_the_kind(kind: Any, num_workers: int) -> None:
    names = {ours.StatefulDataLoader: "headrace.torch.StatefulDataLoader", ours.DataLoader: "headrace.DataLoader"}
    state = kind([1], num_workers=num_workers).state_dict()
    for other in names:
        if other is kind:
            continue
        with pytest.raises(StateError, match=names.get(kind, "torchdata's StatefulDataLoader")):
            other([1]).load_state_dict(state)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ({"next_index": 2}, "an iterator of Grain's"),
        ({"epoch": 0, "sample_in_epoch": 8, "shuffle_seed": 1}, "Mosaic's StreamingDataLoader"),
    ],
)
def test_states_of_other_libraries_are_named(state: dict[str, Any], kind: str) -> None:
    for loader in (ours.DataLoader([1]), ours.StatefulDataLoader([1])):
        with pytest.raises(StateError, match=kind):
            loader.load_state_dict(state)


def test_states_run_no_code() -> None:
    class Dataset(Counting):
        def state_dict(self) -> dict[str, Any]:
            return {"path": pathlib.PurePosixPath()}

    loader = ours.StatefulDataLoader(Dataset(), 3)
    with pytest.raises(StateError, match="add_safe_globals"):
        loader.load_state_dict(loader.state_dict())


@pytest.mark.parametrize("every", [0, -1, True, "2", 1.5])
def test_steps_between_snapshots_are_checked(every: Any) -> None:
    with pytest.raises(ValueError, match="snapshot_every_n_steps"):
        ours.StatefulDataLoader([1], snapshot_every_n_steps=every)


# ------------------------------------------------------------------ checkpoints of many ranks


@pytest.mark.parametrize("arguments", [{"seed": 2}, {}])
def test_the_state_of_rank_0_restores_all_ranks(arguments: dict[str, Any]) -> None:
    def loaders() -> list[Any]:
        torch.manual_seed(1)
        return [
            ours.StatefulDataLoader(range(LENGTH), 3, shuffle=True, rank=rank, world_size=2, **arguments)
            for rank in range(2)
        ]

    began = loaders()
    for loader in began:
        list(loader)
        loader.set_epoch(1)
    running = [iter(loader) for loader in began]
    for batches in running:
        next(batches)
    state = began[0].state_dict()
    rest = [list(batches) for batches in running]
    for loader, expected in zip(loaders(), rest, strict=True):
        loader.load_state_dict(state)
        assert_same(expected, list(loader))


@pytest.mark.parametrize("name", ["plain", "counting", "stream", "iterators"])
def test_distributed_checkpoints(tmp_path: pathlib.Path, name: str) -> None:
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    from torch.distributed.checkpoint.stateful import Stateful

    loader = ours.StatefulDataLoader(DATASETS[name](), 3)
    assert isinstance(loader, Stateful)
    batches = iter(loader)
    list(islice(batches, 2))
    checkpoint.save({"loader": loader}, checkpoint_id=tmp_path, no_dist=True)
    other = ours.StatefulDataLoader(DATASETS[name](), 3)
    checkpoint.load({"loader": other}, checkpoint_id=tmp_path, no_dist=True)
    assert_same(list(batches), list(other))
