"""Batches asked for alone, and what can be asked about a loader."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any

from headrace import frameworks
from headrace.batch.collate import default_collate
from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError
from headrace.kernels.cores import available_cores
from headrace.loader.base import B_co
from headrace.loader.batches import BatchLoader
from headrace.loader.config import check_count
from headrace.loader.context import loading_batch
from headrace.loader.pools import choose_backend
from headrace.loader.replay import Replay
from headrace.loader.tasks import Loaded, naming_step, seed_globals
from headrace.loader.validity import with_validity
from headrace.pipeline.blocks import add_counters
from headrace.pipeline.hints import counters
from headrace.sampling.planned import PlanSampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from headrace.insight.explanation import BatchExplanation
    from headrace.insight.stats import LoaderStats, Settings, SourceStats
    from headrace.loader.bad_samples import BadSample
    from headrace.loader.cursor import Cursor, Epoch
    from headrace.sampling.ranks import Shares
    from headrace.sampling.samplers import Sampling, Selection

__all__ = ["LookupLoader"]


class LookupLoader(BatchLoader[B_co]):
    """A loader that gives any batch, explains it, and tells what it has done."""

    def batch(self, step: int, epoch: int | None = None) -> B_co:
        """Return the batch at a step of an epoch, without loading any other.

        This is how to look at the data: no epoch begins, and nothing that comes after is changed.

        Args:
            step: 0 ... len(loader) - 1.
            epoch: the number of the epoch; by default the one that the loader stands in, or else the next one.

        Raises:
            OutOfRangeError: there is no such step (also an IndexError).
            ArgumentError: the epoch's seed is not known, because each epoch draws its own.
            Exception: what a sample of it raised, or the last one, where all had to be passed over.

        >>> import numpy as np
        >>> from headrace import DataLoader, TensorDataset
        >>> loader = DataLoader(TensorDataset(np.arange(100)), batch_size=4, shuffle=True, seed=0)
        >>> batches = list(loader)
        >>> bool((loader.batch(7)[0] == batches[7][0]).all())
        True
        """
        known, step, selection, _ = self._find_batch(step, epoch)
        foreign = self._runs_foreign_code()
        globals_kept = frameworks.kept_globals() if foreign else nullcontext()
        with globals_kept, loading_batch(known, step, selection, self._arena):
            if foreign:
                seed_globals(known, step, devices=False)
            batch = self._alone(self._maker().reader()(selection, known.draws_key, step), known, step)
        if self.uneven == "pad":
            batch = with_validity(batch, self.valid(step, known.number))
        delivered: B_co = self._deliver(batch)
        return delivered

    def explain(self, step: int, epoch: int | None = None) -> BatchExplanation:
        """Return where each sample of a batch comes from, and what the transforms drew for it.

        Nothing of that is recorded while batches are loaded: a batch is a function of its step, so its samples are
        read again, one by one. What cannot be read is explained as well.

        Args:
            step: 0 ... len(loader) - 1.
            epoch: the number of the epoch; by default the one that the loader stands in, or else the next one.

        Returns:
            A sequence with an explanation of each sample, which prints as a table and shows pictures in a notebook.

        Raises:
            ArgumentTypeError: the dataset is a stream (also a TypeError).
            OutOfRangeError: there is no such step (also an IndexError).
            ArgumentError: the epoch's seed is not known, because each epoch draws its own.

        >>> import numpy as np
        >>> from headrace import DataLoader, RandomCrop, TensorDataset
        >>> images = TensorDataset(np.zeros((100, 8, 8, 3), np.uint8)).map(RandomCrop(8), field=0)
        >>> explained = DataLoader(images, batch_size=4, shuffle=True, seed=0).explain(step=2)
        >>> print(explained[0])
        row 0: sample 88, position 8 of the epoch
          TensorDataset[88]
          RandomCrop: top 4, left 1
        """
        from headrace.loader.explain import explain_batch  # when it is asked for

        known, step, selection, shares = self._find_batch(step, epoch)
        foreign = self._runs_foreign_code()
        return explain_batch(
            self._maker(), known, step, selection, shares, worker=self._workers_in_words(), foreign=foreign
        )

    def valid(self, step: int, epoch: int | None = None) -> NDArray[np.bool_]:
        """Return which samples of the batch at a step are no filling, as `uneven` "pad" and "repeat" have it.

        Args:
            step: 0 ... len(loader) - 1.
            epoch: the number of the epoch; by default the one that the loader stands in, or else the next one.

        Returns:
            Shape (n,), bool, for the n samples of this rank's batch.

        Raises:
            ArgumentTypeError: the dataset is a stream, or a sampler decides (also a TypeError).
            OutOfRangeError: there is no such step (also an IndexError).

        >>> from headrace import DataLoader
        >>> loader = DataLoader(range(10), batch_size=4, uneven="pad")
        >>> loader.valid(2)
        array([ True,  True, False, False])
        """
        shares, step = self._shares(epoch), check_count("step", step)
        if step >= shares.steps:
            raise OutOfRangeError(f"there is no step {step} in an epoch of {shares.steps} steps")
        return shares.valid(step)

    @property
    def remainder(self) -> int:
        """The samples that all ranks together have in the last step of an epoch, if it is not a full one; else 0.

        Filling is not counted: it is how many results of that step, gathered from all ranks, are to be kept.

        >>> from headrace import DataLoader
        >>> DataLoader(range(10), batch_size=2, rank=0, world_size=2, uneven="pad").remainder
        2
        """
        return self._shares(None).remainder

    def replay(self, batches: int) -> Replay[B_co]:
        """Return a loader that hands out a few kept batches again and again, as if loading took no time.

        So long as a training step takes with it, no tuning of the loader can make it faster.

        Args:
            batches: how many are loaded, by this very call; the first of the epoch that begins next.

        Returns:
            An iterable of as many batches as an epoch has; of those that are kept, where that is not known.

        Raises:
            ArgumentError: it is not a positive integer (also a ValueError).

        >>> from headrace import DataLoader
        >>> for batch in DataLoader(range(6), batch_size=2).replay(2):
        ...     print(batch)
        [0 1]
        [2 3]
        [0 1]
        """
        self._check_open()
        count = check_count("batches", batches, positive=True)
        if self._streams:
            with copy.copy(self) as other:
                return Replay(list(islice(other, count)), None)
        steps = len(self)
        return Replay([self.batch(step) for step in range(min(count, steps))], steps)

    def stats(self) -> LoaderStats:
        """Return a snapshot of what the loader has handed out so far and how long that took.

        >>> from headrace import DataLoader
        >>> loader = DataLoader(range(10), batch_size=5)
        >>> for batch in loader:
        ...     pass
        >>> loader.stats().batches, loader.stats().samples
        (2, 10)
        """
        from headrace.insight.snapshot import make_stats  # when it is asked for

        return make_stats(
            self._clock,
            bad_samples=len(self._bad),
            counters=add_counters([counters(self.dataset), self._clock.counters()]),
            sources=self._sources(),
            settings=self._settings(),
        )

    @property
    def bad_samples(self) -> tuple[BadSample, ...]:
        """The samples that could not be read and were left out or replaced, each once, in order of meeting.

        The first 10,000 are listed, or `max_errors` if that is more.
        """
        return self._bad.listed()

    def _find_batch(self, step: int, epoch: int | None) -> tuple[Epoch, int, Selection, Shares | None]:
        """Return the epoch and the step of a batch, its samples, and the positions of batches."""
        self._check_open()
        if self._streams:
            raise ArgumentTypeError("a stream has no batch to be asked for; batch(step) needs a dataset with indices")
        step = check_count("step", step)
        cursor = self._epochs.find(None if epoch is None else check_count("epoch", epoch), self._length())
        sampling = self._sampling(cursor.length, cursor.start.shift)
        if isinstance(sampling, PlanSampling) and step >= sampling.steps():
            raise OutOfRangeError(f"there is no step {step} in an epoch of {sampling.steps()} steps")
        with naming_step(cursor.epoch, step):
            return cursor.epoch, step, self._selection(sampling, cursor, step), sampling.shares

    def _selection(self, sampling: Sampling, cursor: Cursor, step: int) -> Selection:
        """Return the samples of a batch, without moving on in a user's sampler."""
        key = cursor.epoch.order_key
        if isinstance(sampling, PlanSampling):
            return sampling.at(key, step)
        if sampling.varies and not self._epochs.is_current(cursor):
            raise ArgumentError(
                f"the samples of epoch {cursor.epoch.number} are not known: the loader's {sampling.name} has a state "
                "of its own, so only the epoch begun last and the next one can be looked at"
            )
        return sampling.at(key, step, cursor.sampler or cursor.start.sampler)

    def _alone(self, found: Any, epoch: Epoch, step: int) -> Any:
        """Return a batch that was asked for alone; nothing stands for one that is not there."""
        if not isinstance(found, Loaded):
            return found
        self._note(found, epoch, step)
        if not found.loaded:
            raise [*(failure.error for failure in found.failures), *found.errors][-1]
        return found.batch

    def _collate_batch(self, samples: Sequence[Any]) -> Any:
        """Make one batch of the samples, as iterating does; `()` of none, as TinyTorch has it."""
        if len(samples) == 0:
            return ()
        return (self.collate_fn or default_collate)(samples)

    def _workers_in_words(self) -> str:
        """Return which worker loads a batch, in words."""
        if not self.num_workers:
            return "the consumer itself"
        which = "whichever is free" if self.worker_init_fn is None else "in turns"
        return f"one of {self.num_workers} workers ({choose_backend(self, streams=False).name}), {which}"

    def _shares(self, epoch: int | None) -> Shares:
        """Return the positions of the batches of an epoch."""
        if self._streams:
            raise ArgumentTypeError("how many samples a stream gives is not known before; ask a dataset with indices")
        cursor = self._epochs.find(epoch, self._length())
        sampling = self._sampling(cursor.length, cursor.start.shift)
        if sampling.shares is None:
            raise ArgumentTypeError(f"how many samples the {sampling.name} gives is not known before")
        return sampling.shares

    def _settings(self) -> Settings:
        from headrace.insight.stats import Settings  # as above

        auto = self._finds_workers()
        if not self.num_workers:
            return Settings(cores=available_cores(), auto=auto)
        in_flight = self.num_workers * (self.prefetch_factor or 1)
        if auto and self._auto is not None:
            in_flight = self._auto.setting.ahead
        backend = choose_backend(self, streams=self._streams).name
        return Settings(self.num_workers, in_flight, backend, available_cores(), auto)

    def _sources(self) -> dict[str, SourceStats]:
        """Return what the run has drawn from each source of a mixture."""
        length = self._length()
        if length is None or not self._order.mixes():
            return {}
        cursor = self._epochs.find(None, length)
        return self._order.drawn(cursor.epoch.number, cursor.step, cursor.start.shift, self._epochs.skipped)
