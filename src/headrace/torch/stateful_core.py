"""The core loader whose state has those of its dataset and sampler, where they have one."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from headrace.errors import StateError
from headrace.torch.core import CoreLoader
from headrace.torch.snapshots import Snapshots, dataset_part, is_stateful
from headrace.torch.stateful_sampling import StatefulBatches, has_state
from headrace.torch.stateful_work import StatefulWorkMaker

if TYPE_CHECKING:
    from typing import Literal

    from headrace.batch.arena import Arena
    from headrace.loader.cursor import Cursor, Epoch
    from headrace.loader.tasks import Loaded
    from headrace.loader.work import WorkMaker
    from headrace.sampling.samplers import GivenSampling
    from headrace.workers import Pool

__all__ = ["StatefulCore"]


class StatefulCore(CoreLoader):
    """A core loader that takes the states of its dataset in all workers.

    Args:
        dataset: a stream, or any object that gives samples for indices or other keys.
        streams: whether it is a stream.
        arguments: those of the core loader.
        every: after so many batches the workers tell the state of a stream.
    """

    def __init__(self, dataset: Any, *, streams: bool, arguments: dict[str, Any], every: int) -> None:
        # Without workers nothing is sent, and a dataset with indices is not read again for what has been handed out.
        self._snapshots = Snapshots(every if streams and arguments["num_workers"] else 1)
        self._restored: dict[int, Any] | None = None  # until an iterator begins there
        self._begun: Cursor | None = None
        super().__init__(dataset, streams=streams, arguments=arguments)

    def _keeps_states(self) -> bool:
        return self._streams or is_stateful(self.dataset)

    def _goes_on(self) -> bool:
        """Return whether the next epoch is read from the same copies of the dataset."""
        return not self.num_workers or self.persistent_workers

    # ------------------------------------------------------------------ the state

    def take(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the loader's own position, and with it the states of others; none if nobody has one."""
        at = self._epochs.position()
        begun, states = self._begun, self._restored
        loaded = states is not None
        if states is None and begun is not None and not begun.finished and begun.epoch.number == at.number:
            step, states = self._snapshots.at(at.step)
            if states:
                at = replace(at, step=step, ahead=at.ahead | frozenset(range(step, at.step)))
        elif states is None:
            states = self._between_epochs()
        position = self._state(at).to_dict()
        # A dataset that is known to have a state, and of which none is kept, begins anew.
        tells = bool(states or loaded or self._snapshots.latest)
        others: dict[str, Any] = {"readers": states or {}} if tells else {}
        others |= {"workers": self._copies()} if states else {}
        sampler = position.get("sampler")
        if sampler and "own" in sampler:
            position["sampler"] = {name: value for name, value in sampler.items() if name != "own"}
            others["sampler"] = sampler["own"]
        return position, others

    def put(
        self,
        position: dict[str, Any],
        others: dict[str, Any],
        at: Literal["step", "samples"] = "step",
        *,
        strict: bool = True,
    ) -> None:
        """Go on from what `take` gave; see `DataLoader.load_state_dict`.

        Raises:
            StateError: it is of a loader with another order, or other workers.
        """
        if others.get("workers", self._copies()) != self._copies():
            raise StateError(
                f"the state has that of the dataset in each of {others['workers']} workers, and here are "
                f"{self._copies()}; load it with num_workers={others['workers']}, or let the dataset do without a "
                "state of its own"
            )
        if "sampler" in others:
            position = {**position, "sampler": {**position["sampler"], "own": others["sampler"]}}
        self.load_state_dict(position, at, strict=strict)
        self._restored = others.get("readers")

    def _copies(self) -> int:
        """Return how many copies of the dataset are read, each with a state of its own."""
        return (self._readers() if self._streams else self.num_workers) or 1

    def _between_epochs(self) -> dict[int, Any]:
        if not self._goes_on():
            return {}
        if not self.num_workers and is_stateful(self.dataset):
            return {0: dataset_part({"dataset": self.dataset.state_dict()})}
        return {reader: dataset_part(state) for reader, state in self._snapshots.latest.items()}

    # ------------------------------------------------------------------ the core's steps

    def _make_sampling(self) -> GivenSampling | None:
        sampler = self.sampler if self.batch_sampler is None else self.batch_sampler
        if sampler is not None and has_state(sampler):
            return StatefulBatches(sampler, single=self.batch_sampler is None)
        return super()._make_sampling()

    def _is_inline(self) -> bool:
        return not self._keeps_states() and super()._is_inline()

    def _takes_turns(self) -> bool:
        return self._keeps_states() or super()._takes_turns()

    def _maker_for(self, epoch: Epoch) -> WorkMaker:
        maker = super()._maker_for(epoch)
        if not self._keeps_states():
            return maker
        first = self._epochs.position().step
        of_maker = {each.name: getattr(maker, each.name) for each in fields(maker)}
        return StatefulWorkMaker(**of_maker, restored=self._restored or {}, first=first, every=self._snapshots.every)

    def _batches(self, pool: Pool[Any, Any], cursor: Cursor, arena: Arena) -> Any:
        states = self._between_epochs() if self._restored is None else self._restored
        self._snapshots.begin(cursor.start.step, states)
        self._begun, self._restored = cursor, None
        return super()._batches(pool, cursor, arena)

    def _note(self, found: Loaded, epoch: Epoch, step: int) -> None:
        self._snapshots.note(found.snapshot, step)
        super()._note(found, epoch, step)
