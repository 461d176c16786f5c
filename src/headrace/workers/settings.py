"""Settings of a program for its whole process or thread, so that workers compute, warn and log as it does."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from headrace import frameworks

__all__ = ["ProgramSettings"]

_OF_A_CALLBACK = {"call", "log"}  # modes of `numpy.seterr` that need an object of the program


class _WarningFilter(NamedTuple):
    """A filter of warnings; the category by its name, since to send it would import its module."""

    action: str
    message: Any  # a pattern, text or None
    category: tuple[str, str]
    module: Any
    line: int

    def find_category(self) -> type[Warning] | None:
        """Return the category; None where its module has not been imported, so that nobody can warn of it."""
        module, name = self.category
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        return found if isinstance(found, type) and issubclass(found, Warning) else None


def _name_of(category: object) -> tuple[str, str]:
    return getattr(category, "__module__", ""), getattr(category, "__qualname__", "")


@dataclass(frozen=True)
class ProgramSettings:
    """Settings that a worker takes over from the program.

    Args:
        numpy_errors: as `numpy.seterr` takes them.
        filters: of warnings.
        log_levels: by the names of loggers, those without one left out.
        log_disabled: as `logging.disable` takes it.
        frameworks: as `frameworks.settings` gives them.

    >>> with np.errstate(divide="raise"):
    ...     ProgramSettings.now().numpy_errors["divide"]
    'raise'
    """

    numpy_errors: dict[str, str]
    filters: list[_WarningFilter]
    log_levels: dict[str, int]
    log_disabled: int
    frameworks: dict[str, Any]

    @classmethod
    def now(cls) -> ProgramSettings:
        """Return those of this process and thread."""
        modes = np.geterr().items()
        errors = {kind: "warn" if mode in _OF_A_CALLBACK else str(mode) for kind, mode in modes}
        levels, disabled = _log_levels()
        return cls(errors, list(map(_named, _filters())), levels, disabled, frameworks.settings())

    def apply(self, *, own_process: bool) -> None:
        """Use them in this thread.

        Args:
            own_process: whether the process is a worker's own; then what a process has but once is set, too.
        """
        np.seterr(**self.numpy_errors)  # type: ignore[arg-type] # text of a fixed set
        frameworks.use_settings(self.frameworks, own_process=own_process)
        if own_process:
            self._filter_warnings()
            self._set_log_levels()

    def _filter_warnings(self) -> None:
        found = [(each.action, each.message, each.find_category(), each.module, each.line) for each in self.filters]
        warnings.resetwarnings()  # so that what has been given once may be given again
        _filters().extend(each for each in found if each[2] is not None)

    def _set_log_levels(self) -> None:
        if not self.log_levels and not self.log_disabled:
            return
        import logging  # only where the program has

        for name, level in self.log_levels.items():
            logging.getLogger(name).setLevel(level)
        logging.disable(self.log_disabled)


def _filters() -> list[Any]:
    """Return the list of filters itself: newer versions of Python may keep one in each context."""
    find: Any = getattr(warnings, "_get_filters", lambda: warnings.filters)
    found: list[Any] = find()
    return found


def _named(entry: tuple[Any, ...]) -> _WarningFilter:
    action, message, category, module, line = entry
    return _WarningFilter(action, message, _name_of(category), module, line)


def _log_levels() -> tuple[dict[str, int], int]:
    logging = sys.modules.get("logging")
    if logging is None:
        return {}, 0
    manager = logging.root.manager
    loggers = {"root": logging.root} | manager.loggerDict
    levels = {name: found.level for name, found in loggers.items() if getattr(found, "level", logging.NOTSET)}
    return levels, manager.disable
