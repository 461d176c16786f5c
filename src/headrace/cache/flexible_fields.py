"""Fields of samples that may differ in size, as bytes, and back: strings, bytes and whatever is pickled."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["as_bytes", "from_bytes"]


def as_bytes(value: Any, *, pickles: bool) -> tuple[str, NDArray[np.uint8]]:
    """Return the kind of a field that may differ in size, and its bytes."""
    if type(value) is str:
        return "str", np.frombuffer(value.encode("utf-8", "surrogatepass"), np.uint8)
    if type(value) is bytes:
        return "bytes", np.frombuffer(value, np.uint8)
    what = f"a {type(value).__module__}.{type(value).__qualname__}"
    if not pickles:
        raise CacheError(
            f"a sample holds {what}, which would have to be pickled, and a file that is read must not run code; "
            'turn it into arrays, numbers or strings with .map(...) before .cache(...), or cache in "ram"'
        )
    try:
        return "pickle", np.frombuffer(_pickled(value), np.uint8)
    except Exception as error:
        raise CacheError(
            f"a sample holds {what}, which cannot be pickled ({error}); turn it into arrays, numbers or strings with "
            ".map(...) before .cache(...)"
        ) from error


def _pickled(value: Any) -> bytes:
    """Pickle it as a batch would travel from a worker, so that classes that the worker was sent find their way back."""
    from headrace.workers.pickling.messages import dump_result

    travels = dump_result(value)
    return pickle.dumps((travels.payload, [bytearray(buffer.raw()) for buffer in travels.buffers]))


def _unpickled(content: bytes) -> Any:
    from headrace.workers.pickling.messages import load

    return load(*pickle.loads(content))  # noqa: S301 - from memory that only this program's processes share


from_bytes: dict[str, Callable[[bytes], Any]] = {
    "str": lambda content: content.decode("utf-8", "surrogatepass"),
    "bytes": bytes,
    "pickle": _unpickled,
}
