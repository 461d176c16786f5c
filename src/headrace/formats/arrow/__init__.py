"""Arrow's formats of columns: Parquet, Arrow and Feather files, CSV."""

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]

FORMATS = [
    FileFormat(
        name="parquet",
        extensions=(".parquet",),
        reader="headrace.formats.arrow.dataset:open_parquet",
        writer="headrace.formats.arrow.writer:ParquetFormat",
        extra="arrow",
    ),
    FileFormat(
        name="arrow",
        extensions=(".arrow", ".feather", ".csv", ".tsv"),
        reader="headrace.formats.arrow.dataset:open_files",
        extra="arrow",
    ),
]
