"""Names that braces stand for, as bash expands them."""

from __future__ import annotations

import re

__all__ = ["expand_braces"]

_NUMBERS = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")
_LETTERS = re.compile(r"([A-Za-z])\.\.([A-Za-z])(?:\.\.(-?\d+))?")


def expand_braces(name: str) -> list[str]:
    """Return the names that braces stand for, each once and in order, as bash expands them.

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
    """Return where the brace that opens at a place is closed."""
    depth = 0
    for place, letter in enumerate(name[start:], start):
        depth += (letter == "{") - (letter == "}")
        if not depth:
            return place
    return None


def _choices(text: str) -> list[str] | None:
    """Return the alternatives between two braces; None where they are neither a list nor a range."""
    parts = _split(text)
    if len(parts) > 1:
        return [name for part in parts for name in expand_braces(part)]
    for pattern, values in ((_NUMBERS, _numbers), (_LETTERS, _letters)):
        found = pattern.fullmatch(text)
        if found is not None:
            return values(*found.groups())
    return None


def _split(text: str) -> list[str]:
    """Return the parts between commas that are in no further braces."""
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
