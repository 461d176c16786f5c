"""Notes of what transforms draw, for who asks what was done to a sample: taken while it is loaded again for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.rng.context import NotedKeys, loading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["Note", "note", "notes_wanted", "take_notes"]


class Note(NamedTuple):
    """A note of what a transform drew for a sample, or for a whole batch.

    Attributes:
        transform: the name of its class, or of a function.
        drawn: values by name; none where the transform does not say.

    >>> print(Note("RandomCrop", {"top": 3, "left": 0}))
    RandomCrop: top 3, left 0
    >>> print(Note("RandomHorizontalFlip", {"flipped": False}))
    RandomHorizontalFlip: not flipped
    """

    transform: str
    drawn: dict[str, Any]

    def __str__(self) -> str:
        if not self.drawn:
            return f"{self.transform}: draws, but does not say what"
        return f"{self.transform}: {', '.join(_words(name, value) for name, value in self.drawn.items())}"


class take_notes:  # noqa: N801 - a context manager reads like a function
    """While this is open, samples are loaded, and it is noted what is drawn for them; its value are the notes.

    Args:
        key: the key of the epoch, below 2**64.
        indices: the samples' indices, shape (n,), int64.

    >>> with take_notes(0, np.array([7])) as taken:
    ...     note("Blur", sigma=[0.5])
    >>> print(*taken)
    Blur: sigma 0.5
    """

    def __init__(self, key: int, indices: NDArray[np.int64]) -> None:
        self._keys = NotedKeys(key, indices)
        self._notes: list[Note] = []

    def __enter__(self) -> list[Note]:
        self._outer = loading.set(self._keys)
        return self._notes

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loading.reset(self._outer)
        said = [Note(name, drawn) for (_, _, name), drawn in self._keys.notes.items()]
        known = {each.transform for each in said}
        self._notes += [*said, *(Note(who, {}) for who in self._keys.drawing if who not in known)]


def notes_wanted() -> bool:
    """Return whether notes are taken: then transforms are applied one by one, each of which says what it draws."""
    return type(loading.get()) is NotedKeys


def note(transform: object, **drawn: Sequence[Any] | NDArray[Any]) -> None:
    """Note what a transform has drawn for some images, if that is wanted.

    Args:
        transform: the transform, or its name.
        **drawn: values by name, one an image.
    """
    keys = loading.get()
    if type(keys) is NotedKeys:
        name = transform if isinstance(transform, str) else type(transform).__qualname__
        # Where a mask follows its image, what moves it draws at the same place and says the same again.
        keys.notes[keys.path, keys.count, name] = {name: _plain(values) for name, values in drawn.items()}


def _plain(values: Iterable[Any]) -> Any:
    """Return the value of one image, or those of several, as JSON has them."""
    found = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return found[0] if len(found) == 1 else found


def _words(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"not {words}"
    return f"{words} {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
