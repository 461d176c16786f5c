"""Calls of functions once a module has been imported, by whomever and whenever that is."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["when_imported"]


def when_imported(name: str, then: Callable[[], None]) -> None:
    """Call a function right after a module has been imported, before the import returns.

    Args:
        name: the full name of a module that has not been imported.
        then: called once, at the end of the module's own code.
    """
    sys.meta_path.insert(0, _Watch(name, then))


class _Watch:
    """Finds one module as the other finders do, and has its loader call the function."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,  # noqa: ARG002 - a finder's face
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)  # the others are asked, once
        spec = find_spec(name)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def execute_and_call(module: ModuleType) -> None:
                execute(module)
                self._then()

            loader.exec_module = execute_and_call
        return spec
