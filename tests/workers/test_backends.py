"""Backends are found by their names and by the arguments that they alone take; other distributions bring some, too."""

from __future__ import annotations

import importlib
import sys
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, TensorDataset
from headrace.errors import ArgumentError
from headrace.testing import check_pool
from headrace.workers import ThreadPool, backends, be_worker_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOY = '''
    """A backend whose workers are threads that are counted, and that refuses bounds."""
    from headrace.errors import ArgumentError
    from headrace.workers import ThreadPool
    from headrace.workers.backends import Backend

    class Toy(Backend):
        name = "toy"
        separate = {separate}
        pools = []

        def check(self, given):
            if given["prefetch_bytes"] is not None:
                raise ArgumentError(f"backend='toy' has no bound, but got {{given['prefetch_bytes']}}")

        def make_pool(self, make_work, options, given):
            self.pools.append((options["workers"], given["batch_size"]))
            return ThreadPool(make_work, **options)

    BACKEND = Toy()
'''


@pytest.fixture(params=[False, True], ids=["shared", "separate"])
def toy(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a distribution with a backend of its own."""
    info = tmp_path / "headrace_toy-1.0.dist-info"
    info.mkdir()
    (tmp_path / "headrace_toy.py").write_text(dedent(TOY).format(separate=request.param), encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headrace-toy\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[headrace.backends]\ntoy = headrace_toy:BACKEND\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    backends._backends.cache_clear()
    yield
    be_worker_process(None)  # its threads take themselves for processes, and so this one for a worker
    monkeypatch.undo()
    sys.modules.pop("headrace_toy", None)
    backends._backends.cache_clear()


@pytest.mark.usefixtures("toy")
def test_loader_uses_a_backend_of_another_distribution() -> None:
    dataset = TensorDataset(np.arange(30))
    expected = [batch[0].tolist() for batch in DataLoader(dataset, 4, shuffle=True, seed=1)]
    with DataLoader(dataset, 4, shuffle=True, seed=1, num_workers=2, backend="toy") as loader:
        assert [batch[0].tolist() for batch in loader] == expected
    assert sys.modules["headrace_toy"].BACKEND.pools == [(2, 4)]
    with pytest.raises(ArgumentError, match=r"^backend='toy' has no bound, but got 7$"):
        DataLoader(dataset, 4, num_workers=2, backend="toy", prefetch_bytes=7)
    with pytest.raises(ArgumentError, match=r"^multiprocessing_context is for backend='process', but got .*'toy'"):
        DataLoader(dataset, 4, num_workers=2, backend="toy", multiprocessing_context="fork")
    with pytest.raises(ArgumentError, match="must be one of 'auto', 'thread', 'process', 'ray', 'toy', but got"):
        DataLoader(dataset, backend="toys")


@pytest.mark.usefixtures("toy")
def test_backend_of_another_distribution_passes_check_pool() -> None:
    toy = backends.find_backend("toy")

    def make_pool(make_work: Any, **options: Any) -> Any:
        return toy.make_pool(make_work, {"max_bytes": None, "timeout": 0, **options}, {"batch_size": 1})  # type: ignore[typeddict-item]

    check_pool(make_pool)


def test_second_backend_of_one_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        def load(self) -> Any:
            return backends.find_backend("thread")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Entry()])
    backends._backends.cache_clear()
    with pytest.raises(ArgumentError, match="two backends are called 'thread'"):
        backends.find_backend("toy")
    backends._backends.cache_clear()


class _Remote(backends.Backend):
    name = "remote"
    separate = True
    options = ("remote_options",)

    def make_pool(self, make_work: Any, options: Any, given: Any) -> ThreadPool[Any, Any]:
        raise NotImplementedError


def test_an_option_chooses_its_backend_and_excludes_others(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {**backends.own_backends(), "remote": _Remote()}
    monkeypatch.setattr(backends, "own_backends", lambda: own)
    given = {"backend": "auto", "ray_options": None, "remote_options": None, "multiprocessing_context": None}
    assert backends.requested_backend(given) is None
    assert backends.requested_backend({**given, "remote_options": {}}) is own["remote"]
    assert backends.requested_backend({**given, "multiprocessing_context": "fork"}) is own["process"]
    assert backends.requested_backend({**given, "backend": "remote"}) is own["remote"]
    backends.check_backend({**given, "backend": "remote", "remote_options": {}})
    for wrong in ({"backend": "thread"}, {"multiprocessing_context": "fork"}):
        with pytest.raises(ArgumentError, match="leave one of them out"):
            backends.check_backend({**given, "remote_options": {}, **wrong})


def test_default_backend_is_one_that_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    process = backends.find_backend("process")
    assert backends.default_backend(separate=True) is process
    monkeypatch.setattr(type(process), "is_available", lambda self: False)
    assert backends.default_backend(separate=True) is backends.find_backend("thread")
