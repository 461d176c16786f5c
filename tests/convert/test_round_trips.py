"""From each format to each other one, and from the original files of image sets."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.convert.conftest import NAMES, Words

from headrace import LMDBDataset, open_dataset
from headrace.convert import write_dataset
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 50
RICH = [name for name in NAMES if name != "npy"]  # what holds bytes and texts


def samples() -> list[dict[str, Any]]:
    """Samples of arrays and numbers, which every format holds."""
    rng = np.random.default_rng(0)
    return [
        {"image": rng.integers(0, 256, (5, 4), np.uint8), "score": index / 4, "label": index, "vector": rng.random(3)}
        for index in range(COUNT)
    ]


def _plain(value: Any) -> Any:
    """A value without what a format does not keep: the dtype, and the digits beyond 32 bits."""
    return np.asarray(value, np.float32).tolist() if isinstance(value, np.ndarray | np.generic | float) else value


def _check(found: Any, expected: list[dict[str, Any]], names: dict[str, str]) -> None:
    assert len(found) == len(expected)
    for sample, wanted in zip([found[index] for index in range(len(expected))], expected, strict=True):
        values = {names.get(name, name): _plain(value) for name, value in sample.items() if name != "__key__"}
        assert values == {name: _plain(value) for name, value in wanted.items()}


# What fields are called by a tar, which names files by what is in them.
IN_TAR = {"png": "image", "cls": "label", "score.json": "score", "vector.npy": "vector"}
IN_TAR |= {"word.bin": "word", "length.json": "length", "text.txt": "text", "text": "text"}


@pytest.mark.parametrize("first", list(NAMES))
@pytest.mark.parametrize("second", list(NAMES))
def test_numbers_and_arrays(first: str, second: str, tmp_path: Path) -> None:
    for library in ("PIL", "lmdb", "msgpack", "pyarrow"):
        pytest.importorskip(library)
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    write_dataset(samples(), tmp_path / "1" / NAMES[first])
    between = open_dataset(tmp_path / "1" / NAMES[first], images=first == "tar")
    names = {}
    if first == "tar":  # a PNG is decoded to RGB, of three equal channels
        between = between.map(lambda image: image[:, :, 0], field="png")
        names = IN_TAR
    write_dataset(between.map(_without_key), tmp_path / "2" / NAMES[second])
    found = open_dataset(tmp_path / "2" / NAMES[second])
    if second == "tar" and first != "tar":
        found = found.map(lambda image: image[:, :, 0], field="png")
    _check(found, samples(), {**names, **{f"{name}.npy": new for name, new in names.items()}, **IN_TAR})


def _without_key(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if name != "__key__"}


@pytest.mark.parametrize("first", RICH)
@pytest.mark.parametrize("second", RICH)
def test_bytes_and_texts(first: str, second: str, tmp_path: Path) -> None:
    for library in ("lmdb", "msgpack", "pyarrow"):
        pytest.importorskip(library)
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    write_dataset(Words(), tmp_path / "1" / NAMES[first])
    write_dataset(open_dataset(tmp_path / "1" / NAMES[first]), tmp_path / "2" / NAMES[second])
    found = open_dataset(tmp_path / "2" / NAMES[second])
    expected = [Words()[index] for index in range(200)]
    if "tfrecord" in (first, second):  # which does not tell texts from bytes
        expected = [sample | {"text": sample["text"].encode()} for sample in expected]
        found = found.map(lambda text: text if isinstance(text, bytes) else text.encode(), field=_name_of_text(found))
    _check(found, expected, IN_TAR | {"text.bin": "text", "text.txt": "text"})


def _name_of_text(dataset: Any) -> str:
    return str(next(name for name in dataset[0] if name.startswith("text")))


def test_mnist(form: str, tmp_path: Path) -> None:
    root = tmp_path / "mnist"
    root.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28), np.uint8)
    header = bytes([0, 0, 8, 3]) + np.array(images.shape, ">i4").tobytes()
    (root / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
    labels = bytes([0, 0, 8, 1]) + np.array([COUNT], ">i4").tobytes() + bytes(index % 10 for index in range(COUNT))
    (root / "train-labels-idx1-ubyte").write_bytes(labels)
    write_dataset(open_dataset(root), tmp_path / NAMES[form])
    found = open_dataset(tmp_path / NAMES[form])
    image, label = ("png", "cls") if form == "tar" else ("image", "label")
    for index in range(COUNT):
        pixels = found[index][image][:, :, 0] if form == "tar" else found[index][image]
        np.testing.assert_array_equal(pixels, images[index])
        assert found[index][label] == index % 10


def test_a_folder_of_images(form: str, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            image.new("RGB", (9, 7 + number), (80 * number, 1, 2)).save(tmp_path / "photos" / name / f"{number}.jpg")
    photos = open_dataset(tmp_path / "photos")
    if form == "npy":
        with pytest.raises(ArgumentError, match="field 'image' holds bytes"):
            write_dataset(photos, tmp_path / "a")
        return
    write_dataset(photos, tmp_path / NAMES[form])
    field = "jpg" if form == "tar" else "image"
    encoded, decoded = (open_dataset(tmp_path / NAMES[form], images=images) for images in (False, True))
    assert encoded[4][field] == (tmp_path / "photos" / "dog" / "1.jpg").read_bytes()
    np.testing.assert_array_equal(decoded[4][field], photos[4][0])
    assert encoded[4]["cls" if form == "tar" else "label"] == 1


def test_lmdb_by_name(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    pytest.importorskip("msgpack")
    write_dataset(Words(), tmp_path / "a.lmdb")
    assert LMDBDataset(tmp_path / "a.lmdb", decode="msgpack")[7] == Words()[7]


def test_shards_are_opened_together(form: str, tmp_path: Path) -> None:
    write_dataset(samples(), tmp_path / "a", format=form, shard_samples=20)
    assert len(open_dataset(tmp_path / "a")) == COUNT


def test_tar_to_tar_changes_no_file(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    write_dataset(samples(), tmp_path / "a.tar")
    write_dataset(open_dataset(tmp_path / "a.tar", images=False, fields=False), tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("name", ["a.zip", "folder"])
def test_what_cannot_be_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.zip").write_text("")
    with pytest.raises(ArgumentError, match=r"it cannot be told what .* is"):
        open_dataset(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        open_dataset(tmp_path / "nothing")


@pytest.mark.parametrize("form", RICH)
def test_a_folder_of_shards_is_opened_again_and_again(form: str, tmp_path: Path) -> None:
    for library in ("PIL", "lmdb", "msgpack", "pyarrow"):
        pytest.importorskip(library)
    write_dataset(samples(), tmp_path / "a", format=form, shard_samples=20)
    for _ in range(3):  # the first time, indexes are kept in the folder
        assert len(open_dataset(tmp_path / "a")) == COUNT
