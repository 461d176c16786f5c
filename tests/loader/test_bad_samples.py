"""Samples that cannot be read are left out or replaced: alike for any workers, and listed."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import (
    BadSample,
    DataLoader,
    Dataset,
    HeadraceWarning,
    IterableDataset,
    MixUp,
    default_collate,
    sample_rng,
)
from headrace.errors import TooManyErrorsError, UnexpectedStopIterationError
from headrace.errors.notes import name_file
from headrace.kernels import reference
from headrace.loader.cursor import Epoch
from headrace.rng.places import each_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.filterwarnings("ignore:sample .* This is the only warning:headrace.HeadraceWarning"),
]
LENGTH, SEED = 30, 5
BAD = (3, 4, 11, 17, 18, 19, 29)


class Flawed(Dataset[Any]):
    """Sample i is i and a number of its own; some cannot be read."""

    def __init__(self, bad: Any = BAD, length: int = LENGTH) -> None:
        self.bad = frozenset(bad)
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> tuple[int, float]:
        noise = sample_rng().random()
        if index in self.bad:
            raise OSError(2, "no such file", f"/data/{index}.jpg")
        return index, noise


class FlawedBatches(Flawed):
    """Reads whole batches, by a way of its own, and cannot say which sample is bad."""

    def __getitem__(self, index: int, /) -> tuple[int, float]:
        return super().__getitem__(index)

    def get_batch(self, indices: Any) -> Any:
        if self.bad & set(indices.tolist()):
            raise OSError("somewhere")
        noise = np.empty(len(indices))
        with each_sample(len(indices)) as move_to:
            for place in range(len(indices)):
                move_to(place)
                noise[place] = sample_rng().random()
        return indices.copy(), noise


class FlawedMany(Flawed):
    def __getitem__(self, index: int, /) -> tuple[int, float]:
        return super().__getitem__(index)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


WORKERS: list[dict[str, Any]] = [
    {},
    {"num_workers": 2, "backend": "thread"},
    {"num_workers": 1, "backend": "process"},
    {"num_workers": 2, "backend": "process"},
    {"num_workers": 2, "multiprocessing_context": "fork"},
]


def instead(index: int, attempt: int, count: int, epoch: int) -> int:
    """The oracle of what is read in place of a sample: 64 bits of Philox, scaled to the count."""
    words = reference.philox(Epoch(epoch, SEED).draws_key, np.array([index]), 0x48520005, attempt)[0]
    return (int(words[0]) + (int(words[1]) << 32)) * count // 2**64


def replaced(index: int, bad: Any, epoch: int, length: int = LENGTH) -> int:
    found, attempt = index, 0
    while found in bad:
        found, attempt = instead(index, attempt, length, epoch), attempt + 1
    return found


def expected(
    on_error: Any, bad: Any = BAD, *, epoch: int = 0, size: int = 4, length: int = LENGTH, **given: Any
) -> list[Any]:
    """The batches of a dataset without flaws, of which samples are left out or others taken."""
    whole = Flawed((), length)
    plain = DataLoader(whole, size, seed=SEED, **given)
    plain.set_epoch(epoch)
    order = [batch[0].tolist() for batch in plain]
    every = DataLoader(whole, length, seed=SEED).batch(0, epoch)[1]  # draws do not depend on the batch
    if on_error == "skip":
        kept = [[index for index in batch if index not in bad] for batch in order]
    else:
        kept = [[replaced(index, bad, epoch, length) for index in batch] for batch in order]
    return [(np.array(batch), every[batch]) for batch in kept if batch]


def check(found: Any, wanted: Any) -> None:
    np.testing.assert_equal(list(found), wanted)


# ------------------------------------------------------------------ what comes


@pytest.mark.parametrize("on_error", ["skip", "replace"])
@pytest.mark.parametrize("kind", [Flawed, FlawedBatches, FlawedMany])
@pytest.mark.parametrize("workers", WORKERS, ids=str)
@pytest.mark.usefixtures("forks_quietly")
def test_any_workers_and_capabilities_give_the_same(kind: Any, on_error: Any, workers: dict[str, Any]) -> None:
    with DataLoader(kind(), 4, shuffle=True, seed=SEED, on_error=on_error, **workers) as loader:
        for epoch in range(2):
            check(loader, expected(on_error, epoch=epoch, shuffle=True))
        assert sorted(bad.index for bad in loader.bad_samples) == list(BAD)
        assert loader.stats().bad_samples == len(BAD)


@settings(max_examples=40, deadline=None)
@given(bad=st.sets(st.integers(0, 11), max_size=11), size=st.integers(1, 12), shuffle=st.booleans())
@pytest.mark.parametrize("on_error", ["skip", "replace"])
def test_whichever_samples_are_bad(on_error: Any, bad: set[int], size: int, shuffle: bool) -> None:
    loader = DataLoader(Flawed(bad, 12), size, shuffle=shuffle, seed=SEED, on_error=on_error)
    wanted = expected(on_error, bad, size=size, length=12, shuffle=shuffle)
    check(loader, wanted)
    assert {sample.index for sample in loader.bad_samples} == bad
    if on_error == "replace":
        check([loader.batch(step, 0) for step in range(len(loader))], wanted)


@pytest.mark.parametrize("on_error", ["skip", "replace"])
def test_nothing_is_changed_where_nothing_fails(on_error: Any) -> None:
    for kind in (Flawed, FlawedBatches, FlawedMany):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loader = DataLoader(kind(()), 4, shuffle=True, seed=SEED, on_error=on_error, max_errors=0)
            check(loader, list(DataLoader(Flawed(()), 4, shuffle=True, seed=SEED)))
        assert loader.bad_samples == ()


@pytest.mark.parametrize("on_error", ["skip", "replace"])
@pytest.mark.parametrize("size", [None, 1, 4])
@pytest.mark.parametrize("workers", [{}, {"num_workers": 2, "backend": "thread"}], ids=str)
def test_resume_at_each_step(on_error: Any, size: int | None, workers: dict[str, Any]) -> None:
    def make() -> DataLoader[Any]:
        return DataLoader(Flawed(), size, shuffle=True, seed=SEED, on_error=on_error, **workers)

    with make() as loader:
        batches = list(loader)
    for taken in range(len(batches) + 1):
        with make() as stopped, make() as resumed:
            iterator = iter(stopped)
            check([next(iterator) for _ in range(taken)], batches[:taken])
            resumed.load_state_dict(json.loads(json.dumps(iterator.state_dict())))
            check(resumed, batches[taken:])


def test_batch_leaves_out_bad_samples() -> None:
    loader = DataLoader(Flawed(), 4, seed=SEED, on_error="skip")
    check([loader.batch(step, 0) for step in range(8)], expected("skip"))
    assert loader.stats() == DataLoader(Flawed()).stats().__class__(bad_samples=len(BAD))


def test_batch_without_good_samples_raises() -> None:
    loader = DataLoader(Flawed(range(4, 8)), 4, seed=SEED, on_error="skip")
    with pytest.raises(FileNotFoundError) as caught:
        loader.batch(1, 0)
    assert caught.value.filename == "/data/7.jpg"
    assert caught.value.__notes__ == [f"in step 1 of epoch 0 (seed {SEED})"]
    assert [index.tolist() for index, _ in loader][:2] == [[0, 1, 2, 3], [8, 9, 10, 11]]


def test_ranks_leave_out_and_replace_alike() -> None:
    for on_error in ("skip", "replace"):
        whole = [batch[0] for batch in DataLoader(Flawed(), 10, shuffle=True, seed=SEED, on_error=on_error)]
        ranks = [
            DataLoader(Flawed(), 5, shuffle=True, seed=SEED, on_error=on_error, rank=rank, world_size=2)
            for rank in range(2)
        ]
        check([np.concatenate([x[0] for x in step]) for step in zip(*ranks, strict=True)], whole)


def test_single_samples() -> None:
    loader = DataLoader(Flawed(), None, seed=SEED, on_error="skip")
    assert [index for index, _ in loader] == [index for index in range(LENGTH) if index not in BAD]
    loader = DataLoader(Flawed(), None, seed=SEED, on_error="replace")
    assert [index for index, _ in loader] == [replaced(index, BAD, 0) for index in range(LENGTH)]


# ------------------------------------------------------------------ samplers of one's own


def test_a_sampler_keeps_to_its_samples() -> None:
    """It may be the training half of a dataset: what is read in place of a sample comes from the same batch."""
    loader = DataLoader(Flawed(), 5, sampler=range(20), seed=SEED, on_error="replace")
    batches = list(loader)
    assert [len(index) for index, _ in batches] == [5] * 4
    assert {index for batch in batches for index in batch[0].tolist()} == set(range(20)) - set(BAD)
    every = DataLoader(Flawed(()), LENGTH, seed=SEED).batch(0, 0)[1]
    for index, noise in batches:
        np.testing.assert_equal(noise, every[index])
    lists = [list(range(at, at + 5)) for at in range(0, 20, 5)]
    check(DataLoader(Flawed(), batch_sampler=lists, seed=SEED, on_error="replace"), batches)


def test_a_sampler_of_keys() -> None:
    class Named(dict[str, int]):
        pass

    dataset = Named(cat=1, dog=2)
    cases: list[tuple[Any, int]] = [("skip", 2), ("replace", 3)]
    for on_error, size in cases:
        loader = DataLoader(dataset, 3, sampler=["cat", "cow", "dog"], on_error=on_error)
        (batch,) = loader
        assert batch.tolist()[0] == 1
        assert len(batch) == size
        assert [(bad.index, bad.error) for bad in loader.bad_samples] == [("cow", "KeyError")]


def test_a_sampler_whose_whole_batch_fails() -> None:
    for on_error in ("skip", "replace"):
        for size in (1, None):
            loader = DataLoader(Flawed(), size, sampler=[3, 5], on_error=on_error)
            assert [np.ravel(index).tolist() for index, _ in loader] == [[5]]


# ------------------------------------------------------------------ what is listed


def test_bad_sample_has_index_error_and_place() -> None:
    class Noted(Flawed):
        def __getitem__(self, index: int, /) -> Any:
            try:
                return super().__getitem__(index)
            except OSError as error:
                error.add_note("while decoding")
                raise

    loader = DataLoader(Noted([6]), 4, seed=SEED, on_error="skip")
    text = (
        r"^sample 6 \(step 1 of epoch 0\): FileNotFoundError: \[Errno 2\] no such file: '/data/6.jpg'; while decoding; "
        r"it is left out \(on_error='skip'\)\. This is the only warning: loader\.bad_samples lists all such samples$"
    )
    with pytest.warns(HeadraceWarning, match=text) as caught:
        list(loader)
    assert [warning.filename for warning in caught] == [__file__]
    list(loader)
    assert loader.bad_samples == (
        BadSample(
            index=6,
            error="FileNotFoundError",
            text="[Errno 2] no such file: '/data/6.jpg'; while decoding",
            path="/data/6.jpg",
            epoch=0,
            step=1,
        ),
    )


def test_a_file_is_named_once() -> None:
    class FixedError(Exception):
        filename = property(lambda self: None)

    errors = [ValueError(), OSError(2, "no such file"), OSError(2, "no such file", "b.jpg"), FixedError()]
    for error in errors:
        name_file(error, "a.jpg")
    assert [getattr(error, "filename", None) for error in errors] == ["a.jpg", "a.jpg", "b.jpg", None]


@pytest.mark.parametrize("workers", WORKERS[:3], ids=str)
def test_one_warning_a_loader_where_the_loop_is(workers: dict[str, Any]) -> None:
    with (
        DataLoader(Flawed(), 4, on_error="replace", **workers) as loader,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        list(loader)
        list(loader)
    assert [warning.filename for warning in caught] == [__file__]
    assert "another is read in its place (on_error='replace')" in str(caught[0].message)


def test_long_error_text_is_shortened() -> None:
    class Talkative(Flawed):
        def __getitem__(self, index: int, /) -> Any:
            raise ValueError("x" * 10**6)

    loader = DataLoader(Talkative(), 4, on_error="skip")
    assert list(loader) == []
    assert {len(bad.text) for bad in loader.bad_samples} == {1003}


def test_the_list_is_bounded() -> None:
    loader = DataLoader(Flawed(range(10_005), 10_005), 500, on_error="skip")
    assert list(loader) == []
    assert (len(loader.bad_samples), loader.stats().bad_samples) == (10_000, 10_005)


def test_errors_and_what_they_hold_are_not_kept() -> None:
    class Heavy(Exception):
        pass

    born: list[weakref.ref[Heavy]] = []

    class Failing(Flawed):
        def __getitem__(self, index: int, /) -> Any:
            error = Heavy(index)
            born.append(weakref.ref(error))
            try:
                raise error
            except Heavy as cause:
                raise ValueError("heavy") from cause
            finally:
                del error

    gc.disable()
    try:
        list(DataLoader(Failing(), 4, on_error="skip"))
        assert born
        assert not any(reference() for reference in born)
    finally:
        gc.enable()


def test_copies_begin_with_an_empty_list() -> None:
    loader = DataLoader(Flawed(), 4, seed=SEED, on_error="skip")
    list(loader)
    for other in (copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))):
        assert other.bad_samples == ()
        other.set_epoch(0)
        check(other, expected("skip"))
        assert len(other.bad_samples) == len(BAD)


# ------------------------------------------------------------------ the budget


@pytest.mark.parametrize("workers", WORKERS[:4], ids=str)
def test_too_many(workers: dict[str, Any]) -> None:
    with DataLoader(Flawed(), 4, seed=SEED, on_error="skip", max_errors=3, **workers) as loader:
        batches = iter(loader)
        check([next(batches) for _ in range(4)], expected("skip")[:4])
        with pytest.raises(TooManyErrorsError) as caught:
            next(batches)
        lines = str(caught.value).splitlines()
        assert lines[0] == "6 samples could not be read, and max_errors=3 allows 3:"
        assert [line.split()[1] for line in lines[1:]] == ["3", "4", "11", "17", "18", "19"]
        assert lines[4] == (
            "  sample 17 (step 4 of epoch 0): FileNotFoundError: [Errno 2] no such file: '/data/17.jpg'"
        )
        cause = caught.value.__cause__
        assert isinstance(cause, FileNotFoundError)
        assert cause.filename == "/data/19.jpg"
        check([next(batches)], [expected("skip")[5]])  # who goes on knows what he does


def test_same_bad_sample_counts_once() -> None:
    loader = DataLoader(Flawed([3]), 4, seed=SEED, on_error="skip", max_errors=1)
    for epoch in range(5):
        check(loader, expected("skip", [3], epoch=epoch))


def test_no_errors_allowed() -> None:
    loader = DataLoader(Flawed([3]), 4, on_error="replace", max_errors=0)
    with pytest.raises(
        TooManyErrorsError, match=r"^1 samples could not be read, and max_errors=0 allows 0:\n  sample 3"
    ):
        next(iter(loader))
    with pytest.raises(TooManyErrorsError):
        DataLoader(Flawed([3]), 4, on_error="replace", max_errors=0).batch(0)


def test_a_long_list_names_the_last_ones() -> None:
    loader = DataLoader(Flawed(range(20)), 20, on_error="skip", max_errors=3)
    with pytest.raises(TooManyErrorsError) as caught:
        next(iter(loader))
    lines = str(caught.value).splitlines()
    assert lines[1] == "  (10 more, see loader.bad_samples)"
    assert [line.split()[1] for line in lines[2:]] == list(map(str, range(10, 20)))


@pytest.mark.parametrize("workers", WORKERS[:3], ids=str)
def test_nothing_left_to_replace_with(workers: dict[str, Any]) -> None:
    with DataLoader(Flawed(range(LENGTH)), 4, seed=SEED, on_error="replace", **workers) as loader:
        text = r"^sample 0 could not be read, nor could the 100 that were drawn in its place \(on_error='replace'\)"
        batches = iter(loader)
        with pytest.raises(TooManyErrorsError, match=text) as caught:
            next(batches)
        assert caught.value.__notes__ == [f"in step 0 of epoch 0 (seed {SEED})"]
        assert len(loader.bad_samples) > LENGTH // 2
        for _ in range(7):
            with pytest.raises(TooManyErrorsError):
                next(batches)
        assert next(batches, "over") == "over"


# ------------------------------------------------------------------ what does not count


@pytest.mark.parametrize("on_error", ["skip", "replace"])
@pytest.mark.parametrize(
    ("error", "comes"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(3), SystemExit),
        (MemoryError(), MemoryError),
        (StopIteration(), UnexpectedStopIterationError),
    ],
)
def test_error_without_a_sample_is_raised(error: BaseException, comes: type[BaseException], on_error: Any) -> None:
    class Failing(Flawed):
        def __getitem__(self, index: int, /) -> Any:
            raise error

    loader = DataLoader(Failing(), 4, on_error=on_error)
    with pytest.raises(comes):
        next(iter(loader))
    assert loader.bad_samples == ()


@pytest.mark.parametrize("on_error", ["skip", "replace"])
def test_collate_error_is_not_skipped(on_error: Any) -> None:
    loader = DataLoader([np.zeros(1), np.zeros(2)], 2, on_error=on_error)
    with pytest.raises(ValueError, match="differs in shape"):
        next(iter(loader))

    def collate(samples: Any) -> Any:
        raise KeyError("mine")

    for dataset in (Flawed(), FlawedMany()):
        with pytest.raises(KeyError, match="mine"):
            next(iter(DataLoader(dataset, 4, collate_fn=collate, on_error=on_error)))


def test_a_batch_transform_sees_what_is_left() -> None:
    """MixUp draws for as many samples as there are, by the samples' own keys."""

    class Images(Flawed):
        def __getitem__(self, index: int, /) -> Any:
            super().__getitem__(index)
            return np.full((2, 2, 1), index, np.float32), index % 3

    mixup = MixUp(num_classes=3)

    def mix(samples: list[Any]) -> Any:
        return mixup(*default_collate(samples))

    loader = DataLoader(Images([1]), 4, seed=SEED, on_error="skip", collate_fn=mix)
    images, labels = next(iter(loader))
    assert images.shape == (3, 2, 2, 1)
    alone = DataLoader(Images([1]), batch_sampler=[[0, 2, 3]], seed=SEED, collate_fn=mix)
    np.testing.assert_equal(next(iter(alone)), (images, labels))


# ------------------------------------------------------------------ streams


class Numbers:
    """An iterator that goes on after it has failed."""

    def __init__(self, length: int, bad: frozenset[int]) -> None:
        self.length, self.bad, self.next = length, bad, 0

    def __iter__(self) -> Numbers:
        return self

    def __next__(self) -> tuple[int, float]:
        number, self.next = self.next, self.next + 1
        if number >= self.length:
            raise StopIteration
        if number in self.bad:
            raise OSError(f"number {number}")
        return number, sample_rng().random()


class Stream(IterableDataset[Any]):
    def __init__(self, bad: Any = BAD, length: int = LENGTH) -> None:
        self.length, self.bad = length, frozenset(bad)

    def __iter__(self) -> Iterator[Any]:
        return Numbers(self.length, self.bad)


STREAMED: list[dict[str, Any]] = [
    {},
    *[{**each, "shard": True} for each in WORKERS[1:4]],
]


@pytest.mark.parametrize("workers", STREAMED, ids=str)
@pytest.mark.parametrize("size", [None, 4])
def test_streams(size: int | None, workers: dict[str, Any]) -> None:
    good = [number for number in range(LENGTH) if number not in BAD]
    with DataLoader(Stream(), size, seed=SEED, on_error="skip", **workers) as loader:
        batches = list(loader)
        assert [number for batch in batches for number in np.ravel(batch[0]).tolist()] == good
        assert [(bad.index, bad.text) for bad in loader.bad_samples] == [(bad, f"number {bad}") for bad in BAD]
        check(batches, list(DataLoader(Stream(), size, seed=SEED, on_error="skip")))


def test_streams_that_take_turns() -> None:
    with DataLoader(Stream(), 4, seed=SEED, on_error="skip", num_workers=2, backend="process") as loader:
        numbers = sorted(number for index, _ in loader for number in index.tolist())
    assert numbers == sorted(2 * [number for number in range(LENGTH) if number not in BAD])
    assert sorted(bad.index for bad in loader.bad_samples) == list(BAD)


def test_streams_are_resumed() -> None:
    loader = DataLoader(Stream(), 4, seed=SEED, on_error="skip")
    batches = list(loader)
    for taken in range(len(batches) + 1):
        stopped, resumed = (DataLoader(Stream(), 4, seed=SEED, on_error="skip") for _ in range(2))
        iterator = iter(stopped)
        for _ in range(taken):
            next(iterator)
        resumed.load_state_dict(iterator.state_dict())
        check(resumed, batches[taken:])


@pytest.mark.parametrize("workers", STREAMED[:3], ids=str)
def test_too_many_in_a_stream(workers: dict[str, Any]) -> None:
    with DataLoader(Stream(), 4, seed=SEED, on_error="skip", max_errors=2, **workers) as loader:
        batches = iter(loader)
        assert [next(batches)[0].tolist() for _ in range(2)] == [[0, 1, 2, 5], [6, 7, 8, 9]]
        with pytest.raises(TooManyErrorsError, match=r"^3 samples could not be read, and max_errors=2 allows 2:"):
            next(batches)


def test_too_many_at_the_end_of_a_stream() -> None:
    loader = DataLoader(Stream([4], 5), 4, on_error="skip", max_errors=0)
    batches = iter(loader)
    next(batches)
    with pytest.raises(TooManyErrorsError):
        next(batches)
    assert next(batches, "over") == "over"


def test_a_generator_cannot_go_on() -> None:
    class Generated(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            yield from range(5)
            raise OSError("torn")

    batches = iter(DataLoader(Generated(), 4, on_error="skip"))
    assert next(batches).tolist() == [0, 1, 2, 3]
    with pytest.raises(OSError, match="torn") as caught:
        next(batches)
    assert caught.value.__notes__[0].startswith("a generator ends when it raises, so nothing comes after this")
    assert next(batches).tolist() == [4]
    assert next(batches, "over") == "over"


def test_a_stream_that_only_fails_ends() -> None:
    loader = DataLoader(Stream(range(1000), 1000), 4, on_error="skip")
    with pytest.raises(OSError, match="number 99") as caught:
        next(iter(loader))
    assert caught.value.__notes__[0] == "100 samples in a row failed, so the stream is taken to be at its end"
    assert len(loader.bad_samples) == 99
