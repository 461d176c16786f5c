"""Columns and records of other formats: .npy files, LMDB databases, Parquet files.

    python -m benchmarks.columns [--smoke]

200,000 records of 1 KB, batches of 256, one process, the files in the page cache. Every contender reads all records
of an epoch and touches each batch. The first of each table is the floor: a bare loop with the format's own library,
without anything that makes a loader of it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Contender, begin, print_table, race, rate, rival

from headrace import DataLoader, LMDBDataset, NpyDataset, ParquetDataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

BATCH, WIDTH, GROUP, WINDOW = 256, 1024, 5_000, 8
torch_data: Any = rival("torch.utils.data")
lmdb: Any = rival("lmdb")
parquet: Any = rival("pyarrow.parquet")
_INDEXING = "bare mmap-and-index loop"


@dataclass(frozen=True)
class Files:
    """The same records in files of each format.

    Attributes:
        folder: where they are.
        keys: of the database.
    """

    folder: Path
    keys: list[bytes]

    @classmethod
    def write(cls, folder: Path, count: int) -> Files:
        """Write all of them."""
        records = np.random.default_rng(0).integers(0, 256, (count, WIDTH), np.uint8)
        files = cls(folder, [b"%08d" % number for number in range(count)])
        np.save(files.npy, records)
        for number, part in enumerate(np.array_split(records, 8)):
            np.save(folder / f"shard-{number}.npy", part)
        if lmdb:
            with lmdb.open(str(files.lmdb), map_size=1 << 32) as env, env.begin(write=True) as transaction:
                for key, record in zip(files.keys, records, strict=True):
                    transaction.put(key, record.tobytes())
        if parquet:
            pyarrow = rival("pyarrow")
            content = pyarrow.array(map(bytes, records), pyarrow.binary())
            table = pyarrow.table({"record": content, "number": np.arange(count)})
            parquet.write_table(table, files.parquet, row_group_size=max(1, min(GROUP, count // 8)))
        return files

    @property
    def npy(self) -> Path:
        """All records as rows of one array."""
        return self.folder / "records.npy"

    @property
    def lmdb(self) -> Path:
        """All records in a database."""
        return self.folder / "records.lmdb"

    @property
    def parquet(self) -> Path:
        """All records in a column of bytes, with their numbers in another."""
        return self.folder / "records.parquet"


class Values:
    """The records of a database, as a dataset of torch's users reads them."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.transaction: Any = None

    def __len__(self) -> int:
        return len(self.files.keys)

    def __getitem__(self, index: int) -> bytes:
        if self.transaction is None:  # in each worker
            self.transaction = _open(self.files).begin()
        value: bytes = self.transaction.get(self.files.keys[index])
        return value


def rows(files: Files) -> list[Contender]:
    """All the ways to read rows of .npy files in random order."""
    shards = _epochs(_loader(NpyDataset(files.folder / "shard-*.npy"), shuffle=True))
    return [
        Contender("bare mmap-and-slice loop", _slices(files), limit=True),
        Contender(_INDEXING, _indexing(files), limit=True),
        Contender("headrace", _epochs(_loader(NpyDataset(files.npy), shuffle=True)), most=1 / 0.85, against=_INDEXING),
        Contender("headrace, 8 shards", shards, most=1 / 0.6, against=_INDEXING),
        Contender("torch DataLoader", torch_data and _epochs(_torch_loader(np.load(files.npy, mmap_mode="r"), 0))),
    ]


def values(files: Files) -> list[Contender]:
    """All the ways to read values of a database in random order."""
    return [
        Contender("bare py-lmdb get loop", lmdb and _gets(files), limit=True),
        Contender("headrace", lmdb and _epochs(_loader(LMDBDataset(files.lmdb), shuffle=True))),
        Contender("headrace, keys given", lmdb and _epochs(_loader(LMDBDataset(files.lmdb, files.keys), shuffle=True))),
        Contender("torch DataLoader, 2 workers", lmdb and torch_data and _epochs(_torch_loader(Values(files), 2))),
    ]


def tables(files: Files) -> list[Contender]:
    """All the ways to read rows of a Parquet file."""
    if not parquet:
        return [Contender("pyarrow, in sequence", None), Contender("headrace, in sequence", None)]
    # The cache holds the row groups of one window, and not the file.
    cache = 2 * WINDOW * GROUP * WIDTH
    dataset = ParquetDataset(files.parquet, cache_bytes=cache)
    blocks = DataLoader(dataset, BATCH, shuffle="block", window=WINDOW)
    return [
        Contender("pyarrow, in sequence", _batches_of_pyarrow(files)),
        Contender("headrace, in sequence", _epochs(_loader(dataset, shuffle=False)), most=1),
        Contender("headrace, shuffled in blocks", _epochs(blocks), most=1 / 0.7),
    ]


def takes(files: Files) -> list[Contender]:
    """A plain shuffle over a table in memory, as `pyarrow.Comparison.take` does it, for a few batches."""
    return [Contender("pyarrow take, plain shuffle", parquet and _takes(files))]


def _loader(dataset: Any, *, shuffle: bool) -> DataLoader:
    return DataLoader(dataset, BATCH, shuffle=shuffle, seed=0)


def _torch_loader(dataset: Any, workers: int) -> Any:
    return torch_data.DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, collate_fn=list)


def _epochs(batches: Iterable[Any]) -> Callable[[], None]:
    def run() -> None:
        for batch in batches:
            _touch(batch)

    return run


def _touch(batch: Any) -> None:
    """Look at a byte of the last record."""
    records = batch["record"] if isinstance(batch, dict) else batch
    assert records[-1][-1] >= 0


def _chunks(count: int) -> Iterable[NDArray[np.int64]]:
    order = np.random.default_rng(0).permutation(count)
    return (order[start : start + BATCH] for start in range(0, count, BATCH))


def _slices(files: Files) -> Callable[[], None]:
    def run() -> None:
        array: Any = np.asarray(np.load(files.npy, mmap_mode="r"))
        content = memoryview(array).cast("B")
        for chunk in _chunks(len(array)):
            _touch([bytes(content[row * WIDTH : row * WIDTH + WIDTH]) for row in chunk.tolist()])

    return run


def _indexing(files: Files) -> Callable[[], None]:
    def run() -> None:
        array = np.asarray(np.load(files.npy, mmap_mode="r"))
        for chunk in _chunks(len(array)):
            _touch(array[chunk])

    return run


def _open(files: Files) -> Any:
    return lmdb.open(str(files.lmdb), readonly=True, lock=False, readahead=False)


def _gets(files: Files) -> Callable[[], None]:
    def run() -> None:
        with _open(files) as env, env.begin() as transaction:
            for chunk in _chunks(len(files.keys)):
                _touch([transaction.get(files.keys[row]) for row in chunk.tolist()])

    return run


def _batches_of_pyarrow(files: Files) -> Callable[[], None]:
    def run() -> None:
        for batch in parquet.ParquetFile(files.parquet).iter_batches(BATCH):
            _touch(batch.to_pydict())

    return run


def _takes(files: Files) -> Callable[[], None]:
    table = parquet.read_table(files.parquet)

    def run() -> None:
        for number, chunk in enumerate(_chunks(len(table))):
            if number == _TAKES:
                break
            _touch(table.take(chunk).to_pydict())

    return run


_TAKES = 8


def main() -> None:
    """Run all of it."""
    smoke = begin("columns and records of other formats")
    count = 2_000 if smoke else 200_000
    rounds = 1 if smoke else 5
    figures = {"krecords/s": rate(count / 1e3)}
    with tempfile.TemporaryDirectory() as folder:
        files = Files.write(Path(folder), count)
        for title, entries in (
            ("rows of .npy files, in random order", rows(files)),
            ("values of an LMDB database, in random order", values(files)),
            (f"a Parquet file, row groups of {GROUP:,}, window of {WINDOW}", tables(files)),
        ):
            if entries[0].run is None:
                print(f"\n{title}: {entries[0].name} is not installed, and headrace needs what it needs")
                continue
            print_table(f"{count:,} records of 1 KB: {title}", entries, race(entries, rounds), figures)
        entries = takes(files)
        if entries[0].run is not None:
            figures = {"krecords/s": rate(min(count, _TAKES * BATCH) / 1e3)}
            print_table(f"{_TAKES} batches of a Parquet file in memory", entries, race(entries, rounds), figures)


if __name__ == "__main__":
    main()
