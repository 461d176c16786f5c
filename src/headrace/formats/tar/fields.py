"""Endings of names in a tar and the values they stand for: one table for the writer and the reader."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headrace.formats.npy.reader import parse_array

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["INTEGERS", "TEXTS", "decoder"]

INTEGERS = ("cls", "cls2", "class", "count", "index", "inx", "id")
TEXTS = ("txt", "text", "transcript")
_JSON = ("json", "jsn")


def decoder(name: str) -> Callable[[bytes], Any] | None:
    """Return the function that decodes files whose name ends so; None where they stay bytes.

    >>> decoder("score.json")(b"0.5")
    0.5
    """
    return _DECODERS.get(name.rpartition(".")[2])


def _integer(content: bytes) -> int:
    try:
        return int(content)
    except ValueError as error:
        raise ValueError(
            f"{error}; where such files hold no integers, read them as bytes with open_dataset(..., fields=False), or "
            "as text with TarDataset(..., decode={'cls': bytes.decode})"
        ) from error


def _array(content: bytes) -> Any:
    array = parse_array(content, "a .npy file of a tar")
    return array if array.ndim else array[()]


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(INTEGERS, _integer),
    **dict.fromkeys(TEXTS, bytes.decode),
    **dict.fromkeys(_JSON, json.loads),
    "npy": _array,
}
