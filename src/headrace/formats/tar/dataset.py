"""Samples in tar archives, in WebDataset's convention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.datasets.base import Dataset
from headrace.errors import ArgumentError, StorageError
from headrace.formats.decoders import FieldDecoders, check_fields
from headrace.formats.tar.archive import TAR, TAR_UP_TO_DAMAGE
from headrace.formats.tar.fields import decoder
from headrace.formats.tar.index import KEY, TarFiles
from headrace.io.compression import check_readable, compression, is_packed_name
from headrace.io.paths import find_paths
from headrace.io.ranges import announce
from headrace.pipeline.reading import check_index, check_indices, read_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from headrace.io.ranges import FileRanges

__all__ = ["TarDataset", "open_files", "open_up_to_damage"]


class TarDataset(Dataset[dict[str, Any]]):
    """Samples in tar archives, in any order: WebDataset's shards, read by index.

    Files that follow each other in an archive and have one basename are a sample: of
    `000/cat.7.jpg` the key is `000/cat`, and `7.jpg` the field. A sample is the dict of its fields, in lower
    case, and of its key as "__key__". Links and folders are passed over, and files whose name has no ending.

    An index of each archive is built when it is first used, and kept beside it. It says where each file is,
    and has its CRC32C.

    Args:
        paths: an archive, a pattern such as `"train-*.tar"` or `"train-{000..146}.tar"`, or several of them.
            Samples are in the order of the archives; those of a pattern are sorted by name.
        decode: for some fields a function that takes their bytes and returns what stands in the sample,
            such as `{"jpg": Decode(), "cls": int, "json": json.loads}`; the others stay bytes.
        fields: the fields to read, in this order, and "__key__" if that is wanted; each sample must have
            them. None for all that there are.
        verify: whether to hold each file against the CRC32C that it had when the index was built.
        progress: whether to show on stderr how far it is while indexes are built; by default after two
            seconds, where that is a terminal.

    Attributes:
        paths: of the archives.
        names: of all fields that a sample has.

    Raises:
        FileNotFoundError: an archive is not there.
        CorruptDataError: one is no tar, is compressed, cut short or damaged. The text names the file and the
            offset; and the sample, when that is read.
        StorageError: it holds sparse files, two files of one name in a sample, or no samples at all.
        FileChangedError: an archive has changed since it was opened.

    >>> import io, tarfile
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with tarfile.open(Path(folder, "a.tar"), "w") as archive:
    ...         for name, content in {"7.txt": b"seven", "7.cls": b"3"}.items():
    ...             member = tarfile.TarInfo(name)
    ...             member.size = len(content)
    ...             archive.addfile(member, io.BytesIO(content))
    ...     TarDataset(Path(folder, "a.tar"), decode={"cls": int})[0]
    {'__key__': '7', 'txt': b'seven', 'cls': 3}
    """

    _index_format = TAR

    def __init__(
        self,
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        decode: Mapping[str, Callable[[bytes], Any]] | None = None,
        *,
        fields: Sequence[str] | None = None,
        verify: bool = True,
        progress: bool | None = None,
    ) -> None:
        self._decoders = FieldDecoders(decode)
        self.fields = None if fields is None else check_fields(fields)
        self.verify = verify
        self.paths = find_paths(paths)
        _check_plain(self.paths)
        self._tars = TarFiles(self.paths, progress=progress, index_format=self._index_format)
        if not len(self):
            raise StorageError(
                f"there are no samples in {', '.join(self.paths[:3])}: no file in it has a name such as KEY.FIELD"
            )
        self.names = list(self._tars.fields)
        _check_known([*self._decoders.functions, *(self.fields or ())], self.names)

    def __len__(self) -> int:
        return len(self._tars)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        position = check_index(index, len(self))
        columns = self._tars.read(np.array([position]), self.fields, verify=self.verify)
        sample = {name: value for name, (value,) in columns.items()}
        return self._decoders.sample(sample, lambda: self._tars.where(position))

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """Return the samples at the indices."""
        positions = check_indices(np.array(indices, np.int64), len(self))
        try:
            columns = self._tars.read(positions, self.fields, verify=self.verify)
        except StorageError:  # they may only have different fields, which is no error of a list
            return read_each(self.__getitem__, indices, type(self).__name__)
        return self._decoders.samples(columns, positions, self._tars.where)

    def get_batch(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        """Return the batch at the indices, shape (n,), int64; fields stay lists of bytes without `decode`."""
        indices = check_indices(indices, len(self))
        columns = self._tars.read(indices, self.fields, verify=self.verify)
        return self._decoders.batch(columns, indices, self._tars.where)

    def image_layout(self, field: int | str | None) -> str | None:
        """Return where the channels of the images in a field are, if that is known."""
        return self._decoders.image_layout(field)

    def releases_gil(self) -> bool:
        """Return whether samples are read, and decoded, in several threads at the same time."""
        return self._decoders.releases_gil()

    def blocks(self) -> NDArray[np.int64]:
        """Return where blocks of neighbours begin, of a few megabytes in one archive, and where the last one ends."""
        return self._tars.files.blocks()

    def reads_ahead(self) -> bool:
        """Return whether it is of use to say early what will be read: where files are far away, or not in memory."""
        return self._tars.files.reads_ahead()

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Begin to read the samples at the indices, shape (n,), int64."""
        announce(self.byte_ranges(indices))

    def byte_ranges(self, indices: NDArray[np.int64]) -> list[FileRanges]:
        """Return where the fields that are read lie, of the samples at the indices, shape (n,), int64."""
        return self._tars.byte_ranges(indices, self.fields)

    def counters(self) -> dict[str, int]:
        """Return how many bytes were read, and of files far away with how many requests."""
        return self._tars.files.counts.totals()

    def where(self, index: int) -> str:
        """Describe a sample for the texts of errors: its index, its archive and its key."""
        return self._tars.where(index)

    def close(self) -> None:
        """Give up the archives that are open; reading opens them again."""
        self._tars.files.close()


def _check_plain(paths: Sequence[str]) -> None:
    """Refuse archives that are compressed.

    Raises:
        StorageError: it says what to do with them.
    """
    for path in paths:
        kind = compression(path) if "://" not in path or is_packed_name(path) else None
        check_readable(path, kind)
        if kind is not None:
            raise StorageError(
                f"{path} is compressed with {kind}, so a sample can only be reached through all that is before it: "
                "unpack it to read it in any order, or read it as a stream with headrace.TarStream"
            )


def _check_known(names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names of fields that there are not.

    Raises:
        ArgumentError: with those that there are.
    """
    unknown = [name for name in names if name not in known and name != KEY]
    if unknown:
        raise ArgumentError(f"no sample has a field {unknown[0]!r}; there are {', '.join(map(repr, known))}")


class _DamagedTar(TarDataset):
    _index_format = TAR_UP_TO_DAMAGE


def open_files(paths: list[str], *, fields: bool = True, kind: type[TarDataset] = TarDataset) -> TarDataset:
    """Return the dataset of some archives, the fields of its samples parsed by their names if asked for."""
    dataset = kind(paths)
    decode = {name: function for name in dataset.names if (function := decoder(name)) is not None}
    return kind(paths, decode) if fields and decode else dataset


def open_up_to_damage(path: str) -> TarDataset:
    """Return the dataset of what comes before the damage in an archive."""
    return open_files([path], kind=_DamagedTar)
