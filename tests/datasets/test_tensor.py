"""TensorDataset: rows of arrays of every kind, and its errors by their text."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, Dataset, TensorDataset, default_collate
from headrace.errors import ArgumentError, ArgumentTypeError, HeadraceError, OutOfRangeError
from headrace.testing import check_dataset, check_same

if TYPE_CHECKING:
    from pathlib import Path


class Tensor:
    """Boxes a float32 ndarray, as the tensor of a small framework does."""

    def __init__(self, data: Any) -> None:
        self.data = np.array(data, np.float32)
        self.shape = self.data.shape


def torch() -> Any:
    return pytest.importorskip("torch", reason="its tensors are tested")


def jnp() -> Any:
    return pytest.importorskip("jax.numpy", reason="its arrays are tested")


GRID = np.arange(60).reshape(5, 3, 4)

TENSORS: dict[str, Any] = {
    "ndarray": lambda: GRID,
    "one dimension": lambda: np.arange(5),
    "bool": lambda: GRID % 2 == 0,
    "complex": lambda: GRID * 1j,
    "half": lambda: GRID.astype(np.float16),
    "big-endian": lambda: GRID.astype(">f8"),
    "big-endian labels": lambda: np.arange(5).astype(">i4"),
    "big-endian times": lambda: np.arange(5).astype(">M8[s]"),
    "times": lambda: np.arange(5).astype("M8[D]"),
    "structured": lambda: np.array([(i, str(i)) for i in range(5)], "i4,U2"),
    "big-endian structured": lambda: np.array([(i, i) for i in range(5)], ">i4,f8"),
    "strings": lambda: np.array(["a", "bb", "", "dddd", "e"]),
    "rows of strings": lambda: np.array([["a", "bb"]] * 5),
    "bytes": lambda: np.array([b"a", b"bb", b"", b"dddd", b"e"]),
    "void": lambda: np.frombuffer(bytes(15), "V3"),
    "Python strings": lambda: np.array(["a", "bb", "", "dddd", "e"], object),
    "rows of objects": lambda: np.array([[i, str(i)] for i in range(5)], object),
    "Fortran order": lambda: np.asfortranarray(GRID),
    "transposed": lambda: np.arange(60).reshape(4, 3, 5).T,
    "every other row": lambda: np.repeat(GRID, 2, axis=0)[::2],
    "backwards": lambda: GRID[::-1],
    "broadcast": lambda: np.broadcast_to(np.arange(3), (5, 3)),
    "not aligned": lambda: np.frombuffer(b"\0" + GRID.astype("i8").tobytes(), "i8", 60, 1).reshape(5, 12),
    "no elements": lambda: np.zeros((5, 0, 2)),
    "boxed": lambda: Tensor(GRID),
    "boxed labels": lambda: Tensor(np.arange(5)),
    "torch": lambda: torch().from_numpy(GRID),
    "torch labels": lambda: torch().arange(5),
    "torch bool": lambda: torch().arange(5) > 2,
    "torch bfloat16": lambda: torch().from_numpy(GRID).bfloat16(),
    "torch bfloat16 transposed": lambda: torch().arange(20).bfloat16().reshape(4, 5).T,
    "torch with gradient": lambda: torch().ones(5, 2, requires_grad=True),
    "torch not contiguous": lambda: torch().from_numpy(GRID).transpose(1, 2),
    "torch expanded": lambda: torch().arange(3).expand(5, 3),
    "torch conjugated": lambda: torch().ones(5, 2, dtype=torch().complex64).conj(),
    "torch float8": lambda: torch().ones(5, 2).to(torch().float8_e4m3fn),
    "jax": lambda: jnp().asarray(GRID),
    "jax labels": lambda: jnp().arange(5),
    "jax bfloat16": lambda: jnp().ones((5, 2), jnp().bfloat16),
}


@pytest.mark.parametrize("make", TENSORS.values(), ids=TENSORS)
def test_batches_are_the_collated_rows(make: Any) -> None:
    tensor = make()
    dataset = TensorDataset(tensor, np.arange(5))
    assert len(dataset) == 5
    for indices in ([3], [4, 0, 2], [1, 1, 0, 1], list(range(5))):
        batch = dataset.get_batch(np.array(indices))
        check_same(batch, default_collate([dataset[index] for index in indices]))
        assert batch[1].tolist() == indices
    batch = dataset.get_batch(np.array([-1, 0, -5]))
    check_same(batch, default_collate([dataset[4], dataset[0], dataset[0]]))
    if not np.asarray(getattr(tensor, "dtype", 0)).dtype.hasobject:
        check_dataset(dataset, negative=True)


@pytest.mark.parametrize("make", TENSORS.values(), ids=TENSORS)
def test_an_index_outside_is_named_whatever_the_tensor(make: Any) -> None:
    dataset = TensorDataset(make())
    for index in (5, -6):
        text = f"^Index {index} out of range for dataset of size 5$"
        with pytest.raises(IndexError, match=text):
            dataset[index]
        with pytest.raises(OutOfRangeError, match=text):
            dataset.get_batch(np.array([0, index]))


def test_rows_of_types_are_kept() -> None:
    image, label, box, text = TensorDataset(np.zeros((2, 3)), np.arange(2), Tensor([1, 2]), np.array(["a", "b"]))[1]
    assert (type(image), type(label), type(box), type(text)) == (np.ndarray, np.int64, Tensor, np.str_)
    assert box.data.shape == ()


def test_rows_are_views_and_batches_are_copies() -> None:
    array = np.zeros((4, 3))
    dataset = TensorDataset(array)
    assert dataset.tensors[0] is array
    assert np.shares_memory(dataset[1][0], array)
    dataset.get_batch(np.array([0, 1]))[0][...] = 1
    assert not array.any()
    array[2] = 5  # data kept, not copied, may change between epochs
    assert dataset.get_batch(np.array([2]))[0].tolist() == [[5, 5, 5]]


def test_memory_maps_are_read_and_not_written(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", GRID)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    dataset = TensorDataset(mapped)
    batch = dataset.get_batch(np.array([4, 1]))[0]
    assert type(batch) is np.ndarray
    assert batch.flags.writeable
    assert (batch == GRID[[4, 1]]).all()
    check_dataset(dataset)


def test_gradients_flow_through_a_batch() -> None:
    weights = torch().ones(3, 2, requires_grad=True)
    TensorDataset(weights).get_batch(np.array([2, 2]))[0].sum().backward()
    assert weights.grad.tolist() == [[0, 0], [0, 0], [2, 2]]


@pytest.mark.parametrize(
    "tensor",
    [np.zeros((0, 3)), Tensor(np.zeros((0, 3))), pytest.param("torch", id="torch"), pytest.param("jax", id="jax")],
)
def test_no_rows_are_a_dataset_without_samples(tensor: Any) -> None:
    if isinstance(tensor, str):
        tensor = torch().zeros(0, 3) if tensor == "torch" else jnp().zeros((0, 3))
    dataset = TensorDataset(tensor)
    assert len(dataset) == 0
    assert list(iter(dataset)) == []
    batch = dataset.get_batch(np.array([], np.int64))[0]
    assert type(batch) is type(tensor)
    assert tuple(batch.shape) == (0, 3)
    with pytest.raises(IndexError, match=r"^Index 0 out of range for dataset of size 0$"):
        dataset[0]


@pytest.mark.parametrize("index", [2, np.int64(2), np.uint8(2), np.array(2), -3, np.int8(-3)])
def test_integers_of_every_kind_are_indices(index: Any) -> None:
    assert TensorDataset(np.arange(5) * 10)[index] == (20,)


def test_torch_integers_are_indices() -> None:
    assert TensorDataset(np.arange(5) * 10)[torch().tensor(2)] == (20,)


@pytest.mark.parametrize(
    "index",
    [slice(0, 2), True, np.True_, np.array(True), 1.0, np.float64(1), "1", None, [0, 1], np.array([0, 1]), (0,), ...],
)
def test_other_indices_are_type_errors(index: Any) -> None:
    text = f"a sample index is an integer, got {index!r}; for several samples use dataset.subset(indices)"
    with pytest.raises(ArgumentTypeError, match=f"^{re.escape(text)}$") as caught:
        TensorDataset(np.arange(5))[index]
    assert isinstance(caught.value, TypeError)


def test_torch_bools_and_vectors_are_no_indices() -> None:
    for index in (torch().tensor(True), torch().tensor([0, 1]), torch().tensor(1.0)):
        with pytest.raises(ArgumentTypeError, match="a sample index is an integer"):
            TensorDataset(np.arange(5))[index]


_ALLOWED = (
    "allowed are ndarrays, torch tensors, JAX arrays and objects with an ndarray in .data: "
    "convert it with numpy.asarray, or use StackDataset"
)


@pytest.mark.parametrize(
    ("tensors", "error", "text"),
    [
        ((), ArgumentError, "TensorDataset needs at least one tensor, got none"),
        (
            (np.zeros((100, 3)), np.zeros(90)),
            ArgumentError,
            "All tensors must have same size in first dimension. Tensor 0: 100, Tensor 1: 90 (shapes (100, 3), (90,))",
        ),
        (
            (Tensor(np.zeros(4)), Tensor(np.zeros((4, 2))), np.zeros((2, 1))),
            ArgumentError,
            (
                "All tensors must have same size in first dimension. Tensor 0: 4, Tensor 2: 2 "
                "(shapes (4,), (4, 2), (2, 1))"
            ),
        ),
        (
            (np.zeros(3), np.array(3)),
            ArgumentError,
            "Tensor 1 has shape () and so no first dimension to take samples from",
        ),
        (
            ([1, 2, 3],),
            ArgumentTypeError,
            f"Tensor 0 is a list; {_ALLOWED}",
        ),
        (
            (np.zeros(2), np.ma.masked_array([1, 2], [False, True])),
            ArgumentTypeError,
            (
                "Tensor 1 is a MaskedArray (a MaskedArray is more than its elements; numpy.asarray(value) makes an "
                f"array of them alone); {_ALLOWED}"
            ),
        ),
    ],
)
def test_what_is_no_dataset_is_refused(tensors: Any, error: type[HeadraceError], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        TensorDataset(*tensors)


def test_errors_are_the_built_in_ones_too() -> None:
    tensors: Any
    for tensors in ((), (np.zeros(3), np.zeros(2))):
        with pytest.raises(ValueError, match="ensor"):
            TensorDataset(*tensors)


def test_sizes_of_torch_and_numpy_are_compared() -> None:
    text = "All tensors must have same size in first dimension. Tensor 0: 4, Tensor 1: 3 (shapes (4, 2), (3,))"
    with pytest.raises(ArgumentError, match=re.escape(text)):
        TensorDataset(torch().zeros(4, 2), np.zeros(3))


def test_iterating_ends_after_the_last_sample() -> None:
    assert [x for (x,) in TensorDataset(np.arange(3))] == [0, 1, 2]  # type: ignore[attr-defined]


def test_a_dataset_can_be_pickled() -> None:
    dataset = TensorDataset(GRID, Tensor(np.arange(5)))
    check_same(pickle.loads(pickle.dumps(dataset))[3], dataset[3])
    assert isinstance(dataset, Dataset)


@given(st.data(), st.integers(1, 9), st.lists(st.integers(0, 3), max_size=2), st.sampled_from(["u1", "f4", "V5", "f8"]))
def test_any_rows_are_gathered(data: st.DataObject, length: int, row: list[int], dtype: str) -> None:
    shape = (length, *row)
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    array = np.frombuffer(np.random.default_rng(length).bytes(nbytes), dtype).reshape(shape)
    indices = data.draw(st.lists(st.integers(-length, length - 1), max_size=12))
    batch = TensorDataset(array).get_batch(np.array(indices, np.int64))[0]
    assert batch.tobytes() == array[np.array(indices, np.int64)].tobytes()
    assert (batch.shape, batch.dtype) == ((len(indices), *row), array.dtype)


def test_tensors_that_are_given_other_memory_are_read_there() -> None:
    torch = pytest.importorskip("torch")
    tensor, numbers = torch.zeros(6, 4), np.arange(6)
    dataset = TensorDataset(tensor, numbers)
    rows = np.array([4, 1] * 300)
    for made in (dataset, dataset.map(lambda sample: sample)):
        loader = DataLoader(made, batch_size=6)
        assert next(iter(loader))[0].sum() == 0
    tensor.share_memory_()
    tensor += 1
    assert dataset.get_batch(rows)[0].eq(1).all()
    tensor.data = torch.full((6, 4), 5.0)
    assert dataset.get_batch(rows)[0].eq(5).all()
    assert dataset.get_batch(rows[:2])[0].eq(5).all()
    assert next(iter(loader))[0].eq(5).all()
    tensor.data = torch.full((3, 4), 5.0)
    with pytest.raises(ArgumentError):
        dataset.get_batch(rows)


def test_boxes_that_are_filled_anew_are_read_anew() -> None:
    box = Tensor(np.zeros((6, 4), np.float32))
    dataset = TensorDataset(box)
    assert dataset.get_batch(np.arange(3))[0].data.sum() == 0
    box.data = np.ones((6, 4), np.float32)
    assert dataset.get_batch(np.arange(3))[0].data.sum() == 12
