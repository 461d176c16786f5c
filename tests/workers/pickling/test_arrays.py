"""Arrays between processes: they travel without a copy, and mapped files are mapped again."""

from __future__ import annotations

import copy
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tests.workers.pickling.helpers import (
    LARGE,
    Dump,
    Pair,
    address,
    apart,
    dumps,
    in_worker,
    steps,
    there_and_back,
)

from headrace.testing import check_same
from headrace.workers.pickling.messages import dump_result, dump_work, load

if TYPE_CHECKING:
    from pathlib import Path

_SCALARS = npst.scalar_dtypes() | npst.unicode_string_dtypes() | npst.byte_string_dtypes()
_RECORDS = npst.array_dtypes(npst.scalar_dtypes(), allow_subarrays=True)
_DTYPES = _SCALARS | _RECORDS.filter(lambda dtype: dtype.subdtype is None) | st.just(np.dtype("V2"))


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Any dtype and shape, and any order of the axes and direction in memory."""
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    dtype = draw(_DTYPES)
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind == "U":  # code points, not any bytes
        array = np.full(shape, draw(st.text(max_size=3)), dtype)
    else:
        array = np.frombuffer(draw(st.randoms()).randbytes(size) if size else b"", np.uint8)
        array = np.ndarray(shape, dtype, array.copy()) if size else np.empty(shape, dtype)
    array = array.transpose(draw(st.permutations(range(len(shape)))))
    steps: Any = [slice(None, None, draw(st.sampled_from([1, 1, -1, 2]))) for _ in shape]
    array = array[(..., *steps)]
    array.flags.writeable = draw(st.booleans())
    return array


def _containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(items, max_size=3)
        | st.tuples(items, items)
        | st.builds(Pair, items, items)
        | st.dictionaries(st.text(max_size=3) | st.integers(), items, max_size=3)
    )


_LEAVES = arrays() | st.integers() | st.floats() | st.text() | st.binary() | st.none()


@given(value=st.recursive(_LEAVES, _containers, max_leaves=6))
def test_any_structure_comes_back(value: Any) -> None:
    check_same(there_and_back(value), value)
    check_same(there_and_back(value, dump_work), value)


@given(array=arrays(), wide=st.booleans())
def test_arrays_keep_their_place_in_memory_and_their_flag(array: Any, wide: bool) -> None:
    if wide and array.ndim and array.size:
        array = np.concatenate([array] * 2000, array.ndim - 1)
    for dump in (dump_result, dump_work):
        back = there_and_back(array, dump)
        assert back.tobytes("A") == array.tobytes("A")
        assert back.flags.writeable == array.flags.writeable
        if array.flags.forc:
            assert back.flags.c_contiguous == array.flags.c_contiguous
            assert back.flags.f_contiguous == array.flags.f_contiguous


@pytest.mark.parametrize(
    "array",
    [
        LARGE,
        LARGE.T,
        LARGE.reshape(4, 8, 8, 8).transpose(0, 3, 1, 2),
        LARGE.reshape(1, 32, 1, 64).transpose(2, 3, 0, 1),
        LARGE.astype(">i2").T,
        np.arange(4096).astype("M8[s]"),
        np.zeros(1024, [("place", "i4", 2), ("time", "m8[ms]")]),
    ],
    ids=["C", "F", "axes", "ones", "big endian", "dates", "records"],
)
@dumps
def test_dense_arrays_are_not_copied(array: Any, dump: Dump) -> None:
    sent = dump((array, 1))
    assert [buffer.raw().nbytes for buffer in sent.buffers] == [array.nbytes]
    memory: Any = np.frombuffer(sent.buffers[0].raw(), np.uint8)
    assert address(memory) == address(array)
    back, _ = load(sent.payload, sent.buffers)
    assert (address(back), back.shape, steps(back)) == (address(array), array.shape, steps(array))
    assert back.dtype == array.dtype
    assert len(sent.payload) < 700


@pytest.mark.parametrize("array", [LARGE[:, ::-1], LARGE[:, ::2], np.broadcast_to(LARGE[:, :1], (32, 64))])
@dumps
def test_other_arrays_are_copied_once(array: Any, dump: Dump) -> None:
    assert apart(array, dump) == [array.nbytes]
    check_same(there_and_back(array, dump), array)
    assert there_and_back(array, dump).flags.writeable == array.flags.writeable


@dumps
def test_small_arrays_travel_in_the_pickle_and_stay_writable(dump: Dump) -> None:
    assert apart([np.zeros(1023, np.float32), np.arange(5)], dump) == []
    assert apart(np.zeros(1024, np.float32), dump) == [4096]
    small = np.arange(5)
    back = there_and_back(small, dump)
    back[0] = 7
    assert (small[0], back[0]) == (0, 7)
    small.flags.writeable = False
    assert not there_and_back(small, dump).flags.writeable


def test_a_batch_costs_few_bytes_beside_its_arrays() -> None:
    assert len(dump_result((LARGE, LARGE.copy(), LARGE.T)).payload) < 150


@dumps
def test_arrays_are_as_writable_as_their_memory(dump: Dump) -> None:
    sent = dump(LARGE)
    assert load(sent.payload, [bytearray(LARGE)]).flags.writeable
    assert not load(sent.payload, [bytes(LARGE)]).flags.writeable
    frozen = LARGE.copy()
    frozen.flags.writeable = False
    for array in (frozen, frozen[:, ::2]):
        assert not there_and_back(array, dump).flags.writeable


def test_memory_is_held_while_an_array_lies_in_it() -> None:
    sent = dump_result(LARGE)
    memory = bytearray(LARGE)
    array = load(sent.payload, [memory])
    with pytest.raises(BufferError):
        memory.clear()
    assert array[0, 1] == 1
    del array
    memory.clear()


@dumps
def test_one_array_met_twice_stays_one(dump: Dump) -> None:
    first, second = there_and_back([LARGE, LARGE], dump)
    assert first is second
    assert apart([LARGE, LARGE], dump) == [LARGE.nbytes]


@dumps
def test_arrays_that_are_more_than_memory_go_their_own_way(dump: Dump) -> None:
    objects = np.array([{"a": 1}, "b", None], object)
    assert there_and_back(objects, dump).tolist() == objects.tolist()
    masked = np.ma.masked_array([1, 2, 3], [True, False, False])
    assert there_and_back(masked, dump).tolist() == [None, 2, 3]
    named = np.zeros(3, [("x", "i4")]).view(np.recarray)
    assert type(there_and_back(named, dump)) is np.recarray
    words = np.array(["a", "bc"], np.dtypes.StringDType())
    assert there_and_back(words, dump).tolist() == ["a", "bc"]


def test_results_need_no_cloudpickle(no_cloudpickle: None) -> None:
    batch = {"x": LARGE, "y": Pair(["a"], np.float32(1))}
    check_same(there_and_back(batch), batch)


def test_copies_of_what_was_pickled_are_independent() -> None:
    sent = dump_result(Pair(LARGE, [1]))
    assert copy.copy(sent) == sent
    first, second = (load(sent.payload, [bytearray(LARGE)]) for _ in range(2))
    first.first[0] = -1
    assert second.first[0, 0] == 0


# ---------------------------------------------------------------------- memory-mapped files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", np.arange(40_000, dtype=np.int32).reshape(100, 400))
    return tmp_path / "rows.npy"


def views_of(rows: Any) -> dict[str, Any]:
    return {
        "all": rows,
        "plain": np.asarray(rows),
        "part": rows[3:90:4, 5:200],
        "backwards": np.asarray(rows)[::-1, ::-3],
        "turned": rows.T,
        "bytes": rows.view(np.uint8)[7],
        "row": np.asarray(rows)[9],
        "empty": rows[:0],
    }


@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("kind", views_of(np.zeros((100, 400), np.int32)))
def test_files_are_mapped_again(file: Path, mode: Any, kind: str) -> None:
    view = views_of(np.load(file, mmap_mode=mode))[kind]
    sent = dump_work(view)
    assert sent.buffers == []
    assert len(sent.payload) < 900
    back = load(sent.payload, [])
    check_same(back, view)
    assert type(back) is type(view)
    assert back.strides == view.strides
    assert back.flags.writeable == view.flags.writeable == (mode == "r+")
    if isinstance(view, np.memmap) and view.size:
        assert (back.filename, back.mode) == (view.filename, view.mode)
        again = dump_work(back)  # a worker may have workers
        check_same(load(again.payload, again.buffers), view)


def test_a_mapped_file_is_the_same_file(file: Path) -> None:
    rows = np.load(file, mmap_mode="r+")
    rows[2, 3] = -1
    work = functools.partial(np.asarray(rows).__getitem__, (slice(2, 3), slice(3, 5)))
    assert in_worker(work).tolist() == [[-1, 804]]
    there_and_back(rows, dump_work)[2, 4] = -2
    assert rows[2, 4] == -2


def test_new_files_are_mapped_again_not_emptied(tmp_path: Path) -> None:
    rows = np.memmap(tmp_path / "new", np.int64, "w+", 16, (600, 2), "F")
    rows[:] = np.arange(1200).reshape(600, 2)
    back = there_and_back(rows, dump_work)
    assert apart(rows, dump_work) == []
    assert (back.mode, back.offset, back.strides) == ("r+", 16, rows.strides)
    check_same(back, rows)
    rows.flags.writeable = False
    assert not there_and_back(rows, dump_work).flags.writeable


def test_files_are_written_before_they_are_mapped_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(np.memmap, "flush", lambda rows: flushed.append(rows.mode))
    for mode in ("r", "r+"):
        dump_work(list(np.load(file, mmap_mode=mode)))
    assert flushed == ["r+"]


def test_a_file_is_mapped_once_for_all_its_views(file: Path) -> None:
    rows = np.load(file, mmap_mode="r")
    sent = dump_work([rows, *rows, *np.asarray(rows)])
    assert sent.buffers == []
    back = load(sent.payload, [])
    assert len(back) == 201
    assert len({address(row) - address(back[0]) for row in back}) == 100
    assert [int(row[0]) for row in back[101:]] == list(range(0, 40_000, 400))


def test_private_changes_travel(file: Path) -> None:
    rows = np.load(file, mmap_mode="c")
    rows[0, 0] = 99
    assert apart(rows, dump_work) == [rows.nbytes]
    back = there_and_back(rows, dump_work)
    check_same(back, rows)
    assert type(back) is np.memmap
    assert back.filename is None


def test_deleted_files_travel_as_arrays(file: Path) -> None:
    rows = np.load(file, mmap_mode="r")
    file.unlink()
    assert apart(np.asarray(rows), dump_work) == [rows.nbytes]
    check_same(there_and_back(rows, dump_work), rows)
    file.write_bytes(b"too short")
    assert apart(rows, dump_work) == [rows.nbytes]


def test_a_file_that_vanishes_on_the_way_is_named(file: Path) -> None:
    sent = dump_work(np.load(file, mmap_mode="r"))
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"rows\.npy"):
        load(sent.payload, [])


def test_arrays_computed_from_mapped_ones_are_not_taken_for_them(file: Path) -> None:
    rows = np.load(file, mmap_mode="r")
    for array in (rows + 1, rows[[3, 5, 7]], rows.copy()):
        check_same(there_and_back(array, dump_work), array)
        assert apart(array, dump_work) == [array.nbytes]


def test_results_hold_copies_of_mapped_files(file: Path) -> None:
    rows = np.load(file, mmap_mode="r")[10:30]
    assert apart(rows) == [rows.nbytes]
    back = there_and_back(rows)
    check_same(back, rows)
    assert type(back) is np.memmap
    assert back.filename is None
