"""PackedPaths: strings come out as they went in, from two arrays."""

from __future__ import annotations

import os
import pickle
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.datasets.paths import PackedPaths
from headrace.errors import ArgumentTypeError, OutOfRangeError

# All that a file system can hold: Unicode, and bytes that are none.
NAMES = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.binary().map(os.fsdecode))


@given(st.lists(NAMES))
def test_strings_come_out_as_they_went_in(names: list[str]) -> None:
    paths = PackedPaths(names)
    assert len(paths) == len(names)
    assert list(paths) == names == [paths[index] for index in range(len(names))]
    assert [paths[index - len(names)] for index in range(len(names))] == names
    assert list(pickle.loads(pickle.dumps(paths))) == names


def test_kinds_of_paths() -> None:
    assert list(PackedPaths([b"a/\xff.jpg", Path("b", "c"), "d"])) == ["a/\udcff.jpg", str(Path("b", "c")), "d"]
    assert list(PackedPaths(iter(["a"]))) == ["a"]


def test_as_a_sequence() -> None:
    paths = PackedPaths(["a", "b", "c"])
    assert "b" in paths
    assert paths.index("c") == 2
    assert list(reversed(paths)) == ["c", "b", "a"]
    assert paths[1:] == ["b", "c"]
    assert paths[np.int64(1)] == "b"  # type: ignore[call-overload]
    with pytest.raises(OutOfRangeError, match=r"^Index 3 out of range for dataset of size 3$"):
        paths[3]


def test_its_look() -> None:
    assert repr(PackedPaths([])) == "<PackedPaths: 0 paths>"
    assert repr(PackedPaths("ab"[i] for i in range(2))) == "<PackedPaths: 2 paths: 'a', 'b'>"
    assert repr(PackedPaths(["a"] * 3)) == "<PackedPaths: 3 paths: 'a', 'a', ...>"


@pytest.mark.parametrize("paths", ["folder", b"folder", Path("folder")])
def test_one_path_is_not_several(paths: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=re.escape(f"paths are several, but got only {paths!r}; put it in")):
        PackedPaths(paths)


def test_what_is_no_path() -> None:
    with pytest.raises(ArgumentTypeError, match=r"^a path is a string, bytes or a path object, but got 3$"):
        PackedPaths(["a", 3])  # type: ignore[list-item]


def test_small_in_memory_and_when_sent() -> None:
    count, length = 50_000, 60
    tracemalloc.start()
    paths = PackedPaths(f"{number:0{length}d}" for number in range(count))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1.05 * count * (length + 8)
    buffers: list[Any] = []
    header = pickle.dumps(paths, protocol=5, buffer_callback=buffers.append)
    assert len(header) < 1000
    assert [buffer.raw().nbytes for buffer in buffers] == [count * length, (count + 1) * 8]
    copy = pickle.loads(header, buffers=buffers)
    assert copy[count - 1] == paths[count - 1] == f"{count - 1:0{length}d}"
