"""The DataLoader whose batches are JAX arrays."""

from __future__ import annotations

from typing import Any, TypeVar

from headrace.jax.placement import DevicePlacement, makes_memory
from headrace.loader import dataloader

__all__ = ["DataLoader"]

B_co = TypeVar("B_co", covariant=True)


class DataLoader(dataloader.DataLoader[B_co]):
    """Batches of a dataset as JAX arrays, on JAX's default device.

    It takes the arguments of `headrace.DataLoader`, does what that does, and makes a JAX array of each array of a
    batch, in whatever pytree they lie. What JAX has no dtype for, as strings and dates, stays as it is. On a CPU
    nothing is copied: the arrays lie in the memory that the batch was written to, which is theirs until they are gone.

    Raises:
        MixedSamplesError: when a batch comes: integers do not fit into 32 bits, and jax_enable_x64 is not set.

    >>> import numpy as np
    >>> from headrace import TensorDataset
    >>> loader = DataLoader(TensorDataset(np.arange(6.0), np.arange(6)), batch_size=3)
    >>> x, y = next(iter(loader))
    >>> type(x) is type(y), x.dtype, y.dtype
    (True, dtype('float32'), dtype('int32'))
    """

    def _delivers(self) -> bool:
        return True

    def _deliver(self, batch: Any) -> Any:
        return DevicePlacement(None, owned=makes_memory(self))(super()._deliver(batch))
