"""Writers of MDS and litData, made from the descriptions of the formats: they know nothing of the readers."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def table(items: Sequence[bytes], between: bytes = b"") -> bytes:
    """Items behind their number and their offsets."""
    begin = 4 * (len(items) + 2) + len(between)
    ends = begin + np.cumsum([0, *map(len, items)])
    return struct.pack("<I", len(items)) + ends.astype("<u4").tobytes() + between + b"".join(items)


ENCODINGS = {"array": "ndarray", "number": "int", "row": "ndarray:int32:4", "text": "str"}


def mds_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "array": np.arange(number % 3 + 1, dtype=np.float32) * number,
            "number": number - 5,
            "row": np.arange(4, dtype=np.int32) + number,
            "text": "\u00e9" * number,
        }
        for number in range(count)
    ]


def write_mds(folder: Path, rows: Sequence[dict[str, Any]], size: int, compress: Any = None) -> None:
    """Write shards of so many rows each."""
    names = ["array", "number", "row", "text"]
    about = {
        "column_encodings": [ENCODINGS[name] for name in names],
        "column_names": names,
        "column_sizes": [None, 8, 16, None],
        "compression": "zstd:3" if compress else None,
        "format": "mds",
        "hashes": [],
        "size_limit": 1 << 26,
        "version": 2,
    }
    config = json.dumps(about, sort_keys=True).encode()
    shards = []
    for number, start in enumerate(range(0, len(rows), size)):
        some = rows[start : start + size]
        content = table([mds_item(row) for row in some], config)
        raw: dict[str, Any] = {"basename": f"shard.{number:05d}.mds", "bytes": len(content), "hashes": {}}
        stored, packed = raw, None
        if compress:
            packed = content = compress(content)
            stored = {"basename": f"shard.{number:05d}.mds.zstd", "bytes": len(content), "hashes": {}}
        (folder / stored["basename"]).write_bytes(content)
        shards.append({**about, "raw_data": raw, "zip_data": stored if packed else None, "samples": len(some)})
    (folder / "index.json").write_text(json.dumps({"version": 2, "shards": shards}))


def mds_item(row: dict[str, Any]) -> bytes:
    array, text = row["array"], row["text"].encode()
    first: bytes = bytes([34, 1 << 2 | 0, len(array)]) + array.astype("<f4").tobytes()
    fixed: bytes = struct.pack("<q", row["number"]) + row["row"].astype("<i4").tobytes()
    sizes = struct.pack("<II", len(first), len(text))
    return b"".join([sizes, first, fixed, text])


def tree_of(names: Sequence[str]) -> str:
    """The tree of a dict of leaves, as torch writes it."""
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    spec = {"type": "builtins.dict", "context": json.dumps(list(names)), "children_spec": [leaf] * len(names)}
    return json.dumps([1, spec])


LEAVES = {"id": "int", "x": "float", "text": "str", "a": "numpy", "t": "tensor", "tokens": "no_header_tensor:16"}


def lit_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "x": number / 3,
            "text": "\u00e9" * number,
            "a": np.full((2, number % 3), number, np.int16),
            "t": np.arange(number, dtype=np.int64).reshape(1, -1),
            "tokens": np.arange(number, dtype=np.int32),
        }
        for number in range(count)
    ]


def lit_item(row: dict[str, Any]) -> bytes:
    a, t = row["a"], row["t"]
    leaves = [
        struct.pack("<q", row["id"]),
        struct.pack("<d", row["x"]),
        row["text"].encode(),
        struct.pack("<II2I", 1, 2, *a.shape) + a.tobytes(),
        struct.pack(">II2I", 18, 2, *t.shape) + t.tobytes(),
        row["tokens"].tobytes(),
    ]
    packed: bytes = struct.pack(f"<{len(leaves)}I", *map(len, leaves)) + b"".join(leaves)
    return packed


def write_litdata(folder: Path, chunks: dict[str, bytes], counts: Sequence[int], **config: Any) -> None:
    entries = [
        {"chunk_bytes": len(content), "chunk_size": count, "dim": None, "filename": name}
        for (name, content), count in zip(chunks.items(), counts, strict=True)
    ]
    about = {"data_format": list(LEAVES.values()), "data_spec": tree_of(list(LEAVES)), "item_loader": "PyTreeLoader"}
    (folder / "index.json").write_text(json.dumps({"chunks": entries, "config": {**about, **config}}))
    for name, content in chunks.items():
        (folder / name).write_bytes(content)


def framed(items: Sequence[bytes], rows: int, compress: Any) -> bytes:
    """Items in frames of so many rows each."""
    offsets = np.cumsum([0, *map(len, items)]).astype("<u4").tobytes()
    groups = [list(items[start : start + rows]) for start in range(0, len(items), rows)]
    packed = [compress(b"".join(group)) for group in groups]
    head = struct.pack("<8sHHIII", b"LDFZ01\0\0", 1, 0, len(items), rows, len(groups)) + offsets
    place, frames = len(head) + 24 * len(groups), b""
    for number, (group, content) in enumerate(zip(groups, packed, strict=True)):
        size = sum(map(len, group))
        frames += struct.pack("<IIQII", number * rows, len(group), place, len(content), size)
        place += len(content)
    return head + frames + b"".join(packed)
