"""`headrace convert`: what lies at a path is written to another one."""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from headrace.cli.rate import bar, summary
from headrace.cli.target import find_object, made, names_object
from headrace.convert.write import write_dataset
from headrace.errors import ArgumentError
from headrace.formats.opening import format_at, open_dataset
from headrace.io.remote import is_remote
from headrace.pipeline.reading import check_dataset

if TYPE_CHECKING:
    from headrace.pipeline.reading import Indexable

__all__ = ["open_source", "run"]


def run(
    source: str, target: str, *, limit: int | None = None, train: bool = True, workers: int = 0, **arguments: Any
) -> None:
    """Write, with a line of progress on terminals, and print where it went and how fast.

    Args:
        source: a path, a pattern, or `module:object`.
        target: where to.
        limit: write only so many samples, from the first on.
        train: which part of MNIST and CIFAR.
        workers: workers that read and encode.
        **arguments: of `headrace.write_dataset`.
    """
    dataset = open_source(source, raw=_writes_tar(target, arguments.get("format")), train=train)
    if limit is not None:
        dataset = _limited(dataset, limit)
    start = monotonic()
    try:
        with bar("writing") as progress:
            written = write_dataset(dataset, target, workers=workers, progress=progress, **arguments)
    except KeyboardInterrupt:
        if is_remote(target):
            print("stopped; what is written is kept: go on with --resume", file=sys.stderr)
        elif Path(f"{target}.writing").exists():
            print(f"stopped; what is written is in {target}.writing: go on with --resume", file=sys.stderr)
        raise
    several = f"{written.paths[0]} ... {Path(written.paths[-1]).name}, {len(written.paths)} shards"
    print(several if len(written.paths) > 1 else written.paths[0])
    print(summary(written.samples, written.bytes, monotonic() - start))


def open_source(source: str, *, raw: bool = False, train: bool = True) -> Indexable[Any]:
    """Open the dataset of a source.

    Args:
        source: a path, a pattern, or `module:object` for a dataset, or a function that makes one.
        raw: leave the files of a tar as they are.
        train: which part of MNIST and CIFAR.

    Raises:
        ArgumentError: there is no such module, object or path.
    """
    if names_object(source):
        found: Indexable[Any] = made(find_object(source, "give a path, or module:object"))
        check_dataset(found, source)
        return found
    try:
        form, _ = format_at(source)
        return open_dataset(source, images=False, fields=not (raw and form == "tar"), train=train)
    except FileNotFoundError as error:
        raise ArgumentError(str(error)) from error


def _writes_tar(target: str, form: str | None) -> bool:
    return form == "tar" or (form is None and target.endswith(".tar"))


def _limited(dataset: Indexable[Any], limit: int) -> Indexable[Any]:
    from headrace.datasets.compose import Subset

    if limit < 1:
        raise ArgumentError(f"limit must be at least 1, got {limit}")
    return Subset(dataset, range(min(limit, len(dataset))))
