"""Headers and files of the .npy format, written by NumPy and then damaged."""

from __future__ import annotations

import io
import os
import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.recfunctions import repack_fields

from headrace.errors import CorruptDataError, FileChangedError, StorageError
from headrace.formats.npy.reader import NpyFile, parse_array

if TYPE_CHECKING:
    from pathlib import Path

ARRAYS: dict[str, Any] = {
    "bytes": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "big-endian": np.arange(3).astype(">f8"),
    "structured": np.array([(1, "ab"), (2, "c")], [("x", "i4"), ("näme", "U2")]),
    "nested": np.zeros(2, [("a", [("b", "f4", (2, 3))]), ("c", "S3")]),
    "aligned": np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "times": np.arange(3).astype("M8[ms]"),
    "strings": np.array(["a", "bb"]),
    "Fortran order": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "single value": np.array(5),
    "no rows": np.zeros((0, 3)),
    "no elements": np.zeros((3, 0)),
    "void": np.zeros(3, "V5"),
    "half": np.ones(4, np.float16),
}


@pytest.mark.filterwarnings("ignore:Stored array in format 3.0:UserWarning")
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_what_numpy_writes_is_mapped(tmp_path: Path, array: Any) -> None:
    path = tmp_path / "array.npy"
    np.save(path, array)
    file = NpyFile(str(path))
    assert view(file).dtype == array.dtype
    assert view(file).shape == array.shape
    assert view(file).tobytes() == array.tobytes()
    assert view(file).flags.f_contiguous == np.load(path).flags.f_contiguous
    assert type(view(file)) is np.ndarray
    copy = pickle.loads(pickle.dumps(file))
    assert view(copy).tobytes() == array.tobytes()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions(tmp_path: Path, version: tuple[int, int]) -> None:
    path = tmp_path / "array.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.eye(3), version)
    assert view(NpyFile(str(path))).tolist() == np.eye(3).tolist()


def test_a_mapping_cannot_be_written_to(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.arange(3))
    with pytest.raises(ValueError, match="read-only"):
        view(NpyFile(str(tmp_path / "array.npy")))[0] = 1


def saved(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


WHOLE = saved(np.arange(12, dtype=np.int32).reshape(3, 4))


def opened(folder: Path, content: bytes) -> Any:
    path = folder / "array.npy"
    path.write_bytes(content)
    return view(NpyFile(str(path)))


def view(file: NpyFile) -> Any:
    found = file.view()
    assert found is not None
    return found


@pytest.mark.parametrize("length", [0, 1, 5, 6, 8, 9, 10, 50, 127, 128, 175])
def test_a_file_that_is_cut_short(tmp_path: Path, length: int) -> None:
    with pytest.raises(CorruptDataError, match=r"array\.npy"):
        opened(tmp_path, WHOLE[:length])


def test_missing_bytes_are_refused(tmp_path: Path) -> None:
    text = (
        "array.npy is cut short: its header tells of shape (3, 4) and dtype int32, which are 176 bytes with the "
        "header, but the file has 170; write it anew"
    )
    with pytest.raises(CorruptDataError, match=re.escape(text)):
        opened(tmp_path, WHOLE[:170])


def test_surplus_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptDataError, match=r"array\.npy has more in it than one array: .* 176 .* 352"):
        opened(tmp_path, WHOLE * 2)


LIES = {
    "another shape": (b"(3, 4)", b"(3, 5)"),
    "more than there is memory": (b"(3, 4), }" + b" " * 30, b"(4611686018427387904, 4611686018427387904), }"),
    "a negative shape": (b"(3, 4)", b"(-3,4)"),
    "a shape of bools": (b"(3, 4), ", b"(True,),"),
    "a list": (b"(3, 4)", b"[3, 4]"),
    "another dtype": (b"<i4", b"<i8"),
    "no dtype": (b"<i4", b"<q9"),
    "another key": (b"shape", b"shake"),
    "no dict": (b"{", b"["),
    "code": (b"(3, 4)", b"exit()"),
    "an order that is none": (b"False", b"Falsy"),
    "depth": (b"(3, 4)", b"((((((" * 1),
    "no bytes": (b"<i4", b"|V0"),
    "rows without bytes": (
        b"'<i4', 'fortran_order': False, 'shape': (3, 4)",
        b"'|S0', 'fortran_order': False, 'shape': (9, 9)",
    ),
    "no rows of more than there can be": (b"(3, 4), }" + b" " * 30, b"(0, 4611686018427387904, 4), }"),
    "more rows of nothing than there can be": (b"(3, 4), }" + b" " * 30, b"(9223372036854775808, 0), }"),
}


@pytest.mark.parametrize(("old", "new"), LIES.values(), ids=LIES)
def test_header_that_does_not_fit_the_file_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    header, body = WHOLE[:128], WHOLE[128:]
    assert old in header
    with pytest.raises(CorruptDataError, match=r"array\.npy"):
        opened(tmp_path, header.replace(old, new)[:128].ljust(128) + body)


def test_a_header_longer_than_allowed(tmp_path: Path) -> None:
    with pytest.raises(CorruptDataError, match="its header has 4294967295 bytes"):
        opened(tmp_path, b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + WHOLE)


@given(place=st.integers(0, 127), byte=st.integers(0, 255))
def test_a_byte_that_flips_gives_an_error_or_an_array(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    """Nothing else than a clean error, and no array that needs another number of bytes than there are."""
    content = bytearray(WHOLE)
    content[place] = byte
    try:
        array = opened(tmp_path_factory.mktemp("flipped"), bytes(content))
    except StorageError:
        return
    assert array.nbytes == 48


def test_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"array\.npy holds Python objects \(object\)") as caught:
        opened(tmp_path, saved(np.array([1, "a"], object)))
    assert not isinstance(caught.value, CorruptDataError)
    with pytest.raises(StorageError, match="holds Python objects"):
        opened(tmp_path, saved(np.zeros(2, [("a", "i4"), ("b", "O")])))


def test_a_file_that_changes(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    np.save(path, np.arange(1000))
    file = NpyFile(str(path))
    assert view(file)[999] == 999
    os.truncate(path, 500)
    with pytest.raises(FileChangedError, match=r"array\.npy has changed"):
        file.view()
    path.unlink()
    with pytest.raises(FileChangedError, match=r"array\.npy is gone"):
        file.view()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        NpyFile(str(tmp_path / "array.npy"))


@pytest.mark.parametrize("shape", [(1,) * 70, (0, 2**62, 2**62), (2**64, 0)], ids=["dimensions", "size", "length"])
def test_shapes_that_no_array_has(tmp_path: Path, shape: tuple[int, ...]) -> None:
    text = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).encode()
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(1 if 0 not in shape else 0)
    with pytest.raises(CorruptDataError, match="its header is damaged"):
        opened(tmp_path, content)
    with pytest.raises(CorruptDataError, match=r"x\.npy: its header is damaged"):
        parse_array(content, "x.npy")


@pytest.mark.filterwarnings("ignore:Stored array in format 3.0:UserWarning")
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_of_bytes_in_memory(array: Any) -> None:
    found = parse_array(saved(array), "a.npy")
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    # without padding, in which NumPy writes whatever was there
    found_packed, packed = (repack_fields(each, recurse=True) for each in (found, array))
    assert found_packed.tobytes() == packed.tobytes()
    assert found.flags.writeable
    with pytest.raises(StorageError):
        parse_array(saved(array)[:-1], "a.npy")
