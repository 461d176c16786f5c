"""Pixels as PNG files, for formats of files."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from headrace.formats.writer import Columns

__all__ = ["with_png"]


def with_png(columns: Columns) -> Columns:
    """Return the columns, a field "image" of pixels as PNG: uint8 of shape (h, w), (h, w, 3) or (h, w, 4)."""
    images = columns.get("image")
    if images is None:
        return columns
    return columns | {"image": [_encoded(value) if _is_picture(value) else value for value in images]}


def _is_picture(value: Any) -> bool:
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or 0 in value.shape:
        return False
    return value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (3, 4))


def _encoded(pixels: Any) -> bytes:
    try:
        from PIL import Image
    except ImportError as error:
        raise ArgumentError(
            "pixels go into a tar as PNG, for which Pillow is needed: pip install 'headrace[images]'; or take format "
            "'npy', 'tfrecord', 'lmdb' or 'parquet'"
        ) from error
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()
