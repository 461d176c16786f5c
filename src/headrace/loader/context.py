"""The context in which a batch is loaded: where its arrays lie, what its samples draw, and what its errors say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.batch.arena import use_arena
from headrace.loader.tasks import name_error, numbers_of
from headrace.rng.context import SampleKeys, loading

if TYPE_CHECKING:
    from types import TracebackType

    from headrace.batch.arena import Memory
    from headrace.loader.cursor import Epoch
    from headrace.sampling.samplers import Selection

__all__ = ["loading_batch"]


class loading_batch(use_arena):  # noqa: N801 - a context manager reads like a function
    """While this is open, a batch is loaded: draws belong to its samples, arrays are leased, and errors name it.

    Args:
        epoch: the batch's epoch.
        step: and its step.
        selection: which samples.
        arena: where its large arrays are written; None for the one around it.
    """

    __slots__ = ("_epoch", "_keys", "_outer", "_step")

    def __init__(self, epoch: Epoch, step: int, selection: Selection, arena: Memory | None = None) -> None:
        self._arena = arena
        self._epoch = epoch
        self._step = step
        self._keys = SampleKeys(epoch.draws_key, numbers_of(selection, step))

    def __enter__(self) -> None:
        self._outer = loading.set(self._keys)
        super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loading.reset(self._outer)
        super().__exit__(kind, error, trace)
        if error is not None:
            name_error(error, self._epoch, self._step)
