"""A dataset is divided at the bounds of its blocks, where there are as many as parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ray.data")
from headrace.ray.read import _divide

if TYPE_CHECKING:
    from numpy.typing import NDArray


@given(
    length=st.integers(1, 200),
    parts=st.integers(1, 40),
    cuts=st.one_of(st.none(), st.integers(1, 50), st.sets(st.integers(1, 199)).map(sorted)),
)
def test_parts_are_whole_blocks_and_hold_everything(length: int, parts: int, cuts: int | list[int] | None) -> None:
    together: int | NDArray[np.int64] | None
    together = np.array([0, *(cut for cut in cuts if cut < length), length]) if isinstance(cuts, list) else cuts
    bounds = _divide(length, parts, together)
    assert (bounds[0], bounds[-1]) == (0, length)
    assert (np.diff(bounds) > 0).all()
    assert len(bounds) <= parts + 1
    if together is not None:
        known = set(range(0, length, together)) | {length} if isinstance(together, int) else set(together.tolist())
        assert len(known) <= parts + 1 or set(bounds.tolist()) <= known
