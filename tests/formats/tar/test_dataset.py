"""Tar archives by index and as a stream, against tarfile, and damaged in every way."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import pickle
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import headrace
from headrace import DataLoader, TarDataset, TarStream, open_dataset
from headrace.errors import (
    ArgumentError,
    ArgumentTypeError,
    CorruptDataError,
    FileChangedError,
    HeadraceWarning,
    MixedSamplesError,
    StorageError,
)
from headrace.io import disk, file_view
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Sample = dict[str, Any]


def write(path: Path, samples: list[Sample], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=form) as archive:  # type: ignore[call-overload]
        for sample in samples:
            for name, content in sample.items():
                if name != "__key__":
                    member = tarfile.TarInfo(f"{sample['__key__']}.{name}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return path


def made(count: int, start: int = 0) -> list[Sample]:
    return [
        {
            "__key__": f"größe/{number:04d}",
            "jpg": np.random.default_rng(number).bytes(7919 * number % 1500),
            "seg.png": np.random.default_rng(-number - 1 & 0xFFFF).bytes(7919 * number % 100),
            "cls": b"%d" % (number % 10),
        }
        for number in range(start, start + count)
    ]


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """40 samples in three archives, of three formats; one has no sample, one its fields in another order."""
    backwards = [{"__key__": sample["__key__"], **dict(reversed(sample.items()))} for sample in made(25, 15)]
    return [
        write(tmp_path / "train-000.tar", made(15), form=tarfile.USTAR_FORMAT),
        write(tmp_path / "train-001.tar", [], form=tarfile.GNU_FORMAT),
        write(tmp_path / "train-002.tar", backwards),
    ]


def test_all_samples(shards: list[Path], tmp_path: Path) -> None:
    for paths in (shards, f"{tmp_path}/train-{{000..002}}.tar", f"{tmp_path}/*.tar"):
        dataset = TarDataset(paths)
        assert len(dataset) == 40
        assert [dataset[index] for index in range(40)] == made(40)
        assert list(dataset[0]) == ["__key__", "jpg", "seg.png", "cls"]
        assert list(dataset[39]) == ["__key__", "cls", "seg.png", "jpg"]


def test_a_batch_is_a_dict_of_lists(shards: list[Path]) -> None:
    indices = np.array([39, 0, 15, 14, 0])
    batch = TarDataset(shards).get_batch(indices)
    assert batch == {name: [made(40)[index][name] for index in indices] for name in made(1)[0]}


@pytest.mark.parametrize("verify", [True, False])
def test_a_batch_of_what_comes_from_a_disk(shards: list[Path], verify: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = itertools.count()
    monkeypatch.setattr(disk, "_count_faults", lambda: next(faults))
    dataset, indices = TarDataset(shards, verify=verify), np.array([39, 0, 15])
    for _ in range(10):  # more than the system is asked after
        batch = dataset.get_batch(indices)
        assert batch == {name: [made(40)[index][name] for index in indices] for name in made(1)[0]}


def test_keys_of_any_bytes(tmp_path: Path) -> None:
    same = write(tmp_path / "same.tar", [{"__key__": name, "txt": b""} for name in ["aö", "123", "日"]])
    assert TarDataset(same).get_batch(np.array([2, 2, 0]))["__key__"] == ["日", "日", "aö"]
    names = ["1", "ö" * 40, "\udce4\udcff", "日本/語", "a b\nc"]
    path = write(tmp_path / "a.tar", [{"__key__": name, "txt": b""} for name in names], form=tarfile.GNU_FORMAT)
    assert TarDataset(path).get_batch(np.array([4, 3, 2, 1, 0, 0]))["__key__"] == [*names[::-1], "1"]
    assert TarDataset([path, same]).get_batch(np.array([6, 4, 0]))["__key__"] == ["123", names[4], "1"]
    assert TarDataset([same, path, same]).get_batch(np.array([9, 1]))["__key__"] == ["123", "123"]
    for each in (path, same):
        assert TarDataset(each).get_batch(np.array([], np.int64)) == {"__key__": [], "txt": []}


def noisy(content: bytes) -> float:
    return len(content) + float(headrace.sample_rng().random())


class Lengths(headrace.Transform):
    batched = True

    def __call__(self, sample: Any) -> Any:
        return len(sample)

    def apply_batch(self, batch: Any) -> Any:
        return np.array([len(content) for content in batch])


@pytest.mark.parametrize(
    "decode", [None, {"cls": int}, {"jpg": noisy, "cls": noisy}, {"jpg": Lengths(), "seg.png": len}, {}]
)
@pytest.mark.parametrize("fields", [None, ["cls", "jpg", "seg.png"], ["jpg", "__key__", "cls", "seg.png"]])
def test_keeps_the_rules(
    shards: list[Path], decode: dict[str, Callable[[bytes], Any]] | None, fields: list[str] | None
) -> None:
    dataset = TarDataset(shards, decode, fields=fields)
    if fields is None:  # dicts of another order are other dicts for the check
        dataset = TarDataset(shards[:2], decode)
    check_dataset(dataset, negative=True, picklable=True)


def test_each_field_has_its_own_randomness(shards: list[Path]) -> None:
    (batch,) = DataLoader(TarDataset(shards[0], {"jpg": noisy, "cls": noisy}), batch_size=15)
    assert not np.isclose(batch["jpg"] % 1, batch["cls"] % 1).any()


def test_chosen_fields(shards: list[Path]) -> None:
    dataset = TarDataset(shards, {"cls": int}, fields=["cls", "seg.png"])
    assert dataset[17] == {"cls": 7, "seg.png": made(40)[17]["seg.png"]}
    assert dataset.get_batch(np.array([3, 39]))["cls"].tolist() == [3, 9]
    assert TarDataset(shards, fields=["__key__"]).get_batch(np.array([1])) == {"__key__": ["größe/0001"]}


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_in_a_loader(shards: list[Path], backend: Any) -> None:
    def loader(workers: int = 0) -> DataLoader:
        dataset = TarDataset(shards, {"cls": int})
        return DataLoader(
            dataset, batch_size=7, shuffle=True, seed=0, num_workers=workers, backend=backend if workers else "auto"
        )

    expected = [batch["__key__"] for batch in loader()]
    assert sorted(key for keys in expected for key in keys) == [sample["__key__"] for sample in made(40)]
    with loader(2) as working:
        assert [batch["__key__"] for batch in working] == expected
    first = loader()
    iterator = iter(first)
    next(iterator)
    other = loader()
    other.load_state_dict(first.state_dict())
    assert [batch["__key__"] for batch in other] == expected[1:]


def test_json_and_numbers_as_users_of_webdataset_write_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [{"__key__": "0", "json": b'{"label": 3}', "cls": b"7\n"}])
    assert TarDataset(path, {"json": json.loads, "cls": int})[0] == {"__key__": "0", "json": {"label": 3}, "cls": 7}


def test_small_to_pickle(tmp_path: Path) -> None:
    path = write(tmp_path / "many.tar", [{"__key__": f"{number}", "x": b""} for number in range(5000)])
    text = pickle.dumps(TarDataset(path))
    assert len(text) < 2000
    assert pickle.loads(text)[4999] == {"__key__": "4999", "x": b""}


def test_samples_with_other_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [{"__key__": "0", "x": b"0", "y": b""}, {"__key__": "1", "x": b"1"}])
    dataset = TarDataset(path)
    assert [dataset[0], dataset[1]] == [{"__key__": "0", "x": b"0", "y": b""}, {"__key__": "1", "x": b"1"}]
    for indices in ([0, 1], [1, 0]):
        with pytest.raises(StorageError, match=r"sample \d: .*a\.tar, key .*, has the fields \[.*\], but \[.*\] are"):
            dataset.get_batch(np.array(indices))
    with pytest.raises(MixedSamplesError, match="differs in keys"):
        list(DataLoader(dataset, batch_size=2))
    assert list(DataLoader(dataset, batch_size=2, collate_fn=list)) == [[dataset[0], dataset[1]]]
    assert TarDataset(path, fields=["x"]).get_batch(np.array([1, 0])) == {"x": [b"1", b"0"]}
    with pytest.raises(StorageError, match=r"sample 1: .*a\.tar, key '1', has the fields \['x'\], but \['y'\] are"):
        TarDataset(path, fields=["y"])[1]


def test_blocks_are_archives(shards: list[Path]) -> None:
    assert TarDataset(shards).blocks().tolist() == [0, 15, 40]


def test_closed_and_read_again(shards: list[Path]) -> None:
    dataset = TarDataset(shards)
    dataset.will_need(np.array([3, 39]))
    first = dataset[3]
    dataset.close()
    assert dataset[3] == first


def test_threads_serve_where_the_gil_is_released(shards: list[Path]) -> None:
    assert TarDataset(shards).releases_gil()
    assert not TarDataset(shards, {"cls": int}).releases_gil()


# -- what is wrong


def damage(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def members(path: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(path) as archive:
        return archive.getmembers()


def test_a_bit_that_flipped_since_the_index_was_built(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [{"__key__": str(number), "x": bytes(100)} for number in range(5)])
    TarDataset(path)
    damage(path, 3 * 1024 + 512 + 7)
    with pytest.raises(CorruptDataError, match=r"sample 3 is damaged: .*a\.tar, 100 bytes at 3584: their CRC32C"):
        TarDataset(path)[3]
    assert TarDataset(path)[2] == {"__key__": "2", "x": bytes(100)}
    assert TarDataset(path, verify=False)[3]["x"] != bytes(100)


def test_what_fails_to_decode_is_named(shards: list[Path]) -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        list(DataLoader(TarDataset(shards, {"jpg": int}), batch_size=4))
    assert any("while decoding 'jpg' of sample" in note and "key 'größe/" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("header", CorruptDataError, r"train-000\.tar: the member at byte \d+ has a header with a wrong sum"),
        ("cut", CorruptDataError, r"train-000\.tar: the member at byte \d+ is cut short"),
        ("empty", CorruptDataError, r"train-000\.tar is empty, but a tar has"),
        ("text", CorruptDataError, r"train-000\.tar: the member at byte 0 (has a header|is cut short)"),
        ("gzip", StorageError, r"train-000\.tar is compressed with gzip, .* headrace\.TarStream"),
        ("zstd", StorageError, r"is compressed with zstd"),
    ],
)
def test_non_archives_are_refused(shards: list[Path], change: str, error: type[Exception], message: str) -> None:
    path = shards[0]
    content = path.read_bytes()
    starts = [member.offset for member in members(path)]
    if change == "header":
        damage(path, starts[9] + 3)
    else:
        new = {
            "cut": content[: starts[9] + 600],
            "empty": b"",
            "text": b"no archive" * 100,
            "gzip": gzip.compress(content),
            "zstd": b"\x28\xb5\x2f\xfd" + content,
        }
        path.write_bytes(new[change])
    with pytest.raises(error, match=message):
        TarDataset(shards)


def test_an_archive_without_its_end(shards: list[Path]) -> None:
    content = shards[0].read_bytes()
    last = members(shards[0])[-1]
    shards[0].write_bytes(content[: last.offset_data + 512])
    with pytest.warns(HeadraceWarning, match=r"train-000\.tar ends without .* it may have been cut behind sample 14"):
        assert len(TarDataset(shards)) == 40


def test_no_samples(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"there are no samples in .*a\.tar: no file in it has a name such as"):
        TarDataset(write(tmp_path / "a.tar", []))


def test_the_problems_of_members(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("a.x"))
        archive.addfile(tarfile.TarInfo("a.x"))
    with pytest.raises(StorageError, match=r"a\.tar: the member at byte 512 has a name that ends as that of another"):
        TarDataset(path)


@pytest.mark.parametrize("change", ["cut", "remove"])
def test_an_archive_that_changes_while_it_is_read(shards: list[Path], change: str) -> None:
    dataset = TarDataset(shards)
    copy = pickle.dumps(dataset)
    assert dataset[39] == made(40)[39]
    if change == "cut":
        os.truncate(shards[2], 1000)
    else:
        shards[2].unlink()
    for each in (dataset, pickle.loads(copy)):
        with pytest.raises(FileChangedError, match=r"train-002\.tar (has changed|is gone)"):
            each[39]
        assert each[0] == made(1)[0]


def test_arguments_are_checked(shards: list[Path]) -> None:
    with pytest.raises(ArgumentError, match=r"no sample has a field 'png'; there are 'jpg', 'seg\.png', 'cls'"):
        TarDataset(shards, {"png": len})
    with pytest.raises(ArgumentError, match="no sample has a field 'png'"):
        TarDataset(shards, fields=["png"])
    with pytest.raises(ArgumentTypeError, match="fields must be a list of names"):
        TarDataset(shards, fields="jpg")
    for wrong in ("pil", {"jpg": "pil"}, len):
        with pytest.raises(ArgumentTypeError, match="decode must be a dict of functions by field"):
            TarDataset(shards, wrong)  # type: ignore[arg-type]


# -- as a stream


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_stream(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_view, "_BYTES", 2000)  # so that samples lie in several views
    paths = [write(tmp_path / "a", made(15), mode), write(tmp_path / "b", made(25, 15), mode)]
    stream = TarStream(paths, {"cls": int, "other": int})
    expected = [sample | {"cls": int(sample["cls"])} for sample in made(40)]
    assert list(stream) == list(stream) == expected
    (batch,) = DataLoader(stream, batch_size=40)
    assert batch["__key__"] == [sample["__key__"] for sample in expected]


def test_workers_share_the_archives(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}.tar.gz", made(4, 4 * number), "w:gz") for number in range(3)]
    with DataLoader(TarStream(paths), batch_size=4, num_workers=2, backend="process") as loader:
        keys = [key for batch in loader for key in batch["__key__"]]
    assert sorted(keys) == [sample["__key__"] for sample in made(12)]


def test_a_stream_that_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar.gz", made(40), "w:gz")
    whole = path.read_bytes()
    for content in (whole[:5000], whole[:3000] + bytes(20) + whole[3020:]):
        path.write_bytes(content)
        with pytest.raises(CorruptDataError, match=r"a\.tar\.gz: (its compressed data are damaged or cut|the member)"):
            list(TarStream(path))
    with pytest.raises(FileNotFoundError):
        TarStream(tmp_path / "b.tar.gz")


def test_what_a_stream_fails_to_decode_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar.gz", made(1), "w:gz")
    with pytest.raises(ValueError, match="invalid literal") as caught:
        list(TarStream(path, {"jpg": int}))
    assert f"while decoding 'jpg' of the sample 'größe/0000' of {path}" in caught.value.__notes__


def test_a_source_that_is_not_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As what lies far away: the index is built part by part, and records are fetched."""
    from headrace.io.source import LocalSource

    path = write(tmp_path / "a.tar", made(40))
    monkeypatch.setattr(file_view, "_BYTES", 700)
    monkeypatch.setattr(LocalSource, "view", lambda source: None)
    dataset = TarDataset(path)
    assert [dataset[index] for index in range(40)] == made(40)
    assert dataset.get_batch(np.array([7, 3]))["jpg"] == [made(40)[7]["jpg"], made(40)[3]["jpg"]]


def _archive(*names: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return file.getvalue()


@pytest.mark.parametrize("between", [b"", bytes(512), bytes(512 * 200)])
def test_archives_one_behind_the_other(between: bytes, tmp_path: Path) -> None:
    content = between.join([_archive("0.a", "0.b"), _archive("0.a", "1.c"), _archive(), _archive("1.c", "2.a")])
    (tmp_path / "a.tar").write_bytes(content)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(content[:15_000]) + gzip.compress(content[15_000:]))
    expected = [
        {"__key__": "0", "a": b"0.a", "b": b"0.b"},
        {"__key__": "0", "a": b"0.a"},
        {"__key__": "1", "c": b"1.c"},
        {"__key__": "1", "c": b"1.c"},
        {"__key__": "2", "a": b"2.a"},
    ]
    dataset = TarDataset(tmp_path / "a.tar")
    assert [dataset[index] for index in range(len(dataset))] == expected
    assert list(TarStream(tmp_path / "a.tar")) == list(TarStream(tmp_path / "a.tar.gz")) == expected


def test_an_archive_behind_another_that_is_cut(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(_archive("0.a") + _archive("1.a")[:513])
    with pytest.raises(CorruptDataError, match="cut short"):
        TarDataset(tmp_path / "a.tar")


def test_bytes_after_an_archive_warn(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(_archive("0.a") + b"signed by me" * 100)
    with pytest.warns(HeadraceWarning, match=r"from byte 10240 on, with something that is no tar"):
        dataset = TarDataset(tmp_path / "a.tar")
    assert len(dataset) == 1


def test_class_names_in_cls(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(_archive("n01440764.cls"))
    with pytest.raises(ValueError, match=r"n01440764.*; where such files hold no integers, .*fields=False"):
        open_dataset(tmp_path / "a.tar")[0]
    assert open_dataset(tmp_path / "a.tar", fields=False)[0]["cls"] == b"n01440764.cls"


@pytest.mark.parametrize(
    ("begin", "text"),
    [
        (
            b"\x28\xb5\x2f\xfd",
            r"zstd, (which needs zstandard|so a sample can only)|damaged or cut short",
        ),  # without zstandard, and with it
        (b"\x04\x22\x4d\x18", "lz4.*unlz4"),
        (b"PK\x03\x04", "zip.*unzip"),
    ],
)
def test_compressions_that_cannot_be_read(begin: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar.x").write_bytes(begin + bytes(100))
    for read in (TarDataset, lambda path: list(TarStream(path))):
        with pytest.raises(StorageError, match=text):
            read(tmp_path / "a.tar.x")


def test_a_folder_is_no_tar(tmp_path: Path) -> None:
    for read in (TarDataset, lambda path: list(TarStream(path))):
        with pytest.raises(StorageError, match="is a folder, but a file is needed; give a pattern"):
            read(tmp_path)
