"""Datasets as sources of Ray Data, held against what the datasets themselves give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import Lambda, TensorDataset, sample_rng, write_dataset
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.formats.opening import open_dataset

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.usefixtures("cluster"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray's own, of its own defaults
]


def read(*args: Any, **options: Any) -> Any:
    """Call what is tested; Ray Data is imported when the cluster is there."""
    from headrace.ray import read as read_dataset

    return read_dataset(*args, **options)


def images_and_labels(length: int = 100) -> TensorDataset:
    images = np.random.default_rng(0).integers(0, 256, (length, 4, 3), dtype=np.uint8)
    return TensorDataset(images, np.arange(length))


def test_rows_are_the_samples_in_order() -> None:
    dataset = images_and_labels()
    rows = read(dataset, fields=["image", "label"], override_num_blocks=7).take_all()
    assert sorted(row["label"] for row in rows) == list(range(100))
    for row in rows:
        np.testing.assert_array_equal(row["image"], dataset[int(row["label"])][0])


def test_names_are_positions_where_none_are_given() -> None:
    assert set(read(images_and_labels()).take(1)[0]) == {"0", "1"}


def test_lone_values_are_called_data() -> None:
    rows = read(["a", "b", "c"]).take_all()
    assert sorted(row["data"] for row in rows) == ["a", "b", "c"]


def test_blocks_are_shards(tmp_path: Path) -> None:
    write_dataset(images_and_labels(), tmp_path / "data", format="tfrecord", shard_samples=30)
    dataset = open_dataset(tmp_path / "data")
    table = read(dataset, override_num_blocks=4).map_batches(_first_and_count, batch_size=None)
    found = sorted((int(row["first"]), int(row["count"])) for row in table.take_all())
    assert found == [(0, 30), (30, 30), (60, 30), (90, 10)]


def test_random_transforms_draw_the_same_again() -> None:
    dataset = images_and_labels(20).map(Lambda(_noisy), field=0)
    first, again = (read(dataset, override_num_blocks=blocks).take_all() for blocks in (2, 5))
    by_label = {int(row["1"]): row["0"] for row in first}
    for row in again:
        np.testing.assert_array_equal(row["0"], by_label[int(row["1"])])


def _first_and_count(block: dict[str, Any]) -> dict[str, Any]:
    return {"first": block["1"][:1], "count": np.array([len(block["1"])])}


def _noisy(image: Any) -> Any:
    return image + sample_rng().integers(0, 100)


def test_an_empty_dataset_is_refused() -> None:
    with pytest.raises(ArgumentError, match="has no samples"):
        read([])


@pytest.mark.parametrize("blocks", [0, -1, 1.5])
def test_numbers_of_blocks_are_positive_integers(blocks: Any) -> None:
    with pytest.raises(ArgumentError, match="positive integer"):
        read(images_and_labels(), override_num_blocks=blocks)


def test_what_has_no_length_is_refused() -> None:
    with pytest.raises(ArgumentTypeError):
        read(iter([1, 2]))
