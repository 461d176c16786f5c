"""Files far away: the right bytes or a clear error, whatever the server does. All servers are of this machine."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import threading
import time
import tracemalloc
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, NpyDataset, RemoteOptions
from headrace.errors import ArgumentError, FileChangedError, StorageError
from headrace.io import remote
from headrace.io.chunks import CHUNK, ChunkCache
from headrace.io.counts import ReadCounts
from headrace.io.paths import find_paths
from headrace.io.remote import RemoteSource
from headrace.io.source import open_source
from headrace.io.spans import SpansAhead, join_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

fsspec = pytest.importorskip("fsspec")

CONTENT = np.random.default_rng(0).integers(0, 256, 3 * CHUNK + 12345, np.uint8).tobytes()
BOMB = gzip.compress(bytes(1 << 26))


class Server(ThreadingHTTPServer):
    """Serves one file, and does what it is told to do wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.tag = '"first"'
        self.faults: list[str] = []  # one a request for bytes
        self.ranges: list[tuple[int, int]] = []
        self.sent = 0  # of bytes that nobody asked for

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data"

    def handle_error(self, *_: object) -> None:
        """Say nothing: connections are broken on purpose."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self._begin(200, len(self.server.content))

    def do_GET(self) -> None:
        server = self.server
        found = re.match(r"bytes=(\d+)-(\d+)$", self.headers.get("Range", ""))
        start, stop = (int(found[1]), int(found[2]) + 1) if found else (0, len(server.content))
        server.ranges.append((start, stop))
        fault = server.faults.pop(0) if server.faults else ""
        body = server.content[start:stop]
        if self.headers.get("If-Match", server.tag) != server.tag:
            self._begin(412, 0)
        elif fault in ("500", "503", "403"):
            self._begin(int(fault), 0)
        elif fault == "reset":
            self.connection.close()
        elif fault == "whole":  # the range is not heeded
            self._begin(200, len(server.content))
            self.wfile.write(server.content)
        else:
            self._send(fault, body)

    def _send(self, fault: str, body: bytes) -> None:
        if fault == "short":  # and says so
            self._begin(206, len(body) // 2)
            self.wfile.write(body[: len(body) // 2])
        elif fault == "cut":  # fewer than were promised
            self._begin(206, len(body))
            self.wfile.write(body[: len(body) // 2])
            self.connection.close()
        elif fault == "endless":
            self._begin(206, None)
            with suppress(OSError):
                while True:
                    self.wfile.write(bytes(1 << 16))
                    self.server.sent += 1 << 16
        elif fault == "compressed":
            self._begin(206, len(BOMB), "gzip")
            self.wfile.write(BOMB)
        elif fault == "slow":
            self._begin(206, len(body))
            for byte in body[:100]:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)
        else:
            self._begin(206, len(body))
            self.wfile.write(body)

    def _begin(self, code: int, length: int | None, encoding: str = "") -> None:
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.send_header("ETag", self.server.tag)
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    pytest.importorskip("aiohttp")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def options(**given: Any) -> RemoteOptions:
    return RemoteOptions(**{"timeout": 20.0, **given})


def many(source: RemoteSource, *ranges: tuple[int, int]) -> list[bytes]:
    offsets, lengths = np.array(ranges, np.int64).reshape(-1, 2).T
    packed = source.read_many(offsets, lengths)
    return [packed.buffer[a:b].tobytes() for a, b in zip(packed.bounds, packed.bounds[1:], strict=False)]


RANGES = [(5_000, 10), (0, 3), (4_990, 20), (CHUNK - 5, 10), (7, 0), (len(CONTENT) - 1, 1), (2 * CHUNK, 300_000)]


def test_ranges(server: Server) -> None:
    source = RemoteSource(server.url, options())
    assert source.identity.size == len(CONTENT)
    assert many(source, *RANGES) == [CONTENT[start : start + length] for start, length in RANGES]
    assert many(source) == []
    assert many(source, (5, 0)) == [b""]
    assert source.read(100, 50).tobytes() == CONTENT[100:150]


def test_neighbours_are_asked_for_together(server: Server) -> None:
    source = RemoteSource(server.url, options())
    many(source, (1000, 10), (0, 10), (60_000, 10), (500_000, 10))
    assert sorted(server.ranges) == [(0, 60_010), (500_000, 500_010)]


def test_no_request_is_too_large() -> None:
    offsets = np.arange(0, 1 << 26, 1 << 15)
    spans = join_ranges(offsets, np.full(len(offsets), 1 << 15))
    assert max(stop - start for start, stop in spans) <= 1 << 23
    assert sum(stop - start for start, stop in spans) == 1 << 26
    assert join_ranges(np.array([0, 10]), np.array([1 << 24, 1 << 24])) == [(0, (1 << 24) + 10)]


@pytest.mark.parametrize("fault", ["500", "503", "reset", "whole", "short", "cut"])
def test_faults_are_retried(fault: str, server: Server) -> None:
    source = RemoteSource(server.url, options())
    server.faults = [fault, fault]
    assert many(source, (10, 1000)) == [CONTENT[10:1010]]
    assert len(server.ranges) == 3  # those that failed, and one that did not


@pytest.mark.parametrize("fault", ["500", "reset", "whole", "short", "cut"])
def test_lasting_faults_raise(fault: str, server: Server) -> None:
    source = RemoteSource(server.url, options(retries=2))
    server.faults = [fault] * 100
    with pytest.raises(StorageError, match=rf"^{server.url} could not be read: .* \(3 attempts, of 3 in 20 seconds"):
        source.read(10, 1000)
    assert len(server.ranges) == (6 if fault == "reset" else 3)  # after a reset aiohttp asks again by itself


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("endless", "more bytes came than the 10 at 5000 that were asked for"),
        ("whole", "more bytes came than the 10 at 5000 that were asked for"),
        ("compressed", r"the server sent the bytes compressed \(gzip\), which nobody asked for"),
    ],
)
def test_no_more_is_taken_than_was_asked_for(fault: str, text: str, server: Server) -> None:
    source = RemoteSource(server.url, options(retries=0))
    server.faults = [fault]
    tracemalloc.start()
    with pytest.raises(StorageError, match=text):
        source.read(5_000, 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24
    assert server.sent < 1 << 26
    assert source.read(5_000, 10).tobytes() == CONTENT[5_000:5_010]


def test_a_size_that_no_memory_has_room_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    source = RemoteSource(server.url, options(retries=0))
    monkeypatch.setattr(remote, "AHEAD", 1 << 20)
    monkeypatch.setattr(source, "_ahead", SpansAhead(1 << 20))
    monkeypatch.setattr(remote, "total_memory", lambda: 1 << 21)
    assert len(source.read(0, 1 << 21)) == 1 << 21
    with pytest.raises(StorageError, match=r"3,158,073 bytes would be read at once, .* memory for 2,097,152"):
        source.read(0, len(CONTENT))
    source.will_need(np.array([0]), np.array([len(CONTENT)]))
    assert not len(source._ahead)


def test_what_is_forbidden_is_not_asked_for_again(server: Server) -> None:
    source = RemoteSource(server.url, options())
    server.faults = ["403"] * 10
    with pytest.raises(Exception, match="403"):
        source.read(0, 10)
    assert len(server.ranges) == 1


def test_slow_server_times_out(server: Server) -> None:
    source = RemoteSource(server.url, options(timeout=1.0))
    server.faults = ["slow"] * 10
    with pytest.raises(StorageError, match="could not be read"):
        source.read(0, 1000)


def test_a_file_that_changes(server: Server) -> None:
    source = RemoteSource(server.url, options())
    source.read(0, 10)
    server.tag = '"second"'
    with pytest.raises(FileChangedError, match="has changed since it was opened"):
        source.read(0, 10)
    again = pickle.loads(pickle.dumps(source))
    with pytest.raises(FileChangedError, match="has changed: it was"):
        again.read(0, 10)
    assert RemoteSource(server.url, options()).read(0, 10).tobytes() == CONTENT[:10]


def test_a_file_that_is_gone() -> None:
    with pytest.raises(FileNotFoundError):
        open_source("memory://nowhere/nothing")
    fsspec.filesystem("memory").pipe_file("/gone", b"content")
    source = pickle.loads(pickle.dumps(open_source("memory://gone")))
    fsspec.filesystem("memory").rm("/gone")
    with pytest.raises(FileChangedError, match="memory://gone is gone"):
        source.read(0, 1)


def test_outside_of_the_file(server: Server) -> None:
    with pytest.raises(StorageError, match=rf"5 bytes at {len(CONTENT) - 4} were asked for"):
        RemoteSource(server.url, options()).read(len(CONTENT) - 4, 5)


def test_early_fetches_are_used(server: Server) -> None:
    source = RemoteSource(server.url, options())
    source.will_need(np.array([0, 100_000]), np.array([1000, 1000]))
    source.will_need(np.array([0]), np.array([1000]))
    assert many(source, (10, 50), (100_900, 100)) == [CONTENT[10:60], CONTENT[100_900:101_000]]
    assert sorted(server.ranges) == [(0, 1000), (100_000, 101_000)]
    source.close()
    assert many(source, (10, 50)) == [CONTENT[10:60]]


def test_an_early_fetch_that_failed_is_made_again(server: Server) -> None:
    source = RemoteSource(server.url, options(retries=0))
    server.faults = ["500"]
    source.will_need(np.array([0]), np.array([1000]))
    with pytest.raises(StorageError):
        source.read(0, 1000)
    assert source.read(0, 1000).tobytes() == CONTENT[:1000]


# ---------------------------------------------------------------------- the disk cache


def test_what_was_read_is_kept(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        source = RemoteSource(server.url, options(cache_dir=str(tmp_path)))
        assert many(source, *RANGES) == [CONTENT[start : start + length] for start, length in RANGES]
    assert sorted(set(server.ranges)) == [(n * CHUNK, min((n + 1) * CHUNK, len(CONTENT))) for n in range(4)]
    count = len(server.ranges)
    block = sorted(tmp_path.glob("*/*"))[0]
    content = bytearray(block.read_bytes())
    content[100] ^= 1
    block.write_bytes(content)
    source = RemoteSource(server.url, options(cache_dir=str(tmp_path)))
    assert many(source, (0, len(CONTENT))) == [CONTENT]
    assert len(server.ranges) == count + 1
    server.tag = '"second"'
    server.content = CONTENT[::-1]
    changed = RemoteSource(server.url, options(cache_dir=str(tmp_path)))
    assert many(changed, (0, 10)) == [CONTENT[::-1][:10]]


def test_the_limit_of_the_cache(tmp_path: Path) -> None:
    cache = ChunkCache(str(tmp_path), limit=10_000)
    for number in range(20):
        cache.write("name", number, bytes([number]) * 1000)
        stamp = 10**9 * (1000 + number)
        os.utime(tmp_path / "na" / f"name.{number}", ns=(stamp, stamp))
        assert cache.read("name", 0, 1000) == bytes(1000)  # used again and again
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 10_000
    assert cache.read("name", 19, 1000) == b"\x13" * 1000
    assert cache.read("name", 3, 1000) is None
    assert not list(tmp_path.glob("*/*.new"))


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ChunkCache(str(tmp_path / "file"), limit=None)
    cache.write("name", 0, b"content")
    assert cache.read("name", 0, 7) is None


# ---------------------------------------------------------------------- datasets


def test_options() -> None:
    for wrong in ({"retries": -1}, {"concurrency": 0}, {"cache_limit": 5}, {"timeout": float("nan")}):
        with pytest.raises(ArgumentError):
            RemoteOptions(**wrong)
    with RemoteOptions(retries=1):
        with RemoteOptions(retries=2) as inner:
            assert RemoteOptions.current() is inner
        assert RemoteOptions.current().retries == 1
    assert RemoteOptions.current().retries == 5


def test_unknown_schemes() -> None:
    with pytest.raises(ArgumentError, match="fsspec knows no gopher://"):
        open_source("gopher://host/file")


def test_patterns() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("b.bin", "a.bin", "c.txt"):
        memory.pipe_file(f"/patterns/{name}", b"x")
    assert find_paths("memory://patterns/*.bin") == [
        "memory://patterns/a.bin",
        "memory://patterns/b.bin",
    ] or find_paths("memory://patterns/*.bin") == ["memory:///patterns/a.bin", "memory:///patterns/b.bin"]
    with pytest.raises(FileNotFoundError, match="no file matches memory://patterns/"):
        find_paths("memory://patterns/*.tar")


@pytest.mark.parametrize(
    "workers", [{}, {"num_workers": 2, "backend": "thread"}, {"num_workers": 2, "backend": "process"}]
)
def test_a_dataset_far_away(workers: dict[str, Any], server: Server, tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 256, (200, 50), np.uint8)
    np.save(tmp_path / "array.npy", array)
    server.content = (tmp_path / "array.npy").read_bytes()
    with options():
        dataset = NpyDataset(server.url)
    with DataLoader(dataset, 16, shuffle=True, seed=3, **workers) as loader:
        found = list(loader)
    for batch, expected in zip(
        found, DataLoader(NpyDataset(tmp_path / "array.npy"), 16, shuffle=True, seed=3), strict=True
    ):
        assert np.array_equal(np.asarray(batch).ravel(), np.asarray(expected).ravel())


# ---------------------------------------------------------------------- what is counted


def test_requests_are_counted_as_the_server_sees_them(server: Server) -> None:
    source, counts = RemoteSource(server.url, options()), ReadCounts()
    many(source, (0, 10))
    source.counts = counts
    server.ranges.clear()
    many(source, *RANGES)
    source.will_need(np.array([3_000_000]), np.array([50]))
    many(source, (3_000_010, 5), (1, 5))
    server.faults = ["503", "short"]
    many(source, (200_000, 10))
    sent = sum(stop - start for start, stop in server.ranges)
    assert counts.totals() == {
        "bytes_read": 0,  # which is for those to count who know what a sample is
        "remote_requests": len(server.ranges),
        "remote_bytes": sent - 15,  # nothing came of one of them, and half of another
    }
    assert pickle.loads(pickle.dumps([source, source]))[0].counts.totals() == {"bytes_read": 0}


def test_a_chunk_that_several_wait_for_is_fetched_once(server: Server, tmp_path: Path) -> None:
    source = RemoteSource(server.url, options(cache_dir=str(tmp_path)))
    source.counts = counts = ReadCounts()
    far_apart = [(start, 10) for start in range(0, 2 * CHUNK, CHUNK // 8)]
    assert many(source, *far_apart) == [CONTENT[start : start + 10] for start, _ in far_apart]
    assert sorted(server.ranges) == [(0, CHUNK), (CHUNK, 2 * CHUNK)]
    assert counts.totals() == {
        "bytes_read": 0,
        "chunk_misses": 2,
        "chunk_hits": 14,
        "remote_requests": 2,
        "remote_bytes": 2 * CHUNK,
    }


@pytest.mark.usefixtures("by_value")
@pytest.mark.parametrize("backend", [None, "thread", "process"])
def test_a_loader_tells_the_requests(server: Server, backend: Any) -> None:
    workers: dict[str, Any] = {"num_workers": 2, "backend": backend} if backend else {}
    array = np.arange(20_000, dtype=np.int64).reshape(1000, 20)
    content = io.BytesIO()
    np.save(content, array)
    server.content = content.getvalue()
    dataset = NpyDataset(server.url)
    server.ranges.clear()  # the header
    with DataLoader(dataset, 50, shuffle=True, seed=0, **workers) as loader:
        assert sum(map(len, loader)) == 1000
        found = loader.stats().counters
    assert found == {
        "bytes_read": array.nbytes,
        "remote_requests": len(server.ranges),
        "remote_bytes": sum(stop - start for start, stop in server.ranges),
    }


@pytest.mark.usefixtures("by_value")
@pytest.mark.parametrize("workers", [0, 2, 3])
def test_worker_processes_fetch_early_what_they_read_themselves(server: Server, workers: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, (90, 1 << 17), np.uint8)  # rows too far apart to be joined
    content = io.BytesIO()
    np.save(content, array)
    server.content = content.getvalue()
    backend: dict[str, Any] = {"num_workers": workers, "backend": "process"} if workers else {}
    with DataLoader(NpyDataset(server.url), 4, shuffle=True, seed=0, **backend) as loader:
        server.ranges.clear()
        assert sum(int(batch.sum(dtype=np.int64)) for batch in loader) == array.sum(dtype=np.int64)
    assert sum(stop - start for start, stop in server.ranges) == array.nbytes  # each row once, and nothing else
