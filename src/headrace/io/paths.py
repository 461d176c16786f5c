"""From what users give as paths to the files that are meant."""

from __future__ import annotations

import os
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.io.braces import expand_braces

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["find_paths"]

_OnePath = str | bytes | os.PathLike[Any]


def find_paths(paths: _OnePath | Iterable[_OnePath]) -> list[str]:
    """Return the files, or folders, that are meant.

    Args:
        paths: a path, a pattern (`*`, `?`, `[...]`, and `**` for folders at any depth; `{000..146}`, `{0..8..2}` and
            `{a,b}`, also one inside another, as bash expands them, each of which must be there), or several of them.
            A path that is there is no pattern, whatever is in its name.

    Returns:
        The paths in the order in which they were given, those of a pattern by name; absolute, so that they mean the
        same when the process has gone to another folder.

    Raises:
        FileNotFoundError: a path is not there, or a pattern matches nothing.
        ArgumentError: there are no paths, or one of them is empty, a command or a chain of addresses.
        ArgumentTypeError: one of them is no path.
    """
    several = [paths] if isinstance(paths, str | bytes | os.PathLike) else _listed(paths)
    found = [path for each in several for path in _find(each)]
    if not found:
        raise ArgumentError("at least one path is needed, got none")
    return found


def _listed(paths: Any) -> list[_OnePath]:
    try:
        return list(paths)
    except TypeError:
        raise ArgumentTypeError(f"a path, a pattern or a list of them is needed, got {paths!r}") from None


def _find(path: _OnePath) -> list[str]:
    try:
        given = os.fsdecode(path)
    except TypeError:
        raise ArgumentTypeError(f"a path is a string, bytes or a path object, but got {path!r}") from None
    if isinstance(path, str) and not Path(path).exists():
        _refuse_other_notations(path)
    if not given:
        raise ArgumentError("a path is needed, but got an empty one; '.' is the current folder")
    if isinstance(path, str) and "://" in path:
        from headrace.io.remote import find_remote  # for these alone

        return find_remote(path)
    name = str(Path(given).expanduser())
    found = [name] if Path(name).exists() else [found for each in expand_braces(name) for found in _match(each)]
    return list(map(os.path.abspath, found))


def _refuse_other_notations(path: str) -> None:
    """Refuse what other loaders take in place of a path, and say what to give here.

    Raises:
        ArgumentError: it is a command of WebDataset, several paths in one, or a chain of fsspec.
    """
    if path.startswith("pipe:"):
        raise ArgumentError(
            f"{path!r} is a command as WebDataset runs it, but headrace runs none; give the path or address that the "
            "command reads, or keep its output in a file"
        )
    first, chained, second = path.partition("::")
    if not chained:
        return
    if "://" in second and "://" not in first:
        raise ArgumentError(
            f"{path!r} is a chain as fsspec has it, of which only plain addresses are read; give {second!r}, and what "
            "to cache with headrace.RemoteOptions"
        )
    remedy = f"give the list {path.split('::')}" if "://" not in first else "copy or unpack the file first"
    raise ArgumentError(f"{path!r} is several paths in one, joined by '::', which are not read so; {remedy}")


def _match(name: str) -> list[str]:
    if Path(name).exists():
        return [name]
    if not has_magic(name):
        raise FileNotFoundError(f"there is no file or folder {name}")
    found = sorted(glob(name, recursive=True))  # noqa: PTH207 - a Path takes no pattern from the root on
    if not found:
        raise FileNotFoundError(f"no file matches {name}")
    return found
