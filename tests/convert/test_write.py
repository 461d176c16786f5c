from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.convert.conftest import NAMES, Words, digits, fingerprints

from headrace import ImageFolder, NpyDataset, RandomCrop, TensorDataset, open_dataset
from headrace.convert import write_dataset
from headrace.errors import ArgumentError, ArgumentTypeError, DestinationExistsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("workers", "backend"), [(2, "thread"), (2, "process")])
def test_bytes_do_not_depend_on_workers(form: str, workers: int, backend: Any, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "together").mkdir()
    alone = tmp_path / "alone" / NAMES[form]
    together = tmp_path / "together" / NAMES[form]
    dataset = digits().map(RandomCrop(8, padding=2), field=0)  # draws too depend on the sample alone
    write_dataset(dataset, alone, fields=["image", "label"])
    write_dataset(dataset, together, fields=["image", "label"], workers=workers, backend=backend)
    assert fingerprints(alone) == fingerprints(together)


def test_packing_twice_gives_the_same(form: str, tmp_path: Path) -> None:
    path = tmp_path / NAMES[form]
    write_dataset(digits(), path)
    first = fingerprints(path)
    write_dataset(digits(), path, overwrite=True)
    assert fingerprints(path) == first
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_npy_is_read_by_numpy(tmp_path: Path) -> None:
    images, labels = digits().tensors
    written = write_dataset(digits(), tmp_path / "a", fields=["image", "label"])
    assert (written.samples, written.paths) == (300, [tmp_path / "a"])
    np.testing.assert_array_equal(np.load(tmp_path / "a" / "image.npy", mmap_mode="r"), images)
    np.testing.assert_array_equal(np.load(tmp_path / "a" / "label.npy"), labels)


def test_tar_is_read_by_tarfile(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    from PIL import Image

    path = tmp_path / "a.tar"
    write_dataset(digits(), path, fields=["image", "label"])
    assert path.stat().st_size % 10240 == 0
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        assert [member.name for member in members[:3]] == ["000000000.png", "000000000.cls", "000000001.png"]
        assert {(member.mtime, member.uid, member.gid, member.mode) for member in members} == {(0, 0, 0, 0o644)}
        for index, image in enumerate(digits().tensors[0]):
            picture = archive.extractfile(members[2 * index])
            label = archive.extractfile(members[2 * index + 1])
            assert picture is not None
            assert label is not None
            np.testing.assert_array_equal(np.asarray(Image.open(picture)), image)
            assert int(label.read()) == index % 10


def test_tar_holds_every_kind_of_value(tmp_path: Path) -> None:
    sample = {
        "__key__": "a/long name of more than a hundred letters, not all of them ASCII: " + "\u00fc" * 50,
        "x.jpg": b"\xff\xd8\xff...",
        "page": b"\x89PNG\r\n\x1a\n",
        "blob": b"",
        "score": 0.5,
        "text": "gr\u00fc\u00df",
        "flag": True,
        "count": np.int32(7),
        "table": np.arange(6.0).reshape(2, 3),
        "meta": {"deep": [1, 2, 3]},
        "none": None,
    }
    write_dataset([sample], tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as archive:
        contents = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        found = {name.removeprefix(f"{sample['__key__']}."): file.read() for name, file in contents.items() if file}
    assert found.keys() == {
        *("x.jpg", "page.png", "blob.bin", "score.json", "text", "flag.json", "count", "table.npy", "meta.deep.npy")
    }
    assert found["x.jpg"] == sample["x.jpg"]
    assert found["text"].decode() == "gr\u00fc\u00df"
    assert [json.loads(found[name]) for name in ("score.json", "flag.json", "count")] == [0.5, True, 7]


def test_lmdb_is_read_by_lmdb(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    msgpack = pytest.importorskip("msgpack")
    write_dataset(Words(), tmp_path / "a.lmdb")
    with lmdb.open(str(tmp_path / "a.lmdb"), readonly=True, lock=False) as environment, environment.begin() as found:
        assert [key for key, _ in found.cursor()] == [b"%012d" % index for index in range(200)]
        assert [msgpack.unpackb(value) for _, value in found.cursor()] == [Words()[index] for index in range(200)]


def test_lmdb_holds_bytes_as_they_are(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    pytest.importorskip("msgpack")
    samples = [b"", b"a" * 5000, b"b"]
    write_dataset(samples, tmp_path / "a.lmdb")
    with lmdb.open(str(tmp_path / "a.lmdb"), readonly=True, lock=False) as environment, environment.begin() as found:
        assert [value for _, value in found.cursor()] == samples


def test_lmdb_holds_texts_in_utf_8(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    pytest.importorskip("msgpack")
    write_dataset(["gr\u00fc\u00df", ""], tmp_path / "a.lmdb")
    assert [open_dataset(tmp_path / "a.lmdb")[index] for index in (0, 1)] == ["gr\u00fc\u00df".encode(), b""]


def test_lmdb_grows_beyond_its_first_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lmdb = pytest.importorskip("lmdb")
    from headrace.formats.lmdb import writer as writer

    monkeypatch.setattr(writer, "_MAP", 1 << 16)
    samples = [bytes([number]) * 10_000 for number in range(100)]
    write_dataset(samples, tmp_path / "a.lmdb")
    with lmdb.open(str(tmp_path / "a.lmdb"), readonly=True, lock=False) as environment, environment.begin() as found:
        assert [value for _, value in found.cursor()] == samples


def test_parquet_is_read_by_pyarrow(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    images, labels = digits().tensors
    write_dataset(digits(), tmp_path / "a.parquet", fields=["image", "label"])
    table = parquet.read_table(tmp_path / "a.parquet")
    np.testing.assert_array_equal(table["image"].combine_chunks().to_numpy_ndarray(), images)
    np.testing.assert_array_equal(table["label"].to_numpy(), labels)


def test_row_groups_of_parquet_are_about_a_megabyte(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    samples = [bytes(100_000)] * 50
    write_dataset(samples, tmp_path / "a.parquet")
    file = parquet.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [11, 10, 11, 10, 8]
    assert file.read()["data"].to_pylist() == samples


def test_parquet_holds_bytes_texts_and_lists(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    samples = [{**Words()[index], "list": np.arange(index % 5)} for index in range(200)]
    write_dataset(samples, tmp_path / "a.parquet")
    found = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert found == [sample | {"list": sample["list"].tolist()} for sample in samples]


@dataclass
class Point:
    x: float
    y: int


def test_a_dataclass_has_its_own_names(tmp_path: Path) -> None:
    write_dataset([Point(0.5, 1), Point(1.5, 2)], tmp_path / "a")
    assert np.load(tmp_path / "a" / "x.npy").tolist() == [0.5, 1.5]
    assert np.load(tmp_path / "a" / "y.npy").tolist() == [1, 2]


def test_image_files_stay_as_they_are(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            image.new("RGB", (9, 7), (80 * number, 1, 2)).save(tmp_path / "photos" / name / f"{number}.jpg")
    write_dataset(ImageFolder(tmp_path / "photos"), tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as archive:
        contents = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        found = {name: file.read() for name, file in contents.items() if file}
    assert list(found)[:3] == ["000000000.jpg", "000000000.cls", "000000000.class.txt"]
    assert found["000000004.jpg"] == (tmp_path / "photos" / "dog" / "1.jpg").read_bytes()
    assert (found["000000004.cls"], found["000000004.class.txt"]) == (b"1", b"dog")


def test_shards_of_a_size_in_bytes(tmp_path: Path) -> None:
    samples = [bytes(size) for size in (1000, 1, 1, 3000, 5000, 100)]  # blocks of 512, one more for the header
    written = write_dataset(samples, tmp_path / "a.tar", shard_size=4096)
    assert [path.name for path in written.paths] == [f"a-0000{number}.tar" for number in range(4)]
    assert _names_in(written.paths) == [
        ["000000000", "000000001", "000000002"],
        ["000000003"],
        ["000000004"],
        ["000000005"],
    ]


def _names_in(paths: list[Path]) -> list[list[str]]:
    found = []
    for path in paths:
        with tarfile.open(path) as archive:
            found.append([name.split(".")[0] for name in archive.getnames()])
    return found


def test_shards_of_a_number_of_samples(form: str, tmp_path: Path) -> None:
    written = write_dataset(digits(), tmp_path / NAMES[form], shard_samples=128)
    assert len(written.paths) == 3
    assert all(path.exists() for path in written.paths)


def test_a_name_without_ending_is_a_folder_of_shards(tmp_path: Path) -> None:
    written = write_dataset(digits(), tmp_path / "a", fields=["x", "y"], shard_samples=100)
    assert written.paths == [tmp_path / "a" / f"0000{number}" for number in range(3)]
    found = NpyDataset(written.paths)
    assert [found[index]["y"] for index in (0, 150, 299)] == [0, 0, 9]


def test_fewer_shards_leave_no_old_ones(tmp_path: Path) -> None:
    write_dataset(digits(), tmp_path / "a.tar", shard_samples=50)
    written = write_dataset(digits(), tmp_path / "a.tar", shard_samples=100, overwrite=True)
    assert sorted(tmp_path.iterdir()) == written.paths


def test_existing_files_are_not_overwritten(form: str, tmp_path: Path) -> None:
    path = tmp_path / NAMES[form]
    write_dataset(digits(), path)
    before = fingerprints(path)
    with pytest.raises(
        DestinationExistsError, match=r"a\S* exists; choose another path, or overwrite it with overwrite"
    ):
        write_dataset(digits(10), path)
    assert fingerprints(path) == before


def test_a_folder_of_something_else_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "letter.txt").write_text("dear")
    with pytest.raises(ArgumentError, match="is a folder of other files than npy; choose another path"):
        write_dataset(digits(), tmp_path / "a", overwrite=True)
    assert (tmp_path / "a" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "zip"}, "format must be one of tar, tfrecord, lmdb, parquet, npy, jsonl, but got format='zip'"),
        ({"shard_size": "many"}, "shard_size must be a positive number, or a text such as '256 MB', but got 'many'"),
        ({"shard_samples": 0}, "shard_samples must be a positive number, or a text such as '256 MB', but got 0"),
        ({"fields": ["image"]}, r"fields names 1 fields, \['image'\], but a sample has 2"),
        ({"fields": ["a", "a"]}, "two fields of a sample would be called 'a'"),
    ],
)
def test_arguments_that_are_wrong(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=message):
        write_dataset(digits(), tmp_path / "a", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_unknown_extension_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"but a\.zip ends in none of \.tar, .*; give format="):
        write_dataset(digits(), tmp_path / "a.zip")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"there is no folder .*b to write a\.tar to; create it first"):
        write_dataset(digits(), tmp_path / "b" / "a.tar")


def test_nothing_to_pack(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="there is nothing to write: the dataset has no samples"):
        write_dataset([], tmp_path / "a.tar")


def test_a_value_that_no_format_stores(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match=r"field 'x' is a builtins\.object, which no format stores"):
        write_dataset([{"x": object()}], tmp_path / "a.tar")
    assert list(tmp_path.iterdir()) == []


def test_a_field_that_npy_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(
        ArgumentError, match=r"field 'word' holds bytes \(samples from 0 on\), but a column of format 'npy'"
    ):
        write_dataset(Words(), tmp_path / "a")


def test_a_sample_that_fails_is_named(tmp_path: Path) -> None:
    def fail(x: int) -> int:
        if x == 7:
            raise ValueError("seven")
        return x

    with pytest.raises(ValueError, match="seven") as caught:
        write_dataset(TensorDataset(np.arange(20)).map(fail, field=0), tmp_path / "a.tar")
    assert any("sample 7 of MapDataset" in note for note in caught.value.__notes__)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int, int]] = []
    written = write_dataset(
        TensorDataset(np.arange(5000)), tmp_path / "a", progress=lambda *figures: told.append(figures)
    )
    assert [samples for samples, _, _ in told] == sorted({samples for samples, _, _ in told})
    assert told[-1] == (5000, 5000, 40_000)
    assert written.bytes == 40_000
