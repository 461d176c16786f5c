"""ArrayRecord files, which Grain reads."""

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]

FORMATS = [
    FileFormat(
        name="arrayrecord",
        extensions=(".array_record", ".arrayrecord"),
        reader="headrace.formats.arrayrecord.dataset:open_files",
        extra="arrayrecord",
    ),
]
