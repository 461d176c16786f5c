"""The structure of samples and batches: containers of fields, and how to walk them.

Samples and batches have the same containers (dict, tuple, namedtuple, dataclass, list). What is in
none of them is a field: an array, or, in a batch, the list of the samples' strings or bytes.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from headrace.errors import ArgumentError

__all__ = [
    "children",
    "count_array_bytes",
    "count_bytes",
    "fields",
    "get_field",
    "map_fields",
    "rebuild",
    "replace_field",
]

_Key = int | str
_TEXTS = frozenset((str, bytes))
_FIELDS = frozenset((np.ndarray, bool, int, float, complex, str, bytes))  # surely, which is known without a question
# Objects may make new containers for ever, each time that they are asked for their items.
_MOST_CONTAINERS = 1 << 16


def children(value: Any) -> list[tuple[Any, Any]] | None:
    """Return the (key, item) pairs of a container, or None for a field.

    A key is what `value[key]`, or for a dataclass `getattr(value, key)`, takes.

    >>> children({"x": 1, "y": 2})
    [('x', 1), ('y', 2)]
    >>> children((3, 4))
    [(0, 3), (1, 4)]
    >>> children(["a", "b"]) is None  # the strings of a batch
    True
    """
    if isinstance(value, np.ndarray):  # most fields are, so they are told first
        return None
    if isinstance(value, tuple):
        return list(enumerate(value))
    if isinstance(value, list) and not _are_texts(value):
        return list(enumerate(value))
    if isinstance(value, Mapping):
        return list(value.items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return None


def _are_texts(items: list[Any]) -> bool:
    # That they are of no other type is said in a fifth of the time that asking each takes.
    return _TEXTS.issuperset(map(type, items)) or all(isinstance(item, str | bytes) for item in items)


def rebuild(like: Any, items: list[Any]) -> Any:
    """Return a container of the same type as `like`, with other items in the same order.

    >>> rebuild({"x": 1, "y": 2}, [3, 4])
    {'x': 3, 'y': 4}
    """
    if type(like) is dict:
        return dict(zip(like, items, strict=True))
    if type(like) is tuple:
        return tuple(items)
    if like.__class__ is list:  # or a worker's, which reads its items in shared memory
        return items
    if isinstance(like, Mapping):
        return _with_attributes(_rebuild_mapping(like, dict(zip(like, items, strict=True))), like)
    if isinstance(like, tuple | list):
        return _with_attributes(_rebuild_sequence(like, items), like)
    # A dataclass is copied and filled, not called: its __post_init__ was written for samples.
    filled = copy.copy(like)
    for field, item in zip(dataclasses.fields(like), items, strict=True):
        object.__setattr__(filled, field.name, item)
    return filled


def _rebuild_sequence(like: Any, items: list[Any]) -> Any:
    if hasattr(like, "_make"):
        return like._make(items)
    with suppress(Exception):  # it takes other items only, as torch.Size does, or other arguments
        made = type(like)(items)
        if len(made) == len(items) and all(one is other for one, other in zip(made, items, strict=True)):
            return made
    return tuple(items) if isinstance(like, tuple) else items


def _rebuild_mapping(like: Any, pairs: dict[Any, Any]) -> Any:
    with suppress(Exception):  # it takes other arguments, or values of samples only
        made = type(like)(pairs)
        if list(made) == list(pairs):
            return made
    if not isinstance(like, dict):
        return pairs
    filled = copy.copy(like)  # its constructor takes something else, as that of a defaultdict does
    for key, item in pairs.items():
        filled[key] = item
    return filled


def _with_attributes(made: Any, like: Any) -> Any:
    """Return a container with the attributes that another one of its class has beside its items."""
    attributes = getattr(like, "__dict__", None)
    own = getattr(made, "__dict__", None)
    if not attributes or own is None or type(made) is not type(like):
        return made
    if isinstance(like, dict) and (attributes is like or attributes.keys() == like.keys()):  # they are the items
        return made
    if isinstance(like, dict | tuple | list):  # others keep their items in an attribute
        own.update(attributes)
    return made


def map_fields(fn: Callable[[Any], Any], batch: Any) -> Any:
    """Return the batch with `fn` applied to each of its fields.

    >>> map_fields(lambda field: field * 2, {"x": 1, "y": (2, 3)})
    {'x': 2, 'y': (4, 6)}
    """
    pairs = children(batch)
    if pairs is None:
        return fn(batch)
    return rebuild(batch, [map_fields(fn, item) for _, item in pairs])


def fields(batch: Any) -> list[Any]:
    """Return the fields of a sample or a batch.

    >>> fields({"x": 1, "y": (2, ["a"])})
    [1, 2, ['a']]
    """
    found: list[Any] = []
    _collect_fields(batch, found)
    return found


def _collect_fields(value: Any, found: list[Any]) -> None:
    pairs = None if type(value) in _FIELDS else children(value)
    if pairs is None:
        found.append(value)
        return
    for _, item in pairs:
        _collect_fields(item, found)


def get_field(value: Any, field: _Key | None) -> Any:
    """Return the field at a tuple position, a dict key or a dataclass name; all of it for None.

    Raises:
        ArgumentError: there is no such field.
    """
    if field is None:
        return value
    for key, item in _fields(value) or ():
        if key == field:
            return item
    if isinstance(field, str) and isinstance(value, tuple) and field in getattr(value, "_fields", ()):
        return getattr(value, field)
    if isinstance(field, int) and field < 0 and isinstance(value, tuple | list) and -field <= len(value):
        return value[field]
    raise ArgumentError(_no_such_field(value, field))


def replace_field(value: Any, field: _Key | None, item: Any) -> Any:
    """Return a copy of the container with one field replaced; the item itself for `field=None`.

    >>> replace_field((1, 2), 0, 9)
    (9, 2)
    """
    if field is None:
        return item
    pairs = _fields(value) or []
    if isinstance(field, str) and isinstance(value, tuple) and field in getattr(value, "_fields", ()):
        field = value._fields.index(field)  # type: ignore[attr-defined]
    if isinstance(field, int) and field < 0 and isinstance(value, tuple | list):
        field += len(pairs)
    return rebuild(value, [item if key == field else old for key, old in pairs])


def _fields(value: Any) -> list[tuple[Any, Any]] | None:
    """Return the children of a sample, where a list of strings is a container too."""
    return list(enumerate(value)) if isinstance(value, list) else children(value)


def _no_such_field(value: Any, field: _Key) -> str:
    pairs = _fields(value)
    if pairs is None:
        return (
            f"field={field!r} was asked of a sample that has no fields (a {type(value).__name__}); "
            "leave field out to map the whole sample"
        )
    return f"there is no field {field!r} in a {type(value).__name__} with fields {[key for key, _ in pairs]}"


def count_bytes(batch: Any) -> int:
    """Return the bytes of a batch's arrays, strings and bytes objects, as far as they are known.

    It is asked of whatever a collate_fn returns, so it never raises and always ends: what raises where it is asked for
    its size counts nothing, and a container that holds itself counts once.

    >>> count_bytes((np.zeros((4, 3), np.float32), ["ab", "c"]))
    51
    """
    try:  # most batches are arrays, or hold them, which is found out in a tenth of the time
        size = _count_plain(batch)
    except Exception:
        size = None
    if type(size) is int:
        return size
    total = 0
    seen: dict[int, Any] = {}  # containers, which stay alive so that no other gets the id of one
    pending = deque([batch])
    while pending and len(seen) < _MOST_CONTAINERS:
        value = pending.popleft()
        with suppress(Exception):  # a property or method of anyone's may raise anything
            size = _own_bytes(value)
            total += size or 0
            if size is None and id(value) not in seen:
                seen[id(value)] = value
                pending += [item for _, item in children(value) or ()]
    return total


def count_array_bytes(batch: Any) -> int:
    """Return the bytes of an array, or of a container of arrays; 0 for all else, which takes longer to count.

    >>> count_array_bytes((np.zeros((4, 3), np.float32), np.zeros(4))), count_array_bytes([{"x": np.zeros(4)}])
    (80, 0)
    """
    try:
        size = _count_plain(batch)
    except Exception:
        return 0
    return size if type(size) is int else 0


def _count_plain(batch: Any) -> Any:
    """Return the bytes of an array, or of a container of arrays and lists of texts; others may raise anything."""
    kind = type(batch)
    if kind is dict:
        batch = batch.values()
    elif kind is not tuple and kind is not list:
        return batch.nbytes
    total: Any = 0
    for item in batch:
        total += _count_texts(item) if type(item) is list else item.nbytes
    return total


def _count_texts(items: list[Any]) -> int | None:
    return sum(map(len, items)) if _TEXTS.issuperset(map(type, items)) else None


def _own_bytes(value: Any) -> int | None:
    """Return the bytes of a field; None for a container."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int | np.integer):
        return max(0, int(size))
    if isinstance(value, list) and _are_texts(value):
        return sum(map(len, value))
    data = getattr(value, "data", None)  # of a boxed array
    return data.nbytes if isinstance(data, np.ndarray) and children(value) is None else None
