"""The work of a worker as torch has it: its seeds, how it fetches, and which worker an error came from."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from headrace.loader.fetch import BatchReader
from headrace.loader.tasks import Loaded
from headrace.loader.work import WorkMaker
from headrace.rng.context import use_keys
from headrace.torch.collate import as_torch, collates_as_torch, register

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.loader.cursor import Epoch
    from headrace.sampling.samplers import Selection

__all__ = ["TorchReader", "TorchWorkMaker", "worker_of"]

# The attribute of an error that says in which worker process it was raised.
_WORKER = "_headrace_worker"


class TorchReader(BatchReader):
    """Reads the samples of a selection as torch fetches them, and batches at once where that gives the same."""

    def _compile(self) -> None:
        super()._compile()
        at_once = collates_as_torch(self._collate_fn) and not self._single
        self._reads_batches = at_once and self._plan.reads_batches
        self._getitems = None if self._single else getattr(self._dataset, "__getitems__", None)

    def __call__(self, selection: Selection, key: int, step: int) -> Any:
        """Return the batch of the selection, or a Loaded where samples failed and were passed over; see BatchReader."""
        if not self._plan.is_current():
            self._compile()
        if self._reads_batches:
            found = super().__call__(selection, key, step)
            return found if isinstance(found, Loaded) else as_torch(found)
        if self._getitems and self._on_error == "raise" and self._collate_fn is not None:
            with use_keys(key, np.arange(len(selection))):
                # What it gives is the collate_fn's matter: it may be a batch already.
                keys = selection.tolist() if isinstance(selection, np.ndarray) else selection
                return self._collate_fn(self._getitems(keys))
        return super().__call__(selection, key, step)


@dataclass(frozen=True)
class TorchWorkMaker(WorkMaker):
    """Makes what a worker does, with the seeds that torch's loader gives its workers.

    Args:
        base_seed: torch's; None for the seeds that headrace gives to workers and batches.
        collate_functions: what the program has changed in `default_collate_fn_map`.
    """

    base_seed: int | None = None
    collate_functions: dict[Any, Callable[..., Any]] = field(default_factory=dict)

    def __call__(self, worker: int) -> Callable[[Any], Any]:
        """Make worker number `worker` ready, and give what it does for a task."""
        if not self.own_process:
            return super().__call__(worker)
        register(self.collate_functions)
        try:
            work = super().__call__(worker)
        except Exception as error:
            _name_worker(error, worker)
            raise
        return _telling(work, worker)

    def reader(self) -> BatchReader:
        """Return a reader of the batches of the dataset."""
        return TorchReader(
            self.dataset, self.collate_fn, single=self.single, on_error=self.on_error, from_batch=self.from_batch
        )

    def _worker_seed(self, worker: int) -> int:
        return super()._worker_seed(worker) if self.base_seed is None else self.base_seed + worker

    def _seed_process(self, seed: int, worker: int) -> None:
        if self.base_seed is None:
            super()._seed_process(seed, worker)
            return
        random.seed(seed)
        torch.manual_seed(seed)
        # A sequence keeps NumPy's numbers apart from those that Python's generator gives for the same seed.
        words = [worker, self.base_seed & 0xFFFFFFFF, self.base_seed >> 32, 0]
        np.random.seed(np.random.SeedSequence(words).generate_state(4))  # noqa: NPY002 - the legacy one is meant

    def _seed_globals(self) -> Callable[[Epoch, int], None] | None:
        return super()._seed_globals() if self.base_seed is None else None


def _telling(work: Callable[[Any], Any], worker: int) -> Callable[[Any], Any]:
    def work_and_tell(task: Any) -> Any:
        try:
            found = work(task)
        except Exception as error:
            _name_worker(error, worker)
            raise
        for among in found.errors if isinstance(found, Loaded) else ():
            _name_worker(among, worker)
        return found

    return work_and_tell


def _name_worker(error: Exception, worker: int) -> None:
    with suppress(Exception):  # of a class that takes no attributes
        setattr(error, _WORKER, worker)


def worker_of(error: Exception) -> int | None:
    """Return the worker process that raised an error; None where none did."""
    found = vars(error).get(_WORKER)
    return found if isinstance(found, int) else None
