"""Lance datasets."""

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]

FORMATS = [
    FileFormat(
        name="lance",
        extensions=(".lance",),
        reader="headrace.formats.lance.dataset:open_files",
        extra="lance",
        is_folder=lambda folder: folder.suffix == ".lance",
    ),
]
