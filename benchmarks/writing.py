"""Writing records of 1 KB, and what writes the same formats otherwise.

    python -m benchmarks.writing [--smoke]

Every contender writes the same records to a new file in a temporary folder, and gets them to the disk: what headrace
does before it gives a file its name. A table is of one format.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Contender, begin, per, print_table, race, rate, rival

from headrace import TensorDataset, write_dataset

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 1024
lmdb: Any = rival("lmdb")
parquet: Any = rival("pyarrow.parquet")
arrow: Any = rival("pyarrow")
tensorflow: Any = rival("tensorflow")
webdataset: Any = rival("webdataset")


def in_new_folder(write: Callable[[Path], object]) -> Callable[[], None]:
    """Write into a folder that is gone afterwards."""

    def run() -> None:
        folder = Path(tempfile.mkdtemp())
        try:
            write(folder)
        finally:
            shutil.rmtree(folder)

    return run


def sync(path: Path) -> None:
    """Get a file to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def by_tarfile(folder: Path, records: list[bytes]) -> None:
    with tarfile.open(folder / "a.tar", "w") as archive:
        for number, record in enumerate(records):
            member = tarfile.TarInfo(f"{number:09d}.bin")
            member.size = len(record)
            archive.addfile(member, io.BytesIO(record))
    sync(folder / "a.tar")


def by_webdataset(folder: Path, records: list[bytes]) -> None:
    with webdataset.TarWriter(str(folder / "a.tar")) as writer:
        for number, record in enumerate(records):
            writer.write({"__key__": f"{number:09d}", "bin": record})
    sync(folder / "a.tar")


def by_tensorflow(folder: Path, records: list[bytes]) -> None:
    with tensorflow.io.TFRecordWriter(str(folder / "a.tfrecord")) as writer:
        for record in records:
            writer.write(record)
    sync(folder / "a.tfrecord")


def by_lmdb(folder: Path, records: list[bytes]) -> None:
    with lmdb.open(str(folder / "a.lmdb"), map_size=1 << 32) as environment, environment.begin(write=True) as entries:
        for number, record in enumerate(records):
            entries.put(b"%012d" % number, record, append=True)


def by_pyarrow(folder: Path, records: list[bytes]) -> None:
    parquet.write_table(arrow.table({"data": records}), folder / "a.parquet", use_dictionary=False)
    sync(folder / "a.parquet")


def by_numpy(folder: Path, rows: Any) -> None:
    np.save(folder / "a.npy", rows)
    sync(folder / "a.npy")


def tables(rows: Any) -> dict[str, list[Contender]]:
    """The contenders by format."""
    records = [row.tobytes() for row in rows]
    columns = TensorDataset(rows)

    def ours(name: str, dataset: Any, **arguments: Any) -> Callable[[], None]:
        return in_new_folder(lambda folder: write_dataset(dataset, folder / name, **arguments))

    def theirs(write: Callable[[Path, Any], None], *needed: Any) -> Callable[[], None] | None:
        return in_new_folder(lambda folder: write(folder, records)) if all(needed) else None

    return {
        "tar": [
            Contender("headrace", ours("a.tar", records), most=1.4, against="tarfile"),
            Contender("tarfile", theirs(by_tarfile)),
            Contender("webdataset.TarWriter", theirs(by_webdataset, webdataset)),
        ],
        "tfrecord": [
            Contender("headrace", ours("a.tfrecord", records), most=1.4, against="tf.io.TFRecordWriter"),
            Contender("tf.io.TFRecordWriter", theirs(by_tensorflow, tensorflow)),
        ],
        "lmdb": [
            Contender("headrace", ours("a.lmdb", records), most=1.4, against="py-lmdb, put in one transaction"),
            Contender("py-lmdb, put in one transaction", theirs(by_lmdb, lmdb)),
        ],
        "parquet": [
            Contender("headrace", ours("a.parquet", records), most=1.4, against="pyarrow, write_table"),
            Contender("pyarrow, write_table", theirs(by_pyarrow, parquet)),
        ],
        "npy": [
            Contender("headrace", ours("a", columns), most=1.4, against="numpy.save"),
            Contender("numpy.save", in_new_folder(lambda folder: by_numpy(folder, rows))),
        ],
    }


def main() -> None:
    """Run all of it."""
    smoke = begin("writing records of 1 KB")
    count = 200 if smoke else 50_000
    rows = np.random.default_rng(0).integers(0, 256, (count, SIZE), np.uint8)
    figures = {"us/record": per(count, 1e-6), "records/s": rate(count)}
    for title, entries in tables(rows).items():
        print_table(f"{count:,} records of {SIZE} bytes, {title}", entries, race(entries, 1 if smoke else 5), figures)


if __name__ == "__main__":
    main()
