"""Capabilities: methods that a dataset or transform need not have, which do more at once or tell more.

Of a dataset, `get_batch(indices)` and `__getitems__(indices)` read many samples at once, and `get_ragged(indices)`
sequences of different lengths end to end; `will_need(indices)` hears early which samples will be read, while
`reads_ahead()` says that this is of use; `blocks()` says which of them lie together, `counters()` what has been
counted, `byte_ranges(indices)` which bytes of which files samples are read from, `pieces(indices)`
which parts of files are decoded for them, `releases_gil()` whether several
threads can read at the same time, `where(index)` in which file a sample lies. `lengths()` tells how many items the
sequence of each sample has; where samples have several fields, `field_lengths(field)` tells it of one of them if that
costs nothing, and `read_lengths(field)` yields it by and by where less than the samples has to be read for it. Of a
transform, `apply_batch(batch)` does for a batch what calling it does for a sample.

One rule tells whether a method counts: it does unless a class further down defines a method that it stands for. A
class that derives from another and has its own `__getitem__` is read by that, whatever faster methods the other
one has. Only classes are asked, so a wrapper that forwards unknown attributes is not taken for what it wraps.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["batch_function", "capability"]

_READING = ("__getitem__", "__getitems__", "get_batch")

# The methods that each capability stands for. Those that change no sample stand for none.
_STANDS_FOR = {
    # of datasets
    "__getitems__": _READING[:1],
    "get_batch": _READING[:2],
    "get_ragged": _READING,
    "annotate": _READING[:1],
    "node": _READING,
    "open_rows": _READING,
    "image_layout": _READING,
    "reads_together": _READING,
    "collates_as_torch": _READING,
    "releases_gil": _READING[:1],
    "lengths": _READING,
    "field_lengths": _READING,
    "read_lengths": _READING,
    "will_need": (),
    "reads_ahead": (),
    "blocks": (),
    "counters": (),
    "byte_ranges": (),
    "pieces": (),
    "where": (),
    # of transforms
    "apply_batch": ("__call__",),
    "apply_in_layout": ("__call__", "apply_batch"),
    "decodes_to": ("__call__",),
    "layout_after": ("__call__",),
    "lower": ("transform",),
    "steps": ("__call__",),
}


def capability(dataset: Any, name: str) -> Callable[..., Any] | None:
    """Return a dataset's method `name`, bound to it; None if it has none that counts.

    >>> capability([1, 2], "get_batch") is None
    True
    """
    kind: Any = type(dataset)
    return getattr(dataset, name) if _counts(kind, name) else None


@lru_cache(1024)
def _counts(kind: Any, name: str) -> bool:
    for cls in kind.__mro__:
        if name in cls.__dict__:
            return callable(cls.__dict__[name])
        if any(other in cls.__dict__ for other in _STANDS_FOR[name]):
            return False
    return False


def batch_function(fn: Callable[[Any], Any]) -> Callable[[Any], Any] | None:
    """Return what does for a batch as `fn` does for a sample; None if there is nothing."""
    if not getattr(fn, "batched", False):
        return None
    return capability(fn, "apply_batch")
