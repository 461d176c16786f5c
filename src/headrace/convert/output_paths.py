"""The paths of shards while they are written, and once all of them are whole."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.errors import ArgumentError, DestinationExistsError

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.formats.writer import OutputFormat

__all__ = ["OutputPaths"]

_OF_LMDB = {"data.mdb", "lock.mdb"}
_INDEX = ".headrace-index.npy"  # kept beside a file that was read


@dataclass(frozen=True)
class OutputPaths:
    """The names of a conversion's shards.

    Args:
        path: what the user calls the result.
        format: in which format it is.
        sharded: whether there may be several shards: their numbers go before the ending, or into the
            folder `path` where it has no ending.
    """

    path: Path
    format: OutputFormat
    sharded: bool

    @property
    def work(self) -> Path:
        """The folder of what is not yet whole, beside the result so that it can be renamed."""
        return self.path.with_name(f"{self.path.name}.writing")

    @property
    def in_folder(self) -> bool:
        """Whether the shards are put into a folder of the user's name."""
        return self.sharded and not (self.format.ending and self.path.name.endswith(self.format.ending))

    def draft(self, shard: int) -> Path:
        """Return the path at which a shard is written."""
        return self.work / f"shard-{shard:05d}"

    def final(self, shard: int) -> Path:
        """Return the path that a shard has in the end."""
        ending = self.format.ending
        if not self.sharded:
            return self.path
        if self.in_folder:
            return self.path / f"{shard:05d}{ending}"
        return self.path.with_name(f"{self.path.name.removesuffix(ending)}-{shard:05d}{ending}")

    def keep(self, shard: int) -> None:  # noqa: ARG002 - it stays where it is
        """Make what is whole survive a crash."""
        _sync_folder(self.work)

    def existing(self) -> list[Path]:
        """Return the paths of existing files that the result would replace."""
        if not self.sharded or self.in_folder:
            return [self.path] if self.path.exists() else []
        stem, ending = (
            re.escape(part) for part in (self.path.name.removesuffix(self.format.ending), self.format.ending)
        )
        return sorted(
            entry for entry in self.path.parent.glob("*") if re.fullmatch(rf"{stem}-\d{{5,}}{ending}", entry.name)
        )

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse to lose what is there.

        Raises:
            DestinationExistsError: something is there, and is not to be overwritten.
            ArgumentError: it is a folder of other things, which is never overwritten; or the folder
                around it is not there.
        """
        if not self.path.parent.is_dir():
            raise ArgumentError(f"there is no folder {self.path.parent} to write {self.path.name} to; create it first")
        for found in self.existing():
            if not overwrite:
                raise DestinationExistsError(
                    f"{found} exists; choose another path, or overwrite it with overwrite=True"
                )
            if found.is_dir() and not self._is_ours(found):
                raise ArgumentError(f"{found} is a folder of other files than {self.format.name}; choose another path")

    def move_in(self, shards: int) -> list[Path]:
        """Rename all shards to what they are called, in place of what is there, and drop the rest.

        May be done again when it was stopped half-way.
        """
        finals = [self.final(shard) for shard in range(shards)]
        if self.in_folder:
            drafts = self.work / "shards"
            if any(self.draft(shard).exists() for shard in range(shards)):  # else the folder is made, or moved, already
                drafts.mkdir(exist_ok=True)
            for shard, final in enumerate(finals):
                _rename(self.draft(shard), drafts / final.name)
            _sync_folder(drafts)  # if it is there
            self._replace(drafts, self.path)
        else:
            for shard, final in enumerate(finals):
                self._replace(self.draft(shard), final)
            for left in set(self.existing()) - set(finals):
                _remove(left)
        _sync_folder(self.path.parent)
        shutil.rmtree(self.work)
        return finals

    def _replace(self, draft: Path, final: Path) -> None:
        if not draft.exists():  # renamed before the stop
            return
        if final.is_dir():  # a folder takes no other's place: the old one goes out of the way first
            final.rename(self.work / f"old-{final.name}")
        elif draft.is_dir() and final.exists():
            final.unlink()
        draft.replace(final)

    def _is_ours(self, folder: Path) -> bool:
        """Return whether a folder holds nothing but what the format writes."""
        ending = ".npy" if self.format.name == "npy" else self.format.ending
        return all(
            file.name.endswith(ending) or file.name in _OF_LMDB or file.name.endswith(_INDEX)
            for file in folder.rglob("*")
            if file.is_file()
        )


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a crash, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rename(source: Path, target: Path) -> None:
    if source.exists():
        source.replace(target)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
