"""Read datasets of many shards while few files may be open.

    python tests/formats/many_shards.py [--shards 1000] [--descriptors 64] [FORMAT ...]

Shards of each format are written, and read in one batch of all, in shuffled batches of some, and one by one, all of
the samples being kept. Whatever is wrong ends the program with an error.
"""

from __future__ import annotations

import argparse
import io
import resource
import tarfile
import tempfile
import warnings
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import (
    ArrowDataset,
    DataLoader,
    FilesDataset,
    LMDBDataset,
    NpyDataset,
    ParquetDataset,
    TarDataset,
    TFRecordDataset,
)
from headrace.formats.tfrecord.framing import frame

if TYPE_CHECKING:
    from collections.abc import Callable


def write_tar(path: Path, number: int) -> None:
    """Write an archive of one sample."""
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("0.txt")
        member.size = len(str(number))
        archive.addfile(member, io.BytesIO(str(number).encode()))


def write_lmdb(path: Path, number: int) -> None:
    """Write a database of one value."""
    import lmdb

    with lmdb.open(str(path), subdir=False, map_size=1 << 16) as env, env.begin(write=True) as transaction:
        transaction.put(b"0", str(number).encode())
    path.with_name(f"{path.name}-lock").unlink()


def write_parquet(path: Path, number: int) -> None:
    """Write a table of one row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [number]}), path, compression="none", use_dictionary=False)


def write_arrow(path: Path, number: int) -> None:
    """Write a table of one row."""
    import pyarrow as pa
    import pyarrow.feather as pf

    pf.write_feather(pa.table({"x": [number]}), str(path), compression="uncompressed")


FORMATS: dict[str, tuple[Callable[[Path, int], Any], Callable[[str], Any], Callable[[Any], Any]]] = {
    "tar": (write_tar, lambda pattern: TarDataset(pattern, decode={"txt": int}), lambda batch: batch["txt"]),
    "tfrecord": (
        lambda path, number: path.write_bytes(frame(str(number).encode())),
        lambda pattern: TFRecordDataset(pattern, decode=int),
        lambda batch: batch,
    ),
    "mdb": (write_lmdb, lambda pattern: LMDBDataset(pattern, decode=int), lambda batch: batch),
    "npy": (lambda path, number: np.save(path, np.array([number])), NpyDataset, lambda batch: batch),
    "parquet": (write_parquet, ParquetDataset, lambda batch: batch["x"]),
    "arrow": (write_arrow, ArrowDataset, lambda batch: batch["x"]),
    "csv": (lambda path, number: path.write_text(f"x\n{number}\n"), ArrowDataset, lambda batch: batch["x"]),
    "txt": (
        lambda path, number: path.write_text(str(number)),
        lambda pattern: FilesDataset(pattern, decode=int),
        lambda batch: batch,
    ),
}


def check(name: str, shards: int, descriptors: int, workers: int) -> float:
    """Read a dataset of so many shards of a format; return how many seconds that takes."""
    write, make, numbers = FORMATS[name]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for number in range(shards):
            write(Path(folder, f"{number:05d}.{name}"), number)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, limits[1]))
        start = perf_counter()
        for _ in range(2):  # the second time with the indexes of the first
            dataset = make(f"{folder}/*.{name}")
            assert np.asarray(numbers(dataset.get_batch(np.arange(shards)))).tolist() == list(range(shards))
            found: list[int] = []
            for batch in DataLoader(dataset, batch_size=50, shuffle=True, seed=0, num_workers=workers):
                found += np.asarray(numbers(batch)).tolist()
            assert sorted(found) == list(range(shards))
            samples = [dataset[index] for index in range(shards)]
            assert [int(numbers(sample)) for sample in samples] == list(range(shards))
        return perf_counter() - start


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="many shards, few descriptors")
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"among {', '.join(FORMATS)}; by default all")
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--descriptors", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # that row groups are decoded again and again
    for name in options.formats or FORMATS:
        seconds = check(name, options.shards, options.descriptors, options.workers)
        print(f"{name}: {options.shards} shards, {options.descriptors} descriptors, {seconds:.1f} s", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
