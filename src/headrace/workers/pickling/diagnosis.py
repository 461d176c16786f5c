"""The search for the innermost part of an object that cannot be pickled, and for the way to it."""

from __future__ import annotations

import dis
import functools
import types
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from headrace.workers.pickling.by_value import CACHING, DISPATCHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Diagnosis", "PickleTrial", "diagnose", "parts_of"]

_DEEPEST = 100  # levels that are searched
_PROTOCOL = 5


class Diagnosis(NamedTuple):
    """A part that cannot be pickled."""

    path: str
    value: Any
    holder: object  # the nearest object around it that is no plain container, if any
    error: Exception


class PickleTrial(Protocol):
    """A way to pickle values, tried on parts of an object to find those that fail."""

    def parts_of(self, value: Any) -> list[tuple[str, Any]]:
        """Return the objects that pickling the value pickles, each with the path to it."""

    def error_of(self, values: list[Any], above: list[Any]) -> Exception | None:
        """Return the error of pickling the values, without the objects above them, which they may refer to."""


def diagnose(value: Any, path: str, error: Exception, trial: PickleTrial) -> Diagnosis:
    """Return the innermost part that cannot be pickled by itself.

    Args:
        value: what cannot be pickled.
        path: how it is called.
        error: what pickling it raised.
        trial: pickles its parts to see.
    """
    above: list[Any] = []
    holder = None
    while len(above) < _DEEPEST and not _is_too_deep(error):
        above.append(value)
        found = _first_failing(trial.parts_of(value), above, trial)
        if found is None:
            break
        if type(value).__module__ != "builtins":
            holder = value
        label, value, error = found
        path += label
    return Diagnosis(path, value, holder, error)


def _is_too_deep(error: Exception) -> bool:
    """Return whether it is the nesting that fails, of which no part is to blame."""
    return isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError)


def _first_failing(
    parts: list[tuple[str, Any]], above: list[Any], trial: PickleTrial
) -> tuple[str, Any, Exception] | None:
    """Return the first part that fails, by halving: each part is pickled about twice, however many there are."""
    seen = set(map(id, above))
    parts = [part for part in parts if id(part[1]) not in seen]
    while parts:
        error = trial.error_of([value for _, value in parts], above)
        if error is None:
            return None
        if len(parts) == 1:
            return *parts[0], error
        half = parts[: len(parts) // 2]
        innocent = trial.error_of([value for _, value in half], above) is None
        parts = parts[len(half) :] if innocent else half
    return None


def parts_of(value: Any) -> list[tuple[str, Any]]:
    """Return the objects that pickling the value by value pickles, each with the path to it."""
    for kind, parts in _PARTS.items():
        if type(value) is kind:
            return list(parts(value))
    if isinstance(value, type):
        return [(f".{name}", item) for name, item in vars(value).items() if name not in _NOT_SENT]
    if isinstance(value, np.ndarray):
        return [(f"[{', '.join(map(str, place))}]", item) for place, item in np.ndenumerate(value)]
    with suppress(Exception):
        return list(_reduced_parts(value))
    return []


def _reduced_parts(value: Any) -> Iterator[tuple[str, Any]]:
    make, args, state, items, pairs = (list(value.__reduce_ex__(_PROTOCOL)) + [None] * 3)[:5]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from ((f".{name}", item) for name, item in zip(value._fields, value, strict=True))
    for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        if isinstance(part, dict):
            yield from ((f".{name}", item) for name, item in part.items())
        else:
            yield ".__getstate__()", part
    yield from _items_of(items or ())
    yield from ((f"[{key!r:.40}]", item) for key, item in pairs or ())
    yield ".__class__" if make is type(value) else ".__reduce__()[0]", make
    for place, part in enumerate(args):
        yield ".__class__" if part is type(value) else f".__reduce__()[1][{place}]", part


def _items_of(values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"[{place}]", item) for place, item in enumerate(values))


def _function_parts(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    code, cells = function.__code__, function.__closure__ or ()
    if code is DISPATCHING:
        yield from ((f".registry[{kind.__name__}]", item) for kind, item in function.registry.items())  # type: ignore[attr-defined]
        return
    for name, cell in zip(code.co_freevars, cells, strict=True):
        with suppress(ValueError):  # an empty cell
            yield f".__closure__[{name!r}]", cell.cell_contents
    yield ".__defaults__", function.__defaults__
    yield ".__kwdefaults__", function.__kwdefaults__
    yield from ((f".{name}", item) for name, item in vars(function).items())
    for name in sorted(_globals_in(code) & function.__globals__.keys()):
        yield f".__globals__[{name!r}]", function.__globals__[name]


def _globals_in(code: types.CodeType) -> set[str]:
    """Return the names of globals that a function uses, with those of the functions in it."""
    own = {step.argval for step in dis.get_instructions(code) if step.opname.endswith("_GLOBAL")}
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return own.union(*map(_globals_in, inner))


_NOT_SENT = {"__dict__", "__weakref__", "_abc_impl", "__module__", "__doc__"}  # of classes
_PARTS: dict[type, Callable[[Any], Iterable[tuple[str, Any]]]] = {
    dict: lambda value: ((f"[{key!r:.40}]", item) for key, item in value.items()),
    list: _items_of,
    tuple: _items_of,
    set: lambda value: (("{...}", item) for item in value),
    frozenset: lambda value: (("{...}", item) for item in value),
    types.FunctionType: _function_parts,
    types.MethodType: lambda value: ((".__self__", value.__self__), (".__func__", value.__func__)),
    CACHING: lambda value: ((".__wrapped__", value.__wrapped__),),
    functools.cached_property: lambda value: ((".func", value.func),),
    functools.partial: lambda value: ((".func", value.func), (".args", value.args), (".keywords", value.keywords)),
    staticmethod: lambda value: ((".__func__", value.__func__),),
    classmethod: lambda value: ((".__func__", value.__func__),),
    property: lambda value: ((".fget", value.fget), (".fset", value.fset), (".fdel", value.fdel)),
}
