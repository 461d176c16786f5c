"""What a sample is: datasets, datasets made of others, and how samples and batches are read.

Datasets of image files are in `images`, the classic image sets in `vision`; both are imported where
they are used.
"""

from headrace.data.cache import CachedDataset
from headrace.data.compose import ConcatDataset, StackDataset, Subset
from headrace.data.dataset import Dataset, IterableDataset
from headrace.data.mapped import MapDataset
from headrace.data.split import random_split
from headrace.data.tables import ColumnDataset
from headrace.data.tensors import TensorDataset

__all__ = [
    "CachedDataset",
    "ColumnDataset",
    "ConcatDataset",
    "Dataset",
    "IterableDataset",
    "MapDataset",
    "StackDataset",
    "Subset",
    "TensorDataset",
    "random_split",
]
