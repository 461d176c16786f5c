"""Steps that must not be left half-way, whatever signals come."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["end_surely", "hold_signals"]


@contextmanager
def hold_signals() -> Iterator[None]:
    """Hold back what the handlers of signals do, such as the KeyboardInterrupt of a Ctrl-C, until the block has ended.

    Blocking the signals would not do: they would go to another thread, and Python runs their handlers in the
    main thread all the same.
    """
    came: list[int] = []
    before: dict[signal.Signals, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():  # no other runs handlers
            for each in signal.Signals:
                if callable(signal.getsignal(each)):
                    before[each] = signal.signal(each, lambda number, _: came.append(number))
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


def end_surely(end: Callable[[], None]) -> None:
    """Call a function that ends something, whatever signals come.

    Args:
        end: does nothing if it has been called before.
    """
    try:
        with hold_signals():
            end()
    except BaseException:  # a handler may have run right before it could be held back
        with hold_signals():
            end()
        raise
