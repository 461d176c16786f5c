"""One file of tokens: its dtype, and where the tokens begin, by what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError, ArgumentTypeError, CorruptDataError, StorageError
from headrace.formats.litdata.tokens import token_chunks
from headrace.formats.npy.reader import read_header
from headrace.formats.tokens.megatron import MegatronIndex
from headrace.io.source import open_source
from headrace.kernels.checks import WIDENED

if TYPE_CHECKING:
    from headrace.io.source import ByteSource

__all__ = ["TokenFile", "check_dtype", "open_chunks", "open_token_file"]

_HEADER_BYTES = 1024  # of llm.c's files: 256 int32
_HEADERS = {20240520: (1, "<u2", 50256), 20240801: (7, "<u4", 128000)}  # version, dtype, the first of each document
_EVALUATION = 20240522


@dataclass(frozen=True)
class TokenFile:
    """One file of tokens.

    Attributes:
        source: its bytes.
        dtype: of a token.
        offset: the byte at which the tokens begin.
        count: how many there are.
        index: of its sequences; None where it has none.
        bos: the token that each document begins with, where the format says so.
        documents: how many documents there are, where a table before the tokens tells their places, as of litData.
    """

    source: ByteSource
    dtype: np.dtype[Any]
    offset: int
    count: int
    index: MegatronIndex | None = None
    bos: int | None = None
    documents: int | None = None


def check_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype that a user gave for tokens.

    Raises:
        ArgumentError: it is none, or none of tokens.
    """
    try:
        found: np.dtype[Any] = np.dtype(dtype).newbyteorder("<")
    except TypeError as error:
        raise ArgumentTypeError(f"dtype must be one of integers, such as np.uint16, but got {dtype!r}") from error
    if found.str not in WIDENED:
        raise ArgumentError(f"dtype must be one of integers up to int64, such as np.uint16, but got dtype={dtype!r}")
    return found


def open_token_file(path: str, dtype: np.dtype[Any] | None) -> TokenFile:
    """Return a file of tokens: one of Megatron's, which has an .idx beside it, one with a header, or a plain one.

    Args:
        path: of the file.
        dtype: of its tokens, which a plain one needs; another one must have this dtype.

    Raises:
        FileNotFoundError: there is no such file.
        ArgumentError: there is no telling the dtype, or another one was given than the file's.
        CorruptDataError: the file is not as long as it says, or no whole number of tokens.
        StorageError: it holds something else than tokens.
    """
    source = open_source(path)
    found = _with_index(source) or _with_header(source) or _plain(source, dtype)
    source.close()
    if dtype is not None and found.dtype != dtype:
        raise ArgumentError(f"dtype={dtype} was given, but {source.path} has tokens of {found.dtype}; leave it out")
    return found


def open_chunks(folder: str, dtype: np.dtype[Any] | None) -> list[TokenFile]:
    """Return the files of tokens in a folder that litData has written; for the rest see `open_token_file`."""
    found, chunks = token_chunks(folder)
    if dtype is not None and found != dtype:
        raise ArgumentError(f"dtype={dtype} was given, but {folder} has tokens of {found}; leave it out")
    files = []
    for path, documents, count in chunks:
        source, offset = open_source(path), 4 * (documents + 2)
        if source.identity.size != offset + count * found.itemsize:
            raise CorruptDataError(
                f"{path} has {source.identity.size} bytes, but its index tells of {documents} documents with {count} "
                f"tokens of {found}, which take {offset + count * found.itemsize}; get the file anew"
            )
        files.append(TokenFile(source, found, offset, count, documents=documents))
        source.close()
    return files


def _with_index(source: ByteSource) -> TokenFile | None:
    stem, dot, ending = source.path.rpartition(".")
    if f"{dot}{ending}" != ".bin" or ("://" not in stem and not Path(f"{stem}.idx").exists()):
        return None
    try:
        index = MegatronIndex(f"{stem}.idx", source.identity.size)
    except FileNotFoundError:  # of a file far away
        return None
    return TokenFile(source, index.dtype, 0, _count(source, index.dtype), index)


def _with_header(source: ByteSource) -> TokenFile | None:
    begin = source.read(0, min(source.identity.size, 12)).tobytes()
    if begin.startswith(b"\x93NUMPY"):
        return _of_array(source)
    if source.identity.size < _HEADER_BYTES:
        return None
    magic, version, count = np.frombuffer(begin, "<i4").tolist()
    if magic == _EVALUATION:
        raise StorageError(f"{source.path} has examples of an evaluation of llm.c, which are no stream of tokens")
    if magic not in _HEADERS:
        return None
    known, dtype, bos = _HEADERS[magic]
    if version != known:
        raise CorruptDataError(f"{source.path} is of version {version} of llm.c's files, but {known} is known")
    wanted = _HEADER_BYTES + count * np.dtype(dtype).itemsize
    if count < 0 or source.identity.size != wanted:
        raise CorruptDataError(
            f"{source.path} has {count} tokens of {np.dtype(dtype)}, its header says, which are {wanted} bytes with "
            f"the header, but the file has {source.identity.size}; write it anew"
        )
    return TokenFile(source, np.dtype(dtype), _HEADER_BYTES, count, bos=bos)


def _of_array(source: ByteSource) -> TokenFile:
    dtype, shape, _, offset = read_header(source)
    if len(shape) != 1 or dtype.str not in WIDENED:
        raise StorageError(f"{source.path} has {dtype} of shape {shape}, but integers of one dimension are needed")
    return TokenFile(source, dtype, offset, shape[0])


def _plain(source: ByteSource, dtype: np.dtype[Any] | None) -> TokenFile:
    if dtype is None:
        raise ArgumentError(
            f"{source.path} has no header or index that says what its tokens are; give their dtype, as in "
            "dtype=np.uint16"
        )
    return TokenFile(source, dtype, 0, _count(source, dtype))


def _count(source: ByteSource, dtype: np.dtype[Any]) -> int:
    count, rest = divmod(source.identity.size, dtype.itemsize)
    if rest:
        raise CorruptDataError(
            f"{source.path} has {source.identity.size} bytes, which is no whole number of {dtype} tokens; it is cut "
            "short, or of another dtype"
        )
    return count
