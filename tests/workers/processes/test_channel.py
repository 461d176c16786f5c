from __future__ import annotations

import os
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.workers.processes.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator

Ends = tuple[Channel, Channel]
LONGEST = 1 << 16


@pytest.fixture
def ends() -> Iterator[Ends]:
    one, other = Channel.pair()
    yield one, other
    one.close()
    other.close()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_messages_keep_their_bounds(ends: Ends) -> None:
    one, other = ends
    messages = [b"", b"a", b"\0", b"\1", b"longer", bytes(1000)]
    for message in messages:
        one.send(message)
    assert [other.receive() for _ in messages] == [(message, []) for message in messages]
    other.send(b"back")
    assert one.receive() == (b"back", [])


@given(st.sampled_from([0, 1, LONGEST - 1, LONGEST, LONGEST + 1, 300_000, 5_000_000]), st.integers(0, 255))
def test_of_any_length(length: int, byte: int) -> None:
    one, other = Channel.pair()
    message = bytes([byte]) * length
    before = open_descriptors()
    one.send(message)
    assert other.receive() == (message, [])
    assert open_descriptors() == before
    one.close()
    other.close()


@pytest.mark.parametrize("length", [3, LONGEST + 1])
def test_descriptors_travel(ends: Ends, length: int) -> None:
    one, other = ends
    reading, writing = os.pipe()
    one.send(bytes(length), [writing])
    os.close(writing)
    message, (received,) = other.receive()
    assert len(message) == length
    os.write(received, b"through")
    assert os.read(reading, 100) == b"through"
    assert not os.get_inheritable(received)
    os.close(reading)
    os.close(received)


def test_no_descriptor_is_left_for_one_that_comes(ends: Ends) -> None:
    one, other = ends
    reading, writing = os.pipe()
    one.send(b"two", [reading, writing])
    one.send(b"none")
    before = open_descriptors()
    filled: list[int] = []
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    with suppress(OSError):  # the numbers below are taken too, but for the last
        while True:
            filled.append(os.dup(reading))
    os.close(filled.pop())
    try:
        with pytest.raises(OSError, match="Too many open files"):
            other.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for file in filled:
            os.close(file)
    assert open_descriptors() == before
    assert other.receive() == (b"none", [])
    os.close(reading)
    os.close(writing)


def test_receive_without_a_message(ends: Ends) -> None:
    with pytest.raises(BlockingIOError):
        ends[0].receive(wait=False)


def test_send_without_room(ends: Ends) -> None:
    one, other = ends
    sent = 0
    with suppress(BlockingIOError):
        for sent in range(10**6):
            one.send(sent.to_bytes(4, "big"), wait=False)
    assert 100 < sent < 10**6 - 1  # more than any window has
    for number in range(sent):
        assert other.receive(wait=False) == (number.to_bytes(4, "big"), [])
    one.send(b"room again", wait=False)


def test_the_other_side_has_gone(ends: Ends) -> None:
    one, other = ends
    one.send(b"last words")
    one.close()
    assert other.receive() == (b"last words", [])
    for wait in (True, False):
        with pytest.raises(EOFError):
            other.receive(wait=wait)
    with pytest.raises(OSError, match="pipe"):
        other.send(b"too late")


def test_each_message_goes_to_one_of_many(ends: Ends) -> None:
    one, other = ends
    count = 300

    def take() -> list[int]:
        taken = []
        while (message := other.receive()[0]) != b"end":
            taken.append(int(message))
        return taken

    with ThreadPoolExecutor(3) as threads:
        futures = [threads.submit(take) for _ in range(3)]
        for number in range(count):
            one.send(str(number).encode())
        for _ in range(3):
            one.send(b"end")
        taken = [future.result() for future in futures]
    assert sorted(chain(*taken)) == list(range(count))
    assert all(part == sorted(part) for part in taken)
