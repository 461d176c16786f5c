"""Reading from anything that has a length and items, by whichever face counts."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from headrace import (
    ConcatDataset,
    DataLoader,
    Dataset,
    MapDataset,
    StackDataset,
    Subset,
    TensorDataset,
    Transform,
    sample_rng,
)
from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError, UnexpectedStopIterationError
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.reading import check_dataset, check_indices
from headrace.rng.context import use_keys
from headrace.rng.draws import draw
from headrace.testing import check_same

ORDER = np.array([2, 0, 2])


class Columns(Dataset[Any]):
    """Reads whole batches only: single samples fail."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int, /) -> Any:
        raise AssertionError("a single sample was asked for")

    def get_batch(self, indices: Any) -> Any:
        return (indices * 10,)


class Many:
    """Reads lists of samples only, as some libraries' datasets would rather do."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("a single sample was asked for")

    def __getitems__(self, indices: list[int]) -> Any:
        self.asked.append(indices)
        return tuple(index * 10 for index in indices)


class Keyed:
    """Has a row for an integer and columns for everything else, as tables do."""

    def __init__(self) -> None:
        self.columns: dict[str, Any] = {"x": np.arange(4.0), "y": ["a", "b", "c", "d"]}

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self.columns[index]
        if not isinstance(index, int):
            raise TypeError(f"{type(index).__name__} indices are columns' business")
        return {name: column[index] for name, column in self.columns.items()}


@pytest.mark.parametrize(
    ("dataset", "batch"),
    [
        (["a", "b", "c"], ["c", "a", "c"]),
        ("abc", ["c", "a", "c"]),
        (b"abc", np.array([99, 97, 99])),
        (range(5, 8), np.array([7, 5, 7])),
        (np.arange(6).reshape(3, 2), np.array([[4, 5], [0, 1], [4, 5]])),
        ({0: 1.0, 1: 2.0, 2: 3.0}, np.array([3.0, 1.0, 3.0])),
        ([(1, "a"), (2, "b"), (3, "c")], (np.array([3, 1, 3]), ["c", "a", "c"])),
        (Keyed(), {"x": np.array([2.0, 0.0, 2.0]), "y": ["c", "a", "c"]}),
    ],
)
def test_anything_with_items_is_a_dataset(dataset: Any, batch: Any) -> None:
    check_dataset(dataset)
    check_same(compile_dataset(dataset).batch(ORDER), batch)
    check_same(
        compile_dataset(Subset(dataset, ORDER[:1])).batch(np.array([0, 0])),
        compile_dataset(dataset).batch(ORDER[[0, 0]]),
    )


def test_whole_batches_are_read_at_once_through_every_layer() -> None:
    whole = Columns()
    chain = Subset(ConcatDataset([whole, Subset(whole, [3, 2])]), np.array([5, 0, -2]))
    batch = compile_dataset(StackDataset(a=chain, b=Subset(whole, [1, 2, 3]))).batch(np.array([2, 0, 1]))
    check_same(batch, {"a": (np.array([30, 20, 0]),), "b": (np.array([30, 10, 20]),)})


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (Columns(), True),
        (Many(), True),
        (TensorDataset(np.arange(4)), True),
        (range(4), False),
        (Keyed(), False),
        (Subset(Columns(), [0]), True),
        (Subset(range(4), [0]), False),
        (ConcatDataset([range(4), Columns()]), True),
        (ConcatDataset([range(4)]), False),
        (StackDataset(range(4), Columns()), True),
        (StackDataset(range(4)), False),
        (MapDataset(Columns(), abs), False),
    ],
)
def test_reads_batches_is_true_where_a_capability_serves(dataset: Any, expected: bool) -> None:
    assert compile_dataset(dataset).reads_batches is expected


def test_getitems_is_given_a_list_of_python_integers() -> None:
    dataset = Many()
    assert compile_dataset(dataset).samples(ORDER) == [20, 0, 20]
    assert dataset.asked == [[2, 0, 2]]
    assert {type(index) for index in dataset.asked[0]} == {int}
    assert compile_dataset(Subset(dataset, [3, 1])).batch(np.array([1, 0])).tolist() == [10, 30]
    assert next(iter(DataLoader(dataset, batch_size=3))).tolist() == [0, 10, 20]


def test_getitems_must_give_one_sample_for_each_index() -> None:
    class Short(Many):
        def __getitem__(self, index: int) -> Any:
            return index

        def __getitems__(self, indices: list[int]) -> Any:
            return indices[:2]

    text = "Short.__getitems__ returned 2 samples for 3 indices; one sample for each index is needed, in their order"
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        compile_dataset(Short()).samples(ORDER)


def test_what_is_no_dataset_is_refused_with_what_is_missing() -> None:
    remedy = "a dataset is any object with both (for a stream of samples derive from IterableDataset)"
    for thing, missing in [
        (3, "a int without __len__ and __getitem__"),
        ({1}, "a set without __getitem__"),
        (iter([1]), "a list_iterator without __len__ and __getitem__"),
        (Columns, "a ABCMeta without __len__ and __getitem__"),
    ]:
        with pytest.raises(ArgumentTypeError, match=f"^dataset is {missing}; {re.escape(remedy)}$"):
            check_dataset(thing)


def test_a_failing_sample_is_named() -> None:
    with pytest.raises(KeyError) as caught:
        compile_dataset({0: "a"}).samples(np.array([0, 5]))
    assert caught.value.__notes__ == ["while reading sample 5 of dict"]


def test_stop_iteration_does_not_end_the_loop() -> None:
    class Stops(Many):
        def __getitem__(self, index: int) -> Any:
            return next(iter(()))

    text = "Stops.__getitem__(2) raised StopIteration; raise IndexError or another exception there"
    with pytest.raises(UnexpectedStopIterationError, match=f"^{re.escape(text)}$"):
        compile_dataset(Stops()).samples(ORDER, singly=True)


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ([], []),
        ([-1, 0, -5], [4, 0, 0]),
        (range(5), [0, 1, 2, 3, 4]),
        (np.array([4, 3], np.uint8), [4, 3]),
        (np.array([4, -4], ">i2"), [4, 1]),
        (np.array([1, 9, 2, 9])[::2], [1, 2]),
    ],
)
def test_indices_become_integers_from_the_front(indices: Any, expected: list[int]) -> None:
    found = check_indices(indices, 5)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("indices", "error", "text"),
    [
        ([0, 5, 9], OutOfRangeError, "Index 5 out of range for dataset of size 5"),
        ([0, -6], OutOfRangeError, "Index -6 out of range for dataset of size 5"),
        (
            np.array([2**64 - 1], np.uint64),
            OutOfRangeError,
            "Index 18446744073709551615 out of range for dataset of size 5",
        ),
        ([[0, 1]], ArgumentError, "indices must have one dimension, got shape (1, 2)"),
        (3, ArgumentError, "indices must have one dimension, got shape ()"),
        ([0.0, 1.0], ArgumentTypeError, "indices must be integers, got float64"),
        (["a"], ArgumentTypeError, "indices must be integers, got <U1"),
        (
            [True, False],
            ArgumentTypeError,
            "indices must be integers, got bool; turn a mask into indices with numpy.flatnonzero",
        ),
    ],
)
def test_other_indices_are_refused(indices: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        check_indices(indices, 5)


# ---------------------------------------------------------------------- datasets of other libraries


def noise(image: Any) -> Any:
    return image + sample_rng().normal(size=image.shape)


def test_torch_datasets_are_datasets() -> None:
    torch = pytest.importorskip("torch", reason="its datasets are read")
    data = torch.utils.data
    x, y = torch.arange(12.0).reshape(6, 2), torch.arange(6)
    rows = data.TensorDataset(x, y)
    nested = data.Subset(data.ConcatDataset([rows, rows]), [7, 0, 11])
    batch = compile_dataset(nested).batch(np.array([2, 0]))
    assert batch[1].tolist() == [5, 1]
    assert torch.equal(batch[0], x[[5, 1]])
    loader = DataLoader(ConcatDataset([nested, Subset(rows, [2])]), batch_size=4)
    assert [labels.tolist() for _, labels in loader] == [[1, 0, 5, 2]]
    ours = data.Subset(TensorDataset(np.arange(6)), [5, 1])
    assert compile_dataset(ours).batch(np.array([1, 0]))[0].tolist() == [1, 5]


class Drawing(Dataset[Any]):
    """Draws in its own `__getitem__`, at no place of a chain."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int, /) -> Any:
        return sample_rng().random(), sample_rng().random()


@pytest.mark.parametrize("dataset", [TensorDataset(np.zeros((4, 2))).map(noise, field=0), Drawing()])
def test_samples_below_a_foreign_getitems_draw_as_if_read_alone(dataset: Dataset[Any]) -> None:
    torch = pytest.importorskip("torch", reason="its Subset has __getitems__")
    with use_keys(1, np.arange(4)):
        expected = compile_dataset(dataset).samples(np.arange(4), singly=True)
    with use_keys(1, np.arange(4)):
        found = compile_dataset(torch.utils.data.Subset(dataset, range(4))).samples(np.arange(4))
    check_same(found, expected)


def test_function_replaced_during_an_epoch_is_used() -> None:
    dataset: Any = TensorDataset(np.arange(8)).map(np.negative, field=0)
    batches = iter(DataLoader(dataset.subset(range(8)), batch_size=2))
    assert next(batches)[0].tolist() == [0, -1]
    dataset.fn = np.square
    assert next(batches)[0].tolist() == [4, 9]


class _Noise(Transform):
    """Adds what it draws, so that the place of each draw shows."""

    def __call__(self, sample: Any) -> Any:
        return sample + draw(1)[0, 0] % 1000

    def apply_batch(self, batch: Any) -> Any:
        return batch + draw(len(batch))[:, 0] % 1000


def test_functions_of_one_field_in_a_row_draw_as_each_by_itself() -> None:
    """The field is taken out of the sample once for all of them, which is not to be seen."""
    dataset: Any = TensorDataset(np.zeros(4, np.int64), np.zeros(4, np.int64))
    for field in (0, 0, 1, 0, 1, 1):
        dataset = dataset.map(_Noise(), field=field)
    indices = np.arange(4)
    with use_keys(1, indices):
        whole = compile_dataset(dataset).batch(indices)
    with use_keys(1, indices):
        samples = compile_dataset(dataset).samples(indices, singly=True)
    check_same(whole, tuple(np.array(column) for column in zip(*samples, strict=True)))
    assert len({int(value) for column in whole for value in column}) == 8
