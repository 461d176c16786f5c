"""Files of tokens as other programs write them, written from their specifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

CODES = {"|u1": 1, "|i1": 2, "<i2": 3, "<i4": 4, "<i8": 5, "<f8": 6, "<f4": 7, "<u2": 8}


def random_documents(count: int = 40, *, vocabulary: int = 250, seed: int = 0) -> list[Any]:
    """Documents of 0 to 30 tokens, none of which is 0."""
    rng = np.random.default_rng(seed)
    return [rng.integers(1, vocabulary, rng.integers(0, 31)) for _ in range(count)]


def write_megatron(prefix: Path, documents: list[Any], dtype: str = "<u2", *, modes: bool = False) -> Path:
    lengths = np.array([len(document) for document in documents], "<i4")
    content = np.concatenate(documents).astype(dtype)
    content.tofile(prefix.with_suffix(".bin"))
    pointers = (np.cumsum(lengths) - lengths).astype("<i8") * content.itemsize
    header = b"MMIDIDX\0\0" + np.array([1], "<u8").tobytes() + bytes([CODES[dtype]])
    header += np.array([len(documents), len(documents) + 1], "<u8").tobytes()
    tables = [lengths, pointers, np.arange(len(documents) + 1, dtype="<i8"), *([lengths.astype("i1")] * modes)]
    prefix.with_suffix(".idx").write_bytes(header + b"".join(table.tobytes() for table in tables))
    return prefix


def write_llmc(path: Path, tokens: Any, magic: int = 20240520, version: int = 1, dtype: str = "<u2") -> Path:
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(tokens)
    path.write_bytes(header.tobytes() + np.asarray(tokens, dtype).tobytes())
    return path


def write_plain(path: Path, tokens: Any, dtype: str = "<u2") -> Path:
    np.asarray(tokens, dtype).tofile(path)
    return path
