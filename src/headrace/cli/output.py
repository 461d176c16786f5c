"""The output of commands: on stdout, where nothing else may come between, and in files."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["check_output", "printing_results"]


@contextmanager
def printing_results(*, as_json: bool) -> Iterator[Callable[[object], None]]:
    """Yield what prints a result. Where that is JSON, what the user's code prints meanwhile goes to stderr.

    >>> with printing_results(as_json=True) as show:
    ...     show(7)
    7
    """
    stdout = sys.stdout
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        yield partial(print, file=stdout)


def check_output(path: str) -> None:
    """Refuse a path at which no file can be written.

    Raises:
        ArgumentError: it is a folder, or lies in none.

    >>> check_output("there/is/no/such.folder")
    Traceback (most recent call last):
    headrace.errors.ArgumentError: there is no folder for there/is/no/such.folder; make it first
    """
    if Path(path).is_dir():
        raise ArgumentError(f"{path} is a folder; give the name of a file")
    if not Path(path).resolve().parent.is_dir():
        raise ArgumentError(f"there is no folder for {path}; make it first")
