"""The record on disk of what has been written so far, from which a stopped conversion is continued."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from headrace.errors import DestinationExistsError, StateError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

    from headrace.formats.writer import State

__all__ = ["Journal", "Mark", "is_moving"]

_FILE = "journal"
_OURS = re.compile(r"shard-\d{5,}|shards|old-.*|moves")  # what `OutputPaths` makes in the folder


@dataclass(frozen=True)
class Mark:
    """A place that is safely on disk.

    Attributes:
        shard: the number of the shard that is being written.
        first: the number of its first sample.
        samples: how many it holds so far.
        bytes: what these take.
        state: what its writer continues from; None at its beginning.
        total: bytes of the shards before it.
        complete: whether all samples are written, so that `shard` is the number of all shards.
        moving: whether shards may stand under their final names already.
        kinds: what all samples must have alike, as those so far have it.
    """

    shard: int = 0
    first: int = 0
    samples: int = 0
    bytes: int = 0
    state: State | None = None
    total: int = 0
    complete: bool = False
    moving: bool = False
    kinds: dict[str, str] | None = None


class Journal:
    """Marks, one a line, behind a line that says what is being written, and how.

    One process at a time has it open, and with it the folder: what is looked at and done meanwhile is one step for
    every other conversion to the same path.

    Args:
        folder: where its file is; made if it is not there.
        identity: what must be the same when the conversion is continued.
        resume: continue a journal that is there.
        overwrite: give up a conversion that was stopped.

    Raises:
        DestinationExistsError: a conversion was stopped there, and is neither to be resumed nor to be given up.
        StateError: the journal that is there is of something else.
        StorageError: another conversion is under way there.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        self._file = _hold(folder)
        try:
            lines = self._read() if resume else []
            if not resume:
                self._clear(folder, overwrite=overwrite)
            if lines:
                _check(lines[0], identity, folder)
            else:
                self._append(dict(identity))  # gets to the disk with the first mark, and means nothing before
            self.mark = Mark(**lines[-1]) if len(lines) > 1 else Mark()
        except BaseException:
            self._file.close()
            raise

    def put(self, mark: Mark) -> None:
        """Add a mark; what it speaks of must be on disk."""
        self._append(asdict(mark))
        self.mark = mark  # before the disk is waited for, since Ctrl-C may come then
        self._sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _clear(self, folder: Path, *, overwrite: bool) -> None:
        """Remove what a conversion that was stopped has left."""
        left = [entry for entry in folder.iterdir() if entry.name != _FILE]
        if (left or self._file.tell()) and not overwrite:  # the file is open at its end
            raise DestinationExistsError(
                f"a conversion that was stopped is in {folder}; go on with resume=True, or begin anew with "
                "overwrite=True"
            )
        strangers = [entry.name for entry in left if not _OURS.fullmatch(entry.name)]
        if strangers:
            raise DestinationExistsError(
                f"{folder}, where conversions lie until they are whole, holds other files ({min(strangers)}); move "
                "them away, or choose another path"
            )
        self._file.truncate(0)
        for entry in left:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _append(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())

    def _read(self) -> list[dict[str, Any]]:
        """Return the whole lines; one that was cut off when the process was killed is taken away."""
        self._file.seek(0)
        text = self._file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise StateError(f"{self._file.name} is damaged: {error}; begin anew with overwrite=True") from error


def is_moving(folder: Path) -> bool:
    """Return whether a conversion in the folder was stopped while its shards were renamed."""
    with suppress(OSError, ValueError, IndexError):
        return bool(json.loads((folder / _FILE).read_bytes().splitlines()[-1]).get("moving"))
    return False


def _check(found: dict[str, Any], identity: Mapping[str, Any], folder: Path) -> None:
    for name, present in identity.items():
        saved = found.get(name)
        if saved != present:
            raise StateError(
                f"what was begun in {folder} is another conversion: {name} was {saved!r} and is {present!r} now; "
                "use the same dataset and arguments, or begin anew with overwrite=True"
            )


def _hold(folder: Path) -> BinaryIO:
    """Open the journal of a folder, made if it is not there, and keep other conversions out while it is open.

    Raises:
        StorageError: another conversion holds it.
    """
    while True:
        folder.mkdir(exist_ok=True)
        try:
            file = (folder / _FILE).open("a+b")
        except FileNotFoundError:  # another conversion has just moved in, and removed the folder
            continue
        try:
            _lock(file.fileno(), folder)
            if _is_at(file, folder / _FILE):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is still the one at its path: the conversion that held it may have removed it."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _lock(descriptor: int, folder: Path) -> None:
    """Keep other conversions out, where the system can; the lock ends with the process."""
    with suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"another process is writing in {folder}; wait for it, or choose another path") from None
