"""Sequences of different lengths, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Ragged", "find_token_field", "sequence_field"]

# What tokens are called in samples, where nobody says.
_TOKENS = ("input_ids", "tokens")


class Ragged(NamedTuple):
    """The sequences of a batch that differ in length, as a dataset's `get_ragged(indices)` reads them.

    Attributes:
        values: the sequences end to end, of one dimension.
        lengths: how many items each has, shape (n,), int64.
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64]


def find_token_field(names: Sequence[int | str]) -> int | str | None:
    """Return which of the fields of samples has their tokens, where nobody says; None where there is no telling.

    >>> find_token_field(["text", "tokens"]), find_token_field(["text"]), find_token_field(["text", "words"])
    ('tokens', 'text', None)
    """
    return next((name for name in _TOKENS if name in names), names[0] if len(names) == 1 else None)


def sequence_field(names: Sequence[int | str], field: int | str | None) -> int | str | None:
    """Return which of the fields of samples has their sequence; None where there is no such field, or no telling.

    Args:
        names: of the fields; only "" where a sample is no dict or tuple.
        field: the one that is wanted; None for the tokens, or for the sample itself.

    >>> sequence_field(["text", "tokens"], None), sequence_field(["text"], "words"), sequence_field([""], None)
    ('tokens', None, '')
    """
    if list(names) == [""]:
        return "" if field is None else None
    name = find_token_field(names) if field is None else field
    return name if name in names else None
