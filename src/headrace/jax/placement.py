"""Putting the arrays of a batch on devices, whatever pytree they lie in."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from headrace import frameworks
from headrace.batch.tree import children, rebuild
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.frameworks.jax import fit
from headrace.loader.dataloader import DataLoader

__all__ = ["DevicePlacement", "makes_memory"]

_PLACES = (Sharding, jax.Device, type(None))
# What headrace looks into itself, because JAX would sort the keys; all else that JAX knows, it walks itself.
_OWN_CONTAINERS = (dict, list, tuple)
_NO_ARRAYS = frozenset((str, bytes, bool, int, float, complex, type(None)))


def makes_memory(loader: object) -> bool:
    """Return whether the arrays of a loader's batches are its own, so that nobody writes to them after it.

    A sample that is handed out as it is, and what a `collate_fn` returns, may lie in memory that its owner uses again.
    """
    if not isinstance(loader, DataLoader) or loader.collate_fn is not None:
        return False
    return loader.batch_size is not None or loader.batch_sampler is not None


class DevicePlacement:
    """Puts batches where a sharding says.

    Args:
        sharding: a sharding or a device for all arrays, None for JAX's default device; or a container of these, with
            the batch's own keys, one for each field.
        owned: whether the arrays are nobody else's; those of others are copied, since they may be written to.

    Raises:
        ArgumentTypeError: something in it is neither.

    >>> DevicePlacement(None, owned=True)({"x": np.zeros(2, np.float32), "name": ["a", "b"]})
    {'x': Array([0., 0.], dtype=float32), 'name': ['a', 'b']}
    """

    def __init__(self, sharding: Any, *, owned: bool) -> None:
        _check(sharding)
        self._sharding = sharding
        self._owned = owned

    def __call__(self, batch: Any) -> Any:
        """Return the batch with its arrays on the devices, or on their way there.

        Raises:
            ArgumentError: an array cannot be divided among the devices, or there is no sharding for it.
            MixedSamplesError: integers do not fit into JAX's 32 bits.
        """
        return self._tree(batch, self._sharding, "")

    def _tree(self, value: Any, sharding: Any, path: str) -> Any:
        if type(value) in _NO_ARRAYS:
            return value
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            return self._array(value, sharding, path)
        if not isinstance(value, _OWN_CONTAINERS) and not jax.tree_util.all_leaves([value]):
            return self._node(value, sharding, path)
        pairs = children(value)
        if pairs is None:
            return self._foreign(value, sharding, path)
        items = [self._tree(item, _part(sharding, key, path), f"{path}[{key!r}]") for key, item in pairs]
        return rebuild(value, items)

    def _node(self, value: Any, sharding: Any, path: str) -> Any:
        """Return a node of a class that is registered with JAX, which knows what in it is data."""
        parts, structure = jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda part: part is not value)
        shardings = [sharding] * len(parts) if isinstance(sharding, _PLACES) else structure.flatten_up_to(sharding)
        items = [
            self._tree(part, place, path + jax.tree_util.keystr(keys))
            for (keys, part), place in zip(parts, shardings, strict=True)
        ]
        return structure.unflatten(items)

    def _foreign(self, value: Any, sharding: Any, path: str) -> Any:
        """Return an array of another framework as one of JAX; what is no array as it is."""
        adapter = frameworks.find(value)
        array = None if adapter is None else adapter.to_numpy(value)
        return value if array is None else self._array(array, sharding, path)

    def _array(self, value: Any, sharding: Any, path: str) -> Any:
        if not isinstance(value, jax.Array):
            fitting = fit(np.asarray(value))
            if fitting is None:
                return value
            value = fitting.copy() if not self._owned and np.may_share_memory(fitting, value) else fitting
        if not isinstance(sharding, _PLACES):
            raise ArgumentError(
                f"sharding has a {type(sharding).__name__} for the field batch{path}, which is an array; give it a "
                "sharding, a device or None"
            )
        try:
            if isinstance(sharding, Sharding):  # of this process's devices only, or of some that others have a part on
                return jax.make_array_from_process_local_data(sharding, value)
            return jax.device_put(value, sharding)
        except ValueError as error:
            raise ArgumentError(
                f"the field batch{path} of shape {value.shape} cannot be put on {sharding}: {error}; give the "
                "DataLoader a batch_size that the devices can share and uneven='pad', filling up the last batch, or "
                "drop_last=True, or the field a sharding of its own: sharding={...}"
            ) from error


def _part(sharding: Any, key: Any, path: str) -> Any:
    """Return the part of a sharding for the item under a key."""
    if isinstance(sharding, _PLACES):
        return sharding
    parts = dict(children(sharding) or ())
    if key not in parts:
        raise ArgumentError(
            f"sharding has nothing for the field batch{path}[{key!r}]; it has {list(parts)}: give each field a "
            "sharding, a device or None, or one for all"
        )
    return parts[key]


def _check(sharding: Any) -> None:
    """Refuse a sharding that is none, nor a container of some."""
    if isinstance(sharding, _PLACES):
        return
    parts = [part for _, part in children(sharding) or ()] or _parts_of_node(sharding)
    if not parts or isinstance(sharding, jax.sharding.PartitionSpec):
        raise ArgumentTypeError(
            f"sharding must be a jax.sharding.Sharding, a device, None, or a container of these, but got {sharding!r} "
            f"({type(sharding).__name__}); NamedSharding(mesh, PartitionSpec('data')) divides batches along an axis "
            "of a mesh"
        )
    for part in parts:
        _check(part)


def _parts_of_node(value: Any) -> list[Any]:
    """Return what lies in a node of a class that is registered with JAX; nothing for other values."""
    parts: list[Any] = jax.tree_util.tree_leaves(value, is_leaf=lambda part: part is not value)
    return [] if parts == [value] else parts
