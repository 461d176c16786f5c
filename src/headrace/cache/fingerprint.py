"""Fingerprints that tell the samples of one dataset from those of another, without reading them."""

from __future__ import annotations

import hashlib
import types
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fingerprint"]

_ALL_OF = 1 << 26  # arrays up to so many bytes are looked at whole, larger ones at both ends


def fingerprint(dataset: object) -> str:
    """Return a hash of the dataset's class, and of all that it would take along in a pickle.

    That are paths, indices, arrays (of more than 64 MB both ends), and functions with their code. What lies in files
    is not looked at, but for their sizes and times where the dataset notes them.

    >>> fingerprint([1, "a"]) == fingerprint([1, "a"]), fingerprint([1]) == fingerprint([2])
    (True, False)
    """
    digest = hashlib.blake2b(digest_size=16)
    for word in _words(dataset, {}):
        digest.update(len(word).to_bytes(8, "little"))
        digest.update(word)
    return digest.hexdigest()


def _words(thing: Any, seen: dict[int, object]) -> Iterator[bytes]:
    """Return bytes that stand for a thing, the same in another process."""
    if isinstance(thing, bool | int | float | complex | str | type(None)):
        yield f"{type(thing).__name__} {thing!r}".encode("utf-8", "surrogatepass")
    elif isinstance(thing, bytes | bytearray):
        yield bytes(thing)
    elif id(thing) in seen:
        yield b"again"
    else:
        seen[id(thing)] = thing
        yield type(thing).__qualname__.encode()
        yield from _inner_words(thing, seen)


def _inner_words(thing: Any, seen: dict[int, object]) -> Iterator[bytes]:
    array = _array(thing)
    if array is not None:
        yield from _array_words(array)
    elif isinstance(thing, type | types.BuiltinFunctionType | types.ModuleType):
        yield f"{getattr(thing, '__module__', '')} {getattr(thing, '__qualname__', thing.__name__)}".encode()
    elif isinstance(thing, types.CodeType):
        yield thing.co_code
        yield from _all(seen, thing.co_names, thing.co_consts)
    elif isinstance(thing, types.FunctionType):
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        yield from _all(seen, thing.__qualname__, thing.__code__, thing.__defaults__, thing.__kwdefaults__, cells)
    elif isinstance(thing, set | frozenset):
        yield from sorted(b"".join(_words(each, seen)) for each in thing)
    elif isinstance(thing, dict):
        yield from _all(seen, *thing.items())
    elif isinstance(thing, list | tuple):
        yield from _all(seen, *thing)
    else:
        yield from _all(seen, *_methods(type(thing)), *_taken_apart(thing))


def _all(seen: dict[int, object], *things: Any) -> Iterator[bytes]:
    for thing in things:
        yield from _words(thing, seen)


def _methods(kind: type) -> list[Any]:
    """Return the methods by which a user's class makes a sample; headrace's own classes are told by their names."""
    if kind.__module__.startswith("headrace."):
        return []
    methods = [getattr(kind, name, None) for name in ("__getitem__", "__call__")]
    return [method for method in methods if isinstance(method, types.FunctionType)]


def _taken_apart(thing: Any) -> tuple[Any, ...]:
    """Return the reduction that pickle would use; nothing where there is none, as with open files."""
    try:
        reduced = thing.__reduce_ex__(4)
    except Exception:  # any of a stranger
        return ()
    return (reduced,) if isinstance(reduced, str) else tuple(map(_listed, reduced))


def _listed(part: Any) -> Any:
    return list(part) if hasattr(part, "__next__") else part


def _array(thing: Any) -> Any:
    if isinstance(thing, np.generic):
        return np.asarray(thing)
    adapter = frameworks.find(thing)
    array = None if adapter is None else adapter.to_numpy(thing)
    return None if array is None or array.dtype.hasobject else array


def _array_words(array: Any) -> Iterator[bytes]:
    yield f"{array.dtype.str} {array.shape}".encode()
    if array.nbytes <= _ALL_OF or array.ndim == 0:
        yield array.tobytes()
        return
    rows = max(1, _ALL_OF // 2 * len(array) // array.nbytes)
    yield array[:rows].tobytes()
    yield array[-rows:].tobytes()
