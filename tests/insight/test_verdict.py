from __future__ import annotations

import json

import pytest

from headrace.insight.model import Measured
from headrace.insight.verdict import make_verdict

STAGES = {"read": 0.29, "decode": 0.71}


def test_a_starved_model() -> None:
    measured = Measured(loads=(0.24,), consumers=(0.075,), workers=2, ahead=4, cores=8)
    verdict = make_verdict(measured, wait=0.045, queued=0.0, stages=STAGES)
    assert str(verdict) == (
        "Loading takes 45 of 120 ms a step (37.5 %): the model is data-starved. With loading hidden, a step takes "
        "75 ms: 1.6 times faster. Decoding is 71 % of loading; two more workers would hide it; batches wait 0 ms in "
        "the queue, so more prefetch won't help."
    )
    assert verdict.advice is not None
    assert (verdict.advice.num_workers, verdict.advice.hides) == (4, True)
    assert verdict.advice.step_seconds == pytest.approx(0.075, rel=1e-6)


def test_a_busy_model() -> None:
    measured = Measured(loads=(0.01,), consumers=(0.1,), workers=2, ahead=4, cores=8)
    verdict = make_verdict(measured, wait=0.001, queued=0.3, stages=STAGES)
    assert verdict.kind == "compute-bound"
    assert "1.0 of 101 ms a step (1.0 %): the training is compute-bound" in str(verdict)
    assert verdict.advice is None


def test_processors_are_the_limit() -> None:
    measured = Measured(loads=(0.4,), consumers=(0.01,), workers=2, ahead=4, cores=2)
    verdict = make_verdict(measured, wait=0.19, queued=0.0, stages=STAGES)
    assert verdict.kind == "data-starved"
    assert verdict.advice is None
    assert "more workers would not make it faster on these processors" in str(verdict)


def test_the_first_worker() -> None:
    measured = Measured(loads=(0.3,), consumers=(0.1,), cores=1, busy_cores=0.5)
    verdict = make_verdict(measured, wait=0.3, queued=0.0, stages=STAGES)
    assert "two workers would bring a step to 150 ms" in str(verdict)


def bursty(workers: int, ahead: int) -> Measured:
    return Measured(
        loads=(0.02,), consumers=(0.002,) * 5 + (0.06,), workers=workers, ahead=ahead, cores=2, busy_cores=0.01
    )


def test_bursts_need_prefetch() -> None:
    """Two workers load as much as is used; what is loaded while a long step goes on must only be kept."""
    verdict = make_verdict(bursty(2, 4), wait=0.0046, queued=0.0, stages=STAGES)
    assert verdict.advice is not None
    assert (verdict.advice.num_workers, verdict.advice.prefetch_factor, verdict.advice.hides) == (2, 4, True)
    assert "Decoding is 71 % of loading; prefetch_factor=4 would hide it; batches wait 0 ms in the queue." in str(
        verdict
    )


def test_workers_with_prefetch() -> None:
    verdict = make_verdict(bursty(0, 0), wait=0.02, queued=0.0, stages=STAGES)
    assert "two workers with prefetch_factor=4 would hide it." in str(verdict)


def test_what_is_there_is_no_advice() -> None:
    """Where the model expects less than was measured, that is no reason to prefetch."""
    measured = Measured(loads=(0.2,), consumers=(0.01,), workers=2, ahead=4, cores=2)
    assert make_verdict(measured, wait=0.15, queued=0.0, stages=STAGES).advice is None


def test_too_little_to_judge() -> None:
    verdict = make_verdict(None, wait=0.0, queued=0.0, stages={})
    assert verdict.kind == "unknown"
    assert "Too little" in str(verdict)


def test_a_dict_goes_into_json() -> None:
    measured = Measured(loads=(0.24,), consumers=(0.075,), workers=2, ahead=4, cores=8)
    found = json.loads(json.dumps(make_verdict(measured, 0.045, 0.0, STAGES).to_dict()))
    assert found["kind"] == "data-starved"
    assert found["speedup"] == pytest.approx(1.6)
    assert found["shares"] == STAGES


def test_a_loop_that_does_nothing() -> None:
    """Nothing can be hidden behind it, and no factor says anything."""
    measured = Measured(loads=(0.01,), consumers=(1e-6,), cores=8)
    text = str(make_verdict(measured, wait=0.01, queued=0.0, stages=STAGES))
    assert "The loop itself takes next to no time, so a step is as fast as loading is. Decoding is 71 %" in text
    assert "times faster" not in text


@pytest.mark.parametrize("consumer", [0.0, 0.02])
def test_a_loader_that_is_never_waited_for(consumer: float) -> None:
    verdict = make_verdict(Measured(loads=(0.0,), consumers=(consumer,)), wait=0.0, queued=0.0, stages={})
    assert str(verdict).startswith(
        f"Loading takes 0 of {consumer * 1e3:.0f} ms a step (0.0 %): the training is compute-"
    )
    json.dumps(verdict.to_dict(), allow_nan=False)
