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

if typing.TYPE_CHECKING:
    from headrace.batch.arena import empty
    from headrace.batch.collate import default_collate
    from headrace.batch.flatten import FlattenCollate
    from headrace.batch.pad import PadCollate, pad_collate
    from headrace.cache.dataset import CachedDataset
    from headrace.convert.write import write_dataset
    from headrace.datasets.base import Dataset, IterableDataset
    from headrace.datasets.cifar import CIFAR10, CIFAR100
    from headrace.datasets.compose import ConcatDataset, StackDataset, Subset
    from headrace.datasets.images import ImageDataset, ImageFolder
    from headrace.datasets.map import MapDataset
    from headrace.datasets.mix import mix
    from headrace.datasets.mnist import MNIST, FashionMNIST
    from headrace.datasets.shared_list import SharedList
    from headrace.datasets.split import random_split
    from headrace.datasets.stats import CacheStats
    from headrace.datasets.tables import ColumnDataset
    from headrace.datasets.tensor import TensorDataset
    from headrace.errors import HeadraceError, HeadraceWarning
    from headrace.formats.arrayrecord.dataset import ArrayRecordDataset
    from headrace.formats.arrow.dataset import ArrowDataset, ParquetDataset
    from headrace.formats.files import FilesDataset
    from headrace.formats.hdf5.dataset import HDF5Dataset
    from headrace.formats.jsonl.dataset import JsonlDataset, TextLines
    from headrace.formats.jsonl.stream import JsonlStream
    from headrace.formats.lance.dataset import LanceDataset
    from headrace.formats.litdata.dataset import LitDataDataset
    from headrace.formats.lmdb.dataset import LMDBDataset
    from headrace.formats.mds.dataset import MDSDataset
    from headrace.formats.npy.dataset import NpyDataset
    from headrace.formats.opening import open_dataset
    from headrace.formats.tar.dataset import TarDataset
    from headrace.formats.tar.stream import TarStream
    from headrace.formats.tfrecord.dataset import TFRecordDataset
    from headrace.formats.tokens.dataset import TokenDataset
    from headrace.formats.tokens.documents import TokenDocuments
    from headrace.formats.tokens.gpt import GPTDataset
    from headrace.formats.zarr.dataset import ZarrDataset
    from headrace.insight.stats import LoaderStats
    from headrace.io.remote_options import RemoteOptions
    from headrace.loader.bad_samples import BadSample
    from headrace.loader.dataloader import DataLoader
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

__all__ = [  # noqa: RUF022 - in plain order
    "ArrayRecordDataset",
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
    "FlattenCollate",
    "GPTDataset",
    "GaussianBlur",
    "Grayscale",
    "HDF5Dataset",
    "HeadraceError",
    "HeadraceWarning",
    "ImageDataset",
    "ImageFolder",
    "ImageTransform",
    "IterableDataset",
    "JsonlDataset",
    "JsonlStream",
    "LMDBDataset",
    "Lambda",
    "LanceDataset",
    "LitDataDataset",
    "LoaderStats",
    "MDSDataset",
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
    "SharedList",
    "StackDataset",
    "Subset",
    "TFRecordDataset",
    "TarDataset",
    "TarStream",
    "TenCrop",
    "TensorDataset",
    "TextLines",
    "ToCHW",
    "ToDtype",
    "ToFloat",
    "ToImage",
    "ToTensor",
    "TokenDataset",
    "TokenDocuments",
    "Transform",
    "TrivialAugmentWide",
    "WorkerInfo",
    "ZarrDataset",
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

# The module that each name is in. It is imported when the name is first used, since nobody uses them all, and a program
# or a worker process that uses a few would have to wait for the others.
_HOMES = {
    "empty": "headrace.batch.arena",
    "default_collate": "headrace.batch.collate",
    "FlattenCollate": "headrace.batch.flatten",
    **dict.fromkeys(("PadCollate", "pad_collate"), "headrace.batch.pad"),
    "CachedDataset": "headrace.cache.dataset",
    "write_dataset": "headrace.convert.write",
    **dict.fromkeys(("Dataset", "IterableDataset"), "headrace.datasets.base"),
    **dict.fromkeys(("ConcatDataset", "StackDataset", "Subset"), "headrace.datasets.compose"),
    "MapDataset": "headrace.datasets.map",
    "random_split": "headrace.datasets.split",
    "ColumnDataset": "headrace.datasets.tables",
    "TensorDataset": "headrace.datasets.tensor",
    **dict.fromkeys(("CIFAR10", "CIFAR100"), "headrace.datasets.cifar"),
    **dict.fromkeys(("ImageDataset", "ImageFolder"), "headrace.datasets.images"),
    "mix": "headrace.datasets.mix",
    **dict.fromkeys(("MNIST", "FashionMNIST"), "headrace.datasets.mnist"),
    "SharedList": "headrace.datasets.shared_list",
    "CacheStats": "headrace.datasets.stats",
    **dict.fromkeys(("HeadraceError", "HeadraceWarning"), "headrace.errors"),
    **dict.fromkeys(("ArrowDataset", "ParquetDataset"), "headrace.formats.arrow.dataset"),
    "ArrayRecordDataset": "headrace.formats.arrayrecord.dataset",
    "HDF5Dataset": "headrace.formats.hdf5.dataset",
    "LanceDataset": "headrace.formats.lance.dataset",
    "ZarrDataset": "headrace.formats.zarr.dataset",
    "FilesDataset": "headrace.formats.files",
    **dict.fromkeys(("JsonlDataset", "TextLines"), "headrace.formats.jsonl.dataset"),
    "JsonlStream": "headrace.formats.jsonl.stream",
    "LMDBDataset": "headrace.formats.lmdb.dataset",
    "LitDataDataset": "headrace.formats.litdata.dataset",
    "MDSDataset": "headrace.formats.mds.dataset",
    "NpyDataset": "headrace.formats.npy.dataset",
    "open_dataset": "headrace.formats.opening",
    "TarDataset": "headrace.formats.tar.dataset",
    "TarStream": "headrace.formats.tar.stream",
    "TFRecordDataset": "headrace.formats.tfrecord.dataset",
    "TokenDataset": "headrace.formats.tokens.dataset",
    "TokenDocuments": "headrace.formats.tokens.documents",
    "GPTDataset": "headrace.formats.tokens.gpt",
    "RemoteOptions": "headrace.io.remote_options",
    "BadSample": "headrace.loader.bad_samples",
    "DataLoader": "headrace.loader.dataloader",
    "LoaderStats": "headrace.insight.stats",
    **dict.fromkeys(("default_rng", "sample_rng"), "headrace.rng.draws"),
    **dict.fromkeys(
        (
            "AugMix",
            "AutoAugment",
            "AutoAugmentPolicy",
            "CenterCrop",
            "ColorJitter",
            "Compose",
            "CutMix",
            "Decode",
            "ElasticTransform",
            "FiveCrop",
            "GaussianBlur",
            "Grayscale",
            "ImageTransform",
            "Lambda",
            "MixUp",
            "Normalize",
            "Pad",
            "PILToTensor",
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
            "Resize",
            "TenCrop",
            "ToCHW",
            "ToDtype",
            "ToFloat",
            "ToImage",
            "ToTensor",
            "Transform",
            "TrivialAugmentWide",
        ),
        "headrace.transforms",
    ),
    **dict.fromkeys(("WorkerInfo", "get_worker_info"), "headrace.workers"),
}
# Modules that are attributes of the package without an import of their own.
_MODULES = {"batch", "cache", "datasets", "errors", "frameworks", "images", "io", "kernels", "loader", "pipeline"}
_MODULES |= {"rng", "sampling", "transforms", "workers"}


def __getattr__(name: str) -> typing.Any:
    """Import what is imported late: a name, or a module of the package."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names that there are, those too that are imported late."""
    return sorted({*globals(), *__all__})
