"""Samples in tar archives as they come: what compressed archives can give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.datasets.base import IterableDataset
from headrace.formats.decoders import FieldDecoders
from headrace.formats.tar.archive import scan
from headrace.formats.tar.index import KEY
from headrace.io.compression import Unpacked, check_bytes
from headrace.io.file_view import read_through
from headrace.io.paths import find_paths
from headrace.io.source import open_source, options_for
from headrace.workers.info import get_worker_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike

    from headrace.formats.tar.archive import TarPart

__all__ = ["TarStream"]

_HEADERS = 1 << 20  # bytes before a file that say what it is


class TarStream(IterableDataset[dict[str, Any]]):
    """Samples in tar archives one after the other, for archives that are compressed.

    There is no way to a sample of a compressed archive but through all that is before it. So the order is
    that of the archives, a resumed run reads again what it passes over, and a worker process reads whole
    archives: each takes its share of them. Where there is room for it, unpack the archives and take a `TarDataset`.

    Args:
        paths: an archive, plain or compressed with gzip, bzip2 or xz; a pattern; or several of them. Also addresses.
        decode: for some fields a function that takes their bytes and returns what stands in the sample.
        max_file_bytes: how large a file in a compressed archive may be: a small archive can be made that holds more
            than there is memory for.

    Raises:
        FileNotFoundError: an archive is not there.
        StorageError: while reading, a file in a compressed archive is larger.
        CorruptDataError: while reading, one is no tar, is cut short or damaged.

    >>> import io, tarfile
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with tarfile.open(Path(folder, "a.tar.gz"), "w:gz") as archive:
    ...         for name, content in {"7.txt": b"seven", "7.cls": b"3"}.items():
    ...             member = tarfile.TarInfo(name)
    ...             member.size = len(content)
    ...             archive.addfile(member, io.BytesIO(content))
    ...     list(TarStream(Path(folder, "a.tar.gz"), decode={"cls": int}))
    [{'__key__': '7', 'txt': b'seven', 'cls': 3}]
    """

    def __init__(
        self,
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        decode: Mapping[str, Callable[[bytes], Any]] | None = None,
        *,
        max_file_bytes: int = 1 << 28,
    ) -> None:
        self._decoders = FieldDecoders(decode)
        self.max_file_bytes = check_bytes("max_file_bytes", max_file_bytes)
        self.paths = find_paths(paths)
        self._options = options_for(needed=any("://" in path for path in self.paths))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        for path in self.paths if worker is None else self.paths[worker.id :: worker.num_workers]:
            with Unpacked(open_source(path, self._options)) as content:
                most = None if content.kind is None else self.max_file_bytes + _HEADERS
                for sample in _samples(scan(path, read_through(content.view(most)))):
                    yield self._decoders.sample(sample, lambda: f"the sample {sample[KEY]!r} of {path}")  # noqa: B023


def _samples(parts: Iterator[TarPart]) -> Iterator[dict[str, Any]]:
    """Yield the samples of an archive; one may go on in the next part."""
    sample: dict[str, Any] | None = None
    for view, members, endings in parts:
        names = [ending.decode("utf-8", "surrogateescape") for ending in endings]
        keys = iter(members.key_texts())
        firsts = set(members.firsts.tolist())
        for number, (start, length, _, field) in enumerate(members.records.tolist()):
            if number in firsts:
                if sample is not None:
                    yield sample
                sample = {KEY: next(keys)}
            if sample is not None:
                sample[names[field]] = view.data[start : start + length].tobytes()
    if sample is not None:
        yield sample
