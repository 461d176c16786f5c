"""What has been packed so far, on disk: the place from which a stopped packing is continued."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from headrace.errors import DestinationExistsError, StateError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.storage.writers.base import State

__all__ = ["Journal", "Mark", "is_complete", "make_folder"]

_FILE = "journal"


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
        complete: whether all samples are packed, so that `shard` is the number of all shards.
    """

    shard: int = 0
    first: int = 0
    samples: int = 0
    bytes: int = 0
    state: State | None = None
    total: int = 0
    complete: bool = False


class Journal:
    """Marks, one a line, behind a line that says what is being packed, and how.

    One process at a time has it open.

    Args:
        folder: where its file is.
        identity: what must be the same when the packing is continued.
        resume: continue a journal that is there.

    Raises:
        StateError: the journal that is there is of something else.
        StorageError: another process is packing there.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self._file = (folder / _FILE).open("a+b")
        try:
            _lock(self._file.fileno(), folder)
            lines = self._read() if resume else []
            if lines:
                _check(lines[0], identity, folder)
            else:
                self._append(dict(identity))
            self.mark = Mark(**lines[-1]) if len(lines) > 1 else Mark()
        except BaseException:
            self._file.close()
            raise

    def put(self, mark: Mark) -> None:
        """Add a mark; what it speaks of must be on disk."""
        self._append(asdict(mark))
        self.mark = mark

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self) -> list[dict[str, Any]]:
        """The whole lines; one that was cut off when the process was killed is taken away."""
        self._file.seek(0)
        text = self._file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise StateError(f"{self._file.name} is damaged: {error}; begin anew with overwrite=True") from error


def is_complete(folder: Path) -> bool:
    """Whether a packing in the folder was stopped when nothing was left but to rename its shards."""
    with suppress(OSError, ValueError, IndexError):
        return bool(json.loads((folder / _FILE).read_bytes().splitlines()[-1]).get("complete"))
    return False


def make_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder of a packing, or see to it that one which was stopped is treated as wanted.

    Raises:
        DestinationExistsError: there is one, and it is neither to be resumed nor to be given up.
        StorageError: it has not stopped.
    """
    if folder.exists() and not resume:
        if not overwrite:
            raise DestinationExistsError(
                f"a packing that was stopped is in {folder}; go on with resume=True, or begin anew with overwrite=True"
            )
        with (folder / _FILE).open("a+b") as file:
            _lock(file.fileno(), folder)
            shutil.rmtree(folder)
    folder.mkdir(exist_ok=resume)


def _check(found: dict[str, Any], identity: Mapping[str, Any], folder: Path) -> None:
    for name, present in identity.items():
        saved = found.get(name)
        if saved != present:
            raise StateError(
                f"what was begun in {folder} is another packing: {name} was {saved!r} and is {present!r} now; "
                "use the same dataset and arguments, or begin anew with overwrite=True"
            )


def _lock(descriptor: int, folder: Path) -> None:
    """Keep other processes out, where the system can; the lock ends with the process."""
    with suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"another process is packing in {folder}; wait for it, or choose another path") from None
