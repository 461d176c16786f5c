"""Files that appear under their name when all of their content is there."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

fcntl: Any = None
with suppress(ImportError):  # Windows has none
    import fcntl

__all__ = ["DRAFT", "new_file", "remove_leftovers"]

DRAFT = ".headrace-"  # how the names of files begin that are being written
_YOUNG = 60.0  # seconds for which a file is left alone that may not be locked yet


@contextmanager
def new_file(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Open a file to be written, which replaces that of the path when this ends, and is gone if it fails.

    Where the system has files without a name, nothing is left of it either if the process is killed. Elsewhere a later
    call of `remove_leftovers` finds it.

    Raises:
        OSError: it cannot be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with new_file(Path(folder, "text")) as file:
    ...         _ = file.write(b"all of it")
    ...     Path(folder, "text").read_bytes()
    b'all of it'
    """
    with ExitStack() as stack:
        descriptor = _open_unnamed(path.parent)
        draft = None
        if descriptor is None:
            descriptor, name = tempfile.mkstemp(".tmp", DRAFT, path.parent)
            draft = Path(name)
            stack.callback(draft.unlink, missing_ok=True)
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        file = stack.enter_context(open(descriptor, "wb"))  # noqa: PTH123 - a descriptor
        yield file
        file.flush()
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), mode)
        if draft is None:
            _give_name(file.fileno(), path)
        else:
            file.close()
            draft.replace(path)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed have left of new files in a folder, and no file that is being written."""
    for path in folder.glob(".*"):
        with suppress(OSError):  # another process was quicker, or it is locked
            if time.time() - path.lstat().st_mtime < _YOUNG:
                continue
            with path.open("rb") as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def _open_unnamed(folder: Path) -> int | None:
    """Return a descriptor of a file without a name; None where there are none."""
    if not hasattr(os, "O_TMPFILE") or not Path("/proc/self/fd").exists():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:  # not all file systems have them; where nothing can be written, the other way fails too
        return None


def _give_name(descriptor: int, path: Path) -> None:
    """Give a file without a name one, in place of a file that has it."""
    source = f"/proc/self/fd/{descriptor}"
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # With a folder given, links are followed as they must be here.
        try:
            os.link(source, path, src_dir_fd=folder, follow_symlinks=True)
        except FileExistsError:
            draft = path.with_name(f"{DRAFT}{os.getpid()}-{descriptor}.tmp")
            draft.unlink(missing_ok=True)
            os.link(source, draft, src_dir_fd=folder, follow_symlinks=True)
            try:
                draft.replace(path)
            except OSError:  # a folder has the name
                draft.unlink()
                raise
    finally:
        os.close(folder)
