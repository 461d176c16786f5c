"""Lists that workers read in shared memory do what lists do."""

from __future__ import annotations

import copy
import pickle
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, SharedList, pad_collate
from headrace.datasets.sent_list import SentList
from headrace.testing import check_same

if TYPE_CHECKING:
    from collections.abc import Callable

ITEMS = [("a", 3), ("b", 1), ("c", 2)]
MANY = 1 << 14

# What the code of a dataset may do with a list: what comes of it, and what the list is then, must be the same.
USES: dict[str, Callable[[Any], Any]] = {
    "append": lambda items: items.append(("d", 4)),
    "extend": lambda items: items.extend([("d", 4)]),
    "insert": lambda items: items.insert(1, ("d", 4)),
    "remove": lambda items: items.remove(("b", 1)),
    "pop": lambda items: (items.pop(), items.pop(0)),
    "clear": lambda items: items.clear(),
    "reverse": lambda items: items.reverse(),
    "sort": lambda items: items.sort(key=lambda item: item[1], reverse=True),
    "set": lambda items: items.__setitem__(1, ("d", 4)),
    "set slice": lambda items: items.__setitem__(slice(1, 3), []),
    "del": lambda items: items.__delitem__(0),
    "shuffle": lambda items: random.Random(0).shuffle(items),  # noqa: S311
    "add": lambda items: (items + [("d", 4)], [("d", 4)] + items, items + items),  # noqa: RUF005
    "iadd": lambda items: items.__iadd__([("d", 4)]) is items,
    "mul": lambda items: (items * 2, 2 * items),
    "copy": lambda items: items.copy(),
    "find": lambda items: (items.index(("b", 1)), items.count(("b", 1)), ("b", 1) in items, ("x", 1) in items),
    "slices": lambda items: (items[::-1], items[1:], items[-1], list(reversed(items)), sorted(items)),
    "equal": lambda items: (items == ITEMS, items == ITEMS[:1], items == tuple(ITEMS), items != ITEMS),
    "choice": lambda items: random.Random(0).choice(items),  # noqa: S311
    "order": lambda items: [items < other for other in (ITEMS[:1], [*ITEMS, ITEMS[0]], [("b",)], ITEMS)],
    "order with itself": lambda items: (items <= ITEMS, items > ITEMS, items >= ITEMS[:2]),
    "order of a list": lambda items: [ITEMS[:1] < items, items <= ITEMS, ITEMS[:1] + items],
    "told from others": lambda items: (isinstance(items, list), isinstance(items, tuple | str), items.__class__),
    "copies": lambda items: [type(made) for made in (copy.copy(items), copy.deepcopy(items), items.copy())],
    "zip": lambda items: list(zip(*items, strict=True)),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("changed", [False, True])
def test_what_lists_do(use: str, changed: bool) -> None:
    sent: Any = SentList(SharedList(ITEMS))
    plain = list(ITEMS)
    for items in (sent, plain) if changed else ():
        items.append(("d", 5))
    found = [USES[use](items) for items in (sent, plain)]
    assert found[0] == found[1]
    assert list(sent) == plain
    assert len(sent) == len(plain)
    back = pickle.loads(pickle.dumps(sent))
    assert type(back) is list
    assert back == plain


@given(st.lists(st.text()), st.integers(-5, 5))
def test_items_are_those_of_the_list(items: list[str], index: int) -> None:
    sent = SentList(SharedList(items))
    assert sent == items
    assert SentList(SharedList(items)) == sent
    if -len(items) <= index < len(items):
        assert sent[index] == items[index]
    else:
        with pytest.raises(IndexError):
            sent[index]


def test_they_cannot_be_hashed() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(SentList(SharedList(ITEMS)))
    with pytest.raises(TypeError):
        SentList(SharedList(ITEMS)) + 1
    assert repr(SentList(SharedList(["a"]))) == "<SharedList: 1 items: 'a'>"


class Counting:
    """A dataset that counts in a list how often each sample was asked for."""

    def __init__(self) -> None:
        self.asked = [0] * MANY

    def __len__(self) -> int:
        return len(self.asked)

    def __getitem__(self, index: int) -> int:
        self.asked[index] += 1
        return self.asked[index]


@pytest.mark.usefixtures("by_value")
def test_a_dataset_that_changes_its_list() -> None:
    with DataLoader(Counting(), 4096, num_workers=2, backend="process", persistent_workers=True) as loader:
        assert [batch.tolist() for batch in loader] == [[1] * 4096] * 4


class Whole:
    """A dataset whose samples are its list."""

    def __init__(self) -> None:
        self.items = [float(number) for number in range(MANY)]

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"items": self.items, "index": index}


@pytest.mark.usefixtures("by_value")
@pytest.mark.parametrize("collate_fn", [None, list, pad_collate])
def test_a_list_that_is_a_sample(collate_fn: Any) -> None:
    expected = DataLoader(Whole(), 2, collate_fn=collate_fn).batch(0)
    with DataLoader(Whole(), 2, collate_fn=collate_fn, num_workers=1, backend="process") as loader:
        check_same(next(iter(loader)), expected)
