"""Draws: random words and generators of the samples being loaded.

A draw is a function of (seed, epoch, index of the sample, place in the chain of transforms) and of
nothing else. The generator is Philox4x32-10, which is counter-based: the epoch is its key, the
sample and the place are its counter, so any draw of any sample can be made alone, in any order.

Transforms ask with `draw`, users with `sample_rng`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace import kernels
from headrace.errors import ArgumentError
from headrace.rng.context import NoDraws, SampleKeys, loading, use_keys, whole_batch
from headrace.rng.places import slot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

__all__ = [
    "Draw",
    "default_rng",
    "draw",
    "draw_below",
    "draw_chance",
    "next_draw",
    "present_place",
    "replacement",
    "replays",
    "sample_rng",
]

_WORDS = 2.0**32
_TOGETHER = 64  # samples for which draws at one place are made, when the first of them draws
_REPLACEMENTS = 0x48520005  # the stream of draws that choose a sample in place of another


class Draw(NamedTuple):
    """The arguments of `Kernels.philox`, which makes random words of them for each of some samples.

    Attributes:
        key: the key of the epoch, 64 bits.
        indices: the samples, shape (n,), int64.
        stream: 32 bits that stand for the place in the chain of transforms.
        block: 32 bits that tell apart what samples draw at the same place.
    """

    key: int
    indices: NDArray[np.int64]
    stream: int
    block: int = 0


def draw(count: int) -> NDArray[np.uint32]:
    """Return four random words for each of `count` samples.

    Inside a loader they follow from the samples' keys and the place in the chain; outside they
    follow from Python's `random`, so `random.seed(0)` reproduces them.

    Args:
        count: 1, or the number of samples being loaded.

    Returns:
        Uniform words, shape (count, 4), uint32.

    Raises:
        ArgumentError: a batch of another size than the one being loaded asks for draws.

    >>> random.seed(0)
    >>> first = draw(2)
    >>> random.seed(0)
    >>> bool((draw(2) == first).all())
    True
    """
    return kernels.active().philox(*next_draw(count))


def draw_below(count: int, *limits: int) -> list[list[int]]:
    """Return a uniform integer below each limit, of up to four, for each of `count` samples: of the words of one draw.

    A word times the limit, divided by 2**32, is one, up to a bias of limit / 2**32.

    Args:
        count: 1, or the number of samples being loaded.
        *limits: positive, below 2**31.

    Returns:
        A list for each limit, of as many integers as samples.

    >>> draw_below(3, 1, 1)
    [[0, 0, 0], [0, 0, 0]]
    """
    if count != 1:  # for one, plain integers are quicker than arrays
        words = draw(count)[:, : len(limits)] * np.array(limits) >> 32
        found: list[list[int]] = words.T.tolist()
        return found
    return [[word * limit >> 32] for word, limit in zip(_draw_one(), limits, strict=False)]


def draw_chance(count: int, p: float) -> list[bool]:
    """Return for each of `count` samples whether it happens to it, which it does with probability `p`.

    >>> draw_chance(2, 1.0)
    [True, True]
    """
    if count != 1:
        found: list[bool] = (draw(count)[:, 0] < p * _WORDS).tolist()
        return found
    return [_draw_one()[0] < p * _WORDS]


def _draw_one() -> Sequence[int]:
    """Return four random words for one sample, as integers.

    Samples that are read one after the other draw at the same places, so a few of them draw together.
    """
    keys = loading.get()
    if keys is None or keys.position is None:
        words: list[list[int]] = draw(1).tolist()
        return words[0]
    stream = keys.next_stream()  # which finds out whose turn it is
    some, place = divmod(keys.position, _TOGETHER)
    drawn = keys.drawn.get(stream)
    if drawn is None or drawn[0] != some or drawn[1] is not keys.batch:
        indices = keys.batch[some * _TOGETHER : (some + 1) * _TOGETHER]
        drawn = keys.drawn[stream] = some, keys.batch, kernels.active().philox(keys.key, indices, stream).tolist()
    return drawn[2][place]


def next_draw(count: int) -> Draw:
    """Return the arguments of the next call of `philox`, and move on to the place behind it.

    >>> next_draw(2).indices
    array([0, 1])
    """
    keys = loading.get()
    if keys is None:
        return Draw(random.getrandbits(64), np.arange(count), 0)
    indices = keys.indices
    if count == len(indices):
        return Draw(keys.key, indices, keys.next_stream())
    if count == 1:
        return Draw(keys.key, indices[:1], keys.next_stream(), keys.next_unnamed())
    raise ArgumentError(
        f"a transform got a batch of {count} while {len(indices)} samples are being loaded; it can draw "
        "for all of them or for one: call it once with the batch, or once a sample"
    )


def present_place(count: int) -> tuple[tuple[int, int], Draw] | None:
    """Return the place in the chain and whose draws begin there; None unless a batch of `count` is being loaded.

    What draws there, and is the same for each batch, draws from the same streams of other keys and samples.
    """
    keys = whole_batch(count)
    if keys is None or type(keys) is not SampleKeys:
        return None
    return (keys.path, keys.count), Draw(keys.key, keys.batch, 0)


def replays(count: int) -> Callable[[], AbstractContextManager[None]]:
    """Return a context in which what is drawn is the same whenever it is entered, for `count` samples.

    So a mask is cut where its image was. In a loader these are the draws at the present place.

    >>> again = replays(1)
    >>> with again():
    ...     first = draw(1)
    >>> with again():
    ...     bool((draw(1) == first).all())
    True
    """
    keys = loading.get()
    if keys is not None and len(keys.indices) == count:
        return slot
    words = np.ascontiguousarray(draw(count)[:, :2]).view(np.int64)[:, 0]
    return lambda: use_keys(0, words)


def sample_rng() -> np.random.Generator:
    """Return the random generator of the sample being loaded, for a transform of your own.

    Each call gives an independent generator, and the same one in every run with the same seed, on
    any number of workers: it follows from (seed, epoch, index, place in the chain). In a
    `collate_fn` it belongs to the batch. Outside a loader it is `default_rng()`.

    >>> import headrace
    >>> def noisy(image):
    ...     return image + headrace.sample_rng().normal(0, 0.1, image.shape)
    >>> noisy(np.zeros((2, 2))).shape
    (2, 2)
    """
    keys = loading.get()
    if keys is None:
        return default_rng()
    stream, indices = keys.next_stream(), keys.indices
    index = int(indices[0]) & (2**64 - 1) if len(indices) else 0
    key = np.array([keys.key, stream], np.uint64)
    unnamed = 0 if len(indices) == 1 else keys.next_unnamed()
    counter = np.array([0, 0, index, unnamed], np.uint64)  # the low words count the draws
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def replacement(key: int, index: int, attempt: int, count: int) -> int:
    """Return which of `count` samples is read in place of one that cannot be.

    Args:
        key: the key of the epoch, below 2**64.
        index: the index of the sample that cannot be read.
        attempt: how many have been tried in its place.
        count: how many samples there are to choose from.

    >>> replacement(7, 3, 0, 1000) == replacement(7, 3, 0, 1000) != replacement(7, 3, 1, 1000)
    True
    """
    low, high, _, _ = kernels.active().philox(key, np.array([index], np.int64), _REPLACEMENTS, attempt)[0].tolist()
    chosen: int = (low | high << 32) * count >> 64
    return chosen


def default_rng() -> np.random.Generator:
    """Return a NumPy generator seeded from Python's `random`: what transforms draw from outside a loader.

    >>> random.seed(0)
    >>> a = default_rng().random()
    >>> random.seed(0)
    >>> a == default_rng().random()
    True
    """
    keys = loading.get()
    if isinstance(keys, NoDraws):
        keys.next_stream()
    return np.random.default_rng(random.getrandbits(128))
