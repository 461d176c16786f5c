"""Chunks of litData that are compressed in batches of items: frames of zstd behind a table of them."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import CorruptDataError
from headrace.io.zstd import ZstdReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.io.source import ByteSource

__all__ = ["FRAMED", "FramedChunk"]

FRAMED = b"LDFZ01\0\0"
_HEAD = struct.Struct("<8sHHIII")  # magic, version, 0, items, items a frame, frames
_FRAME = np.dtype([("first", "<u4"), ("count", "<u4"), ("offset", "<u8"), ("packed", "<u4"), ("size", "<u4")])


class FramedChunk:
    """A chunk of frames, one of which is kept unpacked.

    Args:
        source: the file.
        count: how many items it has, says its index.

    Raises:
        CorruptDataError: it is not what it says.
    """

    def __init__(self, source: ByteSource, count: int) -> None:
        self._source = source
        try:
            magic, version, _, items, _, frames = _HEAD.unpack(source.read(0, _HEAD.size).tobytes())
            if magic != FRAMED or version != 1 or items != count:
                raise ValueError(f"version {version} with {items} items, where 1 with {count} are wanted")  # noqa: TRY301
            self._offsets = source.read(_HEAD.size, 4 * (items + 1)).view("<u4").astype(np.int64)
            table = source.read(_HEAD.size + 4 * (items + 1), frames * _FRAME.itemsize)
            self._frames: NDArray[np.void] = table.view(_FRAME)
            self._check()
        except (ValueError, struct.error, OSError) as error:
            raise CorruptDataError(f"{source.path} is damaged or cut short: {error}; get the file anew") from error
        self._kept: tuple[int, bytes] = (-1, b"")

    def items(self, rows: NDArray[np.int64]) -> list[bytes]:
        """Return the bytes of items."""
        return list(map(self._item, rows.tolist()))

    def _item(self, row: int) -> bytes:
        number = int(np.searchsorted(self._frames["first"], row, side="right")) - 1
        kept, content = self._kept
        if kept != number:
            content = self._unpack(number)
            self._kept = number, content
        begin = self._offsets[int(self._frames[number]["first"])]
        return content[self._offsets[row] - begin : self._offsets[row + 1] - begin]

    def _check(self) -> None:
        frames, size = self._frames, self._source.identity.size
        ends = frames["offset"] + frames["packed"]
        firsts = np.append(frames["first"], len(self._offsets) - 1).astype(np.int64)
        if (np.diff(firsts) != frames["count"]).any() or (firsts[0] != 0 if len(frames) else len(self._offsets) > 1):
            raise ValueError("its frames do not hold its items one after the other")
        if (ends > size).any() or (np.diff(self._offsets) < 0).any():
            raise ValueError("its frames, or its items, lie beyond its end")
        if (self._offsets[firsts[1:]] - self._offsets[firsts[:-1]] != frames["size"]).any():
            raise ValueError("the sizes of its frames are not those of their items")

    def _unpack(self, number: int) -> bytes:
        frame = self._frames[number]
        packed = self._source.read(int(frame["offset"]), int(frame["packed"])).tobytes()
        size = int(frame["size"])
        try:
            content = ZstdReader(io.BytesIO(packed)).read(size + 1)
        except (OSError, EOFError) as error:
            raise CorruptDataError(f"{self._source.path}, frame {number} is damaged ({error}); get it anew") from error
        if len(content) != size:
            raise CorruptDataError(
                f"{self._source.path}, frame {number} holds other than the {size} bytes that are told; get it anew"
            )
        return content
