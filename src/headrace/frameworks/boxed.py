"""Tensors that box an ndarray in `.data` and are built from one, like TinyTorch's `Tensor`.

Many other objects have an ndarray in an attribute of that name: samples with a label, signals with a rate. They are
not taken for tensors, since a batch that is built from the array alone would lose the rest. So a box is an object that
its class builds again, whole, from the array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from itertools import repeat
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "address",
    "explain",
    "from_numbers",
    "from_numpy",
    "own_all",
    "owns",
    "rebuilds",
    "row",
    "stack",
    "take",
    "to_numpy",
]

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that a program has made
_NOTHING = object()
_OF_ARRAYS = frozenset(("shape", "size", "ndim", "dtype", "nbytes"))


class Boxed(Protocol):
    """An object around an ndarray."""

    data: NDArray[Any]

    def __init__(self, data: NDArray[Any], /) -> None: ...


B = TypeVar("B", bound=Boxed)


def owns(value: object) -> bool:
    """Return whether the value boxes an ndarray, and its class builds it again, whole, from the array."""
    array = _boxed_array(value)
    try:
        return array is not None and _is_rebuilt(value, array)
    except Exception:  # attributes of anyone's, which may raise anything
        return False


def own_all(values: Sequence[object]) -> bool:
    """Return whether each of the values is a box; the first one is."""
    return _are_alike(values) or all(map(owns, values[1:]))


def explain(value: object) -> str:
    """Return why a value with an ndarray in `.data` is no box; nothing for other values."""
    array = _boxed_array(value)
    if array is None or owns(value):
        return ""
    name, rebuilt = type(value).__name__, _build(value, array)
    if rebuilt is None:
        return f"it has an ndarray in .data, but {name}(data) does not build it again"
    lost = _differing(_state(value), _state(rebuilt), array)
    return f"{name}(data), built of the ndarray in .data alone, would not have its {', '.join(lost) or 'dtype'}"


def to_numpy(value: Boxed) -> NDArray[Any] | None:
    """Return the boxed array."""
    return value.data


def address(value: Boxed) -> int:
    """Return a number that is another once there is another array in the box; the one before must be alive still."""
    return id(value.data)


def from_numpy(array: NDArray[Any], like: B) -> B:
    """Return the array in a box of the same class."""
    return type(like)(array)


def rebuilds(kind: type) -> bool:  # noqa: ARG001 - an adapter's face
    """Return whether `from_numpy` makes values of the class: it is how boxes are told."""
    return True


def from_numbers(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array itself: boxes need not take integers."""
    return array


def stack(values: list[B]) -> B:
    """Return the boxed arrays along a new first dimension, in one box."""
    return type(values[0])(np.stack([value.data for value in values]))


def row(value: B, index: int) -> B:
    """Return the row at the index, a view in a box of the same class."""
    return type(value)(value.data[index, ...])


def take(value: B, indices: NDArray[np.int64]) -> B:
    """Return the rows at the indices, in a box of the same class."""
    return type(value)(value.data[indices])


def _boxed_array(value: object) -> NDArray[Any] | None:
    """Return the ndarray in `.data` of an object that is no container and no array itself."""
    if isinstance(value, np.ndarray | Mapping | tuple | list | type) or is_dataclass(value):
        return None
    try:
        data: Any = getattr(value, "data", None)
        fits = isinstance(data, np.ndarray) and getattr(value, "shape", data.shape) == data.shape
    except Exception:  # a property of anyone's, which may raise anything
        return None
    return data if fits else None


def _are_alike(boxes: Sequence[Any]) -> bool:
    """Return whether it is quickly told that what is true of the first of some boxes is true of all of them.

    Those of its class are like it whose attributes that tell nothing of their arrays equal its own. Where that is not
    so, they may still be boxes; and those of a class with slots, or with a property in place of `.data`, are not told
    so quickly.
    """
    first = boxes[0]
    array: NDArray[Any] = first.data
    state = _state(first)
    if set(map(type, boxes)) != {type(first)} or state != getattr(first, "__dict__", None):
        return False
    states = [box.__dict__ for box in boxes]
    if set(map(len, states)) != {len(state)} or state.get("data") is not array:
        return False
    try:
        columns = {name: [found[name] for found in states] for name in state}  # of all boxes, an attribute at a time
    except KeyError:
        return False
    arrays = columns.pop("data")
    if set(map(type, arrays)) != {type(array)} or len({each.dtype for each in arrays}) > 1:
        return False
    return all(
        _all_tell_of(arrays, name, items) if _tells_of(array, name, items[0]) else _all_equal(items)
        for name, items in columns.items()
    )


def _all_tell_of(arrays: list[NDArray[Any]], name: str, items: list[Any]) -> bool:
    if name in _OF_ARRAYS and len(set(map(type, items))) == 1:
        return items == [getattr(array, name) for array in arrays]
    return all(map(_tells_of, arrays, repeat(name), items))


def _all_equal(items: list[Any]) -> bool:
    return len(set(map(id, items))) == 1 or all(map(_are_equal, items, repeat(items[0])))


def _is_rebuilt(value: object, array: NDArray[Any]) -> bool:
    """Return whether the class gives an equal object for the array."""
    if not all(cls is object or cls.__flags__ & _HEAP_TYPE for cls in type(value).__mro__):
        return False  # part of its state is not Python's to see
    # One row tells the same as a large array, and costs no copy of it, unless attributes follow from the data.
    one = array[:1] if array.ndim and len(array) > 1 else array
    rebuilt = _build(value, one)
    if rebuilt is None:
        return False
    state = _state(value)
    if not _differing(state, _state(rebuilt), array):
        return True
    if one is array:
        return False
    rebuilt = _build(value, array)
    return rebuilt is not None and not _differing(state, _state(rebuilt), array)


def _build(value: object, array: NDArray[Any]) -> object | None:
    """Return an object of the same class that boxes an equal array, or None."""
    kind: Any = type(value)
    try:
        built = kind(array)
        data = built.data
        same = type(data) is type(array) and data.dtype == array.dtype and data.shape == array.shape
        same = same and (data is array or data.tobytes() == array.tobytes())
    except Exception:  # it takes other arguments
        return None
    return built if same and type(built) is kind and built is not value else None


def _state(value: object) -> dict[str, Any]:
    """Return the attributes of the object itself."""
    slots = [name for cls in type(value).__mro__ for name in _slots(cls)]
    state = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**state, **getattr(value, "__dict__", {})}


def _slots(cls: type) -> list[str]:
    """Return the names of the slots of a class, as its objects know them."""
    slots = cls.__dict__.get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    prefix = f"_{cls.__name__.lstrip('_')}"
    private = [name.startswith("__") and not name.endswith("__") for name in names]
    names = [prefix + name if hidden else name for name, hidden in zip(names, private, strict=True)]
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _differing(state: dict[str, Any], rebuilt: dict[str, Any], array: NDArray[Any]) -> list[str]:
    """Return the names of attributes that the rebuilt object lacks, and that do not tell of the array itself."""
    names = [*state, *(name for name in rebuilt if name not in state)]
    pairs = ((name, state.get(name, _NOTHING), rebuilt.get(name, _NOTHING)) for name in names)
    return [name for name, item, other in pairs if not (_tells_of(array, name, item) or _are_equal(item, other))]


def _tells_of(array: NDArray[Any], name: str, item: Any) -> bool:
    """Return whether an attribute is the boxed array, or one of the array's own attributes under its own name."""
    if item is array:
        return True
    if name in _OF_ARRAYS:
        return _are_equal(item, getattr(array, name))
    if isinstance(item, np.ndarray):
        same = item.__array_interface__ == array.__array_interface__
        return same and type(item) is type(array)  # another view of it
    return False


def _are_equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        same = one.dtype == other.dtype and one.shape == other.shape
        return bool(same and one.tobytes() == other.tobytes())
    if isinstance(one, FunctionType):  # a default that the constructor writes anew
        return one.__code__ is other.__code__ and not one.__closure__
    try:
        return bool(one == other)
    except Exception:  # objects of anyone's, which need not compare
        return False
