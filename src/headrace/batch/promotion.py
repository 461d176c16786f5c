"""Promotion: the one dtype of a field whose dtypes differ from sample to sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["promotable", "promoted"]


def promotable(dtype: Any) -> Any:
    """Return what must be the same in all samples for their dtypes to be promoted to one.

    Numbers of all dtypes go together, and so do strings of several widths and times of several units. Nothing is
    turned into a string, and no number into a time, though NumPy would do that.

    Args:
        dtype: a NumPy dtype, or anything else, that goes together with its equals only.

    >>> promotable(np.dtype(bool)) == promotable(np.dtype(float)) != promotable(np.dtype("U1"))
    True
    """
    kind = getattr(dtype, "kind", "")
    if kind and kind in "biufc":
        return "number"
    return dtype.type if kind and kind in "SUmM" else dtype


def promoted(dtypes: Iterable[Any]) -> np.dtype[Any]:
    """Return the dtype of a batch of such values, which does not depend on their order.

    >>> promoted([np.dtype(np.int64), np.dtype(np.float32)])
    dtype('float64')
    """
    found = sorted(set(dtypes), key=str)
    return found[0] if len(found) == 1 else np.result_type(*found)  # of one alone it would change the byte order
