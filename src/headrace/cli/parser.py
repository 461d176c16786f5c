"""The parser of the command line, and what its commands share."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from typing import NoReturn, TypeAlias

__all__ = ["Commands", "Parser", "UsageError", "add_reading", "add_workers", "require"]

# The extras that a command may need, each with the module that shows that it is there.
_EXTRAS = {"cli": "rich", "images": "PIL"}


class UsageError(Exception):
    """The command line or the installation does not allow what was asked for."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing."""
        raise UsageError(f"{self.prog}: {message}")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - what add_subparsers returns


def add_reading(command: argparse.ArgumentParser) -> None:
    """Add the options of commands that read a whole dataset."""
    add_workers(command)
    command.add_argument("--test", action="store_true", help="of MNIST and CIFAR the part to test with")


def add_workers(command: argparse.ArgumentParser) -> None:
    """Add the options of commands that read with workers."""
    workers = os.cpu_count() or 1
    command.add_argument("--workers", type=int, default=workers, metavar="N", help="default: one a core, %(default)s")
    command.add_argument(
        "--backend", default="auto", metavar="KIND", help="what workers are: thread, process, ray; default: what suits"
    )


def require(command: str, *extras: str) -> None:
    """Raise if the modules of an extra are missing, naming the extras to install."""
    missing = [extra for extra in extras if find_spec(_EXTRAS[extra]) is None]
    if missing:
        noun = "extras" if len(missing) > 1 else "extra"
        raise UsageError(
            f"headrace {command} needs the {noun} {' and '.join(missing)}: pip install 'headrace[{','.join(missing)}]'"
        )
