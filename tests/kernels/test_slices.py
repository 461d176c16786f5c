"""Records of files as bytes, held against slices of the files and a sum of each alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError
from headrace.kernels import native, reference
from headrace.kernels.scans import RECORD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.kernels import Kernels

TEXT = b"a headrace feeds the mill wheel"


def table(source: bytes, spans: list[tuple[int, int]]) -> NDArray[Any]:
    records = np.zeros(len(spans), RECORD)
    for record, (start, length) in zip(records, spans, strict=True):
        part = np.frombuffer(source[start : start + length], np.uint8)
        crc = reference.crc32c(part, np.zeros(1, np.int64), np.array([len(part)]))[0]
        record["offset"], record["length"], record["crc"] = start, length, crc
    return records


def prepared(kernels: Kernels, files: list[tuple[bytes, NDArray[Any]]]) -> Any:
    sources = [np.frombuffer(source, np.uint8) for source, _ in files]
    return kernels.prepare_slices(sources, [records for _, records in files])


def integers(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


@st.composite
def files_and_rows(draw: st.DrawFn) -> tuple[list[tuple[bytes, list[tuple[int, int]]]], list[tuple[int, int]]]:
    files = []
    for source in draw(st.lists(st.binary(max_size=3000), min_size=1, max_size=4)):
        starts = draw(st.lists(st.integers(0, len(source)), min_size=1, max_size=5))
        files.append((source, [(start, draw(st.integers(0, len(source) - start))) for start in starts]))
    places = [(which, row) for which, (_, spans) in enumerate(files) for row in range(len(spans))]
    return files, draw(st.lists(st.sampled_from(places), max_size=20))


@given(files_and_rows())
def test_like_slices(case: tuple[list[tuple[bytes, list[tuple[int, int]]]], list[tuple[int, int]]]) -> None:
    files, places = case
    expected = []
    for number, row in places:
        source, spans = files[number]
        start, length = spans[row]
        expected.append(source[start : start + length])
    which, rows = np.array(places, np.int64).reshape(-1, 2).T
    for kernels in (reference, native.load()):
        if not isinstance(kernels, str):
            read = prepared(kernels, [(source, table(source, spans)) for source, spans in files])
            total = sum(map(len, expected))
            assert read(which, rows) == (expected, total, -1, 0)
            assert read(which, rows, verify=False) == (expected, total, -1, 0)


def test_the_first_wrong_record_is_told(kernels: Kernels) -> None:
    records = table(TEXT, [(0, 8), (2, 8), (10, 20)])
    right = int(records["crc"][1])
    records["crc"][1:] += 1
    read = prepared(kernels, [(TEXT, records)])
    found, nbytes, wrong, crc = read(integers(0, 0, 0, 0), integers(0, 1, 2, 1))
    assert (wrong, crc) == (1, right)
    assert read(integers(0, 0), integers(0, 1), verify=False) == ([TEXT[:8], TEXT[2:10]], 16, -1, 0)
    assert len(found) == 4
    assert nbytes == sum(map(len, found))


def test_records_have_no_other_owner(kernels: Kernels) -> None:
    found, *_ = prepared(kernels, [(TEXT, table(TEXT, [(0, 8)] * 2))])(integers(0, 0), integers(0, 1))
    first, second = found
    del found
    assert first is not second
    assert sys.getrefcount(first) == 2


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, -1), (30, 2), (0, 32), (2**62, 2**62), (32, 0)])
def test_a_record_outside_of_its_file(kernels: Kernels, offset: int, length: int) -> None:
    records = table(TEXT, [(0, 8), (0, 8)])
    records["offset"][1], records["length"][1] = offset, length
    message = rf"^record 1 is {length} bytes at {offset}, but its file has 31 bytes$"
    with pytest.raises(ArgumentError, match=message):
        prepared(kernels, [(TEXT, records)])(integers(0, 0), integers(0, 1))


def test_what_there_is_not(kernels: Kernels) -> None:
    read = prepared(kernels, [(TEXT, table(TEXT, [(0, 8)])), (TEXT, table(TEXT, [(0, 8)] * 3))])
    for which, row, message in [
        (0, 1, "Index 1 .* size 1"),
        (1, -1, "Index -1 .* size 3"),
        (2, 0, "Index 2 .* size 2"),
    ]:
        with pytest.raises(OutOfRangeError, match=f"^{message}$"):
            read(integers(1, which), integers(2, row))
    with pytest.raises(ArgumentError, match=r"^which and rows have 1 and 2 items, but one each a record is needed$"):
        read(integers(0), integers(0, 0))
    with pytest.raises(ArgumentTypeError, match="int64 is needed"):
        read(np.zeros(1), integers(0))
    with pytest.raises(ArgumentError, match="one each a file is needed"):
        kernels.prepare_slices([], [])
    with pytest.raises(ArgumentError, match=r"but RECORD of shape \(n,\) is needed"):
        kernels.prepare_slices([np.zeros(3, np.uint8)], [np.zeros(3)])
