"""The two kinds of dataset to derive from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import ConcatDataset, Dataset, ImageFolder, IterableDataset, MapDataset, Subset, TensorDataset
from headrace.errors import ArgumentTypeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Squares(Dataset[int]):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int, /) -> int:
        if not 0 <= index < 5:
            raise IndexError(index)
        return index**2


@pytest.mark.parametrize("cls", [Dataset, IterableDataset])
def test_abstract_datasets_cannot_be_made(cls: Any) -> None:
    with pytest.raises(TypeError, match=f"^Can't instantiate abstract class {cls.__name__}"):
        cls()


def test_each_method_must_be_written() -> None:
    class NoItems(Dataset[int]):
        def __len__(self) -> int:
            return 1

    with pytest.raises(TypeError, match="__getitem__"):
        NoItems()  # type: ignore[abstract]


def test_methods_make_other_datasets() -> None:
    dataset = Squares()
    mapped, subset, both = dataset.map(np.sqrt), dataset.subset([-1, 1]), dataset + range(7, 8)
    assert (type(mapped), type(subset), type(both)) == (MapDataset, Subset, ConcatDataset)
    assert [mapped[index] for index in range(5)] == [0, 1, 2, 3, 4]
    assert [subset[index] for index in range(2)] == [16, 1]
    assert [both[index] for index in range(6)] == [0, 1, 4, 9, 16, 7]
    assert mapped.subset([4]).map(str)[0] == "4.0"


def test_adding_what_is_no_dataset_is_refused() -> None:
    text = "dataset 1 is a int without __len__ and __getitem__; a dataset is any object with both"
    with pytest.raises(ArgumentTypeError, match=f"^{re.escape(text)}"):
        Squares() + 1  # type: ignore[operator]


def test_a_stream_needs_only_an_iterator() -> None:
    class Naturals(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    assert list(Naturals()) == [0, 1, 2]
    assert not hasattr(Naturals, "__len__")


def test_reprs_say_length_and_place(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    folder = ImageFolder(tmp_path)
    assert repr(folder) == f"ImageFolder(2 samples, root={str(tmp_path)!r}, 2 classes)"
    assert repr(TensorDataset(np.zeros((1200, 2)))) == "TensorDataset(1,200 samples)"
    assert repr(folder.subset([1])) == "Subset(1 sample)"
