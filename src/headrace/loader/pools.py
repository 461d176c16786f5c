"""The worker pools of a loader: what they are made of, which are open, and which have nothing to do."""

from __future__ import annotations

import sys
import warnings
import weakref
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from headrace.errors import HeadraceWarning
from headrace.errors.notes import level_of_user
from headrace.loader.known_collation import batch_as_collated
from headrace.pipeline.compile import compile_dataset
from headrace.workers import InlinePool, PoolOptions
from headrace.workers.backends import default_backend, requested_backend

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from headrace.batch.arena import Arena
    from headrace.loader.work import WorkMaker
    from headrace.workers import Pool
    from headrace.workers.backends import Backend

__all__ = ["PoolKeeper", "WorkerSettings", "choose_backend", "make_pool", "start_workers"]


class WorkerSettings(Protocol):
    """The arguments of a loader that say what its workers are; see DataLoader."""

    _given: dict[str, Any]
    dataset: Any
    num_workers: int
    prefetch_factor: int | None
    prefetch_bytes: int | None
    in_order: bool
    timeout: float
    worker_init_fn: Any
    collate_fn: Any


@runtime_checkable
class _MapsMemory(Protocol):
    """A pool whose results come in memory of other processes."""

    def let_adopt(self, adopt: Callable[[NDArray[np.uint8]], None]) -> None:
        """Call a function with that memory: before any results come."""


def make_pool(loader: WorkerSettings, maker: WorkMaker, arena: Arena, *, turns: bool) -> Pool[Any, Any]:
    """Return the workers that a loader asks for.

    Args:
        loader: says what they are, and how far ahead they load.
        maker: makes what they do.
        arena: where batches are written that are loaded in this process.
        turns: give task i to worker i mod `num_workers`, for workers that go on from task to task. So it is, too,
            where workers are made ready by a function of the user's.
    """
    if loader.num_workers == 0:
        return InlinePool(replace(maker, arena=arena))
    options = PoolOptions(
        workers=loader.num_workers,
        in_flight=loader.num_workers * (loader.prefetch_factor or 1),
        max_bytes=loader.prefetch_bytes,
        in_order=loader.in_order,
        timeout=loader.timeout,
        turns=turns or loader.worker_init_fn is not None,  # a generator that it makes gives the same in each run
    )
    return start_workers(choose_backend(loader, streams=maker.streams), maker, options, loader._given, arena)


def start_workers(
    backend: Backend, maker: WorkMaker, options: PoolOptions, given: dict[str, Any], arena: Arena
) -> Pool[Any, Any]:
    """Return workers of a kind.

    Args:
        backend: the kind.
        maker: makes what they do.
        options: how many they are, and how far ahead they load.
        given: the loader's arguments by name.
        arena: where batches are written that are loaded in this process.
    """
    maker = replace(maker, own_process=True) if backend.separate else maker.in_threads(arena)
    pool = backend.make_pool(maker, options, given)
    if arena.adopt is not None and isinstance(pool, _MapsMemory):
        pool.let_adopt(arena.adopt)
    return pool


def choose_backend(loader: WorkerSettings, *, streams: bool) -> Backend:
    """Return what the workers of a loader are.

    Args:
        loader: says it, or leaves it open.
        streams: whether its dataset is a stream. Threads have one stream together, so where it is left to headrace
            it has processes, if there are any, for its share of it is the same in every interpreter.
    """
    requested = requested_backend(loader._given)
    return requested or default_backend(separate=streams or not _threads_serve(loader))


def _threads_serve(loader: WorkerSettings) -> bool:
    """Return whether threads would load at the same time."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return True
    plan = compile_dataset(loader.dataset)
    known = loader.collate_fn is None or batch_as_collated(plan, loader.collate_fn) is not None
    return known and bool(plan.releases_gil)


# Below so many seconds nobody minds how long workers take to start.
_LONG_START = 0.5


def _text_of_start(took: float, lasted: float) -> str:
    return (
        f"starting the workers took {took:.1f} of the {lasted:.1f} seconds of an epoch; keep them between epochs with "
        "persistent_workers=True"
    )


class PoolKeeper:
    """Hands out pools and takes them back.

    Each iterator has a pool for itself, so that several do not disturb each other.

    Args:
        persistent: keep a pool that is given back for the next iterator.

    >>> from headrace.batch.arena import Arena
    >>> from headrace.workers import InlinePool
    >>> keeper = PoolKeeper(persistent=True)
    >>> pool = keeper.take(lambda: InlinePool(lambda worker: abs), arena := Arena())
    >>> keeper.give_back(pool, arena)
    >>> keeper.take(lambda: InlinePool(lambda worker: abs), arena) is pool
    True
    """

    def __init__(self, *, persistent: bool) -> None:
        self._persistent = persistent
        self._starts = 0
        self._warns = True  # until it has
        self._open: weakref.WeakSet[Pool[Any, Any]] = weakref.WeakSet()
        self._idle: dict[Arena, list[Pool[Any, Any]]] = {}  # by the memory that their batches lie in

    def take(self, make: Callable[[], Pool[Any, Any]], arena: Arena) -> Pool[Any, Any]:
        """Return a pool with nothing to do: one of the same arena that was given back, or what `make` makes."""
        with suppress(IndexError):
            while True:
                idle = self._idle.setdefault(arena, []).pop()
                if not idle.closed:
                    return idle
        pool = make()
        self._starts += 1
        self._open.add(pool)
        return pool

    def give_back(self, pool: Pool[Any, Any], arena: Arena) -> None:
        """Take a pool back that has nothing more to do."""
        if self._persistent and not pool.closed:
            self._idle.setdefault(arena, []).append(pool)
            return
        took, lasted = getattr(pool, "start_times", lambda: (0.0, 0.0))()
        pool.close()
        # The first start is the price of the first imports. That is not paid again, and only a second epoch shows
        # that there are several.
        if self._warns and self._starts > 1 and took > max(_LONG_START, lasted / 2):
            self._warns = False
            warnings.warn(_text_of_start(took, lasted), HeadraceWarning, stacklevel=level_of_user())

    def drop_idle(self) -> None:
        """Close the pools that were given back."""
        for pools in self._idle.values():
            while pools:
                pools.pop().close()

    def close(self) -> None:
        """Close all pools, those in use too, and keep none from now on."""
        self._persistent = False
        self._idle.clear()
        for pool in list(self._open):
            pool.close()
