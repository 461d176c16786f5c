"""The work of a worker as torch has it: its seeds, how it fetches, and which worker an error came from."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from operator import length_hint
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from headrace.batch.capabilities import capability
from headrace.batch.tree import count_array_bytes
from headrace.errors import UnexpectedStopIterationError
from headrace.errors.notes import add_note
from headrace.insight.columns import COLLATE, READ
from headrace.loader.fetch import BatchReader
from headrace.loader.tasks import Loaded
from headrace.loader.work import WorkMaker
from headrace.pipeline.describe import describe
from headrace.pipeline.hugging_face import gives_samples
from headrace.pipeline.nodes import Concat, Map, Mixed, Select, Source, Zip
from headrace.rng.context import use_keys
from headrace.torch.collate import as_torch, collates_as_torch, register

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.loader.cursor import Epoch
    from headrace.loader.stream_fetch import StreamReader
    from headrace.pipeline.nodes import Node
    from headrace.sampling.samplers import Selection

__all__ = ["TorchReader", "TorchWorkMaker", "makes_batches", "worker_of"]

# The attribute of an error that says in which worker process it was raised.
_WORKER = "_headrace_worker"
_GOLDEN = 0x9E3779B97F4A7C15  # spreads the steps of an epoch over all keys
_WORD = 2**64 - 1


class TorchReader(BatchReader):
    """Reads the samples of a selection as torch fetches them, and batches at once where that gives the same.

    Args:
        arguments: those of BatchReader.
        draws_by_index: what headrace's transforms draw for a sample follows from its index, as with a `seed`; else
            from its place among the samples of its batch, which takes no time for each.

    Attributes:
        is_current: tells whether the dataset is still made of what it was when it was compiled.
    """

    is_current: Callable[[], bool]

    def __init__(self, *arguments: Any, draws_by_index: bool, **more: Any) -> None:
        self._draws_by_index = draws_by_index
        super().__init__(*arguments, **more)

    def _compile(self) -> None:
        super()._compile()
        self.is_current = self._plan.is_current
        at_once = not self._single and collates_as_torch(self._collate_fn) and makes_batches(self._dataset)
        self._read_batch = self._read_as_torch if at_once else None
        self._getitems = None if self._single else getattr(self._dataset, "__getitems__", None)
        # What __getitems__ gives is the collate_fn's matter, who need not be given samples.
        alike = self._getitems or not self._draws_by_index
        self._fetches = bool(alike) and self._on_error == "raise" and not at_once

    @property
    def fetches(self) -> bool:
        """Whether samples are read and collated as torch does both, with draws that follow from their places."""
        if not self.is_current():
            self._compile()
        return self._fetches

    @property
    def reads_together(self) -> bool:
        """Whether several batches may be read as one, ahead of their turn."""
        return self._read_batch is not None and self._plan.reads_together

    def __call__(self, selection: Selection, key: int, step: int) -> Any:
        """Return the batch of the selection, or a Loaded where samples failed and were passed over; see BatchReader."""
        return self.fetch(selection, key, step) if self.fetches else super().__call__(selection, key, step)

    def fetch(self, selection: Selection, key: int, step: int) -> Any:
        """Return the batch of the selection, read as torch reads it."""
        keys = selection.tolist() if isinstance(selection, np.ndarray) else selection
        with use_keys((key + step * _GOLDEN) & _WORD, _places(len(keys))):
            samples = self._getitems(keys) if self._getitems else read_all(self._dataset, keys)
            self.clock.lap(READ)
            if self._collate_fn is None:
                return samples
            batch = self._collate_fn(samples[0] if self._single else samples)
            self.clock.lap(COLLATE, count_array_bytes(batch))
            return batch

    def read_at_once(self, selection: NDArray[np.int64]) -> Any:
        """Return all samples of the selection as one batch; see BatchReader."""
        return as_torch(super().read_at_once(selection))

    def _read_as_torch(self, indices: NDArray[np.int64]) -> Any:
        return as_torch(self._plan.batch(indices))


def makes_batches(dataset: Any) -> bool:
    """Return whether all that the dataset is made of gives batches, none of which is made of samples by a collation."""
    return _makes_batches(describe(dataset))


def _makes_batches(node: Node) -> bool:
    match node:
        case Source():
            return capability(node.dataset, "get_batch") is not None
        case Map() | Select():
            return _makes_batches(node.input)
        case Concat() | Mixed() | Zip():
            return all(map(_makes_batches, node.inputs))
    return True  # it keeps what has been made


def read_all(dataset: Any, keys: list[Any]) -> list[Any]:
    """Read samples one after the other.

    Raises:
        Exception: what reading raised, with a note that names the key.
        UnexpectedStopIterationError: reading raised StopIteration, which would end the loop around the loader silently.
    """
    waiting = iter(keys)
    try:
        samples = list(map(dataset.__getitem__, waiting))
    except Exception as error:
        at = len(keys) - length_hint(waiting) - 1
        add_note(error, f"while reading sample {keys[at]!r} of {type(dataset).__name__}")
        raise
    if len(samples) != len(keys):
        raise UnexpectedStopIterationError(
            f"{type(dataset).__name__}.__getitem__({keys[len(samples)]!r}) raised StopIteration; raise IndexError or "
            "another exception there"
        )
    return samples


@lru_cache(64)
def _places(count: int) -> NDArray[np.int64]:
    places = np.arange(count)
    places.flags.writeable = False
    return places


@dataclass(frozen=True)
class TorchWorkMaker(WorkMaker):
    """Makes what a worker does, with the seeds that torch's loader gives its workers.

    Args:
        torchs: give the workers torch's seeds; else those that headrace gives to workers and batches.
        base_seed: what torch's follow from.
        epoch: the one that begins now, of which a stream that is read without workers is asked at once.
        collate_functions: what the program has changed in `default_collate_fn_map`.
    """

    torchs: bool = False
    base_seed: int = 0
    epoch: Epoch | None = None
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

    def reader(self) -> TorchReader:
        """Return a reader of the batches of the dataset."""
        return TorchReader(
            self.dataset,
            self.collate_fn,
            single=self.single,
            on_error=self.on_error,
            from_batch=self.from_batch,
            draws_by_index=not self.torchs,
        )

    def _stream_reader(self, worker: int) -> StreamReader:
        reader = super()._stream_reader(worker)
        if self.torchs and self.epoch is not None and not self.num_workers:
            reader.begin(self.epoch)
        return reader

    def _tells_epoch(self) -> bool:
        # torch's loader tells a stream nothing: that is the program's to do. Workers that persist have copies, which
        # cannot hear it; of Hugging Face's streams the loader knows what they were told.
        return not self.torchs or not isinstance(self.dataset, IterableDataset) or gives_samples(self.dataset)

    def _worker_seed(self, worker: int) -> int:
        return self.base_seed + worker if self.torchs else super()._worker_seed(worker)

    def _seed_process(self, seed: int, worker: int) -> None:
        if not self.torchs:
            super()._seed_process(seed, worker)
            return
        random.seed(seed)
        torch.manual_seed(seed)
        # A sequence keeps NumPy's numbers apart from those that Python's generator gives for the same seed.
        words = [worker, self.base_seed & 0xFFFFFFFF, self.base_seed >> 32, 0]
        np.random.seed(np.random.SeedSequence(words).generate_state(4))  # noqa: NPY002 - the legacy one is meant

    def _seed_globals(self) -> Callable[[Epoch, int], None] | None:
        return None if self.torchs else super()._seed_globals()


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
