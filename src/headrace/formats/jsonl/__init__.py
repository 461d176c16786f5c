"""Lines of text, and lines of JSON."""

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]

FORMATS = [
    FileFormat(
        name="jsonl",
        extensions=(".jsonl", ".ndjson"),
        reader="headrace.formats.jsonl.dataset:open_files",
        writer="headrace.formats.jsonl.writer:JsonlFormat",
    ),
]
