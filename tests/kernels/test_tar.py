"""The scan of a tar against Python's own tarfile, and both implementations against each other."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError
from headrace.kernels import native, reference
from headrace.kernels.scans import TarScan

if TYPE_CHECKING:
    from headrace.kernels import Kernels

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def archive(files: list[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT, **options: Any) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form, **options) as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


Sample = tuple[str, dict[str, bytes]]


def scanned(
    kernels: Kernels, data: bytes, capacity: int = 100, key_room: int = 10_000
) -> tuple[list[Sample], int, int]:
    """The samples, what ended the scan, and where; taken in parts of `capacity` members."""
    content = np.frombuffer(data, np.uint8)
    scan = TarScan(capacity, key_room)
    samples: list[Sample] = []
    while True:
        ended = kernels.scan_tar(content, scan)
        found = scan.take()
        names, keys, firsts = scan.endings(), iter(found.key_texts()), set(found.firsts.tolist())
        for number, (start, length, crc, field) in enumerate(found.records.tolist()):
            assert crc == 0
            if number in firsts:
                samples.append((next(keys), {}))
            samples[-1][1][names[field].decode()] = data[start : start + length]
        if ended != 1 or not len(found.records):
            return samples, ended, scan.position


def by_tarfile(data: bytes) -> list[Sample]:
    """As webdataset groups them."""
    samples: list[Sample] = []
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            folder, slash, base = member.name.rpartition("/")
            stem, dot, ending = base.partition(".")
            if not member.isreg() or not stem or not dot:
                continue
            if not samples or samples[-1][0] != folder + slash + stem:
                samples.append((folder + slash + stem, {}))
            file = tar.extractfile(member)
            assert file is not None
            samples[-1][1][ending.lower()] = file.read()
    return samples


PARTS = st.text(st.characters(codec="utf-8", exclude_characters="/\0.", exclude_categories=["Cs"]), max_size=60)


@given(
    files=st.lists(
        st.tuples(st.lists(PARTS, min_size=1, max_size=4), PARTS, st.integers(0, 3), st.binary(max_size=1200)),
        max_size=8,
    ),
    form=st.sampled_from(FORMATS),
    capacity=st.integers(1, 5),
)
def test_finds_what_tarfile_finds(files: list[tuple[Any, ...]], form: int, capacity: int) -> None:
    entries = []
    for number, (folders, stem, ending, data) in enumerate(files):
        name = "/".join([*folders, f"{stem}{number // 2}.{number % 2}{'.JPG' * ending}"]).strip("/")
        if form != tarfile.USTAR_FORMAT or len(name.encode()) < 100:
            entries.append((name, data))
    content = archive(entries, form)
    expected = by_tarfile(content)
    for kernels in (reference, native.load()):
        if not isinstance(kernels, str):
            assert scanned(kernels, content, capacity)[:2] == (expected, 0)


@pytest.mark.parametrize("form", FORMATS)
def test_long_names(kernels: Kernels, form: int) -> None:
    names = ["a" * 90 + ".txt", "d/" * 40 + "é" * 20 + ".txt"]
    if form != tarfile.USTAR_FORMAT:
        names += ["b" * 300 + ".txt", "f/" * 500 + "ü.txt"]
    content = archive([(name, name.encode()) for name in names], form)
    assert scanned(kernels, content)[0] == [(name[:-4], {"txt": name.encode()}) for name in names]


def test_what_is_no_file_is_passed_over(kernels: Kernels) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", pax_headers={"comment": "of all of it"}) as tar:
        for name, kind in {"a.dir": tarfile.DIRTYPE, "a.link": tarfile.SYMTYPE, "a.hard": tarfile.LNKTYPE}.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "b" * 200
            tar.addfile(member)
        for name in ("a.txt", "README", ".hidden", "x/.hidden.txt", "a.bin"):
            tar.addfile(tarfile.TarInfo(name))
    samples, ended, _ = scanned(kernels, content.getvalue())
    assert samples == [("a", {"txt": b"", "bin": b""})]
    assert ended == 0


def test_a_sample_that_comes_back_is_another_one(kernels: Kernels) -> None:
    content = archive([("a.x", b"1"), ("b.x", b"2"), ("a.x", b"3")])
    assert scanned(kernels, content)[0] == [("a", {"x": b"1"}), ("b", {"x": b"2"}), ("a", {"x": b"3"})]


@pytest.mark.parametrize("capacity", [1, 2, 100])
def test_one_field_twice(kernels: Kernels, capacity: int) -> None:
    content = archive([("a.x", b"1"), ("a.y", b"2"), ("a.X", b"3")])
    assert scanned(kernels, content, capacity)[1:] == (7, 2048)


def test_sizes_beyond_what_octal_digits_say(kernels: Kernels) -> None:
    """Of the header alone: the data need not be there to see that they are not."""
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        member = tarfile.TarInfo("a.bin")
        member.size = 9 * 2**30
        header = member.tobuf(form)
        assert scanned(kernels, header + bytes(1024))[1:] == (2, 0)


def test_a_member_of_three_gigabytes(kernels: Kernels) -> None:
    """In memory of which only the pages that are touched take any."""
    content, at = np.zeros(3 * 2**30 + 10_000, np.uint8), 0
    for name, size in {"a.x": 1, "b.x": 3 * 2**30, "c.x": 1}.items():
        member = tarfile.TarInfo(name)
        member.size = size
        content[at : at + 512] = np.frombuffer(member.tobuf(), np.uint8)
        at += 512 + -(-size // 512) * 512
    scan = TarScan(10, 100)
    assert kernels.scan_tar(content, scan) == 0
    assert scan.take().records.tolist() == [(512, 1, 0, 0), (1536, 3 * 2**30, 0, 0), (2048 + 3 * 2**30, 1, 0, 0)]


def test_sparse_files_are_refused(kernels: Kernels) -> None:
    member = tarfile.TarInfo("a.bin")
    member.type = tarfile.GNUTYPE_SPARSE
    assert scanned(kernels, member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))[1:] == (6, 0)
    member = tarfile.TarInfo("a.bin")
    member.pax_headers = {"GNU.sparse.major": "1"}
    assert scanned(kernels, member.tobuf(tarfile.PAX_FORMAT) + bytes(1024))[1:] == (6, 0)


@pytest.mark.parametrize(
    ("place", "value", "problem"), [(0, b"z", 3), (124, b"9", 3), (148, b"x", 3), (156, b"5", 3), (300, b"\xff", 3)]
)
def test_a_damaged_header(kernels: Kernels, place: int, value: bytes, problem: int) -> None:
    content = bytearray(archive([("a.x", b"1"), ("b.x", b"2")]))
    content[1024 + place : 1024 + place + 1] = value
    samples, ended, position = scanned(kernels, bytes(content))
    assert (samples, ended, position) == ([("a", {"x": b"1"})], problem, 1024)


def test_a_size_that_is_none(kernels: Kernels) -> None:
    for digits in (b"0000000001x\0", b"\xff" * 12, b"\x80" + b"\xff" * 11):
        header = bytearray(tarfile.TarInfo("a.x").tobuf())
        header[124:136] = digits
        header[148:156] = b"%06o\0 " % sum(header[:148] + b" " * 8 + header[156:])
        assert scanned(kernels, bytes(header) + bytes(1024))[1:] == (4, 0)


@pytest.mark.parametrize("line", [b"x", b"5 a=", b"99 path=a\n", b"9 pathhh\n", b"15 size=1234x7\n", b"0 a=b\n"])
def test_an_extended_header_that_is_none(kernels: Kernels, line: bytes) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(line)
    content = header.tobuf() + line.ljust(512, b"\0") + archive([("a.x", b"1")])
    assert scanned(kernels, content)[1:] == (5, 0)


@pytest.mark.parametrize("cut", [1, 511, 512, 513, 1023, 1024])
def test_data_that_end_early(kernels: Kernels, cut: int) -> None:
    content = archive([("a.x", b"1" * 600), ("b.x", b"2" * 600)])[: 2 * 1536]
    samples, ended, position = scanned(kernels, content[:-cut])
    assert ended == 2
    if cut < 512 - 600 % 512:
        assert len(samples) == 2
    else:
        assert (len(samples), position) == (1, 1536)


def test_too_many_fields(kernels: Kernels) -> None:
    if kernels is reference:
        pytest.skip("it takes long, and is the same code")
    content = archive([(f"a.{number}", b"") for number in range(4097)], tarfile.USTAR_FORMAT)
    samples, ended, _ = scanned(kernels, content, capacity=10_000)
    assert ended == 8
    assert len(samples[0][1]) == 4096


def test_a_key_longer_than_there_is_room(kernels: Kernels) -> None:
    content = archive([("a.x", b""), ("b" * 50 + ".x", b"")])
    samples, ended, _ = scanned(kernels, content, key_room=20)
    assert (samples, ended) == ([("a", {"x": b""})], 1)


def test_arguments_are_checked(kernels: Kernels) -> None:
    scan = TarScan(1, 1)
    scan.position = 3
    with pytest.raises(ArgumentError, match="position is 3, but data has 2 bytes"):
        kernels.scan_tar(np.zeros(2, np.uint8), scan)
