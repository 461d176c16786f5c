"""The order of a loader: the samples of each batch, by its arguments or its samplers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import StateError
from headrace.pipeline.describe import describe
from headrace.pipeline.hints import blocks, mixed_node
from headrace.sampling.blend import LARGEST
from headrace.sampling.blocks import Blocks, BlockShuffled, EqualBlocks, GivenBlocks
from headrace.sampling.mixture import MixedOrder, Repeated
from headrace.sampling.permutation import Sequential, Shuffled
from headrace.sampling.plan import Order, Plan
from headrace.sampling.samplers import BatchSampling, GivenSampling, PlanSampling, SingleSampling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.pipeline.nodes import Mixed

__all__ = ["SampleOrder"]

# Where neither the user nor the dataset says how the samples lie.
_BLOCK_SIZE = 1024


@dataclass(frozen=True, slots=True)
class SampleOrder:
    """The order of a loader's samples.

    Args:
        dataset: any object with `__getitem__`.
        batch_size: samples a batch; None for single samples.
        shuffle: whether the order is random, or "block".
        drop_last: leave out an incomplete last batch.
        rank: which of the ranks this is.
        world_size: how many ranks share the samples.
        block_size: samples a block; None for what the dataset says.
        window: how many blocks are shuffled among each other; None where none are.
        sampler: the user's own order of samples.
        batch_sampler: the user's own batches.
        seed: the loader's; with one, what samplers draw from the global generators follows from the epoch.
    """

    dataset: Any
    batch_size: int | None
    shuffle: bool | str
    drop_last: bool
    rank: int
    world_size: int
    block_size: int | None
    window: int | None
    sampler: Iterable[Any] | None
    batch_sampler: Iterable[Sequence[Any]] | None
    seed: int | None

    def given(self) -> GivenSampling | None:
        """Return the batches of the user's sampler, if there is one."""
        seeded = self.seed is not None
        if self.batch_sampler is not None:
            return BatchSampling(self.batch_sampler, seeded=seeded)
        if self.sampler is not None:
            return SingleSampling(self.sampler, self.batch_size, drop_last=self.drop_last, seeded=seeded)
        return None

    def sampling(self, length: int) -> PlanSampling:
        """Return the batches of so many samples, as the plan has it."""
        mixed = mixed_node(describe(self.dataset))
        order: Order
        if mixed is None:
            order = self._order(self.dataset, length)
        else:
            order = self._mixed_order(mixed)
            length = order.length
        return PlanSampling(Plan(length, self.batch_size or 1, order, self.drop_last, self.rank, self.world_size))

    def blocks_identity(self) -> int | None:
        """Return a number that stands for the blocks of the dataset's present samples; None where there are none."""
        return None if self.window is None else self._blocks(self.dataset, len(self.dataset)).identity

    def _order(self, dataset: Any, length: int) -> Order:
        if self.window is not None:
            return BlockShuffled(self._blocks(dataset, length), self.window)
        return Shuffled(length) if self.shuffle else Sequential()

    def _mixed_order(self, node: Mixed) -> MixedOrder:
        """Return the order of a mixture, whose shares a shuffle leaves as they are."""
        layout, length = node.mixture.layout((self.batch_size or 1) * self.world_size)
        return MixedOrder(node.mixture.pattern, layout, self._source_orders(node), length)

    def _source_orders(self, node: Mixed) -> list[Order]:
        """Return the orders of the sources of a mixture, none of which ends."""
        orders: list[Order] = []
        for source in node.inputs:
            inner = mixed_node(source)
            if inner is None:
                length = len(source.dataset)
                orders.append(Repeated(self._order(source.dataset, length), length))
            else:
                pattern = inner.mixture.pattern
                orders.append(MixedOrder(pattern, pattern, self._source_orders(inner), LARGEST))
        return orders

    def _blocks(self, dataset: Any, length: int) -> Blocks:
        """Return the blocks that the samples lie in, for a block shuffle."""
        found = blocks(dataset) if self.block_size is None else int(self.block_size)
        if not isinstance(found, np.ndarray):
            return EqualBlocks(length, _BLOCK_SIZE if found is None else found)
        if length not in found:
            raise StateError(
                f"the epoch began with {length} samples, and no block ends there now; the blocks of a dataset that has "
                "grown must begin with those that it had"
            )
        return GivenBlocks(found[: int(np.searchsorted(found, length)) + 1])

    def sampler_epoch(self) -> int | None:
        """Return the epoch that the user's sampler has been told, if it can be told."""
        for sampler in self._samplers():
            epoch = getattr(sampler, "epoch", None)
            if hasattr(sampler, "set_epoch") and isinstance(epoch, int):
                return epoch
        return None

    def tell_sampler(self, epoch: int) -> None:
        """Tell the user's sampler which epoch comes, if it can be told."""
        for sampler in self._samplers():
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)

    def _samplers(self) -> tuple[Any, ...]:
        """Return the user's samplers: a batch_sampler often holds another one."""
        return self.sampler, self.batch_sampler, getattr(self.batch_sampler, "sampler", None)
