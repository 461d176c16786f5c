"""What no file could give back is refused, before anything is at the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.packing.conftest import NAMES

from headrace import open_dataset
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.packing import pack

if TYPE_CHECKING:
    from pathlib import Path


def _refused(samples: list[Any], path: Path, text: str) -> None:
    before = sorted(path.parent.iterdir())
    with pytest.raises((ArgumentError, ArgumentTypeError), match=text):
        pack(samples, path)
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
    from headrace.storage.writers import npy

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
    ],
)
def test_samples_that_no_format_gives_back(form: str, samples: list[Any], text: str, tmp_path: Path) -> None:
    _refused(samples, tmp_path / NAMES[form], text)


def test_dtypes_that_a_header_does_not_tell(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    _refused([{"x": np.ones(3, ml_dtypes.bfloat16)}], tmp_path / "a", "a dtype that a .npy file cannot tell")


@pytest.mark.parametrize(
    "dtype", ["M8[ns]", "M8[D]", "m8[s]", ">f8", ">i2", "c8", "f2", "?", [("a", "i4"), ("b", "f8")]]
)
def test_dtypes_of_npy(dtype: Any, tmp_path: Path) -> None:
    samples = [{"x": np.zeros((2, 3), dtype), "y": np.zeros((), dtype)[()]}] * 3
    pack(samples, tmp_path / "a")
    found = open_dataset(tmp_path / "a")[1]
    assert found["x"].dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(found["x"], samples[0]["x"])
