from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from headrace.errors import ArgumentError
from headrace.kernels import reference
from headrace.kernels.scalar import philox_one

if TYPE_CHECKING:
    from headrace.kernels import Kernels

CHANCE = 1e-9  # of a false alarm, were the seeds not fixed


def shuffled_in_plain_python(key: int, length: int) -> list[int]:
    order = list(range(length))
    for i in range(length - 1, 0, -1):
        words = philox_one(key, i >> 1, reference.FISHER_YATES_STREAM)
        low, high = words[2 * (i & 1)], words[2 * (i & 1) + 1]
        j = ((high << 32 | low) * (i + 1)) >> 64
        order[i], order[j] = order[j], order[i]
    return order


@pytest.mark.parametrize("length", [0, 1, 2, 3, 10, 255, 4096, 4097])
def test_bijection(kernels: Kernels, length: int) -> None:
    order = kernels.fisher_yates(2**64 - 1, length)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(length))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 31, 1000])
def test_draws_are_those_documented(kernels: Kernels, length: int) -> None:
    assert kernels.fisher_yates(12345, length).tolist() == shuffled_in_plain_python(12345, length)


@pytest.mark.parametrize("length", [0, 1, 2, 5, 100, 4095, 4096, 50_001])
def test_native_is_the_reference(native_kernels: Kernels, length: int) -> None:
    for key in (0, 1, 2**63 + 5):
        got = native_kernels.fisher_yates(key, length)
        np.testing.assert_array_equal(got, reference.fisher_yates(key, length))


@pytest.mark.parametrize("length", [2, 3, 8, 13])
def test_every_element_lands_everywhere(kernels: Kernels, length: int) -> None:
    keys = 4000
    landed = np.zeros((length, length))
    for key in range(keys):
        landed[np.arange(length), kernels.fisher_yates(key, length)] += 1
    # Rows and columns add up to `keys`, which leaves (length - 1)**2 free counts.
    statistic = ((landed - keys / length) ** 2 / (keys / length)).sum()
    assert stats.chi2.sf(statistic * (length - 1) / length, (length - 1) ** 2) > CHANCE


def test_every_permutation_is_equally_likely(kernels: Kernels) -> None:
    counts = dict.fromkeys(permutations(range(4)), 0)
    for key in range(6000):
        counts[tuple(kernels.fisher_yates(key, 4).tolist())] += 1
    assert stats.chisquare(list(counts.values())).pvalue > CHANCE


def test_length_is_checked(kernels: Kernels) -> None:
    with pytest.raises(ArgumentError, match=r"length is -1, but fisher_yates permutes 0 to 4294967296 elements"):
        kernels.fisher_yates(0, -1)
    with pytest.raises(ArgumentError, match=r"length is 4294967297, but"):
        kernels.fisher_yates(0, 2**32 + 1)
