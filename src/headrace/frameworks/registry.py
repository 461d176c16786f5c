"""Frameworks: the libraries whose arrays headrace knows, and the module that adapts the arrays of each.

Those of headrace are listed here; `register` adds another one. An adapter is imported once its library is in use.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Adapter",
    "Framework",
    "adapter_modules",
    "framework_named",
    "is_in_use",
    "is_own",
    "load",
    "register",
]


class Adapter(Protocol):
    """The operations that headrace needs for arrays of a kind, which have a `shape` or, in `.data`, an ndarray.

    It may have `address(value)`, where values may be given other memory: a number that is another then.

    It may have three more, for values of which it owns the first, which give None where anything is in doubt.
    `stack_plain(values)`: the values stacked by the framework itself as collation would stack them, but quicker.
    `see_plain(values)`: an ndarray of the dtype of values of one dimension, and what the kernel `pad_arrays` sees them
    by.
    `join_plain(values)`: values of one dimension end to end, as an ndarray, and how many items each has, as a list.
    """

    def owns(self, value: object) -> bool:
        """Return whether the value is an array of this framework."""

    def own_all(self, values: Sequence[Any]) -> bool:
        """Return whether all values are, of which the first is one."""

    def rebuilds(self, kind: type) -> bool:
        """Return whether `from_numpy` makes such values as the framework would where it stacks values of the class."""

    def explain(self, value: Any) -> str:
        """Return why the value has no batch, and what has; nothing where that is not known."""

    def to_numpy(self, value: Any) -> NDArray[Any] | None:
        """Return the value's memory as an ndarray, without a copy; None where it has none that NumPy can see."""

    def from_numpy(self, array: NDArray[Any], like: Any) -> Any:
        """Return the ndarray as an array of this framework and of the kind of `like`, without a copy if possible."""

    def from_numbers(self, array: NDArray[Any]) -> Any:
        """Return a batch of numbers as an array of this framework, if it has the dtype, else as it is."""

    def stack(self, values: list[Any]) -> Any:
        """Return the values, of equal shape, along a new first dimension, by the framework's own rules for dtypes."""

    def row(self, value: Any, index: int) -> Any:
        """Return the row at the index."""

    def take(self, value: Any, indices: NDArray[np.int64]) -> Any:
        """Return the rows at the indices. Asked where `to_numpy` is None."""


class Framework(Adapter, Protocol):
    """The adapter of a library's arrays, which also go from process to process and are kept in caches."""

    def memory(self, value: Any) -> NDArray[Any] | None:
        """Return the memory of an array that is nothing but that, so that `rebuild` makes it again; None for others."""

    def rebuild(self, array: NDArray[Any]) -> Any:
        """Return the array whose memory this is."""

    def reduce(self, value: Any) -> tuple[Any, ...] | None:
        """Return a reduction for pickle, an ndarray among its arguments; None for the framework's own way."""


# Headrace's own are modules of this package, each called like its library.
_OWN = ("torch", "jax")
_adapters = {name: f"headrace.frameworks.{name}" for name in _OWN}


def register(library: str, adapter: str) -> None:
    """Let the arrays of another library be read, batched, cached and sent to workers as those of torch and JAX are.

    Workers know it too, whatever they are.

    Args:
        library: the name of the package that a program with such arrays has imported.
        adapter: the name of a module with the functions of `Framework`. It is imported once the library is in use.

    Raises:
        ArgumentError: the library has another adapter.
    """
    if _adapters.setdefault(library, adapter) != adapter:
        raise ArgumentError(f"arrays of {library!r} have an adapter already, {_adapters[library]}; got {adapter!r}")


def adapter_modules() -> Mapping[str, str]:
    """Return the names of the modules that adapt arrays, by those of the libraries."""
    return _adapters


def is_in_use(library: str) -> bool:
    """Return whether a library has been imported."""
    return sys.modules.get(library) is not None  # None is how an import is forbidden


def is_own(library: str) -> bool:
    """Return whether the adapter of a library is headrace's own, which every process knows."""
    return library in _OWN


def framework_named(library: str) -> Framework | None:
    """Return the adapter of a library's arrays, which imports it; None for other names."""
    return load(_adapters[library]) if library in _adapters else None


@cache
def load(adapter: str) -> Framework:
    """Return the module of that name, imported."""
    return cast("Framework", import_module(adapter))
