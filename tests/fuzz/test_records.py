"""A short run of the fuzz; `records.py` beside it tells how to run it for long."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from headrace.kernels import native


@pytest.mark.parametrize("kinds", [("tfrecord", "tar", "index", "example"), ("npy", "cache"), ("lmdb", "sidecar")])
def test_a_few_inputs(kinds: tuple[str, ...]) -> None:
    pytest.importorskip("lmdb")
    place = importlib.util.spec_from_file_location("headrace_fuzz_records", Path(__file__).with_name("records.py"))
    assert place is not None
    assert place.loader is not None
    records = importlib.util.module_from_spec(place)
    place.loader.exec_module(records)
    found = native.load()
    tried = records.fuzz(400, seed=0, checked=None if isinstance(found, str) else found, kinds=kinds)
    assert tried.errors > 20  # most indexes that are wrong are built anew, without an error
