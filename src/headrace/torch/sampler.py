"""Samplers that show headrace's own order to code that knows torch's samplers, and let it steer the epochs."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from torch.utils.data import DistributedSampler, Sampler

from headrace.loader.cursor import Epoch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.loader.order import SampleOrder

__all__ = ["EpochSampler", "RankSampler"]


class _Steered(Protocol):
    """A loader whose next epoch is set by a sampler."""

    def go_to_epoch(self, epoch: int) -> None: ...


class EpochSampler(Sampler):
    """The order of a loader with a `seed`: of its epochs 0, 1, ..., as `set_epoch` says.

    Args:
        order: the order of the samples.
        seed: the loader's.

    Attributes:
        epoch: whose samples are given.
    """

    def __init__(self, order: SampleOrder, seed: int) -> None:
        self.data_source = order.dataset
        self.seed = seed
        self.epoch = 0
        # What a sampler gives a BatchSampler leaves out, not the sampler itself; ranks are dealt whole steps.
        self._order = order if order.world_size > 1 else replace(order, drop_last=False)
        self._loader: weakref.ref[_Steered] | None = None

    def __len__(self) -> int:
        """Return the number of samples of an epoch, of this rank's share if there are several."""
        order, length = self._order, len(self.data_source)
        if order.world_size == 1:
            return length
        size = order.batch_size or 1
        steps, rest = divmod(length, size * order.world_size)
        return steps * size + (0 if order.drop_last else -(-rest // order.world_size))

    def __iter__(self) -> Iterator[int]:
        """Return the indices of the samples of the epoch."""
        sampling = self._order.sampling(len(self.data_source))
        for indices in sampling.start(Epoch(self.epoch, self.seed).order_key, 0):
            yield from indices.tolist()

    def set_epoch(self, epoch: int) -> None:
        """Let this epoch be the next one, of the loader too."""
        self.epoch = epoch
        loader = None if self._loader is None else self._loader()
        if loader is not None:
            loader.go_to_epoch(epoch)

    def steer(self, loader: _Steered) -> None:
        """Tell the loader of epochs from now on."""
        self._loader = weakref.ref(loader)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_loader": None}


class RankSampler(EpochSampler, DistributedSampler):
    """The same for one of several ranks; it is a DistributedSampler, so nobody divides its samples again."""

    def __init__(self, order: SampleOrder, seed: int) -> None:
        super().__init__(order, seed)
        self.dataset = order.dataset
        self.num_replicas, self.rank = order.world_size, order.rank
        self.shuffle, self.drop_last = bool(order.shuffle), order.drop_last

    @property
    def num_samples(self) -> int:
        """The number of samples of this rank."""
        return len(self)

    @property
    def total_size(self) -> int:
        """The number of samples of all ranks together."""
        return len(self) * self.num_replicas
