"""JAX arrays. Imported only where jax has been imported already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from headrace.errors import MixedSamplesError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "explain",
    "fit",
    "from_numbers",
    "from_numpy",
    "memory",
    "own_all",
    "owns",
    "rebuild",
    "rebuilds",
    "reduce",
    "row",
    "stack",
    "take",
    "to_numpy",
]

_WIDEST = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}  # bytes of a dtype, by its kind


def owns(value: object) -> bool:
    """Return whether the value is a JAX array (a traced one is refused later, by JAX's own error)."""
    return isinstance(value, jax.Array)


def own_all(values: Sequence[object]) -> bool:
    """Return whether each of the values is a JAX array."""
    return len(set(map(type, values))) == 1 or all(map(owns, values))


def rebuilds(kind: type) -> bool:  # noqa: ARG001 - an adapter's face
    """Return whether `from_numpy` makes values of the class: there is one."""
    return True


def explain(value: object) -> str:  # noqa: ARG001 - an adapter's face
    """Return why an array cannot be part of a batch: nothing, all can be."""
    return ""


def to_numpy(value: jax.Array) -> NDArray[Any] | None:
    """Return the array's memory, read-only, where all of it is on the host and NumPy knows its dtype."""
    if jnp.issubdtype(value.dtype, jax.dtypes.extended):  # random keys
        return None
    if not value.is_fully_addressable or any(device.platform != "cpu" for device in value.devices()):
        return None
    return np.asarray(value)


def from_numpy(array: NDArray[Any], like: jax.Array) -> jax.Array:  # noqa: ARG001 - an adapter's face
    """Return the array as a JAX array. On a CPU it shares the memory, which JAX keeps alive meanwhile."""
    return jax.device_put(array, may_alias=True)


def from_numbers(array: NDArray[Any]) -> Any:
    """Return numbers as a JAX array, in 32 bits unless JAX is set up for 64; what JAX has no dtype for as it is.

    Raises:
        MixedSamplesError: integers do not fit into 32 bits.
    """
    fitting = fit(array)
    return array if fitting is None else jax.device_put(fitting, may_alias=True)


def fit(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return the array in the dtype that JAX has for it, itself if it has that; None for what JAX has no dtype for.

    Raises:
        MixedSamplesError: integers do not fit into 32 bits, which JAX would cut off without a word.
    """
    if array.dtype.kind not in "biufc":
        return array if array.dtype.kind == "V" and jnp.issubdtype(array.dtype, np.number) else None  # of ml_dtypes
    if array.dtype.itemsize > _WIDEST[array.dtype.kind]:
        return None
    dtype = np.dtype(jax.dtypes.canonicalize_dtype(array.dtype)).newbyteorder("=")
    if dtype != array.dtype and dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise MixedSamplesError(
                f"integers up to {max(-int(array.min()), int(array.max()))} do not fit into JAX's {dtype}; set "
                "jax_enable_x64, or return them as strings"
            )
    return array.astype(dtype, copy=False)


def memory(value: jax.Array) -> NDArray[Any] | None:
    """Return the memory of an array that nothing but that makes up; None for others."""
    array = to_numpy(value)
    return None if array is None or value.weak_type else array


def reduce(value: jax.Array) -> tuple[Any, ...] | None:
    """Return a reduction of the array for pickle, whose memory may be sent apart; None for JAX's own way."""
    array = memory(value)
    return None if array is None else (rebuild, (array,))


def rebuild(array: NDArray[Any]) -> jax.Array:
    """Return the JAX array that `reduce` took apart, in the array's memory if possible."""
    return jax.device_put(array, may_alias=True)


def stack(values: list[jax.Array]) -> jax.Array:
    """Return the arrays along a new first dimension."""
    return jnp.stack(values)


def row(value: jax.Array, index: int) -> jax.Array:
    """Return the row at the index."""
    return value[index]


def take(value: jax.Array, indices: NDArray[np.int64]) -> jax.Array:
    """Return the rows at the indices."""
    return value[jnp.asarray(indices)]


def distributed_rank() -> tuple[int, int] | None:
    """Return the number of this process, and of how many, where the program has initialised `jax.distributed`."""
    is_initialized = getattr(jax.distributed, "is_initialized", None)  # JAX has it from 0.4.36 on
    if is_initialized is None or not is_initialized():
        return None
    return jax.process_index(), jax.process_count()
