"""Samplers that have a state of their own: it is taken after each batch, so that none is drawn again."""

from __future__ import annotations

from collections import deque
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import BatchSampler, RandomSampler

from headrace.loader.snapshots import is_stateful
from headrace.sampling.samplers import BatchSampling, Pass, as_selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from headrace.sampling.samplers import Selection

__all__ = ["StatefulBatches", "StatefulRandomSampler", "has_state"]


class StatefulRandomSampler(RandomSampler):
    """A RandomSampler with a generator of its own, which is part of the loader's state.

    Args:
        data_source: the dataset.
        generator: decides the order; None for one with a seed that is drawn now from torch's.
    """

    def __init__(self, data_source: Any, generator: torch.Generator | None = None) -> None:
        if generator is None:
            seed = int(torch.empty((), dtype=torch.int64).random_().item())
            generator = torch.Generator().manual_seed(seed)
        super().__init__(data_source, generator=generator)

    def __iter__(self) -> Iterator[int]:
        """Return the indices of all samples, for one number of the generator a sample."""
        yield from torch.randperm(len(self.data_source), generator=self.generator).tolist()


def has_state(sampler: object) -> bool:
    """Return whether a sampler, or the one in a BatchSampler, has a state of its own."""
    return is_stateful(_inner(sampler))


def _inner(sampler: Any) -> Any:
    return sampler.sampler if type(sampler) is BatchSampler else sampler


class StatefulBatches(BatchSampling):
    """Batches of a sampler that has a state of its own.

    Args:
        sampler: a sampler, or a batch sampler.
        single: it gives single samples, which are no batches.
    """

    def __init__(self, sampler: Iterable[Any], *, single: bool) -> None:
        super().__init__(sampler)
        self._stateful = _inner(sampler)
        self._single = single

    def present(self) -> dict[str, Any] | None:
        """Return what the sampler is now; see GivenSampling."""
        return {"passes": 0, "before": None, "prefix": None, "own": {"step": 0, "sampler": self._stateful.state_dict()}}

    def restore(self, saved: dict[str, Any] | None) -> None:
        """Do nothing: `start` lets the sampler be as it was; see GivenSampling."""

    def start(self, key: int, step: int, saved: dict[str, Any] | None = None) -> Pass:  # noqa: ARG002 - it has a state
        """Begin a pass at a step, or go on with one whose state was taken; see GivenSampling."""
        self.check()
        self._started = True
        own: dict[str, Any] = {"step": 0} if saved is None else saved["own"]
        if saved is not None:
            self._stateful.load_state_dict(own["sampler"])
        items: Any = iter(self._stateful)
        if own.get("iterator") is not None:
            items.load_state_dict(own["iterator"])
        elif saved is not None and not own["step"] and not is_stateful(items):
            items = _begun_anew(items, self._stateful)
        return _StatefulPass(self._batched(items), own["step"], step, self._stateful, items)

    def _batched(self, items: Iterator[Any]) -> Iterator[Selection]:
        if self._single:
            return (as_selection([item]) for item in items)
        batches: Any = self._sampler
        if type(batches) is not BatchSampler:
            return map(as_selection, items)
        size, drop_last = batches.batch_size, batches.drop_last
        lists = iter(lambda: list(islice(items, size)), [])
        return (as_selection(batch) for batch in lists if len(batch) == size or not drop_last)


def _begun_anew(items: Iterator[Any], sampler: Iterable[Any]) -> Iterator[Any]:
    """Yield what a sampler gives; where its state was that at the end of a pass, that of the next pass."""
    found = list(islice(items, 1))
    yield from chain(found, items) if found else sampler


class _StatefulPass(Pass):
    """A pass through such a sampler.

    Args:
        batches: the batches from a step on.
        first: that step.
        step: the first of the batches to be given.
        sampler: the sampler.
        items: its iterator, which may have a state, too.
    """

    def __init__(self, batches: Iterator[Selection], first: int, step: int, sampler: Any, items: Any) -> None:
        self._own = sampler, items
        self._step = first
        self._states: deque[dict[str, Any]] = deque([self._now()])
        super().__init__(batches, {}, step - first)

    def _now(self) -> dict[str, Any]:
        sampler, items = self._own
        return {
            "step": self._step,
            "sampler": sampler.state_dict(),
            "iterator": items.state_dict() if is_stateful(items) else None,
        }

    def __next__(self) -> Selection:
        selection = super().__next__()
        self._step += 1
        self._states.append(self._now())
        return selection

    def state(self, step: int) -> dict[str, Any]:
        """Return what is to be saved of the pass, to start at a step."""
        while len(self._states) > 1 and self._states[1]["step"] <= step:
            self._states.popleft()
        return {"passes": 0, "before": None, "prefix": None, "own": self._states[0]}
