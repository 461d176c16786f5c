"""The kernels in NumPy: what the native ones are held to, and what serves where no compiler was."""

from __future__ import annotations

from headrace.kernels.reference.alias import alias
from headrace.kernels.reference.cut import cut, move
from headrace.kernels.reference.example import find_features, note_features, read_features
from headrace.kernels.reference.images import decode, decodes, has_libjpeg, jpeg_headers, scale
from headrace.kernels.reference.order import (
    FEISTEL_ROUNDS,
    FEISTEL_STREAM,
    FISHER_YATES_STREAM,
    feistel,
    fisher_yates,
    philox,
)
from headrace.kernels.reference.radical import radical_count, radical_find
from headrace.kernels.reference.records import (
    crc32c,
    crc32c_ranges,
    gather_ranges,
    prepare_slices,
    scan_tfrecord,
    slice_ranges,
    widen_ranges,
    widen_windows,
)
from headrace.kernels.reference.rows import gather, prepare_gather, prepare_gather_joined, prepare_gather_shards
from headrace.kernels.reference.sequences import pack, pad, pad_arrays, place_pieces, stack_tensors
from headrace.kernels.reference.tar import scan_tar
from headrace.kernels.reference.warp import warp

__all__ = [
    "FEISTEL_ROUNDS",
    "FEISTEL_STREAM",
    "FISHER_YATES_STREAM",
    "alias",
    "crc32c",
    "crc32c_ranges",
    "cut",
    "decode",
    "decodes",
    "feistel",
    "find_features",
    "fisher_yates",
    "gather",
    "gather_ranges",
    "has_libjpeg",
    "jpeg_headers",
    "move",
    "name",
    "note_features",
    "pack",
    "pad",
    "pad_arrays",
    "philox",
    "place_pieces",
    "prepare_gather",
    "prepare_gather_joined",
    "prepare_gather_shards",
    "prepare_slices",
    "radical_count",
    "radical_find",
    "read_features",
    "scale",
    "scan_tar",
    "scan_tfrecord",
    "slice_ranges",
    "stack_tensors",
    "warp",
    "widen_ranges",
    "widen_windows",
]

name = "reference"
