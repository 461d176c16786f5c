"""JAX arrays. Imported only where jax has been imported already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["from_numpy", "owns", "rebuild", "reduce", "row", "stack", "take", "to_numpy"]


def owns(value: object) -> bool:
    """Whether the value is a JAX array (a traced one is refused later, by JAX's own error)."""
    return isinstance(value, jax.Array)


def to_numpy(value: jax.Array) -> NDArray[Any] | None:
    """The array's memory, read-only, where all of it is on the host and NumPy knows its dtype."""
    if jnp.issubdtype(value.dtype, jax.dtypes.extended):  # random keys
        return None
    if not value.is_fully_addressable or any(device.platform != "cpu" for device in value.devices()):
        return None
    return np.asarray(value)


def from_numpy(array: NDArray[Any], like: jax.Array) -> jax.Array:  # noqa: ARG001 - an adapter's face
    """The array as a JAX array. On a CPU it shares the memory, which JAX keeps alive meanwhile."""
    return jax.device_put(array, may_alias=True)


def reduce(value: jax.Array) -> tuple[Any, ...] | None:
    """How pickle takes the array apart, so that its memory may lie apart; None for JAX's own way."""
    array = to_numpy(value)
    return None if array is None or value.weak_type else (rebuild, (array,))


def rebuild(array: NDArray[Any]) -> jax.Array:
    """The JAX array that `reduce` took apart, in the array's memory if possible."""
    return jax.device_put(array, may_alias=True)


def stack(values: list[jax.Array]) -> jax.Array:
    """The arrays along a new first dimension."""
    return jnp.stack(values)


def row(value: jax.Array, index: int) -> jax.Array:
    """The row at the index."""
    return value[index]


def take(value: jax.Array, indices: NDArray[np.int64]) -> jax.Array:
    """The rows at the indices."""
    return value[jnp.asarray(indices)]
