"""Chunks are dealt out to shards, with marks on the way from which a stopped conversion goes on."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.convert.journal import Mark
from headrace.errors import ArgumentError, HeadraceError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.convert.journal import Journal
    from headrace.convert.output_paths import OutputPaths
    from headrace.convert.remote_paths import RemoteOutputPaths
    from headrace.formats.writer import Chunk, Writer

__all__ = ["Shards"]

# A mark is set when so many bytes were written after the last one, or after some time where the format
# allows that; elsewhere after so many samples: each mark is a transaction of an LMDB, whose pages depend
# on where those end. A mark waits for the disk twice, in which 32 megabytes would be written.
_BYTES_BETWEEN = 1 << 26
_SAMPLES_BETWEEN = 1 << 15
_SECONDS_BETWEEN = 5.0


class Shards:
    """The shards of a conversion, of which one is open.

    Args:
        output_paths: where they are written.
        journal: what is done already, and gets the marks.
        size: how many bytes the samples of a shard may take; None for any number.
        samples: how many samples a shard may hold; None for any number.
    """

    def __init__(
        self, output_paths: OutputPaths | RemoteOutputPaths, journal: Journal, size: int | None, samples: int | None
    ) -> None:
        self._output_paths = output_paths
        self._journal = journal
        self._most_bytes = size
        self._most_samples = samples
        self._writer: Writer | None = None
        mark = journal.mark
        self._shard, self._first, self._bytes, self._total = mark.shard, mark.first, mark.bytes, mark.total
        self._marked = (mark.samples, mark.bytes)
        self._marked_at = monotonic()
        self._held = mark.samples
        self._kinds = dict(mark.kinds or {})

    @property
    def next(self) -> int:
        """The number of the sample that is wanted next."""
        return self._first + self._held

    @property
    def bytes(self) -> int:
        """The bytes of the samples written so far."""
        return self._total + self._bytes

    def write(self, chunk: Any) -> None:
        """Append the samples of a chunk, in as many shards as that takes."""
        with self._explaining():
            while len(chunk.sizes) > (room := self._room(chunk)):
                if room:
                    self._append(chunk.cut(0, room))
                    chunk = chunk.cut(room, len(chunk.sizes))
                else:
                    self._finish_shard()
            if len(chunk.sizes):
                self._append(chunk)

    def complete(self) -> int:
        """Finish the last shard, and give the number of all."""
        if not self._journal.mark.complete:
            with self._explaining():
                if self._held:
                    self._finish_shard(last=True)
                else:
                    self._put_mark_between(last=True)
        return self._shard

    def close(self) -> None:
        """Give up what is open."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _room(self, chunk: Chunk) -> int:
        """Return how many samples of the chunk fit into the open shard; at least one into an empty one."""
        room = len(chunk.sizes)
        if self._most_samples is not None:
            room = min(room, self._most_samples - self._held)
        if self._most_bytes is not None:
            room = min(room, int(np.searchsorted(np.cumsum(chunk.sizes), self._most_bytes - self._bytes, side="right")))
        return room if self._held else max(room, 1)

    def _append(self, chunk: Chunk) -> None:
        if self._writer is None:
            self._writer = self._open()
        self._writer.write(chunk)
        self._check_alike(chunk)
        self._held += len(chunk.sizes)
        self._bytes += chunk.nbytes
        if self._is_mark_due():
            self._put_mark()

    def _check_alike(self, chunk: Chunk) -> None:
        """Refuse samples that could not be read together with those of the shards before."""
        for what, kind in chunk.kinds.items():
            known = self._kinds.setdefault(what, kind)
            if known != kind:
                raise ArgumentError(
                    f"{what} is {kind} in the samples from {chunk.first} on, but {known} in those before; give all "
                    "samples the same fields and types with dataset.map(...)"
                )

    def _is_mark_due(self) -> bool:
        samples, size = self._marked
        if self._bytes - size >= _BYTES_BETWEEN:
            return True
        if self._output_paths.format.marks_any_time:
            return monotonic() - self._marked_at >= _SECONDS_BETWEEN
        return self._held - samples >= _SAMPLES_BETWEEN

    def _open(self) -> Writer:
        """Return a writer of a new shard, or of the one that a mark was set in."""
        path, state = self._output_paths.draft(self._shard), self._journal.mark.state
        if state is None and path.exists():  # from before the stop, and of no use
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return self._output_paths.format.open(path, state)

    def _put_mark(self) -> None:
        state = self._writer.checkpoint() if self._writer else None
        if state is not None:
            mark = Mark(self._shard, self._first, self._held, self._bytes, state, self._total, kinds=dict(self._kinds))
            self._journal.put(mark)
        self._marked, self._marked_at = (self._held, self._bytes), monotonic()

    def _finish_shard(self, *, last: bool = False) -> None:
        if self._writer is None:
            self._writer = self._open()
        self._writer.finish()
        self.close()
        self._output_paths.keep(self._shard)
        self._shard, self._first, self._total = self._shard + 1, self.next, self.bytes
        self._held, self._bytes, self._marked = 0, 0, (0, 0)
        self._marked_at = monotonic()
        self._put_mark_between(last=last)

    def _put_mark_between(self, *, last: bool) -> None:
        """Note that the shards so far are whole, and whether they are all."""
        mark = Mark(self._shard, self._first, total=self._total, complete=last, kinds=dict(self._kinds))
        self._journal.put(mark)

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Say of a disk that is full, or fails, what that means for what is on it."""
        done = self.next
        try:
            yield
        except HeadraceError:
            raise
        except OSError as error:
            path, work = self._output_paths.path, self._output_paths.work
            kept = f"go on with resume=True, or remove {work}" if self._journal.mark != Mark() else "begin anew"
            failure = StorageError(
                f"{path} cannot be written: {error.strerror or error}, after {done:,} samples. Nothing is at its name "
                f"but what was there before. Make room and {kept}"
            )
            failure.errno = error.errno
            raise failure from error
