"""Files of tokens: Megatron's .bin with its .idx, those of llm.c, and plain ones without a header."""

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]

FORMATS = [
    FileFormat(
        name="tokens",
        extensions=(".bin",),
        reader="headrace.formats.tokens.documents:open_files",
    ),
]
