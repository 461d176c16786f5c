"""Plans that are compiled: many functions in a row, with the draws and results of each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace import TensorDataset, sample_rng
from headrace.pipeline.compile import compile_dataset
from headrace.rng.context import use_keys
from headrace.rng.places import slot

STAGES = 2**30  # where mapped functions draw
INDICES = np.array([3, 0, 9, 3, 7])


def noisy(value: Any) -> Any:
    return value + sample_rng().integers(1000) + 10_000 * sample_rng().integers(1000)


@pytest.mark.parametrize("fields", [[0] * 32, [0, 0, 1, 1, 0], [0, None, 0, 0], [1, -1, 1, 1], [0, 1, 0, 1]])
def test_functions_of_a_field_in_a_row_draw_as_each_alone(fields: list[int | None]) -> None:
    def change(sample: Any) -> Any:
        return noisy(sample[0]), sample[1]

    dataset: Any = TensorDataset(np.arange(10), np.arange(10) * 7)
    for field in fields:
        dataset = dataset.map(change if field is None else noisy, field=field)
    with use_keys(5, INDICES):
        found = compile_dataset(dataset).samples(INDICES)
    for position, index in enumerate(INDICES.tolist()):
        values = [index, index * 7]
        with use_keys(5, INDICES[position : position + 1]):
            for stage, field in enumerate(fields, 1):
                with slot(STAGES + stage):
                    values[field or 0] = noisy(values[field or 0])
        assert [int(value) for value in found[position]] == values
