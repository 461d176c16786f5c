"""Samples of Megatron-LM's files in the order of its GPTDataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.datasets.base import BatchedDataset
from headrace.errors import ArgumentError
from headrace.formats.shard_bounds import Located
from headrace.formats.tokens.megatron_order import gpt_order
from headrace.formats.tokens.token_files import TokenFiles, check_count
from headrace.io.ranges import announce
from headrace.pipeline.reading import check_index, check_indices

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from headrace.io.ranges import FileRanges

__all__ = ["GPTDataset"]


class GPTDataset(BatchedDataset[tuple["NDArray[np.int64]", "NDArray[np.int64]"]]):
    r"""Samples of Megatron-LM's token files, in the order of its GPTDataset.

    A sample is the pair (tokens, labels), each int64 of shape (length,). Sequences are shuffled and laid end to end,
    cut into samples that overlap by one token, and these are shuffled: sample i is the one that Megatron-LM gives for
    the same files, seed and number of samples. Load it without `shuffle=True`.

    Args:
        path: the `.bin`, the `.idx`, or what both begin with.
        length: tokens of a sample; Megatron's `sequence_length`.
        samples: how many there are to be at least, over as many epochs as that takes; None for one epoch.
        seed: Megatron's `random_seed`.
        split: the part of the sequences that is read, as fractions of where it begins and ends.
        vocab_size: how many tokens there are; what is read is held against it. None to do without.

    Raises:
        FileNotFoundError: a file is not there.
        ArgumentError: an argument is not allowed, there is no `.idx`, or there are too few tokens.
        CorruptDataError: the `.idx` is none, or does not fit the `.bin`.
        FileChangedError: when it is read, a file has changed since it was opened.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> header = b"MMIDIDX\0\0" + np.array([1], "<u8").tobytes() + b"\x08" + np.array([2, 3], "<u8").tobytes()
    >>> with TemporaryDirectory() as folder:
    ...     np.arange(13, dtype=np.uint16).tofile(Path(folder, "text.bin"))
    ...     tables = np.array([5, 8], "<i4").tobytes() + np.array([0, 10, 0, 1, 2], "<i8").tobytes()
    ...     _ = Path(folder, "text.idx").write_bytes(header + tables)
    ...     dataset = GPTDataset(Path(folder, "text"), 4)
    ...     len(dataset), dataset[0]
    (3, (array([0, 1, 2, 3]), array([1, 2, 3, 4])))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        length: int,
        samples: int | None = None,
        *,
        seed: int = 1234,
        split: tuple[float, float] = (0.0, 1.0),
        vocab_size: int | None = None,
    ) -> None:
        self.length = check_count("length", length)
        self._files = TokenFiles(path, vocab_size=vocab_size)
        (file, *others) = self._files.all
        if others or file.index is None:
            raise ArgumentError(
                f"one .bin of Megatron with its .idx is needed, but got {len(others) + 1} files, the first of them "
                f"{file.source.path}; for other files take headrace.TokenDataset"
            )
        self.paths, self._index = [file.source.path], file.index
        first, last = _part(split, len(file.index))
        self._order = gpt_order(
            file.index.lengths[first:last].astype(np.int64),
            self.length,
            first=first,
            samples=None if samples is None else check_count("samples", samples),
            seed=_checked_seed(seed),
        )

    def __len__(self) -> int:
        return len(self._order.samples)

    def __getitem__(self, index: int, /) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        tokens, labels = self.get_batch(np.array([check_index(index, len(self))]))
        return tokens[0], labels[0]

    def get_batch(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the tokens and labels of the samples at the indices, each int64 of shape (n, length)."""
        indices = check_indices(indices, len(self))
        starts, lengths, first, last = self._pieces(indices)
        without_last, without_first, next_starts = lengths.copy(), lengths.copy(), starts.copy()
        without_last[last] -= 1
        without_first[first] -= 1
        next_starts[first] += 1
        found = self._files.read(
            _in_one_file(2 * len(starts)),
            np.concatenate([starts, next_starts]),
            np.concatenate([without_last, without_first]),
            np.repeat(indices, last - first + 1),
        )
        self._files.count_tokens(int(lengths.sum()))
        tokens, labels = found.reshape(2, len(indices), self.length)
        return tokens, labels

    def lengths(self) -> NDArray[np.int64]:
        """Return the tokens of each sample, shape (n,), int64."""
        return np.full(len(self), self.length)

    def where(self, index: int) -> str:
        """Return the file, and the tokens that the pieces of a sample begin with."""
        starts = self._pieces(np.array([index]))[0]
        return f"{self.paths[0]}, token {' and '.join(map(str, starts.tolist()))}"

    def reads_ahead(self) -> bool:
        """Return whether it is of use to say early what will be read: where the file is far away, or not in memory."""
        return self._files.reads_ahead()

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Begin to read the samples at the indices, shape (n,), int64."""
        announce(self.byte_ranges(indices))

    def byte_ranges(self, indices: NDArray[np.int64]) -> list[FileRanges]:
        """Return where the pieces of the samples at the indices lie, shape (n,), int64."""
        starts, lengths, _, _ = self._pieces(indices)
        return self._files.byte_ranges(_in_one_file(len(starts)), starts, lengths)

    def counters(self) -> dict[str, int]:
        """Return how many bytes were read, and of files far away with how many requests."""
        return self._files.counts.totals()

    def releases_gil(self) -> bool:
        """Return whether batches are read without the GIL for most of the time: they are."""
        return True

    def _pieces(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Return the tokens with which pieces of samples begin, how many they are, and the samples' first and last."""
        numbers = self._order.samples[indices]
        (begin, offset), (end, stop) = self._order.bounds[numbers].T, self._order.bounds[numbers + 1].T
        counts = end - begin + 1
        last = np.cumsum(counts) - 1
        first = last - counts + 1
        places = np.repeat(begin - first, counts) + np.arange(counts.sum())
        sequences = self._order.documents[places]
        starts, lengths = np.zeros(len(places), np.int64), self._index.lengths[sequences].astype(np.int64)
        lengths[last] = stop + 1
        starts[first] = offset
        lengths[first] -= offset
        return starts + self._index.pointers[sequences] // self._index.dtype.itemsize, lengths, first, last


def _in_one_file(count: int) -> Located:
    zeros = np.zeros(count, np.int64)
    return Located([0], zeros, zeros)


def _checked_seed(seed: Any) -> int:
    """Return a seed of NumPy's old generators, which Megatron has; without one each process had another order."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ArgumentError(f"seed must be an integer from 0 to 2**32 - 1, as Megatron's, but got seed={seed!r}")
    return int(seed)


def _part(split: Any, count: int) -> tuple[int, int]:
    """Return the first sequence of a part, and the one behind its last, rounded as Megatron rounds."""
    is_pair = isinstance(split, tuple | list) and len(split) == 2
    if not is_pair or not all(isinstance(part, int | float) for part in split) or not 0 <= split[0] < split[1] <= 1:
        raise ArgumentError(f"split must be two fractions such as (0, 0.9), the smaller first, but got split={split!r}")
    first, last = (round(part * count) for part in split)
    if first == last:
        raise ArgumentError(f"split={split!r} has none of the {count} sequences; take a larger part")
    return first, last
