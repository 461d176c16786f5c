"""Backends: what the workers of a loader can be.

A backend describes itself in its own module, in `BACKEND`. Those of headrace are listed here; one that another
distribution brings is an entry point of the group `headrace.backends`. What a backend needs is imported when it makes
workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.errors import ArgumentError
from headrace.plugins import by_name, load_plugins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.workers.base import MakeWork, Pool, PoolOptions

__all__ = [
    "Backend",
    "check_backend",
    "default_backend",
    "find_backend",
    "own_backends",
    "ranks_of_backends",
    "requested_backend",
]

# The modules of headrace's own backends; where a loader may choose, it takes the first that serves.
_MODULES = ("threads", "processes.backend", "ray.backend")
_GROUP = "headrace.backends"


class Backend(ABC):
    """A kind of workers.

    Attributes:
        name: what users call it, as in `DataLoader(..., backend=name)`.
        separate: whether each of its workers is a process of its own, here or elsewhere, with a copy of the dataset;
            else they share this one's memory.
        options: names of arguments of the DataLoader that only this backend takes. They are None where they are not
            given; others are refused with them, and `backend="auto"` means this one.
    """

    name: ClassVar[str]
    separate: ClassVar[bool]
    options: ClassVar[tuple[str, ...]] = ()

    def is_available(self) -> bool:
        """Return whether a loader that may choose may choose this one."""
        return True

    def check(self, given: Mapping[str, Any]) -> None:  # noqa: B027 - most have nothing to refuse
        """Refuse arguments of a DataLoader that this backend cannot serve; called by its constructor.

        Args:
            given: all of the constructor's arguments by name, but for the dataset.
        """

    def find_rank(self) -> tuple[str, int, int] | None:
        """Return who says so, the rank of this process and the world size, where the backend's engine runs it."""
        return None

    @abstractmethod
    def make_pool(
        self, make_work: MakeWork[Any, Any], options: PoolOptions, given: Mapping[str, Any]
    ) -> Pool[Any, Any]:
        """Make the workers.

        Args:
            make_work: makes what they do; called in each, with its number.
            options: how many they are, and how far ahead they load.
            given: all of the DataLoader's arguments by name, but for the dataset.
        """


@cache
def own_backends() -> dict[str, Backend]:
    """Return headrace's own backends by their names.

    >>> list(own_backends())
    ['thread', 'process', 'ray']
    """
    found: list[Backend] = [import_module(f"headrace.workers.{module}").BACKEND for module in _MODULES]
    return {each.name: each for each in found}


@cache
def _backends() -> dict[str, Backend]:
    """Return all backends by their names: headrace's own, then those of other distributions."""
    return by_name("backends", [*own_backends().values(), *load_plugins(_GROUP)])


def find_backend(name: object) -> Backend:
    """Return the backend of a name.

    Raises:
        ArgumentError: there is none.

    >>> find_backend("thread").separate
    False
    """
    if isinstance(name, str) and name in own_backends():
        return own_backends()[name]
    if not isinstance(name, str) or name not in _backends():
        names = ", ".join(map(repr, ("auto", *_backends())))
        raise ArgumentError(f"backend must be one of {names}, but got backend={name!r}")
    return _backends()[name]


def requested_backend(given: Mapping[str, Any]) -> Backend | None:
    """Return the backend that a loader's arguments ask for, by its name or by its options; None where it may choose.

    Args:
        given: the loader's arguments by name.

    Raises:
        ArgumentError: there is none of that name.
    """
    if given["backend"] != "auto":
        return find_backend(given["backend"])
    return next((each for each in own_backends().values() if _given_options(each, given)), None)


def check_backend(given: Mapping[str, Any]) -> None:
    """Refuse arguments that the backend they ask for cannot serve.

    Args:
        given: the loader's arguments by name.

    Raises:
        ArgumentError: there is no such backend, or an argument is for another one, or it refuses them itself.
    """
    backend = requested_backend(given)
    if backend is None:
        return
    for other in own_backends().values():
        for name in _given_options(other, given) if other is not backend else ():
            raise ArgumentError(
                f"{name} is for backend={other.name!r}, but got {name}={given[name]!r} with backend={backend.name!r}; "
                "leave one of them out"
            )
    backend.check(given)


def _given_options(backend: Backend, given: Mapping[str, Any]) -> list[str]:
    return [name for name in backend.options if given[name] is not None]


def default_backend(*, separate: bool) -> Backend:
    """Return the backend of a loader that may choose.

    Args:
        separate: whether its workers had better be processes of their own. Where there are none, it is another one.

    >>> default_backend(separate=False).name
    'thread'
    """
    found = [each for each in own_backends().values() if each.is_available()]
    return next((each for each in found if each.separate is separate), found[0])


def ranks_of_backends() -> list[tuple[str, int, int]]:
    """Return who says which rank of how many this process is, of the engines that backends run on."""
    found = [each.find_rank() for each in own_backends().values()]
    return [each for each in found if each is not None]
