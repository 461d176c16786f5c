"""Merging: the rows of several batches, each where it belongs, as if they had been collated together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import default_collate
from headrace.batch.scatter import merge
from headrace.errors import HeadraceError, MixedSamplesError, RaggedSamplesError
from headrace.testing import check_same


class Pair(NamedTuple):
    image: Any
    label: Any


@dataclass(frozen=True)
class Record:
    image: Any
    label: Any


class Box:
    def __init__(self, data: Any) -> None:
        self.data = np.array(data, np.float32)


SAMPLES: dict[str, Any] = {
    "array": lambda i: np.full((2, 3), i, np.int16),
    "fortran": lambda i: np.asfortranarray(np.full((2, 3), i)),
    "big-endian": lambda i: np.full(2, i, ">f8"),
    "no elements": lambda i: np.zeros((2, 0)),
    "structured": lambda i: np.array([(i, "x")], "i4,U2"),
    "strings in arrays": lambda i: np.array(["x" * (i + 1)]),
    "number": float,
    "numbers of several types": lambda i: (i % 2 == 0, i, i / 2, np.float32(i))[i % 4],
    "arrays of several dtypes": lambda i: np.full(2, i, ("u1", "i4", "f4", ">f8")[i % 4]),
    "text": str,
    "bytes": lambda i: b"%d" % i,
    "box": Box,
    "tuple": lambda i: (i, str(i)),
    "namedtuple": lambda i: Pair(np.zeros(2), i),
    "dataclass": lambda i: Record(np.full(2, i), {"a": [i, "t"]}),
    "dict in either order": lambda i: {"x": i, "y": -i} if i % 2 else {"y": -i, "x": i},
    "empty list": lambda i: ([], i),
    "list of strings": lambda i: [str(i), "b"],
    "objects": lambda i: np.array([i, "a"], object),
}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
@given(owners=st.lists(st.integers(0, 2), min_size=1, max_size=7))
def test_merged_batches_equal_one_collated_at_once(sample: Any, owners: list[int]) -> None:
    samples = [sample(row) for row in range(len(owners))]
    positions = [np.flatnonzero(np.array(owners) == owner) for owner in sorted(set(owners))]
    parts = [default_collate([samples[row] for row in rows]) for rows in positions]

    merged = merge(parts, positions)

    expected = default_collate(samples)
    if isinstance(merged, dict):
        assert merged.keys() == expected.keys()
        expected = {key: expected[key] for key in merged}
    check_same(merged, expected)


def test_rows_of_no_batch_merge() -> None:
    parts: list[Any] = [(np.zeros((0, 2)), []), (np.ones((1, 2)), ["a"])]
    check_same(merge(parts, [np.array([], np.int64), np.array([0])]), parts[1])
    assert merge([[], []], [np.array([], np.int64)] * 2) == []


ROWS = [np.array([0]), np.array([1])]


@pytest.mark.parametrize(
    ("parts", "error", "text"),
    [
        (
            [(np.zeros(1),), [np.zeros(1)]],
            MixedSamplesError,
            "batches of different structure cannot be merged: (array([0.]),) and [array([0.])]",
        ),
        (
            [{"x": np.zeros(1)}, {"y": np.zeros(1)}],
            MixedSamplesError,
            "batches of different structure cannot be merged: {'x': array([0.])} and {'y': array([0.])}",
        ),
        (
            [np.zeros(1), (np.zeros(1),)],
            MixedSamplesError,
            "batches of different structure cannot be merged: array([0.]) and (array([0.]),)",
        ),
        (
            [["a"], [np.zeros(1)]],
            MixedSamplesError,
            "batches of different structure cannot be merged: ['a'] and [array([0.])]",
        ),
        ([["a"], [b"b"]], MixedSamplesError, "batches of ['bytes', 'str'] cannot be merged"),
        ([["a"], np.zeros(1)], MixedSamplesError, "batches of ['list', 'ndarray'] cannot be merged"),
        ([np.zeros(1), Box([0])], MixedSamplesError, "batches of ['Box', 'ndarray'] cannot be merged"),
        ([None, None], MixedSamplesError, "batches of ['NoneType'] cannot be merged"),
        (
            [np.zeros((1, 2)), np.zeros((1, 3))],
            RaggedSamplesError,
            "batches whose rows differ in shape cannot be merged: [(1, 2), (1, 3)]",
        ),
        (
            [np.zeros(1), np.zeros(1, "M8[s]")],
            MixedSamplesError,
            "batches of ['float64', 'datetime64[s]'] cannot be merged",
        ),
        ([np.array(["a"]), np.array([b"a"])], MixedSamplesError, "batches of ['<U1', '|S1'] cannot be merged"),
    ],
)
def test_batches_that_do_not_go_together_are_refused(parts: Any, error: type[HeadraceError], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        merge(parts, ROWS)
