"""Codecs of images: how their files begin, and what decodes them.

A codec describes itself in a module of this package, in `CODECS`; the modules are listed here. One that another
distribution brings is an entry point of the group `headrace.codecs`. What a codec needs is imported when it decodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING

from headrace.errors import DecodeError
from headrace.plugins import by_name, load_plugins

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Codec", "codecs", "find_codec", "recognise"]

_MODULES = ("jpeg", "pillow")
_GROUP = "headrace.codecs"


@dataclass(frozen=True)
class Codec:
    """A format of encoded images.

    Attributes:
        name: as errors call it.
        signature: how its files begin, as a regular expression of bytes; a dot stands for any byte.
        extension: how the names of its files end, without a dot.
        decode: makes a uint8 array of an encoded image, given the mode ("RGB", "L" or None for what is stored) and the
            most pixels; raises a DecodeError for what is broken, and for more pixels.
        read_size: reads the width and height of what is stored from the header.
    """

    name: str
    signature: bytes
    extension: str
    decode: Callable[[bytes, str | None, int], NDArray[np.uint8]]
    read_size: Callable[[bytes], tuple[int, int]]

    def matches(self, data: bytes) -> bool:
        """Return whether the bytes begin as an image of this format does."""
        return re.match(self.signature, data, re.DOTALL) is not None


@cache
def codecs() -> dict[str, Codec]:
    """Return all codecs by their names: headrace's own, then those of other distributions.

    Raises:
        ArgumentError: two have one name.

    >>> codecs()["PNG"].extension
    'png'
    """
    own = [import_module(f"headrace.images.codecs.{module}").CODECS for module in _MODULES]
    return by_name("codecs", chain.from_iterable([*own, *load_plugins(_GROUP)]))


def find_codec(data: bytes) -> Codec | None:
    """Return the codec of an encoded image; None where none knows how it begins.

    Pillow's own search is not used: it asks formats that are not trained on, among them one that starts another
    program, and it has a limit of pixels for the whole process.
    """
    return next((codec for codec in codecs().values() if codec.matches(data)), None)


def recognise(data: bytes) -> Codec:
    """Return the codec of an encoded image.

    Raises:
        DecodeError: none knows how it begins.
    """
    codec = find_codec(data)
    if codec is None:
        found = f"{len(data)} bytes that begin with {data[:12]!r}" if data else "0 bytes: the file is empty"
        raise DecodeError(f"no image was found, but {found}; known formats are {', '.join(codecs())}")
    return codec
