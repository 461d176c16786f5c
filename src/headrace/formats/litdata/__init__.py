"""litData's chunks: shards of samples that are trees of values, and an index.json of them."""

from functools import partial

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]


def _is_folder(folder: object) -> bool:
    from headrace.formats.item_shards import is_indexed_folder

    return partial(is_indexed_folder, key="chunks")(folder)  # type: ignore[arg-type]


FORMATS = [
    FileFormat(
        name="litdata",
        extensions=(".bin",),  # in a folder with an index.json; others are files of tokens
        reader="headrace.formats.litdata.dataset:open_files",
        is_folder=_is_folder,
    ),
]
