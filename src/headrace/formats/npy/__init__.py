"""NumPy .npy files: one alone, or a folder with one for each field."""

from pathlib import Path

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]


def _has_fields(folder: Path) -> bool:
    return any(not entry.name.startswith(".") for entry in folder.glob("*.npy"))


FORMATS = [
    FileFormat(
        name="npy",
        extensions=(".npy",),
        reader="headrace.formats.npy.dataset:open_files",
        writer="headrace.formats.npy.writer:NpyFormat",
        is_folder=_has_fields,
    ),
]
