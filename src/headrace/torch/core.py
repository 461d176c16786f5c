"""The core loader as it stands behind the face: torch's seeds, order and collation, given to it as objects."""

from __future__ import annotations

import weakref
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data._utils import pin_memory as torch_pinning

from headrace.errors import ArgumentError, NotPicklableError
from headrace.loader.cursor import Cursor, Epochs
from headrace.loader.dataloader import DataLoader as CoreDataLoader
from headrace.loader.pools import make_pool
from headrace.loader.stream_checks import StreamHistory
from headrace.pipeline.reading import check_dataset
from headrace.torch.collate import collates_as_torch, registered
from headrace.torch.inline import InlineBatches
from headrace.torch.sampling import sampling_of
from headrace.torch.work import TorchWorkMaker, makes_batches
from headrace.workers import InlinePool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.batch.arena import Arena
    from headrace.loader.cursor import Epoch, StartPoint
    from headrace.loader.order import SampleOrder
    from headrace.loader.work import WorkMaker
    from headrace.sampling.samplers import GivenSampling
    from headrace.workers import Pool

__all__ = ["CoreLoader", "TorchEpochs"]


def _no_work(worker: int) -> Any:  # noqa: ARG001 - makes the work of a pool that is given no task
    return None


class TorchEpochs(Epochs):
    """Epochs as torch has them: each iterator has a seed of its own, and none is a mere look.

    Attributes:
        base_seed: the seed of the epoch that begins next; None to draw it then.
        told: its number, where the dataset was told one; None for the one after the last. One that a loaded state has
            stays.
    """

    base_seed: int | None = None
    told: int | None = None

    def begin(self, length: int | None) -> Cursor:
        """Begin the next epoch."""
        with self._lock:
            self._settle()
            if self.told is not None and self._next.seed is None and not self._next.step:
                self._next = self._fresh(self.told)
        return super().begin(length)

    def drop(self, cursor: Cursor, *, look: bool) -> None:  # noqa: ARG002 - torch knows no looks
        """Take note that an iterator is gone, at whatever moment that is."""
        super().drop(cursor, look=False)

    def position(self) -> StartPoint:
        """Return where the loader stands, and draw nothing for an epoch that has not begun."""
        return self.place()

    @property
    def loaded_seed(self) -> int | None:
        """The seed of the next epoch, where a state that was loaded has it."""
        return self._next.seed

    def _draw(self) -> int:
        seed, self.base_seed = self.base_seed, None
        return super()._draw() if seed is None else seed


class CoreLoader(CoreDataLoader[Any]):
    """A core loader that a face stands before.

    Args:
        dataset: a stream, or any object that gives samples for indices or other keys.
        streams: whether it is a stream.
        arguments: those of the core loader.
    """

    _newest_pool: Any = None

    def __init__(self, dataset: Any, *, streams: bool, arguments: dict[str, Any]) -> None:
        self._streams = streams
        self._pin_device: str | None = None
        super().__init__(dataset, **arguments)
        if self._finds_workers() and self.is_torchs and self._runs_foreign_code():
            raise ArgumentError(
                "num_workers='auto' needs a seed here: without one, what code of the user's draws in torch's workers "
                "depends on how many there are; give the loader a seed, or a number"
            )

    @property
    def is_torchs(self) -> bool:
        """Whether seeds and order are torch's; else they are headrace's own."""
        return self.seed is None

    @property
    def epochs(self) -> Epochs:
        """The loader's epochs."""
        return self._epochs

    @property
    def order(self) -> SampleOrder:
        """The order of its samples."""
        return self._order

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_newest_pool"}

    def go_on_from(self, other: CoreLoader) -> None:
        """Stand where another loader of the same order stands, of which something else has been changed."""
        self._clock = other._clock
        if other._end_of_trace is not None and (trace := other._end_of_trace.detach()) is not None:
            self.__dict__["trace"], other.__dict__["trace"] = other.trace, None
            self._end_of_trace = weakref.finalize(self, trace[1])
        if self.is_torchs == other.is_torchs:
            self._epochs = other.epochs
            self._epochs.draw_from(self.seed, self.generator)

    def with_arguments(self, **changed: Any) -> CoreLoader:
        """Return a fresh loader of the same arguments but for some."""
        arguments = self._arguments_with(changed)
        return CoreLoader(arguments.pop("dataset"), streams=self._streams, arguments=arguments)

    def pass_over(self, batches: int) -> None:
        """Let the next iterator leave out so many batches."""
        at = self._epochs.position()
        self._epochs.resume(replace(at, step=at.step + batches))

    @property
    def pool(self) -> Any:
        """The workers that were made last; None before there are any."""
        return self._newest_pool

    def _open(self, dataset: Any, *samplers: Iterable[Any] | None) -> Any:  # noqa: ARG002 - torch reads any as it is
        if not self._streams and not hasattr(type(dataset), "__getitem__") and not hasattr(dataset, "__getitems__"):
            check_dataset(dataset)
        return dataset

    def _make_epochs(self) -> Epochs:
        return TorchEpochs(None, self.generator, of_torch=True) if self.is_torchs else super()._make_epochs()

    def _make_sampling(self) -> GivenSampling | None:
        if self.sampler is None and self.batch_sampler is None:
            return None
        return sampling_of(self.sampler, self.batch_sampler) if self.is_torchs else super()._make_sampling()

    def _make_resources(self) -> None:
        super()._make_resources()
        self._stream_history = StreamHistory(self.dataset, trusts_length=False)  # the face has torch's warning

    def _maker(self) -> TorchWorkMaker:
        plain = super()._maker()
        of_core = {each.name: getattr(plain, each.name) for each in fields(plain)}
        return TorchWorkMaker(**of_core, torchs=self.is_torchs, collate_functions=registered())

    def _maker_for(self, epoch: Epoch) -> WorkMaker:
        maker = super()._maker_for(epoch)
        return replace(maker, base_seed=epoch.seed, epoch=epoch)  # type: ignore[call-arg] # it is what _maker makes

    def _batches(self, pool: Pool[Any, Any], cursor: Cursor, arena: Arena) -> Any:
        if not self._is_inline() or self._given_sampling is None:
            return super()._batches(pool, cursor, arena)
        return InlineBatches(self._maker().reader(), self._given_sampling, cursor, arena, self._clock)

    def _keeps_states(self) -> bool:
        return not self.is_torchs and super()._keeps_states()

    def _collates_itself(self) -> bool:
        return collates_as_torch(self.collate_fn) and makes_batches(self.dataset)

    def _is_inline(self) -> bool:
        """Return whether batches are loaded in this thread and order, with nothing to be told beside them."""
        plain = self.is_torchs and not self.num_workers and self.on_error == "raise"
        return plain and not self._finds_workers() and self._given_sampling is not None

    def _make_pool(self, epoch: Epoch, arena: Arena) -> Pool[Any, Any]:
        if self._is_inline():
            return InlinePool(_no_work)
        if self._finds_workers():
            return self._make_auto_pool(epoch, arena)
        maker, turns = self._maker_for(epoch), self._takes_turns()
        try:
            pool = make_pool(self, maker, arena, turns=turns)
        except NotPicklableError:
            if not self._may_fork():
                raise
            self._given = {**self._given, "multiprocessing_context": "fork"}  # as torch would have started them
            pool = make_pool(self, maker, arena, turns=turns)
        self._newest_pool = pool
        return pool

    def _may_fork(self) -> bool:
        """Return whether workers that cannot be sent their work may inherit it, as torch's do unless told otherwise."""
        default = torch.multiprocessing.get_start_method(allow_none=True)
        forks = (default or torch.multiprocessing.get_all_start_methods()[0]) == "fork"
        return forks and self._given["multiprocessing_context"] is None

    def _takes_turns(self) -> bool:
        # Each worker draws from generators of its own, so which of them loads a batch is part of what is drawn. Out of
        # order that is not known anyway, and whichever is free takes the next.
        return (self.is_torchs and self.in_order) or super()._takes_turns()

    def _deliver(self, batch: Any) -> Any:
        if not (self.pin_memory and torch.accelerator.is_available()):
            return batch
        accelerator = torch.accelerator.current_accelerator()
        return torch_pinning.pin_memory(batch, None if accelerator is None else accelerator.type)
