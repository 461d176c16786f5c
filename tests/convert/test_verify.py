from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.convert.conftest import NAMES, Words, digits

from headrace import open_dataset
from headrace.convert import write_dataset
from headrace.convert.verify import verify
from headrace.errors import CorruptDataError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("workers", "backend"), [(0, "auto"), (2, "thread"), (2, "process")])
def test_all_good(form: str, workers: int, backend: Any, tmp_path: Path) -> None:
    write_dataset(digits(), tmp_path / NAMES[form], fields=["image", "label"])
    found = verify(str(tmp_path / NAMES[form]), workers=workers, backend=backend)
    assert (found.samples, found.bad) == (300, [])
    assert found.bytes > 0


def _damage(path: Path, what: bytes, by: bytes) -> None:
    content = path.read_bytes()
    assert content.count(what) == 1
    path.write_bytes(content.replace(what, by))


def test_a_flipped_bit_in_a_tfrecord(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    write_dataset(Words(), path)
    _damage(path, b"\xc3\xa9113", b"\xc3\xa9???")
    found = verify(str(path))
    assert [bad.index for bad in found.bad] == [113]
    assert str(path) in found.bad[0].where
    assert "CRC32C" in found.bad[0].reason
    assert found.good is not None
    write_dataset(found.good, tmp_path / "good.tfrecord")
    expected = [index for index in range(200) if index != 113]
    assert [sample["length"] for sample in _all(tmp_path / "good.tfrecord")] == expected


def _all(path: Path) -> list[Any]:
    dataset = open_dataset(path)
    return [dataset[index] for index in range(len(dataset))]


def test_images_are_decoded(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for number in range(10):
        image.fromarray(noise).save(tmp_path / "photos" / "cat" / f"{number}.jpg")
    cut = tmp_path / "photos" / "cat" / "3.jpg"
    cut.write_bytes(cut.read_bytes()[:700])
    write_dataset(open_dataset(tmp_path / "photos"), tmp_path / "a.tar")
    (in_folder,) = verify(str(tmp_path / "photos")).bad
    assert (in_folder.index, in_folder.where) == (3, str(cut))
    assert "DecodeError: a JPEG image of 700 bytes is broken or truncated" in in_folder.reason
    (in_tar,) = verify(str(tmp_path / "a.tar"), workers=2).bad
    assert in_tar.index == 3
    assert "a.tar, key '000000003'" in in_tar.where


def test_fields_are_parsed(tmp_path: Path) -> None:
    write_dataset([{"label": f"{number}"} for number in range(5)], tmp_path / "a.tar")
    content = (tmp_path / "a.tar").read_bytes().replace(b"label", b"label")
    (tmp_path / "a.tar").write_bytes(content)
    assert verify(str(tmp_path / "a.tar")).bad == []
    write_dataset([{"x.cls": b"1"}, {"x.cls": b"one"}, {"x.cls": b"3"}], tmp_path / "b.tar")
    (bad,) = verify(str(tmp_path / "b.tar")).bad
    assert bad.index == 1
    assert "ValueError: invalid literal for int()" in bad.reason


def test_a_file_that_cannot_be_opened_hides_no_other(tmp_path: Path) -> None:
    write_dataset(Words(), tmp_path / "a.tfrecord", shard_samples=50)
    second = tmp_path / "a-00001.tfrecord"
    second.write_bytes(second.read_bytes()[:-1])
    found = verify(str(tmp_path / "a-*.tfrecord"))
    assert found.samples == 150
    assert [(bad.index, bad.where) for bad in found.bad] == [(None, str(second))]
    assert "cut short" in found.bad[0].reason


def test_file_without_good_records(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(b"nothing of the kind")
    found = verify(str(tmp_path / "a.tfrecord"))
    assert (found.samples, found.good, len(found.bad)) == (0, None, 1)


@pytest.mark.parametrize("lost", [1, 10, 3001])
def test_the_good_records_of_a_cut_tfrecord_are_saved(lost: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    write_dataset(Words(), path)
    path.write_bytes(path.read_bytes()[:-lost])
    found = verify(str(path), workers=2, backend="process")
    assert (found.samples, len(found.bad)) == (0, 1)
    assert 0 < found.saved < 200
    write_dataset(found.good, tmp_path / "good.tfrecord")  # type: ignore[arg-type]
    expected = [Words()[index] for index in range(found.saved)]
    assert [sample["length"] for sample in _all(tmp_path / "good.tfrecord")] == [each["length"] for each in expected]
    with pytest.raises(CorruptDataError, match="cut short"):
        open_dataset(path)  # the index of what is whole is not taken for that of the file


@pytest.mark.parametrize("whole", [2, 50, 99])
def test_the_good_samples_of_a_cut_tar_are_saved(whole: int, tmp_path: Path) -> None:
    write_dataset(Words(), tmp_path / "a.tar", shard_samples=100)
    second = tmp_path / "a-00001.tar"
    # A header and a block for each of three files; the second of them is cut, and the first is of no use alone.
    second.write_bytes(second.read_bytes()[: whole * 3072 + 1024 + 200])
    found = verify(str(tmp_path / "a-*.tar"))
    assert (found.samples, len(found.bad)) == (100, 1)
    assert found.saved == whole
    write_dataset(found.good, tmp_path / "good.tar")  # type: ignore[arg-type]
    saved = _all(tmp_path / "good.tar")
    assert [sample["length.json"] for sample in saved] == list(range(100 + found.saved))
    assert all(sample.keys() == {"__key__", "word.bin", "length.json", "text"} for sample in saved)


def test_zlib_is_named(tmp_path: Path) -> None:
    write_dataset(Words(), tmp_path / "a.tfrecord")
    (tmp_path / "b.tfrecord").write_bytes(zlib.compress((tmp_path / "a.tfrecord").read_bytes()))
    (bad,) = verify(str(tmp_path / "b.tfrecord")).bad
    assert "is compressed with zlib" in bad.reason
