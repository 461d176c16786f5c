"""Notes on errors: whatever their classes do, what is to be said of them is said, and they hold no frames."""

from __future__ import annotations

import sys
from contextlib import suppress

__all__ = [
    "add_note",
    "clear_own_frames",
    "level_of_user",
    "name_file",
    "notes_of",
    "set_cause",
    "text_of",
    "whole_text_of",
    "without_frames",
]


def without_frames(error: Exception) -> Exception:
    """Return the error without its tracebacks, whose frames refer to it, and to all that was being loaded."""
    chain: list[BaseException | None] = [error]
    while chain:
        link = chain.pop()
        if link is not None and link.__traceback__ is not None:
            BaseException.with_traceback(link, None)  # also where the class lets nobody set anything
            chain += link.__cause__, link.__context__
    return error


def clear_own_frames(error: BaseException) -> None:
    """Clear the variables of headrace's own frames that an error has come from, before it is raised a second time.

    They hold it, in a list of errors for one, and it refers to them. Such a circle, to which the frames of the loop
    are added now, would keep the workers until the next garbage collection. What users look at in a debugger, the
    frames of their own code, is left.
    """
    trace = error.__traceback__
    frame = None if trace is None else trace.tb_frame
    with suppress(RuntimeError):  # one that still runs: so do those that it was called from
        while frame is not None:
            if frame.f_globals.get("__name__", "").partition(".")[0] == "headrace":
                frame.clear()
            frame = frame.f_back


# The methods of an exception are its author's: its text may raise anything, SystemExit included, and a class whose
# instances are frozen takes no attributes. Neither may take the place of the error that is to be told.


def text_of(error: BaseException) -> str:
    """Return the text of an error, or a remark that it has none.

    >>> text_of(KeyError("label"))
    "'label'"
    """
    try:
        return str.__str__(str(error))  # text, not a subclass of it, which may be as hard to send to another process
    except BaseException as failure:
        return f"(its text raised {type(failure).__name__})"


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error, if its class allows that."""
    try:
        error.add_note(note)
    except Exception:
        with suppress(Exception):
            vars(error).setdefault("__notes__", []).append(note)


def whole_text_of(error: BaseException) -> str:
    """Return what an error says, with its notes, in one line."""
    return "; ".join([text_of(error), *notes_of(error)])


def notes_of(error: BaseException) -> list[str]:
    """Return the notes of an error that are text: anyone may set them to anything."""
    notes = vars(error).get("__notes__")
    return [note for note in notes if type(note) is str] if isinstance(notes, list) else []


def set_cause(error: BaseException, cause: BaseException | None) -> None:
    """Let an error say what caused it; None for nothing."""
    BaseException.__setattr__(error, "__cause__", cause)


def name_file(error: Exception, path: str) -> None:
    """Let an error say in `filename`, as those of the system do, in which file it arose, unless it does already."""
    with suppress(Exception):  # of a class that lets nobody ask for it or set it
        if getattr(error, "filename", None) is None:
            error.filename = path  # type: ignore[attr-defined]


# Modules, with those in them, whose calls come between a user's code and a warning: a finalizer's, too.
_NOT_THE_USERS = ("headrace", "weakref")


def level_of_user() -> int:
    """Return how many calls the caller, itself included, is away from code that is not of this package."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001 - what `skip_file_prefixes` does from Python 3.12 on
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_THE_USERS:
        level, frame = level + 1, frame.f_back
    return level
