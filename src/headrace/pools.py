"""The worker pools of a loader: which are open, and which have nothing to do."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.workers import Pool

__all__ = ["PoolKeeper"]


class PoolKeeper:
    """Hands out pools and takes them back.

    Each iterator has a pool for itself, so that several do not disturb each other.

    Args:
        persistent: keep a pool that is given back for the next iterator.

    >>> from headrace.workers import InlinePool
    >>> keeper = PoolKeeper(persistent=True)
    >>> pool = keeper.take(lambda: InlinePool(lambda worker: abs))
    >>> keeper.give_back(pool)
    >>> keeper.take(lambda: InlinePool(lambda worker: abs)) is pool
    True
    """

    def __init__(self, *, persistent: bool) -> None:
        self._persistent = persistent
        self._open: weakref.WeakSet[Pool[Any, Any]] = weakref.WeakSet()
        self._idle: list[Pool[Any, Any]] = []

    def take(self, make: Callable[[], Pool[Any, Any]]) -> Pool[Any, Any]:
        """A pool with nothing to do: one that was given back, or what `make` makes."""
        with suppress(IndexError):
            while True:
                idle = self._idle.pop()
                if not idle.closed:
                    return idle
        pool = make()
        self._open.add(pool)
        return pool

    def give_back(self, pool: Pool[Any, Any]) -> None:
        """Take a pool back that has nothing more to do."""
        if self._persistent and not pool.closed:
            self._idle.append(pool)
        else:
            pool.close()

    def close(self) -> None:
        """Close all pools, those in use too, and keep none from now on."""
        self._persistent = False
        self._idle.clear()
        for pool in list(self._open):
            pool.close()
