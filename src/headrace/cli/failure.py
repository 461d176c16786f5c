"""An error as one line, for users of the command."""

from __future__ import annotations

import traceback
from pathlib import Path

from headrace.errors import HeadraceError

__all__ = ["one_line", "place_of"]

_OWN = str(Path(__file__).parents[1])
_MACHINERY = "<frozen importlib"  # of the import of a user's module


def one_line(error: BaseException) -> str:
    """Return what an error says, with its notes, of which files and samples it is, and where it was raised.

    Tracebacks are left out, also those of workers. The place is that of the innermost line that is not headrace's, and
    is told where the error is not one of headrace's, whose texts say all.

    >>> one_line(ValueError("no such thing"))
    'ValueError: no such thing'
    """
    parts = [_message(error)]
    parts += [note for note in getattr(error, "__notes__", ()) if isinstance(note, str) and "\n" not in note.strip()]
    filename = getattr(error, "filename", None)
    if isinstance(filename, str) and not any(filename in part for part in parts):
        parts.append(filename)
    place = None if isinstance(error, HeadraceError | OSError) else place_of(error)
    return " ".join("; ".join([*parts, *([place] if place else [])]).split())


def _message(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r}) was called"
    if isinstance(error, HeadraceError) and text:
        return text
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place_of(error: BaseException) -> str | None:
    """Return the innermost line of an error's traceback that is not headrace's; None where there is none."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_OWN, _MACHINERY))
    ]
    return f"in {frames[-1].filename}, line {frames[-1].lineno}" if frames else None
