"""One file a format: how samples become its bytes, and how these get to the disk."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.storage.writers.base import Format

__all__ = ["FORMATS", "get_format"]

FORMATS = {
    "tar": "TarFormat",
    "tfrecord": "TFRecordFormat",
    "lmdb": "LMDBFormat",
    "parquet": "ParquetFormat",
    "npy": "NpyFormat",
}


def get_format(name: str) -> Format:
    """The format of a name, imported only now."""
    kind: type[Format] = getattr(import_module(f"headrace.storage.writers.{name}"), FORMATS[name])
    return kind()
