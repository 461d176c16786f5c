"""Datasets, datasets made of others, and how samples and batches are read.

Datasets of image files are in `images`, the classic image sets in `mnist` and `cifar`; all are imported where
they are used.
"""

from headrace.datasets.base import Dataset, IterableDataset
from headrace.datasets.compose import ConcatDataset, StackDataset, Subset
from headrace.datasets.map import MapDataset
from headrace.datasets.mix import MixedDataset, mix
from headrace.datasets.packed import PackedDataset
from headrace.datasets.split import random_split
from headrace.datasets.tables import ColumnDataset
from headrace.datasets.tensor import TensorDataset

__all__ = [
    "ColumnDataset",
    "ConcatDataset",
    "Dataset",
    "IterableDataset",
    "MapDataset",
    "MixedDataset",
    "PackedDataset",
    "StackDataset",
    "Subset",
    "TensorDataset",
    "mix",
    "random_split",
]
