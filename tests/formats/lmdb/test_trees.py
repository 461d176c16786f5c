"""LMDB files made by hand, whose trees are none: small files must not cost much time or memory."""

from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from headrace import LMDBDataset
from headrace.errors import CorruptDataError

if TYPE_CHECKING:
    from pathlib import Path

SMALL, LARGE = 4096, 65536  # sizes of pages


def head(number: int, flags: int, lower: int = 0, upper: int = 0) -> bytes:
    return struct.pack("<QHHHH", number, 0, flags, lower, upper)


def metas(size: int, depth: int, entries: int) -> bytes:
    pages = []
    for number in range(2):
        free = struct.pack("<IHHQQQQQ", size, 0, 0, 0, 0, 0, 0, 2**64 - 1)
        main = struct.pack("<IHHQQQQQ", 0, 0, depth, 0, 1, 0, entries, 2)
        about = struct.pack("<IIQQ", 0xBEEFC0DE, 1, 0, 1 << 30) + free + main + struct.pack("<QQ", 10, number + 1)
        pages.append((head(number, 8) + about).ljust(size, b"\0"))
    return b"".join(pages)


def page(size: int, number: int, flags: int, nodes: list[tuple[int, bytes]]) -> bytes:
    """A page with nodes at offsets."""
    content = bytearray(size)
    for offset, node in nodes:
        content[offset : offset + len(node)] = node
    offsets = struct.pack(f"<{len(nodes)}H", *(offset for offset, _ in nodes))
    content[: 16 + len(offsets)] = head(number, flags, 16 + len(offsets), 16 + len(offsets)) + offsets
    return bytes(content)


def branch(size: int, number: int, targets: list[int]) -> bytes:
    nodes = [struct.pack("<HHHH", target & 0xFFFF, target >> 16, 0, 0) for target in targets]
    return page(size, number, 1, [(size - 8 * (place + 1), node) for place, node in enumerate(nodes)])


def leaf(size: int, number: int, values: list[bytes]) -> bytes:
    nodes, end = [], size
    for place, value in enumerate(values):
        node = struct.pack("<HHHH", len(value), 0, 0, 2) + b"%02d" % place + value
        end -= len(node) + len(node) % 2
        nodes.append((end, node))
    return page(size, number, 2, nodes)


def overflow(size: int, number: int, value: bytes) -> bytes:
    room = -(-(16 + len(value)) // size) * size
    return (struct.pack("<QHHI", number, 0, 4, room // size) + value).ljust(room, b"\0")


def big(target: int, length: int) -> bytes:
    """A node whose value lies in pages of its own."""
    return struct.pack("<HHHHQ", length & 0xFFFF, length >> 16, 1, 0, target)


def count(tmp_path: Path, content: bytes) -> int:
    (tmp_path / "data.mdb").write_bytes(content)
    return len(LMDBDataset(tmp_path / "data.mdb"))


def test_handmade_trees_are_read(tmp_path: Path) -> None:
    values = [b"one", b"", b"three"]
    lone = metas(SMALL, 1, 3) + leaf(SMALL, 2, values)
    assert count(tmp_path, lone) == 3
    deep = metas(SMALL, 2, 4) + branch(SMALL, 2, [3, 4]) + leaf(SMALL, 3, values) + leaf(SMALL, 4, [b"four"])
    assert count(tmp_path, deep) == 4
    large = metas(SMALL, 1, 1) + page(SMALL, 2, 2, [(SMALL - 16, big(3, 5000))]) + overflow(SMALL, 3, bytes(5000))
    assert count(tmp_path, large) == 1


def bombs() -> dict[str, tuple[str, bytes]]:
    many = LARGE // 2 - 16 - 15000
    crowd = page(LARGE, 2, 2, [(LARGE - 30008, struct.pack("<HHHH", 0, 0, 0, 30000))] * many)
    value = overflow(LARGE, 3, bytes(1 << 22))
    shared = [(LARGE - 16 * (place + 1), big(3, 1 << 22)) for place in range(1000)]
    tail = [(LARGE - 16, big(3, 1 << 22)), (LARGE - 32, big(4, 1 << 20))]
    leaves = [leaf(SMALL, 3, [b"x"]), leaf(SMALL, 4, [b"y"])]
    return {
        "its own child": ("levels", metas(SMALL, 65535, 9) + branch(SMALL, 2, [2])),
        "its own child, not deep": ("twice", metas(SMALL, 32, 9) + branch(SMALL, 2, [2])),
        "a loop of two": ("twice", metas(SMALL, 30, 9) + branch(SMALL, 2, [3]) + branch(SMALL, 3, [2])),
        "a tree that doubles": (
            "twice",
            metas(SMALL, 30, 9) + b"".join(branch(SMALL, each, [each + 1] * 2) for each in range(2, 31)),
        ),
        "one leaf twice": ("twice", metas(SMALL, 2, 3) + branch(SMALL, 2, [3, 4, 3]) + b"".join(leaves)),
        "nodes in one place": ("overlap", metas(LARGE, 1, many) + crowd),
        "one value for all": ("twice", metas(LARGE, 1, 1000) + page(LARGE, 2, 2, shared) + value),
        "a value in another": (
            "twice",
            metas(LARGE, 1, 2) + page(LARGE, 2, 2, tail) + value[:LARGE] + head(4, 4) + value[LARGE + 16 :],
        ),
        "a value that is a leaf": (
            "another kind",
            metas(SMALL, 1, 1) + page(SMALL, 2, 2, [(SMALL - 16, big(2, 100))]),
        ),
    }


@pytest.mark.parametrize("name", bombs())
def test_broken_trees_are_refused(tmp_path: Path, name: str) -> None:
    problem, content = bombs()[name]
    tracemalloc.start()
    with pytest.raises(CorruptDataError, match=problem):
        count(tmp_path, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(content) + (16 << 20)
