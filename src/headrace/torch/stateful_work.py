"""The work of workers whose dataset has a state of its own: they go on from one, and tell it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.loader.stream_fetch import ReadSamples, StreamReader
from headrace.loader.tasks import Loaded, Several
from headrace.torch.snapshots import is_stateful
from headrace.torch.work import TorchWorkMaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.loader.cursor import Epoch
    from headrace.loader.tasks import StreamTask

__all__ = ["StatefulReader", "StatefulWorkMaker"]


class StatefulReader(StreamReader):
    """Reads a stream that has a state of its own, or whose iterators have one.

    Args:
        arguments: those of StreamReader.
        restored: where the readers go on, by their numbers, in the first epoch.
        every: after so many batches of all readers the state is asked for.
    """

    def __init__(self, *arguments: Any, restored: dict[int, dict[str, Any]], every: int, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._restored = restored.get(self._worker)
        self._every = every
        self._tells = True

    def begin(self, epoch: Epoch) -> None:
        """Ask the stream for the samples of an epoch, or for what is left of them; see StreamReader."""
        restored, self._restored = self._restored, None
        if restored is not None and restored["dataset"] is not None:
            self._stream.load_state_dict(restored["dataset"])
        super().begin(epoch)
        self._tells = is_stateful(self._stream) or is_stateful(self._samples)
        if restored is None:
            return
        if restored["iterator"] is not None:
            self._samples.load_state_dict(restored["iterator"])
        self._number, self._ended = restored["number"], restored["ended"]
        self._position = self._asked = restored["position"]

    def __call__(self, task: StreamTask) -> Loaded:
        """Return the batch of a task; one before the place to go on from has been handed out."""
        if task.skip and self._restored is not None and task.number < self._restored["number"]:
            return Loaded(0)
        return super().__call__(task)

    def read(self, epoch: Epoch, step: int, number: int) -> ReadSamples:
        """Read the samples of a batch, and take the state after them if it is asked for; see StreamReader."""
        found = super().read(epoch, step, number)
        asked = -(step + 1) % self._every < self._workers or step < self._workers or not found.samples
        if not (self._tells and asked):
            return found
        return found._replace(snapshot=(self._worker, self._state()))

    def load(self, task: StreamTask, read: ReadSamples) -> Loaded:
        """Make the batch of a task of its samples; see StreamReader."""
        return replace(super().load(task, read), snapshot=read.snapshot)

    def _state(self) -> dict[str, Any]:
        stream, samples = self._stream, self._samples
        of_both = samples is stream
        return {
            "dataset": stream.state_dict() if is_stateful(stream) and not of_both else None,
            "iterator": samples.state_dict() if is_stateful(samples) else None,
            "number": self._number,
            "position": self._position,
            "ended": self._ended,
        }


@dataclass(frozen=True)
class StatefulWorkMaker(TorchWorkMaker):
    """Makes what a worker does, where its dataset has a state of its own.

    Args:
        restored: the states to go on from, by the number of the reader; of a dataset with indices that is the rest of
            its steps divided by the workers.
        first: the step to go on from.
        every: after so many batches the state of a stream is asked for; that of a dataset with indices after each.
    """

    restored: dict[int, Any] = field(default_factory=dict)
    first: int = 0
    every: int = 1

    def __call__(self, worker: int) -> Callable[[Any], Any]:
        """Make worker number `worker` ready, and give what it does for a task."""
        work = super().__call__(worker)
        if self.streams:
            return work
        workers, dataset = max(self.num_workers, 1), self.dataset
        restored = self.restored.get((self.first + worker) % workers)
        if restored is not None:
            dataset.load_state_dict(restored["dataset"])

        def work_and_tell(task: Any) -> Any:
            found = work(task)
            if isinstance(found, Several):
                return found
            if not isinstance(found, Loaded):
                found = Loaded(len(task.selection), found, loaded=True)
            return replace(found, snapshot=(task.step % workers, {"dataset": dataset.state_dict()}))

        return work_and_tell

    def _stream_reader(self, worker: int, make: Callable[..., StreamReader] = StatefulReader) -> StreamReader:
        return super()._stream_reader(worker, partial(make, restored=self.restored, every=self.every))
