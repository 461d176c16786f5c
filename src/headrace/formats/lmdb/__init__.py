"""LMDB databases, read without their library."""

from pathlib import Path

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]


def _is_database(folder: Path) -> bool:
    return (folder / "data.mdb").exists()


FORMATS = [
    FileFormat(
        name="lmdb",
        extensions=(".lmdb", ".mdb"),
        reader="headrace.formats.lmdb.dataset:open_files",
        writer="headrace.formats.lmdb.writer:LMDBFormat",
        extra="lmdb",
        is_folder=_is_database,
    ),
]
