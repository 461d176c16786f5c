from __future__ import annotations

import copy
import json
import pickle
import re
from html.parser import HTMLParser
from io import BytesIO
from time import sleep
from typing import Any

import numpy as np
import pytest

from headrace import Compose, DataLoader, Dataset, Decode, LoaderStats, Resize, StackDataset
from headrace.errors import ArgumentError

SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$")


class Slow(Dataset[Any]):
    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int, /) -> Any:
        sleep(0.03 if index == 17 else 0.0005)
        return np.full(10, index, np.float32)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)


def measure(**options: Any) -> LoaderStats:
    with DataLoader(Slow().map(_twice), batch_size=4, shuffle=True, seed=0, **options) as loader:
        for _ in loader:
            sleep(0.001)
        return loader.stats()


def _twice(row: Any) -> Any:
    return row * 2


def parse(text: str) -> dict[tuple[str, str], float]:
    """The values of an exposition, which has a type for each metric, and each metric once."""
    assert text.endswith("\n")
    found, typed = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            typed.add(line.split()[2])
        if line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        assert match is not None, line
        assert match[1] in typed
        assert (match[1], match[2] or "") not in found
        found[match[1], match[2] or ""] = float(match[3])
    return found


@pytest.mark.parametrize("options", [{}, {"num_workers": 2, "backend": "thread"}], ids=["inline", "threads"])
def test_stages_workers_and_the_slowest_sample(options: dict[str, Any]) -> None:
    stats = measure(**options)
    assert {"order", "read", "transform", "collate"} <= set(stats.stages)
    assert stats.stages["read"].seconds > 47 * 0.0005
    assert stats.stages["read"].batches == 12
    assert stats.stages["read"].seconds > stats.stages["transform"].seconds
    assert sum(each.batches for each in stats.workers.values()) == 12
    assert sum(each.samples for each in stats.workers.values()) == 48
    assert stats.slowest_samples[0].sample == 17
    assert stats.slowest_samples[0].seconds >= 0.03
    assert stats.busy_cores > 0
    assert len(stats.timeline.steps) == 12
    tasks = stats.timeline.tasks[stats.timeline.tasks["worker"] >= 0]
    assert sorted(tasks["step"].tolist()) == list(range(12))
    assert (tasks["ended"] > tasks["begun"]).all()


def test_processes_tell_their_stages() -> None:
    stats = measure(num_workers=1, backend="process")
    assert {"order", "read", "transform", "collate", "transport"} <= set(stats.stages)
    assert stats.stages["read"].seconds > 47 * 0.0005
    assert stats.workers[0].batches == 12
    assert stats.slowest_samples[0].sample == 17


def test_small_batches_that_go_together_share_the_time() -> None:
    loader = DataLoader({"x": np.arange(4096)}, batch_size=8)
    assert sum(1 for _ in loader) == 512
    stats = loader.stats()
    assert sum(each.batches for each in stats.workers.values()) == 512
    tasks = stats.timeline.tasks
    assert len(tasks) < 512
    assert tasks["steps"].sum() == 512


class Counted(Slow):
    def counters(self) -> dict[str, Any]:
        return {'a "b"\n': np.int64(3), "f": np.float32(2.5)}


def test_counters_of_numpy_and_odd_names_go_into_json_and_prometheus() -> None:
    with DataLoader(Counted(), batch_size=4) as loader:
        stats = loader.stats()
    assert json.loads(json.dumps(stats.to_dict()))["counters"] == {'a "b"\n': 3, "f": 2.5}
    text = stats.to_prometheus()
    assert 'headrace_dataset_total{name="a \\"b\\"\\n"} 3\n' in text
    assert 'headrace_dataset_total{name="f"} 2.5\n' in text


@pytest.mark.parametrize("prefix", ["my-app", "", "1st", "a b", "ü"])
def test_prefixes_that_prometheus_has_no_names_with(prefix: str) -> None:
    with pytest.raises(ArgumentError, match="prefix must be letters, digits and _"):
        LoaderStats().to_prometheus(prefix)


def test_a_snapshot_cannot_be_changed() -> None:
    stats = measure()
    changes: list[tuple[str, tuple[Any, ...]]] = [("update", ({"a": 1},)), ("clear", ()), ("popitem", ())]
    changes += [("setdefault", ("a", 1)), ("pop", ("read",)), ("__setitem__", ("a", 1)), ("__ior__", ({"a": 1},))]
    changes += [("__delitem__", ("read",))]
    for each in (stats.stages, stats.workers, stats.counters, stats.sources):
        for change, arguments in changes:
            with pytest.raises(TypeError, match="a snapshot"):
                getattr(each, change)(*arguments)
    with pytest.raises(ValueError, match="read-only"):
        stats.timeline.steps["step"][:] = 0
    assert pickle.loads(pickle.dumps(stats)) == copy.deepcopy(stats) == stats
    assert dict(stats.counters) == {}


def test_waiting_for_the_first_batch_is_told_from_the_rest() -> None:
    stats = LoaderStats(batches=2, samples=8, wait_seconds=3.0, start_seconds=2.0, consumer_seconds=1.0)
    assert (stats.wait_share, stats.start_share, LoaderStats().start_share) == (0.75, 0.5, 0.0)
    assert re.search(r"^of it for the first batch +50\.0%$", str(stats), re.MULTILINE)
    assert stats.to_dict()["start_share"] == 0.5


def test_json_and_prometheus_say_the_same() -> None:
    stats = measure()
    found = json.loads(json.dumps(stats.to_dict()))
    metrics = parse(stats.to_prometheus())
    assert metrics["headrace_batches_total", ""] == found["batches"] == 12
    assert metrics["headrace_wait_seconds_total", ""] == found["wait_seconds"]
    for name, stage in found["stages"].items():
        assert metrics["headrace_stage_seconds_total", f'stage="{name}"'] == stage["seconds"]


def test_tables() -> None:
    stats = measure()
    text = str(stats)
    assert "samples a second" in text
    assert re.search(r"^transform +0\.\d+ s", text, re.MULTILINE)
    assert re.search(r"^17 +\d+\.\d ms", text, re.MULTILINE)
    page = Tags()
    page.feed(stats._repr_html_())
    assert page.opened.count("table") == text.count("\n\n") + 1


def test_a_verdict_of_a_run() -> None:
    verdict = measure().verdict()
    assert verdict.kind == "data-starved"
    assert "the model is data-starved" in str(verdict)
    assert LoaderStats().verdict().kind == "unknown"


class Delivering(DataLoader[Any]):
    """Hands out copies, as to another device, of all batches but the second."""

    def _delivers(self) -> bool:
        return True

    def _deliver(self, batch: Any) -> Any:
        return batch if batch[0, 0] == 4 else batch.copy()


def test_batches_that_are_put_elsewhere() -> None:
    loader = Delivering(Slow(), batch_size=4)
    for _ in loader:
        pass
    stage = loader.stats().stages["device_copy"]
    assert (stage.batches, stage.bytes) == (11, 11 * 4 * 40)
    assert stage.seconds < loader.stats().wait_seconds


@pytest.mark.parametrize("options", [{}, {"num_workers": 2, "backend": "thread"}], ids=["inline", "threads"])
def test_bytes_of_samples_and_of_whole_batches(options: dict[str, Any]) -> None:
    with DataLoader(Slow(), batch_size=4, **options) as singly, DataLoader({"x": np.zeros((64, 1000))}, 8) as whole:
        for loader in (singly, whole):
            for _ in loader:
                pass
    assert singly.stats().stages["collate"].bytes == 48 * 40
    assert singly.stats().stages["read"].bytes == 0  # samples are anything
    assert whole.stats().stages["read"].bytes == 64 * 8000


def test_bytes_of_files_and_of_what_is_decoded() -> None:
    image = pytest.importorskip("PIL.Image")
    file = BytesIO()
    image.new("RGB", (16, 16)).save(file, "png")
    dataset = StackDataset([file.getvalue()] * 12, np.arange(12)).map(Compose([Decode(), Resize((8, 8))]), field=0)
    loader = DataLoader(dataset, batch_size=4)
    for _ in loader:
        pass
    stages = loader.stats().stages
    assert (stages["read"].bytes, stages["decode"].bytes) == (12 * len(file.getvalue()), 12 * 8 * 8 * 3)
