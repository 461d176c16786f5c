"""What no file could give back is refused, before anything is at the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.convert.conftest import NAMES

from headrace import open_dataset
from headrace.convert import write_dataset
from headrace.errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from pathlib import Path


def _refused(samples: list[Any], path: Path, text: str) -> None:
    before = sorted(path.parent.iterdir())
    with pytest.raises((ArgumentError, ArgumentTypeError), match=text):
        write_dataset(samples, path)
    assert sorted(path.parent.iterdir()) == before


@pytest.mark.parametrize("name", ["../../../evil", "/tmp/evil", "a/b", "a\\b", ".hidden", "n" * 252, "ü" * 126, "a\0b"])  # noqa: S108
def test_names_of_npy_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    _refused(
        [{name: 1, "label": 2}] * 3, tmp_path / "a" / "b" / "out", "a field of format 'npy' is a file in the folder"
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_name_that_appears_later_stays_in_the_folder_too(tmp_path: Path) -> None:
    samples: list[Any] = [{"x": 1}] * 2500
    samples[700] = {"x": 1, "../evil": 2}
    _refused(samples, tmp_path / "out", "field .*evil")


def test_names_that_the_file_system_does_not_tell_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.formats.npy import writer as npy

    create = npy._create
    monkeypatch.setattr(npy, "_create", lambda path: create(path.with_name(path.name.lower())))
    _refused([{"A": 1, "a": 2}], tmp_path / "out", "does not tell their names apart")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 3), (0, 0)])
def test_parquet_takes_no_empty_arrays_of_several_axes(shape: tuple[int, ...], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    _refused([{"x": np.zeros(shape)}] * 2, tmp_path / "a.parquet", "field 'x' .* are empty")


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ([{"a": {"b": 1}, "a.b": 2}], "two fields of a sample would be called 'a.b'"),
        ([{"c": 1}, {1: 2, "1": 3}], "two fields of a sample would be called '1'"),
        ([{}], "a sample is an empty dict"),
        ([{"a": 1, "meta": {}}], "field 'meta' is an empty dict"),
        ([{"a": ()}], "field 'a' is an empty tuple"),
        ([{"a\ud800": 1}], "no Unicode"),
        ([{"a": [2**63, -1]}], "which no format stores"),
        ([{"a": [2**70]}], "which no format stores"),
        ([{"a": ["x\0", "y"]}], "which no format stores"),  # NumPy would cut the first one
    ],
)
def test_values_that_no_format_can_return_are_refused(form: str, samples: list[Any], text: str, tmp_path: Path) -> None:
    _refused(samples, tmp_path / NAMES[form], text)


def test_dtypes_that_a_header_does_not_tell(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    _refused([{"x": np.ones(3, ml_dtypes.bfloat16)}], tmp_path / "a", "a dtype that a .npy file cannot tell")


@pytest.mark.parametrize(
    "dtype", ["M8[ns]", "M8[D]", "m8[s]", ">f8", ">i2", "c8", "f2", "?", [("a", "i4"), ("b", "f8")]]
)
def test_dtypes_of_npy(dtype: Any, tmp_path: Path) -> None:
    samples = [{"x": np.zeros((2, 3), dtype), "y": np.zeros((), dtype)[()]}] * 3
    write_dataset(samples, tmp_path / "a")
    found = open_dataset(tmp_path / "a")[1]
    assert found["x"].dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(found["x"], samples[0]["x"])


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ([{"a/b": 1}], "field 'a/b' has a slash or a zero in its name"),
        ([{"a\0b": 1}], "field 'a.*b' has a slash or a zero in its name"),
        ([{"A": b"x", "a": b"y"}], r"two fields that would be files 000000000\.a\.bin"),
        ([{"a.BIN": b"x", "a": b"y"}], r"two fields that would be files 000000000\.a\.bin"),
        ([{"": 1, "json": 2}], r"two fields that would be files 000000000\.json"),
        ([{"__key__": "k", "txt": "1"}, {"__key__": "k", "txt": "2"}], "sample 1 has the same __key__"),
        ([{"__key__": "k", "txt": "1"}, {"__key__": "k", "cls": 2}], "sample 1 has the same __key__"),
        ([{"__key__": "v1.5/img.1", "txt": "1"}], "has no dots"),
        ([{"__key__": "", "txt": "1"}], "a name that is not empty"),
        ([{"__key__": "a/", "txt": "1"}], "a name that is not empty"),
        ([{"__key__": ".a", "txt": "1"}], "has no dots"),
        ([{"__key__": "a\0", "txt": "1"}], "has no dots"),
        ([{"__key__": "../a", "txt": "1"}], "outside of the folder"),
        ([{"__key__": "/a", "txt": "1"}], "outside of the folder"),
        ([{"__key__": 7, "txt": "1"}], "a key is a str"),
        ([{"__key__": "\ud800", "txt": "1"}], "no Unicode"),
        ([{"__key__": "a"}], "no value that would be a file"),
        ([{"x": 1}, {"x": None}], "sample 1 has no value that would be a file"),
        ([{f"f{number}": number} for number in range(4097)], "more fields, of different names"),
    ],
)
def test_samples_that_no_tar_gives_back(samples: list[Any], text: str, tmp_path: Path) -> None:
    _refused(samples, tmp_path / "a.tar", text)


@pytest.mark.parametrize("between", [1, 1023, 1024, 5000])
def test_a_key_twice_in_a_row_wherever_it_is(between: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.convert.write._MOST", 128)
    keys = [f"k{number}" for number in range(between)]
    samples = [{"__key__": key, "x": 1} for key in [*keys, keys[-1], "end"]]
    _refused(samples, tmp_path / "a.tar", f"sample {between} has the same __key__")


def test_a_key_twice_in_a_row_over_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.convert.write._MOST", 16)
    monkeypatch.setattr("headrace.convert.shards._SAMPLES_BETWEEN", 16)

    class Stopping(list[Any]):
        stops = True

        def __getitem__(self, index: Any) -> Any:
            if self.stops and index == 20:
                raise RuntimeError("stopped")
            return super().__getitem__(index)

    samples = Stopping({"__key__": f"k{number - (number == 16)}", "x": 1} for number in range(40))
    with pytest.raises(RuntimeError, match="stopped"):
        write_dataset(samples, tmp_path / "a.tar")
    samples.stops = False
    with pytest.raises(ArgumentError, match="sample 16 has the same __key__"):
        write_dataset(samples, tmp_path / "a.tar", resume=True)


def test_keys_that_are_given_back(tmp_path: Path) -> None:
    keys = ["a", "v1.5/a", "a b", "é" * 120, "x" * 300, "./a", "back\\slash", "line\nbreak", "a"]
    write_dataset([{"__key__": key, "txt": key} for key in keys], tmp_path / "a.tar")
    dataset = open_dataset(tmp_path / "a.tar")
    assert [dataset[index] for index in range(len(keys))] == [{"__key__": key, "txt": key} for key in keys]


def test_a_field_that_has_the_ending_of_an_image(tmp_path: Path) -> None:
    png = b"\x89PNG\r\n\x1a\n"
    for names in (["image", "png"], ["png", "image"]):
        write_dataset([dict.fromkeys(names, png)], tmp_path / "a.tar", overwrite=True)
        assert set(open_dataset(tmp_path / "a.tar", images=False)[0]) == {"__key__", "png", "image.png"}


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ([{"x": np.ones(2), "x/shape": 1}], "'x/shape' stands where a TFRecord file tells"),
        ([{"x": "a", "x/dtype": 1}], "'x/dtype' stands where"),
        ([{"x": 1}, {"x": 0.5}], "is a single float64 and a single int64"),
        ([{"x": 1}, {"x": np.ones(2)}], "is a single int64 and an array of float64|a single int64"),
        ([{"x": "a"}, {"x": b"a"}], "is a text and bytes"),
        ([{"x": 1, "y": np.ones(2)}, {"x": 1}], "does not tell from an empty one"),
        ([{"x": 1j}], "no feature holds complex128"),
        ([{"x": None}], "all its values are None"),
    ],
)
def test_samples_that_no_tfrecord_gives_back(samples: list[Any], text: str, tmp_path: Path) -> None:
    _refused(samples, tmp_path / "a.tfrecord", text)


@pytest.mark.parametrize(
    ("form", "one", "other"),
    [
        ("tfrecord", {"x": 1}, {"x": 0.5}),
        ("tfrecord", {"x": np.ones(2)}, {"x": None, "y": 1}),
        ("parquet", {"x": 1}, {"x": "a"}),
        ("parquet", {"x": 1}, {"x": 1, "y": 1}),
        ("npy", {"x": np.ones(2)}, {"x": np.ones(3)}),
        ("npy", {"x": 1}, {"x": 1, "y": 1}),
    ],
)
def test_shards_that_could_not_be_read_together(
    form: str, one: Any, other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("headrace.convert.write._MOST", 8)
    samples = [one] * 24 + [other] * 24 + [one] * 100  # those in the midst and at the end are looked at first of all
    with pytest.raises(ArgumentError, match=r"in the samples from 24 on, but .* in those before"):
        write_dataset(samples, tmp_path / NAMES[form], shard_samples=24)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"{NAMES[form]}.writing"]


def test_bits_of_float64_and_other_dtypes_in_tfrecord(tmp_path: Path) -> None:
    values = {
        "pi": np.pi,
        "big": np.array([1e300, -0.1]),
        "tiny": np.float16(0.1),
        "when": np.datetime64("2020-01-01", "ns"),
    }
    write_dataset([values], tmp_path / "a.tfrecord")
    found = open_dataset(tmp_path / "a.tfrecord")[0]
    for name, value in values.items():
        assert np.asarray(found[name]).dtype == np.asarray(value).dtype
        np.testing.assert_array_equal(found[name], value)


def test_lone_values_of_lmdb(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    pytest.importorskip("msgpack")
    write_dataset([1, 2, 3], tmp_path / "a.lmdb")
    assert [open_dataset(tmp_path / "a.lmdb")[index] for index in range(3)] == [{"data": 1}, {"data": 2}, {"data": 3}]
    write_dataset([{"x": np.float32(0.1)}], tmp_path / "b.lmdb")
    assert open_dataset(tmp_path / "b.lmdb")[0]["x"].dtype == np.float32
    _refused([{"x": np.zeros(2, [("a", "i4")])}], tmp_path / "c.lmdb", "no form in MessagePack")


def test_not_a_time_in_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    _refused([{"x": np.datetime64("NaT", "ns")}], tmp_path / "a.parquet", "holds NaT")


def test_bytes_of_lmdb_are_parsed_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lmdb")
    pytest.importorskip("msgpack")
    _refused([b"\x80", b"hello"], tmp_path / "a.lmdb", "dicts in MessagePack")
    monkeypatch.setattr("headrace.convert.write._MOST", 1)
    with pytest.raises(ArgumentError, match="the kind of the samples is dicts in MessagePack in the samples from 1 on"):
        write_dataset([b"hello", b"\x80", b"hello", b"hello"], tmp_path / "b.lmdb")
    write_dataset([b"\x89PNG\r\n\x1a\n"], tmp_path / "c.lmdb")
    assert open_dataset(tmp_path / "c.lmdb", images=False)[0] == b"\x89PNG\r\n\x1a\n"
