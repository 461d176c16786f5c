"""Records of about 1 KB in files of several formats, in random order and one after the other; and their indexes.

    python -m benchmarks.storage [--smoke]

200,000 records, batches of 256, one process, the files in the page cache. Every contender reads all records of an
epoch as bytes and touches each batch. The bare loop is the floor: a permutation, and slices of a mapped file whose
offsets are known, without checks. headrace holds each record against its CRC32C, and so does TensorFlow, whose
shuffle buffer holds all records, as an order that is random throughout needs. What would take minutes reads a file
of fewer records, as its line tells, and its rate is that of those.
"""

from __future__ import annotations

import io
import mmap
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Contender, begin, print_table, race, rate, rival

from headrace import DataLoader, TarDataset, TFRecordDataset, kernels
from headrace.formats.index import index_paths
from headrace.formats.tfrecord.framing import frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BATCH, FEW = 256, 20_000
tensorflow: Any = rival("tensorflow")
webdataset: Any = rival("webdataset")


@dataclass(frozen=True)
class Files:
    """The same records in files of each format.

    Attributes:
        folder: where they are.
        lengths: of the records, in bytes.
    """

    folder: Path
    lengths: list[int]

    @classmethod
    def write(cls, folder: Path, count: int) -> Files:
        """Write all of them."""
        rng = np.random.default_rng(0)
        lengths = rng.integers(900, 1150, count).tolist()
        files = cls(folder, lengths)
        records = [rng.bytes(length) for length in lengths]
        files.tfrecord.write_bytes(b"".join(map(frame, records)))
        _write_tar(files.tar, records)
        _write_tar(files.short_tar, records[: files.few])
        return files

    @property
    def tfrecord(self) -> Path:
        """All records in a TFRecord file."""
        return self.folder / "records.tfrecord"

    @property
    def tar(self) -> Path:
        """All records in a tar, one a sample."""
        return self.folder / "records.tar"

    @property
    def short_tar(self) -> Path:
        """The first of them in a tar of their own."""
        return self.folder / "few.tar"

    @property
    def few(self) -> int:
        """How many there are in that."""
        return min(FEW, len(self.lengths))

    def among_few(self, name: str, run: Callable[[], object] | None) -> Contender:
        """A contender that reads those alone."""
        return Contender(f"{name}, {self.few:,} records", run, share=self.few / len(self.lengths))

    @property
    def megabytes(self) -> float:
        """Of the records alone."""
        return sum(self.lengths) / 1e6


def _write_tar(path: Path, records: list[bytes]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, record in enumerate(records):
            member = tarfile.TarInfo(f"{number:08d}.bin")
            member.size = len(record)
            archive.addfile(member, io.BytesIO(record))


def random_order(files: Files) -> list[Contender]:
    """All the ways to read the records in random order."""
    count = len(files.lengths)
    tensors = tensorflow and (
        lambda: tensorflow.data.TFRecordDataset(os.fspath(files.tfrecord)).shuffle(count).batch(BATCH)
    )
    samples = webdataset and (
        lambda: webdataset.WebDataset(os.fspath(files.short_tar), shardshuffle=False).shuffle(count).batched(BATCH)
    )
    return [
        Contender("bare mmap-and-slice loop", _bare_loop(files), limit=True),
        Contender("headrace, TFRecord", _epochs(_loader(TFRecordDataset(files.tfrecord), shuffle=True)), most=1 / 0.85),
        Contender(
            "headrace, tar", _epochs(_loader(TarDataset(files.tar, fields=["bin"]), shuffle=True)), most=1 / 0.85
        ),
        Contender("headrace, tar with keys", _epochs(_loader(TarDataset(files.tar), shuffle=True)), most=1 / 0.7),
        Contender("tf.data, full shuffle buffer", tensors and _made_anew(tensors)),
        files.among_few("webdataset, full shuffle buffer", samples and _made_anew(samples)),
    ]


def in_sequence(files: Files) -> list[Contender]:
    """All the ways to read the records one after the other."""
    tensors = tensorflow and (lambda: tensorflow.data.TFRecordDataset(os.fspath(files.tfrecord)).batch(BATCH))
    samples = webdataset and (
        lambda: webdataset.WebDataset(os.fspath(files.short_tar), shardshuffle=False).batched(BATCH)
    )
    return [
        Contender("headrace, TFRecord", _epochs(_loader(TFRecordDataset(files.tfrecord)))),
        Contender("headrace, tar", _epochs(_loader(TarDataset(files.tar)))),
        Contender("tf.data", tensors and _made_anew(tensors)),
        files.among_few("webdataset", samples and _made_anew(samples)),
    ]


def _loader(dataset: Any, *, shuffle: bool = False) -> DataLoader:
    return DataLoader(dataset, BATCH, shuffle=shuffle, seed=0)


def _epochs(batches: Iterable[Any]) -> Callable[[], None]:
    def run() -> None:
        for batch in batches:
            _touch(batch)

    return run


def _made_anew(make: Callable[[], Iterable[Any]]) -> Callable[[], None]:
    """For what gives the same order again, or none, when it is gone through twice."""
    return lambda: _epochs(make())()


def _touch(batch: Any) -> None:
    """Look at a byte of the last record."""
    if isinstance(batch, dict):
        batch = batch["bin"]
    last = batch[-1]
    while not isinstance(last, bytes):
        last = last.numpy() if hasattr(last, "numpy") else last[-1]["bin"] if isinstance(last, list) else last["bin"]
    assert last[-1] >= 0


def _bare_loop(files: Files) -> Callable[[], None]:
    starts = (np.cumsum([0, *files.lengths[:-1]]) + 16 * np.arange(len(files.lengths)) + 12).tolist()
    rng = np.random.default_rng(0)

    def run() -> None:
        with files.tfrecord.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            order = rng.permutation(len(files.lengths)).tolist()
            for begin_of_batch in range(0, len(order), BATCH):
                rows = order[begin_of_batch : begin_of_batch + BATCH]
                _touch([mapped[starts[row] : starts[row] + files.lengths[row]] for row in rows])

    return run


def indexing(files: Files) -> list[Contender]:
    """What it takes to make a file random access."""
    return [
        Contender("headrace, TFRecord", _built_anew(files.tfrecord, TFRecordDataset)),
        Contender("headrace, tar, with CRC32C of all data", _built_anew(files.tar, TarDataset)),
        files.among_few("Python's tarfile, names and offsets", lambda: _members(files.short_tar)),
    ]


def _built_anew(path: Path, dataset: Callable[[Path], Any]) -> Callable[[], None]:
    def run() -> None:
        index_paths(os.fspath(path))[0].unlink(missing_ok=True)
        dataset(path)

    return run


def _members(path: Path) -> None:
    with tarfile.open(path) as archive:
        assert archive.getmembers()


def checking(files: Files) -> list[Contender]:
    """CRC32C of all records, from the page cache, by one thread."""
    content = np.memmap(files.tfrecord, np.uint8, "r")
    lengths = np.array(files.lengths)
    starts = np.cumsum(lengths) - lengths + 16 * np.arange(len(lengths)) + 12
    return [Contender("headrace", lambda: kernels.active().crc32c(content, starts, lengths))]


def main() -> None:
    """Run all of it."""
    smoke = begin("records in files")
    count = 2_000 if smoke else 200_000
    rounds = 1 if smoke else 5
    with tempfile.TemporaryDirectory() as folder:
        files = Files.write(Path(folder), count)
        krecords = {"krecords/s": rate(count / 1e3)}
        for title, entries in (("in random order", random_order(files)), ("in sequence", in_sequence(files))):
            print_table(f"{count:,} records of about 1 KB, {title}", entries, race(entries, rounds), krecords)
        entries = indexing(files)
        megabytes = {"MB/s of records": rate(files.megabytes)}
        print_table("building the index of a file", entries, race(entries, rounds), megabytes)
        entries = checking(files)
        print_table("CRC32C of all records", entries, race(entries, rounds), megabytes)


if __name__ == "__main__":
    main()
