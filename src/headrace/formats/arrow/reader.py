"""Tables of Arrow and Parquet as record batches: the content of their files, and the reading of one batch."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from headrace.errors import CorruptDataError, StorageError
from headrace.formats.arrow.choice import ColumnChoice
from headrace.formats.arrow.stream import check_rest, check_stream
from headrace.io.compression import Unpacked, compression, most_unpacked
from headrace.io.disk import open_files
from headrace.io.source import LocalSource, open_source
from headrace.io.source_file import SourceFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from headrace.formats.arrow.record_batches import RecordBatch
    from headrace.io.source import ByteSource

__all__ = ["ArrowFile", "MemoryTable", "ParquetFile", "Table", "is_table", "open_table"]

_AT_ONCE = 1 << 24  # bytes
_PIECE, _MOST_PIECES = 1 << 20, 64  # bytes of a row group that are decoded at once, and how often
_SPACE = {".csv": ",", ".tsv": "\t"}  # what stands between the values of a line


class Table(Protocol):
    """Rows in record batches."""

    name: str  # of the file, for the texts of errors
    is_decoded: bool  # whether rows lie in memory, or in what is mapped, as they are
    lengths: list[int]  # how many rows each of them has; there is one at least
    types: dict[str, str]  # of the fields, alike where samples are alike

    def read(self, number: int) -> tuple[RecordBatch, int]:
        """Return a record batch, and how much memory it takes."""

    def read_lengths(self, number: int, name: str) -> NDArray[np.int64] | None:
        """Return how many items the lists of a field have, of a record batch; None where they are no lists."""

    def check(self) -> None:
        """Raise FileChangedError if what was read does not stay valid."""

    def will_need(self, number: int) -> None:
        """Begin to fetch a record batch that will be read soon."""


class ParquetFile:
    """A Parquet file, whose row groups are read as record batches.

    Args:
        path: of the file.
        columns: which are read; None for all.

    Raises:
        CorruptDataError: it is no Parquet file, or its footer is damaged.
        ArgumentError: it has no such column.
    """

    is_decoded = False

    def __init__(self, path: str, columns: Sequence[str] | None = None) -> None:
        self._source = open_source(path)
        self._columns = columns
        self.name = self._source.path
        self._metadata: Any = None
        file = self._open()
        self.lengths = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] or [0]
        if min(self.lengths) < 0:
            raise CorruptDataError(f"{self.name} has a damaged footer, which tells of {min(self.lengths)} rows")
        self._source.close()
        with _naming(self.name):
            self._choice = ColumnChoice(file.schema_arrow, columns, self.name)
        self.types = self._choice.types

    def read(self, number: int) -> tuple[RecordBatch, int]:
        """Return the rows of a row group, and how much memory they take."""
        rows = self._rows_of_piece(number)
        pieces = [self._read(number, self._choice.names)] if rows is None else self._read_pieces(number, rows)
        return self._choice.decode(*pieces), sum(piece.nbytes for piece in pieces)

    def read_lengths(self, number: int, name: str) -> NDArray[np.int64] | None:
        """Return how many items the lists of a field have, of a row group; None where they are no lists."""
        return self._choice.decode_column(self._read(number, [name]), name).row_lengths()

    def _read(self, number: int, names: list[str]) -> pa.Table:
        """Decode some columns of a row group."""
        with _naming(f"{self.name}, row group {number}"):
            file = self._open()
            table = (
                file.read_row_group(number, names, use_threads=False)
                if file.num_row_groups
                else file.schema_arrow.empty_table()
            )
        if len(table) != self.lengths[number]:
            raise CorruptDataError(
                f"{self.name}, row group {number} has {len(table)} rows, but the footer tells of {self.lengths[number]}"
            )
        self._source.close()  # of thousands of files, few are open
        return table

    def _rows_of_piece(self, number: int) -> int | None:
        """Return how many rows of a row group are decoded at once; None where it is decoded as a whole.

        Pieces that fit into the processor's cache are decoded in two thirds of the time.
        """
        if not self._choice.is_flat:  # what a row of others is depends on those that are decoded with it
            return None
        nbytes, length = self.unpacked_bytes(number), self.lengths[number]
        pieces = min(nbytes // _PIECE, _MOST_PIECES, length)
        return -(-length // pieces) if pieces > 1 else None

    def _read_pieces(self, number: int, rows: int) -> list[pa.RecordBatch | pa.Table]:
        """Decode the chosen columns of a row group in pieces of so many rows."""
        with _naming(f"{self.name}, row group {number}"):
            file = self._open()
            pieces = list(file.iter_batches(rows, [number], self._choice.names, use_threads=False))
        whole, rest = divmod(self.lengths[number], rows)
        if list(map(len, pieces)) != [rows] * whole + [rest] * (rest > 0):
            return [self._read(number, self._choice.names)]  # pyarrow promises no lengths
        self._source.close()
        return pieces

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return _is_local(self._source)

    def check(self) -> None:
        """Nothing: what was decoded does not depend on the file any more."""

    def will_need(self, number: int) -> None:
        """Ask the system to read the chosen columns of a row group."""
        with suppress(StorageError):  # a read will raise it
            group = (self._metadata or self._open().metadata).row_group(number)
            chunks = [group.column(number) for number in range(group.num_columns)]
            chosen = [chunk for chunk in chunks if self._is_read(chunk.path_in_schema)]
            starts = [chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chosen]
            sizes = [chunk.total_compressed_size for chunk in chosen]
            self._source.will_need(np.array(starts, np.int64), np.array(sizes, np.int64))

    def unpacked_bytes(self, number: int) -> int:
        """Return about how much memory the chosen columns of a row group take, as far as the footer tells."""
        group = (self._metadata or self._open().metadata).row_group(number)
        columns = [group.column(number) for number in range(group.num_columns)]
        return sum(column.total_uncompressed_size for column in columns if self._is_read(column.path_in_schema))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_metadata": None}

    def _is_read(self, path: str) -> bool:
        return any(path == name or path.startswith(f"{name}.") for name in self._choice.names)

    def _open(self) -> pq.ParquetFile:
        """Open a reader of its own for each use, since one does not serve several threads; the footer is read once."""
        with _naming(self.name):
            file = pq.ParquetFile(
                _reader(self._source, _map(self._source)),
                metadata=self._metadata,
                page_checksum_verification=True,
                pre_buffer=not _is_local(self._source),  # joins the ranges of what lies far away
            )
        self._metadata = file.metadata
        return file


class ArrowFile:
    """A file in Arrow's IPC format (Feather's too), as file or as stream, read by its record batches.

    What is not compressed is not read, but mapped.

    Args:
        path: of the file.
        columns: which are read; None for all.

    Raises:
        CorruptDataError: it is no such file, or damaged.
        ArgumentError: it has no such column.
    """

    def __init__(self, path: str, columns: Sequence[str] | None = None) -> None:
        self._source = open_source(path)
        self.name = self._source.path
        self._opened: tuple[int, _Batches] | None = None
        batches = self._open()
        with _naming(self.name):
            self._choice = ColumnChoice(batches.schema, columns, self.name)
            self.lengths = batches.lengths()
            self.is_decoded = batches.maps(batches.read(0))
        self.types = self._choice.types

    def read(self, number: int) -> tuple[RecordBatch, int]:
        """Return the rows of a record batch, and how much memory they take."""
        with _naming(f"{self.name}, record batch {number}"):
            batches = self._open()
            batch = batches.read(number)
            batch.validate()
            made = self._choice.decode(batch)
        return made, 0 if batches.maps(batch) else batch.nbytes

    def read_lengths(self, number: int, name: str) -> NDArray[np.int64] | None:
        """Return how many items the lists of a field have, of a record batch; None where they are no lists."""
        with _naming(f"{self.name}, record batch {number}"):
            batch = self._open().read(number)
            batch.validate()
            return self._choice.decode_column(batch, name).row_lengths()

    def check(self) -> None:
        """Raise FileChangedError if the file is not what it was."""
        if isinstance(self._source, LocalSource):
            self._source.check()

    def will_need(self, number: int) -> None:
        """Nothing: the system reads what is mapped."""

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_opened": None}

    def _open(self) -> _Batches:
        if self._opened is None or self._opened[0] != os.getpid():
            with _naming(self.name):
                self._opened = os.getpid(), _Batches(self._source)
        return self._opened[1]


class _Batches:
    """The record batches of an open file."""

    def __init__(self, source: ByteSource) -> None:
        self._lock = Lock()  # a reader does not serve several threads
        self._mapped = _map(source)
        try:
            self._reader = pa.ipc.open_file(_reader(source, self._mapped))
        except pa.ArrowInvalid:  # it may be a stream, which has no footer
            self._reader = None
            check_stream(source)
            file = _reader(source, self._mapped)
            stream = pa.ipc.open_stream(file)
            self.schema, self._batches = stream.schema, list(stream) or [_empty(stream.schema)]
            check_rest(source, file.tell())
        else:
            self.schema = self._reader.schema
            self._batches = [] if self._reader.num_record_batches else [_empty(self.schema)]

    def lengths(self) -> list[int]:
        """Return the number of rows of each record batch."""
        count = len(self._batches) or self._reader.num_record_batches
        return [len(self.read(number)) for number in range(count)]

    def read(self, number: int) -> pa.RecordBatch:
        """Return a record batch."""
        if self._batches:
            return self._batches[number]
        with self._lock:
            return self._reader.get_batch(number)

    def maps(self, batch: pa.RecordBatch) -> bool:
        """Return whether a batch has no memory of its own."""
        if self._mapped is None:
            return False
        start, stop = self._mapped.address, self._mapped.address + self._mapped.size
        buffers = (buffer for column in batch.columns for buffer in column.buffers() if buffer is not None)
        return all(start <= buffer.address <= stop for buffer in buffers if buffer.size)


class MemoryTable:
    """A table in memory.

    Args:
        table: a pyarrow Table or RecordBatch.
        columns: which are read; None for all.
        name: for the texts of errors.

    Raises:
        ArgumentError: it has no such column.
    """

    is_decoded = True

    def __init__(self, table: Any, columns: Sequence[str] | None = None, name: str = "the table") -> None:
        whole = pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table
        self.name = name
        self._choice = ColumnChoice(whole.schema, columns, name)
        chosen = whole.select(self._choice.tops)  # the others need not go to workers
        self._batches = chosen.to_batches() or [_empty(chosen.schema)]
        self.lengths = [len(batch) for batch in self._batches]
        self.types = self._choice.types

    def read(self, number: int) -> tuple[RecordBatch, int]:
        """Return some rows, which take no memory of their own."""
        return self._choice.decode(self._batches[number]), 0

    def read_lengths(self, number: int, name: str) -> NDArray[np.int64] | None:
        """Return how many items the lists of a field have, of some rows; None where they are no lists."""
        return self._choice.decode_column(self._batches[number], name).row_lengths()

    def check(self) -> None:
        """Nothing: memory does not change."""

    def will_need(self, number: int) -> None:
        """Nothing: it is in memory."""


def is_table(data: object) -> bool:
    """Return whether it is a table in memory."""
    return isinstance(data, pa.Table | pa.RecordBatch)


def open_table(data: Any, columns: Sequence[str] | None) -> Table:
    """Return the table in memory, or in the Arrow or CSV file at a path."""
    if is_table(data):
        return MemoryTable(data, columns)
    return _read_csv(data, columns) if _separator(data) else ArrowFile(data, columns)


def _read_csv(path: str, columns: Sequence[str] | None = None) -> MemoryTable:
    """Return the table in a file of comma-separated values, or of tab-separated ones if its name ends in .tsv.

    Raises:
        CorruptDataError: its lines do not have as many values each.
        StorageError: it is compressed, and holds too much.
    """
    text = _unpacked(path) if "://" in path or compression(path) else path
    with _naming(path):
        table = pyarrow.csv.read_csv(text, parse_options=pyarrow.csv.ParseOptions(delimiter=_separator(path) or ","))
    return MemoryTable(table, columns, path)


def _unpacked(path: str) -> pa.BufferReader:
    """Return the content of a file that is compressed, or lies far away."""
    source = open_source(path)
    with Unpacked(source, most_unpacked(source)) as content:
        return pa.BufferReader(b"".join(iter(partial(content.read, _AT_ONCE), b"")))


def _separator(path: str) -> str | None:
    names = path.partition("?")[0] if "://" in path else path
    names = names.lower().removesuffix(".gz").removesuffix(".bz2")
    return next((separator for ending, separator in _SPACE.items() if names.endswith(ending)), None)


class _naming:  # noqa: N801 - a context manager reads like a function
    """Let errors of pyarrow name the file."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, pa.ArrowException | OSError) and re.search("[dn]e?crypt", str(error)):
            raise StorageError(
                f"{self._where} is encrypted, and there are no keys here ({error}); decrypt it to another file, or "
                "give ArrowDataset the table that pyarrow.parquet.read_table(path, decryption_properties=...) reads"
            ) from error
        if isinstance(error, pa.ArrowInvalid | pa.ArrowSerializationError) or type(error) is OSError:
            raise CorruptDataError(f"{self._where} cannot be read as what it should be: {error}") from error
        if isinstance(error, pa.ArrowException | UnicodeDecodeError):  # what it cannot do, or a damaged file asks for
            raise StorageError(f"pyarrow cannot read {self._where}: {error}") from error


def _is_local(source: ByteSource) -> bool:
    return type(source) is LocalSource


def _map(source: ByteSource) -> pa.Buffer | None:
    """Map the bytes of a file of this machine by pyarrow, which keeps no descriptor for it; None for others."""
    if not isinstance(source, LocalSource) or not _is_local(source):
        return None
    source.check()
    if not source.identity.size:
        return pa.py_buffer(b"")
    try:
        with open_files.opening(lambda: pa.memory_map(os.fsencode(source.path))) as file:
            content = file.read_buffer()
    except OSError as error:
        raise StorageError(f"{source.path} cannot be read: {error}") from error
    source.check()  # that it is still the one that was opened
    return content


def _reader(source: ByteSource, mapped: pa.Buffer | None) -> pa.NativeFile:
    return pa.PythonFile(SourceFile(source), "r") if mapped is None else pa.BufferReader(mapped)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], kind) for kind in schema.types], schema=schema)
