"""The generators and counters of a user's sampler: saved and restored, so that a pass can be made again."""

from __future__ import annotations

from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from headrace import frameworks
from headrace.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SamplerMemory"]

_SCALARS = (int, float, str, bool, type(None))
_DEPTH = 8  # a batch sampler may hold a list of samplers, and those others
_FEW = 32  # longer lists are data


class SamplerMemory:
    """The random generators of a sampler, and those of its numbers that change from pass to pass.

    They are looked for in its attributes, and in those of what it holds, but for datasets and arrays. A sampler with
    `state_dict` and `load_state_dict` is asked, too.

    Args:
        sampler: gives indices, or lists of them.

    >>> import random
    >>> class Own:
    ...     def __init__(self):
    ...         self.rng = random.Random(1)
    >>> own = Own()
    >>> memory = SamplerMemory(own)
    >>> before, drawn = memory.take(), own.rng.random()
    >>> memory.put(before)
    >>> own.rng.random() == drawn
    True
    """

    def __init__(self, sampler: object) -> None:
        self._sampler: Any = sampler
        self._first = {path: _scalars(part) for path, part in self._parts()}

    def take(self) -> dict[str, Any]:
        """Return the present state; it has no entries where nothing is found."""
        state: dict[str, Any] = {}
        generators: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for path, part in self._parts():
            if frameworks.is_generator(part):
                generators[path] = frameworks.generator_state(part)
            else:
                first = self._first.get(path, {})
                changed = {name: value for name, value in _scalars(part).items() if first.get(name, part) != value}
                values |= {path: changed} if changed else {}
        state |= {"generators": generators} if generators else {}
        state |= {"values": values} if values else {}
        return state | ({"own": self._sampler.state_dict()} if self._has_state() else {})

    def put(self, state: dict[str, Any]) -> None:
        """Let the sampler be as it was when the state was taken, perhaps in another process.

        Raises:
            StateError: the state is of another sampler.
        """
        generators, values = state.get("generators", {}), state.get("values", {})
        if not (isinstance(generators, dict) and isinstance(values, dict)):
            raise StateError("the state is damaged: it does not say what the sampler was")
        parts = dict(self._parts())
        for path, kept in generators.items():
            if not frameworks.is_generator(parts.get(path)):
                raise StateError(
                    f"the state belongs to a sampler with a random generator at {path!r}, and "
                    f"{type(self._sampler).__name__} has none there; make the loader with the sampler that it had"
                )
            frameworks.restore_generator(parts[path], kept)
        for path, part in parts.items():
            changed = values.get(path, {})
            if not isinstance(changed, dict) or any(type(value) not in _SCALARS for value in changed.values()):
                raise StateError(f"the state is damaged: the sampler's values at {path!r} are {changed!r:.100}")
            wanted = {**self._first.get(path, {}), **changed}
            if not frameworks.is_generator(part) and hasattr(part, "__dict__"):
                vars(part).update(wanted)
        if "own" in state and self._has_state() and self._sampler.state_dict() != state["own"]:
            self._sampler.load_state_dict(state["own"])

    def may_draw_outside(self) -> bool:
        """Return whether the sampler may draw from the global generators: torch's do not if they have their own."""
        for _, part in self._parts():
            if isinstance(part, list | tuple | dict) or frameworks.is_generator(part):
                continue
            if not type(part).__module__.startswith("torch.utils.data") or getattr(part, "generator", part) is None:
                return True
        return False

    def _has_state(self) -> bool:
        return all(callable(getattr(self._sampler, name, None)) for name in ("state_dict", "load_state_dict"))

    def _parts(self) -> Iterator[tuple[str, Any]]:
        return _walk(self._sampler, "sampler", set(), _DEPTH)


def _walk(thing: Any, path: str, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """Go through what a sampler is made of, each part with its path."""
    if id(thing) in seen or depth < 0:
        return
    seen.add(id(thing))
    yield path, thing
    if frameworks.is_generator(thing):
        return
    for name, part in _held(thing):
        if _may_hold(part):
            yield from _walk(part, f"{path}.{name}", seen, depth - 1)


def _held(thing: Any) -> list[tuple[Any, Any]]:
    if isinstance(thing, list | tuple):
        return list(enumerate(thing)) if len(thing) <= _FEW else []
    if isinstance(thing, dict):
        return list(thing.items()) if len(thing) <= _FEW else []
    return list(getattr(thing, "__dict__", {}).items())


def _may_hold(part: Any) -> bool:
    """Return whether a sampler may draw from the part: from a generator, a list or an object, but no dataset."""
    if isinstance(part, list | tuple | dict) or frameworks.is_generator(part):
        return True
    if isinstance(part, type | ModuleType | FunctionType | MethodType) or frameworks.find(part) is not None:
        return False
    return hasattr(part, "__dict__") and not hasattr(type(part), "__getitem__")


def _scalars(part: Any) -> dict[str, Any]:
    if isinstance(part, list | tuple | dict):
        return {}
    return {name: value for name, value in getattr(part, "__dict__", {}).items() if type(value) in _SCALARS}
