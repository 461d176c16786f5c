"""LMDB databases: where the values of all keys lie in the file, found by going through its tree once.

The library would map the same file and search the tree for every key; the index says at once where a value is. Nothing
is written, locked or created, other programs may have the database open, and a damaged file is an error where the
library would end the process.

The format is that of LMDB 0.9 (data version 1) on 64-bit little-endian machines, as `mdb.c` defines it: pages of one
size, the first two of which are metas; a tree of branch and leaf pages, whose nodes begin where the offsets after the
page's head say; and overflow pages for large values. https://git.openldap.org/openldap/openldap/-/tree/mdb.RE/0.9
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import kernels
from headrace.errors import CorruptDataError, StorageError
from headrace.formats.index import IndexFormat, are_bounds
from headrace.io.source import read_ranges
from headrace.kernels.scans import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.io.source import ByteSource

__all__ = ["LMDB"]

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4  # flags of pages
_BIG, _DATABASE, _SEVERAL = 1, 2, 4  # flags of nodes
_DUPLICATES = 4  # flag of a database: keys may have several values
_NOTHING = 2**64 - 1  # the root of an empty tree
_HEAD = 16  # bytes at the start of a page
_NODE = 8  # bytes of a node before its key
_DEEPEST = 32  # levels of a tree, of which the library itself can walk no more
_PAGES_AT_ONCE = 1 << 14

_TREE = np.dtype(
    [
        ("page_size", "<u4"),  # in the first tree only
        ("flags", "<u2"),
        ("depth", "<u2"),
        ("branches", "<u8"),
        ("leaves", "<u8"),
        ("overflows", "<u8"),
        ("entries", "<u8"),
        ("root", "<u8"),
    ]
)
_META = np.dtype(
    [
        ("head", "V16"),
        ("magic", "<u4"),
        ("version", "<u4"),
        ("address", "<u8"),
        ("map_size", "<u8"),
        ("free", _TREE),
        ("main", _TREE),
        ("last_page", "<u8"),
        ("transaction", "<u8"),
    ]
)


class _Nodes(NamedTuple):
    """Nodes of some pages, in order.

    Attributes:
        starts: where they begin in the file, shape (n,), int64.
        words: the first three numbers of each, shape (n, 3): the lower and upper half of a size or page, and flags.
        keys: the sizes of their keys, shape (n,), int64.
    """

    starts: NDArray[np.int64]
    words: NDArray[np.int64]
    keys: NDArray[np.int64]


class _Pages:
    """The pages of a file.

    Each belongs to one place of the tree, and its nodes have room in it one beside the other. So all that is read of
    a file, however damaged, is not more than the file.
    """

    def __init__(self, content: NDArray[np.uint8], size: int, path: str) -> None:
        self.size = size
        self.path = path
        self.count = len(content) // size
        self.content = content[: self.count * size]
        self._words = self.content.view("<u2")
        self._taken = np.zeros(self.count, np.bool_)

    def nodes(self, pages: NDArray[np.int64], kind: int) -> _Nodes:
        """Return the nodes of pages.

        Args:
            pages: their numbers, shape (n,), int64.
            kind: what they must be.

        Raises:
            CorruptDataError: they are not.
        """
        self.check(pages, kind)
        self.take(pages, np.ones(len(pages), np.int64))
        begins = pages * self.size
        lower = self._words[begins // 2 + 6].astype(np.int64)
        self.refuse((lower < _HEAD) | (lower > self.size) | (lower % 2 == 1), pages, "has a wrong number of nodes")
        counts = (lower - _HEAD) // 2
        begins = np.repeat(begins, counts)
        of_page = np.arange(len(begins)) - np.repeat(np.cumsum(counts) - counts, counts)
        offsets = self._words[(begins + _HEAD) // 2 + of_page].astype(np.int64)
        wrong = (offsets < _HEAD) | (offsets > self.size - _NODE) | (offsets % 2 == 1)
        self.refuse(wrong, begins // self.size, "has a node outside of itself")
        starts = begins + offsets
        words = self._words[(starts // 2)[:, None] + np.arange(4)].astype(np.int64)
        nodes = _Nodes(starts, words[:, :3], words[:, 3])
        ends = offsets + _nbytes(nodes, kind)
        self.refuse(ends > self.size, begins // self.size, "has a record that is longer than itself")
        ends = np.concatenate([[0], np.cumsum(ends - offsets)])
        rooms = np.diff(ends[np.concatenate([[0], np.cumsum(counts)])])
        self.refuse(rooms > self.size - lower, pages, "has records that overlap")
        return nodes

    def take(self, firsts: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Note that pages belong to a place of the tree.

        Args:
            firsts: the first of some pages that follow each other, shape (n,), int64.
            counts: how many these are, shape (n,), int64; all are pages of the file.

        Raises:
            CorruptDataError: one of them belongs to another place already.
        """
        order = np.argsort(firsts, kind="stable")
        starts, stops = firsts[order], (firsts + counts)[order]
        self.refuse(starts[1:] < stops[:-1], starts[1:], "is in its tree twice")
        before = np.repeat(np.cumsum(counts[order]) - counts[order], counts[order])
        pages = np.arange(len(before)) - before + np.repeat(starts, counts[order])
        self.refuse(self._taken[pages], pages, "is in its tree twice")
        self._taken[pages] = True

    def check(self, pages: NDArray[np.int64], kind: int) -> None:
        """Raise unless the pages are in the file, and of this kind."""
        self.refuse((pages < 2) | (pages >= self.count), pages, f"is not among the {self.count} of the file")
        flags = self._words[pages * self.size // 2 + 5]
        numbers = self.content.view("<u8")[pages * self.size // 8].astype(np.int64)
        self.refuse((flags & 0xF) != kind, pages, f"has the flags of another kind than {kind}")
        self.refuse(numbers != pages, pages, "has the number of another page")

    def longs(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return numbers of 8 bytes at places that need not be aligned."""
        lengths = np.full(len(places), 8)
        return read_ranges([self.content], np.zeros(len(places), np.int64), places, lengths).buffer.view("<i8")

    def refuse(self, wrong: NDArray[np.bool_], pages: NDArray[np.int64], what: str) -> None:
        """Raise if something is wrong with one of the pages."""
        if wrong.any():
            page = int(pages[wrong.argmax()])
            raise CorruptDataError(
                f"{self.path}: page {page}, at byte {page * self.size} of {len(self.content)}, {what}: the file is cut "
                "short or damaged; get it anew, or copy it with mdb_copy while nobody writes to it"
            )


def build(source: ByteSource, advance: Callable[[int], None]) -> dict[str, NDArray[Any]]:
    """Return the keys of a database in their order, and where their values are, with the values' CRC32C.

    Args:
        source: the file.
        advance: called with the number of bytes that are done.

    Raises:
        CorruptDataError: it is no LMDB file, or a damaged one.
        StorageError: it holds named databases, or several values a key.
    """
    size, path = source.identity.size, source.path
    content = source.view()
    if content is None:
        content = source.read(0, size)
    page_size, tree = _read_meta(content, path)
    pages = _Pages(content, page_size, path)
    records, texts, lengths = [np.empty(0, RECORD)], [np.empty(0, np.uint8)], [np.zeros(1, np.int64)]
    leaves = _find_leaves(pages, tree)
    for start in range(0, len(leaves), _PAGES_AT_ONCE):
        nodes = pages.nodes(leaves[start : start + _PAGES_AT_ONCE], _LEAF)
        records.append(_locate_values(pages, nodes))
        texts.append(_read_keys(pages, nodes))
        lengths.append(nodes.keys)
        advance(size * start // len(leaves))
    found = np.concatenate(records)
    if len(found) != tree["entries"]:
        raise CorruptDataError(
            f"{path} has {len(found)} records in its tree, but tells of {tree['entries']}; get it anew"
        )
    return {"records": found, "keys": np.concatenate(texts), "key_bounds": np.cumsum(np.concatenate(lengths))}


def _read_meta(content: NDArray[np.uint8], path: str) -> tuple[int, Any]:
    """Return the size of a page, and the main tree as the last transaction left it."""
    size = _META.itemsize
    if len(content) < size:
        raise CorruptDataError(f"{path} is no LMDB file: it has {len(content)} bytes")
    first = content[:size].view(_META)[0]
    page_size = int(first["free"]["page_size"])
    if first["magic"] != _MAGIC or page_size not in [2**power for power in range(8, 17)]:
        raise CorruptDataError(
            f"{path} is no LMDB file, or one of a 32-bit or big-endian machine: it begins with "
            f"{content[:32].tobytes()!r}"
        )
    if first["version"] != _VERSION:
        raise StorageError(
            f"{path} is an LMDB file of data version {first['version']}, but {_VERSION} is needed; copy it with "
            "LMDB 0.9"
        )
    if len(content) < page_size + size:
        raise CorruptDataError(f"{path} is cut short: it has {len(content)} bytes, less than two pages; get it anew")
    second = content[page_size : page_size + size].view(_META)[0]
    last = second if second["magic"] == _MAGIC and second["transaction"] > first["transaction"] else first
    return page_size, last["main"]


def _find_leaves(pages: _Pages, tree: Any) -> NDArray[np.int64]:
    """Return the numbers of the pages with values, in the order of their keys."""
    if tree["flags"] & _DUPLICATES:
        raise StorageError(
            f"{pages.path} may hold several values for a key (dupsort), so that values have no numbers; copy it to a "
            "database without"
        )
    if tree["root"] == _NOTHING:
        return np.empty(0, np.int64)
    if tree["depth"] > _DEEPEST:
        raise CorruptDataError(
            f"{pages.path} tells of a tree of {tree['depth']} levels, but {_DEEPEST} are the most that LMDB has; "
            "get it anew"
        )
    level = np.array([tree["root"]]).astype(np.int64)
    for _ in range(int(tree["depth"]) - 1):
        words = pages.nodes(level, _BRANCH).words
        level = words[:, 0] | words[:, 1] << 16 | words[:, 2] << 32
    return level


def _nbytes(nodes: _Nodes, kind: int) -> NDArray[np.int64]:
    """Return how many bytes nodes take in their pages."""
    sizes = _NODE + nodes.keys
    if kind == _LEAF:
        in_page = nodes.words[:, 0] | nodes.words[:, 1] << 16
        sizes = sizes + np.where(nodes.words[:, 2] & _BIG, 8, in_page)
    return sizes


def _locate_values(pages: _Pages, nodes: _Nodes) -> NDArray[Any]:
    """Return where the values of nodes are, RECORD of shape (n,)."""
    flags = nodes.words[:, 2]
    if (flags & (_DATABASE | _SEVERAL)).any():
        raise StorageError(
            f"{pages.path} holds named databases, or several values for a key; copy the one that you want to a "
            "database of its own (mdb_dump -s NAME, mdb_load)"
        )
    records = np.empty(len(flags), RECORD)
    records["length"] = nodes.words[:, 0] | nodes.words[:, 1] << 16
    records["offset"] = nodes.starts + _NODE + nodes.keys
    big = (flags & _BIG) != 0
    if big.any():
        overflow = pages.longs(records["offset"][big])
        pages.check(overflow, _OVERFLOW)
        records["offset"][big] = overflow * pages.size + _HEAD
        ends = records["offset"][big] + records["length"][big]
        pages.refuse(ends > len(pages.content), overflow, "has a value that goes beyond the end")
        pages.take(overflow, -(-(_HEAD + records["length"][big].astype(np.int64)) // pages.size))
    records["crc"] = kernels.active().crc32c(
        pages.content, np.ascontiguousarray(records["offset"]), np.ascontiguousarray(records["length"])
    )
    return records


def _read_keys(pages: _Pages, nodes: _Nodes) -> NDArray[np.uint8]:
    """Return the keys of nodes, end to end."""
    return read_ranges([pages.content], np.zeros(len(nodes.keys), np.int64), nodes.starts + _NODE, nodes.keys).buffer


def _fit(tables: dict[str, NDArray[Any]]) -> bool:
    """Return whether tables of an index are such as `build` makes."""
    bounds = tables["key_bounds"]
    return len(bounds) == len(tables["records"]) + 1 and are_bounds(bounds, len(tables["keys"]))


_DTYPES = {"records": RECORD, "keys": np.dtype(np.uint8), "key_bounds": np.dtype(np.int64)}
LMDB = IndexFormat("LMDB", 1, _DTYPES, build, _fit)
