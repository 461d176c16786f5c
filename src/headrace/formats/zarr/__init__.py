"""Zarr stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.formats.registry import FileFormat

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORMATS"]

_MARKS = ("zarr.json", ".zgroup", ".zarray")


def _is_folder(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _MARKS)


FORMATS = [
    FileFormat(
        name="zarr",
        extensions=(".zarr",),
        reader="headrace.formats.zarr.dataset:open_files",
        extra="zarr",
        is_folder=_is_folder,
    ),
]
