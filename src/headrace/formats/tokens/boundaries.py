"""The documents of a file of tokens: by its index, or by the token that each begins or ends with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.errors import ArgumentError, CorruptDataError
from headrace.formats.index import IndexFormat, open_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.formats.index import Tables
    from headrace.formats.tokens.token_file import TokenFile
    from headrace.io.source import ByteSource

__all__ = ["Boundaries", "find_documents"]

_AT_ONCE = 1 << 24  # tokens


class Boundaries(NamedTuple):
    """The documents of a file.

    Attributes:
        starts: the tokens that they begin with, int64 of shape (n,).
        lengths: their tokens, int64 of shape (n,).
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


def find_documents(file: TokenFile, eos: int | None, bos: int | None) -> Boundaries:
    """Return the documents of a file.

    Where they follow from a token, the file is read through once, and an index kept beside it.

    Args:
        file: the file.
        eos: the token that each document ends with.
        bos: the token that each document begins with.

    Raises:
        ArgumentError: both tokens are given, or there is no telling the documents.
        CorruptDataError: a table of them does not fit the file.
    """
    if eos is not None and bos is not None:
        raise ArgumentError(f"documents are told by eos or by bos, but got eos={eos} and bos={bos}; give one of them")
    if file.index is not None and eos is None and bos is None:
        starts = file.index.pointers // file.dtype.itemsize
        return Boundaries(starts, file.index.lengths.astype(np.int64))
    if file.documents is not None and eos is None and bos is None:
        return _told(file, file.documents)
    bos = file.bos if eos is None and bos is None else bos
    token, ends = (eos, 1) if bos is None else (bos, 0)
    if token is None:
        raise ArgumentError(
            f"{file.source.path} has no index of its documents; give the token that each ends with, as in eos=50256, "
            "or begins with, as in bos=50256"
        )
    starts = open_index(file.source, _index_format(file, token, ends)).tables["starts"]
    return Boundaries(starts, np.diff(starts, append=file.count))


def _index_format(file: TokenFile, token: int, ends: int) -> IndexFormat:
    """Return the index that says where documents begin: at each such token, or behind it."""
    kind = f"tokens of {file.dtype} at {file.offset}, documents {'end' if ends else 'begin'} with {token}"
    return IndexFormat(
        kind, 1, {"starts": np.dtype(np.int64)}, partial(_scan, file, token, ends), partial(_fits, file.count)
    )


def _fits(count: int, tables: Tables) -> bool:
    starts = tables["starts"]
    if not len(starts):
        return count == 0
    return bool(starts[0] == 0 and starts[-1] < count and (np.diff(starts) > 0).all())


def _scan(file: TokenFile, token: int, ends: int, source: ByteSource, advance: Callable[[int], None]) -> Tables:
    parts = [np.zeros(min(file.count, 1), np.int64)]  # a file may begin within a document
    for start in range(0, file.count, _AT_ONCE):
        count = min(_AT_ONCE, file.count - start)
        content = source.read(file.offset + start * file.dtype.itemsize, count * file.dtype.itemsize)
        found = start + ends + np.flatnonzero(np.ndarray((count,), file.dtype, content) == token)
        parts.append(found[(found > 0) & (found < file.count)])
        advance(file.offset + (start + count) * file.dtype.itemsize)
    return {"starts": np.concatenate(parts)}


def _told(file: TokenFile, count: int) -> Boundaries:
    """Return the documents that a table tells of, which lies before the tokens: their offsets and the end, uint32."""
    bounds = file.source.read(4, 4 * (count + 1)).view("<u4").astype(np.int64)
    lengths = np.diff(bounds)
    if bounds[0] != file.offset or bounds[-1] != file.source.identity.size or (lengths < 0).any():
        raise CorruptDataError(
            f"{file.source.path}: its documents lie from byte {bounds[0]} to {bounds[-1]}, says its table, but its "
            f"tokens from {file.offset} to {file.source.identity.size}; get the file anew"
        )
    if ((bounds - file.offset) % file.dtype.itemsize).any():
        raise CorruptDataError(f"{file.source.path}: a document is no whole number of {file.dtype} tokens; get it anew")
    return Boundaries((bounds[:-1] - file.offset) // file.dtype.itemsize, lengths // file.dtype.itemsize)
