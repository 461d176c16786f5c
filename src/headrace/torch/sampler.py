"""Samplers that show headrace's own order to code that knows torch's samplers, and let it steer the epochs."""

from __future__ import annotations

import weakref
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.utils.data import BatchSampler, DistributedSampler, Sampler

from headrace.loader.cursor import Epoch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.loader.order import SampleOrder
    from headrace.sampling.ranks import Shares

__all__ = ["EpochSampler", "EvenSampler", "RankBatches", "RankSampler"]


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
        return _count(self.shares) if self._order.world_size > 1 else len(self.data_source)

    @property
    def shares(self) -> Shares:
        """The positions of the order that are this rank's at each step."""
        return self._order.shares(len(self.data_source))

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


class EvenSampler(DistributedSampler):
    """The rank's samples of torch's own order, none of which comes twice.

    At each step all ranks together have what they have by a DistributedSampler, and the last of it is divided evenly.

    Args:
        dataset: whose samples they are.
        shares: how many each rank has at each step.
        shuffle: whether the order is random, the same on all ranks, another in each epoch.
    """

    def __init__(self, dataset: Any, shares: Shares, *, shuffle: bool) -> None:
        super().__init__(dataset, shares.world_size, shares.rank, shuffle=shuffle)
        self._shares = shares

    @property
    def shares(self) -> Shares:
        """The positions of the order that are this rank's at each step."""
        return replace(self._shares, length=len(self.dataset))

    def __len__(self) -> int:
        return _count(self.shares)

    def __iter__(self) -> Iterator[int]:
        shares = self.shares
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        length = shares.length
        order = torch.randperm(length, generator=generator) if self.shuffle else torch.arange(length)
        last = shares.steps - 1
        used = shares.start(last) + shares.count(last) if shares.steps else 0
        yield from order[shares.rank : used : shares.world_size].tolist()


class RankBatches(BatchSampler):
    """The batches of a rank, of which the last has its share of what is left."""

    sampler: RankSampler | EvenSampler

    def __len__(self) -> int:
        return self.sampler.shares.steps

    def __iter__(self) -> Iterator[list[int]]:
        samples, shares = iter(self.sampler), self.sampler.shares
        for step in range(shares.steps):
            start, stop = shares.span(step)
            yield list(islice(samples, stop - start))


def _count(shares: Shares) -> int:
    """Return how many samples a rank has in an epoch."""
    if not shares.steps:
        return 0
    start, stop = shares.span(shares.steps - 1)
    return (shares.steps - 1) * shares.batch_size + stop - start
