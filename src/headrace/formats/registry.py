"""One file a format: how samples become its bytes, and how these get to the disk."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from headrace.formats.writer import Format

__all__ = ["FORMATS", "get_format"]

FORMATS = {
    "tar": "TarFormat",
    "tfrecord": "TFRecordFormat",
    "lmdb": "LMDBFormat",
    "parquet": "ParquetFormat",
    "npy": "NpyFormat",
}


def get_format(name: str) -> Format:
    """The format of a name, imported only now.

    Raises:
        ArgumentError: its library is not installed.
    """
    try:
        module = import_module(f"headrace.formats.registry.{name}")
    except ImportError as error:
        extra = {"parquet": "arrow"}.get(name, name)
        raise ArgumentError(f"format {name!r} needs {error.name}: pip install 'headrace[{extra}]'") from error
    kind: type[Format] = getattr(module, FORMATS[name])
    return kind()
