"""Dry runs: the calls of a loader's readers without their reading, counted as the readers would count them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.capabilities import capability
from headrace.cache.dataset import CachedDataset
from headrace.io.chunks import CHUNK, chunks_between, has_chunk
from headrace.io.lru import Recent
from headrace.io.remote import RemoteSource
from headrace.io.spans import SpansAhead, join_ranges
from headrace.pipeline.hints import find_hearing

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from numpy.typing import NDArray

    from headrace.io.lru import DecodedPieces
    from headrace.io.ranges import FileRanges
    from headrace.pipeline.read_plan import ReadCall

__all__ = ["DryCache", "DryProcess", "FileUse", "Shared"]

_PAGE = 4096  # bytes of a file that the system reads at least


@dataclass
class FileUse:
    """The use that is made of a file, or of the files of a folder that are read as a whole.

    Attributes:
        path: of the file, or of the folder with "/*" behind it.
        far: whether it is far away.
        ranges: how many ranges of bytes samples are made of.
        bytes_read: their bytes.
        requests: how many requests are made of what is far away.
        bytes_moved: the bytes that come with these; of a file of this machine those of the pages that have the ranges,
            which the system reads where it has not kept them.
        chunk_hits: how often a chunk is found in the `cache_dir`.
        chunk_misses: how often it is not.
    """

    path: str
    far: bool
    ranges: int = 0
    bytes_read: int = 0
    requests: int = 0
    bytes_moved: int = 0
    chunk_hits: int = 0
    chunk_misses: int = 0

    def since(self, before: FileUse | None) -> FileUse:
        """Return the use that was made since an earlier one."""
        if before is None:
            return replace(self)
        numbers = {name: count for name, count in vars(self).items() if name not in ("path", "far")}
        return FileUse(self.path, self.far, **{name: count - getattr(before, name) for name, count in numbers.items()})


class DryCache:
    """The samples that a dataset of cached ones has, and will have.

    Args:
        dataset: the dataset.
        nbytes: about how large a sample is.
    """

    def __init__(self, dataset: CachedDataset, nbytes: int) -> None:
        self.dataset = dataset
        self.stored = dataset.stored()
        self._was_empty = not self.stored.any()
        self._by: dict[Hashable, NDArray[np.bool_]] = {}  # of this epoch: which samples a process has stored
        self._room = dataset.stats().room // max(nbytes, 1)

    @property
    def is_full(self) -> bool:
        """Whether samples came for which there may be no room."""
        return self._room < 0

    def missing(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some samples that are not stored, in order, each once."""
        return np.unique(indices[~self.stored[indices]])

    def store(self, missing: NDArray[np.int64], process: Hashable) -> None:
        """Store samples, as far as there is room for all of them."""
        self._room -= len(missing)
        if self._room >= 0:
            self.stored[missing] = True
            self._by.setdefault(process, np.zeros(len(self.stored), np.bool_))[missing] = True

    def begin_epoch(self) -> None:
        """Take what is stored for settled."""
        self._by.clear()
        self._was_empty = not self.stored.any()

    def knows_surely(self, process: Hashable) -> bool:
        """Return whether a process knows what samples are like, or that it does not, whoever else has begun."""
        return not self._was_empty or not self._by or process in self._by

    def found_of_others(self, indices: NDArray[np.int64], process: Hashable) -> int:
        """Return how many of some stored samples another process has stored in this epoch."""
        return sum(int(stored[indices].sum()) for other, stored in self._by.items() if other != process)


@dataclass
class Shared:
    """The state that processes have in common.

    Attributes:
        files: the files that are used, by their paths.
        chunks: of the folders of chunks: which process has fetched each that was not there; None in an epoch before.
        timing: what follows from who is first: texts by reason.
    """

    files: dict[str, FileUse] = field(default_factory=dict)
    chunks: dict[tuple[str, str, int], Hashable] = field(default_factory=dict)
    timing: Counter[str] = field(default_factory=Counter)

    def begin_epoch(self) -> None:
        """Take what has been fetched for settled."""
        self.chunks = dict.fromkeys(self.chunks)

    def file(self, path: str, *, far: bool) -> FileUse:
        """Return the use of a file."""
        if path not in self.files:
            self.files[path] = FileUse(path, far)
        return self.files[path]


class _Span:
    """A span that was asked for early."""

    is_used = False


class DryProcess:
    """A process that loads, as far as what it asks of files and caches goes.

    Args:
        name: tells it from others.
        shared: the state that it has in common with others.
        caches: of samples, by the ids of the datasets.

    Attributes:
        counters: as those of the datasets would have counted.
        ahead: the most bytes that were fetched early and kept, of all files together.
        decoded: how many pieces of files were decoded.
    """

    def __init__(self, name: Hashable, shared: Shared, caches: Mapping[int, DryCache]) -> None:
        self.counters: Counter[str] = Counter()
        self.ahead = self.decoded = 0
        self._name = name
        self._shared = shared
        self._caches = caches
        self._spans: dict[int, SpansAhead[_Span]] = {}
        self._recent: dict[int, Recent[None]] = {}

    def announce(self, dataset: Any, indices: NDArray[np.int64]) -> None:
        """Take in which samples will be read soon, as `will_need` of the datasets does."""
        for each, part in find_hearing(dataset, indices):
            if isinstance(each, CachedDataset):
                self.announce(each.dataset, part[~self._caches[id(each)].stored[part]])
            elif (says := capability(each, "byte_ranges")) is not None:
                for file in says(part):
                    if isinstance(file.source, RemoteSource):
                        self._fetch_early(file.source, file)

    def read(self, calls: Iterable[ReadCall]) -> None:
        """Take in calls that read samples."""
        for dataset, indices in calls:
            if isinstance(dataset, CachedDataset):
                self._read_cached(self._caches[id(dataset)], indices)
                continue
            byte_ranges, pieces = capability(dataset, "byte_ranges"), capability(dataset, "pieces")
            for file in [] if byte_ranges is None else byte_ranges(indices):
                self._read_file(file)
            if pieces is not None:
                self._decode(dataset, pieces(indices))

    def _read_cached(self, cache: DryCache, indices: NDArray[np.int64]) -> None:
        missing = cache.missing(indices)
        absent = int((~cache.stored[indices]).sum())
        self._count(cache_hits=len(indices) - absent, cache_misses=absent)
        others = cache.found_of_others(indices, self._name)
        if others:
            self._shared.timing["cached samples that another process may still be reading"] += others
        if len(missing):
            requests = self.counters["remote_requests"]
            known, unknown = (list(cache.dataset.calls(missing, first=first)) for first in (False, True))
            self.read(known if cache.stored.any() else unknown)
            differs = len(known) != len(unknown) and self.counters["remote_requests"] > requests
            if differs and not cache.knows_surely(self._name):
                self._shared.timing["requests for a first sample, of a cache that another process may have begun"] += 1
            cache.store(missing, self._name)
            if cache.is_full:
                self._shared.timing["samples for which the cache may have no room"] += len(missing)

    def _decode(self, dataset: Any, pieces: DecodedPieces) -> None:
        recent = self._recent.setdefault(id(dataset), Recent(pieces.limit))
        made = recent.made
        for key, size in pieces.sizes:
            recent.get(key, lambda size=size: (None, size))  # type: ignore[misc]
        self._count(**{pieces.counter: recent.made - made})
        self.decoded += recent.made - made
        if pieces.estimated and len(recent) < recent.made:
            self._shared.timing["pieces decoded whose sizes are estimated, while not all fit into cache_bytes"] += (
                recent.made - made
            )

    # ------------------------------------------------------------------ files

    def _read_file(self, file: FileRanges) -> None:
        source, nbytes = file.source, file.nbytes
        far = isinstance(source, RemoteSource)
        use = self._shared.file(_name_of(file), far=far)
        use.ranges += len(file.lengths)
        use.bytes_read += nbytes
        self._count(bytes_read=nbytes)
        if not isinstance(source, RemoteSource):
            use.bytes_moved += _page_bytes(file)
            return
        ahead = self._spans.get(id(source))
        for start, stop in join_ranges(file.offsets, file.lengths):
            found = None if ahead is None else ahead.find(start, stop)
            if found is None:
                self._ask(source, use, start, stop)
            else:
                found[0].is_used = True

    def _fetch_early(self, source: RemoteSource, file: FileRanges) -> None:
        use = self._shared.file(_name_of(file), far=True)
        ahead = self._spans.setdefault(id(source), SpansAhead())

        def begin(start: int, stop: int) -> _Span:
            self._ask(source, use, start, stop)
            return _Span()

        for start, stop in join_ranges(file.offsets, file.lengths):
            given_up = ahead.add(start, stop, lambda start=start, stop=stop: begin(start, stop))  # type: ignore[misc]
            if not all(span.is_used for span in given_up):
                self._shared.timing["spans fetched early that are given up before they are read"] += len(given_up)
        self.ahead = max(self.ahead, sum(each.nbytes for each in self._spans.values()))

    def _ask(self, source: RemoteSource, use: FileUse, start: int, stop: int) -> None:
        """Count the requests for a span."""
        options = source.options
        if options.cache_dir is None:
            self._count_request(use, stop - start)
            return
        for number, first, last in chunks_between(start, stop, source.identity.size):
            key = options.cache_dir, source.chunk_name, number
            by = self._shared.chunks.get(key)
            if key not in self._shared.chunks and not has_chunk(*key, last - first):
                self._shared.chunks[key] = self._name
                use.chunk_misses += 1
                self._count(chunk_misses=1)
                self._count_request(use, last - first)
                if options.cache_limit is not None:
                    self._note_limit(options.cache_limit)
                continue
            use.chunk_hits += 1
            self._count(chunk_hits=1)
            if by not in (None, self._name):
                self._shared.timing["chunks that another process may still be fetching"] += 1

    def _note_limit(self, limit: int) -> None:
        if len(self._shared.chunks) * CHUNK > limit:
            self._shared.timing["chunks written to a cache_dir that is beyond its cache_limit"] += 1

    def _count_request(self, use: FileUse, nbytes: int) -> None:
        use.requests += 1
        use.bytes_moved += nbytes
        self._count(remote_requests=1, remote_bytes=nbytes)

    def _count(self, **counts: int) -> None:
        self.counters.update(counts)


def _name_of(file: FileRanges) -> str:
    """Return the path of a file, or its folder's if all of it is read at once: there may be a million of them."""
    path = file.source.path
    whole = len(file.lengths) == 1 and file.lengths[0] == file.source.identity.size and not path.endswith(".npy")
    return f"{path.rpartition('/')[0]}/*" if whole else path


def _page_bytes(file: FileRanges) -> int:
    """Return the bytes of the pages that hold ranges, each page once.

    >>> from headrace.io.ranges import FileRanges
    >>> _page_bytes(FileRanges(None, np.array([5000, 0, 100]), np.array([10, 50, 0])))
    8192
    """
    if len(file.lengths) == 1:  # as of a whole file, of which there may be a million
        start, length = int(file.offsets[0]), int(file.lengths[0])
        return ((start + length - 1) // _PAGE - start // _PAGE + 1) * _PAGE if length else 0
    order = np.argsort(file.offsets, kind="stable")
    starts, lengths = file.offsets[order], file.lengths[order]
    first, last = starts[lengths > 0] // _PAGE, (starts + lengths - 1)[lengths > 0] // _PAGE
    begins = np.maximum(first, np.append(-1, np.maximum.accumulate(last)[:-1]) + 1) if len(first) else first
    return int(np.maximum(last - begins + 1, 0).sum()) * _PAGE
