"""The index of Megatron-LM's token files: `PREFIX.idx`, which says where each sequence lies in `PREFIX.bin`.

The layout is that of `megatron.core.datasets.indexed_dataset`: a header of 34 bytes, then lengths, places, bounds of
documents, and for several modalities a mode a sequence. Nothing in it is aligned.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import CorruptDataError, HeadraceWarning, StorageError
from headrace.io.source import open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MegatronIndex"]

_MAGIC = b"MMIDIDX\0\0"
_HEADER = np.dtype([("magic", "S9"), ("version", "<u8"), ("code", "u1"), ("sequences", "<u8"), ("documents", "<u8")])
_CODES = {1: "|u1", 2: "|i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}
_AT_ONCE = 1 << 20  # sequences that are checked at a time


class MegatronIndex:
    """The places of the sequences of a `.bin`.

    Args:
        path: of the `.idx`.
        size: of the `.bin`, in bytes.

    Attributes:
        path: of the `.idx`.
        dtype: of the tokens.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptDataError: it is no such index, or does not fit the `.bin`.
        StorageError: the tokens are no integers.
    """

    def __init__(self, path: str, size: int) -> None:
        self._source = open_source(path)
        self.path = self._source.path
        self._content: NDArray[np.uint8] | None = None
        self.dtype, self._sequences, self._documents = self._read_header()
        self._check(size)

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the content, which another process maps or reads again."""
        return vars(self) | {"_content": None}

    def __len__(self) -> int:
        return self._sequences

    @property
    def lengths(self) -> NDArray[np.int32]:
        """The tokens of each sequence, int32 of shape (n,); not aligned."""
        return self._table(0, "<i4", self._sequences)

    @property
    def pointers(self) -> NDArray[np.int64]:
        """The byte of the `.bin` at which each sequence begins, int64 of shape (n,); not aligned."""
        return self._table(4 * self._sequences, "<i8", self._sequences)

    @property
    def documents(self) -> NDArray[np.int64]:
        """The sequence with which each document begins, and how many there are, int64 of shape (documents + 1,)."""
        return self._table(12 * self._sequences, "<i8", self._documents)

    def _table(self, offset: int, dtype: str, count: int) -> NDArray[Any]:
        if self._content is None:
            view = self._source.view()
            self._content = self._source.read(0, self._source.identity.size) if view is None else view
        return np.ndarray((count,), dtype, self._content, _HEADER.itemsize + offset)

    def _read_header(self) -> tuple[np.dtype[Any], int, int]:
        size = self._source.identity.size
        begin = self._source.read(0, min(size, _HEADER.itemsize)).tobytes()
        if len(begin) < _HEADER.itemsize or not begin.startswith(_MAGIC):
            raise CorruptDataError(f"{self.path} is no index of Megatron: it begins with {begin[:9]!r}, not {_MAGIC!r}")
        _, version, code, sequences, documents = np.frombuffer(begin, _HEADER)[0].item()
        if version != 1 or code not in _CODES:
            raise CorruptDataError(
                f"{self.path} is of version {version} and has tokens of code {code}, but version 1 and codes 1 to 8 "
                "are known"
            )
        wanted = _HEADER.itemsize + 12 * sequences + 8 * documents
        if size not in (wanted, wanted + sequences):
            raise CorruptDataError(
                f"{self.path} tells of {sequences} sequences and {documents} bounds of documents, which are {wanted} "
                f"bytes, or {wanted + sequences} with modes, but it has {size}; write it anew"
            )
        dtype = np.dtype(_CODES[code])
        if dtype.kind == "f":
            raise StorageError(f"{self.path} tells of {dtype} values, which are no tokens: those are integers")
        return dtype, int(sequences), int(documents)

    def _check(self, size: int) -> None:
        bounds = self.documents
        if len(bounds) and (bounds[0] != 0 or bounds[-1] != len(self) or (np.diff(bounds) < 0).any()):
            raise CorruptDataError(
                f"{self.path}: its documents do not follow each other from sequence 0 to {len(self)}; write it anew"
            )
        end = 0
        for start in range(0, len(self), _AT_ONCE):
            lengths = self.lengths[start : start + _AT_ONCE].astype(np.int64)
            pointers = self.pointers[start : start + _AT_ONCE]
            wrong = (lengths < 0) | (pointers < 0) | (pointers % self.dtype.itemsize != 0)
            wrong |= pointers > size - lengths * self.dtype.itemsize
            if wrong.any():
                bad = int(wrong.argmax())
                raise CorruptDataError(
                    f"{self.path}: sequence {start + bad} is {lengths[bad]} tokens of {self.dtype} at byte "
                    f"{pointers[bad]}, but the .bin beside it has {size} bytes: they are not of one run"
                )
            end = max(end, int((pointers + lengths * self.dtype.itemsize).max()))
        if end < size:
            warnings.warn(
                f"{self.path} tells of sequences up to byte {end}, but the .bin beside it has {size}: if they are not "
                "of one run, write the index anew",
                HeadraceWarning,
                stacklevel=2,
            )
