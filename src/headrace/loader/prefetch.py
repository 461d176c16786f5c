"""Batches that are taken from a loader before their turn, to be on a device when they are asked for.

There is no thread: a device copies and computes by itself, so it is enough that the copy of a batch has begun before
the batches ahead of it are used. Nothing has to be ended, then, however the program ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import RLock
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    StateMaker = Callable[[], dict[str, Any]]

__all__ = ["Mover", "PrefetchedBatches"]


class Mover(Protocol):
    """Puts batches on devices."""

    def begin(self, loader: Any) -> Iterator[Any]:
        """Return an iterator over the batches of the loader's next epoch, as they are to be moved."""

    def start(self, batch: Any) -> Any:
        """Begin to put a batch on the devices; return what `finish` needs."""

    def finish(self, moved: Any) -> Any:
        """Return the batch that has been begun, for the consumer to use."""


class PrefetchedBatches:
    """The batches of a loader on devices, one or more of them put there before their turn.

    Each `iter()` goes through an epoch of the loader, which is ahead of what has been handed out: a position to resume
    from is this object's `state_dict`, not the loader's.

    Attributes:
        loader: where the batches come from.

    Args:
        loader: an iterable of batches, which gives an epoch each time that it is gone through.
        size: how many batches are on the devices: the one in use, and those ahead of it.
        mover: puts them there.

    Raises:
        ArgumentError: `size` is not a positive integer.
        ArgumentTypeError: the loader is no iterable.
    """

    def __init__(self, loader: Iterable[Any], size: int, mover: Mover) -> None:
        if isinstance(size, bool) or not hasattr(size, "__index__") or size < 1:
            raise ArgumentError(
                f"size must be a positive integer, the batches on the devices at a time, but got size={size!r}; 2 has "
                "one in use and one ahead"
            )
        if not hasattr(loader, "__iter__"):
            raise ArgumentTypeError(
                f"loader must be a DataLoader or another iterable of batches, but got a {type(loader).__name__}"
            )
        self.loader: Any = loader
        self._size = int(size)
        self._mover = mover
        self._state: StateMaker | None = None  # of the place of the consumer; None where the loader stands there, too

    def __len__(self) -> int:
        """Return the number of batches in an epoch, where the loader has one."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the next epoch of the loader."""
        return _PrefetchIterator(self, self._mover, self._size)

    def state_dict(self) -> dict[str, Any]:
        """Return where the consumer stands: as the loader's own, but without the batches that are ahead.

        Raises:
            ArgumentTypeError: the loader has no state.
        """
        self._check_stateful("state_dict")
        state: dict[str, Any] = self.loader.state_dict() if self._state is None else self._state()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iterator go on where the state was taken, whether it is of this object or of a loader.

        Raises:
            ArgumentTypeError: the loader has no state.
            StateError: it is not the state of such a loader.
        """
        self._check_stateful("load_state_dict")
        self.loader.load_state_dict(state)
        self._state = None

    def _check_stateful(self, method: str) -> None:
        if not hasattr(self.loader, method):
            raise ArgumentTypeError(
                f"a {type(self.loader).__name__} has no {method}; to resume, prefetch from a headrace DataLoader"
            )


class _PrefetchIterator(Iterator[Any]):
    """The batches of one epoch. Threads may share one: each batch goes to one of them."""

    def __init__(self, owner: PrefetchedBatches, mover: Mover, size: int) -> None:
        self._owner = owner
        self._mover = mover
        self._size = size
        self._batches = mover.begin(owner.loader)
        # Iterators of other loaders do not say where they stand.
        self._place: Callable[[], StateMaker | None] = getattr(self._batches, "state_later", _nowhere)
        self._note_copy: Callable[[int], object] = getattr(self._batches, "note_copy", _unnoted)  # nor have a clock
        self._ready: deque[tuple[Any, StateMaker | None]] = deque()
        self._error: tuple[Exception, StateMaker | None] | None = None  # in place of the batch after these
        self._over = False
        self._lock = RLock()

    def __next__(self) -> Any:
        """Return the next batch, after the copies of those that follow it have begun.

        Raises:
            StopIteration: the epoch is over.
            Exception: what the loader raised in place of this batch. Iteration can go on after it.
        """
        with self._lock:
            self._fill()
            if self._ready:
                moved, self._owner._state = self._ready.popleft()  # noqa: SLF001 - known to this file only
                return self._mover.finish(moved)
            if self._error is None:
                self._owner._state = None  # noqa: SLF001
                raise StopIteration
            error, self._owner._state = self._error  # noqa: SLF001
            self._error = None
            try:
                raise error
            finally:
                del error  # it refers to this frame, which must not refer to it

    def _fill(self) -> None:
        """Begin to move batches until there are enough, or one has failed, which is told at its turn."""
        while len(self._ready) < self._size and self._error is None and not self._over:
            try:
                batch = next(self._batches)
                began = perf_counter_ns()
                moved = self._mover.start(batch)
                self._note_copy(began)
                self._ready.append((moved, self._place()))
                del batch, moved  # or they would be kept while the consumer works
            except StopIteration:
                self._over = True
            except Exception as error:
                self._error = error, self._place()


def _nowhere() -> None:
    """Say that there is no place to resume from."""


def _unnoted(began: int) -> None:
    """Leave out when a copy was begun, which nobody asks for."""
