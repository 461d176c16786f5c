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

__all__ = ["expand_braces", "find_paths"]

_NUMBERS = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")
_LETTERS = re.compile(r"([A-Za-z])\.\.([A-Za-z])(?:\.\.(-?\d+))?")

OnePath = str | bytes | os.PathLike[Any]


def find_paths(paths: OnePath | Iterable[OnePath]) -> list[str]:
    """The files, or folders, that are meant.

    Args:
        paths: a path, a pattern (`*`, `?`, `[...]`, and `**` for folders at any depth; `{000..146}`, `{0..8..2}` and
            `{a,b}`, also one inside another, as bash expands them, each of which must be there), or several of them.
            A path that is there is no pattern, whatever is in its name.

    Returns:
        The paths in the order in which they were given, those of a pattern by name.

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


def _listed(paths: Any) -> list[OnePath]:
    try:
        return list(paths)
    except TypeError:
        raise ArgumentTypeError(f"a path, a pattern or a list of them is needed, got {paths!r}") from None


def _find(path: OnePath) -> list[str]:
    try:
        given = os.fsdecode(path)
    except TypeError:
        raise ArgumentTypeError(f"a path is a string, bytes or a path object, but got {path!r}") from None
    if isinstance(path, str) and not Path(path).exists():
        _refuse_other_notations(path)
    if not given:
        raise ArgumentError("a path is needed, but got an empty one; '.' is the current folder")
    if isinstance(path, str) and "://" in path:
        from headrace.storage.remote import find_remote  # for these alone

        return find_remote(path)
    name = str(Path(given).expanduser())
    return [name] if Path(name).exists() else [found for each in expand_braces(name) for found in _match(each)]


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


def expand_braces(name: str) -> list[str]:
    """The names that braces stand for, each once and in order, as bash expands them.

    >>> expand_braces("{a,b}-{8..10}.tar")
    ['a-8.tar', 'a-9.tar', 'a-10.tar', 'b-8.tar', 'b-9.tar', 'b-10.tar']
    >>> expand_braces("{val,train-{0..4..2}}.tar")
    ['val.tar', 'train-0.tar', 'train-2.tar', 'train-4.tar']
    """
    for brace in re.finditer(r"\{", name):
        stop = _closing(name, brace.start())
        choices = None if stop is None else _choices(name[brace.end() : stop])
        if stop is not None and choices is not None:
            before, ends = name[: brace.start()], expand_braces(name[stop + 1 :])
            return [f"{before}{choice}{end}" for choice in choices for end in ends]
    return [name]  # braces of something else are letters like others


def _closing(name: str, start: int) -> int | None:
    """Where the brace that opens at a place is closed."""
    depth = 0
    for place, letter in enumerate(name[start:], start):
        depth += (letter == "{") - (letter == "}")
        if not depth:
            return place
    return None


def _choices(text: str) -> list[str] | None:
    """What stands between two braces, each by itself; None where that is neither a list nor a range."""
    parts = _split(text)
    if len(parts) > 1:
        return [name for part in parts for name in expand_braces(part)]
    for pattern, values in ((_NUMBERS, _numbers), (_LETTERS, _letters)):
        found = pattern.fullmatch(text)
        if found is not None:
            return values(*found.groups())
    return None


def _split(text: str) -> list[str]:
    """The parts between commas that are in no further braces."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _numbers(first: str, last: str, step: str | None) -> list[str]:
    is_padded = any(re.match(r"-?0\d", number) for number in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    return [str(number).zfill(width) for number in _range(int(first), int(last), step)]


def _letters(first: str, last: str, step: str | None) -> list[str]:
    return list(map(chr, _range(ord(first), ord(last), step)))


def _range(first: int, last: int, step: str | None) -> range:
    stride = abs(int(step or 1)) or 1
    return range(first, last + 1, stride) if first <= last else range(first, last - 1, -stride)


def _match(name: str) -> list[str]:
    if Path(name).exists():
        return [name]
    if not has_magic(name):
        raise FileNotFoundError(f"there is no file or folder {name}")
    found = sorted(glob(name, recursive=True))  # noqa: PTH207 - a Path takes no pattern from the root on
    if not found:
        raise FileNotFoundError(f"no file matches {name}")
    return found
