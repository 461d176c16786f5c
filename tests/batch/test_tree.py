"""The structure of batches: walking, rebuilding, and single fields."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from headrace.batch.tree import children, count_bytes, get_field, map_fields, rebuild, replace_field
from headrace.errors import ArgumentError


class Pair(NamedTuple):
    image: Any
    label: Any


@dataclass(frozen=True, slots=True)
class Record:
    image: Any
    label: Any


class Stop:
    """Something that is no container."""


@pytest.mark.parametrize(
    ("value", "field", "replaced"),
    [
        pytest.param((1, 2), 0, (9, 2), id="tuple"),
        pytest.param((2, 1), -1, (2, 9), id="tuple from its end"),
        pytest.param([1, 2], 0, [9, 2], id="list"),
        pytest.param([2, 1], -1, [2, 9], id="list from its end"),
        pytest.param([1, "b"], 0, [9, "b"], id="mixed list"),
        pytest.param({"image": 1, "label": 2}, "image", {"image": 9, "label": 2}, id="dict"),
        pytest.param({-1: 1, 0: 2}, -1, {-1: 9, 0: 2}, id="a negative key of a dict"),
        pytest.param(OrderedDict(a=2, b=1), "b", OrderedDict(a=2, b=9), id="OrderedDict"),
        pytest.param(Pair(1, 2), "image", Pair(9, 2), id="namedtuple by name"),
        pytest.param(Pair(2, 1), 1, Pair(2, 9), id="namedtuple by position"),
        pytest.param(Record(1, 2), "image", Record(9, 2), id="dataclass"),
        pytest.param(1, None, 9, id="the whole"),
    ],
)
def test_one_field_is_read_and_replaced_in_a_copy(value: Any, field: Any, replaced: Any) -> None:
    before = repr(value)
    assert get_field(value, field) == 1
    found = replace_field(value, field, 9)
    assert (type(found), found) == (type(replaced), replaced)
    assert repr(value) == before


def test_a_list_of_strings_has_fields_as_a_sample() -> None:
    assert get_field(["a", "b"], 1) == "b"
    assert replace_field(["a", "b"], -1, "c") == ["a", "c"]


@pytest.mark.parametrize(
    ("value", "field", "text"),
    [
        ((1, 2), 2, "there is no field 2 in a tuple with fields [0, 1]"),
        ((1, 2), -3, "there is no field -3 in a tuple with fields [0, 1]"),
        (["a"], 1, "there is no field 1 in a list with fields [0]"),
        ({"x": 1}, "y", "there is no field 'y' in a dict with fields ['x']"),
        ({"x": 1}, -1, "there is no field -1 in a dict with fields ['x']"),
        (Pair(1, 2), "x", "there is no field 'x' in a Pair with fields [0, 1]"),
        (Record(1, 2), 0, "there is no field 0 in a Record with fields ['image', 'label']"),
        (
            np.zeros(2),
            0,
            "field=0 was asked of a sample that has no fields (a ndarray); leave field out to map the whole sample",
        ),
        (
            "text",
            0,
            "field=0 was asked of a sample that has no fields (a str); leave field out to map the whole sample",
        ),
    ],
)
def test_a_missing_field_is_named_with_those_there_are(value: Any, field: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        get_field(value, field)


@pytest.mark.parametrize("field", [np.zeros(2), "text", b"bytes", 1, None, ["a", "b"], [b"a"], Record, Stop()])
def test_fields_have_no_children(field: Any) -> None:
    assert children(field) is None


def test_children_are_named_by_what_reads_them() -> None:
    assert children((1, [2])) == [(0, 1), (1, [2])]
    assert children([1, "b"]) == [(0, 1), (1, "b")]
    assert children({"x": 1}) == [("x", 1)]
    assert children(Record(1, 2)) == [("image", 1), ("label", 2)]


def test_map_fields_visits_every_field_and_no_container() -> None:
    batch = {"x": (np.zeros(2), ["a", "b"]), "y": [Pair(np.ones(2), Record(np.ones(3), np.ones(4)))], "z": ()}
    seen: list[Any] = []

    def visit(field: Any) -> int:
        seen.append(field)
        return len(seen)

    assert map_fields(visit, batch) == {"x": (1, 2), "y": [Pair(3, Record(4, 5))], "z": ()}
    assert seen[1] == ["a", "b"]


def test_rebuilding_keeps_the_subclass_of_a_tuple_and_a_list() -> None:
    class Row(tuple[Any, ...]):
        __slots__ = ()

    class Rows(list[Any]):
        pass

    assert type(rebuild(Row((1, 2)), [3, 4])) is Row
    assert type(rebuild(Rows([1, 2]), [3, 4])) is Rows


def test_a_tuple_of_other_items_only_becomes_a_plain_one() -> None:
    class Sizes(tuple[int, ...]):
        __slots__ = ()

        def __new__(cls, items: Any) -> Sizes:  # noqa: PYI034 - typing.Self would need another import here
            if not all(isinstance(item, int) for item in items):
                raise TypeError("sizes are integers")
            return super().__new__(cls, items)

    assert rebuild(Sizes([1, 2]), ["a", "b"]) == ("a", "b")


def test_bytes_are_counted_in_all_fields() -> None:
    class Box:
        data = np.zeros(4, np.float32)

    batch = ({"x": np.zeros((2, 3)), "names": ["ab", "c"], "raw": [b"abc"]}, Record(Box(), Pair(np.int8(1), None)))
    assert count_bytes(batch) == 48 + 3 + 3 + 16 + 1


def test_bytes_that_are_not_known_count_nothing() -> None:
    class Raises:
        @property
        def nbytes(self) -> int:
            raise NotImplementedError("not known before it is computed")

    class Broken(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise KeyError(key)

        def __iter__(self) -> Any:
            return iter(["x"])

        def __len__(self) -> int:
            return 1

    class Odd:
        nbytes = -5

    assert count_bytes([Raises(), Broken(), Odd(), np.zeros(4, np.int8), {1, 2}, None]) == 4


def test_containers_that_hold_themselves_are_counted_once() -> None:
    class Endless(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return Endless()

        def __iter__(self) -> Any:
            return iter("ab")

        def __len__(self) -> int:
            return 2

    array = np.zeros(4, np.int8)
    circle: list[Any] = [array]
    circle += [circle, {"x": circle}]
    assert count_bytes(circle) == 4
    assert count_bytes([array, Endless()]) == 4
    shared = [array]
    assert count_bytes([shared, shared]) == 4


class Tagged(list[Any]):
    """A list with a name, which its constructor need not be told."""

    def __init__(self, items: Any = (), name: str = "") -> None:
        super().__init__(items)
        self.name = name


class TaggedTuple(tuple[Any, ...]):
    name: str


class TaggedDict(dict[str, Any]):
    def __init__(self, items: Any = (), name: str = "") -> None:
        super().__init__(items)
        self.name = name


class Checked(dict[str, Any]):
    """A dict whose constructor refuses what is no sample."""

    def __init__(self, items: Any) -> None:
        if any(isinstance(item, str) for item in dict(items).values()):
            raise ValueError("strings are no samples")
        super().__init__(items)


def test_attributes_of_containers_are_kept() -> None:
    named = TaggedTuple((1, 2))
    named.name = "n"
    for like in (Tagged([1, 2], "n"), named, TaggedDict({"a": 1, "b": 2}, "n")):
        made = rebuild(like, ["x", "y"])
        assert (type(made), made.name) == (type(like), "n")
        assert [item for _, item in children(made) or enumerate(made)] == ["x", "y"]


def test_constructors_that_do_otherwise_are_not_believed() -> None:
    class Repeated(list[Any]):
        def __init__(self, count: Any) -> None:
            super().__init__([0] * len(list(count)))

    assert rebuild(Checked({"a": 1}), ["x"]) == {"a": "x"}
    assert rebuild(Repeated([1, 2]), ["x", "y"]) == ["x", "y"]
