"""The order of a loader: the samples of each batch, by its arguments or its samplers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from headrace.errors import ArgumentError, StateError
from headrace.loader.order_arguments import checked_weights
from headrace.pipeline.describe import describe
from headrace.pipeline.hints import blocks, mixed_node, packing_node
from headrace.sampling.blocks import Blocks, BlockShuffled, EqualBlocks, GivenBlocks
from headrace.sampling.permutation import Sequential, Shuffled
from headrace.sampling.plan import Order, Plan
from headrace.sampling.planned import PlanSampling
from headrace.sampling.ranks import Shares, Uneven
from headrace.sampling.samplers import BatchSampling, GivenSampling, SingleSampling

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from headrace.insight.stats import SourceStats
    from headrace.pipeline.nodes import Mixed
    from headrace.sampling.buckets import BucketPlan, Grouped
    from headrace.sampling.mixture import MixedOrder

__all__ = ["SampleOrder"]

# Where neither the user nor the dataset says how the samples lie.
_BLOCK_SIZE = 1024
_SORTED = 64  # steps of a window that is sorted by length


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
        uneven: how they share a last step that is smaller than the others.
        block_size: samples a block; None for what the dataset says.
        window: how many blocks are shuffled among each other; None where none are.
        sampler: the user's own order of samples.
        batch_sampler: the user's own batches.
        seed: the loader's; with one, what samplers draw from the global generators follows from the epoch.
        weights: how much more often one sample is drawn than another.
        replacement: whether samples are drawn with replacement; None for where there are weights.
        batch_by: "samples", or "tokens" where lengths decide on the size of batches.
        max_tokens: tokens of a batch, with its padding.
        max_batch_size: samples of such a batch.
        boundaries: the lengths up to which buckets go.
        group_by_length: whether samples are sorted by length in windows.
        sort_window: how many samples are sorted at once.
    """

    dataset: Any
    batch_size: int | None
    shuffle: bool | str
    drop_last: bool
    rank: int
    world_size: int
    uneven: Uneven
    block_size: int | None
    window: int | None
    sampler: Iterable[Any] | None
    batch_sampler: Iterable[Sequence[Any]] | None
    seed: int | None
    weights: ArrayLike | None = None
    replacement: bool | None = None
    batch_by: str = "samples"
    max_tokens: int | None = None
    max_batch_size: int | None = None
    boundaries: Sequence[int] | None = None
    group_by_length: bool = False
    sort_window: int | None = None
    _made: dict[Any, Any] = field(default_factory=dict, compare=False)  # what is costly to make, by what it is made of

    def given(self) -> GivenSampling | None:
        """Return the batches of the user's sampler, if there is one."""
        seeded = self.seed is not None
        if self.batch_sampler is not None:
            return BatchSampling(self.batch_sampler, seeded=seeded)
        if self.sampler is not None:
            return SingleSampling(self.sampler, self.batch_size, drop_last=self.drop_last, seeded=seeded)
        return None

    def sampling(self, length: int, shift: int = 0) -> PlanSampling:
        """Return the batches of so many samples, as the plan has it, without those at the first `shift` positions."""
        if self.batch_by == "tokens":
            return PlanSampling(self._buckets(length))
        order, length = self._whole_order(length)
        if self.group_by_length:
            order = self._grouped(order, length)
        return PlanSampling(Plan(order, self.shares(length, shift)))

    def shares(self, length: int, shift: int = 0) -> Shares:
        """Return which of so many positions are this rank's at each step."""
        size = self.batch_size or 1
        return Shares(length, size, self.rank, self.world_size, self.uneven, self.drop_last, shift)

    def is_of_samples(self) -> bool:
        """Return whether the order of the samples is the same for steps of any size."""
        mixed = mixed_node(describe(self.dataset))
        alike = mixed is None or (mixed.mixture.batches == "mixed" and len(mixed.mixture.steps) == 1)
        return alike and not self.group_by_length and self.batch_by == "samples"

    def check(self) -> None:
        """Refuse weights that do not fit the dataset, sequences that fit no batch, and fewer samples than ranks.

        Raises:
            ArgumentError: with what was got, and what is allowed.
        """
        if self.weights is not None or self.replacement:
            self._whole_order(len(self.dataset))
        elif self.batch_by == "tokens":
            self._buckets(len(self.dataset))
        elif self.world_size > 1:
            self.shares(len(self.dataset))

    def identity(self) -> int | None:
        """Return a number that stands for what the order depends on beside plain arguments; None if for nothing."""
        if "identity" not in self._made:
            self._made["identity"] = self._identity()
        found: int | None = self._made["identity"]
        return found

    def _identity(self) -> int | None:
        mixed = mixed_node(describe(self.dataset))
        packing = packing_node(describe(self.dataset))
        parts: list[Any] = [] if mixed is None else [mixed.mixture]
        if packing is not None:
            table = packing.table
            parts += [
                packing.style,
                *(crc32(each.tobytes()) for each in (table.sequences, table.lengths, table.bounds)),
            ]
        if self.weights is not None:
            parts.append(np.asarray(self.weights, np.float64).tobytes())
        if self.batch_by == "tokens":
            parts.append(self._lengths().tobytes())
            parts += [self.uneven] if self.world_size > 1 else []
        choice = (self.replacement, self.max_tokens, self.max_batch_size, self.boundaries, self.group_by_length)
        if not parts and not any(choice):
            return None
        return crc32(repr((parts, choice, self.sort_window)).encode())

    def _whole_order(self, length: int) -> tuple[Order, int]:
        """Return the order of an epoch's samples, and how many it has."""
        mixed = mixed_node(describe(self.dataset))
        draws = self.weights is not None or self.replacement
        if mixed is None:
            return self._drawn(length) if draws else (self._order(self.dataset, length), length)
        if draws:
            raise ArgumentError("a mixture has weights of its own; give them to headrace.mix, not to the loader")
        order = self._mixed_order(mixed)
        return order, order.length

    def _drawn(self, length: int) -> tuple[Order, int]:
        """Return the order of samples drawn by weights, or with replacement, and how many are drawn."""
        if length not in self._made:
            from headrace.sampling.weighted import Drawn, WeightedShuffle  # here and below: what few loaders need

            weights = None if self.weights is None else checked_weights(self.weights, length)
            if weights is None or self.replacement is not False:
                self._made[length] = Drawn(length, weights), length
            else:
                order = WeightedShuffle(weights)
                self._made[length] = order, len(order)
        made: tuple[Order, int] = self._made[length]
        return made

    def _buckets(self, length: int) -> BucketPlan:
        """Return the plan of batches that are bounded by their tokens."""
        if length not in self._made:
            from headrace.sampling.buckets import BucketPlan

            self._made[length] = BucketPlan(
                self._lengths()[:length],
                self.max_tokens or 1,
                max_batch_size=self.max_batch_size,
                boundaries=self.boundaries,
                shuffle=bool(self.shuffle),
                drop_last=self.drop_last,
                rank=self.rank,
                world_size=self.world_size,
                uneven=self.uneven,
            )
        made: BucketPlan = self._made[length]
        return made

    def _grouped(self, order: Order, length: int) -> Grouped:
        from headrace.sampling.buckets import Grouped

        batch = (self.batch_size or 1) * self.world_size
        window = _SORTED * batch if self.sort_window is None else -(-self.sort_window // batch) * batch
        if "lengths_at" not in self._made:
            from headrace.datasets.lengths import lengths_at

            self._made["lengths_at"] = lengths_at(self.dataset)
        return Grouped(order, self._made["lengths_at"], length, window, batch)

    def _lengths(self) -> NDArray[np.int64]:
        if "lengths" not in self._made:
            from headrace.datasets.lengths import sequence_lengths

            self._made["lengths"] = sequence_lengths(self.dataset)
        found: NDArray[np.int64] = self._made["lengths"]
        return found

    def blocks_identity(self) -> int | None:
        """Return a number that stands for the blocks of the dataset's present samples; None where there are none."""
        return None if self.window is None else self._blocks(self.dataset, len(self.dataset)).identity

    def _order(self, dataset: Any, length: int) -> Order:
        if self.window is not None:
            return BlockShuffled(self._blocks(dataset, length), self.window)
        return Shuffled(length) if self.shuffle else Sequential()

    def _mixed_order(self, node: Mixed) -> MixedOrder:
        """Return the order of a mixture, whose shares a shuffle leaves as they are."""
        from headrace.sampling.mixture import MixedOrder

        layout, length = node.mixture.layout((self.batch_size or 1) * self.world_size)
        return MixedOrder(node.mixture.pattern, layout, self._source_orders(node), length)

    def _source_orders(self, node: Mixed) -> list[Order]:
        """Return the orders of the sources of a mixture, none of which ends."""
        from headrace.sampling.blend import LARGEST
        from headrace.sampling.mixture import MixedOrder, Repeated

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

    def mixes(self) -> bool:
        """Return whether the dataset is a mixture."""
        return mixed_node(describe(self.dataset)) is not None

    def drawn(self, epoch: int, step: int, shift: int, skipped: Collection[tuple[int, int]]) -> dict[str, SourceStats]:
        """Return what has been drawn from each source of a mixture, by its name, on all ranks.

        Args:
            epoch: how many epochs have been gone through.
            step: and how many steps of the one after these.
            shift: so many samples of that epoch come before its first step.
            skipped: the steps that were passed over, each as (epoch, step).
        """
        mixed = mixed_node(describe(self.dataset))
        if mixed is None:
            return {}
        layout, length = mixed.mixture.layout((self.batch_size or 1) * self.world_size)
        shares, steps = self.shares(length), self.shares(length).steps
        counts = layout.counts(self.shares(length, shift).seen(step))
        if epoch:  # else the epoch may be endless
            counts = counts + epoch * layout.counts(shares.seen(steps))
        for place in skipped:
            if place[1] < steps and place < (epoch, step):
                first = shares.start(place[1])
                counts = counts - layout.counts(first + shares.count(place[1])) + layout.counts(first)
        from headrace.insight.stats import SourceStats  # which most loaders are never asked for

        found = {}
        for name, count, size, mean in zip(
            mixed.mixture.names, counts.tolist(), mixed.mixture.lengths, self._mean_lengths(mixed), strict=True
        ):
            tokens = None if mean is None else round(count * mean)
            found[name] = SourceStats(count, count / size if size else 0.0, tokens)
        return found

    def _mean_lengths(self, mixed: Mixed) -> list[float | None]:
        """Return the mean length of each source's sequences, as far as that is known without reading them."""
        if "means" not in self._made:
            from headrace.datasets.lengths import known_lengths

            found = [known_lengths(node.dataset) for node in mixed.inputs]
            self._made["means"] = [None if each is None or not len(each) else float(each.mean()) for each in found]
        means: list[float | None] = self._made["means"]
        return means

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
