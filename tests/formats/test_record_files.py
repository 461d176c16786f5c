"""Records in many files: read in any order, and few of the files open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.formats import index, record_files
from headrace.formats.record_files import RecordFiles
from headrace.formats.tfrecord.framing import TFRECORD, frame
from headrace.io import disk
from headrace.io.ranges import announce
from headrace.io.source import LocalSource, split


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    found = []
    for number in range(60):
        path = tmp_path / f"{number}"
        path.write_bytes(b"".join(frame(b"%d of %d" % (row, number)) for row in range(3)))
        found.append(str(path))
    return found


def read(files: RecordFiles, indices: list[int]) -> list[bytes]:
    numbers = np.array(indices)
    located = files.bounds.locate(numbers)
    return split(files.read(located, files.rows("records", located), numbers))


def expected(indices: list[int]) -> list[bytes]:
    return [b"%d of %d" % (each % 3, each // 3) for each in indices]


def test_few_files_are_open(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_most_open", lambda: 16)
    monkeypatch.setattr(index, "_SMALL", 0)  # so that indexes are mapped too
    monkeypatch.setattr(record_files, "_LITTLE", 0)
    files = RecordFiles(paths, TFRECORD)
    rng = np.random.default_rng(0)
    for size in (1, 5, 20, 180):  # also of more files than may stay open
        indices = rng.permutation(180)[:size].tolist()
        assert read(files, indices) == expected(indices)
        opened = [source for source in files.sources if isinstance(source, LocalSource) and source._mapping]
        assert len(opened) <= max(16, size)
    read(files, [0])
    assert sum(each is not None for each in [file._index for file in files._indexed]) <= 16
    files.close()
    assert not any(isinstance(source, LocalSource) and source._mapping for source in files.sources)
    assert read(files, [179]) == expected([179])


def test_advice_waits_for_the_disk(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    files = RecordFiles(paths, TFRECORD)
    faults = [5]
    monkeypatch.setattr(disk, "_count_faults", lambda: faults[0])
    read(files, [3])
    assert not files.reads_ahead()
    faults[0] += 2
    for _ in range(8):
        read(files, [3])
    assert files.reads_ahead()
    for _ in range(64):
        read(files, [3])
    assert not files.reads_ahead()
    located = files.bounds.locate(np.array([3, 170]))
    announce(files.byte_ranges(located, files.rows("records", located)))


def test_blocks_are_pieces_of_files(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path(paths[1]).write_bytes(b"")  # a file without records has no block
    assert RecordFiles(paths[:3], TFRECORD).blocks().tolist() == [0, 3, 6]
    monkeypatch.setattr(record_files, "_BLOCK_BYTES", 30)
    assert RecordFiles(paths[2:4], TFRECORD).blocks().tolist() == [0, 1, 3, 4, 6]
    monkeypatch.setattr(record_files, "_BLOCK_BYTES", 1)
    assert RecordFiles(paths[2:4], TFRECORD).blocks().tolist() == list(range(7))


class Far:
    """A source that is not mapped, as one of another machine is not."""

    def __init__(self, path: str) -> None:
        self._source = LocalSource(path)
        self.path, self.identity = self._source.path, self._source.identity

    def view(self) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


def test_files_far_away(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(path: str) -> Any:
        return Far(path) if int(Path(path).name) % 2 else LocalSource(path)

    monkeypatch.setattr(record_files, "open_source", opened)
    files = RecordFiles(paths, TFRECORD)
    assert files.reads_ahead()
    for indices in ([0], [3], [4, 3], np.random.default_rng(0).permutation(180).tolist()):
        assert read(files, indices) == expected(indices)
    located = files.bounds.locate(np.array([3]))
    announce(files.byte_ranges(located, files.rows("records", located)))
