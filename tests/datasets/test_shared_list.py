"""Lists in shared memory are the lists that they were made of."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, Dataset, SharedList
from headrace.datasets.sent_list import SentList, share_lists
from headrace.errors import ArgumentTypeError, HeadraceWarning, OutOfRangeError
from headrace.testing import check_dataset
from headrace.workers.pickling import sending
from headrace.workers.pickling.messages import dump_work, load

VALUES = st.one_of(st.text(), st.binary(), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())
COLUMN = [st.text(), st.binary(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans()]
MANY = 1 << 14


class Samples(Dataset[Any]):
    def __init__(self, samples: list[Any]) -> None:
        self.samples: Any = samples
        self.imgs: Any = samples
        self.few = samples[:10]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Any:
        if index >= len(self):
            raise IndexError(index)
        return self.samples[index][1], isinstance(self.samples, SentList)


@given(st.lists(VALUES | st.tuples(VALUES, VALUES) | st.lists(VALUES)))
def test_any_items(items: list[Any]) -> None:
    shared = SharedList(items)
    assert list(shared) == items
    assert list(map(type, shared)) == list(map(type, items))
    assert [shared[index] for index in range(-len(items), len(items))] == items + items
    assert shared[::-2] == items[::-2]
    assert list(pickle.loads(pickle.dumps(shared))) == items


@given(st.sampled_from(COLUMN).flatmap(st.lists) | st.lists(st.tuples(*COLUMN)))
def test_items_that_are_alike(items: list[Any]) -> None:
    assert repr(list(SharedList(items))) == repr(items)


def test_a_shared_list_is_a_dataset() -> None:
    shared = SharedList([(f"{number}.jpg", number % 7) for number in range(100)])
    check_dataset(shared, negative=True, picklable=True)
    assert repr(shared) == "<SharedList: 100 items: ('0.jpg', 0), ('1.jpg', 1), ...>"
    with pytest.raises(OutOfRangeError, match="Index 100 out of range for dataset of size 100"):
        shared[100]
    with pytest.raises(ArgumentTypeError, match="items must be strings, bytes, numbers or tuples of these, all alike"):
        SharedList([1, "a"], only_plain=True)
    assert repr(SharedList(["a\ud800"])[0]) == r"'a\ud800'"


class Plain:
    """A dataset as anyone writes it."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples: Any = samples
        self.imgs: Any = samples
        self.few = samples[:10]

    __len__, __getitem__ = Samples.__len__, Samples.__getitem__


@pytest.mark.usefixtures("by_value")
@pytest.mark.parametrize("kind", [Samples, Plain])
def test_workers_get_large_plain_lists_as_arrays(kind: Any) -> None:
    dataset = kind([(f"{number}.jpg", number) for number in range(MANY)])
    with DataLoader(dataset, 64, num_workers=2, backend="process") as loader:
        numbers, are_shared = map(np.concatenate, zip(*loader, strict=True))
    assert numbers.tolist() == list(range(MANY))
    assert are_shared.all()
    assert type(dataset.samples) is list
    for copied in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        assert type(copied.samples) is list


@pytest.mark.parametrize("kind", [Samples, Plain])
def test_attributes_that_are_one_list_stay_one(kind: Any) -> None:
    sent = dump_work(kind([("a", number) for number in range(MANY)]))
    arrived = load(sent.payload, sent.buffers)
    assert type(arrived.few) is list
    assert arrived.samples is arrived.imgs
    assert len(sent.payload) < 10_000


@pytest.mark.parametrize("item", [[1], {"a": 1}, (1, [2]), 2**70, None, np.float32(1)], ids=str)
def test_lists_of_what_may_be_changed_stay_lists(item: Any) -> None:
    items = [item] * MANY
    assert share_lists({"items": items}, {})["items"] is items


def test_many_objects_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_MOST_BYTES", 10_000)
    dataset = Samples([{"number": number} for number in range(3000)])
    with pytest.warns(HeadraceWarning, match=r"most are in Samples.samples, a list of 3,000 items\. Keep"):
        dump_work(dataset)
