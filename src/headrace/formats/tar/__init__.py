"""Tar archives: the files of a sample share a key."""

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]

FORMATS = [
    FileFormat(
        name="tar",
        extensions=(".tar",),
        reader="headrace.formats.tar.dataset:open_files",
        writer="headrace.formats.tar.writer:TarFormat",
        rescue="headrace.formats.tar.dataset:open_up_to_damage",
    ),
]
