"""Files that other programs or people may have written, opened without trust in what stands at their path.

A path may lead to a pipe that never ends, to a device, or through a link that somebody else put there to a file of
the reader's own. And where anybody may write, as in `/tmp` and `/dev/shm`, so may an attacker, under a name that is
easily guessed. See SECURITY.md.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_owner", "check_regular", "is_planted", "make_folder", "open_own", "open_regular", "read_regular"]

_ALWAYS = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe would be waited for; to regular files it makes no difference
    | getattr(os, "O_NOCTTY", 0)
)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_ROOT = 0  # the user who may change any file as it is


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY, *, links: bool = True) -> int:
    """Return a descriptor of a regular file.

    Args:
        path: of the file.
        flags: as those of `os.open`; what is created may be written to by its owner and the owner's group.
        links: whether the path may be a symbolic link.

    Raises:
        OSError: it cannot be opened.
        StorageError: it is no regular file, or is a link and may not be.
    """
    if not links and Path(path).is_symlink():  # a clearer error than that of O_NOFOLLOW, which holds against a race
        raise StorageError(
            f"{os.fspath(path)} is a symbolic link to {Path(path).readlink()}, and is not followed; delete it"
        )
    descriptor = os.open(path, flags | _ALWAYS | (0 if links else _NO_LINK), 0o664)
    try:
        check_regular(path, os.fstat(descriptor).st_mode)
    except StorageError:
        os.close(descriptor)
        raise
    return descriptor


def check_regular(path: str | os.PathLike[str], mode: int) -> None:
    """Raise StorageError unless a mode is that of a regular file."""
    if not stat.S_ISREG(mode):
        if not stat.S_ISDIR(mode):
            raise StorageError(f"{os.fspath(path)} is a pipe or a device, but a file is needed")
        raise StorageError(
            f"{os.fspath(path)} is a folder, but a file is needed; give a pattern such as {Path(path, '*')}, or let "
            "headrace.open_dataset tell what is in it"
        )


def read_regular(path: str | os.PathLike[str], most: int | None = None, *, links: bool = False) -> bytes:
    """Return the content of a file: as much as it had when it was opened.

    Raises:
        OSError: it cannot be read.
        StorageError: it is no regular file, is a link and may not be, or has more than `most` bytes.
    """
    with open(open_regular(path, links=links), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise StorageError(f"{os.fspath(path)} has more than {most} bytes, which is more than it should")
        return file.read(size)


def open_own(path: str | os.PathLike[str], flags: int) -> int:
    """Return a descriptor of a file that is this program's alone to write, made if `flags` say so.

    Raises:
        OSError: it cannot be opened.
        StorageError: it is a link, no regular file, has a second name, or can be written to by anybody.
    """
    descriptor = open_regular(path, flags, links=False)
    found = os.fstat(descriptor)
    problem = None
    if found.st_nlink > 1:
        problem = "has a second name elsewhere (a hard link); delete it"
    elif _anybody_writes(found.st_mode):
        problem = f"can be written to by anybody; forbid it (chmod o-w {os.fspath(path)})"
    if problem is not None:
        os.close(descriptor)
        raise StorageError(f"{os.fspath(path)} {problem}")
    return descriptor


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder, and those above it, unless it is there; others but the owner's group may not write to it.

    Raises:
        OSError: it cannot be made.
        StorageError: somebody else may have made it, or can change it.
    """
    folder = Path(path)
    missing = [each for each in folder.parents if not each.exists()]
    for each in (*reversed(missing), folder):
        each.mkdir(0o775, exist_ok=True)
    check_owner(folder)
    return folder


def check_owner(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that somebody else may have put there, or can write to.

    Whatever lies in a folder where anybody may write must be the user's own or root's, all the way down from the root.
    Where only some may write, those are trusted: they could change the data as well.

    Raises:
        StorageError: it says which folder it is.
    """
    for place, above in _places(Path(os.path.abspath(folder))):  # noqa: PTH100 - links are looked at, not resolved
        if is_planted(place, above):
            raise StorageError(
                f"{place} belongs to another user, and lies in {above}, where anybody may write, so what is in it "
                "could be anybody's; give a folder that is your own"
            )
    found = Path(folder).stat()
    if _anybody_writes(found.st_mode):
        raise StorageError(
            f"anybody may write to {os.fspath(folder)}, so what is in it could be anybody's; give a folder of its own "
            f"inside, or forbid it (chmod o-w {os.fspath(folder)})"
        )


def is_planted(path: Path, folder: Path, *trusted: int) -> bool:
    """Return whether a file lies where anybody may write, and is neither the user's own, nor root's.

    Args:
        path: of the file, which may be a link.
        folder: in which it lies.
        trusted: other users that may have written it.
    """
    if not hasattr(os, "geteuid") or not _anybody_writes(folder.stat().st_mode):
        return False
    return path.lstat().st_uid not in (os.geteuid(), _ROOT, *trusted)


def _places(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each folder from the root down with the one it lies in, and those that links lead to as well."""
    resolved = folder.resolve()
    for path in (folder, resolved) if resolved != folder else (folder,):
        below = [path, *path.parents]
        yield from zip(below[-2::-1], below[:0:-1], strict=True)


def _anybody_writes(mode: int) -> bool:
    return os.name == "posix" and bool(mode & stat.S_IWOTH)
