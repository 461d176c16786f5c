"""The chunks of a folder of tokens that litData's `TokensLoader` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError, CorruptDataError, StorageError
from headrace.formats.item_shards import INDEX_NAME, join, read_index
from headrace.formats.litdata.leaves import dtype_of_tokens

if TYPE_CHECKING:
    import numpy as np

__all__ = ["token_chunks"]


def token_chunks(folder: str) -> tuple[np.dtype[Any], list[tuple[str, int, int]]]:
    """Return the dtype of the tokens of a folder, and of each chunk its path, its documents and its tokens.

    A chunk's documents lie one behind the other, after a table of 4 * (documents + 2) bytes.

    Raises:
        FileNotFoundError: there is no index.
        ArgumentError: it is a folder of other samples.
        StorageError: its chunks are compressed.
        CorruptDataError: its index is damaged.
    """
    index = read_index(folder, "chunks")
    config = index.get("config")
    leaves = config.get("data_format") if isinstance(config, dict) else None
    dtype = dtype_of_tokens(leaves[0]) if isinstance(leaves, list) and len(leaves) == 1 else None
    if dtype is None or not isinstance(config, dict) or config.get("item_loader") != "TokensLoader":
        raise ArgumentError(f"{folder} is no folder of tokens; read it with headrace.open_dataset({folder!r})")
    if config.get("compression") or config.get("encryption"):
        raise StorageError(f"{folder} has chunks that are compressed or encrypted; write them anew without")
    chunks = []
    for chunk in index["chunks"]:
        documents, tokens = (chunk.get("chunk_size"), chunk.get("dim")) if isinstance(chunk, dict) else (None, None)
        if not (isinstance(documents, int) and isinstance(tokens, int) and min(documents, tokens) >= 0):
            raise CorruptDataError(f"{folder}/{INDEX_NAME} has an entry that is no chunk of tokens: {chunk!r:.200}")
        chunks.append((join(folder, chunk.get("filename")), documents, tokens))
    return dtype, chunks
