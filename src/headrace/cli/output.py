"""Files that commands write: looked at before the work begins whose result they are to hold."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import ArgumentError

__all__ = ["check_output"]


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
