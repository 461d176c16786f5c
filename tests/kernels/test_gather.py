from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError
from headrace.kernels import native, reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.kernels import Kernels

DTYPES = [
    "u1",
    "?",
    "<i2",
    ">i2",
    "f4",
    "<f8",
    ">f8",
    "c16",
    "g",
    "S3",
    "S0",
    "U5",
    "M8[s]",
    "m8[us]",
    "V7",
    "O",
]
DTYPES += ["u1,f8", "3u2,f4"]
LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "as it is": lambda a: a,
    "read-only": lambda a: _read_only(a.copy()),
    "every other row": lambda a: a[::2],
    "backwards": lambda a: a[::-1],
    "one row many times": lambda a: np.broadcast_to(a[:1], (5, *a.shape[1:])) if len(a) else a,
    "some columns": lambda a: a[:, 1:] if a.ndim > 1 else a,
    "every other column": lambda a: a[..., ::2] if a.ndim > 1 else a,
    "Fortran order": lambda a: np.asfortranarray(a),
    "misaligned": lambda a: _misaligned(a),
}


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _misaligned(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.hasobject or array.nbytes == 0:
        return array
    memory = np.zeros(array.nbytes + 1, dtype=np.uint8)
    memory[1:] = np.frombuffer(array.tobytes(), dtype=np.uint8)
    return memory[1:].view(array.dtype).reshape(array.shape)


def filled(dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array in which all rows differ, of any dtype."""
    count = int(np.prod(shape))
    if dtype == "O":
        return np.array([f"object {i}" for i in range(count)] + [None], dtype=object)[:-1].reshape(shape)
    kind = np.dtype(dtype)
    raw = np.random.default_rng(count).integers(0, 2 if dtype == "?" else 100, count * kind.itemsize, dtype=np.uint8)
    return np.ndarray(shape, kind, raw.tobytes()).copy()


def gathered(kernels: Kernels, source: NDArray[Any], indices: NDArray[np.int64]) -> NDArray[Any]:
    out = np.empty((len(indices), *source.shape[1:]), dtype=source.dtype)
    kernels.gather(source, indices, out)
    return out


@st.composite
def run_patterns(draw: st.DrawFn, length: int) -> NDArray[np.int64]:
    """Indices in which runs of neighbours, repetitions and jumps follow each other."""
    if length == 0:
        return np.empty(0, dtype=np.int64)
    runs = draw(
        st.lists(st.tuples(st.integers(0, length - 1), st.integers(1, 12), st.sampled_from([-1, 0, 1])), max_size=8)
    )
    parts = [start + step * np.arange(count) for start, count, step in runs]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts]).clip(0, length - 1).astype(np.int64)


@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.tuples(st.integers(0, 20)).flatmap(
        lambda rows: st.lists(st.sampled_from([0, 1, 2, 3, 5, 17]), max_size=3).map(lambda tail: (*rows, *tail))
    ),
    layout=st.sampled_from(sorted(LAYOUTS)),
    data=st.data(),
)
def test_like_fancy_indexing(dtype: str, shape: tuple[int, ...], layout: str, data: st.DataObject) -> None:
    source = LAYOUTS[layout](filled(dtype, shape))
    indices = data.draw(run_patterns(len(source)))
    expected = source[indices]
    for kernels in (reference, native.load()):
        if not isinstance(kernels, str):
            np.testing.assert_array_equal(gathered(kernels, source, indices), expected)


@pytest.mark.parametrize("row_bytes", [*range(1, 70), 96, 128, 256, 511, 1024, 5000])
def test_rows_of_any_size(kernels: Kernels, row_bytes: int) -> None:
    source = np.random.default_rng(0).integers(0, 256, (200, row_bytes), dtype=np.uint8)
    indices = np.concatenate([np.random.default_rng(1).integers(0, 200, 100), np.arange(50, 90), np.arange(9, 0, -1)])
    np.testing.assert_array_equal(gathered(kernels, source, indices), source[indices])


def test_row_whose_stride_means_nothing(kernels: Kernels) -> None:
    """NumPy calls any array of one row contiguous, whatever its stride says."""
    big = np.arange(60.0).reshape(10, 6)
    source, out = big[5::7], np.zeros((10, 6))[::7][:1]
    kernels.gather(source, np.array([0]), out)
    np.testing.assert_array_equal(out, source)


def test_strided_indices(kernels: Kernels) -> None:
    source, indices = np.arange(30.0).reshape(10, 3), np.arange(10)[::-3]
    np.testing.assert_array_equal(gathered(kernels, source, indices), source[indices])


def test_empty_source(kernels: Kernels) -> None:
    none = np.empty(0, dtype=np.int64)
    assert gathered(kernels, np.empty((0, 3)), none).shape == (0, 3)
    with pytest.raises(OutOfRangeError, match=r"^Index 0 out of range for dataset of size 0$"):
        gathered(kernels, np.empty((0, 3)), np.array([0]))


@pytest.mark.parametrize("bad", [-1, 10, 2**62, -(2**63)])
@pytest.mark.parametrize("columns", [0, 3])
def test_nothing_is_written_where_an_index_is_outside(kernels: Kernels, bad: int, columns: int) -> None:
    source, out = np.ones((10, columns)), np.zeros((4, columns))
    with pytest.raises(OutOfRangeError, match=rf"^Index {bad} out of range for dataset of size 10$"):
        kernels.gather(source, np.array([3, 9, bad, -7]), out)
    assert not out.any()


@pytest.mark.parametrize(
    ("source", "indices", "out", "error", "message"),
    [
        (
            np.ones((3, 2)),
            np.arange(3.0),
            np.ones((3, 2)),
            ArgumentTypeError,
            "indices has dtype float64, but int64",
        ),
        (
            np.ones((3, 2)),
            np.array([[0]]),
            np.ones((1, 2)),
            ArgumentError,
            r"indices has shape \(1, 1\), but one",
        ),
        (np.array(1.0), np.array([0]), np.ones(1), ArgumentError, "source is a single value"),
        (
            np.ones(3),
            np.array([0]),
            np.ones(1, "f4"),
            ArgumentTypeError,
            "out has dtype float32, but source has float64",
        ),
        (
            np.ones((3, 2)),
            np.array([0]),
            np.ones((1, 3)),
            ArgumentError,
            r"out has shape \(1, 3\), but \(1, 2\) is",
        ),
        (
            np.ones((3, 2)),
            np.array([0, 1]),
            np.ones((2, 4))[:, ::2],
            ArgumentError,
            r"out has strides \(32, 16\)",
        ),
        (np.ones(3), np.array([0]), _read_only(np.ones(1)), ArgumentError, "out is read-only"),
    ],
)
def test_arguments_are_checked(
    kernels: Kernels,
    source: NDArray[Any],
    indices: NDArray[Any],
    out: NDArray[Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        kernels.gather(source, indices, out)


def test_sources_over_two_gigabytes(kernels: Kernels) -> None:
    """Sparse memory: only the rows that are touched take any."""
    source = np.zeros((3, 2**30 + 1), dtype=np.uint8)
    source[2, :5] = [1, 2, 3, 4, 5]
    rows = source[:, :5]
    np.testing.assert_array_equal(gathered(kernels, rows, np.array([2, 0])), rows[[2, 0]])


def test_threads(kernels: Kernels) -> None:
    source = np.random.default_rng(0).random((5000, 33))

    def check(seed: int) -> bool:
        indices = np.random.default_rng(seed).integers(0, len(source), 300)
        return np.array_equal(gathered(kernels, source, indices), source[indices])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(400)))


COLUMNS = [np.arange(60.0).reshape(20, 3), np.arange(20), np.arange(20)[::-1], filled("u1,f8", (20, 2))]


@pytest.mark.parametrize("columns", [COLUMNS[:1], COLUMNS, [COLUMNS[0][:, 1:], COLUMNS[1]], [filled("O", (20, 2))]])
def test_all_columns_at_once(kernels: Kernels, columns: list[NDArray[Any]]) -> None:
    made: list[tuple[int, ...]] = []

    def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        made.append(shape)
        return np.empty(shape, dtype)

    gather_all = kernels.prepare_gather(columns, empty)
    for indices in (np.array([19, 0, 0, 7]), np.arange(20)[::-3], np.empty(0, np.int64), np.arange(20)):
        made.clear()
        batch = gather_all(indices)
        assert made == [(len(indices), *column.shape[1:]) for column in columns]
        for column, found in zip(columns, batch, strict=True):
            np.testing.assert_array_equal(found, column[indices], strict=True)


def test_a_prepared_gather_refuses_what_gather_does(kernels: Kernels) -> None:
    gather_all = kernels.prepare_gather(COLUMNS, np.empty)
    for bad in (-1, 20):
        with pytest.raises(OutOfRangeError, match=rf"^Index {bad} out of range for dataset of size 20$"):
            gather_all(np.array([3, bad]))
    with pytest.raises(ArgumentTypeError, match="int64 is needed"):
        gather_all(np.array([3], np.int32))
    with pytest.raises(ArgumentError, match="one dimension is needed"):
        gather_all(np.array([[3]]))
    with pytest.raises(ArgumentError, match=r"^sources have \[19, 20\] rows, but all must have as many$"):
        kernels.prepare_gather([*COLUMNS, np.arange(19)], np.empty)
    for sources in ([], [np.array(3)]):
        with pytest.raises(ArgumentError, match="but one or more"):
            kernels.prepare_gather(sources, np.empty)


def test_a_prepared_gather_keeps_its_arrays(kernels: Kernels) -> None:
    gather_all = kernels.prepare_gather([np.full((1000, 100), 7.0)], np.empty)
    other = [np.zeros((1000, 100)) for _ in range(5)]  # where memory that was freed would be used again
    assert gather_all(np.arange(0, 1000, 7))[0].min() == 7.0
    assert not any(map(np.any, other))


@pytest.mark.parametrize("dtype", ["f4", "u1,f8", ">i2", "O"])
@pytest.mark.parametrize("tail", [(), (3,), (0,), (40, 5)])
def test_rows_of_several_arrays(kernels: Kernels, dtype: str, tail: tuple[int, ...]) -> None:
    sources = [filled(dtype, (length, *tail)) for length in (7, 1, 30)]
    sources[2] = sources[2][::-2]
    whole, starts = np.concatenate(sources), np.array([0, 7, 8])
    which, rows = np.array([2, 0, 0, 1, 2] * 9), np.array([14, 0, 6, 0, 3] * 9)
    out = np.empty((45, *tail), dtype)
    kernels.prepare_gather_shards(sources)(which, rows, out)
    np.testing.assert_array_equal(out, whole[starts[which] + rows])


@pytest.mark.parametrize("dtype", ["f4", "u1,f8", ">i2", "O"])
@pytest.mark.parametrize("tail", [(), (3,), (0,), (40, 5)])
@pytest.mark.parametrize("lengths", [(9,), (7, 1, 60), (0, 5, 0, 0, 3, 0), (1,) * 37])
def test_rows_of_arrays_end_to_end(
    kernels: Kernels, dtype: str, tail: tuple[int, ...], lengths: tuple[int, ...]
) -> None:
    sources = [filled(dtype, (length, *tail)) for length in lengths]
    sources[-1] = sources[-1][::-1]
    whole = np.concatenate(sources)
    gather = kernels.prepare_gather_joined(sources, np.empty)
    for count in (0, 1, 2, 300):
        indices = np.random.default_rng(count).integers(0, len(whole), count)
        np.testing.assert_array_equal(gather(indices), whole[indices])
    np.testing.assert_array_equal(gather(np.arange(len(whole))[::-2]), whole[::-2])


def test_rows_of_arrays_end_to_end_that_there_are_not(kernels: Kernels) -> None:
    gather = kernels.prepare_gather_joined([np.arange(4), np.arange(2)], np.empty)
    for wrong in (6, -1, 2**62, -(2**63)):
        with pytest.raises(OutOfRangeError, match=rf"^Index {wrong} out of range for dataset of size 6$"):
            gather(np.array([0, wrong]))
    with pytest.raises(ArgumentTypeError, match="but int64 is needed"):
        gather(np.array([0.0]))
    with pytest.raises(ArgumentError, match="one dimension is needed"):
        gather(np.array([[0]]))
    with pytest.raises(ArgumentError, match="whose rows are of one kind are needed"):
        kernels.prepare_gather_joined([np.arange(3), np.arange(3.0)], np.empty)


def test_rows_of_several_arrays_that_there_are_not(kernels: Kernels) -> None:
    gather_shards = kernels.prepare_gather_shards([np.arange(4), np.arange(2)])
    out = np.zeros(2, np.int64)
    for number, row, wrong, length in [(1, 2, 2, 2), (0, -1, -1, 4), (2, 0, 2, 2), (-1, 0, -1, 2)]:
        with pytest.raises(OutOfRangeError, match=rf"^Index {wrong} out of range for dataset of size {length}$"):
            gather_shards(np.array([0, number]), np.array([3, row]), out)
    assert not out.any()
    with pytest.raises(ArgumentError, match="one each a row is needed"):
        gather_shards(np.array([0]), np.array([0, 1]), out)
    with pytest.raises(ArgumentTypeError, match="they must be the same"):
        gather_shards(np.array([0, 0]), np.array([0, 1]), np.zeros(2))
    for sources in ([], [np.arange(3), np.arange(3.0)], [np.array(1)]):
        with pytest.raises(ArgumentError, match="whose rows are of one kind are needed"):
            kernels.prepare_gather_shards(sources)
