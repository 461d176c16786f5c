"""Formats of files: the names of their files, and what reads and writes them.

A format describes itself in its own package, in `FORMATS`. Those of headrace are listed here; one that another
distribution brings is an entry point of the group `headrace.formats`. What a format needs is imported when it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError
from headrace.plugins import by_name, load_plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from headrace.datasets.base import Dataset
    from headrace.formats.writer import OutputFormat

__all__ = ["FileFormat", "find_format", "formats", "writable_formats"]

# The packages of headrace's own formats, in the order in which a folder of files is looked through.
_PACKAGES: tuple[str, ...] = ("tar", "tfrecord", "lmdb", "arrow", "npy", "tokens", "jsonl")
_PACKAGES += ("mds", "litdata", "hdf5", "zarr", "arrayrecord", "lance")
_GROUP = "headrace.formats"


@dataclass(frozen=True)
class FileFormat:
    """A format of files.

    Attributes:
        name: what users call it, as in `write_dataset(..., format=name)`.
        extensions: how the names of its files end, each with its dot.
        reader: "module:function", which opens a dataset: called with the paths of its files, and `fields`, whether to
            parse what the fields of samples hold.
        writer: "module:class" of what writes it, a `headrace.formats.writer.OutputFormat`; None where nothing does.
        extra: the extra of headrace that brings the libraries it needs; None for none.
        is_folder: tells whether a folder is one file of this format.
        rescue: "module:function" that opens what comes before the damage in a file; None where nothing can.
    """

    name: str
    extensions: tuple[str, ...]
    reader: str
    writer: str | None = None
    extra: str | None = None
    is_folder: Callable[[Path], bool] | None = None
    rescue: str | None = None

    def open(self, paths: Sequence[str], *, fields: bool = True) -> Dataset[Any]:
        """Return the dataset of some files.

        Args:
            paths: of the files.
            fields: parse what the fields of samples hold, else leave them as bytes.
        """
        dataset: Dataset[Any] = _load(self.reader)(list(paths), fields=fields)
        return dataset

    def output(self) -> OutputFormat:
        """Return what writes the format.

        Raises:
            ArgumentError: nothing does, or its library is not installed.
        """
        if self.writer is None:
            raise ArgumentError(f"format {self.name!r} can be read, but not written; take one of {writable_formats()}")
        try:
            made: OutputFormat = _load(self.writer)()
        except ImportError as error:
            remedy = f"pip install 'headrace[{self.extra}]'" if self.extra else f"pip install {error.name}"
            raise ArgumentError(f"format {self.name!r} needs {error.name}: {remedy}") from error
        return made

    def open_up_to_damage(self, path: str) -> Dataset[Any] | None:
        """Return the dataset of the samples that come before what is damaged in a file; None where nothing can.

        Raises:
            StorageError: there are none.
        """
        dataset: Dataset[Any] | None = None if self.rescue is None else _load(self.rescue)(path)
        return dataset

    def holds(self, path: Path) -> bool:
        """Return whether a file or folder is of this format, by its name or by what lies in it."""
        if path.is_dir():
            return self.is_folder is not None and self.is_folder(path)
        suffixes = [suffix for suffix in path.suffixes if suffix not in (".gz", ".zst")]
        return bool(suffixes) and suffixes[-1] in self.extensions


@cache
def formats() -> dict[str, FileFormat]:
    """Return all formats by their names: headrace's own, then those of other distributions.

    >>> formats()["tar"].extensions
    ('.tar',)
    """
    own = [_load(f"headrace.formats.{name}:FORMATS") for name in _PACKAGES]
    return by_name("formats", chain.from_iterable([*own, *load_plugins(_GROUP)]))


def find_format(name: str) -> FileFormat:
    """Return the format of a name.

    Raises:
        ArgumentError: there is none.
    """
    if name not in formats():
        raise ArgumentError(f"format must be one of {', '.join(formats())}, but got format={name!r}")
    return formats()[name]


def writable_formats() -> list[str]:
    """Return the names of the formats that can be written."""
    return [each.name for each in formats().values() if each.writer is not None]


def _load(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
