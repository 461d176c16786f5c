"""Writing: a dataset is read as it is for training, and written in the order of its samples."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.convert.chunks import EncodedChunks
from headrace.convert.fields import Fields
from headrace.convert.journal import Journal, Mark, is_moving
from headrace.convert.output_paths import OutputPaths
from headrace.convert.remote_paths import RemoteOutputPaths
from headrace.convert.shards import Shards
from headrace.convert.sizes import parse_size
from headrace.convert.undecoded import field_names, undecoded
from headrace.convert.workers import useful_workers
from headrace.datasets.tables import as_dataset
from headrace.errors import ArgumentError, DestinationExistsError
from headrace.formats.registry import find_format, formats, writable_formats
from headrace.io.remote import is_remote
from headrace.loader.dataloader import DataLoader

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from headrace.formats.writer import OutputFormat
    from headrace.pipeline.reading import Indexable

__all__ = ["Written", "write_dataset"]

_ENOUGH = 1 << 22  # bytes of a chunk
_MOST = 1024  # samples of a chunk

Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Written:
    """The result of a conversion.

    Attributes:
        paths: the shards: each a Path, or the address as str.
        samples: how many samples they hold.
        bytes: what these take in them.
    """

    paths: list[Any]
    samples: int
    bytes: int


def write_dataset(
    dataset: Indexable[Any],
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - what users call it
    fields: Sequence[str] | None = None,
    shard_size: int | str | None = None,
    shard_samples: int | None = None,
    workers: int = 0,
    backend: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Write the samples of a dataset to files of a common format, from which they are read faster.

    The same samples give the same bytes, whatever the workers. Nothing is at the path before all of
    it is whole: until then it lies in a folder beside it, `PATH.writing`, from which a conversion that
    was stopped, in whatever way, goes on with `resume=True`, and to the same bytes.

    Args:
        dataset: any object with `__len__` and `__getitem__`. A sample is an array, a number, str or
            bytes, or a tuple, dict or dataclass of them. Image files that the dataset would decode,
            and do nothing else with, are written as they are.
        path: the file, or for "lmdb" and "npy" the folder, to write. With shards, it gets a number
            before its ending for each of them; without an ending it becomes a folder of shards. An address such as
            "s3://bucket/name.tar" goes through fsspec: each shard is written to a folder of this machine, then
            uploaded in parts, and all get their names when the last one is there.
        format: "tar", "tfrecord", "lmdb", "parquet" or "npy"; by default what the ending of path says,
            and "npy" where it has none.
        fields: the names of the positions of samples that are tuples; by default "image" and "label"
            for datasets of images, else "0", "1" and so on.
        shard_size: bytes that the samples of one shard take at most, if it is not one sample alone: a
            number or a text as "256 MB". By default there is one shard.
        shard_samples: the most samples of one shard.
        workers: workers that read and encode samples; 0 does that in the calling thread.
        backend: what they are, "thread", "process" or "ray"; "auto" as for the DataLoader.
        resume: go on with a conversion that was stopped; begin, if there is none.
        overwrite: replace what is at the path, once all is whole, and begin anew if a conversion was stopped.
        progress: called with the samples written, all samples, and the bytes so far.

    Returns:
        The paths of the shards, and how many samples and bytes they hold.

    Raises:
        ArgumentError: an argument is not allowed, or the format cannot hold the samples.
        DestinationExistsError: something is at the path (also a FileExistsError).
        StateError: what is to be resumed is a conversion of another dataset, or of other arguments.
        StorageError: the disk is full, or another process is writing to the path (also an OSError).

    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> from headrace import NpyDataset, TensorDataset
    >>> digits = TensorDataset(np.zeros((100, 28, 28), np.uint8), np.arange(100) % 10)
    >>> with TemporaryDirectory() as folder:
    ...     written = write_dataset(digits, f"{folder}/digits", format="npy", fields=["image", "label"])
    ...     NpyDataset(f"{folder}/digits")[7]["label"]
    np.int64(7)
    """
    dataset = as_dataset(dataset)
    if len(dataset) == 0:
        raise ArgumentError("there is nothing to write: the dataset has no samples")
    limits = parse_size("shard_size", shard_size), parse_size("shard_samples", shard_samples)
    output_paths = _output_paths(path, format, sharded=limits != (None, None))
    output_paths.check_free(overwrite=overwrite or (resume and is_moving(output_paths.work)))  # before anything is read
    chunks, identity = _describe(dataset, fields, output_paths.format)
    identity |= {"shard_size": limits[0], "shard_samples": limits[1]}
    with Journal(output_paths.work, identity, resume=resume, overwrite=overwrite) as journal:
        try:
            output_paths.check_free(overwrite=overwrite or journal.mark.moving)
            useful = useful_workers(workers, len(chunks))
            loader = DataLoader(chunks, None, seed=0, num_workers=useful, backend=backend)
            with loader, closing(Shards(output_paths, journal, *limits)) as shards:
                _write(loader, shards, len(dataset), progress)
                count = shards.complete()
        except BaseException:
            if journal.mark == Mark():  # there is nothing to go on from
                shutil.rmtree(output_paths.work)
            raise
        _check_still_free(output_paths, journal, overwrite=overwrite)
        return Written(output_paths.move_in(count), len(dataset), journal.mark.total)


def _output_paths(path: str | os.PathLike[str], form: str | None, *, sharded: bool) -> OutputPaths | RemoteOutputPaths:
    """Return the names of the shards, on this machine or at addresses."""
    if is_remote(path):
        address = str(path).rstrip("/")
        output = find_format(_format_name(Path(address.partition("://")[2]), form)).output()
        return RemoteOutputPaths(address, output, sharded)
    local = Path(path).expanduser()
    return OutputPaths(local, find_format(_format_name(local, form)).output(), sharded)


def _check_still_free(output_paths: OutputPaths | RemoteOutputPaths, journal: Journal, *, overwrite: bool) -> None:
    """See that nothing came to the path since the conversion began, and note that the shards go there now."""
    if journal.mark.moving:
        return
    try:
        output_paths.check_free(overwrite=overwrite)
    except DestinationExistsError as error:
        error.add_note(
            f"it was not there when the conversion began, which is whole in {output_paths.work}: put it in place of "
            "what is there with resume=True, overwrite=True, or move that away and go on with resume=True"
        )
        raise
    journal.put(replace(journal.mark, moving=True))


def _format_name(path: Path, given: str | None) -> str:
    names = writable_formats()
    endings = {extension: each for each in names for extension in formats()[each].extensions}
    if given is None and endings.pop(".npy") and path.suffix == ".npy":
        raise ArgumentError(
            f"format 'npy' is a folder with a file for each field: call it {path.stem}, not {path.name}"
        )
    found = endings.get(path.suffix, "npy" if not path.suffix else None) if given is None else given
    if found not in names:
        got = f"got format={given!r}" if given else f"{path.name} ends in none of {', '.join(endings)}; give format="
        raise ArgumentError(f"format must be one of {', '.join(names)}, but {got}")
    return found


def _describe(
    dataset: Indexable[Any], fields: Sequence[str] | None, form: OutputFormat
) -> tuple[EncodedChunks, dict[str, Any]]:
    """Return the dataset in chunks of a good size, and what tells it from others; three samples stand for all."""
    names = field_names(dataset) if fields is None else list(fields)
    dataset = undecoded(dataset, classes=fields is None)
    known = Fields(names, dataset[0])
    samples = EncodedChunks(dataset, known, form)
    digest, sizes = blake2b(digest_size=16), []
    for index in sorted({0, len(samples) // 2, len(samples) - 1}):
        chunk = samples[index]
        sizes.append(int(chunk.sizes[0]))
        digest.update(chunk.content())
    size = int(np.clip(_ENOUGH // max(1, sum(sizes) // len(sizes)), 1, _MOST))
    identity = {"format": form.name, "samples": len(samples), "fields": known.names, "content": digest.hexdigest()}
    return EncodedChunks(dataset, known, form, size), {**identity, "chunk": size}


def _write(loader: DataLoader[Any], shards: Shards, total: int, progress: Progress | None) -> None:
    """Write what is not yet written. The loader goes on in the midst of an epoch, as after any stop."""
    if shards.next == total:
        return
    loader.load_state_dict({**loader.state_dict(), "step": shards.next // loader.dataset.size})
    for chunk in loader:
        written = shards.next - chunk.first  # of this chunk, before a stop
        shards.write(chunk.cut(written, len(chunk.sizes)) if written > 0 else chunk)
        if progress is not None:
            progress(shards.next, total, shards.bytes)
