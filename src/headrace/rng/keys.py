"""Sample keys: where the randomness of a sample comes from.

A draw is a function of (seed, epoch, index of the sample, place in the chain of transforms) and of
nothing else. The generator is Philox4x32-10, which is counter-based: the epoch is its key, the
sample and the place are its counter, so any draw of any sample can be made alone, in any order.

The loader says with `use_keys` which samples it is loading; transforms ask with `draw`, users with
`sample_rng`. Datasets and transforms that hold others open a `slot` for each of them, so that what
one of them draws never shifts what another one draws.
"""

from __future__ import annotations

import hashlib
import random
import sys
from contextvars import ContextVar
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from headrace import kernels
from headrace.errors import ArgumentError, CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = [
    "Chain",
    "Draw",
    "check_seed",
    "default_rng",
    "draw",
    "each_sample",
    "epoch_key",
    "next_draw",
    "no_draws",
    "notice_unnamed",
    "part",
    "present_place",
    "replacement",
    "sample_rng",
    "slot",
    "use_keys",
]

_WORD = 2**32 - 1
_REPLACEMENTS = 0x48520005  # the stream of draws that choose a sample in place of another


def check_seed(seed: object) -> int:
    """Return the seed as a Python integer.

    Raises:
        ArgumentError: it is no integer, or negative.
    """
    if isinstance(seed, bool | np.bool_) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed must be a non-negative integer or None, but got seed={seed!r}")
    return int(seed)


@lru_cache(256)  # it is asked for every batch of an epoch
def epoch_key(seed: int, epoch: int, purpose: str) -> int:
    """Return the 64-bit key of one epoch, independent between seeds, epochs and purposes.

    Args:
        seed: the seed of the run, any non-negative integer.
        epoch: the number of the epoch.
        purpose: what the key is for ("order", "draws", ...).

    Returns:
        An integer below 2**64: BLAKE2b (RFC 7693) of the three.

    >>> epoch_key(0, 0, "order") == epoch_key(0, 0, "order")
    True
    >>> epoch_key(0, 0, "order") == epoch_key(0, 1, "order")
    False
    """
    text = f"headrace:{purpose}:{seed}:{epoch}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class _SampleKeys:
    """The samples being loaded, and the place in the chain of transforms that has been reached."""

    __slots__ = ("batch", "count", "key", "path", "position", "unnamed")

    def __init__(self, key: int, indices: NDArray[np.int64]) -> None:
        self.key = key
        self.batch = indices
        self.position: int | None = None  # of the one sample in the batch that draws belong to; None for all
        self.path = 0
        self.count = 0
        self.unnamed = 0  # draws for one sample of the batch that did not say which

    @property
    def indices(self) -> NDArray[np.int64]:
        """The samples that draws belong to."""
        return self.batch if self.position is None else self.batch[self.position : self.position + 1]

    def next_stream(self) -> int:
        """Return the stream of the next random step at this place."""
        stream = _mix(self.path, self.count)
        self.count += 1
        return stream

    def next_unnamed(self) -> int:
        """Return a number for a draw of one sample where only the whole batch is known.

        So it is in a `collate_fn`, and under a `__getitems__` of another library, whose samples all
        come to the same place. They draw differently, in the order in which they are read.
        """
        self.unnamed += 1
        return self.unnamed


class _NoDraws(_SampleKeys):
    """Samples that must not be random."""

    __slots__ = ()

    def next_stream(self) -> int:
        """Refuse to draw."""
        raise CacheError(
            f"{_who_draws()} draws random numbers for a sample that is being cached, so all epochs would get the same "
            "ones; put .cache(...) before what is random: dataset.cache(...).map(augment)"
        )


def _who_draws() -> str:
    """Return the function, or the class of the transform, that has called into this file."""
    frame = sys._getframe()  # noqa: SLF001 - the only way to know
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    owner = frame.f_locals.get("self")
    return frame.f_code.co_qualname if owner is None else type(owner).__qualname__


_loading: ContextVar[_SampleKeys | None] = ContextVar("headrace_sample_keys", default=None)


def _mix(path: int, number: int) -> int:
    """Return a 32-bit hash of a path and the number of a branch (the finaliser of MurmurHash3)."""
    word = (path * 0x9E3779B1 + number + 1) & _WORD
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & _WORD
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & _WORD
    return word ^ (word >> 16)


class use_keys:  # noqa: N801 - a context manager reads like a function
    """While this is open, draws belong to these samples.

    Args:
        key: the key of the epoch, below 2**64.
        indices: the samples' indices, shape (n,), int64.
    """

    __slots__ = ("_keys", "_token")

    def __init__(self, key: int, indices: NDArray[np.int64]) -> None:
        self._keys = _SampleKeys(key, indices)

    def __enter__(self) -> None:
        self._token = _loading.set(self._keys)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _loading.reset(self._token)


class no_draws(use_keys):  # noqa: N801 - a context manager reads like a function
    """While this is open, these samples are read, and a draw for one of them is an error.

    Args:
        indices: the samples' indices, shape (n,), int64.
    """

    __slots__ = ()

    def __init__(self, indices: NDArray[np.int64]) -> None:
        self._keys = _NoDraws(0, indices)


class slot:  # noqa: N801 - a context manager reads like a function
    """While this is open, draws belong to branch `number` of the present place.

    Whoever holds several sources of draws (a chain of transforms, a dataset and the function mapped
    over it) opens one slot for each. Several numbers are as several slots, each inside of the one
    before it. Does nothing outside a loader.
    """

    __slots__ = ("_keys", "_numbers", "_saved")

    def __init__(self, *numbers: int) -> None:
        self._keys = _loading.get()
        self._numbers = numbers

    def __enter__(self) -> None:
        keys = self._keys
        if keys is not None:
            self._saved = keys.path, keys.count
            for number in self._numbers:
                keys.path = _mix(keys.path, number)
            keys.count = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keys is not None:
            self._keys.path, self._keys.count = self._saved


class Chain:
    """Functions that run one after the other, each of which draws in slots of its own.

    Args:
        steps: of each function the slots, one in the other, and the function; one with no slots draws where the
            chain stands.

    >>> Chain([((1,), str.strip), ((2,), str.upper)])(" a ")
    'A'
    """

    __slots__ = ("_functions", "_hashed", "_slots")

    def __init__(self, steps: Iterable[tuple[tuple[int, ...], Callable[[Any], Any]]]) -> None:
        steps = list(steps)
        self._slots = [slots for slots, _ in steps]
        self._functions = [function for _, function in steps]
        self._hashed: tuple[int, list[int]] = (-1, [])  # the path where the chain stood last, and those of its steps

    def __call__(self, value: Any) -> Any:
        """Return what the functions make of a value."""
        keys = _loading.get()
        if keys is None:
            for function in self._functions:
                value = function(value)
            return value
        start, count = keys.path, keys.count
        hashed, paths = self._hashed
        if hashed != start:
            paths = [reduce(_mix, slots, start) for slots in self._slots]
            self._hashed = start, paths
        try:
            for path, slots, function in zip(paths, self._slots, self._functions, strict=True):
                if slots:
                    keys.path, keys.count = path, 0
                value = function(value)
        finally:
            keys.path, keys.count = start, count
        return value


class part:  # noqa: N801 - a context manager reads like a function
    """While this is open, draws belong to the samples at these positions of the batch.

    Every part starts at the same place, whatever the one before it drew. Does nothing where not
    `count` samples are being loaded: then they are not the batch's.

    Args:
        positions: where the samples stand among those being loaded, shape (m,), int64.
        count: how many samples are being loaded, as far as the caller knows.
    """

    __slots__ = ("_keys", "_positions", "_saved")

    def __init__(self, positions: NDArray[np.int64], count: int) -> None:
        self._keys = _whole_batch(count)
        self._positions = positions

    def __enter__(self) -> None:
        if self._keys is not None:
            self._saved = self._keys.batch, self._keys.count
            self._keys.batch = self._keys.batch[self._positions]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keys is not None:
            self._keys.batch, self._keys.count = self._saved


class each_sample:  # noqa: N801 - a context manager reads like a function
    """Go through the samples being loaded, so that draws belong to one of them at a time.

    The context is a function: called with a position it moves on to the sample there. Every sample
    starts at the same place, whatever the one before it drew. Where not `count` samples are being
    loaded, the draws stay with whoever they belonged to.

    Args:
        count: how many samples will be gone through.
    """

    __slots__ = ("_keys", "_path", "_start")

    def __init__(self, count: int) -> None:
        self._keys = _whole_batch(count)

    def __enter__(self) -> Callable[[int], None]:
        if self._keys is None:
            return _stay
        self._path, self._start = self._keys.path, self._keys.count
        return self._move_to

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keys is not None:
            self._keys.position, self._keys.path, self._keys.count = None, self._path, self._start

    def _move_to(self, position: int) -> None:
        keys = self._keys
        assert keys is not None  # noqa: S101 - __enter__ hands this method out only then
        keys.position, keys.path, keys.count = position, self._path, self._start


class notice_unnamed:  # noqa: N801 - a context manager reads like a function
    """Notice draws for one sample of the batch being loaded that do not say for which.

    After the exit, `noticed` tells whether there were any; if so they are as good as not made.
    """

    __slots__ = ("_before", "_keys", "noticed")

    def __init__(self) -> None:
        self._keys = _loading.get()
        self.noticed = False

    def __enter__(self) -> Self:
        if self._keys is not None:
            self._before = self._keys.count, self._keys.unnamed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keys is not None and self._keys.unnamed != self._before[1]:
            self.noticed = True
            self._keys.count, self._keys.unnamed = self._before


def _whole_batch(count: int) -> _SampleKeys | None:
    """Return the samples being loaded, if they are a batch of `count` and draws belong to all of them."""
    keys = _loading.get()
    return keys if keys is not None and keys.position is None and len(keys.batch) == count else None


def _stay(position: int) -> None:
    """Move nowhere: no samples are being loaded."""


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


def next_draw(count: int) -> Draw:
    """Return the arguments of the next call of `philox`, and move on to the place behind it.

    >>> next_draw(2).indices
    array([0, 1])
    """
    keys = _loading.get()
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
    keys = _whole_batch(count)
    if keys is None or type(keys) is not _SampleKeys:
        return None
    return (keys.path, keys.count), Draw(keys.key, keys.batch, 0)


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
    keys = _loading.get()
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
    keys = _loading.get()
    if isinstance(keys, _NoDraws):
        keys.next_stream()
    return np.random.default_rng(random.getrandbits(128))
