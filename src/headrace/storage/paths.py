"""From what users give as paths to the files that are meant."""

from __future__ import annotations

import os
import re
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["find_paths"]

# {FIRST..LAST} or {ONE,OTHER}, without braces inside
_BRACE = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")

OnePath = str | bytes | os.PathLike[Any]


def find_paths(paths: OnePath | Iterable[OnePath]) -> list[str]:
    """The files, or folders, that are meant.

    Args:
        paths: a path, a pattern (`*`, `?`, `[...]`, and `**` for folders at any depth; `{000..146}` and `{a,b}` as a
            shell expands them, each of which must be there), or several of them. A path that is there is no
            pattern, whatever is in its name.

    Returns:
        The paths in the order in which they were given, those of a pattern by name.

    Raises:
        FileNotFoundError: a path is not there, or a pattern matches nothing.
        ArgumentError: there are no paths.
        ArgumentTypeError: one of them is no path.
    """
    several = [paths] if isinstance(paths, str | bytes | os.PathLike) else _listed(paths)
    found = [path for each in several for path in _find(each)]
    if not found:
        raise ArgumentError("at least one path is needed, got none")
    return found


def _listed(paths: Any) -> list[OnePath]:
    try:
        return list(paths)
    except TypeError:
        raise ArgumentTypeError(f"a path, a pattern or a list of them is needed, got {paths!r}") from None


def _find(path: OnePath) -> list[str]:
    if isinstance(path, str) and "://" in path:
        from headrace.storage.remote import find_remote  # for these alone

        return find_remote(path)
    try:
        name = str(Path(os.fsdecode(path)).expanduser())
    except TypeError:
        raise ArgumentTypeError(f"a path is a string, bytes or a path object, but got {path!r}") from None
    return [name] if Path(name).exists() else [found for each in _expand(name) for found in _match(each)]


def _expand(name: str) -> list[str]:
    """The names that braces stand for. There are none inside of others.

    >>> _expand("{a,b}-{8..10}.tar")
    ['a-8.tar', 'a-9.tar', 'a-10.tar', 'b-8.tar', 'b-9.tar', 'b-10.tar']
    """
    brace = _BRACE.search(name)
    if brace is None:
        return [name]
    before, after = name[: brace.start()], name[brace.end() :]
    return [each for choice in _choices(brace) for each in _expand(f"{before}{choice}{after}")]


def _choices(brace: re.Match[str]) -> list[str]:
    first, last, several = brace.groups()
    if several is not None:
        return several.split(",")
    is_padded = any(len(number) > 1 and number[0] == "0" for number in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    step = 1 if int(first) <= int(last) else -1
    return [str(number).zfill(width) for number in range(int(first), int(last) + step, step)]


def _match(name: str) -> list[str]:
    if Path(name).exists():
        return [name]
    if not has_magic(name):
        raise FileNotFoundError(f"there is no file or folder {name}")
    found = sorted(glob(name, recursive=True))  # noqa: PTH207 - a Path takes no pattern from the root on
    if not found:
        raise FileNotFoundError(f"no file matches {name}")
    return found
