"""Batches of indices that a user's sampler decides on, which is replayed to find them again."""

from __future__ import annotations

import operator
import warnings
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias
from zlib import crc32

import numpy as np

from headrace import frameworks
from headrace.errors import ArgumentError, ArgumentTypeError, HeadraceWarning
from headrace.sampling.sampler_iterators import exhaust, first, lazily, length_of, refilled
from headrace.sampling.sampler_memory import SamplerMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from headrace.sampling.planned import PlanSampling
    from headrace.sampling.ranks import Shares

__all__ = [
    "BatchSampling",
    "GivenSampling",
    "Pass",
    "Sampling",
    "Selection",
    "SingleSampling",
    "as_selection",
]
# The samples of a batch: their indices or, where a sampler gives other keys, a list of those.
Selection: TypeAlias = "NDArray[np.int64] | list[Any]"


class GivenSampling(ABC):
    """Batches that a user's sampler decides on, found again by going through it from the start.

    Args:
        sampler: a sampler or batch_sampler.
        seeded: whether what it draws from the global generators follows from the epoch's key.

    Attributes:
        deals: whether it gives one of several ranks its share, as torch's DistributedSampler does.
    """

    name: str  # of the loader's argument
    shares: Shares | None = None  # nobody knows them but the sampler

    def __init__(self, sampler: Iterable[Any], *, seeded: bool = False) -> None:
        self._sampler = sampler
        self._seeded = seeded
        self._plain = isinstance(sampler, list | tuple | range) or frameworks.find(sampler) is not None
        self._memory = SamplerMemory(None if self._plain else sampler)
        self.deals = _deals(sampler) or _deals(getattr(sampler, "sampler", None))
        self._draws_outside = not self._plain and self._memory.may_draw_outside()
        self._started = False
        self._restored: dict[str, Any] | None = None  # no pass has begun since
        self._latest: Pass | None = None
        self._passes = 0  # by iterators
        self._before: int | None = None  # stands for the first batch of the latest pass

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_latest": None}  # a pass under way stays here

    @abstractmethod
    def steps(self) -> int:
        """Return the number of batches, as the sampler says."""

    @abstractmethod
    def _gather(self, items: Iterator[Any]) -> Iterator[Selection]:
        """Make batches of what the sampler gives."""

    def present(self) -> dict[str, Any] | None:
        """Return what the sampler is now, for `start` in another process; None where every pass is the same."""
        if self._plain:
            return None
        # What is saved of a sampler that gives each rank its share holds on all of them.
        passes, before = (0, None) if self.deals else (self._passes, self._before)
        return {"passes": passes, "before": before, "prefix": None, **self._memory.take()}

    def restore(self, saved: dict[str, Any] | None) -> None:
        """Let the sampler be as it was when a pass began, until it is told something else.

        Raises:
            StateError: this is not the state of such a sampler.
        """
        if saved is not None and not self._plain:
            self._memory.put(saved)
            self._restored = saved

    def check(self) -> None:
        """Refuse a used-up iterator, whose epoch would be silently empty.

        Raises:
            ArgumentError: it is one.
        """
        if self._started and isinstance(self._sampler, Iterator):
            self._sampler = refilled(self._sampler, self.name)

    def start(self, key: int, step: int, saved: dict[str, Any] | None = None) -> Pass:
        """Begin a pass at a step.

        Args:
            key: the key of the epoch.
            step: which batches come first.
            saved: what the sampler was when the pass began, perhaps in another process; None for one that begins now.
        """
        self.check()
        if self._plain or saved is None:
            present = None if step else self.present()  # further on nobody knows what it was
            self._passes += 1
            return self._begin(key, present, step)
        if saved is not self._restored:
            self._memory.put(saved)
        self._restored = None
        earlier = saved.get("passes") or 0
        known = any(name in saved for name in ("generators", "values", "own"))
        if saved.get("prefix") is None:
            if earlier and not known and not self._seeded:
                self._find_earlier(key, saved)
            found = self._begin(key, saved, step)
        else:
            found = self._find(key, step, saved, 1 if known else 1 + earlier)
        self._passes = earlier + 1
        return found

    def _find(self, key: int, step: int, saved: dict[str, Any], tries: int) -> Pass:
        """Go through the sampler until it gives what it gave before the state was taken, at most so often."""
        for left in reversed(range(1 if isinstance(self._sampler, Iterator) else tries)):
            found = self._begin(key, saved, step)
            if found.digest(step) == saved["prefix"]:
                return found
            if left:
                exhaust(found)
        self._warn(
            "gives other samples than before the state was taken, so some come twice in this epoch, others never"
        )
        return found

    def _find_earlier(self, key: int, saved: dict[str, Any]) -> None:
        """Go through the sampler until it has given the epoch before the one that begins."""
        for _ in range(saved["passes"]):
            found = self._begin(key, saved, 1)
            exhaust(found)
            if found.digest(1) == saved["before"]:
                return
        self._warn("gives other samples than in the epoch before the state was taken")

    def _warn(self, text: str) -> None:
        warnings.warn(
            f"the {self.name} ({type(self._sampler).__name__}) {text}; give it a random generator of its own, in an "
            "attribute, or give the DataLoader a seed",
            HeadraceWarning,
            stacklevel=2,
        )

    def at(self, key: int, step: int, begun: Pass | dict[str, Any] | None = None) -> Selection:
        """Return the batch at a step, and leave the sampler as it is.

        Args:
            key: the key of the epoch.
            step: the batch's number.
            begun: the pass of that epoch, or what the sampler was when it began; None for a pass that begins now.
        """
        if isinstance(self._sampler, Iterator):
            raise ArgumentError(
                f"the {self.name} is an iterator ({type(self._sampler).__name__}), which can be gone through once; "
                "pass a list or an object whose __iter__ starts anew to ask for single batches"
            )
        saved, outside = (begun.saved, begun.outside) if isinstance(begun, Pass) else (begun, None)
        if self._plain:
            return first(Pass(self._gather(iter(self._sampler)), saved, step), step)
        present = self._memory.take()
        with frameworks.private_globals(states=outside):
            try:
                if saved is not None:
                    self._memory.put(saved)
                found = Pass(self._gather(lazily(self._sampler)), saved, step, self._private(key))
                selection = first(found, step)
            finally:
                self._memory.put(present)
        if isinstance(begun, Pass) and begun.digest(step + 1) not in (None, found.digest(step + 1)):
            self._warn("gives other samples each time that it is gone through, so this batch is not the epoch's")
        return selection

    @property
    def varies(self) -> bool:
        """Whether one pass may differ from another, as far as it shows."""
        return not self._plain and bool(self._memory.take())

    def _begin(self, key: int, saved: dict[str, Any] | None, step: int) -> Pass:
        self._started = True
        private = self._private(key)
        outside = frameworks.global_states() if private is None and self._draws_outside else None
        self._latest = Pass(self._gather(lazily(self._sampler)), saved, step, private, outside, self)
        return self._latest

    def _private(self, key: int) -> frameworks.private_globals | None:
        return frameworks.private_globals(key) if self._seeded and self._draws_outside else None

    def note(self, digest: int) -> None:
        """Take note of a number that stands for the first batch of a pass."""
        self._before = digest

    def undo(self, begun: Pass) -> None:
        """Let the sampler be as if a pass had not begun, unless another one has since."""
        if begun is self._latest and begun.saved is not None:
            self._memory.put(begun.saved)
            self._passes, self._before = begun.saved["passes"], begun.saved["before"]


def _deals(sampler: object) -> bool:
    return hasattr(sampler, "num_replicas") and hasattr(sampler, "rank")


class Pass(Iterator[Selection]):
    """A pass through a sampler: its batches, from one step on.

    Args:
        batches: all of them.
        saved: what the sampler was when the pass began.
        step: the first of the batches to be given.
        private: what the sampler has in place of the program's global generators; None where it has those.
        outside: the states of those when the pass began.
        owner: the batches that this is a pass of; None for one that is only looked at.
    """

    def __init__(
        self,
        batches: Iterator[Selection],
        saved: dict[str, Any] | None,
        step: int,
        private: frameworks.private_globals | None = None,
        outside: tuple[Any, ...] | None = None,
        owner: GivenSampling | None = None,
    ) -> None:
        self.saved = saved
        self.outside = outside
        self._batches = batches
        self._private = private
        self._owner = owner
        self._digests = array("I", [0])  # of the batches before each step
        for _ in range(step):
            if next(self, None) is None:
                break

    def __next__(self) -> Selection:
        if self._private is None:
            selection = next(self._batches)
        else:
            with self._private:
                selection = next(self._batches)
        read: Any = selection if isinstance(selection, np.ndarray) else repr(selection).encode()
        self._digests.append(crc32(read, self._digests[-1]))
        if self._owner is not None and len(self._digests) == 2:
            self._owner.note(self._digests[1])
        return selection

    def digest(self, step: int) -> int | None:
        """Return a number that stands for the batches before a step; None if there are not so many."""
        return self._digests[step] if step < len(self._digests) else None

    def undo(self) -> None:
        """Let the sampler be as if this had not begun."""
        if self._owner is not None:
            self._owner.undo(self)

    def state(self, step: int) -> dict[str, Any] | None:
        """Return what is to be saved of the pass, to start at a step."""
        if self.saved is None:
            return None
        compared = step and not (self._owner is not None and self._owner.deals)
        return {**self.saved, "prefix": self.digest(step) if compared else None}


class BatchSampling(GivenSampling):
    """Batches given by a user's batch_sampler, which yields the indices, or other keys, of one batch at a time."""

    name = "batch_sampler"

    def steps(self) -> int:
        """Return the number of batches, as the batch_sampler says."""
        return length_of(self._sampler, self.name)

    def _gather(self, items: Iterator[Any]) -> Iterator[Selection]:
        return map(as_selection, items)


class SingleSampling(GivenSampling):
    """Batches gathered from a user's sampler, which yields one index, or other key, at a time.

    Args:
        sampler: the sampler.
        batch_size: how many make up a batch; None for one that is no batch.
        drop_last: leave out the last ones if they do not fill a batch.
        seeded: whether what it draws from the global generators follows from the epoch's key.
    """

    name = "sampler"

    def __init__(
        self, sampler: Iterable[Any], batch_size: int | None, *, drop_last: bool, seeded: bool = False
    ) -> None:
        super().__init__(sampler, seeded=seeded)
        self._batch_size = batch_size
        self._drop_last = drop_last

    def steps(self) -> int:
        """Return the number of batches that the sampler's length makes."""
        length, size = length_of(self._sampler, self.name), self._batch_size or 1
        return length // size if self._drop_last else -(-length // size)

    def _gather(self, items: Iterator[Any]) -> Iterator[Selection]:
        if self._batch_size is None:
            for sample in items:
                yield as_selection([sample])
            return
        while batch := list(islice(items, self._batch_size)):
            if len(batch) < self._batch_size and self._drop_last:
                return
            yield as_selection(batch)


# Which samples make up each batch of an epoch.
Sampling: TypeAlias = "PlanSampling | GivenSampling"


def as_selection(batch: Sequence[Any]) -> Selection:
    """Return the keys of a batch as an int64 array if they are integers, else as a list.

    >>> as_selection((3, 1))
    array([3, 1])
    >>> as_selection(["a", "b"])
    ['a', 'b']

    Raises:
        ArgumentTypeError: the batch cannot be gone through.
    """
    try:
        keys = list(batch)
    except TypeError as error:
        raise ArgumentTypeError(
            f"the batch_sampler gave {batch!r:.100}, but each of its items is a list of indices; "
            "pass single indices as sampler="
        ) from error
    try:
        return np.array([operator.index(key) for key in keys], np.int64)
    except (TypeError, OverflowError):
        return keys
