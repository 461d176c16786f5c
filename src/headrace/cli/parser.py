"""The parser of the command line, and what its commands share."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from typing import NoReturn, TypeAlias

__all__ = ["Commands", "Parser", "UsageError", "add_command", "add_reading", "add_workers", "require"]

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


def add_command(commands: Commands, name: str, text: str, more: str = "", epilog: str | None = None) -> Parser:
    """Add a command, and return its parser.

    Args:
        commands: to which it is added.
        name: its name.
        text: what it does, which the list of commands shows, too.
        more: lines of explanation below that in its own help.
        epilog: lines below the options, such as examples.
    """
    return commands.add_parser(
        name,
        help=text,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter if more else argparse.HelpFormatter,
        description=f"{text.capitalize()}.\n\n{more}" if more else text.capitalize(),
        epilog=epilog,
    )


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
