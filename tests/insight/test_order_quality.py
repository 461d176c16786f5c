"""The quality of an order against loops over all pairs, and against orders of which it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.insight.order_quality import find_labels, measure_order

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_distance(places: list[int], length: int) -> float:
    distances = [abs(one - other) for one, other in zip(places, places[1:], strict=False)]  # noqa: RUF007
    drawn = [abs(one - other) for one in range(length) for other in range(length) if one != other]
    return float(np.mean(distances) / np.mean(drawn))


@given(st.permutations(range(12)))
def test_distances(order: list[int]) -> None:
    found = measure_order(np.array(order), [3] * 4, 12)
    assert found.distance == pytest.approx(mean_distance(order, 12))
    assert found.moved == pytest.approx(mean_distance([order.index(sample) for sample in range(12)], 12))
    assert (found.deviation, found.true_deviation) == (None, None)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 7), st.randoms())
def test_the_deviation_of_classes(labels: list[int], size: int, random: Any) -> None:
    order = list(range(len(labels)))
    random.shuffle(order)
    sizes = [len(order[start : start + size]) for start in range(0, len(order), size)]
    wrong = []
    for start in range(0, len(order), size):
        batch = [labels[sample] for sample in order[start : start + size]]
        surplus = [batch.count(name) / len(batch) - labels.count(name) / len(labels) for name in set(labels)]
        wrong.append(sum(each for each in surplus if each > 0))
    found = measure_order(np.array(order), sizes, len(labels), np.array(labels))
    assert found.deviation == pytest.approx(np.mean(wrong))


def test_a_true_shuffle_is_near_one_and_blocks_are_not() -> None:
    labels = np.arange(20_000) // 2000
    orders: dict[str, NDArray[np.int64]] = {}
    for shuffle in (False, True, "block"):
        options: dict[str, Any] = {"block_size": 50, "window": 4} if shuffle == "block" else {}
        loader = hr.DataLoader(range(20_000), 100, shuffle=shuffle, seed=0, **options)
        orders[str(shuffle)] = np.concatenate(list(loader))
    true, block, none = (
        measure_order(orders[name], [100] * 200, 20_000, labels) for name in ("True", "block", "False")
    )
    assert true.moved is not None
    assert block.moved is not None
    assert true.distance == pytest.approx(1, abs=0.03)
    assert true.moved == pytest.approx(1, abs=0.03)
    assert true.deviation == pytest.approx(true.true_deviation, rel=0.1)
    assert block.moved < 0.05
    assert block.distance is not None
    assert 0.3 < block.distance < 0.9
    deviations = [each.deviation or 0.0 for each in (true, block, none)]
    assert deviations == sorted(deviations)
    assert deviations[2] == pytest.approx(0.9)


def test_samples_that_come_twice_or_not_at_all_have_no_neighbours() -> None:
    assert measure_order(np.array([0, 1, 1]), [3], 3).moved is None
    assert measure_order(np.array([2, 0]), [2], 3).moved is None
    assert measure_order(np.empty(0, np.int64), [], 3).distance == 0


def test_labels_are_found_in_memory() -> None:
    rows, labels = np.zeros((40, 2)), np.arange(40) % 4
    table = hr.TensorDataset(rows, labels)
    cases: list[tuple[Any, Any]] = [
        (table, labels),
        (table.map(abs, field=0).cache(), labels),
        (table.subset([3, 1]) + table, [3, 1, *labels]),
        (hr.StackDataset(hr.TensorDataset(rows), table), labels),
        (hr.ImageDataset(["a"] * 40, labels), labels),
    ]
    for dataset, expected in cases:
        found = find_labels(dataset)
        assert found is not None
        assert found.tolist() == list(expected)
    for unknown in (
        hr.TensorDataset(rows),
        hr.TensorDataset(rows, np.arange(40)),
        range(40),
        hr.ConcatDataset([table, [(1, 2)]]),
    ):
        assert find_labels(unknown) is None
