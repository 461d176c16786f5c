"""The segments of JPEG images, and which way up EXIF and XMP data say that an image is."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["begins_frame", "is_lossless", "orientation", "segments", "without_exif"]

_FILLING, _PIXELS, _END, _APP1 = 0xFF, 0xDA, 0xD9, 0xE1  # markers

_ORIENTATION = 0x0112  # a tag of TIFF, and so of EXIF
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the segments of a JPEG before its pixels, each as its marker, where it begins and where it ends.

    >>> list(segments(b"no JPEG"))
    []
    """
    position = 2
    while data[position : position + 1] == b"\xff":
        marker = data[position + 1] if position + 1 < len(data) else _END
        if marker == _FILLING:
            position += 1
            continue
        if marker in (_PIXELS, _END):
            return
        stop = position + 2 + max(int.from_bytes(data[position + 2 : position + 4], "big"), 2)
        yield marker, position, stop
        position = stop


def begins_frame(marker: int) -> bool:
    """Return whether a segment says how the image is encoded, and how large it is.

    >>> begins_frame(0xC4), begins_frame(0xC3)
    (False, True)
    """
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def is_lossless(data: bytes) -> bool:
    r"""Return whether a JPEG keeps differences of pixels, as ITU-T T.81 has it in annex H, and no parts of its size.

    >>> is_lossless(b"\xff\xd8\xff\xc3\0\2"), is_lossless(b"\xff\xd8\xff\xc0\0\2")
    (True, False)
    """
    return any(begins_frame(marker) and marker & 3 == 3 for marker, _, _ in segments(data))


def without_exif(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a JPEG without its EXIF segments, what the first of them holds, and what the last one of XMP does.

    >>> without_exif(b"no JPEG")
    (b'no JPEG', b'', b'')
    """
    kept, first, xmp, done = [], b"", b"", 0
    for marker, position, stop in segments(data):
        if marker == _APP1 and data.startswith(_EXIF, position + 4, stop):
            first = first or data[position + 4 : stop]
            kept.append(data[done:position])
            done = stop
        elif marker == _APP1 and data.startswith(_XMP, position + 4, stop):
            xmp = data[position + 4 + len(_XMP) : stop]
    return (b"".join([*kept, data[done:]]) if done else data), first, xmp


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Return the orientation, 1 to 8; 1, which is upright, where neither says anything that can be understood.

    As Pillow reads it: XMP counts where EXIF does not name an orientation.

    >>> orientation(b"", b'<rdf:Description tiff:Orientation="6"/>')
    6
    """
    value = _exif_orientation(exif)
    if value is None:
        found = _XMP_ORIENTATION.search(xmp)
        value = int(found[1]) if found else 1
    return value if 1 <= value <= 8 else 1


def _exif_orientation(exif: bytes) -> int | None:
    """Return the tag of the orientation; None where there is none that can be understood."""
    exif = exif.removeprefix(_EXIF).removeprefix(_EXIF)  # some programs write the prefix twice
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
            if tag == _ORIENTATION:
                if kind == 4:  # a long integer, as some programs write it
                    (value,) = struct.unpack_from(f"{order}I", exif, entry + 8)
                return int(value)
    except struct.error:  # the data end before they should
        pass
    return None
