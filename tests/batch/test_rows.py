"""Rows of several arrays, held against NumPy's own indexing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace.batch.rows import gather_rows

GRID = np.arange(24).reshape(4, 2, 3)

ARRAYS: dict[str, Any] = {
    "one dimension": [np.arange(4), np.arange(10, 13)],
    "rows": [GRID, -GRID[:2]],
    "bool": [GRID > 3, GRID[:2] > 3],
    "structured": [np.array([(1, 2.5)] * 4, "i4,f8"), np.array([(2, 3.5)], "i4,f8")],
    "Fortran order": [GRID, np.asfortranarray(GRID)],
    "no elements": [GRID[:, :0], GRID[:2, :0]],
    "rows apart": [GRID[::2], GRID],
    "an empty one": [GRID[:0], GRID],
}


@pytest.mark.parametrize("arrays", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("count", [0, 1, 9])
def test_rows_of_several_arrays(arrays: Any, count: int) -> None:
    pairs = [(number, row) for number, array in enumerate(arrays) for row in range(len(array))]
    chosen = np.array(pairs, np.int64)[np.random.default_rng(0).integers(0, len(pairs), count)]
    found = gather_rows(arrays, chosen[:, 0], chosen[:, 1])
    expected = np.array([arrays[number][row] for number, row in chosen], arrays[0].dtype)
    assert found.dtype == arrays[0].dtype
    assert found.tobytes() == expected.reshape(count, *arrays[0].shape[1:]).tobytes()


def test_strings_and_other_byte_orders_are_what_their_rows_make() -> None:
    which, rows = np.array([1, 0]), np.array([0, 1])
    assert gather_rows([np.array(["a", "bb"]), np.array(["ccc"])], which, rows) == ["ccc", "bb"]
    found = gather_rows([np.array([1, 2], ">i4"), np.array([3], ">i4")], which, rows)
    assert found.tolist() == [3, 2]
    assert found.dtype.isnative
