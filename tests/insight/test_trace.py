from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, TensorDataset
from headrace.errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = [{}, {"num_workers": 2, "backend": "thread"}, {"num_workers": 1, "backend": "process"}]


def read(path: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return events


def data() -> TensorDataset:
    return TensorDataset(np.zeros((64, 20_000)), np.arange(64))


@pytest.mark.parametrize("options", OPTIONS, ids=["inline", "threads", "processes"])
def test_workers_are_rows_and_batches_are_linked(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "trace.json"
    with DataLoader(data(), batch_size=4, trace=path, **options) as loader:
        for _ in loader:
            pass
        assert not path.exists()
    events = read(path)
    named = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert named[0] == "consumer"
    slices = [event for event in events if event["ph"] == "X"]
    assert {event["tid"] for event in slices} == set(named)
    assert all(event["dur"] >= 0 for event in slices)
    waits = [event for event in slices if event["name"] == "wait"]
    assert [event["args"]["step"] for event in waits] == list(range(16))
    assert {"load", "read", "order"} - {"order"} <= {event["name"] for event in slices if event["tid"]}
    for kind in ("s", "f"):
        ends = [event for event in events if event["ph"] == kind]
        assert sorted(event["id"] for event in ends) == list(range(16))
        for end in ends:  # each lies in a slice of its row
            on_row = [event for event in slices if event["tid"] == end["tid"]]
            assert any(event["ts"] <= end["ts"] <= event["ts"] + event["dur"] for event in on_row)


def test_brief_batches_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    with DataLoader(range(1200), batch_size=4, trace=path) as loader:
        for _ in loader:
            pass
    loads = [event["args"]["step"] for event in read(path) if event["name"] == "load"]
    assert loads == list(range(300))


def test_an_epoch_that_is_broken_off(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    loader = DataLoader(data(), batch_size=4, trace=path)
    for step, _ in enumerate(loader):
        if step == 3:
            break
    del loader, _
    gc.collect()
    assert [event["args"]["step"] for event in read(path) if event["name"] == "wait"] == [0, 1, 2, 3]
    assert [each.name for each in tmp_path.iterdir()] == ["trace.json"]


def overlaps(events: list[dict[str, Any]]) -> int:
    """Return how many slices end after the one in which they begin, in whole nanoseconds as Perfetto has them."""
    found = 0
    for row in {event["tid"] for event in events if event["ph"] == "X"}:
        slices = [
            (int(event["ts"] * 1e3), int(event["ts"] * 1e3) + int(event["dur"] * 1e3))
            for event in events
            if event["ph"] == "X" and event["tid"] == row
        ]
        open_ends: list[int] = []
        for begun, ended in sorted(slices, key=lambda times: (times[0], -times[1])):
            while open_ends and open_ends[-1] <= begun:
                open_ends.pop()
            found += bool(open_ends) and ended > open_ends[-1]
            open_ends.append(ended)
    return found


@pytest.mark.parametrize("options", OPTIONS, ids=["inline", "threads", "processes"])
def test_slices_of_a_row_lie_in_each_other_or_apart(tmp_path: Path, options: dict[str, Any]) -> None:
    """Pages leave out what overlaps, and of several iterators steps and tasks do."""
    path = tmp_path / "trace.json"
    with DataLoader(data(), batch_size=4, trace=path, **options) as loader:
        for _ in zip(loader, loader, strict=True):
            pass
        for _ in loader:
            pass
    events = read(path)
    assert overlaps(events) == 0
    named = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert named.count("consumer") == 2
    assert sum(event["name"] == "wait" for event in events) == 48
    rows = {event["tid"] for event in events if event["name"] == "thread_name"}
    assert {event["tid"] for event in events if event["ph"] in "Xsf"} == rows


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none/trace.json", "there is no folder for trace='.*trace.json'; make it first"),
        (".", "trace must be the path of a file, but .* is a folder"),
        ("", "is a folder"),
        (5, "trace must be the path of a file, or None, but got trace=5"),
    ],
)
def test_where_no_trace_can_be_written(path: Any, message: str, tmp_path: Path) -> None:
    given = tmp_path / path if isinstance(path, str) and path else path
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        DataLoader(range(4), trace=given)
    assert list(tmp_path.iterdir()) == []
