from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError, asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import StateError
from headrace.loader.checkpoint import LoaderState

STATE = LoaderState(
    epoch=3,
    step=7,
    ahead=[9],
    seed=5,
    epoch_seed=None,
    length=100,
    global_batch_size=8,
    shuffle=True,
    drop_last=False,
    readers=None,
    blocks=None,
    window=None,
)
COUNT, BOUNDED = st.integers(0, 2**70), st.integers(0, 2**63 - 1)

STATES = st.builds(
    LoaderState,
    epoch=BOUNDED,
    step=BOUNDED,
    ahead=st.lists(COUNT),
    seed=st.none() | COUNT,
    epoch_seed=st.none() | COUNT,
    length=st.none() | COUNT,
    global_batch_size=st.none() | st.integers(1, 2**63 - 1),
    shuffle=st.booleans() | st.just("block"),
    drop_last=st.booleans(),
    readers=st.none() | COUNT,
    blocks=st.none() | COUNT,
    window=st.none() | COUNT,
    sampler_epoch=st.none() | COUNT,
    numbered=st.booleans(),
    epoch_length=st.none() | COUNT,
    generator=st.none() | st.dictionaries(st.text(), COUNT | st.text()),
    sampler=st.none() | st.dictionaries(st.text(), COUNT),
    plan=st.none() | COUNT,
    shift=BOUNDED,
    skip=st.lists(st.lists(COUNT, min_size=2, max_size=2)),
)


@given(STATES)
def test_round_trip_through_json(state: LoaderState) -> None:
    assert LoaderState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_state_dict_content() -> None:
    """What is written to users' checkpoints stays readable: a change needs a new version."""
    assert STATE.to_dict() == {
        "headrace": 3,
        "epoch": 3,
        "step": 7,
        "ahead": [9],
        "seed": 5,
        "epoch_seed": None,
        "length": 100,
        "global_batch_size": 8,
        "shuffle": True,
        "drop_last": False,
        "readers": None,
        "blocks": None,
        "window": None,
        "sampler_epoch": None,
    }


def test_a_state_of_a_plan_is_of_version_5() -> None:
    state = replace(STATE, plan=7).to_dict()
    assert (state["headrace"], state["plan"]) == (5, 7)


def test_a_state_of_shifted_or_skipped_steps_is_of_version_6() -> None:
    for name, value in (("shift", 3), ("skip", [[0, 4]])):
        state = replace(STATE, **{name: value}).to_dict()  # type: ignore[arg-type]
        assert (state["headrace"], state[name]) == (6, value)


def test_the_state_of_a_stream_with_a_state_is_of_version_7() -> None:
    assert STATE.to_dict()["headrace"] < 7
    state = replace(STATE, stream={"0": {"dataset": {"at": 3}}}).to_dict()
    assert state["headrace"] == 7
    assert LoaderState.from_dict(json.loads(json.dumps(state))).stream == {"0": {"dataset": {"at": 3}}}


def test_a_state_with_more_to_say_is_of_version_4() -> None:
    """One that has nothing new to say stays readable for earlier releases."""
    for name, value in (("numbered", False), ("epoch_length", 90), ("generator", {"kind": "x"}), ("sampler", {})):
        state = replace(STATE, **{name: value}).to_dict()  # type: ignore[arg-type]
        assert state == {
            **STATE.to_dict(),
            "numbered": True,
            "epoch_length": None,
            "generator": None,
            "sampler": None,
            "headrace": 4,
            name: value,
        }


@pytest.mark.parametrize(
    ("version", "unknown"), [(1, ("ahead", "readers", "blocks", "window")), (2, ("blocks", "window"))]
)
def test_a_state_of_an_earlier_version(version: int, unknown: tuple[str, ...]) -> None:
    state = {name: value for name, value in STATE.to_dict().items() if name not in unknown}
    expected = replace(STATE, ahead=[] if "ahead" in unknown else STATE.ahead)
    assert LoaderState.from_dict({**state, "headrace": version}) == expected


def test_state_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        STATE.step = 8  # type: ignore[misc]


@pytest.mark.parametrize("garbage", [None, 3, "headrace", [], ["headrace"], {}, {"epoch": 1}, b"headrace"])
def test_garbage_state_is_refused(garbage: Any) -> None:
    text = f"this is not the state of a headrace loader: {garbage!r}"
    with pytest.raises(StateError, match=f"^{re.escape(text)}$"):
        LoaderState.from_dict(garbage)


def test_garbage_state_is_shortened_in_the_error() -> None:
    with pytest.raises(StateError, match=r"^.{1,200}$"):
        LoaderState.from_dict({"model": list(range(10_000))})


@pytest.mark.parametrize("version", [0, 8, "1", None])
def test_unknown_version_is_refused(version: Any) -> None:
    with pytest.raises(StateError, match=f"^the state has version {version!r}; this release reads up to version 7$"):
        LoaderState.from_dict({**STATE.to_dict(), "headrace": version})


@pytest.mark.parametrize("name", [name for name in STATE.to_dict() if name != "headrace"])
def test_missing_key_is_refused(name: str) -> None:
    state = STATE.to_dict()
    del state[name]
    with pytest.raises(StateError, match=re.escape(f"the state is damaged: missing or unknown keys ['{name}']")):
        LoaderState.from_dict(state)


@pytest.mark.parametrize("key", ["steps", 1, None])
def test_unknown_key_is_refused(key: Any) -> None:
    with pytest.raises(StateError, match=re.escape(f"the state is damaged: missing or unknown keys ['{key}']")):
        LoaderState.from_dict({**STATE.to_dict(), key: 1})


def test_unknown_and_missing_keys_of_several_types() -> None:
    with pytest.raises(StateError, match="missing or unknown keys"):
        LoaderState.from_dict({"headrace": 1, 2: 3, "x": 4})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("epoch", "step") for value in (-1, None, 1.0, "1", True)],
        *[
            (name, value)
            for name in (
                "seed",
                "epoch_seed",
                "length",
                "global_batch_size",
                "readers",
                "blocks",
                "window",
                "sampler_epoch",
            )
            for value in (-1, 1.0, "1", False)
        ],
        *[(name, value) for name in ("blocks", "window") for value in (-1, 1.0, "1", False)],
        *[("ahead", value) for value in (None, 3, [1, -1], ["1"], [True])],
        *[(name, value) for name in ("shuffle", "drop_last", "numbered") for value in (None, 0, "true")],
        *[(name, value) for name in ("generator", "sampler") for value in (0, "state", [1])],
        ("drop_last", "block"),
    ],
)
def test_damaged_value_is_refused(name: str, value: Any) -> None:
    whole = replace(STATE, numbered=False).to_dict()
    with pytest.raises(StateError, match=f"^the state is damaged: {name} is {re.escape(repr(value))}$"):
        LoaderState.from_dict({**whole, name: value})


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("length", 90, "the dataset's length was 100 and is 90 here"),
        ("seed", 6, "seed was 5 and is 6 here"),
        ("seed", None, "seed was 5 and is None here"),
        ("global_batch_size", 16, "the samples a step (batch_size * world_size) was 8 and is 16 here"),
        ("shuffle", False, "shuffle was True and is False here"),
        ("shuffle", "block", "shuffle was True and is block here"),
        ("blocks", 64, "block_size (or what the dataset's blocks() says) was None and is 64 here"),
        ("window", 4, "window was None and is 4 here"),
        ("plan", 4, "the hash of weights, mixture, lengths or packed rows was None and is 4 here"),
        ("drop_last", True, "drop_last was False and is True here"),
        ("readers", 2, "the number of workers that read the stream was None and is 2 here"),
    ],
)
def test_state_of_another_loader_is_refused(name: str, value: Any, text: str) -> None:
    with pytest.raises(StateError, match=f"^the state belongs to another loader: {re.escape(text)}"):
        STATE.refuse(STATE.differences(asdict(replace(STATE, **{name: value}))))


def test_state_of_an_equal_loader_is_accepted() -> None:
    assert not STATE.differences(asdict(replace(STATE, epoch=0, step=0, epoch_seed=9, sampler_epoch=2)))
