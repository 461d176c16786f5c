"""What datasets of files count, and where they say that samples lie, against the files themselves."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.formats.shards_of_items import lit_item, lit_rows, mds_item, mds_rows, table, write_litdata, write_mds

import headrace as hr
from headrace.formats.tfrecord.framing import frame
from headrace.pipeline.hints import counters

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 40
RNG = np.random.default_rng(0)
TEXTS = [RNG.bytes(int(size)).hex().encode() for size in RNG.integers(1, 500, COUNT)]
NUMBERS = [b"%d" % number for number in range(COUNT)]
ROWS = RNG.integers(0, 9, (COUNT, 3, 5), np.uint8)
Case = tuple[Any, list[list[bytes]]]  # a dataset, and the bytes that each of its samples is made of


def write_tars(folder: Path) -> list[Path]:
    for shard, some in enumerate(np.array_split(np.arange(COUNT), 2)):
        with tarfile.open(folder / f"{shard}.tar", "w") as archive:
            for number in some.tolist():
                for name, content in (("txt", TEXTS[number]), ("cls", NUMBERS[number])):
                    member = tarfile.TarInfo(f"{number:03}.{name}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return sorted(folder.glob("*.tar"))


def tar(folder: Path) -> Case:
    return hr.TarDataset(write_tars(folder)), [list(parts) for parts in zip(TEXTS, NUMBERS, strict=True)]


def fields_of_tar(folder: Path) -> Case:
    return hr.TarDataset(write_tars(folder), fields=["cls"]), [[number] for number in NUMBERS]


def tfrecord(folder: Path) -> Case:
    for shard in range(3):
        (folder / f"{shard}.tfrecord").write_bytes(b"".join(map(frame, TEXTS[shard::3])))
    texts = [text for shard in range(3) for text in TEXTS[shard::3]]
    return hr.TFRecordDataset(f"{folder}/*.tfrecord"), [[text] for text in texts]


def lines(folder: Path) -> Case:
    (folder / "a.txt").write_bytes(b"\n".join(TEXTS))
    return hr.TextLines(folder / "a.txt"), [[text] for text in TEXTS]


def lmdb(folder: Path) -> Case:
    pytest.importorskip("lmdb")
    hr.write_dataset(hr.ColumnDataset({"text": TEXTS}).map(lambda sample: sample["text"]), folder / "a.lmdb")
    dataset = hr.LMDBDataset(folder / "a.lmdb")
    return dataset, [[dataset.read_record(number)] for number in range(COUNT)]


def npy(folder: Path) -> Case:
    for shard, some in enumerate(np.array_split(np.arange(COUNT), 2)):
        (folder / str(shard)).mkdir()
        np.save(folder / str(shard) / "image.npy", ROWS[some])
        np.save(folder / str(shard) / "label.npy", some)
    labels = [np.int64(number).tobytes() for number in range(COUNT)]
    parts = [[row.tobytes(), label] for row, label in zip(ROWS, labels, strict=True)]
    return hr.NpyDataset([folder / "0", folder / "1"]), parts


def one_npy(folder: Path) -> Case:
    np.save(folder / "image.npy", ROWS)
    return hr.NpyDataset(folder / "image.npy"), [[row.tobytes()] for row in ROWS]


def tokens(folder: Path) -> Case:
    text = np.arange(COUNT * 8 + 1, dtype=np.uint16)
    text.tofile(folder / "a.bin")
    return hr.TokenDataset(folder / "a.bin", 8, np.uint16), [[text[8 * n : 8 * n + 9].tobytes()] for n in range(COUNT)]


def documents(folder: Path) -> Case:
    text = np.concatenate([[*range(1, 2 + number % 7), 0] for number in range(COUNT)]).astype(np.uint16)
    text.tofile(folder / "a.bin")
    stops = np.flatnonzero(text == 0) + 1
    return hr.TokenDocuments(folder / "a.bin", np.uint16, eos=0), [
        [part.tobytes()] for part in np.split(text, stops[:-1])
    ]


def files(folder: Path) -> Case:
    for number, text in enumerate(TEXTS):
        (folder / f"{number:03}.txt").write_bytes(text)
    return hr.FilesDataset(folder), [[text] for text in TEXTS]


def images(folder: Path) -> Case:
    content = [b"P5 5 3 255 " + row.tobytes() for row in ROWS]
    for number, each in enumerate(content):
        (folder / f"{number:03}.pgm").write_bytes(each)
    paths = sorted(folder.glob("*.pgm"))
    return hr.ImageDataset(paths, range(COUNT), decode=hr.Decode("L")), [[each] for each in content]


def mds(folder: Path) -> Case:
    rows = mds_rows(COUNT)
    write_mds(folder, rows, 15)
    return hr.MDSDataset(folder, ["number", "row"]), [[mds_item(row)] for row in rows]


def litdata(folder: Path) -> Case:
    rows = lit_rows(COUNT)
    items = [lit_item({**row, "a": rows[3]["a"], "t": rows[3]["t"], "tokens": rows[3]["tokens"]}) for row in rows]
    write_litdata(folder, {"chunk-0-0.bin": table(items[:9]), "chunk-0-1.bin": table(items[9:])}, [9, COUNT - 9])
    return hr.LitDataDataset(folder), [[item] for item in items]


CASES = [tar, fields_of_tar, tfrecord, lines, lmdb, npy, one_npy, tokens, documents, files, images, mds, litdata]
WAYS: dict[str, Callable[[Any, list[int]], Any]] = {
    "one by one": lambda dataset, indices: [dataset[index] for index in indices],
    "a batch": lambda dataset, indices: dataset.get_batch(np.array(indices)),
    "a list": lambda dataset, indices: dataset.__getitems__(indices),
    "rows": lambda dataset, indices: dataset.map(hr.ToFloat()).get_batch(np.array(indices)),
}


def ways_of(dataset: Any) -> list[str]:
    needs = {"one by one": "__getitem__", "a batch": "get_batch", "a list": "__getitems__", "rows": "open_rows"}
    found = [way for way, method in needs.items() if hasattr(dataset, method)]
    return [way for way in found if way != "rows"] if getattr(dataset, "fields", None) else found


@pytest.mark.parametrize("make", CASES)
def test_the_bytes_of_samples_are_counted_however_they_are_read(make: Callable[[Path], Case], tmp_path: Path) -> None:
    dataset, parts = make(tmp_path)
    assert len(dataset) == COUNT
    indices = [7, 39, 0, 20, 8, 7]
    wanted = sum(len(part) for index in indices for part in parts[index])
    for way in ways_of(dataset):
        before = counters(dataset)
        WAYS[way](dataset, indices)
        after = counters(dataset)
        assert {name: after[name] - before[name] for name in after} == {"bytes_read": wanted}, way


@pytest.mark.parametrize("make", CASES)
def test_where_samples_lie(make: Callable[[Path], Case], tmp_path: Path) -> None:
    dataset, parts = make(tmp_path)
    if isinstance(dataset, hr.ImageDataset):
        dataset = dataset.node().input.dataset  # type: ignore[union-attr]
    indices = [7, 39, 0, 20, 8]
    found = []
    for source, offsets, lengths in dataset.byte_ranges(np.array(indices)):
        content = Path(source.path).read_bytes()
        found += [content[start : start + size] for start, size in zip(offsets.tolist(), lengths.tolist(), strict=True)]
    assert sorted(found) == sorted(part for index in indices for part in parts[index])


@pytest.mark.parametrize("backend", [None, "thread", "process"])
def test_workers_add_up_also_where_batches_are_coalesced(backend: Any, tmp_path: Path) -> None:
    workers: dict[str, Any] = {"num_workers": 2, "backend": backend} if backend else {}
    np.save(tmp_path / "a.npy", np.zeros((5000, 4), np.int16))
    with hr.DataLoader(hr.NpyDataset(tmp_path / "a.npy"), 7, shuffle=True, seed=0, **workers) as loader:
        for epoch in (1, 2):
            assert sum(map(len, loader)) == 5000
            assert loader.stats().counters == {"bytes_read": epoch * 5000 * 8}
    assert loader._clock.totals().tasks < len(loader)  # several batches a task
