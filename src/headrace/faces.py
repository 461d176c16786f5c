"""Optional faster methods, and when they count.

A fast face (`get_batch`, `__getitems__`, `apply_batch`) does for many samples at once what a plain
method (`__getitem__`, `__call__`) does for one. It counts only if no subclass has overridden the
plain method: who overrides that changes the samples, and must be heard.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["batch_function", "fast_face"]


def fast_face(thing: object, name: str, stands_for: str) -> Callable[..., Any] | None:
    """The bound method `name`, if it still stands for the method `stands_for`.

    It does if its class is the one that defines `stands_for`, or one derived from that. Only
    classes are asked, so a wrapper that forwards unknown attributes is not taken for what it wraps.
    """
    kind: Any = type(thing)
    return getattr(thing, name) if _stands(kind, name, stands_for) else None


@lru_cache(1024)  # it is asked some dozens of times for a batch
def _stands(kind: type, name: str, stands_for: str) -> bool:
    for cls in kind.__mro__:
        if name in cls.__dict__:
            return callable(cls.__dict__[name])
        if stands_for in cls.__dict__:
            return False
    return False


def batch_function(fn: Callable[[Any], Any]) -> Callable[[Any], Any] | None:
    """What does for a batch as `fn` does for a sample; None if there is nothing."""
    if not getattr(fn, "batched", False):
        return None
    return fast_face(fn, "apply_batch", "__call__")
