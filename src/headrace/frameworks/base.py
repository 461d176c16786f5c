"""The search for the adapter that fits a value."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.frameworks import boxed, numpy
from headrace.frameworks.registry import (
    adapter_modules,
    framework_named,
    is_in_use,
    is_own,
    load,
    register,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from headrace.frameworks.registry import Adapter, Framework

__all__ = [
    "common_framework",
    "explain",
    "find",
    "framework_in_use",
    "framework_of",
    "plain_stacker",
    "rebuild",
    "reduce",
]

_OF_NO_FRAMEWORK = frozenset((np.ndarray, bool, int, float, complex, str, bytes))


def find(value: object) -> Adapter | None:
    """Return the adapter that owns the value, or None.

    >>> find(np.zeros(3)).__name__
    'headrace.frameworks.numpy'
    >>> find("text") is None
    True
    """
    if numpy.owns(value):
        return numpy
    framework = _named_framework(value)[1]
    if framework is not None:
        return framework
    return boxed if boxed.owns(value) else None


def explain(value: object) -> str:
    """Return why a value that no adapter owns is not one of the arrays that it looks like; nothing for other values."""
    return numpy.explain(value) or boxed.explain(value)


def framework_in_use() -> bool:
    """Return whether values may be arrays of a framework other than NumPy: one has been imported."""
    for library in adapter_modules():  # noqa: SIM110 - asked for each batch, and `any` takes twice as long
        if is_in_use(library):
            return True
    return False


def common_framework(values: Iterable[Any]) -> Adapter | None:
    """Return the adapter of the framework whose tensors are among the values; None if there is none, or several."""
    others = [value for value in values if type(value) not in _OF_NO_FRAMEWORK]  # asking a framework takes longer
    if not others:
        return None
    found = {id(adapter): adapter for adapter in map(_framework, others) if adapter is not None}
    return next(iter(found.values())) if len(found) == 1 else None


@lru_cache(256)
def plain_stacker(kind: type) -> Callable[[list[Any]], Any] | None:
    """Return what stacks arrays of a class that a framework itself has, or returns None for some; None for others.

    Args:
        kind: the class, which is asked for each field of each batch.

    >>> plain_stacker(np.ndarray) is None
    True
    """
    library = kind.__module__.partition(".")[0]
    if library not in adapter_modules() or not is_in_use(library):
        return None
    found: Callable[[list[Any]], Any] | None = getattr(load(adapter_modules()[library]), "stack_plain", None)
    return found


def _framework(value: object) -> Framework | None:
    """Return the adapter of a framework's tensor; None for arrays of NumPy, boxes and all else."""
    return _named_framework(value)[1]


def _named_framework(value: object) -> tuple[str, Framework] | tuple[None, None]:
    """Return the same with the name of the library before it."""
    for library, adapter in adapter_modules().items():
        if is_in_use(library):
            framework = load(adapter)
            if framework.owns(value):
                return library, framework
    return None, None


def reduce(value: object) -> tuple[Any, ...] | None:
    """Return a reduction of a framework's array for pickle, whose memory may be sent apart.

    The callable and its arguments, one of them an ndarray that shares the value's memory; or None,
    where the value's own way of pickling must serve.

    Args:
        value: any object.

    >>> reduce("text") is None
    True
    """
    name, framework = _named_framework(value)
    reduced = None if framework is None else framework.reduce(value)
    if name is None or reduced is None or is_own(name):
        return reduced
    return _register_and_rebuild, (name, adapter_modules()[name], reduced[0], *reduced[1])


def _register_and_rebuild(library: str, adapter: str, rebuild: Callable[..., Any], *arguments: Any) -> Any:
    """Rebuild an array in a process that may not know its framework yet, but makes the dataset that holds it."""
    register(library, adapter)
    return rebuild(*arguments)


def framework_of(value: object) -> tuple[str, NDArray[Any]] | None:
    """Return the name of the framework of an array that `rebuild` can make again, and its memory; None for others."""
    name, framework = _named_framework(value)
    array = None if framework is None else framework.memory(value)
    return None if name is None or array is None else (name, array)


def rebuild(framework: str, array: NDArray[Any]) -> Any:
    """Return an array of the framework in the memory of an ndarray that `framework_of` gave, or of one like it.

    >>> rebuild("numpy", np.zeros(2))
    array([0., 0.])
    """
    found = framework_named(framework)
    return array if found is None else found.rebuild(array)
