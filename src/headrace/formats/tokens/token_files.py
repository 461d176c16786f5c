"""Several files of tokens, read as int64 by their places."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.batch.arena import empty
from headrace.errors import ArgumentError, ArgumentTypeError, CorruptDataError
from headrace.formats.tokens.token_file import check_dtype, open_chunks, open_token_file
from headrace.io.counts import ReadCounts
from headrace.io.disk import DiskWaits
from headrace.io.paths import find_paths
from headrace.io.ranges import FileRanges
from headrace.io.source import LocalSource, count_requests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from headrace.formats.shard_bounds import Located

    TokenPaths = str | bytes | os.PathLike[Any] | Iterable[str | bytes | os.PathLike[Any]]

__all__ = ["TokenFiles", "check_count"]


class TokenFiles:
    """Files of tokens of one dtype.

    Args:
        path: a file, a pattern or several; of Megatron's the `.bin`, the `.idx`, or what both begin with; of litData's
            the folder.
        dtype: of the tokens, which files need that have no header or index.
        vocab_size: how many tokens there are; those that are read are held against it. None to do without.

    Attributes:
        all: the files.
        dtype: of their tokens.
        counts: what has been read of them.

    Raises:
        FileNotFoundError: a file is not there.
        ArgumentError: dtypes differ, or cannot hold the vocabulary.
        CorruptDataError: a file is not what it says.
    """

    def __init__(self, path: TokenPaths, dtype: Any = None, vocab_size: int | None = None) -> None:
        wanted = None if dtype is None else check_dtype(dtype)
        self.all = [
            file
            for each in _find(path)
            for file in (open_chunks(each, wanted) if _is_folder(each) else [open_token_file(each, wanted)])
        ]
        self.dtype = self.all[0].dtype
        for file in self.all:
            if file.dtype != self.dtype:
                raise ArgumentError(
                    f"files must have tokens of one dtype, but {self.all[0].source.path} has {self.dtype} and "
                    f"{file.source.path} has {file.dtype}"
                )
        self._most = None if vocab_size is None else check_count("vocab_size", vocab_size) - 1
        if self._most is not None:
            self.check_token("vocab_size - 1", self._most)
        self._is_local = all(isinstance(file.source, LocalSource) for file in self.all)
        self._waits = DiskWaits()
        self.counts = ReadCounts()
        for file in self.all:
            count_requests(file.source, self.counts)

    def check_token(self, name: str, token: int) -> None:
        """Raise unless a token can be one of the files'.

        Raises:
            ArgumentError: its dtype cannot hold it.
            ArgumentTypeError: it is no integer.
        """
        if isinstance(token, bool) or not isinstance(token, int | np.integer):
            raise ArgumentTypeError(f"{name} must be a token, an integer, but got {token!r}")
        limits = np.iinfo(self.dtype)
        if not limits.min <= token <= limits.max:
            raise ArgumentError(
                f"{name} is {token}, which tokens of {self.dtype} cannot hold: they are {limits.min} to {limits.max}; "
                "write the tokens with a wider dtype"
            )

    def read(
        self, located: Located, starts: NDArray[np.int64], lengths: NDArray[np.int64], indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return tokens, end to end.

        Args:
            located: the file of each piece.
            starts: the token of its file with which it begins, int64 of shape (n,).
            lengths: its tokens, int64 of shape (n,).
            indices: of the samples that pieces are of, taken in turn, for the texts of errors.

        Returns:
            int64 of shape (sum of lengths,).

        Raises:
            CorruptDataError: a token is outside of the vocabulary.
            FileChangedError: a file has changed, or is gone.
        """
        offsets = self._offsets(located, starts)
        out = empty((int(lengths.sum()),), np.int64)
        views = self._views(located, offsets, lengths)
        kernels.active().widen_ranges(views, located.which, offsets, lengths, self.dtype, out)
        self._waits.note_read()
        if self._most is not None and len(out):
            self._check_tokens(out, self._most, lengths, indices)
        return out

    def read_windows(
        self, located: Located, starts: NDArray[np.int64], length: int, indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return windows, and those that begin one token later.

        Args:
            located: the file of each window.
            starts: the token of its file with which it begins, int64 of shape (n,).
            length: its tokens.
            indices: of the samples that windows are of, for the texts of errors.

        Returns:
            int64 of shape (n, length), twice.

        Raises:
            CorruptDataError: a token is outside of the vocabulary.
            FileChangedError: a file has changed, or is gone.
        """
        offsets = self._offsets(located, starts)
        out = empty((2, len(starts), length), np.int64)
        views = self._views(located, offsets, length + 1)
        kernels.active().widen_windows(views, located.which, offsets, self.dtype, out)
        self._waits.note_read()
        if self._most is not None:
            self._check_tokens(out.ravel(), self._most, np.full(2 * len(starts), length), indices)
        inputs, targets = out
        return inputs, targets

    def reads_ahead(self) -> bool:
        """Return whether it is worth to say early what will be read: where files are far away, or not in memory."""
        return self._waits.lately or not self._is_local

    def byte_ranges(self, located: Located, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[FileRanges]:
        """Return where pieces lie, by their files; for the arguments see `read`."""
        offsets, sizes = self._offsets(located, starts), lengths * self.dtype.itemsize
        places = [located.which == place for place in range(len(located.shards))]
        found = zip(located.shards, places, strict=True)
        return [FileRanges(self.all[shard].source, offsets[here], sizes[here]) for shard, here in found]

    def count_tokens(self, count: int) -> None:
        """Count tokens that have been read."""
        self.counts.add(count * self.dtype.itemsize)

    def _offsets(self, located: Located, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bytes of their files with which pieces begin."""
        offsets = starts * self.dtype.itemsize
        if len(self.all) == 1:
            return offsets + self.all[0].offset
        begins = np.array([self.all[shard].offset for shard in located.shards], np.int64)
        return begins[located.which] + offsets

    def _views(
        self, located: Located, offsets: NDArray[np.int64], lengths: NDArray[np.int64] | int
    ) -> list[NDArray[np.uint8]]:
        """Return the bytes of the files; of one that is not mapped no more than the pieces, whose offsets change."""
        views = []
        for place, shard in enumerate(located.shards):
            source = self.all[shard].source
            view = source.view()
            if view is None:
                here = located.which == place
                sizes = np.broadcast_to(lengths, len(offsets))[here] * self.dtype.itemsize
                view, bounds = source.read_many(offsets[here], sizes)
                offsets[here] = bounds[:-1]
            views.append(view)
        return views

    def _check_tokens(
        self, tokens: NDArray[np.int64], most: int, lengths: NDArray[np.int64], indices: NDArray[np.int64]
    ) -> None:
        if tokens.min() >= 0 and tokens.max() <= most:
            return
        bad = int(((tokens < 0) | (tokens > most)).argmax())
        index = indices[np.searchsorted(np.cumsum(lengths), bad, side="right") % len(indices)]
        raise CorruptDataError(
            f"sample {index} has the token {tokens[bad]}, but vocab_size={most + 1}; the file is damaged, of another "
            f"dtype than {self.dtype}, or of another tokenizer"
        )


def check_count(name: str, value: Any) -> int:
    """Return a number that a user gave.

    Raises:
        ArgumentError: it is no integer above 0, or none that an int64 holds.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value < 2**62:
        raise ArgumentError(f"{name} must be an integer from 1 to {2**62 - 1}, but got {name}={value!r}")
    return int(value)


def _is_folder(path: str) -> bool:
    return "://" not in path and Path(path).is_dir()


def _find(path: TokenPaths) -> list[str]:
    if isinstance(path, str | os.PathLike):
        text = os.fspath(path)
        if isinstance(text, str) and text.endswith(".idx"):
            return find_paths(f"{text[:-4]}.bin")
        if "://" not in str(text) and not Path(str(text)).exists() and Path(f"{text}.bin").exists():
            return find_paths(f"{text}.bin")
    return find_paths(path)
