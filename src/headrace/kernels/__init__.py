"""The hot loops, native (C) where it was built and otherwise in NumPy, with the same results bit for bit."""

from __future__ import annotations

import os
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import ArgumentError, ReferenceKernelsWarning
from headrace.kernels import native

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from headrace.kernels.checks import Empty, Gather, GatherJoined, GatherShards
    from headrace.kernels.images import Pixels, Scaling
    from headrace.kernels.scans import FeatureScan, SliceRecords, TarScan
    from headrace.kernels.warp import Warp

__all__ = ["Kernels", "active", "why_not_native"]

_CHOICES = ("native", "reference")
_REMEDY = "install headrace where a C compiler is, or set HEADRACE_KERNELS=reference to accept this"


class Kernels(Protocol):
    """The functions of every implementation of the kernels; `headrace.kernels.reference` documents each."""

    @property
    def name(self) -> str:
        """The word for this implementation: native or reference."""

    def philox(self, key: int, indices: NDArray[np.int64], stream: int, block: int = 0) -> NDArray[np.uint32]:
        """Return four random 32-bit words for each index."""

    def fisher_yates(self, key: int, length: int) -> NDArray[np.int64]:
        """Return a random permutation of range(length)."""

    def feistel(self, key: int, length: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return positions [start, stop) of a pseudo-random permutation of range(length)."""

    def alias(self, chances: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the tables of the alias method."""

    def radical_count(self, positions: NDArray[np.int64], bounds: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Count the earlier positions of the van der Corput sequence with a value below a bound."""

    def radical_find(
        self, lows: NDArray[np.uint64], highs: NDArray[np.uint64], ranks: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return positions of the van der Corput sequence by their rank among those with a value in a range."""

    def pack(
        self, lengths: NDArray[np.int64], capacity: int, window: int, most: int, *, first_fit: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pack sequences into rows."""

    def pad(
        self,
        values: NDArray[Any],
        lengths: NDArray[np.int64],
        fill: NDArray[Any],
        out: NDArray[Any],
        *,
        most: int,
        before: bool,
    ) -> None:
        """Copy sequences that lie end to end to rows of their own, and pad these."""

    def pad_arrays(
        self,
        arrays: list[Any],
        fill: NDArray[Any],
        empty: Empty,
        *,
        most: int | None,
        multiple: int,
        before: bool,
        exchange: object = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
        """Copy arrays of one dimension to rows of their own, and pad these."""

    def stack_tensors(self, tensors: list[Any], out: NDArray[Any], exchange: object) -> bool:
        """Copy tensors of one dtype and shape to the rows of `out`."""

    def place_pieces(
        self,
        values: NDArray[Any],
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        places: NDArray[np.int64],
        fill: Any,
        out: NDArray[Any],
    ) -> None:
        """Copy pieces of values to their places, and fill what is between them."""

    def gather(self, source: NDArray[Any], indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy the rows of `source` at `indices` into `out`."""

    def prepare_gather(self, sources: Sequence[NDArray[Any]], empty: Empty) -> Gather:
        """Return a function that gathers the rows at indices of all arrays at once."""

    def prepare_gather_joined(self, sources: Sequence[NDArray[Any]], empty: Empty) -> GatherJoined:
        """Return a function that gathers the rows at indices of arrays end to end."""

    def prepare_gather_shards(self, sources: Sequence[NDArray[Any]]) -> GatherShards:
        """Return a function that gathers rows, each of one of the arrays."""

    def gather_ranges(
        self,
        sources: Sequence[NDArray[np.uint8]],
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
        out: NDArray[np.uint8],
    ) -> None:
        """Copy ranges of bytes of several sources into `out`, end to end."""

    def widen_ranges(
        self,
        sources: Sequence[NDArray[np.uint8]],
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
        dtype: np.dtype[Any],
        out: NDArray[np.int64],
    ) -> None:
        """Copy ranges of integers of several sources into `out`, end to end, as int64."""

    def widen_windows(
        self,
        sources: Sequence[NDArray[np.uint8]],
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        dtype: np.dtype[Any],
        out: NDArray[np.int64],
    ) -> None:
        """Copy windows of integers of several sources, once or shifted, as int64."""

    def slice_ranges(
        self,
        sources: Sequence[NDArray[np.uint8]],
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
    ) -> list[bytes]:
        """Return ranges of bytes of several sources, each as an object of its own."""

    def prepare_slices(self, sources: Sequence[NDArray[np.uint8]], tables: Sequence[NDArray[Any]]) -> SliceRecords:
        """Return a function that returns records of files, each as an object of its own."""

    def crc32c(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.uint32]:
        """Return the CRC32C of ranges of bytes."""

    def crc32c_ranges(
        self,
        sources: Sequence[NDArray[np.uint8]],
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
    ) -> NDArray[np.uint32]:
        """Return the CRC32C of ranges of bytes of several sources."""

    def scan_tfrecord(self, data: NDArray[np.uint8], position: int, capacity: int) -> tuple[NDArray[Any], int, int]:
        """List the records of a TFRecord file."""

    def scan_tar(self, data: NDArray[np.uint8], scan: TarScan) -> int:
        """List the members of a tar that are files of a sample."""

    def find_features(
        self, data: NDArray[np.uint8], bounds: NDArray[np.int64], names: Sequence[bytes]
    ) -> tuple[NDArray[np.int64], int]:
        """Find features by name in records that are tf.train.Example."""

    def note_features(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64], scan: FeatureScan
    ) -> int:
        """Note which features records have that are tf.train.Example."""

    def read_features(self, data: NDArray[np.uint8], spans: NDArray[np.int64], kind: int) -> tuple[NDArray[Any], int]:
        """Read the values of one feature of each record."""

    def move(
        self,
        indices: NDArray[np.int64],
        sizes: NDArray[np.int64],
        moves: NDArray[np.int64],
        places: NDArray[np.int32],
    ) -> None:
        """Find where images come from once they are moved."""

    def cut(
        self,
        source: NDArray[np.uint8],
        indices: NDArray[np.int64],
        places: NDArray[np.int32],
        table: NDArray[Any],
        fill: NDArray[Any],
        out: NDArray[Any],
        terms: NDArray[np.float32] | None = None,
        lines: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None,
        threads: int = 1,
    ) -> None:
        """Cut crop boxes out of images, mirror them, and look each value up in a table."""

    def scale(
        self,
        source: NDArray[np.uint8],
        indices: NDArray[np.int64],
        scaling: Scaling,
        pixels: Pixels,
        out: NDArray[Any],
        threads: int = 1,
    ) -> None:
        """Scale a part of each image, then cut crop boxes out of these as `cut` does."""

    def warp(
        self, source: NDArray[Any], indices: NDArray[np.int64], warp: Warp, out: NDArray[Any], threads: int = 1
    ) -> None:
        """Make images of others by maps: each pixel is taken from a place of its own."""

    @property
    def decodes(self) -> bool:
        """Whether `decode` decodes baseline JPEG images, which nearly all are."""

    @property
    def has_libjpeg(self) -> bool:
        """Whether `decode` decodes all others, too, but for those of four components."""

    def jpeg_headers(self, files: Sequence[bytes]) -> NDArray[np.int32]:
        """Return what the headers of JPEG images say."""

    def decode(
        self,
        files: Sequence[bytes],
        headers: NDArray[np.int32],
        denominators: NDArray[np.int32],
        scaling: Scaling,
        pixels: Pixels,
        out: NDArray[Any],
        threads: int = 1,
    ) -> list[tuple[int, str]]:
        """Decode JPEG images, of each no more than the part that is scaled and shown; then as `scale`."""


@cache
def active() -> Kernels:
    """Return the kernels in use, chosen at the first call.

    The environment variable HEADRACE_KERNELS decides: "native" or "reference". Without it the native ones are
    taken if they are there, else the reference with a ReferenceKernelsWarning.

    Raises:
        ArgumentError: HEADRACE_KERNELS has another value, or asks for native kernels that are not there.

    >>> active().name in ("native", "reference")
    True
    """
    choice = os.environ.get("HEADRACE_KERNELS", "")
    if choice and choice not in _CHOICES:
        raise ArgumentError(f"HEADRACE_KERNELS is {choice!r}, but only 'native' and 'reference' are allowed")
    if choice == "reference":
        return _reference()
    found = native.load()
    if isinstance(found, native.NativeKernels):
        return found
    if choice == "native":
        raise ArgumentError(f"HEADRACE_KERNELS asks for the native kernels, but {found}; {_REMEDY}")
    warnings.warn(f"the slower NumPy kernels serve because {found}; {_REMEDY}", ReferenceKernelsWarning, stacklevel=2)
    return _reference()


def _reference() -> Kernels:
    from headrace.kernels import reference  # which few programs use

    return reference


def why_not_native() -> str | None:
    """Return why the native kernels cannot be used, in one line, or None when they can."""
    found = native.load()
    return found if isinstance(found, str) else None
