"""Samples of litData's chunks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.ragged import sequence_field
from headrace.datasets.compose import ConcatDataset
from headrace.errors import ArgumentError, CorruptDataError, StorageError
from headrace.formats.item_shards import COUNTED, INDEX_NAME, ItemDataset, Items, ItemShard, join, read_index
from headrace.formats.litdata.chunks import FRAMED, FramedChunk
from headrace.formats.litdata.leaves import Tree, find_counter, find_decoder
from headrace.io.compression import unpack
from headrace.io.progress import Progress
from headrace.io.source import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.datasets.base import Dataset
    from headrace.formats.item_shards import Counter

__all__ = ["LitDataDataset", "open_files"]


class LitDataDataset(ItemDataset):
    """Samples of a folder that litData's `optimize` has written, in any order.

    A sample is the tree that was written: a dict, list or tuple of numbers, text, bytes and arrays; tensors come as
    arrays of NumPy, and encoded images as bytes. Folders of tokens (`TokensLoader`) are read by `TokenDataset`.

    Args:
        path: the folder with the index.json, or its address.
        pickled: the names of fields that are pickled and may be read: that runs what code they hold. A field is called
            by its keys and positions, with dots between.

    Attributes:
        paths: of the chunks.

    Raises:
        FileNotFoundError: there is no index, or a chunk is not there.
        ArgumentError: a field is pickled, or the folder is one of tokens.
        StorageError: a field is of a kind that is not read, or chunks are encrypted or compressed in such a way.
        CorruptDataError: the index is damaged; or while reading, a chunk is not what it says.
        FileChangedError: a chunk has changed since it was opened.

    >>> import json, tempfile
    >>> from pathlib import Path
    >>> spec = '[1, {"type": null, "context": null, "children_spec": []}]'
    >>> index = {
    ...     "chunks": [{"filename": "chunk-0-0.bin", "chunk_size": 1}],
    ...     "config": {"data_format": ["str"], "data_spec": spec},
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "index.json").write_text(json.dumps(index))
    ...     _ = Path(folder, "chunk-0-0.bin").write_bytes(np.array([1, 12, 18, 2], "<u4").tobytes() + b"hi")
    ...     LitDataDataset(folder)[0]
    'hi'
    """

    def __init__(self, path: str | os.PathLike[str], *, pickled: Sequence[str] = ()) -> None:
        self.path = os.fspath(path)
        index = read_index(self.path, "chunks")
        config = self._check_config(index.get("config"))
        paths, counts = [], []
        for chunk in index["chunks"]:
            if not isinstance(chunk, dict) or not isinstance(chunk.get("chunk_size"), int) or chunk["chunk_size"] < 0:
                raise CorruptDataError(f"{self.path}/{INDEX_NAME} has an entry that is no chunk: {chunk!r:.200}")
            paths.append(join(self.path, chunk.get("filename")))
            counts.append(chunk["chunk_size"])
        super().__init__(paths, counts)
        self._packed = bool(config.get("compression"))
        self._leaves: list[str] = config["data_format"]
        self._tree = Tree(config.get("data_spec"))
        if len(self._tree.names) != len(self._leaves):
            raise CorruptDataError(
                f"{self.path}/{INDEX_NAME} tells of {len(self._leaves)} fields, but its tree has "
                f"{len(self._tree.names)}; get the file anew"
            )
        self._pickled = list(pickled)
        self._find_decoders()

    def read_lengths(self, field: int | str | None = None) -> Iterator[NDArray[np.int64] | None] | None:
        """Yield how many items the arrays or bytes of samples have, by their headers; None where these do not tell.

        Args:
            field: the key or position; None for "input_ids", "tokens", the only one, or a sample that is the sequence.
        """
        name = sequence_field(self._tree.names, None if field is None else str(field))
        if name is None:
            return None
        leaf = self._tree.names.index(str(name))
        count = find_counter(self._leaves[leaf])
        return None if count is None else self._counted(leaf, count)

    def _counted(self, leaf: int, count: Counter) -> Iterator[NDArray[np.int64] | None]:
        for number, length in enumerate(self._lengths):
            shard = self._shard(number)
            for start in range(0, length, COUNTED):
                rows = np.arange(start, min(start + COUNTED, length))
                places = self._leaf_places(shard, rows, leaf) if isinstance(shard, ItemShard) else None
                yield None if places is None else count(shard.read_many, *places)

    def _leaf_places(
        self, shard: ItemShard, rows: NDArray[np.int64], leaf: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Return the bytes at which a leaf begins, and how many it has; None where leaves do not fill the items."""
        starts, sizes = shard.spans(rows)
        head = 4 * len(self._leaves)
        if (sizes < head).any():
            return None
        told = shard.read_many(starts, head).view("<u4").reshape(len(rows), -1).astype(np.int64)
        if not np.array_equal(told.sum(1) + head, sizes):
            return None
        return starts + head + told[:, :leaf].sum(1), told[:, leaf]

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the functions, which are found anew."""
        return {name: value for name, value in super().__getstate__().items() if name != "_decoders"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._find_decoders()

    def _find_decoders(self) -> None:
        self._decoders = [
            find_decoder(leaf, name, pickled=name in self._pickled)
            for leaf, name in zip(self._leaves, self._tree.names, strict=True)
        ]

    def _check_config(self, config: Any) -> dict[str, Any]:
        if not isinstance(config, dict) or not isinstance(config.get("data_format"), list):
            raise CorruptDataError(f"{self.path}/{INDEX_NAME} does not say what its fields are; get the file anew")
        if config.get("item_loader") == "TokensLoader":
            raise ArgumentError(f"{self.path} has tokens: read them with headrace.TokenDataset({self.path!r}, length)")
        if config.get("encryption"):
            raise StorageError(f"{self.path} is encrypted, which is not read; write it anew without encryption")
        return config

    def _open(self, number: int) -> Items:
        path, count = self.paths[number], self._lengths[number]
        source = open_source(path)
        if source.read(0, min(len(FRAMED), source.identity.size)).tobytes() == FRAMED:
            return FramedChunk(source, count)
        if self._packed:
            with Progress(lambda: "unpacking chunks of litData") as show:
                source = open_source(unpack(path, show, known=True))
        return ItemShard(source, count, self._counts)

    def _decode(self, item: bytes) -> Any:
        """Return the tree of a sample: the sizes of its leaves come first, then their bytes."""
        sizes = np.frombuffer(item, "<u4", len(self._leaves)).astype(np.int64)
        bounds = 4 * len(sizes) + np.append(0, np.cumsum(sizes))
        if bounds[-1] != len(item):
            raise CorruptDataError(f"its fields take {bounds[-1]} bytes, but it has {len(item)}")
        parts = (item[start:stop] for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
        leaves = [decode(part) for decode, part in zip(self._decoders, parts, strict=True)]
        return self._tree.build(iter(leaves))


def open_files(paths: list[str], *, fields: bool = True) -> Dataset[Any]:  # noqa: ARG001 - fields are always parsed
    """Return the dataset of one folder, or of several."""
    parts: list[Dataset[Any]] = [LitDataDataset(path) for path in paths]
    return parts[0] if len(parts) == 1 else ConcatDataset(parts)
