"""Where a path is taken, so is an address, or an error says what takes one; and paths stay what they were."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import (
    ArrowDataset,
    DataLoader,
    FilesDataset,
    ImageDataset,
    ImageFolder,
    LMDBDataset,
    NpyDataset,
    RemoteOptions,
    TarDataset,
    TarStream,
    TFRecordDataset,
    open_dataset,
)
from headrace.errors import ArgumentError, StorageError
from headrace.formats.tfrecord.framing import frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PGM = b"P5 2 1 255 ab"


def archive(name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo(f"{name}.txt")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    return file.getvalue()


def array(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


FILES = {
    "tars/000.tar": archive("0"),
    "tars/001.tar": archive("1"),
    "packed/z.tar.gz": gzip.compress(archive("z")),
    "packed/z.tfrecord.gz": gzip.compress(frame(b"a")),
    "tables/a.csv": b"a,b\n1,2\n",
    "tables/a.csv.gz": gzip.compress(b"a,b\n3,4\n"),
    "odd/[1].tar": archive("1"),
    "odd/{a,b}.tar": archive("ab"),
    "columns/x.npy": array(np.arange(4)),
    "columns/y.npy": array(np.arange(4) * 2),
    "images/cat/0.pgm": PGM,
    "images/dog/1.pgm": PGM,
    "one.npy": array(np.arange(3)),
}


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.rm("/", recursive=True)
    for name, content in FILES.items():
        memory.pipe_file(f"/{name}", content)


def keys(dataset: Any) -> list[str]:
    return [
        sample["__key__"]
        for sample in (dataset if isinstance(dataset, TarStream) else map(dataset.__getitem__, range(len(dataset))))
    ]


@pytest.mark.usefixtures("far")
@pytest.mark.filterwarnings("ignore:.* is compressed, so its records")
@pytest.mark.parametrize(
    ("read", "expected"),
    [
        pytest.param(lambda: keys(TarDataset("memory://tars/{000..001}.tar")), ["0", "1"], id="braces"),
        pytest.param(lambda: keys(TarDataset("memory://tars/*.tar")), ["0", "1"], id="pattern"),
        pytest.param(lambda: keys(TarDataset("memory://odd/[1].tar")), ["1"], id="brackets in a name"),
        pytest.param(lambda: keys(TarDataset("memory://odd/{a,b}.tar")), ["ab"], id="braces in a name"),
        pytest.param(lambda: keys(TarStream("memory://tars/{000..001}.tar")), ["0", "1"], id="stream"),
        pytest.param(lambda: keys(TarStream("memory://packed/z.tar.gz")), ["z"], id="compressed stream"),
        pytest.param(lambda: TFRecordDataset("memory://packed/z.tfrecord.gz")[0], b"a", id="compressed TFRecord"),
        pytest.param(lambda: ArrowDataset("memory://tables/a.csv")[0], {"a": 1, "b": 2}, id="CSV"),
        pytest.param(lambda: ArrowDataset("memory://tables/a.csv.gz")[0], {"a": 3, "b": 4}, id="compressed CSV"),
        pytest.param(lambda: FilesDataset("memory://images/cat/*")[0], PGM, id="files of a pattern"),
        pytest.param(lambda: len(FilesDataset("memory://images")), 2, id="files of a folder"),
        pytest.param(lambda: FilesDataset(["memory://tables/a.csv"])[0], b"a,b\n1,2\n", id="list of files"),
        pytest.param(lambda: NpyDataset("memory://columns")[3], {"x": 3, "y": 6}, id="columns"),
        pytest.param(lambda: NpyDataset("memory://one.npy")[2], 2, id="array"),
        pytest.param(lambda: keys(open_dataset("memory://tars")), ["0", "1"], id="folder of shards"),
        pytest.param(lambda: len(open_dataset("memory://tables/a.csv")), 1, id="by its name"),
        pytest.param(
            lambda: ImageDataset(["memory://images/cat/0.pgm"], [7])[0][0][0, :, 0].tolist(), [97, 98], id="images"
        ),
    ],
)
def test_addresses(read: Callable[[], Any], expected: Any) -> None:
    assert read() == expected


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize(
    ("read", "error", "text"),
    [
        (lambda: TarDataset("memory://packed/z.tar.gz"), StorageError, r"compressed with gzip.*headrace\.TarStream"),
        (lambda: TarDataset("memory://tars"), StorageError, r"is a folder.* such as memory://tars/\*"),
        (
            lambda: ImageFolder("memory://images"),
            ArgumentError,
            r"a folder of this machine.*ImageDataset.*FilesDataset",
        ),
        (lambda: TarDataset("memory://tars/{000..002}.tar"), FileNotFoundError, "002.tar"),
        (lambda: TarDataset("memory://none/*.tar"), FileNotFoundError, r"no file matches memory://none/\*\.tar"),
        (lambda: open_dataset("memory://images"), ArgumentError, "it cannot be told what"),
        (lambda: open_dataset("memory://tars/9.tar?X-Amz-Signature=a/b.npy"), FileNotFoundError, r"9\.tar"),
    ],
)
def test_addresses_that_lead_nowhere(read: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        read()


@pytest.mark.usefixtures("far")
def test_options_travel_with_datasets_that_open_later() -> None:
    with RemoteOptions(retries=1):
        made: list[Any] = [TarStream("memory://tars/000.tar"), FilesDataset(["memory://one.npy"])]
    assert [dataset._options.retries for dataset in made] == [1, 1]


@pytest.mark.usefixtures("far")
def test_files_here_and_far_away(tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"here")
    paths = ["memory://one.npy", str(tmp_path / "here"), "memory://tables/a.csv"]
    expected = [FILES["one.npy"], b"here", FILES["tables/a.csv"]]
    assert FilesDataset(paths).get_batch(np.arange(3)) == expected
    with pytest.raises(FileNotFoundError) as caught:
        FilesDataset(["memory://none"])[0]
    assert "while reading the file 'memory://none'" in caught.value.__notes__


def test_paths_stay_what_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
    (tmp_path / "a.tfrecord").write_bytes(frame(b"a"))
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {
        "npy": NpyDataset("one.npy"),
        "columns": NpyDataset("columns"),
        "tar": TarDataset("tars/*.tar"),
        "stream": TarStream(["tars/000.tar", "packed/z.tar.gz"]),
        "files": FilesDataset("images"),
        "pattern": FilesDataset("images/*/*.pgm"),
        "list": FilesDataset(["one.npy", "a.tfrecord"]),
        "folder": ImageFolder("images"),
        "images": ImageDataset(["images/cat/0.pgm"], [0]),
        "tfrecord": TFRecordDataset("a.tfrecord"),
        "opened": open_dataset("tars"),
    }
    for module, kind, name in (("pyarrow", ArrowDataset, "tables/a.csv"), ("lmdb", LMDBDataset, "a.mdb")):
        library = pytest.importorskip(module)
        if module == "lmdb":
            with library.open(name, subdir=False) as env, env.begin(write=True) as transaction:
                transaction.put(b"k", b"v")
        made[module] = kind(name)
    options = RemoteOptions(cache_dir="blocks")
    monkeypatch.chdir("/")
    for dataset in made.values():
        assert len(list(DataLoader(dataset, batch_size=1))) > 0
    assert options.cache_dir == str(tmp_path / "blocks")


def test_a_folder_whose_name_is_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "{a,b}[1]"
    folder.mkdir()
    np.save(folder / "0.npy", np.arange(2))
    np.save(folder / "1.npy", np.arange(2))
    monkeypatch.chdir(folder)
    assert len(NpyDataset("{0,1}.npy")) == len(NpyDataset("[01].npy")) == 4
