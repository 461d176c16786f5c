"""headrace for JAX: batches as JAX arrays, on devices before their turn.

>>> import numpy as np
>>> from headrace import TensorDataset
>>> from headrace.jax import DataLoader, prefetch_to_device
>>> loader = DataLoader(TensorDataset(np.zeros((8, 3), np.float32), np.arange(8)), batch_size=4)
>>> for x, y in prefetch_to_device(loader):
...     print(x.shape, y)
(4, 3) [0 1 2 3]
(4, 3) [4 5 6 7]
"""

from headrace.jax.dataloader import DataLoader
from headrace.jax.prefetch_to_device import prefetch_to_device
from headrace.jax.sample_key import sample_key

__all__ = ["DataLoader", "prefetch_to_device", "sample_key"]
