"""Checksums of samples."""

from __future__ import annotations

import enum
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.batch.checksum import checksum

SIMPLE = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(max_size=5)
)
SAMPLES = st.recursive(
    SIMPLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(SAMPLES, max_size=5), st.lists(SAMPLES, max_size=5))
def test_equal_for_equal_samples_and_no_others(one: list[Any], other: list[Any]) -> None:
    def total(samples: list[Any]) -> int:
        found = 0
        for sample in samples:
            found = checksum(sample, found)
        return found

    assert total(one) == total(one)
    assert (total(one) == total(other)) == (repr(one) == repr(other))


def test_arrays() -> None:
    array = np.arange(2000.0).reshape(40, 50)
    found = checksum(array)
    assert checksum(array.copy(order="F")) == checksum(np.asfortranarray(array)) == found
    assert checksum(array[:, ::-1][:, ::-1]) == found
    assert len({found, checksum(array.ravel()), checksum(array.astype(np.float32)), checksum(array + 1)}) == 4
    last = array.copy()
    last[-1, -1] = 0
    assert checksum(last) != found
    assert checksum(np.float32(1)) != checksum(np.float32(2))
    for odd in (np.zeros((0, 3)), np.array([object()]), np.zeros(3, "M8[s]"), np.zeros(2, "i4,f8"), np.array("text")):
        assert checksum(odd) == checksum(odd.copy())


@pytest.mark.parametrize("framework", ["torch", "jax.numpy"])
def test_tensors(framework: str) -> None:
    library = pytest.importorskip(framework)
    one, other = library.zeros((3, 4)), library.ones((3, 4))
    assert checksum(one) == checksum(library.zeros((3, 4))) != checksum(other)


def test_large_ones_are_told_apart_by_their_ends() -> None:
    content = bytes(10**6)
    assert (
        len({checksum(content), checksum(content[1:]), checksum(b"1" + content[1:]), checksum(content[1:] + b"1")}) == 4
    )


class Hostile(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise RuntimeError


class Color(enum.IntEnum):
    RED = 1


def test_looking_never_fails() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for sample in (circle, Hostile(a=1), Color.RED, object(), {1, 2}, "\ud800", {object(): 1}, checksum, float("nan")):
        assert checksum(sample) == checksum(sample)


def test_the_same_in_another_process() -> None:
    sample = "({'key': 'größe', 1: [None, 1.5, b'x', True]}, 'text', np.arange(5))"
    code = f"import numpy as np; from headrace.batch.checksum import checksum; print(checksum({sample}))"
    found = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)}
    here: Any = eval(sample, {"np": np})  # noqa: S307
    assert found == {b"%d\n" % checksum(here)}
