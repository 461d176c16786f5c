"""Lengths of sequences that were measured, kept beside the files of the sequences."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.cache.fingerprint import fingerprint
from headrace.formats.index import Index, IndexFormat, find_index, keep_index
from headrace.io.names import short_digest
from headrace.io.source import open_source
from headrace.pipeline.describe import describe
from headrace.pipeline.nodes import Cached, Concat, Map, Select, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.io.source import ByteSource
    from headrace.pipeline.nodes import Node
    from headrace.pipeline.reading import Indexable

__all__ = ["KeptLengths", "place_of_lengths"]

_VERSION = 1
_MOST_FILES = 1 << 12  # whose sizes and times are looked at
_AT_A_TIME = 16  # of those far away
_ABOUT = 1 << 16  # bytes of the text before the lengths


@dataclass(frozen=True)
class KeptLengths:
    """The place of the lengths of a dataset's sequences.

    Attributes:
        source: the file beside which they are.
        index_format: by which they are known to be those of the dataset as it is now.
        maps: whether a function makes the sequences, of which not all that it depends on can be seen.
    """

    source: ByteSource
    index_format: IndexFormat
    maps: bool

    def find(self) -> NDArray[np.int64] | None:
        """Return the lengths that are kept; None where there are none, or those of other sequences."""
        found = find_index(self.source, self.index_format)
        return None if found is None else found.tables["lengths"]

    def keep(self, lengths: NDArray[np.int64]) -> Index:
        """Keep lengths that were measured; a warning says where that is not possible."""
        return keep_index({"lengths": lengths}, self.source, self.index_format)


def place_of_lengths(dataset: Indexable[Any], field: int | str | None) -> KeptLengths | None:
    """Return where the lengths of a dataset are kept; None where its samples do not come from files of known formats.

    Args:
        dataset: any object.
        field: the field that has the sequences.
    """
    paths: list[str] = []
    kinds, maps = [], False
    for node in _walk(describe(dataset)):
        kinds.append(type(node).__name__)
        maps = maps or isinstance(node, Map)
        if isinstance(node, Source):
            found = _paths_of(node.dataset)
            if not found or len(paths) + len(found) > _MOST_FILES:
                return None
            paths += found
        elif not isinstance(node, Map | Select | Cached | Concat):
            return None
    sources = _open_all(paths)
    what = fingerprint((dataset, sources))
    kind = f".lengths-{short_digest(repr((kinds, paths, field)))[:8]}"
    length = len(dataset)
    index_format = IndexFormat(
        f"lengths of field {field!r}, {what}",
        _VERSION,
        {"lengths": np.dtype(np.int64)},
        check=lambda tables: len(tables["lengths"]) == length and not (tables["lengths"] < 0).any(),
        kind=kind,
        most_bytes=8 * length + _ABOUT,
        what="lengths",
    )
    return KeptLengths(sources[0], index_format, maps)


def _open_all(paths: list[str]) -> list[ByteSource]:
    """Return files, whose sizes and times are looked at; of several far away at the same time."""
    if any("://" in path for path in paths):
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            return list(pool.map(open_source, paths))
    return [open_source(path) for path in paths]


def _paths_of(dataset: Any) -> list[str] | None:
    """Return the files of a dataset of one of headrace's formats; None of others."""
    paths = getattr(dataset, "paths", None) if type(dataset).__module__.startswith("headrace.") else None
    return paths if isinstance(paths, list) else None


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for each in getattr(node, "inputs", None) or [getattr(node, "input", None)]:
        if each is not None:
            yield from _walk(each)
