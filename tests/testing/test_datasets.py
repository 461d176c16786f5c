"""The check of datasets: our own pass, and for each rule a broken one fails by that rule's text."""

from __future__ import annotations

import itertools
import re
from typing import Any, NamedTuple

import numpy as np
import pytest

from headrace import (
    ConcatDataset,
    DataLoader,
    Dataset,
    RandomCrop,
    RandomHorizontalFlip,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
    sample_rng,
)
from headrace.testing import check_dataset, check_same

IMAGES = np.random.default_rng(0).normal(size=(20, 3, 6, 6)).astype(np.float32)
ROWS = TensorDataset(IMAGES, np.arange(20))


def noise(image: Any) -> Any:
    return image + sample_rng().normal(size=image.shape)


OURS: dict[str, Any] = {
    "TensorDataset": ROWS,
    "Subset": Subset(ROWS, [3, -1, 3, 0]),
    "ConcatDataset": ConcatDataset([ROWS, Subset(ROWS, [4]), ROWS]),
    "StackDataset": StackDataset(a=ROWS, b=ROWS.map(noise, 0), c=range(20)),
    "MapDataset": ROWS.map(RandomCrop(6), 0).map(RandomHorizontalFlip(), 0).map(noise, 0),
    "random_split": random_split(ROWS, [0.9, 0.1], seed=0)[0],
    "empty": TensorDataset(np.zeros((0, 2))),
    "list": [1, 2, 3],
    "array": IMAGES,
    "strings": "abc",
    "NaN": [float("nan")] * 2,
    "objects": [object(), {1, 2}],
}


@pytest.mark.parametrize("dataset", OURS.values(), ids=OURS)
def test_our_own_datasets_keep_the_rules(dataset: Any) -> None:
    check_dataset(dataset)
    check_dataset(dataset, samples=3, negative=True, picklable=True)


def test_torch_datasets_keep_the_rules() -> None:
    torch = pytest.importorskip("torch", reason="its datasets are checked")
    rows = torch.utils.data.TensorDataset(torch.arange(6.0).reshape(3, 2), torch.arange(3))
    check_dataset(rows, negative=True, picklable=True)
    check_dataset(torch.utils.data.Subset(rows, [2, 0]))


# ---------------------------------------------------------------------- one broken dataset for each rule


class Tens(Dataset[Any]):
    """Keeps all rules; each class below breaks one of them."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int, /) -> Any:
        if not -5 <= index < 5:
            raise IndexError(index)
        return {"x": np.full(2, index % 5), "name": str(index % 5)}


class NegativeLength(Tens):
    def __len__(self) -> int:
        return -1


class NoLength:
    def __getitem__(self, index: int) -> int:
        return index


class MissingSample(Tens):
    def __getitem__(self, index: int, /) -> Any:
        if index == 4:
            raise KeyError("lost")
        return super().__getitem__(index)


class Endless(Tens):
    def __getitem__(self, index: int, /) -> Any:
        return index


class OtherError(Tens):
    def __getitem__(self, index: int, /) -> Any:
        if index >= 5:
            raise KeyError(index)
        return super().__getitem__(index)


class Unrepeatable(Tens):
    calls = itertools.count()

    def __getitem__(self, index: int, /) -> Any:
        return {**super().__getitem__(index), "calls": next(self.calls)}


class NotFromTheEnd(Tens):
    def __getitem__(self, index: int, /) -> Any:
        if index < 0:
            return super().__getitem__(0)
        return super().__getitem__(index)


class TooFarBack(Tens):
    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index % 5 if index < 0 else index)


class Sorting(Tens):
    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)

    def get_batch(self, indices: Any) -> Any:
        rows = np.sort(indices)
        return {"x": np.repeat(rows[:, np.newaxis], 2, 1), "name": [str(row) for row in rows]}


class Unique(Sorting):
    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)

    def get_batch(self, indices: Any) -> Any:
        rows = np.array(list(dict.fromkeys(indices.tolist())))
        return {"x": np.repeat(rows[:, np.newaxis], 2, 1), "name": [str(row) for row in rows]}


class OtherDtype(Tens):
    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)

    def get_batch(self, indices: Any) -> Any:
        return {"x": np.repeat(indices[:, np.newaxis], 2, 1) * 1.0, "name": [str(row) for row in indices]}


class OtherKeys(Tens):
    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)

    def get_batch(self, indices: Any) -> Any:
        return {"x": np.repeat(indices[:, np.newaxis], 2, 1)}


class BrokenBatch(Tens):
    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)

    def get_batch(self, indices: Any) -> Any:
        raise ZeroDivisionError("no rows")


class DrawsOnce(Tens):
    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)["x"] * sample_rng().random()

    def get_batch(self, indices: Any) -> Any:
        return np.stack([Tens()[index]["x"] for index in indices]) * sample_rng().random()


class TooFew(Tens):
    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)

    def __getitems__(self, indices: list[int]) -> Any:
        return [self[index] for index in indices[:1]]


class Swapped(Tens):
    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)

    def __getitems__(self, indices: list[int]) -> Any:
        return [self[index] for index in indices[::-1]]


class WrongLengths(Dataset[Any]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int, /) -> Any:
        return np.zeros(range(3)[index])

    def lengths(self) -> Any:
        return np.array([0, 1, 3])


class WrongFieldLengths(Tens):
    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)

    def field_lengths(self, field: Any) -> Any:
        return np.arange(5) if field == "x" else None


class Unpicklable(Tens):
    def __init__(self) -> None:
        self.function = lambda: 0


class Forgetful(Tens):
    step = 1

    def __getstate__(self) -> Any:
        return {"step": 2}

    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)["x"] * self.step if index < 5 else super().__getitem__(index)


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        (NegativeLength(), "NegativeLength: there is no length, or no reading by index: __len__() should return >= 0"),
        (NoLength(), "NoLength: there is no length, or no reading by index: NoLength is a NoLength without __len__; "),
        (MissingSample(), "MissingSample: index 4 raised KeyError: 'lost'"),
        (Endless(), "Endless: index 5 gave 5, but must raise IndexError: there are 5 samples"),
        (OtherError(), "OtherError: index 5 raised KeyError, but must raise IndexError: there are 5 samples"),
        (
            Unrepeatable(),
            (
                "Unrepeatable: index 0 gave another sample when read again "
                "(draw from headrace.sample_rng() to be random and repeatable): at ['calls'] got "
            ),
        ),
        (NotFromTheEnd(), "NotFromTheEnd: index -4 differs from index 1: at ['x'] got int64 (2,) array([0, 0]), not "),
        (TooFarBack(), "TooFarBack: index -6 gave {'x': array([4, 4]), 'name': '4'}, but must raise IndexError: "),
        (
            Sorting(),
            (
                "Sorting: get_batch of the indices [4, 3, 2, 1, 0] differs from default_collate of single samples: "
                "at ['x'] got int64 (5, 2) array([[0, 0],"
            ),
        ),
        (Unique(), "Unique: get_batch of the indices [0, 1, 0, 1, 2, 3, 4, 3, 4] differs from default_collate of "),
        (
            OtherDtype(),
            (
                "OtherDtype: get_batch of the indices [4] differs from default_collate of single samples: "
                "at ['x'] got float64 (1, 2) array([[4., 4.]]), not int64 (1, 2) array([[4, 4]])"
            ),
        ),
        (
            OtherKeys(),
            (
                "OtherKeys: get_batch of the indices [4] differs from default_collate of single samples: "
                "got the fields ['x'], not ['x', 'name']"
            ),
        ),
        (BrokenBatch(), "BrokenBatch: get_batch of the indices [4] raised ZeroDivisionError: no rows"),
        (DrawsOnce(), "DrawsOnce: get_batch of the indices [4, 3, 2, 1, 0] differs from default_collate of "),
        (TooFew(), "TooFew: __getitems__ of the indices [4, 3, 2, 1, 0] raised ArgumentError: TooFew.__getitems__ "),
        (Swapped(), "Swapped: __getitems__ of the indices [4, 3, 2, 1, 0] differs from single reading: at [0]['x'] "),
        (WrongLengths(), "WrongLengths: index 2: its length is told to be 3, but is 2"),
        (WrongFieldLengths(), "WrongFieldLengths: index 0: its length of field 'x' is told to be 0, but is 2"),
        (Unpicklable(), "Unpicklable: it cannot be pickled: "),
        (Forgetful(), "Forgetful: a pickled copy differs at index 1: got int64 (2,) array([2, 2]), not int64 (2,) "),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_each_broken_rule_is_named(dataset: Any, text: str) -> None:
    with pytest.raises(AssertionError, match=f"^{re.escape(text)}"):
        check_dataset(dataset, negative=not isinstance(dataset, Forgetful), picklable=True)


def test_the_whole_example_keeps_the_rules() -> None:
    check_dataset(Tens(), negative=True, picklable=True)


def test_the_last_samples_are_looked_at_however_few() -> None:
    class Large(Tens):
        def __len__(self) -> int:
            return 10**9

        def __getitem__(self, index: int, /) -> Any:
            if index >= 10**9 - 1:
                raise IndexError(index)
            return index

    with pytest.raises(AssertionError, match=r"^Large: index 999999999 raised IndexError"):
        check_dataset(Large(), samples=2)


# ---------------------------------------------------------------------- check_same


class Pair(NamedTuple):
    x: Any
    y: Any


@pytest.mark.parametrize(
    ("found", "expected", "text"),
    [
        (1, 1.0, "got 1, not 1.0"),
        (True, 1, "got True, not 1"),
        (np.int64(1), 1, "got "),
        ((1, 2), [1, 2], "got (1, 2), not [1, 2]"),
        (Pair(1, 2), (1, 2), "got Pair(x=1, y=2), not (1, 2)"),
        ((1, 2), (1,), "got the fields [0, 1], not [0]"),
        ({"x": [1, (2,)]}, {"x": [1, (3,)]}, "at ['x'][1][0] got 2, not 3"),
        ({"x": 1, "y": 2}, {"y": 2, "x": 1}, "got the fields ['x', 'y'], not ['y', 'x']"),
        (["a", "b"], ["a", "c"], "got ['a', 'b'], not ['a', 'c']"),
        (np.zeros(1), np.zeros((1, 1)), "got float64 (1,) array([0.]), not float64 (1, 1) array([[0.]])"),
        (np.zeros(1), np.zeros(1, ">f8"), "got float64 (1,) array([0.]), not >f8 (1,) array([0.], "),
        (np.zeros(1), -np.zeros(1), "got float64 (1,) array([0.]), not float64 (1,) array([-0.])"),
        (np.array([1], object), np.array([2], object), "got object (1,) array([1], dtype=object), not object (1,) "),
        ([], None, "got [], not None"),
    ],
)
def test_differing_values_are_named(found: Any, expected: Any, text: str) -> None:
    with pytest.raises(AssertionError, match=f"^this: {re.escape(text)}"):
        check_same(found, expected, "this")


def test_equal_values_pass_check_same() -> None:
    value = {"x": (np.array([np.nan, -0.0]), float("nan")), "y": [Pair("a", b"b"), np.float32("nan")], "z": []}
    copy = {"x": (np.array([np.nan, -0.0]), float("nan")), "y": [Pair("a", b"b"), np.float32("nan")], "z": []}
    check_same(value, copy)
    check_same(np.asfortranarray(np.ones((2, 3))), np.ones((2, 3)))
    batches = list(DataLoader(ROWS, batch_size=5))
    check_same(batches, list(DataLoader(ROWS, batch_size=5)))


def test_tensors_of_frameworks_are_compared() -> None:
    torch = pytest.importorskip("torch", reason="its tensors are compared")
    check_same(torch.ones(2, requires_grad=True), torch.ones(2))
    for other in (torch.zeros(2), torch.ones(3), torch.ones(2, dtype=torch.float64), np.ones(2, np.float32)):
        with pytest.raises(AssertionError):
            check_same(torch.ones(2, requires_grad=True), other)
