"""Indexes that are built ahead are those that opening would build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.convert.conftest import digits

from headrace import open_dataset
from headrace.cli.main import main
from headrace.convert import write_dataset
from headrace.convert.indexes import build_indexes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("workers", [0, 2])
def test_each_file_has_an_index_then(workers: int, tmp_path: Path) -> None:
    write_dataset(digits(), tmp_path / "a.tfrecord", fields=["image", "label"], shard_samples=130)
    found = build_indexes(str(tmp_path / "a-*.tfrecord"), workers=workers, backend="thread" if workers else "auto")
    assert found.samples == [130, 130, 40]
    built = sorted(path.name for path in tmp_path.glob(".*"))
    assert built == [f".a-0000{number}.tfrecord.headrace-index.npy" for number in range(3)]
    times = [(tmp_path / name).stat().st_mtime_ns for name in built]
    assert len(open_dataset(tmp_path / "a-*.tfrecord")) == 300
    assert [(tmp_path / name).stat().st_mtime_ns for name in built] == times


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(digits(), tmp_path / "a.tfrecord", fields=["image", "label"])
    assert main(["index", str(tmp_path / "a.tfrecord"), "--workers", "1"]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'a.tfrecord'}: 300 samples\n300 samples in 1 files, in")


def test_nothing_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(tmp_path / "a.tfrecord")]) == 2
    assert "there is no file or folder" in capsys.readouterr().err
