"""headrace: a data loader for training in which a batch is a pure function of dataset, seed, epoch and step.

>>> import numpy as np
>>> from headrace import DataLoader, TensorDataset
>>> dataset = TensorDataset(np.zeros((100, 3, 32, 32), np.float32), np.arange(100))
>>> images, labels = next(iter(DataLoader(dataset, batch_size=16, shuffle=True, seed=0)))
>>> images.shape, labels.shape
((16, 3, 32, 32), (16,))
"""

from headrace.batch.arena import empty
from headrace.batch.collate import default_collate
from headrace.data import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    MapDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from headrace.errors import HeadraceError, HeadraceWarning
from headrace.keys import default_rng, sample_rng
from headrace.loader import DataLoader
from headrace.stats import LoaderStats
from headrace.transforms import (
    CenterCrop,
    Compose,
    ImageTransform,
    Normalize,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    ToCHW,
    ToFloat,
    Transform,
)
from headrace.workers import WorkerInfo, get_worker_info

__all__ = [
    "CenterCrop",
    "Compose",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "HeadraceError",
    "HeadraceWarning",
    "ImageTransform",
    "IterableDataset",
    "LoaderStats",
    "MapDataset",
    "Normalize",
    "Pad",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "StackDataset",
    "Subset",
    "TensorDataset",
    "ToCHW",
    "ToFloat",
    "Transform",
    "WorkerInfo",
    "default_collate",
    "default_rng",
    "empty",
    "get_worker_info",
    "random_split",
    "sample_rng",
]

__version__ = "0.1.0"
