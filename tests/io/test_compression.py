"""Compressed files: small ones that hold much, and copies that are left behind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import ArrowDataset, TarStream, TFRecordDataset
from headrace.errors import ArgumentError, StorageError
from headrace.formats.tfrecord.framing import frame
from headrace.io import compression as unpacking
from headrace.io.compression import Unpacked
from headrace.io.source import open_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.* is compressed, so its records")

PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "headrace" / "unpacked"


def archive(**sizes: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, size in sizes.items():
            member = tarfile.TarInfo(f"{name}.bin")
            member.size = size
            tar.addfile(member, io.BytesIO(bytes(size)))
    return file.getvalue()


@pytest.mark.parametrize("kind", PACKERS)
def test_a_file_of_an_archive_that_is_too_large(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.tar.{kind}"
    path.write_bytes(PACKERS[kind](archive(small=10, large=30 << 20, other=10)))
    stream = iter(TarStream(path, max_file_bytes=20 << 20))
    with pytest.raises(StorageError, match=r"member at byte 1024 has more bytes .*max_file_bytes=.*TarDataset"):
        next(stream)
    sizes = [len(sample["bin"]) for sample in TarStream(path, max_file_bytes=30 << 20)]
    assert sizes == [10, 30 << 20, 10]


def test_a_plain_archive_has_no_limit(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(archive(large=30 << 20))
    assert len(next(iter(TarStream(tmp_path / "a.tar", max_file_bytes=1)))["bin"]) == 30 << 20


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "1"])
def test_limits_are_checked(tmp_path: Path, wrong: Any) -> None:
    (tmp_path / "a").write_bytes(b"a")
    with pytest.raises(ArgumentError, match="max_file_bytes must be a number of bytes, 1 or more"):
        TarStream(tmp_path / "a", max_file_bytes=wrong)
    with pytest.raises(ArgumentError, match="max_unpacked_bytes must be a number of bytes, 1 or more"):
        TFRecordDataset(tmp_path / "a", max_unpacked_bytes=wrong)


def test_what_is_passed_over_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(50 << 20) + b"end"))
    with Unpacked(open_source(tmp_path / "a.gz")) as content:
        asked: list[int] = []
        read = content.read

        def noted(length: int) -> bytes:
            asked.append(length)
            return read(length)

        content.read = noted  # type: ignore[method-assign]
        view = content.view(1 << 20)
        view.move_to(50 << 20)
        assert view.more()
        assert view.data.tobytes() == b"end"
        assert max(asked) <= 1 << 22


def test_a_copy_that_would_be_too_large(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes(gzip.compress(frame(bytes(30 << 20))))
    with pytest.raises(StorageError, match=r"holds more than 1,000,000 bytes in compressed form.*max_unpacked_bytes="):
        TFRecordDataset(path, max_unpacked_bytes=1_000_000)
    assert list(cache.iterdir()) == []
    monkeypatch.setattr(unpacking, "_AT_LEAST", 1 << 20)
    with pytest.raises(StorageError, match="holds more than"):
        TFRecordDataset(path)
    assert len(TFRecordDataset(path, max_unpacked_bytes=31 << 20)[0]) == 30 << 20


def test_a_table_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x\n" + b"1\n" * 10_000_000))
    monkeypatch.setattr(unpacking, "_AT_LEAST", 1 << 20)
    with pytest.raises(StorageError, match=r"a\.csv\.gz holds more than"):
        ArrowDataset(tmp_path / "a.csv.gz")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"x\n1\n2\n"))
    assert ArrowDataset(tmp_path / "b.csv.gz").get_batch(np.arange(2))["x"].tolist() == [1, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="kills of POSIX, files without a name of Linux")
def test_a_program_that_is_killed_leaves_no_copy(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes(gzip.compress(frame(bytes(300 << 20)), 1))
    program = f"import headrace; headrace.TFRecordDataset({str(path)!r})"
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", program]) as process:
        while not cache.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert list(cache.iterdir()) == []


def test_copies_of_earlier_kills_are_removed(tmp_path: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / ".tmp1234").write_bytes(b"half")
    os.utime(cache / ".tmp1234", (1, 1))
    (tmp_path / "a.tfrecord.gz").write_bytes(gzip.compress(frame(b"one")))
    assert TFRecordDataset(tmp_path / "a.tfrecord.gz")[0] == b"one"
    assert not (cache / ".tmp1234").exists()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_folder_of_copies_that_is_open_to_all(tmp_path: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    (tmp_path / "a.tfrecord.gz").write_bytes(gzip.compress(frame(b"one")))
    with pytest.raises(StorageError, match="anybody may write to"):
        TFRecordDataset(tmp_path / "a.tfrecord.gz")
