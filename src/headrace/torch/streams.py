"""A stream of headrace's as the IterableDataset that torch, and those who build on it, look for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset as TorchIterableDataset

from headrace.datasets.base import IterableDataset

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TorchStream", "as_torch_dataset", "inner_dataset"]


class TorchStream(TorchIterableDataset):
    """A stream of headrace's, for code that asks whether a dataset is torch's.

    Args:
        stream: the stream.
    """

    def __init__(self, stream: IterableDataset[Any]) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[Any]:
        return iter(self.stream)

    def __len__(self) -> int:
        return len(self.stream)  # type: ignore[arg-type] # where it has a length

    def __getattr__(self, name: str) -> Any:
        if name == "stream":  # while it is being unpickled
            raise AttributeError(name)
        return getattr(self.stream, name)


def as_torch_dataset(dataset: Any) -> Any:
    """Return the dataset, or what stands for it where torch would not know it for a stream."""
    return TorchStream(dataset) if isinstance(dataset, IterableDataset) else dataset


def inner_dataset(dataset: Any) -> Any:
    """Return the dataset that is read."""
    return dataset.stream if isinstance(dataset, TorchStream) else dataset
