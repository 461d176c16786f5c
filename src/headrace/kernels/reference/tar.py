"""The scan of a tar in Python; `headrace.kernels.reference` offers it with the other kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from headrace.kernels.scans import check_data

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.kernels.scans import TarScan

__all__ = ["scan_tar"]

_BLOCK = 512
_DONE, _FULL, _CUT, _WRONG_SUM, _WRONG_NUMBER, _WRONG_PAX, _SPARSE, _REPEATED, _MANY = range(9)


class _Problem(Exception):  # noqa: N818 - it ends a scan and goes no further
    """The reason that ends a scan, by its number."""


class _Before(NamedTuple):
    """The headers that stand before a member, and hold for it alone."""

    name: bytes | None = None
    size: int = -1


def scan_tar(data: NDArray[np.uint8], scan: TarScan) -> int:
    """List the members of a tar that are files of a sample, from `scan.position` on.

    A sample is made of files that follow each other and whose names are the same up to the first dot after
    the last slash: the sample's key. What is behind the dot, in lower case, names the field.

    Args:
        data: The archive, or a part of it, uint8 of shape (n,).
        scan: How far the scan is, which is moved on.

    Returns:
        What ended it: 0 the end of the archive, 1 no room for more, 2 the end of the data. Else what is wrong
        with the member at `scan.position`: 3 its sum, 4 its size, 5 its extended header, 6 it is sparse,
        7 its sample has such a field already, 8 there are too many fields.

    Raises:
        ArgumentError: `data` is something else, or ends before `scan.position`.

    The formats: POSIX.1-2017, pax; and the GNU tar manual, "Basic Tar Format".
    """
    check_data(data, scan.position)
    content = memoryview(data)  # type: ignore[arg-type]
    before, at = _Before(), scan.position
    try:
        while True:
            header = bytes(content[at : at + _BLOCK])
            if len(header) < _BLOCK:
                return _CUT
            if not any(header):
                return _DONE
            is_member = header[156:157] not in (b"x", b"g", b"L", b"K")
            at, before = _take(content, at, header, before, scan)
            if is_member:
                before, scan.position = _Before(), at
    except _Problem as problem:
        return int(problem.args[0])


def _take(content: memoryview, at: int, header: bytes, before: _Before, scan: TarScan) -> tuple[int, _Before]:
    """Return the position behind a header and its data, and what is known of the member that follows."""
    _check_sum(header)
    kind = header[156:157]
    extends = kind in (b"x", b"g", b"L", b"K")
    length = before.size if before.size >= 0 and not extends else _number(header[124:136])
    if length < 0:
        raise _Problem(_WRONG_NUMBER)
    if b"1" <= kind <= b"6":
        length = 0
    offset = at + _BLOCK
    if length > len(content) - offset:
        raise _Problem(_CUT)
    if kind == b"L":
        before = before._replace(name=bytes(content[offset : offset + length]).partition(b"\0")[0])
    elif kind == b"x":
        before = _read_pax(bytes(content[offset : offset + length]), before)
    elif kind == b"S":
        raise _Problem(_SPARSE)
    elif kind in (b"0", b"\0", b"7"):
        _add_member(scan, _name(header) if before.name is None else before.name, offset, length)
    return offset + -(-length // _BLOCK) * _BLOCK, before  # which may be behind the end of these data


def _check_sum(header: bytes) -> None:
    blank = header[:148] + b" " * 8 + header[156:]
    plain = sum(blank)
    if _number(header[148:156]) not in (plain, plain - 256 * sum(byte > 127 for byte in blank)):
        raise _Problem(_WRONG_SUM)


def _number(digits: bytes) -> int:
    if digits[0] == 0x80:
        value = int.from_bytes(digits[1:], "big")
        return value if value < 1 << 62 else -1
    text = digits.lstrip(b" ")
    octal = text[: len(text) - len(text.lstrip(b"01234567"))]
    return -1 if text[len(octal) :].strip(b" \0") else int(octal or b"0", 8)


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _read_pax(lines: bytes, before: _Before) -> _Before:
    at = 0
    while at < len(lines) and lines[at]:
        digits = len(lines[at:]) - len(lines[at:].lstrip(b"0123456789"))
        length = _decimal(lines[at : at + digits])
        line = lines[at : at + max(length, 0)]
        key, equals, value = line[digits + 1 : -1].partition(b"=")
        fits = digits + 3 <= length <= len(lines) - at and line[digits : digits + 1] == b" " and line.endswith(b"\n")
        if not fits or not equals:
            raise _Problem(_WRONG_PAX)
        before = _apply_pax(key, value, before)
        at += length
    return before


def _apply_pax(key: bytes, value: bytes, before: _Before) -> _Before:
    if key == b"path":
        return before._replace(name=value.partition(b"\0")[0])
    if key == b"size":
        size = _decimal(value)
        if size < 0:
            raise _Problem(_WRONG_PAX)
        return before._replace(size=size)
    if key.startswith(b"GNU.sparse.") and len(key) > 11:
        raise _Problem(_SPARSE)
    return before


def _decimal(digits: bytes) -> int:
    return int(digits) if 0 < len(digits) <= 18 and not digits.strip(b"0123456789") else -1


def _add_member(scan: TarScan, name: bytes, offset: int, length: int) -> None:
    folder, slash, base = name.rpartition(b"/")
    stem, dot, ending = base.partition(b".")
    if not stem or not dot:
        scan.skipped += 1
        return
    key = folder + slash + stem
    is_new = (
        not scan.samples or scan.key_text[slice(*scan.key_bounds[scan.samples - 1 : scan.samples + 1])].tobytes() != key
    )
    start = int(scan.key_bounds[scan.samples])
    if scan.members == scan.capacity or (is_new and len(key) > scan.key_room - start):
        raise _Problem(_FULL)
    field = _field(scan, ending.lower())
    if is_new:
        scan.key_text[start : start + len(key)] = list(key)
        scan.firsts[scan.samples] = scan.members
        scan.samples += 1
        scan.sample += 1
        scan.key_bounds[scan.samples] = start + len(key)
    elif scan.last_sample[field] == scan.sample:
        raise _Problem(_REPEATED)
    scan.last_sample[field] = scan.sample
    scan.out[scan.members] = (offset, length, 0, field)
    scan.members += 1


def _field(scan: TarScan, ending: bytes) -> int:
    endings = scan.endings()
    if ending in endings:
        return endings.index(ending)
    start = int(scan.field_bounds[scan.fields])
    if scan.fields == len(scan.last_sample) or len(ending) > len(scan.field_text) - start:
        raise _Problem(_MANY)
    scan.field_text[start : start + len(ending)] = list(ending)
    scan.field_bounds[scan.fields + 1] = start + len(ending)
    scan.last_sample[scan.fields] = -1
    scan.fields += 1
    return scan.fields - 1
