"""Records of TFRecord files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headrace.batch.collate import default_collate
from headrace.errors import StorageError
from headrace.formats.decoders import FieldDecoders
from headrace.formats.indexed_records import IndexedRecords, unpacked_paths
from headrace.formats.record_files import RecordFiles
from headrace.formats.tfrecord.example_reader import ExampleReader
from headrace.formats.tfrecord.fields import FieldRestorer
from headrace.formats.tfrecord.framing import TFRECORD, TFRECORD_UP_TO_DAMAGE
from headrace.formats.tfrecord.summary import SUMMARY, Summary
from headrace.pipeline.reading import check_index, check_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike

    from numpy.typing import NDArray

    from headrace.datasets.base import Dataset


__all__ = ["TFRecordDataset", "open_files", "open_up_to_damage"]


class TFRecordDataset(IndexedRecords):
    """Records of TFRecord files, in any order.

    An index of each file is built when it is first used, and kept beside it. It says where each record
    is; the file's own sums say whether it is whole.

    Args:
        paths: a file, a pattern such as `"train-*.tfrecord"`, or several of them. Records are in the
            order of the files; those of a pattern are sorted by name. Files that are compressed are unpacked
            first, to where indexes are kept that cannot lie beside their files; a warning says so.
        decode: takes the bytes of a record and returns the sample; None for the bytes themselves. With
            features a dict of such functions by feature, such as `{"image": Decode()}`.
        features: of records that are tf.train.Example or SequenceExample what to read, by name: `bytes`,
            `str` or a dtype for a single value, `(dtype, shape)` for several, `(dtype, None)` for any number
            of them. "all" for those that any record has: a single value is None in records without it, and several
            are none. A sample is then a dict.
        steps: in the same manner what to read of the steps of a SequenceExample: arrays of one value a step.
        verify: whether to hold each record against its CRC32C when it is read.
        progress: whether to show on stderr how far it is while indexes are built; by default after two
            seconds, where that is a terminal.
        max_unpacked_bytes: how large a file may be that is unpacked; by default a hundred times its size, and a GiB.

    Raises:
        FileNotFoundError: a file is not there.
        ArgumentTypeError: decode cannot be called, or a feature is described as what there is not.
        StorageError: when it is read, a record has no such feature, or one of another kind or shape.
        CorruptDataError: a file is no TFRecord file, is cut short or damaged; or when it is read, a
            record is not what its CRC32C says. The text names the file, the offset and the sample.
        FileChangedError: a file has changed since it was opened.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from headrace.formats.tfrecord.framing import frame
    >>> with TemporaryDirectory() as folder:
    ...     for shard in range(2):
    ...         _ = Path(folder, f"{shard}.tfrecord").write_bytes(frame(b"a") + frame(b"b%d" % shard))
    ...     TFRecordDataset(f"{folder}/*.tfrecord")[3]
    b'b1'
    >>> from headrace.formats.tfrecord.example import encode
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.tfrecord").write_bytes(frame(encode({"image": b"...", "label": 7})))
    ...     TFRecordDataset(f"{folder}/*.tfrecord", features={"image": bytes, "label": np.int64})[0]
    {'image': b'...', 'label': np.int64(7)}
    """

    _index_format = TFRECORD

    def __init__(
        self,
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        decode: Callable[[bytes], Any] | Mapping[str, Callable[[Any], Any]] | None = None,
        *,
        features: Mapping[str, Any] | Literal["all"] | None = None,
        steps: Mapping[str, Any] | None = None,
        verify: bool = True,
        progress: bool | None = None,
        max_unpacked_bytes: int | None = None,
    ) -> None:
        parses = features is not None or steps is not None
        super().__init__(None if parses else decode, verify=verify)  # type: ignore[arg-type]
        self.paths, plain = unpacked_paths(paths, "TFRecord", progress=progress, max_unpacked_bytes=max_unpacked_bytes)
        self._files = RecordFiles(plain, self._index_format, progress=progress)
        self._decoders = FieldDecoders(decode if parses else None)  # type: ignore[arg-type]
        self._reader = self._make_reader(features, steps) if parses else None

    @property
    def has_examples(self) -> bool:
        """Whether the records are tf.train.Example with features, which features="all" reads."""
        return self._summary().has_examples

    @property
    def feature_names(self) -> list[str]:
        """The keys of a sample; empty where a sample is the bytes of a record."""
        return [] if self._reader is None else [*self._reader.features, *self._reader.steps]

    def __getitem__(self, index: int, /) -> Any:
        if self._reader is None:
            return super().__getitem__(index)
        position = check_index(index, len(self))
        columns = self._parse(self._reader, np.array([position]))
        sample = {name: values[0] for name, values in columns.items()}
        return self._decoders.sample(sample, lambda: self._describe(position))

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Return the samples at the indices."""
        if self._reader is None:
            return super().__getitems__(indices)
        positions = check_indices(np.array(indices, np.int64), len(self))
        return self._decoders.samples(self._parse(self._reader, positions), positions, self._describe)

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64."""
        if self._reader is None:
            return super().get_batch(indices)
        indices = check_indices(indices, len(self))
        columns = {
            name: values if name in self._decoders.functions else _as_batch(values, indices)
            for name, values in self._parse(self._reader, indices).items()
        }
        return self._decoders.batch(columns, indices, self._describe)

    def image_layout(self, field: int | str | None) -> str | None:
        """Return where the channels of the images in a field are, if that is known."""
        return super().image_layout(field) or self._decoders.image_layout(field)

    def releases_gil(self) -> bool:
        """Return whether records are read, and decoded, in several threads at the same time."""
        return super().releases_gil() and self._decoders.releases_gil()

    def _parse(self, reader: ExampleReader, indices: NDArray[np.int64]) -> dict[str, Any]:
        located = self._files.bounds.locate(indices)
        records = self._files.rows("records", located)
        packed = self._files.read(located, records, indices, verify=self.verify)
        return reader.read(packed, lambda place: self._describe(int(indices[place])))

    def _make_reader(
        self, features: Mapping[str, Any] | Literal["all"] | None, steps: Mapping[str, Any] | None
    ) -> ExampleReader:
        if features != "all":
            return ExampleReader(features or {}, steps)
        if not len(self):
            raise StorageError(f"there are no records in {', '.join(self.paths[:3])}: give the features by name")
        try:
            found, found_steps = self._summary().infer()
        except StorageError as error:
            raise type(error)(f"{', '.join(self.paths[:3])}: {error}") from error
        return ExampleReader(found, found_steps if steps is None else steps)

    def _summary(self) -> Summary:
        """Return the summary of the features of all files."""
        files = range(len(self.paths))
        return Summary([{name: self._files.table(number, name) for name in SUMMARY} for number in files], len(self))

    def _describe(self, index: int) -> str:
        return f"sample {index}: {self.where(index)},"


def _as_batch(values: Any, indices: NDArray[np.int64]) -> Any:
    """Return the batch of some values, which may be one already."""
    is_list = isinstance(values, list) and values and not isinstance(values[0], bytes | str)
    return default_collate(values, indices) if is_list else values


class _DamagedTFRecords(TFRecordDataset):
    _index_format = TFRECORD_UP_TO_DAMAGE


def open_files(paths: list[str], *, fields: bool = True, kind: type[TFRecordDataset] = TFRecordDataset) -> Dataset[Any]:
    """Return the dataset of some files, its tf.train.Examples parsed if asked for."""
    dataset = kind(paths)
    if not fields or not dataset.has_examples:
        return dataset
    parsed = kind(paths, features="all")
    restore = FieldRestorer(parsed.feature_names)
    return parsed.map(restore) if restore.fields else parsed


def open_up_to_damage(path: str) -> Dataset[Any]:
    """Return the dataset of what comes before the damage in a file."""
    return open_files([path], kind=_DamagedTFRecords)
