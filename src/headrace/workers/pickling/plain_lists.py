"""Large lists of plain values: those of datasets lie in shared memory, others are pickled without a note of each value.

A pickler notes every string and tuple, in case that it comes again: of a million of them this takes three quarters of
the time. It is not needed where items are strings, numbers or tuples of these, none of which comes twice.
"""

from __future__ import annotations

import io
import pickle
from itertools import chain
from typing import Any

from headrace.workers.pickling.sending import replacements

__all__ = ["PlainLists"]

_LARGE = 1 << 14  # items of a list, from which on it is worth the while
_LOOKED_AT = 1 << 12  # of these, for values that come twice
_PLAIN = frozenset((str, bytes, int, float, bool, type(None)))
_NOTED = (str, bytes, tuple)
_STATE: Any = object.__getstate__


class PlainLists:
    """The large lists of plain values among the attributes of the objects that one pickler pickles.

    Attributes:
        nbytes: of the pickles that lie apart.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._known: dict[int, tuple[list[Any], Any]] = {}  # the lists, and what goes in place of each

    def reduce(self, value: Any) -> Any:
        """Return how to pickle an object whose attributes are such lists; NotImplemented for all others."""
        if not _is_usual(type(value)):
            return NotImplemented
        large = {name: item for name, item in vars(value).items() if type(item) is list and len(item) >= _LARGE}
        replace = self._shared if large and _is_dataset(type(value)) else self._sent
        sent = {name: found for name, item in large.items() if (found := replace(item)) is not item}
        if not sent:
            return NotImplemented
        make, arguments, state, *rest = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return (make, arguments, {**state, **sent}, *rest) if type(state) is dict else NotImplemented

    def _shared(self, values: list[Any]) -> Any:
        """Return what goes in place of a list of a dataset: what reads it in shared memory, if that can be."""
        from headrace.datasets.sent_list import share_list  # what few datasets need

        known = replacements()
        found = values if known is None else share_list(values, known)
        return self._sent(values) if found is values else found

    def _sent(self, values: list[Any]) -> Any:
        """Return what goes in place of a list: itself, unless all in it is plain."""
        if id(values) not in self._known:
            self._known[id(values)] = values, _PlainList(self, values) if _are_plain(values) else values
        return self._known[id(values)][1]


class _PlainList:
    """A list on its way, which arrives as a list."""

    def __init__(self, lists: PlainLists, values: list[Any]) -> None:
        self._lists = lists
        self._values = values

    def __reduce__(self) -> tuple[Any, ...]:
        content = _dump_without_notes(self._values)
        self._lists.nbytes += len(content)
        return pickle.loads, (pickle.PickleBuffer(content),)


def _is_dataset(kind: Any) -> bool:
    return hasattr(kind, "__getitem__") and hasattr(kind, "__len__")


def _is_usual(kind: Any) -> bool:
    """Return whether objects of a class are pickled as Python does it where nobody says how."""
    return (
        kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
        and kind.__getstate__ is _STATE
        and kind.__dictoffset__ != 0
    )


def _are_plain(values: list[Any]) -> bool:
    """Return whether a list has plain values, or tuples of these, of which none seems to come twice."""
    some = values[:_LOOKED_AT]
    if _come_twice(some):
        return False
    kinds = set(map(type, values))
    if kinds != {tuple}:
        return kinds <= _PLAIN
    return not _come_twice(list(chain.from_iterable(some))) and set(map(type, chain.from_iterable(values))) <= _PLAIN


def _come_twice(values: list[Any]) -> bool:
    """Return whether a pickler would find values that it has noted: it writes, and makes, such ones once."""
    noted = [id(value) for value in values if isinstance(value, _NOTED) and len(value) > 0]
    return len(set(noted)) < len(noted)


def _dump_without_notes(values: list[Any]) -> bytes:
    with io.BytesIO() as file:
        pickler = pickle.Pickler(file, pickle.HIGHEST_PROTOCOL)
        pickler.fast = True
        pickler.dump(values)
        return file.getvalue()
