"""The work of workers whose dataset has indices and a state of its own: they go on from one, and tell it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headrace.loader.tasks import Loaded, Several
from headrace.torch.work import TorchWorkMaker

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StatefulWorkMaker"]


@dataclass(frozen=True)
class StatefulWorkMaker(TorchWorkMaker):
    """Makes what a worker does, where its dataset has a state of its own.

    The state of a dataset with indices is told after each batch, and restored by the rest of its steps divided by the
    workers.

    Args:
        first: the step to go on from.
    """

    first: int = 0

    def __call__(self, worker: int) -> Callable[[Any], Any]:
        """Make worker number `worker` ready, and give what it does for a task."""
        work = super().__call__(worker)
        if self.streams:
            return work
        workers, dataset = max(self.num_workers, 1), self.dataset
        readers = {} if self.restored is None else self.restored.readers
        restored = readers.get((self.first + worker) % workers)
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
