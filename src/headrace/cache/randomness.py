"""Detection of randomness: the parts of a dataset that are random, or could be, as far as it shows."""

from __future__ import annotations

import sys
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from headrace import frameworks
from headrace.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_not_random", "is_of_torch", "runs_foreign_code"]

# Where datasets and transforms, torchvision's and users' among them, have what they are made of.
_PARTS = ("dataset", "datasets", "fn", "func", "decode", "transform", "target_transform", "transforms", "choices")


def check_not_random(dataset: object) -> None:
    """Refuse a dataset with a transform that is random.

    Transforms say so in `is_random`; of those that say nothing, classes whose names begin with "Random" are taken
    to be. What is found here is an error before anything is read; what draws all the same is one when it draws.

    Raises:
        CacheError: it names the transform.
    """
    for owner, transform in _transforms(dataset, type(dataset).__name__, {}):
        if _is_random(transform):
            raise CacheError(
                f"{transform!r} of {owner} is random, and cached samples would be the same in all epochs; put "
                ".cache(...) before it, and the transform behind: dataset.cache(...).map(transform)"
            )


def _is_random(transform: object) -> bool:
    declared = getattr(transform, "is_random", None)
    return bool(declared) if declared is not None else type(transform).__name__.startswith("Random")


def _transforms(thing: object, name: str, seen: dict[int, object]) -> Iterator[tuple[str, object]]:
    """Yield all that something is made of, the innermost first, each with the name of what holds it."""
    if id(thing) in seen or isinstance(thing, type):
        return
    seen[id(thing)] = thing
    own = name if isinstance(thing, list | tuple | dict | partial) else type(thing).__name__
    for part in _parts(thing):
        yield from _transforms(part, own, seen)
        yield own, part


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, list | tuple):
        return list(thing)
    if isinstance(thing, dict):
        return list(thing.values())
    return [getattr(thing, name) for name in _PARTS if getattr(thing, name, None) is not None]


def is_of_torch(dataset: Any) -> bool:
    """Return whether samples come from torch: a Dataset of its, a tensor, or tensors in a list or TensorDataset.

    No sample is read to find out.
    """
    if frameworks.is_torch_data(dataset):
        return True
    if isinstance(dataset, list | tuple):
        first = dataset[0] if dataset else None
        fields = first.values() if isinstance(first, dict) else first if isinstance(first, list | tuple) else (first,)
        return any(map(frameworks.is_torch_data, fields))
    if not type(dataset).__module__.startswith("headrace."):
        return False
    inner = getattr(dataset, "dataset", None)
    return (
        (inner is not None and is_of_torch(inner))
        or any(map(frameworks.is_torch_data, getattr(dataset, "tensors", ())))
        or any(map(frameworks.is_torch_data, _listed(getattr(dataset, "columns", ()))))
        or any(map(is_of_torch, _listed(getattr(dataset, "datasets", ()))))
    )


def _listed(parts: Any) -> list[Any]:
    return list(parts.values()) if isinstance(parts, dict) else list(parts)


# Code of these draws nothing by itself: headrace draws for each sample, and the others where they are told to.
_KNOWN = sys.stdlib_module_names | {"headrace", "numpy", "pyarrow", "lmdb", "PIL"}
# Of these, only what they are made of may run other code.
_HOLDERS = ("headrace.", "torch.utils.data.")
_FEW = 64  # items of a list that are looked at: longer ones are data


def runs_foreign_code(thing: Any) -> bool:
    """Return whether it runs code that could draw from the global generators: any but headrace's own.

    Args:
        thing: a dataset, or a function; with all that it is made of.
    """
    return _is_foreign(thing, set())


def _is_foreign(thing: Any, seen: set[int]) -> bool:
    if isinstance(thing, str | bytes | int | float | type | None) or id(thing) in seen:
        return False
    seen.add(id(thing))
    if isinstance(thing, list | tuple | dict):
        parts = list(thing.values()) if isinstance(thing, dict) else thing
        return any(_is_foreign(part, seen) for part in parts[:_FEW])
    if isinstance(thing, partial):
        return _is_foreign(thing.func, seen)
    if isinstance(thing, MethodType):
        return _is_foreign(thing.__self__, seen)
    if isinstance(thing, FunctionType):
        return not _is_known(thing.__module__)
    if frameworks.find(thing) is not None:
        return False
    if not _is_known(type(thing).__module__):
        return True
    return type(thing).__module__.startswith(_HOLDERS) and any(_is_foreign(part, seen) for part in _held(thing))


def _is_known(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _KNOWN or (module or "").startswith(_HOLDERS)


def _held(thing: Any) -> list[Any]:
    slots = [getattr(thing, name, None) for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*slots, *getattr(thing, "__dict__", {}).values()]
