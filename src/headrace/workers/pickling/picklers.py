"""The pickler that sends functions and classes as names, and how each pickler is used."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, TypeAlias

from headrace.workers.pickling.by_value import PROTOCOL

__all__ = ["ByReference", "Keep", "Kind", "Reduce", "dump", "keep_large"]

Reduce: TypeAlias = Callable[[Any], Any]
Keep: TypeAlias = Callable[[pickle.PickleBuffer], bool]
Kind: TypeAlias = "type[ByReference]"

# Below this the bookkeeping of a buffer costs more than the copy into the pickle.
_APART_FROM = 1 << 12


class ByReference(pickle.Pickler):
    """Pickles functions and classes as names. `reduce` is asked first for all that is no plain Python value."""

    def __init__(self, file: io.BytesIO, reduce: Reduce, keep: Keep | None = None) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=keep)
        self.reducer_override = reduce  # type: ignore[method-assign] # a method would cost a call more a value
        self.classes: dict[str, type] = {}  # that went by value, by their tokens
        self.sources: dict[str, list[str]] = {}  # lines of their code, by file, where there is no such file


def dump(value: object, kind: Kind, reduce: Reduce, keep: Keep | None = None) -> bytes:
    """Return a pickle of the value; large memory lies apart where `keep` takes it."""
    with io.BytesIO() as file:
        kind(file, reduce, keep).dump(value)
        return file.getvalue()


def keep_large(buffers: list[pickle.PickleBuffer]) -> Keep:
    """Collect large buffers in the list, and have small ones put into the pickle, where they stay writable."""

    def keep(buffer: pickle.PickleBuffer) -> bool:
        if memoryview(buffer).nbytes < _APART_FROM:
            return True
        buffers.append(buffer)
        return False

    return keep
