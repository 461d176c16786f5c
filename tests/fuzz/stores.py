"""Damaged trees of LMDB, caches, indexes and .npy headers, for `records.py`.

Damage to bytes would mostly be found by their sums, so here it is done where it matters: to heads of pages and nodes,
to what a cache says of its samples, and to tables before their sums are made.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from headrace import CachedDataset, LMDBDataset, NpyDataset, TarDataset, TFRecordDataset
from headrace.cache.store import FIRST, HEAD, UNIT, _crc
from headrace.datasets.base import Dataset
from headrace.formats import index as indexing
from headrace.formats.index import index_paths, open_index
from headrace.formats.lmdb.reader import LMDB
from headrace.formats.tar.archive import TAR
from headrace.formats.tfrecord.framing import TFRECORD, frame
from headrace.io.source import LocalSource

PAGE = 4096
Attempt = Callable[[Callable[[], Any]], Any]


def database() -> bytes:
    """The file of a database with a tree of two levels, and values with pages of their own."""
    import tempfile

    import lmdb

    with tempfile.TemporaryDirectory() as folder:
        with lmdb.open(folder, map_size=1 << 20) as env, env.begin(write=True) as transaction:
            for number in range(150):
                transaction.put(b"key%03d" % number, b"v" * (50 if number % 20 else 5000))
        return Path(folder, "data.mdb").read_bytes()


def archive() -> bytes:
    """A small archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number in range(6):
            for ending in ("jpg", "cls"):
                member = tarfile.TarInfo(f"{number}.{ending}")
                member.size = 10 * number
                tar.addfile(member, io.BytesIO(bytes(member.size)))
    return file.getvalue()


class Samples(Dataset[Any]):
    """Samples with an array, a number and a text."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int, /) -> Any:
        return {"image": np.full((3, 4), index, np.float32), "label": index, "text": "name" * index}


class Stores:
    """What is kept on disk, and how it is read.

    Args:
        folder: an empty one.
        attempt: calls what reads, and lets errors of headrace pass, and no others.
    """

    def __init__(self, folder: Path, attempt: Attempt) -> None:
        self._folder = folder
        self._attempt = attempt
        self._database = database()
        self._archive = archive()
        self._records = b"".join(frame(b"record %d" % number) for number in range(20))
        cached = CachedDataset(Samples(), folder / "cache", key="fuzz")
        cached.get_batch(np.arange(9))
        self._cache = {path.name: path.read_bytes() for path in (folder / "cache").iterdir()}
        self._tables: dict[str, Any] = {}

    def lmdb(self, rng: np.random.Generator) -> None:
        """A database whose pages have wrong heads, offsets, nodes and pages below."""
        content = bytearray(self._database)
        for _ in range(int(rng.integers(1, 5))):
            page = int(rng.integers(0, len(content) // PAGE)) * PAGE
            near = (
                int(rng.choice([0, 8, 16, 32, 64, 128])) if rng.random() < 0.6 else PAGE - 64 * int(rng.integers(1, 64))
            )
            at = page + near + 2 * int(rng.integers(0, 16))
            width = int(rng.choice([1, 2, 4, 8]))
            values = [
                0,
                1,
                2,
                3,
                5,
                8,
                16,
                4095,
                4096,
                2**15,
                2**31,
                2**63,
                len(content) // PAGE,
                int(rng.integers(0, 2**62)),
            ]
            content[at : at + width] = (int(rng.choice(np.array(values, np.uint64))) % 256**width).to_bytes(
                width, "little"
            )
            if rng.random() < 0.1:  # a page in the place of another, its number included
                other = int(rng.integers(0, len(content) // PAGE)) * PAGE
                content[page + 8 : page + PAGE] = content[other + 8 : other + PAGE]
        self._read_all("data.mdb", bytes(content), LMDBDataset)

    def npy(self, rng: np.random.Generator) -> None:
        """An array whose header says something else."""
        file = io.BytesIO()
        np.save(file, np.arange(60, dtype=rng.choice(["<i4", ">f8", "|u1"])).reshape(5, 4, 3))
        content = bytearray(file.getvalue())
        words = [
            b"|O",
            b"<f8",
            b"|S0",
            b"|V9",
            b"<U3",
            b"(5,)",
            b"(0,)",
            b"(9223372036854775807, 0)",
            b"-1",
            b"()",
            b"(((",
            b"True",
        ]
        words += [
            b"[('a', '<i4', (99999, 99999))]",
            b"4611686018427387904",
            b"'descr'",
            b"None",
            b"1e9",
            b"\xff",
            b"\0",
        ]
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(0, 70))
            word = words[int(rng.integers(0, len(words)))]
            if rng.random() < 0.5:
                content[at : at + len(word)] = word
            else:
                content[at : at + int(rng.integers(0, 9))] = rng.bytes(int(rng.integers(0, 3)))
        self._read_all("a.npy", bytes(content), NpyDataset)

    def sidecar(self, rng: np.random.Generator) -> None:
        """An index whose tables are wrong, with sums that are right."""
        name, content, kind, make = (
            ("a.tar", self._archive, TAR, TarDataset),
            ("a.tfrecord", self._records, TFRECORD, TFRecordDataset),
            ("b.mdb", self._database, LMDB, LMDBDataset),
        )[int(rng.integers(0, 3))]
        path = self._folder / name
        if name not in self._tables:
            path.write_bytes(content)
            self._tables[name] = open_index(LocalSource(path), kind).tables
        tables = {key: table.copy() for key, table in self._tables[name].items()}
        for _ in range(int(rng.integers(1, 3))):
            key = list(tables)[int(rng.integers(0, len(tables)))]
            tables[key] = _changed(tables[key], rng)
        parts = indexing._encode(tables, LocalSource(path), kind)
        index_paths(str(path))[0].write_bytes(b"".join(map(bytes, parts)))
        self._read(lambda: make(path))

    def cache(self, rng: np.random.Generator) -> None:
        """A folder of samples whose files say something else."""
        files = {name: bytearray(content) for name, content in self._cache.items()}
        kind = int(rng.integers(0, 5))
        samples, table = files["samples.npy"], files["table.npy"]
        if kind == 0:
            _write_layout(samples, rng)
        elif kind == 1:
            _scribble(samples, FIRST, len(samples), rng)
        elif kind == 2:
            _scribble(table, FIRST, len(table), rng)
        elif kind == 3:
            del samples[int(rng.integers(0, len(samples))) :]
        else:
            _scribble(files["about.json"], 0, len(files["about.json"]), rng)
        if rng.random() < 0.7:
            _make_sums(samples, table)
        for name, content in files.items():
            (self._folder / "cache" / name).write_bytes(content)
        self._read(lambda: CachedDataset(Samples(), self._folder / "cache", key="fuzz"))

    def _read_all(self, name: str, content: bytes, make: Callable[[Path], Any]) -> None:
        path = self._folder / name
        index_paths(str(path))[0].unlink(missing_ok=True)
        path.write_bytes(content)
        self._read(lambda: make(path))

    def _read(self, make: Callable[[], Any]) -> None:
        dataset = self._attempt(make)
        if dataset is None:
            return
        count = min(len(dataset), 200)
        self._attempt(lambda: dataset.get_batch(np.arange(count)))
        for index in range(min(count, 20)):
            self._attempt(lambda index=index: dataset[index])  # type: ignore[misc]


def _changed(table: Any, rng: np.random.Generator) -> Any:
    """A table with a few other numbers, or other rows."""
    if rng.random() < 0.2:
        return table[: int(rng.integers(0, len(table) + 1))] if rng.random() < 0.5 else np.concatenate([table, table])
    view = table.view(np.uint8).reshape(-1)
    for _ in range(int(rng.integers(1, 4))):
        if not len(view):
            break
        at = int(rng.integers(0, len(view)))
        if rng.random() < 0.5:
            view[at] ^= 1 << int(rng.integers(0, 8))
        else:
            at -= at % 8
            view[at : at + 8] = np.frombuffer(rng.bytes(8), np.uint8)[: len(view[at : at + 8])]
    return table


def _write_layout(samples: bytearray, rng: np.random.Generator) -> None:
    """Say something else of what samples are like."""
    dtypes = ["|O", "<i8", "<f4", "|u1", "|V0", "<U4", "|S3", "<M8[s]", "O", "<f2", "|b1", "<c16"]
    kinds = ["array", "scalar", "int", "float", "str", "bytes", "pickle", "module", "none", "rest"]
    shapes = [
        "[]",
        "[9]",
        "[0]",
        "[-1]",
        "[3, 4]",
        "[100000]",
        "[1152921504606846976, 16]",
        "[0, 4611686018427387904]",
        "3",
        "[[1]]",
    ]

    def part(depth: int) -> str:
        if depth < 3 and rng.random() < 0.4:
            inner = [part(depth + 1) for _ in range(int(rng.integers(0, 4)))]
            keys = rng.choice(["[]", '["image", "label", "text"]', '["a", "a"]', "[1, 2]", "[[]]", "null"])
            return f'["{rng.choice(["tuple", "list", "dict", "set"])}", [{", ".join(inner)}], {keys}]'
        return f'["{rng.choice(kinds)}", "{rng.choice(dtypes)}", {rng.choice(shapes)}]'

    text = part(0).encode()
    samples[FIRST : FIRST + HEAD.size + len(text)] = HEAD.pack(0, len(text)) + text


def _scribble(content: bytearray, start: int, stop: int, rng: np.random.Generator) -> None:
    """Change a few bytes, numbers of 8 bytes among them."""
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(start, stop))
        if rng.random() < 0.5:
            content[at] ^= 1 << int(rng.integers(0, 8))
        else:
            at -= at % 8
            value = int(rng.choice([0, 1, 8, 9, 100, -1, -9, 2**31, 2**40, 2**62, -(2**63)]))
            content[at : at + 8] = value.to_bytes(8, "little", signed=True)[: stop - at]


def _make_sums(samples: bytearray, table: bytearray) -> None:
    """Give the samples that the table tells of sums that are right, as somebody would who means harm."""
    entries = np.frombuffer(bytes(table[FIRST:]), np.int64)
    for index, entry in enumerate(entries.tolist()):
        begin = UNIT * abs(entry) + HEAD.size
        if not entry or begin > len(samples):
            continue
        _, nbytes = HEAD.unpack(bytes(samples[begin - HEAD.size : begin]))
        if 0 <= nbytes <= len(samples) - begin:
            crc = _crc(np.frombuffer(bytes(samples[begin : begin + nbytes]), np.uint8)) ^ index
            samples[begin - HEAD.size : begin] = HEAD.pack(crc, nbytes)
