"""A short run of `many_shards.py`, which tells how to run it for a thousand shards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource")


@pytest.mark.parametrize("name", ["tar", "tfrecord", "mdb", "npy", "parquet", "arrow", "csv", "txt"])
def test_more_shards_than_descriptors(name: str) -> None:
    if name in ("parquet", "arrow", "csv"):
        pytest.importorskip("pyarrow")
    elif name == "mdb":
        pytest.importorskip("lmdb")
    program = str(Path(__file__).with_name("many_shards.py"))
    options = ["--shards", "120", "--descriptors", "64", name]
    done = subprocess.run([sys.executable, program, *options], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}: 120 shards")
