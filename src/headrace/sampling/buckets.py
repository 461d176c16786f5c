"""Batches of sequences of similar lengths: by a bound on their tokens, or grouped in windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace.errors import ArgumentError
from headrace.sampling.permutation import Sequential, Shuffled, draw_key, permuted
from headrace.sampling.ranks import Shares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.sampling.plan import Order
    from headrace.sampling.ranks import Uneven

__all__ = ["BucketPlan", "Grouped"]

LengthsAt: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.int64]]  # the lengths of the samples at indices

_STEPS, _BUCKETS, _WINDOWS = 0x4852000A, 0x4852000B, 0x4852000C  # what the draws of an epoch are for
_AUTOMATIC = 32  # buckets, where nobody says


class BucketPlan:
    """Batches whose tokens, padding included, are bounded.

    Samples are put in buckets by their lengths, once. A batch is of one bucket, of as many samples as the bound allows
    for the longest of the bucket. Each epoch shuffles the samples of each bucket, and the batches of all buckets, so
    how many batches there are is always the same, and any of them can be computed. All ranks of a step have samples of
    the same bucket, and each has some: where the last step of a bucket would have fewer than there are ranks, it takes
    samples of the bucket of shorter ones.

    Args:
        lengths: of the samples, shape (n,), int64.
        max_tokens: tokens of a batch on one rank, padding included.
        max_batch_size: samples of such a batch at most; None for any number.
        boundaries: the lengths up to which buckets go; one more holds what is longer. None for 32 of about as many
            tokens.
        shuffle: whether the order is random.
        drop_last: leave out samples of a bucket that do not fill a step.
        rank: which of the ranks this is.
        world_size: how many ranks share the samples.
        uneven: how they share the last step of a bucket; "pad" is none that a bound on tokens allows.

    Raises:
        ArgumentError: a sample alone is longer than `max_tokens`, or the samples left over cannot be shared by
            "even_split" within that bound.
    """

    shares = None  # each batch is of one bucket

    def __init__(
        self,
        lengths: NDArray[np.int64],
        max_tokens: int,
        *,
        max_batch_size: int | None = None,
        boundaries: Sequence[int] | None = None,
        shuffle: bool = False,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        uneven: Uneven = "even_split",
    ) -> None:
        if len(lengths) and lengths.max() > max_tokens:
            longest = int(lengths.argmax())
            raise ArgumentError(
                f"sample {longest} has {lengths[longest]} tokens, more than max_tokens={max_tokens}; raise it, or cut "
                "longer samples with dataset.map(...)"
            )
        edges = _automatic(lengths) if boundaries is None else np.array(boundaries, np.int64)
        bucket = np.searchsorted(edges, lengths, side="left")
        self._samples = np.argsort(bucket, kind="stable")  # bucket by bucket
        counts = np.bincount(bucket, minlength=len(edges) + 1)
        sizes = _batch_sizes(lengths, bucket, counts, max_tokens, max_batch_size)
        if uneven == "even_split" and not drop_last and world_size > 1:
            counts, sizes = _divisible(counts, sizes, world_size)
        self._starts = np.cumsum(counts) - counts
        self._shares = [
            Shares(count, size, rank, world_size, uneven, drop_last)
            for count, size in zip(counts.tolist(), sizes.tolist(), strict=True)
        ]
        self._steps = np.cumsum([shares.steps for shares in self._shares])
        self.steps = int(self._steps[-1])
        self._shuffle = shuffle
        self._orders = [Shuffled(int(count)) if shuffle else Sequential() for count in counts]

    def indices(self, key: int, step: int) -> NDArray[np.int64]:
        """Return the samples of this rank's batch at a step, for the key of an epoch."""
        if self._shuffle:
            step = int(permuted(draw_key(key, 0, _STEPS), self.steps, step, step + 1)[0])
        bucket = int(np.searchsorted(self._steps, step, side="right"))
        number = step - (int(self._steps[bucket - 1]) if bucket else 0)
        shares = self._shares[bucket]
        positions = np.arange(*shares.span(number)) % shares.length
        key = draw_key(key, bucket, _BUCKETS)
        order = self._orders[bucket]
        low = int(positions.min())
        found = order.indices(key, low, int(positions.max()) + 1)[positions - low]
        samples: NDArray[np.int64] = self._samples[self._starts[bucket] + found]
        return samples

    def several(self, key: int, first: int, stop: int) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        """Return the samples of the batches at the steps from `first` to before `stop`, and how many each has."""
        batches = [self.indices(key, step) for step in range(first, stop)]
        return np.concatenate(batches), tuple(map(len, batches))


class Grouped:
    """An order whose samples are sorted by length in windows, so that those of a batch are of similar lengths.

    Args:
        order: the order before that.
        lengths: tells the lengths of samples.
        length: the number of samples.
        window: how many consecutive samples are sorted; a multiple of `batch`.
        batch: samples a step, on all ranks. The steps of a window come in random order.
    """

    def __init__(self, order: Order, lengths: LengthsAt, length: int, window: int, batch: int) -> None:
        self._order = order
        self._lengths = lengths
        self._length = length
        self._window = window
        self._batch = batch
        # The window sorted last, as (key, number, samples): replaced whole, so threads may share it.
        self._latest: tuple[int, int, NDArray[np.int64]] = (0, -1, np.empty(0, np.int64))

    def indices(self, key: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the samples at positions [start, stop), for the key of an epoch."""
        parts = [np.empty(0, np.int64)]
        for number in range(start // self._window, -(-stop // self._window)):
            first = number * self._window
            parts.append(self._sorted(key, number)[max(start - first, 0) : stop - first])
        return np.concatenate(parts)

    def _sorted(self, key: int, number: int) -> NDArray[np.int64]:
        known = self._latest
        if known[:2] == (key, number):
            return known[2]
        first = number * self._window
        samples = self._order.indices(key, first, min(first + self._window, self._length))
        samples = samples[np.argsort(self._lengths(samples), kind="stable")]
        whole = len(samples) // self._batch  # a step that is not full stays at the end
        steps = permuted(draw_key(key, number, _WINDOWS), whole, 0, whole)
        filled = samples[: whole * self._batch].reshape(whole, self._batch)[steps].reshape(-1)
        samples = np.concatenate([filled, samples[whole * self._batch :]])
        self._latest = key, number, samples
        return samples


def _automatic(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return boundaries between which about as many tokens lie."""
    ordered = np.sort(lengths)
    tokens = np.cumsum(ordered)
    if not len(tokens) or not tokens[-1]:
        return np.empty(0, np.int64)
    places = np.searchsorted(tokens, tokens[-1] * np.arange(1, _AUTOMATIC) // _AUTOMATIC)
    found: NDArray[np.int64] = np.unique(ordered[places])
    return found


def _batch_sizes(
    lengths: NDArray[np.int64],
    bucket: NDArray[np.int64],
    counts: NDArray[np.int64],
    max_tokens: int,
    max_batch_size: int | None,
) -> NDArray[np.int64]:
    """Return how many samples a batch of each bucket has, on one rank."""
    longest = np.ones(len(counts), np.int64)
    np.maximum.at(longest, bucket, lengths)
    sizes = max_tokens // longest
    most = max(1, int(counts.max(initial=1))) if max_batch_size is None else max_batch_size
    bounded: NDArray[np.int64] = np.clip(sizes, 1, most)
    return bounded


def _divisible(
    counts: NDArray[np.int64], sizes: NDArray[np.int64], world_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return other buckets, in each of which every rank has a sample in every step, and never more than its size.

    From the longest down, a bucket whose last step has fewer samples than there are ranks takes what is missing from
    the end of the one below it. What is then left over in the shortest one is divided among its last two steps.

    Args:
        counts: of the samples in each bucket, from the shortest up.
        sizes: the samples of a batch of each, on one rank.
        world_size: how many ranks there are.

    Returns:
        Counts and sizes, perhaps of one bucket more.

    Raises:
        ArgumentError: it cannot be done.
    """
    starts, stop = np.cumsum(counts) - counts, int(counts.sum())
    counts = np.zeros_like(counts)
    for bucket in range(len(counts) - 1, -1, -1):
        start = min(int(starts[bucket]), stop)
        rest = (stop - start) % int(sizes[bucket] * world_size)
        if 0 < rest < world_size:
            start = max(start - (world_size - rest), 0)
        counts[bucket], stop = stop - start, start
    shortest, *longer = np.flatnonzero(counts).tolist() or [0]
    if 0 < counts[shortest] < world_size and longer:
        counts[longer[0]] += counts[shortest]
        counts[shortest], shortest = 0, longer[0]
    count, size = int(counts[shortest]), int(sizes[shortest])
    steps, rest = divmod(count, size * world_size)
    if not 0 < rest < world_size:
        return counts, sizes
    if not steps or size == 1:
        raise ArgumentError(
            f"{rest} sample{'s' * (rest > 1)} more than whole steps cannot be split among world_size={world_size} "
            f"ranks within max_tokens; raise it, or use uneven='drop' or 'repeat', or fewer ranks"
        )
    last_two = size * world_size + rest
    counts[shortest] = last_two
    halved = sizes.copy()
    halved[shortest] = (size + 1) // 2
    return np.insert(counts, shortest, count - last_two), np.insert(halved, shortest, size)
