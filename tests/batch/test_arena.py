"""Leased memory: used again as soon as nobody looks at it, and not a moment before."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, Subset, TensorDataset, default_collate, empty
from headrace.batch.arena import Arena, use_arena

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
Array = np.ndarray[Any, Any]


def lease(arena: Arena, nbytes: int = MIB, fill: int = 7) -> Array:
    with use_arena(arena):
        array = empty((nbytes // 4, 4), np.uint8)
    array[...] = fill
    return array


def address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def _torch(array: Array) -> Any:
    return pytest.importorskip("torch", reason="shares memory with NumPy").from_numpy(array)


def _jax(array: Array) -> Any:
    jax = pytest.importorskip("jax", reason="shares memory with NumPy")
    return jax.device_put(array, may_alias=True)


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda array: array,
    "slice": lambda array: array[5:7, 1],
    "slice of a slice": lambda array: array[1:][1:][:3],
    "one element's view": lambda array: array[0, ...][0:1],
    "reshape": lambda array: array.reshape(-1),
    "transpose": lambda array: array.T,
    "other dtype": lambda array: array.view(np.float32),
    "subclass": lambda array: array.view(np.recarray),
    "asarray": lambda array: np.asarray(array[2:]),
    "broadcast": lambda array: np.broadcast_to(array[0], (3, 4)),
    "strides": lambda array: np.lib.stride_tricks.as_strided(array[1:], (2, 2), (1, 1)),
    "flat": lambda array: array.flat,
    "memoryview": lambda array: memoryview(array)[3:4],
    "frombuffer": lambda array: np.frombuffer(array, np.uint8)[:9],
    "pickle buffer": lambda array: pickle.PickleBuffer(array),
    "ctypes": lambda array: array.ctypes.data_as(__import__("ctypes").c_void_p),
    "NumPy from DLPack": lambda array: np.from_dlpack(array),
    "torch": lambda array: _torch(array),
    "torch slice": lambda array: _torch(array)[3:5],
    "torch from DLPack": lambda array: pytest.importorskip("torch", reason="reads DLPack").from_dlpack(array),
    "jax": lambda array: _jax(array),
    "list of views": lambda array: list(array[:3]),
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_a_lease_lasts_exactly_as_long_as_its_last_view(hold: Callable[[Array], Any]) -> None:
    arena = Arena()
    array = lease(arena)
    held_at = address(array)
    held = hold(array)
    del array
    gc.collect()
    assert (len(arena.leases), arena.free) == (1, 0)
    assert address(lease(arena, fill=9)) != held_at  # it would have overwritten what is held

    del held
    gc.collect()
    assert (len(arena.leases), arena.free) == (0, 2)
    assert held_at in {address(array) for array in [lease(arena), lease(arena)]}


def test_a_copy_holds_nothing() -> None:
    arena = Arena()
    copies = [lease(arena)[3].copy(), lease(arena)[np.array([1, 2])], lease(arena)[0, 0], bytes(lease(arena)[0])]
    assert len(copies) == 4
    assert len(arena.leases) == 0


def test_a_cycle_ends_its_lease_when_it_is_collected() -> None:
    arena = Arena()
    cycle: list[Any] = [lease(arena)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert (len(arena.leases), arena.free) == (0, 1)


@given(
    st.lists(st.tuples(st.sampled_from(["take", "view", "drop"]), st.integers(0, 7), st.integers(0, 2)), max_size=40)
)
def test_nothing_held_is_ever_overwritten(program: list[tuple[str, int, int]]) -> None:
    arena = Arena(spare=2)
    held: list[tuple[Array, bytes]] = []
    for number, (action, which, size) in enumerate(program):
        if action == "take":
            array = lease(arena, MIB + size * MIB // 2, fill=number)
            array[:8, 0] = np.arange(8)
            held.append((array, array[:64].tobytes()))
            del array
        elif held and action == "view":
            array, content = held[which % len(held)]
            held.append((array[:64].T, np.asfortranarray(array[:64]).T.tobytes()))
            del array, content
        elif held:
            held.pop(which % len(held))
        assert arena.free <= 2
        for array, content in held:
            view = array[:64] if array.shape[1] == 4 else array
            assert view.tobytes() == content
            del array, view
    held.clear()
    assert len(arena.leases) == 0


def test_a_free_block_is_used_again() -> None:
    arena = Arena()
    first = lease(arena)
    at = address(first)
    del first
    assert address(lease(arena)) == at
    assert address(lease(arena, MIB + 64)) != at  # too small for this one
    assert arena.free == 2


def test_a_block_serves_arrays_down_to_half_its_size() -> None:
    arena = Arena()
    at = address(lease(arena, 4 * MIB))
    assert address(lease(arena, 2 * MIB)) == at
    assert address(lease(arena, 2 * MIB - 64)) != at


def test_free_blocks_are_bounded() -> None:
    arena = Arena(spare=2)
    held = [lease(arena) for _ in range(10)]
    assert (len(arena.leases), arena.free) == (10, 0)
    held.clear()
    assert (len(arena.leases), arena.free) == (0, 2)


def test_a_batch_of_many_large_arrays_is_kept_whole() -> None:
    arena = Arena(spare=1)

    def batch() -> list[Array]:
        with use_arena(arena):
            return [empty((MIB,), np.uint8) for _ in range(6)]

    arrays = batch()
    addresses = {address(array) for array in arrays}
    del arrays
    assert arena.free == 6
    assert {address(array) for array in batch()} == addresses


def test_ten_thousand_leases_leave_nothing_behind() -> None:
    arena = Arena()
    kept: Array | None = None
    blocks = set()
    for number in range(10_000):
        with use_arena(arena):
            array = empty((MIB,), np.uint8)
        blocks.add(address(array))
        kept = array[:1] if number % 3 == 0 else kept
        del array
    assert len(arena.leases) == 1
    assert arena.free <= 4
    assert len(blocks) <= 3
    kept = None
    assert len(arena.leases) == 0


def test_threads_share_an_arena_without_sharing_a_block() -> None:
    arena = Arena(spare=3)
    wrong: list[int] = []

    def work(number: int) -> None:
        held: list[Array] = []
        for _ in range(100):
            held.append(lease(arena, MIB, fill=number))
            held = held[-2:]
            wrong.extend(number for array in held if (array[::4096] != number).any())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(arena.leases) == 0
    assert arena.free <= 3


def test_a_lease_may_end_in_another_thread() -> None:
    arena = Arena()
    held = [lease(arena)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert (len(arena.leases), arena.free) == (0, 1)


@pytest.mark.parametrize("dtype", ["u1", "?", "f8", ">i4", "c16", "M8[s]", "U7", "S3", "V5", "i4,U3"])
@pytest.mark.parametrize("rows", [1, 3])
def test_leased_arrays_are_aligned_plain_and_writeable(dtype: str, rows: int) -> None:
    arena = Arena()
    columns = MIB // np.dtype(dtype).itemsize + 1
    with use_arena(arena):
        array = empty((rows, columns), dtype)
    assert len(arena.leases) == 1
    assert (type(array), array.shape, array.dtype) == (np.ndarray, (rows, columns), np.dtype(dtype))
    assert array.flags.writeable
    assert array.flags.c_contiguous
    assert array.flags.aligned
    assert address(array) % 64 == 0
    array[...] = np.zeros((), dtype)
    assert (array == np.zeros((), dtype)).all()


def test_objects_small_arrays_and_arrays_of_nobody_are_not_leased() -> None:
    arena, less = Arena(), Arena.leased_from - 1
    with use_arena(arena):
        arrays = [empty((MIB,), object), empty((MIB,), "i4,O"), empty((less,), np.uint8), empty((0, MIB), "f8")]
    arrays.append(empty((MIB,), np.uint8))
    assert len(arena.leases) == 0
    assert [array.shape for array in arrays] == [(MIB,), (MIB,), (less,), (0, MIB), (MIB,)]
    assert arrays[0][0] is None


def test_the_innermost_arena_is_used_and_left_again() -> None:
    outer, inner = Arena(), Arena()
    held = []

    def fail() -> None:
        with use_arena(inner):
            held.append(empty((MIB,), np.uint8))
            raise KeyError

    with use_arena(outer):
        with pytest.raises(KeyError):
            fail()
        held.append(empty((MIB,), np.uint8))
    assert (len(outer.leases), len(inner.leases)) == (1, 1)


def test_a_cleared_arena_keeps_no_block_and_ends_leases_all_the_same() -> None:
    arena = Arena()
    array = lease(arena)
    arena.clear()
    assert (array == 7).all()
    memory = weakref.ref(array)
    del array
    assert memory() is None
    assert (len(arena.leases), arena.free) == (0, 0)


def test_keeping_a_small_field_does_not_keep_a_large_one() -> None:
    arena = Arena()
    samples = [{"image": np.full((512, 1024), label, np.uint8), "label": label} for label in range(4)]
    with use_arena(arena):
        batch = default_collate(samples)
    labels = batch["label"]
    assert len(arena.leases) == 1
    del batch
    assert len(arena.leases) == 0
    assert labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("gather", [True, False], ids=["gathered", "collated"])
def test_a_list_of_all_batches_is_right(gather: bool) -> None:
    rows = np.arange(24)[:, np.newaxis] + np.arange(MIB // 16)
    dataset: Any = TensorDataset(rows, np.arange(24))
    if not gather:
        dataset = [dataset[index] for index in range(24)]
    loader = DataLoader(Subset(dataset, np.arange(24)[::-1]), batch_size=4)
    kept = [batch for epoch in range(2) for batch in loader]
    for step, (images, labels) in enumerate(kept):
        assert labels.tolist() == [23 - (step % 6) * 4 - row for row in range(4)]
        assert (images == rows[labels]).all()
