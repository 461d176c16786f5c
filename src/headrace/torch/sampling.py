"""Batches of indices as torch's samplers give them; those of its plainest ones without a list of all indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler

from headrace.sampling.sampler_iterators import first
from headrace.sampling.samplers import BatchSampling, Pass, SingleSampling

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.sampling.samplers import GivenSampling, Selection

__all__ = ["PassInOrder", "TorchBatchSampling", "sampling_of"]

_SEED = "order_seed"  # where the state of a pass has the seed that it drew
# Drawn at once from a user's generator, as torch does; from one that nobody else has, more at once give the same.
_CHUNK, _OWN_CHUNK = 32, 1 << 16
_CONVERTED = 1 << 12  # so many indices become int64 at once


def sampling_of(sampler: Iterable[Any] | None, batch_sampler: Iterable[Sequence[Any]] | None) -> GivenSampling:
    """Return the batches of one of torch's samplers, or of any other, for the core."""
    if batch_sampler is None:
        assert sampler is not None  # noqa: S101 - torch's loader has one of them
        return SingleSampling(sampler, None, drop_last=False)
    inner = getattr(batch_sampler, "sampler", None)
    if type(batch_sampler) is BatchSampler and type(inner) in (RandomSampler, SequentialSampler):
        return TorchBatchSampling(batch_sampler)
    return BatchSampling(batch_sampler)


class TorchBatchSampling(BatchSampling):
    """Batches of a BatchSampler over a RandomSampler or SequentialSampler, of exactly torch's classes.

    The same indices as they give, drawn from the same generators at the same moments, but as arrays: 4 bytes for each
    sample of a random order of less than 2^31, not the 40 of a Python list of integers. Samples in their order are
    entered at any step.

    Args:
        sampler: the batch sampler.
    """

    def __init__(self, sampler: BatchSampler) -> None:
        super().__init__(sampler)
        self._batches = sampler
        self._draws_outside = False  # but for a seed, which is part of the pass
        self._saved: dict[str, Any] | None = None

    @property
    def is_private(self) -> bool:
        """Whether nobody can tell when it is asked for a batch: it draws from no generator but its own."""
        return self._generator() is None

    def present(self) -> dict[str, Any] | None:
        """Return what the sampler is now; see GivenSampling."""
        if self._generator() is not None:
            return super().present()
        # The keys are there from the start: some checkpoints have no more of them than the state of a fresh loader.
        return {"passes": self._passes, "before": self._before, "prefix": None, _SEED: None}

    def start(self, key: int, step: int, saved: dict[str, Any] | None = None) -> Pass:
        """Begin a pass at a step; see GivenSampling."""
        if self._is_in_order():
            self._latest = self._in_order(step)
            self._passes += 1
            return self._latest
        if saved is not None and saved.get("prefix") is None and self._generator() is None:
            saved = None  # a pass that begins draws its seed from torch's generator, as that is now
        return super().start(key, step, saved)

    def at(self, key: int, step: int, begun: Pass | dict[str, Any] | None = None) -> Selection:
        """Return the batch at a step, and leave the sampler as it is; see GivenSampling."""
        if self._is_in_order():
            return first(self._in_order(step), step)
        self._saved = begun.saved if isinstance(begun, Pass) else begun
        return super().at(key, step, begun)

    def _is_in_order(self) -> bool:
        return type(self._batches.sampler) is SequentialSampler

    def _in_order(self, step: int) -> PassInOrder:
        length, sampler = len(self._batches.sampler), self._batches
        drops = sampler.drop_last
        batches = _in_order(length - length % sampler.batch_size if drops else length, sampler.batch_size, step)
        return PassInOrder(batches, self.present(), 0, owner=self)

    def _generator(self) -> torch.Generator | None:
        found: torch.Generator | None = getattr(self._batches.sampler, "generator", None)
        return found

    def _begin(self, key: int, saved: dict[str, Any] | None, step: int) -> Pass:
        self._saved = saved
        return super()._begin(key, saved, step)

    def _gather(self, items: Iterator[Any]) -> Iterator[Selection]:
        inner, size, drop_last = self._batches.sampler, self._batches.batch_size, self._batches.drop_last
        if type(inner) is RandomSampler:
            return _rebatched(self._random(inner), size, drop_last=drop_last)
        return super()._gather(items)  # the sampler has been replaced

    def _random(self, sampler: RandomSampler) -> Iterator[NDArray[Any]]:
        generator, saved = sampler.generator, self._saved
        if generator is not None:
            return _drawn(sampler, generator, chunk=_CHUNK)
        return _drawn_by_seed(sampler, saved)


class PassInOrder(Pass):
    """A pass through all samples in their order, which begins at any step without those before it."""

    def __next__(self) -> Selection:
        return next(self._batches)  # nobody has to recognise it by what came before

    def digest(self, step: int) -> None:
        """Return None: there is nothing to compare."""


def _drawn_by_seed(sampler: RandomSampler, saved: dict[str, Any] | None) -> Iterator[NDArray[Any]]:
    seed = None if saved is None else saved.get(_SEED)
    if seed is None:
        seed = int(torch.empty((), dtype=torch.int64).random_().item())
        if saved is not None:
            saved[_SEED] = seed
    yield from _drawn(sampler, torch.Generator().manual_seed(seed), chunk=_OWN_CHUNK)


def _drawn(sampler: RandomSampler, generator: torch.Generator, *, chunk: int) -> Iterator[NDArray[Any]]:
    """Yield the indices of a RandomSampler, in arrays of any length."""
    length, count = len(sampler.data_source), sampler.num_samples
    if sampler.replacement:
        for start in range(0, count, chunk):
            size = (min(chunk, count - start),)
            yield torch.randint(high=length, size=size, dtype=torch.int64, generator=generator).numpy()
        return
    dtype = torch.int32 if length < 1 << 31 else torch.int64  # the same numbers
    for _ in range(count // length):
        yield torch.randperm(length, generator=generator, dtype=dtype).numpy()
    if count % length or chunk == _CHUNK:  # torch draws a last one even to take nothing of it
        yield torch.randperm(length, generator=generator, dtype=dtype).numpy()[: count % length]


def _rebatched(arrays: Iterator[NDArray[Any]], size: int, *, drop_last: bool) -> Iterator[NDArray[np.int64]]:
    rest = np.empty(0, np.int64)
    for array in arrays:
        head = array[: size - len(rest)] if len(rest) else array[:0]
        start = len(head)
        rest = np.concatenate([rest, head])
        if len(rest) == size:
            yield rest.astype(np.int64)
            rest = rest[:0]
        if start == len(array) and len(rest):
            continue
        stop = start + (len(array) - start) // size * size
        some = max(1, _CONVERTED // size) * size
        for at in range(start, stop, some):
            batches = array[at : min(at + some, stop)].astype(np.int64)
            for place in range(0, len(batches), size):
                yield batches[place : place + size]
        rest = array[stop:]
    if len(rest) and not drop_last:
        yield rest.astype(np.int64)


def _in_order(length: int, size: int, step: int) -> Iterator[NDArray[np.int64]]:
    for start in range(step * size, length, size):
        yield np.arange(start, min(start + size, length))
