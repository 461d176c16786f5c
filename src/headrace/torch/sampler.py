"""Samplers that show headrace's own order to code that knows torch's samplers, and let it steer the epochs."""

from __future__ import annotations

import weakref
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.utils.data import BatchSampler, DistributedSampler, Sampler

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.loader.cursor import Epoch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.loader.order import SampleOrder
    from headrace.sampling.planned import PlanSampling
    from headrace.sampling.ranks import Shares

__all__ = ["EpochSampler", "EvenSampler", "OrderBatches", "RankSampler", "ranks_of_torch"]


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
        # What a sampler gives a BatchSampler leaves out, not the sampler itself, unless the order makes the batches.
        self.makes_batches = order.world_size > 1 or order.batch_by == "tokens"
        self._order = order if self.makes_batches else replace(order, drop_last=False)
        self._loader: weakref.ref[_Steered] | None = None

    def __len__(self) -> int:
        """Return the number of samples of an epoch, of this rank's share if there are several."""
        shares = self._sampling().shares
        return sum(map(len, self.batches())) if shares is None else _count(shares)

    def __iter__(self) -> Iterator[int]:
        """Return the indices of the samples of the epoch."""
        return chain.from_iterable(self.batches())

    def batches(self) -> Iterator[list[int]]:
        """Return the indices of each batch of the epoch."""
        for indices in self._sampling().start(Epoch(self.epoch, self.seed).order_key, 0):
            yield indices.tolist()

    @property
    def steps(self) -> int:
        """The number of batches of an epoch."""
        return self._sampling().steps()

    def _sampling(self) -> PlanSampling:
        return self._order.sampling(len(self.data_source))

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
        self._given_shares = shares

    @property
    def _shares(self) -> Shares:
        return replace(self._given_shares, length=len(self.dataset))

    @property
    def steps(self) -> int:
        """The number of batches of an epoch, the same on all ranks."""
        return self._shares.steps

    def __len__(self) -> int:
        return _count(self._shares)

    def batches(self) -> Iterator[list[int]]:
        """Return the indices of each batch of the epoch."""
        samples, shares = iter(self), self._shares
        for start, stop in map(shares.span, range(shares.steps)):
            yield list(islice(samples, stop - start))

    def __iter__(self) -> Iterator[int]:
        shares = self._shares
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        length = shares.length
        order = torch.randperm(length, generator=generator) if self.shuffle else torch.arange(length)
        last = shares.steps - 1
        used = shares.start(last) + shares.count(last) if shares.steps else 0
        yield from order[shares.rank : used : shares.world_size].tolist()


class OrderBatches(BatchSampler):
    """The batches of an order that decides itself where each ends: of a rank's share, or bounded by their tokens.

    Args:
        sampler: one of this module.
        batch_size: the loader's, for those who ask.
        drop_last: the same.

    Raises:
        ArgumentTypeError: another sampler is to take its place.
    """

    sampler: EpochSampler | EvenSampler

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool) -> None:  # noqa: FBT001 - as torch has it
        if not isinstance(sampler, EpochSampler | EvenSampler):
            raise ArgumentTypeError(
                f"the loader's order makes its batches itself, so a {type(sampler).__name__} cannot take its sampler's "
                "place; give the loader its rank and world_size, or a batch_sampler"
            )
        super().__init__(sampler, batch_size, drop_last)

    def __len__(self) -> int:
        return self.sampler.steps

    def __iter__(self) -> Iterator[list[int]]:
        return self.sampler.batches()


def ranks_of_torch(dataset: Any, shares: Shares, *, shuffle: bool, single: bool) -> DistributedSampler:
    """Return the sampler of a rank's share of torch's order, which is filled up from its start where that is asked for.

    Args:
        dataset: whose samples they are.
        shares: how many each rank has at each step.
        shuffle: whether the order is random.
        single: whether samples are handed out one by one.

    Raises:
        ArgumentError: batches are to be filled up as only headrace's order can.
    """
    if shares.uneven == "pad":
        raise ArgumentError("uneven='pad' fills up batches of headrace's own order and needs a seed; give one")
    if shares.uneven == "repeat" or shares.drop_last or single:
        ranks = shares.world_size, shares.rank
        return DistributedSampler(dataset, *ranks, shuffle=shuffle, drop_last=shares.drop_last)
    return EvenSampler(dataset, shares, shuffle=shuffle)


def _count(shares: Shares) -> int:
    """Return how many samples a rank has in an epoch."""
    if not shares.steps:
        return 0
    start, stop = shares.span(shares.steps - 1)
    return (shares.steps - 1) * shares.batch_size + stop - start
