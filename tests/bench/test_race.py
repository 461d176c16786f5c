"""Contenders take turns, and what they take is all counted."""

from __future__ import annotations

import gc
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.bench import race as racing
from headrace.bench.processes import PeakMemory, cpu_seconds, family, private_memory, proportional_memory
from headrace.bench.race import Contender, race, steady
from headrace.bench.same import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

HAS_PROC = Path("/proc/self/smaps_rollup").exists()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(racing, "_PAUSE", 0)
    monkeypatch.setattr(racing, "_SHORT_PAUSE", 0)


def test_they_take_turns_after_a_round_that_does_not_count() -> None:
    calls: list[str] = []
    entries = [Contender("headrace", lambda: calls.append("a")), Contender("b", lambda: calls.append("b"))]
    found = race([*entries, Contender("c", None)], 3)
    assert "".join(calls) == "ab" * 4
    assert {name: len(seconds) for name, seconds in found.items()} == {"headrace": 3, "b": 3}
    assert all(len(seconds.cpu) == 3 for seconds in found.values())


def test_a_single_round_is_all_there_is() -> None:
    calls: list[int] = []
    found = race([Contender("headrace", lambda: calls.append(1))], 1)
    assert calls == [1]
    assert found["headrace"].memory is None


def test_the_slow_make_fewer_rounds_where_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = 0.0, []
    monkeypatch.setattr(racing, "perf_counter", lambda: now)

    def slow() -> None:
        nonlocal now
        calls.append("slow")
        now += 0.2

    found = race([Contender("headrace", lambda: None), Contender("slow", slow)], 5, limit=0.3)
    assert len(calls) == 2  # one that does not count, and one that does
    assert len(found["headrace"]) == 5
    assert list(found["slow"]) == pytest.approx([0.2])


def test_an_epoch_is_looked_at_before_rounds_count() -> None:
    def epoch() -> list[tuple[object, object]]:
        return [(np.ones((4, 2)), np.arange(4))]

    for rounds in (1, 2):
        found = race([Contender.over("headrace", epoch), Contender.over("missing", None)], rounds)
        assert found["headrace"].digest == digest_of(epoch())


def test_a_share_is_scaled_up() -> None:
    found = race([Contender("a tenth", lambda: None, share=0.1)], 1, lambda _: 2.0)
    assert found["a tenth"] == [20.0]


def test_the_first_batches_do_not_count() -> None:
    given = []

    def epoch() -> object:
        for number in range(5):
            given.append(number)
            yield [np.zeros(2)]

    assert steady(2)(lambda: epoch()) >= 0
    assert given == list(range(5))


@pytest.mark.skipif(not HAS_PROC, reason="the system does not say how much memory is shared")
def test_memory_and_processes_of_a_child() -> None:
    with child_of(90_000_000) as child:
        assert child.pid in family()
        assert private_memory(child.pid) >= 90_000_000
        assert proportional_memory([child.pid]) >= private_memory(child.pid)
    assert child.pid not in family()


@pytest.mark.skipif(not HAS_PROC, reason="the system does not say how much memory is shared")
def test_what_a_process_that_ends_gives_back_hides_nothing() -> None:
    gc.collect()  # this process counts from first to last, so what it gives back would hide some
    with child_of(200_000_000) as first, PeakMemory() as memory:
        first.communicate(b"\n")
        with child_of(90_000_000):
            memory._look()
    assert memory.grown >= 30_000_000


@contextmanager
def child_of(size: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that holds so many bytes until it reads a line."""
    program = f"block = bytearray(b'1' * {size}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        if child.poll() is None:
            child.communicate(b"\n")


@pytest.mark.skipif(not HAS_PROC, reason="the system does not say what others take")
def test_the_time_of_a_child_counts_while_it_runs_and_when_it_has_ended() -> None:
    program = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"
    before, own = cpu_seconds(), process_time()
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        running = cpu_seconds() - before - (process_time() - own)
        child.communicate(b"\n")
    ended = cpu_seconds() - before - (process_time() - own)
    assert running >= 0.27
    assert ended >= running - 0.02


def test_touching_reads_arrays_and_tensors() -> None:
    torch = pytest.importorskip("torch")
    racing.touch([np.zeros(2), torch.zeros(2)])
