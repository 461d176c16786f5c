"""The position of a loader, in the words of its user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentTypeError, OutOfRangeError
from headrace.loader import position
from headrace.loader.base import B_co
from headrace.loader.config import check_count
from headrace.loader.iterator import BatchIterator, one_after_the_other
from headrace.loader.lookup import LookupLoader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from typing import Literal

__all__ = ["PositionedLoader"]


class PositionedLoader(LookupLoader[B_co]):
    """A loader that has a position: it is told, kept, and changed."""

    def set_epoch(self, epoch: int) -> None:
        """Let the next iterator begin this epoch. A sampler with a `set_epoch` of its own is told.

        A state loaded in the midst of this same epoch stays where it is, so a training loop may say
        `set_epoch` before each of its epochs, the resumed one too.

        Args:
            epoch: a non-negative integer.
        """
        epoch = check_count("epoch", epoch)
        if self._epochs.place().number != epoch:
            self._states.loaded = None
        self._epochs.go_to(epoch)
        self._order.tell_sampler(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands, as a dict of a few integers that `json.dumps` takes.

        A stream with a state of its own adds that of each of its readers, after the batches handed out.

        That is where the iterator stands that was asked for a batch last; one that was asked for its
        first batch only does not count while another one goes through its epoch. The state may be
        taken at any time; the batches handed out so far are counted, nothing is loaded.
        Between epochs it is the start of the next one, whose seed is then drawn if there is none.
        Taken after the last batch of an epoch, while its iterator has not yet ended, it is that
        place: the iterator that goes on from it ends at once.

        >>> import json
        >>> from headrace import DataLoader
        >>> loader = DataLoader(range(10), batch_size=2, seed=0)
        >>> batches = iter(loader)
        >>> next(batches)
        array([0, 1])
        >>> state = json.dumps(loader.state_dict())
        >>> resumed = DataLoader(range(10), batch_size=2, seed=0)
        >>> resumed.load_state_dict(json.loads(state))
        >>> next(iter(resumed))
        array([2, 3])
        """
        return self._state(self._epochs.position()).to_dict()

    def load_state_dict(
        self, state: Mapping[str, Any], at: Literal["step", "samples"] = "step", *, strict: bool = True
    ) -> None:
        """Let the next iterator go on where the state was taken.

        A computed order is entered at once, and so is a stream that has the methods `state_dict` and `load_state_dict`,
        or whose iterators have; a sampler is gone through again, and any other stream is read again, up to there. An
        empty dict, which stands for no state in some frameworks, changes nothing.

        Args:
            state: what `state_dict` gave, on any rank.
            at: "step" counts steps, which must be of as many samples as before: the ranks may be others, if `batch_size
                * world_size` is the same. "samples" counts samples, so the batch size may be another one, too; the
                epoch goes on with full steps.
            strict: refuse a dataset that has grown. Else, with at="samples", this epoch goes on with the samples that
                it had, the next one has all, and a warning says what has changed.

        Raises:
            StateError: it is not the state of a loader with this dataset length, seed and batch size.

        >>> from headrace import DataLoader
        >>> one = DataLoader(range(100), batch_size=10, seed=0)
        >>> batches = iter(one)
        >>> _ = next(batches), next(batches), next(batches)
        >>> ranks = [DataLoader(range(100), batch_size=8, seed=0, rank=rank, world_size=2) for rank in range(2)]
        >>> for loader in ranks:
        ...     loader.load_state_dict(one.state_dict(), at="samples")
        >>> [int(next(iter(loader))[0]) for loader in ranks]
        [30, 38]
        """
        if isinstance(state, dict) and not state:
            return
        position.go_on(self, state, at, strict=strict)

    def seek(self, step: int, epoch: int = 0) -> None:
        """Let the next iterator begin at a step of an epoch.

        Args:
            step: the step of its first batch, 0 ... len(loader).
            epoch: the number of the epoch.

        Raises:
            OutOfRangeError: there is no such step (also an IndexError).

        >>> from headrace import DataLoader
        >>> loader = DataLoader(range(10), batch_size=4)
        >>> loader.seek(2)
        >>> next(iter(loader))
        array([8, 9])
        """
        epoch, step = check_count("epoch", epoch), position.check_step(self, step, self._length())
        self._epochs.seek(epoch, step)
        self._states.loaded = None
        self._order.tell_sampler(epoch)

    def skip(self, steps: Collection[tuple[int, int]]) -> None:
        """Pass over steps from the next iterator on: those of a loss spike, for example. A state remembers them.

        The other steps stay as they are, and `batch` gives those that are passed over, too.

        Args:
            steps: each as (epoch, step), in addition to those of earlier calls.

        Raises:
            ArgumentError: they are no pairs of counts.

        >>> from headrace import DataLoader
        >>> loader = DataLoader(range(6), batch_size=2)
        >>> loader.skip({(0, 1)})
        >>> list(loader)
        [array([0, 1]), array([4, 5])]
        """
        self._epochs.skipped |= position.check_places(steps)

    def iterate(self, start: int = 0, stop: int | None = None, epoch: int | None = None) -> BatchIterator[B_co]:
        """Return an iterator over some steps of an epoch, which leaves the position of the loader as it is.

        Args:
            start: the first step.
            stop: the step after the last one; by default all to the end.
            epoch: the number of the epoch; by default the one that the loader stands in, or else the next one.

        Raises:
            OutOfRangeError: there are no such steps (also an IndexError).
            ArgumentTypeError: the dataset is a stream, or a sampler decides (also a TypeError).

        >>> from headrace import DataLoader
        >>> loader = DataLoader(range(10), batch_size=2)
        >>> list(loader.iterate(1, 3))
        [array([2, 3]), array([4, 5])]
        """
        self._check_open()
        if self._streams or self._given_sampling is not None:
            raise ArgumentTypeError("iterate(start, stop) needs an order that the loader computes; use iter(loader)")
        cursor = self._epochs.find(None if epoch is None else check_count("epoch", epoch), self._length())
        steps = self._steps(cursor.length, cursor.start.shift)
        stop = steps if stop is None else check_count("stop", stop)
        if check_count("start", start) > stop or stop > steps:
            raise OutOfRangeError(f"there are no steps from {start} to {stop} in an epoch of {steps} steps")
        return BatchIterator(self, self._epochs.aside(cursor, start, stop))

    def forever(self) -> Iterator[B_co]:
        """Return an iterator over this epoch and all that follow it.

        With a seed, workers begin the next epoch while the last batches of this one are handed out. The batches are
        those of one `iter(loader)` after the other, and so are the states.

        Returns:
            An iterator that ends only where an epoch has no batches.

        >>> from itertools import islice
        >>> from headrace import DataLoader
        >>> [batch.tolist() for batch in islice(DataLoader(range(4), batch_size=2, seed=0).forever(), 3)]
        [[0, 1], [2, 3], [0, 1]]
        """
        if self.seed is None or self._streams or self._given_sampling is not None:
            return one_after_the_other(self)  # what an epoch draws as it begins, it draws in its turn
        self._check_open()
        self._iterated = True
        return BatchIterator(self, endless=True)

    @property
    def samples_seen(self) -> int:
        """The samples that all ranks together have been given since epoch 0, by where the loader stands.

        Where steps have become larger or smaller since, those that were skipped in earlier epochs count as given.

        Raises:
            ArgumentTypeError: the dataset is a stream, or a sampler decides (also a TypeError).

        >>> from headrace import DataLoader
        >>> loader = DataLoader(range(10), batch_size=2, rank=0, world_size=2, seed=0)
        >>> for step, batch in zip(range(4), loader.forever(), strict=False):
        ...     pass
        >>> loader.samples_seen  # an epoch of 10, and a step of 4
        14
        """
        at = self._epochs.place()
        return position.samples_seen(self, self._shares(at.number), at)
