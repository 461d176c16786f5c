"""Plugins: formats, codecs and backends that other distributions add by entry points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["by_name", "load_plugins"]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


def load_plugins(group: str) -> list[Any]:
    """Load what other distributions offer under the name of a group, such as "headrace.codecs"."""
    from importlib.metadata import entry_points  # a third of the time that importing headrace takes

    return [entry.load() for entry in entry_points(group=group)]


def by_name(kind: str, found: Iterable[N]) -> dict[str, N]:
    """Return things by their names.

    Args:
        kind: as an error calls several of them.
        found: the things, headrace's own first.

    Raises:
        ArgumentError: two have one name.
    """
    named: dict[str, N] = {}
    for each in found:
        if each.name in named:
            raise ArgumentError(f"two {kind} are called {each.name!r}; uninstall one of the distributions with them")
        named[each.name] = each
    return named
