"""The kernels that gather rows of arrays, in NumPy; `headrace.kernels.reference` offers them with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.checks import (
    check_columns,
    check_gather,
    check_gather_shards,
    check_indices,
    check_shards,
    index_error,
    shard_error,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.kernels.checks import Empty, Gather, GatherJoined, GatherShards

__all__ = ["gather", "prepare_gather", "prepare_gather_joined", "prepare_gather_shards"]


def gather(source: NDArray[Any], indices: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Copy the rows of `source` at `indices` into `out`: out[i] = source[indices[i]].

    Args:
        source: Array of shape (n, ...), any dtype.
        indices: int64 of shape (m,), each in [0, n).
        out: C-contiguous array of shape (m, ...) and the dtype of `source`, not overlapping it.

    Raises:
        OutOfRangeError: An index is outside [0, n), negative ones included; nothing is written then.
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape or layout does not match.

    >>> out = np.empty((2, 3), dtype=np.int64)
    >>> gather(np.arange(12).reshape(4, 3), np.array([3, 0]), out)
    >>> out.tolist()
    [[9, 10, 11], [0, 1, 2]]
    """
    check_gather(source, indices, out)
    length = len(source)
    outside = (indices < 0) | (indices >= length)
    if outside.any():
        raise index_error(int(indices[outside.argmax()]), length)
    if source.flags.c_contiguous and source.flags.aligned:
        source.take(indices, 0, out, "clip")  # "raise" would fill a second array first
    else:
        out[...] = source[indices]  # take would copy the whole source to make it contiguous


def prepare_gather(sources: Sequence[NDArray[Any]], empty: Empty) -> Gather:
    """Return a function that gathers the rows at indices of all arrays at once.

    What a kernel needs to know of the arrays is found here, so that many small batches cost little.

    Args:
        sources: Arrays of shape (n, ...), any dtypes, one at least. They may not be resized.
        empty: Makes the arrays that the function returns, of a shape and dtype, such as `numpy.empty`.

    Returns:
        A function of indices, int64 of shape (m,), each in [0, n). It returns a list of arrays of shape (m, ...), one
        for each of the sources, and raises what `gather` does. It cannot be pickled.

    Raises:
        ArgumentError: There are no arrays, or they have not as many rows.

    >>> gather_all = prepare_gather([np.arange(12).reshape(4, 3), np.arange(4) / 2], np.empty)
    >>> gather_all(np.array([3, 0]))
    [array([[ 9, 10, 11],
           [ 0,  1,  2]]), array([1.5, 0. ])]
    """
    check_columns(sources)

    def gather_all(indices: NDArray[np.int64]) -> list[NDArray[Any]]:
        check_indices(indices)
        found = [empty((len(indices), *source.shape[1:]), source.dtype) for source in sources]
        for source, out in zip(sources, found, strict=True):
            gather(source, indices, out)
        return found

    return gather_all


def prepare_gather_joined(sources: Sequence[NDArray[Any]], empty: Empty) -> GatherJoined:
    """Return a function that gathers the rows at indices of arrays end to end.

    Args:
        sources: Arrays of shape (n, ...), one at least, whose rows are of one dtype and shape.
        empty: Makes the array that the function returns, as for `prepare_gather`.

    Returns:
        A function of indices, int64 of shape (m,), each in [0, sum of all n). It returns an array of shape (m, ...),
        raises what `gather` does, and cannot be pickled.

    Raises:
        ArgumentError: There are no arrays, or their rows are not alike.

    >>> prepare_gather_joined([np.arange(5), np.array([70])], np.empty)(np.array([4, 5, 0]))
    array([ 4, 70,  0])
    """
    gather_shards = prepare_gather_shards(sources)
    stops = np.cumsum([len(source) for source in sources])

    def gather_joined(indices: NDArray[np.int64]) -> NDArray[Any]:
        check_indices(indices)
        outside = (indices < 0) | (indices >= stops[-1])
        if outside.any():
            raise index_error(int(indices[outside.argmax()]), int(stops[-1]))
        out = empty((len(indices), *sources[0].shape[1:]), sources[0].dtype)
        which = np.searchsorted(stops, indices, side="right")
        gather_shards(which, indices - np.append(0, stops)[which], out)
        return out

    return gather_joined


def prepare_gather_shards(sources: Sequence[NDArray[Any]]) -> GatherShards:
    """Return a function that gathers rows, each of one of the arrays.

    Args:
        sources: Arrays of shape (n, ...), one at least, whose rows are of one dtype and shape.

    Returns:
        A function of `which`, `rows` and `out`: out[i] = sources[which[i]][rows[i]]. It raises what `gather` does, and
        cannot be pickled.

    Raises:
        ArgumentError: There are no arrays, or their rows are not alike.

    >>> out = np.empty(3, np.int64)
    >>> prepare_gather_shards([np.arange(5), np.array([70])])(np.array([0, 1, 0]), np.array([4, 0, 2]), out)
    >>> out
    array([ 4, 70,  2])
    """
    check_shards(sources)

    def gather_shards(which: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        check_gather_shards(sources[0], which, rows, out)
        places = zip(which.tolist(), rows.tolist(), strict=True)
        for bad, (number, row) in enumerate(places):
            if not (0 <= number < len(sources) and 0 <= row < len(sources[number])):
                raise shard_error(sources, which, rows, bad)
        for number, source in enumerate(sources):
            here = np.flatnonzero(which == number)
            out[here] = source[rows[here]]

    return gather_shards
