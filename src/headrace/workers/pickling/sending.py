"""The work that is being pickled for worker processes, as far as its parts may know of it."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import HeadraceWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["replacements", "sending", "warn_of_objects"]

_MOST_BYTES = 100 << 20  # of objects, which each worker makes anew
_DEEPEST = 8  # levels of attributes that are searched for the largest
_BUILT_IN = (str, bytes, int, float, type, type(None))

# What goes in place of some parts, with these, by their identities; None while nothing is sent.
_replacements: ContextVar[dict[int, tuple[Any, Any]] | None] = ContextVar("headrace_replacements", default=None)


@contextmanager
def sending() -> Iterator[None]:
    """Let parts of the work know, while this is open, that they go to a worker process."""
    token = _replacements.set({})
    try:
        yield
    finally:
        _replacements.reset(token)


def replacements() -> dict[int, tuple[Any, Any]] | None:
    """Return where parts note what goes in place of others, by their identities; None while nothing is sent."""
    return _replacements.get()


class _FoundCollection(NamedTuple):
    path: str
    size: int
    kind: str


def warn_of_objects(work: object, nbytes: int) -> None:
    """Warn where objects that are pickled take long to send, and memory in each worker.

    Args:
        work: what was pickled.
        nbytes: of the pickle, without the memory of arrays, which workers share.
    """
    if nbytes <= _MOST_BYTES:
        return
    found = max(_collections(work, "", 0, set()), key=lambda each: each.size, default=None)
    where = "" if found is None else f"; most are in {found.path}, a {found.kind} of {found.size:,} items"
    warnings.warn(
        f"the dataset pickles to {nbytes / 1e6:,.0f} MB of Python objects, which each worker process makes anew"
        f"{where}. Keep them as NumPy arrays or in a headrace.SharedList, which workers share",
        HeadraceWarning,
        stacklevel=2,
    )


def _collections(value: Any, path: str, depth: int, seen: set[int]) -> Iterator[_FoundCollection]:
    """Yield the lists, dicts and other collections in the attributes of an object."""
    if depth > _DEEPEST or id(value) in seen or isinstance(value, _BUILT_IN):
        return
    seen.add(id(value))
    if isinstance(value, Collection) and not hasattr(value, "dtype"):
        with suppress(Exception):
            yield _FoundCollection(path, len(value), type(value).__name__)
    for name, part in getattr(value, "__dict__", {}).items():
        yield from _collections(part, f"{type(value).__name__}.{name}", depth + 1, seen)
    if isinstance(value, list | tuple) and len(value) < 100:  # others are data
        for number, part in enumerate(value):
            yield from _collections(part, f"{path}[{number}]", depth + 1, seen)
    if hasattr(value, "func") and hasattr(value, "args"):  # a functools.partial
        yield from _collections([value.func, *value.args, *getattr(value, "keywords", {}).values()], path, depth, seen)
