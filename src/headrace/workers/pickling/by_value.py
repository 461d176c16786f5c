"""The pickler that sends what another process cannot import as code, where cloudpickle is installed.

cloudpickle sends functions and classes. Here it learns what `functools` makes of them, and to keep the names of their
files, from which a traceback reads its lines.
"""

from __future__ import annotations

import functools
import io
import linecache
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.workers.pickling.class_registry import class_registry

if TYPE_CHECKING:
    import pickle
    from collections.abc import Callable

    _Reduce = Callable[[Any], Any]
    _Keep = Callable[[pickle.PickleBuffer], bool]

__all__ = ["CACHING", "DISPATCHING", "PROTOCOL", "RENAMED_MAIN", "send_main_by_value", "value_pickler"]

PROTOCOL = 5
RENAMED_MAIN = "__mp_main__"
_FIRST_CLOUDPICKLE = 3  # those before send dataclasses without their fields
# In place of the name of a file: code that is on its way to cloudpickle, some versions of which replace the name.
_ON_ITS_WAY = "<dynamic-code>"

CACHING: Any = type(functools.lru_cache(len))  # what `lru_cache` and `cache` make
DISPATCHING = functools.singledispatch(len).__code__  # type: ignore[attr-defined] # of what it makes: functions
_OF_LRU_CACHE = {"__wrapped__", "cache_parameters"}


def value_pickler() -> Any:
    """Return the class of the pickler; None where cloudpickle is not installed, or too old."""
    try:
        import cloudpickle
    except ImportError:
        return None
    if int(cloudpickle.__version__.partition(".")[0]) < _FIRST_CLOUDPICKLE:
        return None
    return _make_pickler(cloudpickle)


@functools.cache
def _make_pickler(cloudpickle: Any) -> Any:
    class ByValue(cloudpickle.Pickler):  # type: ignore[misc] # the face of a pickler by reference
        def __init__(self, file: io.BytesIO, reduce: _Reduce, keep: _Keep | None = None) -> None:
            super().__init__(file, PROTOCOL, buffer_callback=keep)
            self.reduce = reduce
            self.classes: dict[str, type] = {}
            self.sources: dict[str, list[str]] = {}

        def reducer_override(self, value: Any) -> Any:
            reduced = self.reduce(value)
            if reduced is NotImplemented:
                reduced = _reduce_anew(value, self.sources)
            if reduced is not NotImplemented:
                return reduced
            if isinstance(value, io.TextIOWrapper) and value not in (sys.stdout, sys.stderr):
                return value.__reduce_ex__(PROTOCOL)  # raises; cloudpickle would send the text of the whole file
            reduced = super().reducer_override(value)
            if isinstance(value, type) and reduced is not NotImplemented and len(reduced) > 2:  # it has a state
                self.classes[class_registry.issue(value)] = value
            return reduced

    return ByValue


def send_main_by_value() -> None:
    """Send the main script by value also where this process was started by `multiprocessing`, which renames it.

    That stays so: other threads may be sending something at the same time.
    """
    main = sys.modules.get(RENAMED_MAIN)
    if main is not None:
        import cloudpickle

        cloudpickle.register_pickle_by_value(main)


# ---------------------------------------------------------------------- what cloudpickle does not know


def _reduce_anew(value: Any, sources: dict[str, list[str]]) -> Any:
    """Return how to make an object of `functools`, or the code of a function, anew; NotImplemented for all else."""
    kind = type(value)
    if kind is types.CodeType:
        return _reduce_code(value, sources)
    if kind is CACHING and not _is_importable(value):
        return _make_caching, (value.__wrapped__, value.cache_parameters(), _others(value, _OF_LRU_CACHE))
    if isinstance(value, functools.cached_property):
        return _make_cached_property, (kind, value.func, _others(value, {"lock"}))
    if kind is types.FunctionType and value.__code__ is DISPATCHING and not _is_importable(value):
        return _make_dispatching, (value.__wrapped__, dict(value.registry))
    return NotImplemented


def _is_importable(value: Any) -> bool:
    """Return whether another process finds the object by its name."""
    import cloudpickle

    name = str(value.__module__)
    sent = cloudpickle.list_registry_pickle_by_value()
    if name in ("__main__", RENAMED_MAIN) or any(name == each or name.startswith(f"{each}.") for each in sent):
        return False
    found: Any = sys.modules.get(name)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _others(value: Any, names: set[str]) -> dict[str, Any]:
    """Return the attributes of an object but those of the names."""
    return {name: item for name, item in vars(value).items() if name not in names}


def _make_caching(function: Any, parameters: dict[str, Any], attributes: dict[str, Any]) -> Any:
    made = functools.lru_cache(**parameters)(function)
    vars(made).update(attributes)
    return made


def _make_cached_property(kind: Any, function: Any, attributes: dict[str, Any]) -> Any:
    made = kind.__new__(kind)
    functools.cached_property.__init__(made, function)
    vars(made).update(attributes)
    return made


def _make_dispatching(function: Any, registry: dict[type, Any]) -> Any:
    made = functools.singledispatch(function)
    for kind, implementation in registry.items():
        made.register(kind, implementation)
    return made


# ---------------------------------------------------------------------- the files that code comes from


def _reduce_code(code: types.CodeType, sources: dict[str, list[str]]) -> Any:
    name = code.co_filename
    if name == _ON_ITS_WAY:
        return NotImplemented
    entry = linecache.cache.get(name)
    if entry is not None and len(entry) > 1 and not Path(name).is_file():  # of a notebook, where there is no file
        sources[name] = entry[2]
    return _with_file_name, (code.replace(co_filename=_ON_ITS_WAY), name)


def _with_file_name(code: types.CodeType, name: str) -> types.CodeType:
    return code.replace(co_filename=name)
