"""A batch becomes the samples again that it was made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headrace import default_collate
from headrace.cache.layout import Layout
from headrace.cache.unbatch import unbatch
from headrace.testing import check_same

NUMBERS = arrays.scalar_dtypes().filter(lambda dtype: dtype.kind not in "mM")
LEAVES = st.one_of(
    st.sampled_from([1, True, 1.5, 2j, "text", b"bytes"]),
    NUMBERS.map(lambda dtype: dtype.type(1)),
    arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)),
)
SAMPLES = st.recursive(
    LEAVES,
    lambda part: st.one_of(
        st.lists(part, min_size=1, max_size=3),
        st.lists(part, min_size=1, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from("abc"), part, min_size=1),
    ),
    max_leaves=5,
)


@given(sample=SAMPLES, count=st.integers(1, 4))
def test_samples_come_out_as_they_went_in(sample: Any, count: int) -> None:
    samples = unbatch(default_collate([sample] * count), Layout(Layout.describe(sample)), count)
    assert samples is not None
    check_same(samples, [sample] * count)


def test_arrays_are_views() -> None:
    images = np.arange(24).reshape(4, 2, 3)
    samples = unbatch((images,), Layout(Layout.describe((images[0],))), 4)
    assert samples is not None
    for row, (image,) in enumerate(samples):
        assert np.shares_memory(image, images)
        check_same(image, images[row])


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    given = [{"x": torch.full((2, 2), row), "y": torch.tensor(row)} for row in range(3)]
    check_same(unbatch(default_collate(given), Layout(Layout.describe(given[0])), 3), given)


@pytest.mark.parametrize(
    "batch",
    [
        (np.zeros((2, 3)), np.zeros(2, np.int64)),
        (np.zeros((2, 3)), np.zeros(2, np.int64), ["a"]),
        (np.zeros((2, 3)), np.zeros(2, np.int64), ["a", np.zeros(1)]),
        (np.zeros((2, 3)), np.zeros(2, np.int64), np.zeros(2)),
        (np.zeros((2, 3)), np.zeros(2, np.int32), ["a", "b"]),
        (np.zeros((2, 3)), np.zeros((2, 1), np.int64), ["a", "b"]),
        (np.zeros((2, 4)), np.zeros(2, np.int64), ["a", "b"]),
        (np.zeros((3, 3)), np.zeros(3, np.int64), ["a", "b", "c"]),
        ([0.0, 0.0], np.zeros(2, np.int64), ["a", "b"]),
        [np.zeros((2, 3)), np.zeros(2, np.int64), ["a", "b"]],
    ],
    ids=str,
)
def test_batches_of_other_samples(batch: Any) -> None:
    layout = Layout(Layout.describe((np.zeros(3), 1, "text")))
    assert unbatch(batch, layout, 2) is None
    assert unbatch((np.zeros((2, 3)), np.zeros(2, np.int64), ["a", "b"]), layout, 2) is not None


def test_strings_of_the_width_of_the_longest() -> None:
    given = [np.array(["abc"]), np.array(["a"])]
    assert unbatch(default_collate(given), Layout(Layout.describe(given[0])), 2) is None
