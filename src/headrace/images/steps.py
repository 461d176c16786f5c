"""The steps of a chain of transforms, with those of chains inside it in their places; and whether it decodes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.batch.capabilities import capability

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from headrace.images.layout import Step

__all__ = ["begins_encoded", "flat_steps"]


def flat_steps(functions: Sequence[Step]) -> Iterator[Step]:
    """Yield the functions with those of each Compose in its place."""
    for path, function in functions:
        inner = capability(function, "steps")
        if inner is None:
            yield path, function
        else:
            yield from flat_steps([((*path, number), each) for number, each in enumerate(inner())])


def begins_encoded(functions: Sequence[Step]) -> bool:
    """Return whether the first of the functions is a Decode that gives all images as many channels."""
    first = _first(function for _, function in functions)
    decodes_to = None if first is None else capability(first, "decodes_to")
    return decodes_to is not None and decodes_to()[0] is not None


def _first(functions: Iterable[Any]) -> Any:
    """Return the first of the functions, or of those that it holds: it is asked for each sample, so quickly."""
    for function in functions:
        inner = capability(function, "steps")
        if inner is None:
            return function
        found = _first(inner())
        if found is not None:
            return found
    return None
