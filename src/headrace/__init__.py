"""headrace: a data loader for training in which a batch is a pure function of dataset, seed, epoch and step.

>>> import numpy as np
>>> from headrace import DataLoader, TensorDataset
>>> dataset = TensorDataset(np.zeros((100, 3, 32, 32), np.float32), np.arange(100))
>>> images, labels = next(iter(DataLoader(dataset, batch_size=16, shuffle=True, seed=0)))
>>> images.shape, labels.shape
((16, 3, 32, 32), (16,))
"""

import importlib
import typing

from headrace.batch.arena import empty
from headrace.batch.collate import default_collate
from headrace.data import (
    CachedDataset,
    ColumnDataset,
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
from headrace.failures import BadSample
from headrace.keys import default_rng, sample_rng
from headrace.loader import DataLoader
from headrace.stats import CacheStats, LoaderStats
from headrace.transforms import (
    CenterCrop,
    ColorJitter,
    Compose,
    CutMix,
    Decode,
    Grayscale,
    ImageTransform,
    MixUp,
    Normalize,
    Pad,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    ToCHW,
    ToFloat,
    Transform,
    TrivialAugmentWide,
)
from headrace.workers import WorkerInfo, get_worker_info

if typing.TYPE_CHECKING:
    from headrace.data.arrow import ArrowDataset, ParquetDataset
    from headrace.data.files import FilesDataset
    from headrace.data.images import ImageDataset, ImageFolder
    from headrace.data.lmdb import LMDBDataset
    from headrace.data.npy import NpyDataset
    from headrace.data.opening import open_dataset
    from headrace.data.tar import TarDataset
    from headrace.data.tar_stream import TarStream
    from headrace.data.tfrecords import TFRecordDataset
    from headrace.data.vision import CIFAR10, CIFAR100, MNIST, FashionMNIST
    from headrace.packing.packer import pack
    from headrace.storage.remote import RemoteOptions

__all__ = [  # noqa: RUF022 - in plain order
    "ArrowDataset",
    "BadSample",
    "CIFAR10",
    "CIFAR100",
    "CacheStats",
    "CachedDataset",
    "CenterCrop",
    "ColorJitter",
    "ColumnDataset",
    "Compose",
    "ConcatDataset",
    "CutMix",
    "DataLoader",
    "Dataset",
    "Decode",
    "FashionMNIST",
    "FilesDataset",
    "Grayscale",
    "HeadraceError",
    "HeadraceWarning",
    "ImageDataset",
    "ImageFolder",
    "ImageTransform",
    "IterableDataset",
    "LMDBDataset",
    "LoaderStats",
    "MNIST",
    "MapDataset",
    "MixUp",
    "Normalize",
    "NpyDataset",
    "Pad",
    "ParquetDataset",
    "RandomApply",
    "RandomChoice",
    "RandomCrop",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomVerticalFlip",
    "RemoteOptions",
    "Resize",
    "StackDataset",
    "Subset",
    "TFRecordDataset",
    "TarDataset",
    "TarStream",
    "TensorDataset",
    "ToCHW",
    "ToFloat",
    "Transform",
    "TrivialAugmentWide",
    "WorkerInfo",
    "default_collate",
    "default_rng",
    "empty",
    "get_worker_info",
    "open_dataset",
    "pack",
    "random_split",
    "sample_rng",
]

__version__ = "0.1.0"

# Where names are that not everybody needs, who would have to wait for them.
_LATE = {
    "open_dataset": "headrace.data.opening",
    "pack": "headrace.packing.packer",
    "FilesDataset": "headrace.data.files",
    "LMDBDataset": "headrace.data.lmdb",
    "NpyDataset": "headrace.data.npy",
    "RemoteOptions": "headrace.storage.remote",
    "TFRecordDataset": "headrace.data.tfrecords",
    "TarDataset": "headrace.data.tar",
    "TarStream": "headrace.data.tar_stream",
    **dict.fromkeys(("ArrowDataset", "ParquetDataset"), "headrace.data.arrow"),
    **dict.fromkeys(("ImageDataset", "ImageFolder"), "headrace.data.images"),
    **dict.fromkeys(("CIFAR10", "CIFAR100", "FashionMNIST", "MNIST"), "headrace.data.vision"),
}


def __getattr__(name: str) -> typing.Any:
    """Import what is imported late."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LATE[name]), name)
    globals()[name] = value
    return value
