"""The kernels that scale and decode images, in NumPy; `headrace.kernels.reference` offers them with the others."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.kernels.exif import begins_frame, orientation, segments, without_exif
from headrace.kernels.images import Pixels, Scaling, Turn, check_decode, check_scale
from headrace.kernels.taps import taps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.kernels.images import Interpolation

__all__ = ["decode", "decodes", "has_libjpeg", "jpeg_headers", "scale", "show"]

decodes = has_libjpeg = False

# Weights are fixed-point numbers of this many bits behind the point: sums are exact, in whichever order.
_BITS = 22
_STRIP_BYTES = 1 << 18  # of rows that are scaled together: they stay in the cache, and their memory is used again


def scale(
    source: NDArray[np.uint8],
    indices: NDArray[np.int64],
    scaling: Scaling,
    pixels: Pixels,
    out: NDArray[Any],
    threads: int = 1,  # noqa: ARG001 - for kernels that have some
) -> None:
    """Scale a part of each image, then cut crop boxes out of these as `cut` does.

    Image indices[i] is turned, and what lies in the box is scaled to the size, first along its width,
    then along its height; a pixel of which the box has a part counts as a whole one. Weights have 22
    bits behind the point, and values are rounded after each of the two directions: where the box has
    no parts of pixels, each of them gives what Pillow gives, bit for bit.

    Args:
        source: The images, shape (n, H, W, C), uint8, in any layout of memory.
        indices: int64 of shape (m,), each in [0, n).
        scaling: How each of m images is scaled.
        pixels: What is shown of the scaled images, whose places lie in those, and what becomes of it.
        out: Array of shape (m, h, w, C) and the table's dtype, in any layout of memory.
        threads: How many threads of this process may be at work on images, those of all calls together;
            the calling one always is.

    Raises:
        OutOfRangeError: An index is outside [0, n); nothing is written then.
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape, a box or a place does not match.
        MemoryError: Memory is missing.

    >>> image = np.array([[[[0], [10], [20], [30]]]], np.uint8)
    >>> one = Scaling(np.zeros(1, np.int32), np.array([[0.0, 0, 1, 4]]), np.array([[1, 2]], np.int32))
    >>> place, table = np.array([[0, 0, 1, 1, 0, 1, 0, 2]], np.int32), np.arange(256, dtype=np.uint8)[None]
    >>> out = np.empty((1, 1, 2, 1), np.uint8)
    >>> scale(image, np.array([0]), one, Pixels(place, table, np.zeros(1, np.uint8)), out)
    >>> out.ravel().tolist()
    [7, 23]
    """
    check_scale(source, indices, scaling, pixels, out)
    for row, index in enumerate(indices.tolist()):
        image = _turned(source[index], int(scaling.turns[row]))
        filters = scaling.interpolation, scaling.antialias
        image = _scaled(image, scaling.boxes[row].tolist(), scaling.sizes[row].tolist(), filters)
        show(image, pixels.places[row].tolist(), pixels.table, pixels.fill, out[row], pixels.lines)


def show(
    image: NDArray[np.uint8],
    place: list[int],
    table: NDArray[Any],
    fill: NDArray[Any],
    out: NDArray[Any],
    lines: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None,
) -> None:
    """Do for one image as `cut` does.

    >>> out = np.empty((1, 2, 1), np.uint8)
    >>> show(np.array([[[7]]], np.uint8), [0, 0, 1, 1, 0, 1, 0, 1], np.arange(256)[None], np.zeros(1), out)
    >>> out.ravel().tolist()
    [7, 0]
    """
    y0, x0, down, right, top, bottom, left, end = place
    rows = y0 + down * np.arange(out.shape[0])
    columns = x0 + right * np.arange(out.shape[1])
    seen_rows = np.flatnonzero((rows >= top) & (rows < bottom))
    seen_columns = np.flatnonzero((columns >= left) & (columns < end))
    shown = rows[seen_rows], columns[seen_columns]
    crop = image[np.ix_(*shown) if lines is None else np.ix_(lines[0][shown[0]], lines[1][shown[1]])]
    out[...] = fill
    out[np.ix_(seen_rows, seen_columns)] = table[np.arange(len(table)), crop]


def _turned(image: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    if turn & Turn.TRANSPOSED:
        image = image.swapaxes(0, 1)
    if turn & Turn.ROWS_MIRRORED:
        image = image[::-1]
    return image[:, ::-1] if turn & Turn.COLUMNS_MIRRORED else image


class _FixedTaps(NamedTuple):
    """The pixels of a line that make up those of the scaled line, and their weights as fixed-point numbers."""

    places: NDArray[np.int64]  # (taps, size)
    weights: NDArray[np.int32]  # (taps, size)


@lru_cache(maxsize=256)
def _taps(low: float, high: float, size: int, interpolation: Interpolation, antialias: bool) -> _FixedTaps:  # noqa: FBT001
    places, weights = taps(low, high, size, interpolation, antialias)
    scaled = weights * (1 << _BITS)
    fixed = (scaled + np.where(scaled < 0, -0.5, 0.5)).astype(np.int32)
    fixed.flags.writeable = False  # the cache hands out the same ones again
    return _FixedTaps(places, fixed)


def _scaled(
    image: NDArray[np.uint8], box: list[float], size: list[int], filters: tuple[Interpolation, bool]
) -> NDArray[np.uint8]:
    top, left, bottom, right = box
    rows, columns = _taps(top, bottom, size[0], *filters), _taps(left, right, size[1], *filters)
    begin, end = int(rows.places[0, 0]), int(rows.places.max()) + 1
    # Columns are filtered as lines, which are contiguous: that is worth turning the image twice.
    lines = _filtered(image[begin:end].swapaxes(0, 1), columns).swapaxes(0, 1)
    return _filtered(lines, _FixedTaps(rows.places - begin, rows.weights))


def _filtered(lines: NDArray[np.uint8], taps: _FixedTaps) -> NDArray[np.uint8]:
    """Return weighted sums of lines, shape (lines, pixels, channels) to (size, pixels, channels)."""
    out = np.empty((taps.places.shape[1], *lines.shape[1:]), np.uint8)
    at_once = max(1, _STRIP_BYTES // (4 * max(1, out[0].size)))
    for start in range(0, len(out), at_once):
        some = slice(start, start + at_once)
        total = np.full(out[some].shape, 1 << (_BITS - 1), np.int32)
        for places, weights in zip(taps.places[:, some], taps.weights[:, some], strict=True):
            total += lines[places] * weights[:, np.newaxis, np.newaxis]
        np.copyto(out[some], np.clip(total >> _BITS, 0, 255), casting="unsafe")
    return out


# ---------------------------------------------------------------- JPEG


def jpeg_headers(files: Sequence[bytes]) -> NDArray[np.int32]:
    """Return what the headers of JPEG images say.

    Args:
        files: The encoded images, or as much of each as holds its header.

    Returns:
        int32 of shape (n, 4): height and width as stored, components, and the orientation, 1 to
        8; zeros where no such header is found.

    >>> jpeg_headers([b"no image"]).tolist()
    [[0, 0, 0, 0]]
    """
    return np.array([_header(data) for data in files], np.int32).reshape(-1, 4)


def _header(data: bytes) -> list[int]:
    frame = _frame(data) if data.startswith(b"\xff\xd8") else None
    return [*frame, orientation(*without_exif(data)[1:])] if frame and all(frame[:2]) else [0, 0, 0, 0]


def _frame(data: bytes) -> list[int] | None:
    """Return the height, width and components in the first frame before the pixels."""
    for marker, position, stop in segments(data):
        content = data[position + 4 : stop]
        if begins_frame(marker) and len(content) >= 6 and content[5]:
            return [int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big"), content[5]]
    return None


def decode(
    files: Sequence[bytes],
    headers: NDArray[np.int32],
    denominators: NDArray[np.int32],
    scaling: Scaling,
    pixels: Pixels,
    out: NDArray[Any],
    threads: int = 1,  # noqa: ARG001 - for kernels that have some
) -> list[tuple[int, str]]:
    """Decode JPEG images, of each no more than the part that is scaled and shown; then as `scale`.

    Args:
        files: The encoded images, n of them.
        headers: What `jpeg_headers` found in them.
        denominators: 1, 2, 4 or 8, int32 of shape (n,): each image is decoded at that part of its
            size, rounded up.
        scaling: How each of the images is scaled; boxes lie in the image of that size, turned.
        pixels: What is shown of the scaled images, and what becomes of it.
        out: Array of shape (n, h, w, C) and the table's dtype, C being 1 or 3, in any layout of memory.
        threads: How many threads of this process may be at work on images, those of all calls together;
            the calling one always is.

    Returns:
        The number of each image that could not be decoded, in ascending order, and why; its row of
        `out` may hold anything. Damage that only other parts of the image show is not noticed.
        Without a decoder, as here, that is all of them.

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape, a box or a place does not match.

    >>> decodes
    False
    """
    check_decode(files, headers, denominators, scaling, pixels, out)
    return [(number, "the NumPy kernels have no decoder") for number in range(len(files))]
