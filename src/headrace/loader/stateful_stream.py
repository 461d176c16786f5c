"""Reading a stream that has a state of its own: from where that says, and telling it after each batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.loader.snapshots import is_stateful
from headrace.loader.stream_fetch import ReadSamples, StreamReader
from headrace.loader.tasks import Loaded

if TYPE_CHECKING:
    from headrace.insight.clock import StageClock
    from headrace.loader.cursor import Epoch
    from headrace.loader.snapshots import RestoredStates
    from headrace.loader.tasks import StreamTask

__all__ = ["StatefulReader"]


class StatefulReader(StreamReader):
    """Reads a stream that has a state of its own, or whose iterators have one; any other as StreamReader does.

    Args:
        arguments: those of StreamReader.
        restored: where the readers go on; None for the start.
        every: after so many batches of all readers the state is asked for.
    """

    def __init__(self, *arguments: Any, restored: RestoredStates | None, every: int, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._restored = restored
        self._every = every
        self._tells = False  # until it is known whether anything has a state
        self._whole: dict[str, Any] | None = None  # the state after the last batch, where it is wanted

    def begin(self, epoch: Epoch) -> None:
        """Ask the stream for the samples of an epoch, or for what is left of them; see StreamReader."""
        restored, self._restored = self._goes_on(epoch), None
        self._tells = False
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

    def _goes_on(self, epoch: Epoch) -> dict[str, Any] | None:
        """Return the state that this reader goes on from in an epoch."""
        restored = self._restored
        return restored.readers.get(self._worker) if restored is not None and restored.epoch == epoch else None

    def __call__(self, task: StreamTask, clock: StageClock) -> Loaded:
        """Return the batch of a task; one before the place to go on from has been handed out."""
        restored = self._goes_on(task.epoch)
        if task.skip and restored is not None and task.number < restored["number"]:
            return Loaded(0)
        return super().__call__(task, clock)

    def read(self, epoch: Epoch, step: int, number: int) -> ReadSamples:
        """Read the samples of a batch, and take the state after them if it is asked for; see StreamReader."""
        found = super().read(epoch, step, number)
        return found if self._whole is None else found._replace(snapshot=(self._worker, self._whole))

    def _read_whole(self, step: int) -> None:
        asked = -(step + 1) % self._every < self._workers or step < self._workers or self._ended
        self._whole = self._state() if self._tells and asked else None

    def _look_ahead(self, found: ReadSamples, epoch: Epoch, step: int) -> None:
        super()._look_ahead(found, epoch, step)
        if self._ended and self._whole is not None and not self._ahead.samples:
            self._whole = self._state()  # with the samples that have joined

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
