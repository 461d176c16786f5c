"""Digests tell whether two epochs hold the same samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bench.same import Digest, compare, digest_of


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40), st.randoms(), st.integers(1, 9))
def test_a_digest_knows_the_multiset_and_no_order(labels: list[int], random: object, size: int) -> None:
    shuffled = list(labels)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    batches = [np.array(shuffled[start : start + size]) for start in range(0, len(labels), size)]
    whole = np.array(labels)
    assert digest_of([(part.astype(float), part) for part in batches]) == digest_of([(whole.astype(float), whole)])
    other = whole.copy()
    other[0] += 1
    assert digest_of([(whole, other)]).labels != digest_of([(whole, whole)]).labels


def test_tensors_and_arrays_are_alike() -> None:
    torch = pytest.importorskip("torch")
    x, y = np.random.default_rng(0).random((10, 3), np.float32), np.arange(10)
    assert digest_of([(torch.from_numpy(x), torch.from_numpy(y))]) == digest_of([(x, y)])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Digest(10, 1, 0.5), ""),
        (Digest(9, 1, 0.5), "b has 9 samples, not 10"),
        (Digest(10, 2, 0.5), "b has other labels"),
        (Digest(10, 1, 0.52), "b has a mean of 0.52, not 0.5"),
    ],
)
def test_what_differs(other: Digest, said: str) -> None:
    same, differs = compare({"a": Digest(10, 1, 0.5), "b": other})
    assert differs == said
    assert bool(same) != bool(said)


def test_means_may_differ_within_a_tolerance() -> None:
    digests = {"a": Digest(10, 1, 0.5), "b": Digest(10, 1, 0.52)}
    assert compare(digests, 0.05)[1] == ""
    assert compare({"a": Digest(10, 1, 0.5)}) == ("", "")
