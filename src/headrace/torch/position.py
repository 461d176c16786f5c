"""Position, parts of epochs and an end, none of which torch's loader has: they are the core loader's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from headrace.errors import ArgumentError
from headrace.loader.config import check_count
from headrace.loader.iterator import one_after_the_other

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from types import TracebackType
    from typing import Literal, Self

    import numpy as np
    from numpy.typing import NDArray

    from headrace.insight.explanation import BatchExplanation
    from headrace.insight.stats import LoaderStats
    from headrace.loader.bad_samples import BadSample
    from headrace.loader.iterator import BatchIterator
    from headrace.loader.replay import Replay
    from headrace.torch.core import CoreLoader
    from headrace.torch.sampler import EpochSampler

__all__ = ["ResumableLoader"]

B_co = TypeVar("B_co", covariant=True)


class ResumableLoader(Generic[B_co]):
    """A loader that hands out what a core loader has, and says and sets where that stands."""

    _own_sampler: EpochSampler | None
    dataset: Any
    _given: BatchIterator[Any] | None = None  # what the iterator being made goes through, where it is no whole epoch

    if TYPE_CHECKING:  # the loader has them, of torch's or its own

        def __iter__(self) -> Iterator[B_co]: ...
        def _get_iterator(self) -> Any: ...
        def _core_loader(self) -> CoreLoader: ...
        def _is_own_order(self) -> bool: ...
        def _streams(self) -> bool: ...
        def _is_steered(self) -> bool: ...

    # ------------------------------------------------------------------ epochs

    def set_epoch(self, epoch: int) -> None:
        """Let the next epoch be that of a number; a sampler or stream with a `set_epoch` of its own is told.

        Args:
            epoch: a non-negative integer.
        """
        epoch = check_count("epoch", epoch)
        if self._is_own_order() and self._own_sampler is not None:
            self._own_sampler.set_epoch(epoch)
        else:
            self._core_loader().set_epoch(epoch)
            if self._streams() and hasattr(self.dataset, "set_epoch"):
                self.dataset.set_epoch(epoch)

    def go_to_epoch(self, epoch: int) -> None:
        """Let the next epoch be that of a number, as the loader's own sampler was told."""
        self._core_loader().epochs.go_to(check_count("epoch", epoch))

    def seek(self, step: int, epoch: int = 0) -> None:
        """Let the next iterator begin at a step of an epoch; see `headrace.DataLoader.seek`.

        Raises:
            OutOfRangeError: there is no such step (also an IndexError).
            ArgumentError: each epoch draws its own order.
        """
        core = self._core_loader()
        if core.is_torchs and not self._is_steered():
            raise _needs_seed("seek", "nobody knows the order of an epoch before it is drawn")
        core.seek(step, epoch)
        self._tell_own_sampler(epoch)

    def skip(self, steps: Collection[tuple[int, int]]) -> None:
        """Pass over steps, each as (epoch, step), from the next iterator on; see `headrace.DataLoader.skip`."""
        self._core_loader().skip(steps)

    def pass_over(self, batches: int) -> None:
        """Let the next iterator leave out so many batches of those that come next; none of their samples is read."""
        self._core_loader().pass_over(check_count("batches", batches))

    def iterate(self, start: int = 0, stop: int | None = None, epoch: int | None = None) -> Iterator[B_co]:
        """Return an iterator over some steps of an epoch, which moves nothing; see `headrace.DataLoader.iterate`.

        Raises:
            OutOfRangeError: there are no such steps (also an IndexError).
            ArgumentError: the order is torch's.
            ArgumentTypeError: the dataset is a stream, or a sampler decides (also a TypeError).
        """
        return self._iterator_over(self._ordered("iterate").iterate(start, stop, epoch))

    def forever(self) -> Iterator[B_co]:
        """Return an iterator over this epoch and all that follow it; see `headrace.DataLoader.forever`."""
        if not self._is_own_order():
            return one_after_the_other(self)
        batches: Any = self._core_loader().forever()
        return self._iterator_over(batches)

    def _iterator_over(self, batches: BatchIterator[Any]) -> Iterator[B_co]:
        self._given = batches
        try:
            found: Iterator[B_co] = self._get_iterator()
        finally:
            self._given = None
        return found

    # ------------------------------------------------------------------ batches

    def batch(self, step: int, epoch: int | None = None) -> B_co:
        """Return the batch at a step of an epoch, without loading any other; see `headrace.DataLoader.batch`."""
        found: B_co = self._core_loader().batch(step, epoch)
        return found

    def explain(self, step: int, epoch: int | None = None) -> BatchExplanation:
        """Return where each sample of a batch comes from, and what was drawn for it; see `headrace.DataLoader`."""
        return self._core_loader().explain(step, epoch)

    def valid(self, step: int, epoch: int | None = None) -> NDArray[np.bool_]:
        """Return which samples of a batch are no filling, shape (n,); see `headrace.DataLoader.valid`."""
        return self._ordered("valid").valid(step, epoch)

    @property
    def samples_seen(self) -> int:
        """The samples that all ranks together have been given since epoch 0; see `headrace.DataLoader`."""
        return self._ordered("samples_seen").samples_seen

    def _ordered(self, what: str) -> CoreLoader:
        """Return the core loader, whose order must be headrace's own."""
        core = self._core_loader()
        if core.is_torchs:
            raise _needs_seed(what, "torch's samplers say nothing of an epoch but by going through it")
        return core

    # ------------------------------------------------------------------ states

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands, as a dict that `json.dumps` takes; see `headrace.DataLoader.state_dict`."""
        return self._core_loader().state_dict()

    def load_state_dict(
        self, state: Mapping[str, Any], at: Literal["step", "samples"] = "step", *, strict: bool = True
    ) -> None:
        """Let the next iterator go on where the state was taken; an empty one changes nothing.

        Args:
            state: what `state_dict` gave, on any rank.
            at: what its position counts: "step", or "samples" where the batch size or the ranks are others now.
            strict: refuse a dataset that has grown; see `headrace.DataLoader.load_state_dict`.

        Raises:
            StateError: it is not the state of a loader with this dataset length, seed and batch size.
        """
        if not state:
            return
        self._core_loader().load_state_dict(state, at, strict=strict)
        self._tell_own_sampler(int(state["epoch"]))

    def _tell_own_sampler(self, epoch: int) -> None:
        if self._own_sampler is not None:
            self._own_sampler.epoch = epoch

    # ------------------------------------------------------------------ the run

    def stats(self) -> LoaderStats:
        """Return a snapshot of what the loader has handed out so far; see `headrace.DataLoader.stats`."""
        return self._core_loader().stats()

    def replay(self, batches: int) -> Replay[B_co]:
        """Return a loader that hands out a few kept batches again and again; see `headrace.DataLoader.replay`.

        Args:
            batches: how many are loaded, by this very call, which draws nothing.

        Raises:
            ArgumentError: it is not a positive integer (also a ValueError).
        """
        return self._core_loader().replay(batches)

    @property
    def bad_samples(self) -> tuple[BadSample, ...]:
        """The samples that could not be read and were left out or replaced."""
        return self._core_loader().bad_samples

    def close(self) -> None:
        """End the workers and give up the loader's memory; no more can be loaded."""
        self._core_loader().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _needs_seed(what: str, why: str) -> ArgumentError:
    return ArgumentError(f"{what} needs an order that can be computed, and {why}; give the loader a seed")
