"""Leaving out the batches of an epoch that were trained on before a stop, by accelerate's name for it."""

from __future__ import annotations

from typing import Any

from headrace.torch.dataloader import DataLoader

__all__ = ["skip_first_batches"]


def skip_first_batches(dataloader: Any, num_batches: int = 0) -> Any:
    """Return a loader that gives the epoch without its first batches: accelerate's, with another import.

    Accelerate's own goes through their indices and replaces the loader by one of torch's.

    Args:
        dataloader: a loader of headrace's, which is set to that place and returned; or one that accelerate has made.
        num_batches: how many are left out of the next epoch.

    >>> from headrace.torch import DataLoader, skip_first_batches
    >>> loader = DataLoader(range(8), batch_size=2, seed=0)
    >>> [batch.tolist() for batch in skip_first_batches(loader, 2)]
    [[4, 5], [6, 7]]
    >>> len(list(loader))
    4
    """
    if not isinstance(dataloader, DataLoader):
        from accelerate import skip_first_batches as skip

        return skip(dataloader, num_batches)
    dataloader.pass_over(num_batches)
    return dataloader
