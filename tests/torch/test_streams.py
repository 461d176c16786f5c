"""IterableDatasets: batches, workers, lengths and their warnings as torch has them, and what it loses is not lost."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from tests.torch.oracle import assert_same, both, ours, run, theirs  # noqa: E402

from headrace import IterableDataset  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("by_value")


class Whole(theirs.IterableDataset):
    """The same samples for every worker."""

    def __init__(self, length: int = 10) -> None:
        self.length = length

    def __iter__(self) -> Iterator[Any]:
        return iter([(index, float(torch.rand(()))) for index in range(self.length)])


class Divided(theirs.IterableDataset):
    """Each worker's share; they differ in length."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths

    def __iter__(self) -> Iterator[int]:
        info = torch.utils.data.get_worker_info()
        numbers = range(len(self.lengths)) if info is None else [info.id]
        for number in numbers:
            yield from range(100 * number, 100 * number + self.lengths[number])


class Told(Whole):
    def __len__(self) -> int:
        return 4


class Numbered(theirs.IterableDataset):
    """Samples of an epoch that the program tells it."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.told.append(epoch)

    def __iter__(self) -> Iterator[int]:
        return iter([100 * (self.told or [0])[-1] + index for index in range(4)])


def hugging_face() -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_dict({"x": list(range(12))}).to_iterable_dataset().shuffle(seed=1, buffer_size=5)


class Eager(theirs.IterableDataset):
    """It draws as soon as it is asked."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails

    def __iter__(self) -> Iterator[int]:
        if self.fails:
            raise ValueError("there is no such file")
        return iter(torch.randperm(6).tolist())


class OwnStream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(7))

    def __len__(self) -> int:
        return 7


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batch_size", [None, 1, 3])
@pytest.mark.parametrize("drop_last", [False, True])
def test_samples_and_draws(num_workers: int, batch_size: int | None, drop_last: bool) -> None:
    if batch_size is None and drop_last:
        pytest.skip("torch refuses it")
    assert_same(*both(Whole, batch_size=batch_size, num_workers=num_workers, drop_last=drop_last))


@pytest.mark.parametrize("lengths", [[1, 9], [8, 2], [0, 5]])
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_that_end_earlier(lengths: list[int], persistent: bool) -> None:
    arguments = {"batch_size": 2, "num_workers": 2, "persistent_workers": persistent}
    assert_same(*both(lambda: Divided(lengths), **arguments))


@pytest.mark.parametrize("arguments", [{"backend": "thread"}, {"shard": True}, {"shard": True, "backend": "thread"}])
def test_no_sample_is_doubled_or_lost(arguments: dict[str, Any]) -> None:
    """Torch's worker info is one for the whole process: in threads a stream that divides itself by it is dealt out."""
    loader = ours.DataLoader(Divided([5, 6]), batch_size=3, num_workers=2, **arguments)
    found = [index for batch in loader for index in batch.tolist()]
    assert sorted(found) == [*range(5), *range(100, 106)]


def test_chain() -> None:
    assert_same(*both(lambda: theirs.ChainDataset([Whole(3), Whole(4)]), batch_size=2))


def lengths_warned_of(caught: list[warnings.WarningMessage]) -> list[str]:
    """The warnings of lengths; the garbage of earlier tests may warn as well."""
    texts = [str(each.message) for each in caught if "Length of IterableDataset" in str(each.message)]
    return [text.split(" For multi")[0].split(">")[-1] for text in texts]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_more_samples_than_the_length_are_warned_of_where_it_was_asked_for(num_workers: int) -> None:
    texts = []
    for module in (theirs, ours):
        loader = module.DataLoader(Told(6), batch_size=1, num_workers=num_workers)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            list(loader)
            before = lengths_warned_of(caught)
            assert len(loader) == 4
            list(loader)
        assert not before
        texts.append(lengths_warned_of(caught))
    assert texts[0] == texts[1]
    assert len(texts[1]) == 2


def test_length() -> None:
    for arguments in (
        {"batch_size": 3},
        {"batch_size": 3, "drop_last": True},
        {"batch_size": None},
        {"num_workers": 1},
    ):
        assert len(ours.DataLoader(Told(), **arguments)) == len(theirs.DataLoader(Told(), **arguments))
    with pytest.raises(TypeError):
        len(ours.DataLoader(Whole()))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_streams_of_headrace(num_workers: int) -> None:
    loader = ours.DataLoader(OwnStream(), batch_size=3, num_workers=num_workers, shard=bool(num_workers))
    assert isinstance(loader.dataset, theirs.IterableDataset)
    assert len(loader) == 3
    found = list(loader)
    assert [batch.tolist() for batch in found] == [[0, 1, 2], [3, 4, 5], [6]]


def test_dealt_streams_of_torch_are_those_of_no_workers() -> None:
    expected = run(ours, Whole(20), batch_size=3)
    found = run(ours, Whole(20), batch_size=3, num_workers=2, backend="thread")
    assert_same([batch[0] for batch in expected[:-3]], [batch[0] for batch in found[:-3]])


def test_without_workers_a_stream_is_asked_by_iter() -> None:
    found: list[list[Any]] = []
    for module in (theirs, ours):
        torch.manual_seed(3)
        one, other = (module.DataLoader(Eager(), batch_size=size) for size in (2, 3))
        batches = iter(one)
        found.append([torch.rand(1), *batches, *map(list, zip(one, other, strict=False)), torch.rand(1)])
    assert_same(*found)


def test_what_iter_of_a_stream_raises_is_raised_by_iter_of_the_loader() -> None:
    stream = Eager(fails=True)
    loader = ours.DataLoader(stream, batch_size=3)
    for _ in range(2):
        with pytest.raises(ValueError, match="there is no such file"):
            iter(loader)
    stream.fails = False
    assert len(list(loader)) == 2


# ---------------------------------------------------------------- epochs that a stream is told


@pytest.mark.parametrize("arguments", [{}, {"num_workers": 1}, {"num_workers": 1, "persistent_workers": True}])
@pytest.mark.parametrize("make", [Numbered, hugging_face])
def test_a_stream_is_in_the_epoch_that_the_program_told_it(make: Any, arguments: dict[str, Any]) -> None:
    found: list[list[Any]] = []
    for module in (theirs, ours):
        stream = make()
        loader = module.DataLoader(stream, batch_size=3, **arguments)
        found.append([])
        for epoch in (4, 4, None, 2):
            if epoch is not None:
                stream.set_epoch(epoch)
            found[-1].extend(loader)
        assert make is hugging_face or stream.told == [4, 4, 2]
    assert_same(*found)


def test_with_a_seed_and_by_set_epoch_the_loader_tells_it() -> None:
    stream = Numbered()
    assert [batch.tolist() for batch in ours.DataLoader(stream, batch_size=4)] == [[0, 1, 2, 3]]
    ours.DataLoader(stream, batch_size=4).set_epoch(3)
    assert stream.told == [3]
    loader = ours.DataLoader(stream, batch_size=4, seed=0)
    assert [batch.tolist() for _ in range(2) for batch in loader] == [[0, 1, 2, 3], [100, 101, 102, 103]]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_stream_goes_on_in_the_epoch_that_it_was_told(num_workers: int) -> None:
    def make_loader(stream: Any) -> Any:
        return ours.StatefulDataLoader(stream, batch_size=3, num_workers=num_workers)

    stream = hugging_face()
    stream.set_epoch(5)
    loader = make_loader(stream)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    resumed = make_loader(hugging_face())
    resumed.load_state_dict(state)
    assert_same(list(batches), list(resumed))
