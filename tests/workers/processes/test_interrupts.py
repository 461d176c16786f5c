"""What must not be left half-way is not, whatever signals come."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from headrace.workers.processes.interrupts import end_surely, hold_signals

if TYPE_CHECKING:
    from collections.abc import Iterator


class HandledError(Exception):
    """What the handler of a signal raises."""


def raise_handled(number: int, _: object) -> None:
    raise HandledError(number)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    signals = signal.SIGINT, signal.SIGTERM, signal.SIGUSR2
    before = [signal.signal(number, raise_handled) for number in signals]
    yield
    for number, handler in zip(signals, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_handler_runs_once_the_block_has_ended(number: signal.Signals) -> None:
    steps = []

    def run() -> None:
        with hold_signals():
            steps.append("before")
            signal.raise_signal(number)
            signal.raise_signal(number)
            steps.append("after")

    with pytest.raises(HandledError):
        run()
    assert steps == ["before", "after"]
    assert signal.getsignal(number) is raise_handled


def test_blocks_in_one_another() -> None:
    steps = []

    def run() -> None:
        with hold_signals():
            with hold_signals():
                signal.raise_signal(signal.SIGINT)
                steps.append("inner")
            steps.append("outer")

    with pytest.raises(HandledError):
        run()
    assert steps == ["inner", "outer"]


def test_an_error_of_the_block_is_told_beside_the_signals() -> None:
    def run() -> None:
        with hold_signals():
            signal.raise_signal(signal.SIGTERM)
            raise KeyError("of the block")

    with pytest.raises(HandledError) as caught:
        run()
    assert isinstance(caught.value.__context__, KeyError)
    assert signal.getsignal(signal.SIGTERM) is raise_handled


def test_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    with hold_signals():
        signal.raise_signal(signal.SIGUSR2)
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN


def test_another_thread_has_nothing_to_hold_back() -> None:
    found: list[Any] = []

    def run() -> None:
        with hold_signals():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [raise_handled]


@pytest.mark.parametrize("strikes", ["before", "within", "never"])
def test_cleanup_completes_despite_a_signal(strikes: str) -> None:
    """Right before its handler could be held back, it has the end begin again."""
    calls: list[Any] = []

    def end() -> None:
        calls.append(len(calls))
        if strikes == "before" and len(calls) == 1:
            raise HandledError
        if strikes == "within":
            signal.raise_signal(signal.SIGINT)
        calls.append("ended")

    if strikes == "never":
        end_surely(end)
    else:
        with pytest.raises(HandledError):
            end_surely(end)
    assert calls[-1] == "ended"
