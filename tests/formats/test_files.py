"""Bytes of files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, FilesDataset, ImageDataset, StackDataset
from headrace.errors import ArgumentError, ArgumentTypeError, StorageError
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = {
    "b/2.txt": b"two",
    "b/1.TXT": b"one",
    "a.txt": b"a",
    "a/x.bin": bytes(1000),
    "ä/ö.txt": b"",
    "b/c/3.txt": b"3",
}
IN_ORDER = ["a.txt", "a/x.bin", "b/1.TXT", "b/2.txt", "b/c/3.txt", "ä/ö.txt"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in CONTENT.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return tmp_path


def test_a_folder_is_its_files(folder: Path) -> None:
    dataset = FilesDataset(folder)
    check_dataset(dataset, negative=True, picklable=True)
    assert [os.path.relpath(path, folder) for path in dataset.paths] == IN_ORDER
    assert dataset.get_batch(np.arange(6)) == [CONTENT[name] for name in IN_ORDER]
    assert FilesDataset(str(folder), ".TXT").get_batch(np.arange(3)) == [b"a", b"one", b"two"]
    assert len(FilesDataset(bytes(folder), [".bin", ".wav"])) == 1


def test_patterns_and_lists(folder: Path) -> None:
    assert FilesDataset(folder / "b" / "*.txt")[0] == b"two"
    several = FilesDataset([folder / "b/2.txt", str(folder / "a.txt")])
    assert several.get_batch(np.array([0, 1])) == [b"two", b"a"]
    assert len(FilesDataset([])) == 0
    assert len(FilesDataset(iter([folder / "b/2.txt", folder / "a/x.bin"]), ".bin")) == 1


def test_with_paths(folder: Path) -> None:
    files = FilesDataset(folder)
    pairs = StackDataset(files, files.paths)
    content, paths = next(iter(DataLoader(pairs, batch_size=2)))
    assert content == [b"a", bytes(1000)]
    assert paths == list(files.paths)[:2]


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_workers_read_the_same(folder: Path, backend: Any) -> None:
    dataset = FilesDataset(folder, decode=len)
    with DataLoader(dataset, batch_size=4, num_workers=2, backend=backend) as loader:
        assert np.concatenate(list(loader)).tolist() == [len(CONTENT[name]) for name in IN_ORDER]


def test_what_is_not_there(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        FilesDataset(folder / "absent")
    with pytest.raises(FileNotFoundError, match=r"there are no files whose names end in \.wav in "):
        FilesDataset(folder, ".wav")
    with pytest.raises(ArgumentError, match="extensions must be endings of names"):
        FilesDataset(folder, [""])
    with pytest.raises(ArgumentTypeError, match="decode must be a function"):
        FilesDataset(folder, decode="jpg")  # type: ignore[arg-type]
    dataset = FilesDataset(folder)
    (folder / "b/1.TXT").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        list(DataLoader(dataset, batch_size=4))
    assert any("1.TXT" in note for note in caught.value.__notes__)
    assert any("sample 2" in note for note in caught.value.__notes__)


def test_an_error_of_decode_names_the_file(folder: Path) -> None:
    def broken(content: bytes) -> None:
        raise ValueError(content)

    dataset = FilesDataset(folder, decode=broken)
    with pytest.raises(ValueError, match="b'one'") as caught:
        dataset[2]
    assert getattr(caught.value, "filename", None) == dataset.paths[2]
    assert caught.value.__notes__ == [f"while decoding sample 2: {dataset.paths[2]}"]


def test_indexes_are_no_data(tmp_path: Path) -> None:
    for name in ("a.tfrecord", ".a.tfrecord.headrace-index.npy", ".headrace-1.tmp", ".mine", "x.headrace-index.npy"):
        (tmp_path / name).write_bytes(b"")
    found = [path.rpartition("/")[2] for path in FilesDataset(tmp_path).paths]
    assert found == [".mine", "a.tfrecord", "x.headrace-index.npy"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are POSIX's")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "1.pgm"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    for dataset in (FilesDataset(tmp_path), ImageDataset([path], [0])):
        with pytest.raises(StorageError, match=r"1\.pgm is a pipe or a device, but a file is needed"):
            _ = dataset[0]
        with pytest.raises(StorageError, match=r"1\.pgm is a pipe or a device, but a file is needed"):
            dataset.get_batch(np.array([0]))
