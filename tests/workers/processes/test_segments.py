from __future__ import annotations

import gc
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.batch.arena import empty, use_arena
from headrace.workers.processes import segments as memory
from headrace.workers.processes.segments import (
    MappedSegments,
    SegmentRange,
    SharedArena,
    create_file,
    map_privately,
    place_once,
    read_file,
)

if TYPE_CHECKING:
    import pytest

LARGE = 1 << 16


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Pair:
    """A worker's arena and the consumer's side of it, with nothing but calls in between."""

    def __init__(self, most_held: int = 100) -> None:
        self.arena = SharedArena()
        self.segments = MappedSegments(most_held)

    def empty(self, shape: Any, dtype: Any = np.uint8) -> Any:
        with use_arena(self.arena):
            return empty(shape, dtype)

    def send(self, make: Any) -> Any:
        """What becomes of the arrays that `make` returns."""
        buffers: list[pickle.PickleBuffer] = []
        payload = pickle.dumps(make(), 5, buffer_callback=buffers.append)
        places = self.arena.place(buffers)
        for number, nbytes, file in self.arena.announce():
            self.segments.map(number, nbytes, file)
            os.close(file)
        self.places = places
        return pickle.loads(payload, buffers=self.segments.views(places))

    def give_back(self, spare: int = 2) -> tuple[list[int], list[int]]:
        back, superfluous = self.segments.take_ended(spare)
        self.arena.take_back(back)
        self.arena.drop(superfluous)
        return back, superfluous

    def filled(self, value: int, shape: Any = (LARGE,)) -> Any:
        array = self.empty(shape)
        array.fill(value)
        return array


# ------------------------------------------------------------------ files


def test_files() -> None:
    file = create_file(3)
    assert read_file(file) == b"\0\0\0"
    data = np.arange(100_000, dtype=np.int64)
    memory.write_file(file, data.data)
    assert read_file(file) == data.tobytes()
    os.close(file)


def test_files_where_there_is_no_memfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    before = open_descriptors()
    file = create_file(5)
    memory.write_file(file, memoryview(b"hello"))
    assert read_file(file) == b"hello"
    os.close(file)
    assert open_descriptors() == before


@given(st.lists(st.integers(0, 1000)), st.data())
def test_place_once(sizes: list[int], data: st.DataObject) -> None:
    parts = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    writable = [data.draw(st.booleans()) for _ in sizes]
    buffers = [pickle.PickleBuffer(bytearray(part) if w else part) for part, w in zip(parts, writable, strict=True)]
    file, places = place_once(b"payload", buffers)
    assert all(offset % 64 == 0 for offset, _, _ in places)
    payload, *views = map_privately(file, places)
    assert bytes(payload) == b"payload"
    assert [bytes(view) for view in views] == parts
    assert [not view.readonly for view in views] == writable
    for view in views:
        if view.nbytes and not view.readonly:
            view[0] = 255 - view[0]  # seen by nobody else
    assert [bytes(view) for view in map_privately(file, places)[1:]] == parts
    os.close(file)


# ------------------------------------------------------------------ segments


def test_what_is_leased_is_not_copied() -> None:
    pair = Pair()
    found = pair.send(lambda: pair.filled(7))
    assert pair.places == [SegmentRange(0, 0, LARGE)]
    assert (found == 7).all()
    assert found.flags.writeable
    assert found.ctypes.data % 64 == 0


def test_small_arrays_travel_in_the_message() -> None:
    pair = Pair()
    found = pair.send(lambda: np.arange(10))
    assert isinstance(pair.places[0], bytearray)
    assert found.tolist() == list(range(10))
    assert found.flags.writeable


def test_large_arrays_from_elsewhere_are_put_into_blocks() -> None:
    pair = Pair()
    found = pair.send(lambda: np.arange(LARGE))
    assert pair.places == [SegmentRange(0, 0, LARGE * 8)]
    np.testing.assert_equal(found, np.arange(LARGE))


def test_a_block_goes_back_when_its_last_view_dies_and_only_then() -> None:
    pair = Pair()
    found = pair.send(lambda: pair.filled(1))
    view = found[5:10].reshape(1, 5)
    assert pair.give_back() == ([], [])
    del found
    assert pair.give_back() == ([], [])
    assert pair.send(lambda: pair.filled(2)).tolist() == [2] * LARGE  # in another segment
    assert view.tolist() == [[1] * 5]
    pair.give_back()
    del view
    assert pair.give_back() == ([0], [])
    pair.send(lambda: pair.filled(3))
    assert pair.places[0].segment in (0, 1)  # type: ignore[union-attr]
    assert pair.arena._made == 2


def test_a_block_is_used_again_and_again() -> None:
    pair = Pair()
    before = None
    for number in range(20):
        pair.send(lambda number=number: pair.filled(number))
        pair.give_back()
        before = open_descriptors() if before is None else before
    assert pair.arena._made <= 2
    assert open_descriptors() == before


def test_blocks_are_given_up_when_there_are_too_many() -> None:
    pair = Pair()
    gc.collect()  # what other tests have left
    before = open_descriptors()
    kept = [pair.send(lambda number=number: pair.filled(number)) for number in range(10)]
    assert pair.arena._made == 10
    assert all((array == number).all() for number, array in enumerate(kept))
    assert open_descriptors() == before + 20  # one a segment on each side, which are one process here
    kept.clear()
    back, superfluous = pair.give_back(spare=3)
    assert (len(back), len(superfluous)) == (3, 7)
    gc.collect()
    assert open_descriptors() == before + 6


def test_batches_of_several_blocks() -> None:
    pair = Pair()
    found = pair.send(lambda: [pair.filled(1), pair.filled(2), pair.filled(3)])
    assert [array[0] for array in found] == [1, 2, 3]
    kept = found[1]
    del found
    assert sorted(pair.give_back()[0]) == [0, 2]
    assert (kept == 2).all()


def test_two_fields_that_share_a_block() -> None:
    pair = Pair()

    def halves() -> Any:
        whole = pair.filled(1, (2 * LARGE,))
        whole[LARGE:] = 2
        return whole[:LARGE], whole[LARGE:]

    one, other = pair.send(halves)
    assert {place.segment for place in pair.places} == {0}  # type: ignore[union-attr]
    assert (one[0], other[0]) == (1, 2)
    del one
    assert pair.give_back() == ([], [])
    del other
    assert pair.give_back() == ([0], [])


def test_what_the_worker_keeps_is_its_own() -> None:
    pair = Pair()
    kept: list[Any] = []

    def cached() -> Any:
        kept.append(pair.filled(1))
        return kept[-1]

    found = pair.send(cached)
    found[:] = 9
    assert (kept[0] == 1).all()
    kept[0][:] = 5
    assert (found == 9).all()
    del found
    pair.give_back()
    again = pair.send(lambda: pair.filled(3))
    assert (kept[0] == 5).all()
    assert (again == 3).all()
    kept.clear()
    del again
    pair.give_back()
    pair.send(lambda: [pair.filled(4), pair.filled(5)])
    assert pair.arena._made == 2  # none is lost, none counted twice
    assert len({place.segment for place in pair.places}) == 2  # type: ignore[union-attr]


def test_kept_batches_beyond_a_bound_are_copied() -> None:
    pair = Pair(most_held=3)
    before = open_descriptors()
    kept = []
    for number in range(50):
        kept.append(pair.send(lambda number=number: pair.filled(number)))
        pair.give_back()
    assert all((array == number).all() and array.flags.writeable for number, array in enumerate(kept))
    assert open_descriptors() <= before + 2 * 6


def test_unseen_results_go_back() -> None:
    pair = Pair()
    pair.send(lambda: pair.filled(1))
    pair.give_back()
    buffers: list[pickle.PickleBuffer] = []
    pickle.dumps(pair.filled(2), 5, buffer_callback=buffers.append)
    places = pair.arena.place(buffers)
    assert places == [SegmentRange(0, 0, LARGE)]
    pair.segments.forget(places)
    assert pair.give_back() == ([0], [])


def test_what_a_fork_has_too_is_not_used_again() -> None:
    """The memory is shared with it: it would see what the worker writes next."""
    pair = Pair()
    found, view = pair.send(lambda: pair.filled(1)), pair.send(lambda: pair.filled(2))[5:]
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    later = pair.send(lambda: pair.filled(3))
    del found
    assert pair.give_back() == ([], [0])
    del later
    assert pair.give_back() == ([2], [])
    del view
    assert pair.give_back() == ([], [1])


def test_an_array_that_never_left_gives_its_block_back() -> None:
    pair = Pair()
    for _ in range(5):
        pair.filled(1)
    assert pair.arena._made == 1


@given(st.lists(st.tuples(st.sampled_from(["send", "drop", "give back"]), st.integers(0, 3)), max_size=60))
def test_no_batch_is_ever_overwritten(steps: list[tuple[str, int]]) -> None:
    pair = Pair(most_held=4)
    kept: list[tuple[int, Any]] = []
    for number, (step, which) in enumerate(steps):
        if step == "send":
            shape = (LARGE * (1 + which),)
            kept.append((number % 251, pair.send(lambda n=number, s=shape: pair.filled(n % 251, s))))
        elif step == "drop" and kept:
            kept.pop(which % len(kept))
        else:
            pair.give_back(spare=which)
        assert all((array == value).all() for value, array in kept)
