"""The EXIF data of JPEG images: where they are, and which way up they say that the image is."""

from __future__ import annotations

import struct

__all__ = ["orientation", "without_exif"]

_ORIENTATION = 0x0112  # a tag of TIFF, and so of EXIF


def without_exif(data: bytes) -> tuple[bytes, bytes]:
    """A JPEG without its EXIF segments, and the content of the first of them, or nothing.

    >>> without_exif(b"no JPEG")
    (b'no JPEG', b'')
    """
    kept, first, done, position = [], b"", 0, 2
    while data[position : position + 1] == b"\xff":
        marker = data[position + 1 : position + 2]
        if marker == b"\xff":  # a byte of filling
            position += 1
            continue
        if marker in (b"", b"\xda", b"\xd9"):  # the pixels begin, or it ends
            break
        stop = position + 2 + max(int.from_bytes(data[position + 2 : position + 4], "big"), 2)
        if marker == b"\xe1" and data[position + 4 : position + 10] == b"Exif\0\0":
            first = first or data[position + 4 : stop]
            kept.append(data[done:position])
            done = stop
        position = stop
    return (b"".join([*kept, data[done:]]) if done else data), first


def orientation(exif: bytes) -> int:
    """The orientation in EXIF data, 1 to 8; 1, which is upright, where it says nothing that can be understood.

    >>> orientation(b"")
    1
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
            if tag == _ORIENTATION:
                if kind == 4:  # a long integer, as some programs write it
                    (value,) = struct.unpack_from(f"{order}I", exif, entry + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:  # the data end before they should
        pass
    return 1
