"""Windows of token files as samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.datasets.base import BatchedDataset
from headrace.errors import ArgumentError
from headrace.formats.shard_bounds import ShardBounds
from headrace.formats.tokens.boundaries import find_documents
from headrace.formats.tokens.token_files import TokenFiles, check_count
from headrace.io.ranges import announce
from headrace.pipeline.reading import check_index, check_indices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.formats.shard_bounds import Located
    from headrace.formats.tokens.token_file import TokenFile
    from headrace.formats.tokens.token_files import TokenPaths
    from headrace.io.ranges import FileRanges

__all__ = ["TokenDataset"]


class TokenDataset(BatchedDataset[tuple["NDArray[np.int64]", "NDArray[np.int64]"]]):
    """Windows of the tokens of files, for training a language model.

    A sample is the pair (inputs, targets), each int64 of shape (length,): the targets are the tokens that follow the
    inputs. Files are mapped, so they need not fit into memory, and tokens are converted by one native pass a batch.
    Windows do not reach from one file into the next.

    Args:
        path: a file, a pattern or several: `.bin` files of Megatron with their `.idx`, files of llm.c, `.npy` files
            with or without a header, or files of nothing but tokens, as nanoGPT writes them.
        length: tokens of the inputs, and of the targets.
        dtype: of the tokens, which files need that have no header or index.
        eos: the token that each document ends with.
        bos: the token that each document begins with; files of llm.c say theirs.
        bos_align: whether windows begin where documents do. The next one begins with the first document that
            begins `stride` tokens after this one, or later; the tokens between are left out.
        stride: how many tokens a window begins after the one before; by default the length, so that each token
            is a target once.
        vocab_size: how many tokens there are; what is read is held against it. None to do without.

    Raises:
        FileNotFoundError: a file is not there.
        ArgumentError: there is no telling the dtype or the documents; dtypes differ, or one cannot hold a token; or
            there is no window in the files.
        CorruptDataError: a file is not what it says, or its `.idx` is of another one; or when it is read, a token is
            none of the vocabulary.
        FileChangedError: when it is read, a file has changed since it was opened.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.arange(100, dtype=np.uint16).tofile(Path(folder, "train.bin"))
    ...     windows = TokenDataset(Path(folder, "train.bin"), 4, np.uint16)
    ...     len(windows), windows[2]
    (24, (array([ 8,  9, 10, 11]), array([ 9, 10, 11, 12])))
    """

    def __init__(
        self,
        path: TokenPaths,
        length: int,
        dtype: Any = None,
        *,
        eos: int | None = None,
        bos: int | None = None,
        bos_align: bool = False,
        stride: int | None = None,
        vocab_size: int | None = None,
    ) -> None:
        self.length = check_count("length", length)
        self.stride = self.length if stride is None else check_count("stride", stride)
        self._files = TokenFiles(path, dtype, vocab_size)
        self.paths = [file.source.path for file in self._files.all]
        for name, token in (("eos", eos), ("bos", bos)):
            if token is not None:
                self._files.check_token(name, token)
        self._starts = [self._aligned(file, eos, bos) for file in self._files.all] if bos_align else None
        counts = map(self._count, self._files.all) if self._starts is None else map(len, self._starts)
        self._bounds = ShardBounds(counts)
        if not len(self):
            raise ArgumentError(
                f"there is no window of length={self.length}, which takes {self.length + 1} tokens, in {self.paths[0]}"
                f"{' and the other files' if len(self.paths) > 1 else ''}; the longest has "
                f"{max(file.count for file in self._files.all)} tokens"
            )

    def __len__(self) -> int:
        return len(self._bounds)

    def __getitem__(self, index: int, /) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        inputs, targets = self.get_batch(np.array([check_index(index, len(self))]))
        return inputs[0], targets[0]

    def get_batch(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the inputs and targets of the windows at the indices, each int64 of shape (n, length)."""
        indices = check_indices(indices, len(self))
        located, starts = self._locate(indices)
        found = self._files.read_windows(located, starts, self.length, indices)
        self._files.count_tokens(len(indices) * (self.length + 1))
        return found

    def lengths(self) -> NDArray[np.int64]:
        """Return the tokens of each window, shape (n,), int64."""
        return np.full(len(self), self.length)

    def where(self, index: int) -> str:
        """Return the file of a window, and its first token there."""
        located, starts = self._locate(np.array([index]))
        return f"{self.paths[located.shards[0]]}, token {starts[0]}"

    def reads_ahead(self) -> bool:
        """Return whether it is of use to say early what will be read: where files are far away, or not in memory."""
        return self._files.reads_ahead()

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Begin to read the windows at the indices, shape (n,), int64."""
        announce(self.byte_ranges(indices))

    def byte_ranges(self, indices: NDArray[np.int64]) -> list[FileRanges]:
        """Return where the windows at the indices lie, shape (n,), int64."""
        located, starts = self._locate(indices)
        return self._files.byte_ranges(located, starts, np.full(len(indices), self.length + 1))

    def counters(self) -> dict[str, int]:
        """Return how many bytes were read, and of files far away with how many requests."""
        return self._files.counts.totals()

    def releases_gil(self) -> bool:
        """Return whether batches are read without the GIL for most of the time: they are."""
        return True

    def _locate(self, indices: NDArray[np.int64]) -> tuple[Located, NDArray[np.int64]]:
        """Return the files of windows, and the tokens that they begin with."""
        located = self._bounds.locate(indices)
        if self._starts is None:
            return located, located.rows * self.stride
        starts = np.empty_like(located.rows)
        for place, shard in enumerate(located.shards):
            here = located.which == place
            starts[here] = self._starts[shard][located.rows[here]]
        return located, starts

    def _count(self, file: TokenFile) -> int:
        return max((file.count - self.length - 1) // self.stride + 1, 0)

    def _aligned(self, file: TokenFile, eos: int | None, bos: int | None) -> NDArray[np.int64]:
        """Return the tokens of a file at which windows begin that begin with a document."""
        starts = find_documents(file, eos, bos).starts
        starts = starts[starts + self.length < file.count]
        chosen, place = [], 0
        following = np.searchsorted(starts, starts + self.stride).tolist()
        while place < len(starts):
            chosen.append(place)
            place = following[place]
        return starts[np.array(chosen, np.int64)]
