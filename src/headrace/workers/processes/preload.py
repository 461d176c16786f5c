"""Modules that workers have in common, which one process imports once before it is forked."""

from __future__ import annotations

import sys
import sysconfig
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from headrace import frameworks

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["modules_to_preload"]

_INSTALLED = ("/site-packages/", "/dist-packages/")
_STANDARD = tuple(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib"))
_HEADRACE = "headrace"  # installed or not, it is the template's own


def modules_to_preload(needed: Iterable[str]) -> list[str]:
    """Return the installed modules that are imported, directly or not, with those that are needed.

    A module of the program's own files is left to each worker, which reads it as it is then; what such a module has
    imported is found in its names.

    Args:
        needed: names of modules.

    >>> modules_to_preload(["json.decoder", "no.such.module"])
    ['json.decoder']
    """
    seen: set[str] = set()
    found: set[str] = set()
    waiting = [name for name in needed if name != "__main__"]
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        if name in seen or type(module) is not ModuleType:
            continue
        seen.add(name)
        if _is_installed(module):
            found.add(name)
        else:
            waiting.extend(_modules_in(module))
    return sorted(found | _frameworks_of(found))


def _is_installed(module: ModuleType) -> bool:
    spec = module.__spec__
    if spec is None or not isinstance(spec.origin, str):
        return False
    if spec.name.partition(".")[0] == _HEADRACE or spec.origin in ("built-in", "frozen"):
        return True
    return spec.origin.startswith(_STANDARD) or any(part in spec.origin for part in _INSTALLED)


def _frameworks_of(modules: set[str]) -> set[str]:
    """Return the adapters of the frameworks among the modules: they are imported where a value is met."""
    roots = {name.partition(".")[0] for name in modules}
    ours = {adapter for library, adapter in frameworks.adapter_modules().items() if library in roots}
    return {name for name in ours & sys.modules.keys() if _is_installed(sys.modules[name])}


def _modules_in(module: ModuleType) -> set[str]:
    """Return the names of the modules that the module's values are, or come from."""
    return {name for value in list(vars(module).values()) if isinstance(name := _home_of(value), str)}


def _home_of(value: object) -> object:
    # By its type alone: asked for an attribute, a user's object may do anything.
    if type(value) is ModuleType:
        return value.__name__
    if issubclass(type(value), type | FunctionType | BuiltinFunctionType):
        return vars(value).get("__module__") if issubclass(type(value), type) else getattr(value, "__module__", None)
    return vars(type(value)).get("__module__")
