"""MNIST, Fashion-MNIST and CIFAR: small files of each published kind, read back, damaged, and refused."""

from __future__ import annotations

import builtins
import copyreg
import gzip
import io
import os
import pickle
import random
import re
import shutil
import struct
import tarfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, TensorDataset
from headrace.datasets.cifar import CIFAR10, CIFAR100
from headrace.datasets.idx import read_idx
from headrace.datasets.mnist import MNIST, FashionMNIST
from headrace.datasets.plain_pickle import _PlainUnpickler, unpickle
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

RNG = np.random.default_rng(0)
NAMES10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FINE = [f"fine {number}" for number in range(100)]
COARSE = [f"coarse {number}" for number in range(20)]


# Files as they are published, with other pixels


def idx(array: NDArray[Any], code: int = 0x08) -> bytes:
    """The bytes of an IDX file, by its description: big-endian, sizes of 4 bytes."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def pixels(count: int) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (count, 32, 32, 3), np.uint8)


def planes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each image as a row: all its red pixels, all the green ones, all the blue ones."""
    return np.stack([image[:, :, channel].ravel() for image in images for channel in range(3)]).reshape(-1, 3072)


def old_pickle(value: Any) -> bytes:
    """A pickle as Python 2 wrote those of CIFAR: its strings, the arrays' bytes too, are byte strings."""
    if isinstance(value, dict):
        items = b"".join(old_pickle(key) + old_pickle(each) for key, each in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(old_pickle, value)) + b"e"
    if isinstance(value, np.ndarray):
        make = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        shape = b"(" + b"".join(map(old_pickle, value.shape)) + b"t"
        dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        return make + b"(K\x01" + shape + dtype + b"\x89" + old_pickle(value.tobytes()) + b"tb"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    text = value.encode() if isinstance(value, str) else value
    return b"T" + struct.pack("<i", len(text)) + text


def python2(value: Any) -> bytes:
    return b"\x80\x02" + old_pickle(value) + b"."


PICKLERS: dict[str, Callable[[Any], bytes]] = {
    "Python 2": python2,
    **{f"protocol {number}": partial(pickle.dumps, protocol=number) for number in range(6)},
}


class Cifar:
    """The files of one release of CIFAR-10 or CIFAR-100, by their names, and what they hold."""

    def __init__(self, kind: str, *, size: int = 3, dump: Callable[[Any], bytes] = python2) -> None:
        self.classes = 10 if kind.startswith("cifar-10-") else 100
        self.python = kind.endswith("python")
        self.archive = f"{kind}.tar.gz"
        self.folder = kind if self.classes == 100 else kind.replace("python", "py").replace("10-", "10-batches-")
        self.folder = self.folder.replace("binary", "bin") if self.classes == 10 else self.folder
        train = [f"data_batch_{number}" for number in range(1, 6)] if self.classes == 10 else ["train"]
        test = "test_batch" if self.classes == 10 else "test"
        self.images = {True: pixels(size * len(train)), False: pixels(size)}
        self.fine = {part: RNG.integers(0, self.classes, len(images)) for part, images in self.images.items()}
        self.coarse = {part: RNG.integers(0, 20, len(images)) for part, images in self.images.items()}
        self.files: dict[str, bytes] = {}
        self._dump = dump
        for number, name in enumerate([*train, test]):
            part, start = name != test, size * number if name != test else 0
            self._add_batch(name, part, slice(start, start + size))
        self._add_names()

    def _add_batch(self, name: str, part: bool, rows: slice) -> None:
        data, fine, coarse = planes(self.images[part][rows]), self.fine[part][rows], self.coarse[part][rows]
        labels = {"fine_labels": fine.tolist(), "coarse_labels": coarse.tolist()}
        if self.python:
            if self.classes == 10:
                labels = {"labels": fine.tolist()}
            self.files[name] = self._dump({"batch_label": name, "data": data, **labels, "filenames": ["a.png"]})
        else:
            columns = [fine] if self.classes == 10 else [coarse, fine]
            records = np.concatenate([np.stack(columns, 1).astype(np.uint8), data], axis=1)
            self.files[f"{name}.bin"] = records.tobytes()

    def _add_names(self) -> None:
        if self.python and self.classes == 10:
            self.files["batches.meta"] = self._dump({"num_vis": 3072, "label_names": NAMES10})
        elif self.python:
            self.files["meta"] = self._dump({"fine_label_names": FINE, "coarse_label_names": COARSE})
        elif self.classes == 10:
            self.files["batches.meta.txt"] = ("\n".join(NAMES10) + "\n\n").encode()
        else:
            self.files["fine_label_names.txt"] = ("\n".join(FINE) + "\n").encode()
            self.files["coarse_label_names.txt"] = ("\n".join(COARSE) + "\n").encode()

    def unpack(self, root: Path) -> Path:
        folder = root / self.folder
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder

    def pack(self, root: Path, *, mode: str = "w:gz", prefix: str = "") -> Path:
        path = root / self.archive
        names = list(self.files)
        names.reverse()  # the original ones are in no order either
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            for name in ["readme.html", *names]:
                content = self.files.get(name, b"<html>")
                member = tarfile.TarInfo(f"{prefix}{self.folder}/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path


KINDS = ["cifar-10-python", "cifar-10-binary", "cifar-100-python", "cifar-100-binary"]


def cifar_class(kind: str) -> Any:
    return CIFAR10 if kind.startswith("cifar-10-") else CIFAR100


def mnist_files(count: int = 6) -> dict[str, NDArray[np.uint8]]:
    return {
        "train-images-idx3-ubyte": RNG.integers(0, 256, (count, 28, 28), np.uint8),
        "train-labels-idx1-ubyte": RNG.integers(0, 10, count, np.uint8),
        "t10k-images-idx3-ubyte": RNG.integers(0, 256, (count - 2, 28, 28), np.uint8),
        "t10k-labels-idx1-ubyte": RNG.integers(0, 10, count - 2, np.uint8),
    }


def write_mnist(folder: Path, files: dict[str, NDArray[np.uint8]], *, packed: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in files.items():
        content = idx(array)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)


def saying(text: str) -> Any:
    return pytest.raises(ArgumentError, match=re.escape(text))


# IDX


DTYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


@given(st.data(), st.sampled_from(list(DTYPES)), st.lists(st.integers(0, 5), max_size=4), st.booleans())
def test_any_idx_file_is_read(data: st.DataObject, dtype: str, shape: list[int], packed: bool) -> None:
    count = int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize
    array = np.frombuffer(data.draw(st.binary(min_size=count, max_size=count)), dtype).reshape(shape)
    content = idx(array, DTYPES[dtype])
    path = Path(os.environ["IDX_TEST_FOLDER"], "any")
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    found = read_idx(path)
    assert (found.dtype, found.shape, found.tobytes()) == (np.dtype(dtype), array.shape, array.tobytes())
    assert found.dtype.isnative
    assert found.flags.writeable
    assert found.flags.aligned


@pytest.fixture(autouse=True, scope="module")
def idx_test_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDX_TEST_FOLDER", str(tmp_path_factory.mktemp("idx")))
        yield


def test_bytes_are_read_from_the_big_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0xFF, 0xFE]))
    assert read_idx(str(tmp_path / "file")).tolist() == [[256, -2]]


HEADER = bytes([0, 0, 8, 1, 0, 0, 0, 3])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "expected the magic number of an IDX file"),
        (b"", "found an empty file"),
        (b"\0\0\x08", "found 000008"),
        (b"\x89PNG\r\n", "a type TT of 08, 09, 0b, 0c, 0d, 0e, found 89504e47"),
        (b"\0\0\x0a\x01" + bytes(9), "found 00000a01"),
        (HEADER[:6], "expected 1 sizes of 4 bytes each after the magic number, found 2 bytes: it ends too early"),
        (HEADER + b"ab", "expected 3 bytes of uint8 of shape (3,), found 2: it ends too early; get the file anew"),
        (HEADER + b"abcde", "expected 3 bytes of uint8 of shape (3,), found 5: there is more after the array"),
        (bytes([0, 0, 8, 2]) + b"\xff" * 8 + b"abc", "found 3: it ends too early"),
        (bytes([0, 0, 8, 70]) + bytes(280), "cannot be that of an array"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 8 + bytes(4), "cannot be that of an array"),
        (gzip.compress(HEADER + b"ab", mtime=0), "found 2: it ends too early"),
        (gzip.compress(HEADER + b"abc", mtime=0)[:-9], "what gzip packed there is damaged"),
        (
            gzip.compress(HEADER + b"abc", mtime=0)[:-8] + bytes(8),
            "what gzip packed there is damaged (CRC check failed",
        ),
        (gzip.compress(HEADER + b"abc", mtime=0) + b"more", "what gzip packed there is damaged (Not a gzipped file"),
        (b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 20, "what gzip packed there is damaged (Error -3"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "labels"
    path.write_bytes(content)
    with saying(text) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert isinstance(caught.value, ValueError)


def test_what_cannot_be_opened_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none")
    with pytest.raises(OSError, match="is a folder"):
        read_idx(tmp_path)


# MNIST and Fashion-MNIST


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("make", "folder"),
    [(MNIST, "."), (MNIST, "raw"), (MNIST, "MNIST/raw"), (FashionMNIST, "raw"), (FashionMNIST, "FashionMNIST/raw")],
)
def test_mnist_is_read_from_each_folder(tmp_path: Path, make: Any, folder: str, packed: bool) -> None:
    files = mnist_files()
    write_mnist(tmp_path / folder, files, packed=packed)
    for root in (tmp_path, str(tmp_path)):
        for train, part in ((True, "train"), (False, "t10k")):
            dataset = make(root, train)
            assert (dataset.root, dataset.train) == (tmp_path, train)
            assert dataset.data.dtype == np.uint8
            assert dataset.targets.dtype == np.int64
            assert (dataset.data == files[f"{part}-images-idx3-ubyte"]).all()
            assert (dataset.targets == files[f"{part}-labels-idx1-ubyte"]).all()
            assert dataset.data.flags.writeable
            image, label = dataset[2]
            assert (image.shape, image.dtype, type(label)) == ((28, 28), np.uint8, np.int64)
            check_dataset(dataset, negative=True, picklable=True)
    assert len(make(tmp_path)) == 6
    assert issubclass(make, TensorDataset)


def test_the_first_folder_with_both_files_is_read(tmp_path: Path) -> None:
    folders = [tmp_path, tmp_path / "raw", tmp_path / "MNIST" / "raw"]
    written = [mnist_files() for _ in folders]
    for folder, files in zip(folders, written, strict=True):
        write_mnist(folder, files)
    for folder, files in zip(folders, written, strict=True):
        assert (MNIST(tmp_path).data == files["train-images-idx3-ubyte"]).all()
        (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError):
        MNIST(tmp_path)


def test_a_file_there_as_both_is_read_unpacked(tmp_path: Path) -> None:
    plain = mnist_files()
    write_mnist(tmp_path, mnist_files(), packed=True)
    write_mnist(tmp_path, plain)
    assert (MNIST(tmp_path).data == plain["train-images-idx3-ubyte"]).all()


def test_names_of_mnist(tmp_path: Path) -> None:
    write_mnist(tmp_path, mnist_files())
    digits, clothes = MNIST(tmp_path), FashionMNIST(tmp_path)
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert digits.classes == [f"{number} - {word}" for number, word in enumerate(words)]
    assert clothes.classes[:5] == ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
    assert clothes.classes[5:] == ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    assert digits.class_to_idx["7 - seven"] == 7
    assert list(clothes.class_to_idx.items()) == [(name, number) for number, name in enumerate(clothes.classes)]
    digits.classes.clear()  # the list of one dataset is not that of another
    assert len(MNIST(tmp_path).classes) == 10


@pytest.mark.parametrize(
    ("make", "home"),
    [(MNIST, "https://yann.lecun.com/exdb/mnist"), (FashionMNIST, "https://github.com/zalandoresearch/fashion-mnist")],
)
def test_absent_mnist_is_named_with_its_home(tmp_path: Path, make: Any, home: str) -> None:
    name = make.__name__
    text = (
        f"{name} needs the files t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or with .gz, in one of the "
        f"folders {tmp_path}, {tmp_path / 'raw'}, {tmp_path / name / 'raw'}; nothing is "
        f"downloaded: get them from {home}"
    )
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(text)}$"):
        make(tmp_path, train=False)


@pytest.mark.parametrize(
    ("file", "array", "text"),
    [
        (
            "images-idx3",
            np.zeros((6, 28, 27), np.uint8),
            "uint8 of shape (n, 28, 28), found uint8 of shape (6, 28, 27)",
        ),
        (
            "images-idx3",
            np.zeros(6, np.uint8),
            "expected images, uint8 of shape (n, 28, 28), found uint8 of shape (6,)",
        ),
        (
            "labels-idx1",
            np.zeros((6, 1), np.uint8),
            "expected labels, uint8 of shape (n,), found uint8 of shape (6, 1)",
        ),
        ("labels-idx1", np.zeros(5, np.uint8), "labels-idx1-ubyte 5 labels; expected as many: take both files"),
        (
            "labels-idx1",
            np.array([0, 9, 10, 3, 11, 1], np.uint8),
            "below 10, the number of classes, found 10 for image 2",
        ),
    ],
)
def test_files_of_something_else_are_refused(tmp_path: Path, file: str, array: NDArray[Any], text: str) -> None:
    write_mnist(tmp_path, {**mnist_files(), f"train-{file}-ubyte": array})
    with saying(text) as caught:
        MNIST(tmp_path)
    assert str(tmp_path / f"train-{file}-ubyte") in str(caught.value)
    MNIST(tmp_path, train=False)


def test_wide_integers_are_no_images(tmp_path: Path) -> None:
    write_mnist(tmp_path, mnist_files())
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((6, 28, 28), np.int32), 0x0C))
    with saying("expected images, uint8 of shape (n, 28, 28), found int32 of shape (6, 28, 28)"):
        MNIST(tmp_path)
    write_mnist(tmp_path, mnist_files())
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(6, np.int32), 0x0C))
    with saying("expected labels, uint8 of shape (n,), found int32 of shape (6,)"):
        MNIST(tmp_path)


@pytest.mark.parametrize("train", ["test", 1, None])
@pytest.mark.parametrize("make", [MNIST, FashionMNIST, CIFAR10, CIFAR100])
def test_train_is_a_bool(tmp_path: Path, make: Any, train: Any) -> None:
    text = f"train is True for the training part and False for the test part, got {train!r}"
    with pytest.raises(ArgumentTypeError, match=re.escape(text)):
        make(tmp_path, train)


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_mnist(tmp_path / "data", mnist_files())
    assert MNIST("~/data").root == tmp_path / "data"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_reads_batches(tmp_path: Path, workers: int) -> None:
    files = mnist_files()
    write_mnist(tmp_path, files)
    dataset = MNIST(tmp_path)
    assert dataset.releases_gil()
    images, labels = next(iter(DataLoader(dataset, batch_size=6, num_workers=workers)))
    assert (images == files["train-images-idx3-ubyte"]).all()
    assert (labels == files["train-labels-idx1-ubyte"]).all()


def test_data_and_targets_are_those_of_the_samples(tmp_path: Path) -> None:
    write_mnist(tmp_path, mnist_files())
    dataset = MNIST(tmp_path)
    assert dataset.tensors[0] is dataset.data
    assert dataset.tensors[1] is dataset.targets
    dataset.targets[3] = 5
    assert dataset[3][1] == 5
    with pytest.raises(AttributeError):
        dataset.targets = np.zeros(6, np.int64)  # type: ignore[misc]


# CIFAR


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_cifar_is_read(tmp_path: Path, kind: str, packed: bool) -> None:
    files = Cifar(kind)
    if packed:
        files.pack(tmp_path)
    else:
        files.unpack(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for train in (True, False):
        dataset = cifar_class(kind)(str(tmp_path), train)
        assert (dataset.root, dataset.train) == (tmp_path, train)
        assert (dataset.data.dtype, dataset.targets.dtype) == (np.uint8, np.int64)
        assert (dataset.data == files.images[train]).all()
        assert (dataset.targets == files.fine[train]).all()
        assert dataset.classes == (NAMES10 if files.classes == 10 else FINE)
        assert dataset.class_to_idx == {name: number for number, name in enumerate(dataset.classes)}
        assert dataset.data.flags.c_contiguous
        assert dataset[1][0].shape == (32, 32, 3)
        check_dataset(dataset, negative=True, picklable=True)
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked to disk


@pytest.mark.parametrize("kind", KINDS[2:])
def test_coarse_labels(tmp_path: Path, kind: str) -> None:
    files = Cifar(kind)
    files.unpack(tmp_path)
    dataset = CIFAR100(tmp_path, coarse=True)
    assert (dataset.targets == files.coarse[True]).all()
    assert (dataset.data == files.images[True]).all()
    assert dataset.classes == COARSE
    assert (dataset.coarse, CIFAR100(tmp_path).coarse) == (True, False)


@pytest.mark.parametrize("dump", PICKLERS.values(), ids=PICKLERS)
@pytest.mark.parametrize("size", [0, 2])
def test_pickles_of_every_protocol_are_read(tmp_path: Path, dump: Callable[[Any], bytes], size: int) -> None:
    files = Cifar("cifar-10-python", size=max(size, 1), dump=dump)
    if not size:
        nothing = {"data": np.zeros((0, 3072), np.uint8), "labels": []}
        files.files.update({f"data_batch_{number}": dump(nothing) for number in range(1, 6)})
    files.unpack(tmp_path)
    assert CIFAR10(tmp_path).data.tobytes() == (files.images[True].tobytes() if size else b"")
    assert CIFAR10(tmp_path).classes == NAMES10


def test_both_spellings_of_numpy_are_read() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for protocol in (2, 4, 5):
        content = pickle.dumps(array, protocol)
        new, old = (b"numpy._core.", b"numpy.core.")
        spelled = [content.replace(old, new), content.replace(new, old)]
        if protocol < 4:  # else the lengths of the names are written before them
            assert spelled[0] != spelled[1]
            assert all((unpickle(each, "here").array == array).all() for each in spelled)
        assert (unpickle(content, "here").array == array).all()


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i4", "<f8", "?", ">u8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", range(6))
def test_arrays_in_pickles_are_numpys(dtype: str, order: Any, protocol: int) -> None:
    array = np.asarray(RNG.integers(0, 2, (3, 4)), dtype, order=order)
    found = unpickle(pickle.dumps([array], protocol), "here")[0].array
    assert (found.dtype, found.tolist()) == (array.dtype, array.tolist())


def test_labels_may_be_an_array(tmp_path: Path) -> None:
    files = Cifar("cifar-10-python")
    batch = {"data": planes(files.images[False]), "labels": files.fine[False].astype(">i2")}
    files.files["test_batch"] = pickle.dumps(batch)
    files.unpack(tmp_path)
    assert (CIFAR10(tmp_path, train=False).targets == files.fine[False]).all()


def test_names_of_the_binary_cifar_10_are_known_without_their_file(tmp_path: Path) -> None:
    files = Cifar("cifar-10-binary")
    del files.files["batches.meta.txt"]
    files.pack(tmp_path)
    assert CIFAR10(tmp_path).classes == NAMES10
    files.unpack(tmp_path)
    assert CIFAR10(tmp_path).classes == NAMES10


def test_names_come_from_the_file(tmp_path: Path) -> None:
    for kind, name, content in [
        ("cifar-10-python", "batches.meta", python2({"label_names": list("abcdefghij")})),
        ("cifar-10-binary", "batches.meta.txt", b"a\r\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n"),
    ]:
        files = Cifar(kind)
        files.files[name] = content
        shutil.rmtree(files.unpack(tmp_path / "first"))
        files.pack(tmp_path)
        assert CIFAR10(tmp_path).classes == list("abcdefghij")
        (tmp_path / files.archive).unlink()


def test_archives_that_a_browser_unpacked_or_a_shell_packed_are_read(tmp_path: Path) -> None:
    files = Cifar("cifar-10-python")
    files.pack(tmp_path, mode="w", prefix="./")
    assert (CIFAR10(tmp_path).data == files.images[True]).all()


def test_the_first_whole_release_is_read(tmp_path: Path) -> None:
    python, binary, archived = Cifar("cifar-10-python"), Cifar("cifar-10-binary"), Cifar("cifar-10-python")
    archived.pack(tmp_path)
    packed = Cifar("cifar-10-binary")
    packed.pack(tmp_path)
    folders = [python.unpack(tmp_path), binary.unpack(tmp_path)]
    for expected, needed in [
        (python, folders[0] / "batches.meta"),
        (binary, folders[1] / "data_batch_4.bin"),
        (archived, tmp_path / archived.archive),
        (packed, tmp_path / packed.archive),
    ]:
        assert (CIFAR10(tmp_path).data == expected.images[True]).all()
        needed.unlink()
    text = (
        f"found none of: {tmp_path / 'cifar-10-batches-py'} with batches.meta; {tmp_path / 'cifar-10-batches-bin'} "
        f"with data_batch_4.bin; {tmp_path / 'cifar-10-python.tar.gz'}; {tmp_path / 'cifar-10-binary.tar.gz'} "
        "(of a folder, the files that it lacks are named); nothing is downloaded: get one of the archives from "
        "https://www.cs.toronto.edu/~kriz/cifar.html"
    )
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(text)}$"):
        CIFAR10(tmp_path)


def test_absent_cifar_100_is_named_with_its_home(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cifar-100-python with test, meta; .*kriz/cifar\.html"):
        CIFAR100(tmp_path, train=False)


BATCH = {"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2, 3]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (python2([1, 2]), "expected a pickled dict, found a pickled list"),
        (python2({"labels": [1]}), "expected a dict with 'data', found none in it"),
        (python2({"data": BATCH["data"]}), "expected a dict with 'labels', found none in it"),
        (python2({**BATCH, "data": b"abc"}), "expected 'data' to be uint8 of shape (n, 3072), found a bytes"),
        (python2({**BATCH, "data": np.zeros((3, 3), np.uint8)}), "shape (n, 3072), found uint8 of shape (3, 3)"),
        (pickle.dumps({**BATCH, "data": np.zeros((3, 3072))}), "(n, 3072), found float64 of shape (3, 3072)"),
        (python2({**BATCH, "labels": [1, 2]}), "expected 'labels' to be 3 integers, one for each image, found 2"),
        (python2({**BATCH, "labels": b"abc"}), "expected 'labels' to be 3 integers, one for each image, found some"),
        (python2({**BATCH, "labels": ["1", "2", "3"]}), "found something else"),
        (pickle.dumps({**BATCH, "labels": [1, 2, 3.5]}), "found something else"),
        (pickle.dumps({**BATCH, "labels": [1, 2, 2**70]}), "found something else"),
        (pickle.dumps({**BATCH, "labels": np.zeros(3)}), "found something else"),
        (b"", "this is no pickle of arrays and plain values, or a damaged one (EOFError"),
        (python2(BATCH)[:-1], "or a damaged one (EOFError"),
        (python2(BATCH)[:900], "this is no pickle of arrays and plain values, or a damaged one"),
        (b"hello", "this is no pickle of arrays and plain values, or a damaged one"),
        (pickle.dumps(np.array(["a"], object)), "an array of something else than numbers"),
        (pickle.dumps(np.zeros(2, "M8[s]")), "an array of something else than numbers"),
        (pickle.dumps(np.zeros(4, "u1"), 2).replace(b"K\x04", b"K\x03"), "an array and its data differ in length"),
        (pickle.dumps(np.zeros(4, "u1"), 2).replace(b"K\x04", b"K\x05"), "an array and its data differ in length"),
        (b"cnumpy\nndarray\n(K\x01tR.", "an array made by other means than those of pickle"),
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.", "an encoding other than latin1"),
        (b"c_codecs\nencode\n}U\x05_makeK\x01sb.", "a state for what has none"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "or a damaged one (TypeError"),
        (b"Pid\n.", "unsupported persistent id"),
    ],
)
def test_pickles_of_something_else_are_named(tmp_path: Path, content: bytes, text: str) -> None:
    files = Cifar("cifar-10-python")
    files.files["test_batch"] = content
    path = files.unpack(tmp_path) / "test_batch"
    with saying(text) as caught:
        CIFAR10(tmp_path, train=False)
    assert str(caught.value).startswith(f"{path}: ")
    assert isinstance(caught.value, ValueError)
    CIFAR10(tmp_path)
    shutil.rmtree(path.parent)
    archive = files.pack(tmp_path)
    with saying(text) as caught:
        CIFAR10(tmp_path, train=False)
    assert str(caught.value).startswith(f"{archive}, in it cifar-10-batches-py/test_batch: ")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (python2({"label_names": "abc"}), "expected 'label_names' to be a list of names, found something else"),
        (python2({"label_names": [1, 2]}), "expected 'label_names' to be a list of names, found something else"),
        (python2({}), "expected a dict with 'label_names', found none in it"),
        (python2({"label_names": [b"\xff"]}), "expected names in UTF-8, found other bytes"),
    ],
)
def test_names_of_something_else_are_named(tmp_path: Path, content: bytes, text: str) -> None:
    files = Cifar("cifar-10-python")
    files.files["batches.meta"] = content
    path = files.unpack(tmp_path) / "batches.meta"
    with saying(f"{path}: {text}"):
        CIFAR10(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_without_a_class_are_refused(tmp_path: Path, kind: str) -> None:
    files = Cifar(kind)
    wrong = files.classes + 7
    width, before = (3073, 0) if files.classes == 10 else (3074, 1)
    if files.python:
        key = "labels" if files.classes == 10 else "fine_labels"
        name = "test_batch" if files.classes == 10 else "test"
        files.files[name] = python2({"data": planes(files.images[False]), key: [0, wrong, 0]})
    else:
        name = "test_batch.bin" if files.classes == 10 else "test.bin"
        content = bytearray(files.files[name])
        content[width + before] = wrong
        files.files[name] = bytes(content)
    files.unpack(tmp_path)
    with saying(f"expected labels below {files.classes}, the number of classes, found {wrong} for image "):
        cifar_class(kind)(tmp_path, train=False)


def test_binary_batches_are_whole_records(tmp_path: Path) -> None:
    files = Cifar("cifar-10-binary")
    files.files["data_batch_3.bin"] += b"ab"
    path = files.unpack(tmp_path) / "data_batch_3.bin"
    with saying(f"{path}: expected records of 3073 bytes, found 9221 bytes, which are 3 records and 2 bytes"):
        CIFAR10(tmp_path)


def test_batches_are_of_one_size(tmp_path: Path) -> None:
    files = Cifar("cifar-10-binary")
    files.files["data_batch_3.bin"] = files.files["data_batch_3.bin"][3073:]
    path = files.unpack(tmp_path) / "data_batch_3.bin"
    with saying(f"{path}: expected 3 images, as in the other batches, found 2"):
        CIFAR10(tmp_path)


def test_archives_without_what_they_should_hold_are_named(tmp_path: Path) -> None:
    files = Cifar("cifar-10-python")
    del files.files["data_batch_2"], files.files["batches.meta"]
    path = files.pack(tmp_path)
    with saying(f"{path}: expected data_batch_2, batches.meta in it, found none; get the archive anew"):
        CIFAR10(tmp_path)


def test_files_of_other_folders_in_archives_are_passed_over(tmp_path: Path) -> None:
    files = Cifar("cifar-10-binary")
    path = files.pack(tmp_path, mode="w")
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("copy/test_batch.bin"))
    assert (CIFAR10(tmp_path, train=False).data == files.images[False]).all()


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    path = Cifar("cifar-10-python").pack(tmp_path)
    whole = path.read_bytes()
    for content, text in [
        (whole[: len(whole) // 2], "is damaged"),
        (whole[:-8] + bytes(8), "what gzip packed there is damaged (CRC check failed"),
        (gzip.compress(b"hello" * 300), "this is no tar archive, or a damaged one"),
        (b"hello" * 300, "this is no tar archive, or a damaged one"),
        (b"", "this is no tar archive, or a damaged one"),
    ]:
        path.write_bytes(content)
        with saying(text) as caught:
            CIFAR10(tmp_path)
        assert str(caught.value).startswith(f"{path}: ")


def test_links_in_archives_are_not_followed(tmp_path: Path) -> None:
    files = Cifar("cifar-10-binary")
    content = files.files.pop("test_batch.bin")
    (tmp_path / "elsewhere").write_bytes(content)
    path = files.pack(tmp_path, mode="w")
    with tarfile.open(path, "a") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
            member.type, member.linkname = kind, str(tmp_path / "elsewhere")
            archive.addfile(member)
    with saying("expected test_batch.bin in it, found none"):
        CIFAR10(tmp_path, train=False)


# What a pickle may not do


class Evil:
    """Pickled, it is a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


ran: list[object] = []


def run_code(*arguments: object) -> None:
    ran.append(arguments)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "function", [os.system, eval, getattr, np.load, builtins.print, np.array, bytearray], ids=lambda f: str(f.__name__)
)
def test_pickles_that_would_run_code_are_refused(tmp_path: Path, function: Any, protocol: int) -> None:
    mark = tmp_path / "it ran"
    files = Cifar("cifar-10-python")
    files.files["test_batch"] = pickle.dumps({"data": Evil(function, f"touch '{mark}'"), "labels": []}, protocol)
    path = files.unpack(tmp_path) / "test_batch"
    with pytest.raises(ArgumentError) as caught:
        CIFAR10(tmp_path, train=False)
    assert re.match(
        rf"{re.escape(str(path))}: its pickle names [\w.]+\.{function.__name__}, which is refused: allowed are arrays "
        "and plain values; get the original file$",
        str(caught.value),
    )
    assert not mark.exists()


def test_the_code_of_such_a_pickle_would_have_run(tmp_path: Path) -> None:
    content = pickle.dumps({"data": Evil(os.system, f"touch '{tmp_path / 'it ran'}'")})
    pickle.loads(content)
    assert (tmp_path / "it ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"(S'x'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'x'\no.",  # OBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",  # STACK_GLOBAL
        b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.tag\x93.",  # a dotted name
        b"\x80\x02\x82\x01.",  # EXT1
    ],
)
def test_every_way_to_name_something_is_guarded(content: bytes) -> None:
    with saying("which is refused: allowed are arrays and plain values"):
        unpickle(content, "here")


def test_registered_extensions_are_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python keeps what an extension code has named, and would not ask for it by name again."""
    monkeypatch.setitem(copyreg._extension_cache, 7, run_code)  # type: ignore[attr-defined]
    assert pickle.loads(b"\x80\x02\x82\x07.") is run_code
    with saying("here: its pickle names the extension 7, which is refused"):
        unpickle(b"\x80\x02\x82\x07)R.", "here")
    assert not ran


def test_vast_numbers_in_a_pickle_cost_nothing() -> None:
    assert unpickle(b"K\x01r\xff\xff\xff\x7f.", "here") == 1  # remembered as number 2,147,483,647


def test_the_names_allowed_do_not_grow() -> None:
    unpickler = _PlainUnpickler(b"", "here")
    for module, name in [
        ("numpy", "load"),
        ("builtins", "bytes"),
        ("builtins", "object"),
        ("copyreg", "_reconstructor"),
    ]:
        with saying(f"here: its pickle names {module}.{name}"):
            unpickler.find_class(module, name)


# Mutations: anything but a result or an ArgumentError fails


def mutated(content: bytes, rng: random.Random, *, head: int) -> bytes:
    """The content with a few bytes changed, cut out or put in, most of them near its beginning."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(min(head, len(changed)) if rng.random() < 0.8 else len(changed))
        match rng.randrange(4):
            case 0:
                changed[place] = rng.randrange(256)
            case 1:
                changed[place] ^= 1 << rng.randrange(8)
            case 2:
                del changed[place : place + rng.randint(1, 40)]
            case _:
                changed[place:place] = rng.randbytes(rng.randint(1, 8))
        changed = changed or bytearray(1)
    return bytes(changed)


def outcomes(path: Path, content: bytes, read: Callable[[], object], *, head: int, rounds: int) -> dict[str, int]:
    counts = {"read": 0, "refused": 0}
    for seed in range(rounds):
        path.write_bytes(mutated(content, random.Random(seed), head=head))  # noqa: S311 - repeatable, not secret
        try:
            read()
            counts["read"] += 1
        except ArgumentError:
            counts["refused"] += 1
    return counts


@pytest.mark.parametrize("packed", [False, True])
def test_mutated_idx_files_are_read_or_refused(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "file"
    content = idx(RNG.integers(0, 256, (3, 5, 4), np.uint8))
    counts = outcomes(path, gzip.compress(content) if packed else content, lambda: read_idx(path), head=20, rounds=600)
    assert counts["refused"] > 300


@pytest.mark.parametrize("dump", PICKLERS.values(), ids=PICKLERS)
def test_mutated_pickles_are_read_or_refused(tmp_path: Path, dump: Callable[[Any], bytes]) -> None:
    files = Cifar("cifar-10-python", size=1, dump=dump)
    path = files.unpack(tmp_path) / "test_batch"
    content = files.files["test_batch"]
    counts = outcomes(path, content, lambda: CIFAR10(tmp_path, train=False), head=250, rounds=300)
    assert counts["refused"] > 100


def test_mutated_pickles_of_code_run_none(tmp_path: Path) -> None:
    files = Cifar("cifar-10-python", size=1)
    path = files.unpack(tmp_path) / "test_batch"
    content = pickle.dumps({"data": planes(files.images[False]), "labels": [Evil(run_code, 1)]}, 2)
    counts = outcomes(path, content, lambda: CIFAR10(tmp_path, train=False), head=len(content), rounds=300)
    assert counts["refused"] > 250
    assert not ran


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_mutated_archives_are_read_or_refused(tmp_path: Path, mode: str) -> None:
    files = Cifar("cifar-10-python", size=1)
    path = files.pack(tmp_path, mode=mode)
    counts = outcomes(path, path.read_bytes(), lambda: CIFAR10(tmp_path, train=False), head=2000, rounds=300)
    assert counts["refused"] > 50
