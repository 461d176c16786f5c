"""Batches on JAX devices before their turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.jax.placement import DevicePlacement, makes_memory
from headrace.loader.prefetch import PrefetchedBatches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["prefetch_to_device"]


def prefetch_to_device(loader: Iterable[Any], sharding: Any = None, size: int = 2) -> PrefetchedBatches:
    """Return the batches of a loader as JAX arrays on devices, put there one or more batches ahead.

    The arrays may lie in any pytree, which comes out as it goes in; what JAX has no dtype for, as strings and dates,
    stays as it is. Where the sharding spans devices of several processes, the batch is this process's part of a global
    array (`jax.make_array_from_process_local_data`): give each process's loader its `rank` and `world_size`.

    Args:
        loader: a DataLoader, or another iterable of batches, which gives an epoch each time that it is gone through.
        sharding: a `jax.sharding.Sharding` or a device for all arrays; None for JAX's default device; or a container
            of these with the batch's own keys, one for each field.
        size: how many batches are on the devices, at least 1: the one in use, and those ahead of it.

    Returns:
        An iterable of batches, with the loader's length. It has the `state_dict` to resume from: the loader itself is
        ahead.

    Raises:
        ArgumentError: `size` is not a positive integer; or, when the batch comes, an array cannot be divided among
            the devices.
        ArgumentTypeError: the sharding or the loader is of another kind.
        MixedSamplesError: when the batch comes: integers do not fit into 32 bits, and jax_enable_x64 is not set.

    >>> from jax.sharding import Mesh, NamedSharding, PartitionSpec
    >>> import jax
    >>> from headrace import DataLoader, TensorDataset
    >>> loader = DataLoader(TensorDataset(np.zeros((8, 3), np.float32), np.arange(8)), batch_size=4)
    >>> sharding = NamedSharding(Mesh(jax.devices()[:1], "data"), PartitionSpec("data"))
    >>> for x, y in prefetch_to_device(loader, sharding):
    ...     print(x.shape, y)
    (4, 3) [0 1 2 3]
    (4, 3) [4 5 6 7]
    """
    return PrefetchedBatches(loader, size, _JaxMover(DevicePlacement(sharding, owned=makes_memory(loader))))


class _JaxMover:
    """Puts batches on JAX's devices, which copy while the program goes on."""

    def __init__(self, placement: DevicePlacement) -> None:
        self.start = placement

    def begin(self, loader: Any) -> Iterator[Any]:
        """Return an iterator over the loader's next epoch."""
        return iter(loader)

    def finish(self, moved: Any) -> Any:
        """Return the batch: who computes with its arrays waits for them by itself."""
        return moved
