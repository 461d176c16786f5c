"""The field of a batch that tells its samples from what it was filled up with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace import frameworks
from headrace.batch.tree import children, fields
from headrace.errors import ArgumentTypeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["VALID", "with_validity"]

VALID = "valid"  # the field of a dict


def with_validity(batch: Any, valid: NDArray[np.bool_]) -> Any:
    """Return the batch with one field more, an array of the batch's own framework.

    Args:
        batch: an array, a tuple, a list or a dict of such; nothing else can have another field.
        valid: which of its samples are no filling, shape (n,), bool.

    Raises:
        ArgumentTypeError: it is something else, or has a field "valid".

    >>> import numpy as np
    >>> with_validity({"x": np.array([4, 0])}, np.array([True, False]))
    {'x': array([4, 0]), 'valid': array([ True, False])}
    """
    adapter = next(filter(None, map(frameworks.find, fields(batch))), None)
    mask: Any = valid if adapter is None else adapter.from_numbers(valid)
    if type(batch) in (tuple, list):
        return type(batch)((*batch, mask))
    if type(batch) is dict and VALID not in batch:
        return {**batch, VALID: mask}
    if children(batch) is None and not isinstance(batch, list):
        return batch, mask
    held = f"a field {VALID!r} of its own" if isinstance(batch, dict) else "no place for another field"
    raise ArgumentTypeError(
        f"uneven='pad' adds a field to each batch that tells its samples from the filling, and this "
        f"{type(batch).__name__} has {held}; let a collate_fn make a dict or a tuple of the samples"
    )
