"""Documents of token files as samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.ragged import Ragged
from headrace.datasets.base import Dataset
from headrace.errors import ArgumentError
from headrace.formats.shard_bounds import ShardBounds
from headrace.formats.tokens.boundaries import find_documents
from headrace.formats.tokens.token_files import TokenFiles
from headrace.io.ranges import announce
from headrace.pipeline.reading import check_index, check_indices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.formats.shard_bounds import Located
    from headrace.formats.tokens.token_files import TokenPaths
    from headrace.io.ranges import FileRanges

__all__ = ["TokenDocuments", "open_files"]


class TokenDocuments(Dataset["NDArray[np.int64]"]):
    """The documents of token files: a sample is the tokens of one, int64 of shape (tokens,).

    Megatron's files have an index of them; in others a token begins or ends each. These are read through once, and an
    index is kept beside them. `lengths()` costs nothing more, so that documents can be packed, and batched by length.

    Args:
        path: a file, a pattern or several: `.bin` files of Megatron with their `.idx`, files of llm.c, `.npy` files,
            or files of nothing but tokens.
        dtype: of the tokens, which files need that have no header or index.
        eos: the token that each document ends with.
        bos: the token that each document begins with; files of llm.c say theirs.
        vocab_size: how many tokens there are; what is read is held against it. None to do without.

    Raises:
        FileNotFoundError: a file is not there.
        ArgumentError: there is no telling the dtype or the documents; dtypes differ; or one cannot hold a token.
        CorruptDataError: a file is not what it says, or its `.idx` is of another one.
        FileChangedError: when it is read, a file has changed since it was opened.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.array([5, 6, 0, 7, 0, 8], np.uint16).tofile(Path(folder, "train.bin"))
    ...     documents = TokenDocuments(Path(folder, "train.bin"), np.uint16, eos=0)
    ...     documents[1], documents.lengths()
    (array([7, 0]), array([3, 2, 1]))
    """

    def __init__(
        self,
        path: TokenPaths,
        dtype: Any = None,
        *,
        eos: int | None = None,
        bos: int | None = None,
        vocab_size: int | None = None,
    ) -> None:
        self._files = TokenFiles(path, dtype, vocab_size)
        self.paths = [file.source.path for file in self._files.all]
        for name, token in (("eos", eos), ("bos", bos)):
            if token is not None:
                self._files.check_token(name, token)
        self._documents = [find_documents(file, eos, bos) for file in self._files.all]
        self._bounds = ShardBounds(len(each.starts) for each in self._documents)

    def __len__(self) -> int:
        return len(self._bounds)

    def __getitem__(self, index: int, /) -> NDArray[np.int64]:
        return self.__getitems__([check_index(index, len(self))])[0]

    def __getitems__(self, indices: list[int]) -> list[NDArray[np.int64]]:
        """Return the samples at the indices."""
        tokens, lengths = self.get_ragged(np.array(indices, np.int64))
        return np.split(tokens, np.cumsum(lengths)[:-1])

    def get_ragged(self, indices: NDArray[np.int64]) -> Ragged:
        """Return the tokens of the documents at the indices, shape (n,), int64, end to end."""
        indices = check_indices(indices, len(self))
        located, starts, lengths = self._pieces(indices)
        found = Ragged(self._files.read(located, starts, lengths, indices), lengths)
        self._files.count_tokens(int(lengths.sum()))
        return found

    def lengths(self) -> NDArray[np.int64]:
        """Return the tokens of each document, shape (n,), int64."""
        return np.concatenate([each.lengths for each in self._documents])

    def where(self, index: int) -> str:
        """Return the file of a document, and its first token there."""
        located, starts, _ = self._pieces(np.array([index]))
        return f"{self.paths[located.shards[0]]}, token {starts[0]}"

    def reads_ahead(self) -> bool:
        """Return whether it is of use to say early what will be read: where files are far away, or not in memory."""
        return self._files.reads_ahead()

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Begin to read the documents at the indices, shape (n,), int64."""
        announce(self.byte_ranges(indices))

    def byte_ranges(self, indices: NDArray[np.int64]) -> list[FileRanges]:
        """Return where the documents at the indices lie, shape (n,), int64."""
        return self._files.byte_ranges(*self._pieces(indices))

    def counters(self) -> dict[str, int]:
        """Return how many bytes were read, and of files far away with how many requests."""
        return self._files.counts.totals()

    def releases_gil(self) -> bool:
        """Return whether samples are read without the GIL for most of the time: they are."""
        return True

    def _pieces(self, indices: NDArray[np.int64]) -> tuple[Located, NDArray[np.int64], NDArray[np.int64]]:
        """Return where documents lie: their files, first tokens and lengths."""
        located = self._bounds.locate(indices)
        starts, lengths = np.empty_like(located.rows), np.empty_like(located.rows)
        for place, shard in enumerate(located.shards):
            here = located.which == place
            rows = located.rows[here]
            starts[here], lengths[here] = self._documents[shard].starts[rows], self._documents[shard].lengths[rows]
        return located, starts, lengths


def open_files(paths: list[str], *, fields: bool = True) -> Dataset[Any]:  # noqa: ARG001 - tokens have no fields
    """Return the documents of some files."""
    try:
        return TokenDocuments(paths)
    except ArgumentError as error:
        raise ArgumentError(f"{error}; or read windows with headrace.TokenDataset(path, length)") from error
