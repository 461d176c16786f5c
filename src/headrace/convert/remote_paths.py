"""The addresses of shards that are written here and stored elsewhere."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.errors import DestinationExistsError
from headrace.io.names import cache_folder, file_name, short_digest
from headrace.io.new_file import new_file
from headrace.io.remote_files import RemoteFiles

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.formats.writer import OutputFormat

__all__ = ["MOVES", "RemoteOutputPaths"]

MOVES = "moves"  # the file of what is moved where


@dataclass(frozen=True)
class RemoteOutputPaths:
    """The names of a conversion's shards at an address: `OutputPaths`, elsewhere.

    A shard is written in a folder of this machine, then uploaded beside its place, to `ADDRESS.writing`. When all are
    there, they get their names, which a store does by itself: no byte comes back.

    Args:
        path: what the user calls the result: its address.
        format: in which format it is.
        sharded: whether there may be several shards, which are called as on a disk.
    """

    path: str
    format: OutputFormat
    sharded: bool

    @property
    def work(self) -> Path:
        """The folder of this machine for the shard that is being written, and the journal."""
        folder = cache_folder("writing")
        folder.mkdir(parents=True, exist_ok=True)
        return folder / file_name(self.path.rpartition("/")[2], short_digest(self.path))

    @property
    def _files(self) -> RemoteFiles:
        return RemoteFiles(self.path)

    @property
    def in_folder(self) -> bool:
        """Whether the shards are put into a folder of the user's name."""
        return self.sharded and not (self.format.ending and self.path.endswith(self.format.ending))

    def draft(self, shard: int) -> Path:
        """Return the path at which a shard is written."""
        return self.work / f"shard-{shard:05d}"

    def final(self, shard: int) -> str:
        """Return the address that a shard has in the end."""
        ending = self.format.ending
        if not self.sharded:
            return self.path
        if self.in_folder:
            return f"{self.path}/{shard:05d}{ending}"
        return f"{self.path.removesuffix(ending)}-{shard:05d}{ending}"

    def keep(self, shard: int) -> None:
        """Upload a shard that is whole, and remove it here."""
        draft, staged = self.draft(shard), self._staged(shard)
        for file in sorted(each for each in draft.rglob("*") if each.is_file()) if draft.is_dir() else [draft]:
            below = file.relative_to(draft).as_posix()
            self._files.put(file, staged if file == draft else f"{staged}/{below}")
        shutil.rmtree(draft) if draft.is_dir() else draft.unlink()

    def existing(self) -> list[str]:
        """Return the addresses of existing files that the result would replace."""
        if not self.sharded or self.in_folder:
            return self._files.find(self.path)
        folder, _, name = self.path.rpartition("/")
        stem, ending = re.escape(name.removesuffix(self.format.ending)), re.escape(self.format.ending)
        pattern = re.compile(rf"{stem}-\d{{5,}}{ending}(/.*)?")
        return [found for found in self._files.find(folder) if pattern.fullmatch(found[len(folder) + 1 :])]

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse to lose what is there.

        Raises:
            DestinationExistsError: something is there, and is not to be overwritten.
        """
        found = [] if overwrite else self.existing()
        if found:
            raise DestinationExistsError(f"{found[0]} exists; choose another path, or overwrite it with overwrite=True")

    def move_in(self, shards: int) -> list[str]:
        """Give all shards their addresses, in place of what is there, and drop the rest.

        May be done again when it was stopped half-way.
        """
        moves = self._moves(shards)
        for staged, target in moves.items():
            self._files.move(staged, target)
        for left in set(self.existing()) - set(moves.values()):
            self._files.remove(left)
        shutil.rmtree(self.work)
        return [self.final(shard) for shard in range(shards)]

    def _moves(self, shards: int) -> dict[str, str]:
        """Return the target of each uploaded file, as it was when the first of them had not been moved."""
        note = self.work / MOVES
        if not note.exists():
            moves: dict[str, str] = {}
            for shard in range(shards):
                staged = self._staged(shard)
                moves |= {file: self.final(shard) + file[len(staged) :] for file in self._files.find(staged)}
            with new_file(note) as file:
                file.write(json.dumps(moves).encode())
        found: dict[str, str] = json.loads(note.read_bytes())
        return found

    def _staged(self, shard: int) -> str:
        return f"{self.path}.writing/shard-{shard:05d}"
