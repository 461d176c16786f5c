"""Mosaic's MDS: shards of samples with columns, and an index.json of them."""

from functools import partial

from headrace.formats.registry import FileFormat

__all__ = ["FORMATS"]


def _is_folder(folder: object) -> bool:
    from headrace.formats.item_shards import is_indexed_folder

    return partial(is_indexed_folder, key="shards")(folder)  # type: ignore[arg-type]


FORMATS = [
    FileFormat(
        name="mds",
        extensions=(".mds",),
        reader="headrace.formats.mds.dataset:open_files",
        is_folder=_is_folder,
    ),
]
