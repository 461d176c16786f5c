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
from headrace.batch.pad import PadCollate, pad_collate
from headrace.cache.dataset import CachedDataset
from headrace.datasets import (
    ColumnDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    MapDataset,
    StackDataset,
    Subset,
    TensorDataset,
    mix,
    random_split,
)
from headrace.datasets.stats import CacheStats
from headrace.errors import HeadraceError, HeadraceWarning
from headrace.loader.bad_samples import BadSample
from headrace.loader.dataloader import DataLoader
from headrace.loader.stats import LoaderStats
from headrace.rng.draws import default_rng, sample_rng
from headrace.transforms import (
    AugMix,
    AutoAugment,
    AutoAugmentPolicy,
    CenterCrop,
    ColorJitter,
    Compose,
    CutMix,
    Decode,
    ElasticTransform,
    FiveCrop,
    GaussianBlur,
    Grayscale,
    ImageTransform,
    Lambda,
    MixUp,
    Normalize,
    Pad,
    PILToTensor,
    RandAugment,
    RandomAdjustSharpness,
    RandomAffine,
    RandomApply,
    RandomAutocontrast,
    RandomChoice,
    RandomCrop,
    RandomEqualize,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomInvert,
    RandomOrder,
    RandomPerspective,
    RandomPosterize,
    RandomResizedCrop,
    RandomRotation,
    RandomSolarize,
    RandomVerticalFlip,
    Resize,
    TenCrop,
    ToCHW,
    ToDtype,
    ToFloat,
    ToImage,
    ToTensor,
    Transform,
    TrivialAugmentWide,
)
from headrace.workers import WorkerInfo, get_worker_info

if typing.TYPE_CHECKING:
    from headrace.convert.write import write_dataset
    from headrace.datasets.cifar import CIFAR10, CIFAR100
    from headrace.datasets.images import ImageDataset, ImageFolder
    from headrace.datasets.mnist import MNIST, FashionMNIST
    from headrace.formats.arrow.dataset import ArrowDataset, ParquetDataset
    from headrace.formats.files import FilesDataset
    from headrace.formats.lmdb.dataset import LMDBDataset
    from headrace.formats.npy.dataset import NpyDataset
    from headrace.formats.opening import open_dataset
    from headrace.formats.tar.dataset import TarDataset
    from headrace.formats.tar.stream import TarStream
    from headrace.formats.tfrecord.dataset import TFRecordDataset
    from headrace.io.remote_options import RemoteOptions

__all__ = [  # noqa: RUF022 - in plain order
    "ArrowDataset",
    "AugMix",
    "AutoAugment",
    "AutoAugmentPolicy",
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
    "ElasticTransform",
    "FashionMNIST",
    "FilesDataset",
    "FiveCrop",
    "GaussianBlur",
    "Grayscale",
    "HeadraceError",
    "HeadraceWarning",
    "ImageDataset",
    "ImageFolder",
    "ImageTransform",
    "IterableDataset",
    "LMDBDataset",
    "Lambda",
    "LoaderStats",
    "MNIST",
    "MapDataset",
    "MixUp",
    "Normalize",
    "NpyDataset",
    "PILToTensor",
    "Pad",
    "PadCollate",
    "ParquetDataset",
    "RandAugment",
    "RandomAdjustSharpness",
    "RandomAffine",
    "RandomApply",
    "RandomAutocontrast",
    "RandomChoice",
    "RandomCrop",
    "RandomEqualize",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomInvert",
    "RandomOrder",
    "RandomPerspective",
    "RandomPosterize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSolarize",
    "RandomVerticalFlip",
    "RemoteOptions",
    "Resize",
    "StackDataset",
    "Subset",
    "TFRecordDataset",
    "TarDataset",
    "TarStream",
    "TenCrop",
    "TensorDataset",
    "ToCHW",
    "ToDtype",
    "ToFloat",
    "ToImage",
    "ToTensor",
    "Transform",
    "TrivialAugmentWide",
    "WorkerInfo",
    "default_collate",
    "default_rng",
    "empty",
    "get_worker_info",
    "mix",
    "open_dataset",
    "pad_collate",
    "random_split",
    "sample_rng",
    "write_dataset",
]

__version__ = "0.1.0"

# Where names are that not everybody needs, who would have to wait for them.
_LATE = {
    "open_dataset": "headrace.formats.opening",
    "write_dataset": "headrace.convert.write",
    "FilesDataset": "headrace.formats.files",
    "LMDBDataset": "headrace.formats.lmdb.dataset",
    "NpyDataset": "headrace.formats.npy.dataset",
    "RemoteOptions": "headrace.io.remote_options",
    "TFRecordDataset": "headrace.formats.tfrecord.dataset",
    "TarDataset": "headrace.formats.tar.dataset",
    "TarStream": "headrace.formats.tar.stream",
    **dict.fromkeys(("ArrowDataset", "ParquetDataset"), "headrace.formats.arrow.dataset"),
    **dict.fromkeys(("ImageDataset", "ImageFolder"), "headrace.datasets.images"),
    **dict.fromkeys(("CIFAR10", "CIFAR100"), "headrace.datasets.cifar"),
    **dict.fromkeys(("FashionMNIST", "MNIST"), "headrace.datasets.mnist"),
}


def __getattr__(name: str) -> typing.Any:
    """Import what is imported late."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LATE[name]), name)
    globals()[name] = value
    return value
