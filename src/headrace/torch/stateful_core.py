"""The core loader whose state has those of its dataset and sampler, where they have one."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError, StateError
from headrace.loader.snapshots import ReaderStates, is_stateful
from headrace.torch.core import CoreLoader
from headrace.torch.stateful_sampling import StatefulBatches, has_state
from headrace.torch.stateful_work import StatefulWorkMaker

if TYPE_CHECKING:
    from typing import Literal

    from headrace.batch.arena import Arena
    from headrace.loader.cursor import Cursor, Epoch, StartPoint
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
        if arguments["num_workers"] == "auto":
            raise ArgumentError(
                "num_workers='auto' changes the number of workers, and each has a state of the dataset; give a number"
            )
        # Without workers nothing is sent, and a dataset with indices is not read again for what has been handed out.
        self._every = every if streams and arguments["num_workers"] else 1
        super().__init__(dataset, streams=streams, arguments=arguments)

    def _keeps_states(self) -> bool:
        return self._streams or is_stateful(self.dataset)

    def _make_states(self) -> ReaderStates:
        return ReaderStates(self._every)

    # ------------------------------------------------------------------ the state

    def take(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the loader's own position, and with it the states of others; none if nobody has one."""
        at = self._epochs.position()
        loaded = self._states.loaded is not None
        step, states = self._states.at(at, self._between_epochs)
        if states and step != at.step:
            at = replace(at, step=step, ahead=at.ahead | frozenset(range(step, at.step)))
        position = self._state(at).to_dict()
        # A dataset that is known to have a state, and of which none is kept, begins anew.
        tells = bool(states or loaded or self._states.snapshots.latest)
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
        self._states.loaded = others.get("readers")

    def _copies(self) -> int:
        """Return how many copies of the dataset are read, each with a state of its own."""
        return (self._readers() if self._streams else self.num_workers) or 1

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
        of_maker = {each.name: getattr(maker, each.name) for each in fields(maker)}
        return StatefulWorkMaker(**of_maker, first=self._epochs.position().step)

    def _stream_state(self, at: StartPoint) -> None:  # noqa: ARG002 - `take` has it
        return None

    def _batches(self, pool: Pool[Any, Any], cursor: Cursor, arena: Arena) -> Any:
        if not self._streams:
            self._states.begin(cursor, self._between_epochs())
        return super()._batches(pool, cursor, arena)
