"""Large lists of plain values on their way to workers: they arrive as any pickle would bring them."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from tests.workers.pickling.helpers import Holder, apart, there_and_back

from headrace import DataLoader
from headrace.errors import HeadraceWarning
from headrace.workers.pickling import sending
from headrace.workers.pickling.messages import dump_work

MANY = 1 << 14
PATHS = [(f"/data/{number}.jpg", number, 0.5, None, True, b"%d" % number) for number in range(MANY)]
TEXTS = [f"{number} \udcff ä" for number in range(MANY)]
CLASSES = ["cat", "dog"]
REPEATED = [(f"{number}.jpg", CLASSES[number % 2]) for number in range(MANY)]


class Text(str):
    """A string that is more than one."""

    __slots__ = ()


class Restored:
    """An object that takes its state by itself."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.values = state["values"]
        self.kind = type(state["values"])


class Chosen(Restored):
    """An object that says what is pickled."""

    def __getstate__(self) -> dict[str, Any]:
        return {"values": self.values[:1]}


@dataclasses.dataclass
class Fields:
    values: list[Any]


class Images:
    """A dataset as anyone writes it."""

    def __init__(self) -> None:
        self.samples = PATHS

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        assert type(self.samples) is list
        path, label, *_ = self.samples[index]
        return len(path), label


@pytest.mark.parametrize("values", [PATHS, TEXTS, [*TEXTS, 2**70], [(), *PATHS], list(range(MANY))])
def test_plain_lists_go_apart(values: list[Any]) -> None:
    held = Holder(values=values, same=values, more=1)
    assert apart(held, dump_work)
    assert len(dump_work(held).payload) < MANY
    found = there_and_back(held, dump_work)
    assert type(found.values) is list
    assert found.values == values
    assert found.values is found.same
    assert found.more == 1
    for made in (Restored(values), Fields(values)):
        assert there_and_back(made, dump_work).values == values
    assert there_and_back(Restored(values), dump_work).kind is list


@pytest.mark.parametrize(
    "values",
    [
        PATHS[:-1],  # few
        REPEATED,  # which are one object in many places
        [PATHS[0]] * MANY,
        [*PATHS, [1]],
        [*PATHS, ([1],)],
        [*PATHS, (Text("a"),)],
        [*PATHS, Text("a")],
        [],
    ],
)
def test_others_stay_in_the_pickle(values: list[Any]) -> None:
    held = Holder(values=values)
    assert not apart(held, dump_work)
    found = there_and_back(held, dump_work).values
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def test_repeated_values_stay_one_object() -> None:
    found = there_and_back(Holder(values=REPEATED), dump_work).values
    assert found[0][1] is found[2][1]
    held = [PATHS]
    assert there_and_back(Holder(values=held), dump_work).values == held


def test_a_list_that_holds_itself() -> None:
    values: list[Any] = [*PATHS]
    values.append(values)
    found = there_and_back(Holder(values=values), dump_work).values
    assert found[-1] is found


def test_own_ways_to_pickle_are_kept() -> None:
    assert there_and_back(Chosen(PATHS), dump_work).values == PATHS[:1]


def test_the_warning_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_MOST_BYTES", len(pickle.dumps(PATHS)) // 2)
    with pytest.warns(HeadraceWarning, match=r"most are in Holder\.values, a list of 16,384 items"):
        dump_work(Holder(values=PATHS))


def test_in_worker_processes() -> None:
    alone = [batch[0].tolist() for batch in DataLoader(Images(), 512, shuffle=True, seed=0)]
    with DataLoader(Images(), 512, shuffle=True, seed=0, num_workers=2, backend="process") as loader:
        assert [batch[0].tolist() for batch in loader] == alone
