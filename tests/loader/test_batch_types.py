"""A type checker tells the type of batches, and batches are of that type; mypy reads this file as the others."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, assert_type

import numpy as np
from numpy.typing import NDArray

from headrace import DataLoader, Dataset, IterableDataset, TensorDataset
from headrace.loader.batch_types import LoaderOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class Pair(NamedTuple):
    image: Image
    mask: Mask


class Of(Dataset[T], Generic[T]):
    """Equal samples of any type."""

    def __init__(self, sample: T) -> None:
        self.sample = sample

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int, /) -> T:
        return self.sample


if TYPE_CHECKING:
    Unknown: Any  # a class of a library without types
else:
    Unknown = Dataset


class Foreign(Unknown):  # type: ignore[misc]
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int, /) -> Image:
        return image()


class Stream(IterableDataset[Image]):
    def __iter__(self) -> Iterator[Image]:
        yield image()


def image() -> Image:
    return np.zeros((2, 2), np.uint8)


def mask() -> Mask:
    return np.zeros((2, 2), np.bool_)


def first(loader: DataLoader[T]) -> T:
    return next(iter(loader))


def test_batches_of_arrays_are_arrays() -> None:
    loader = DataLoader(Of(image()), 2, shuffle=True, seed=0, num_workers=0)
    assert_type(loader, DataLoader[Image])
    assert first(loader).dtype == np.uint8
    assert_type(loader.batch(0), Image)
    streamed = DataLoader(Stream(), batch_size=2)
    assert_type(streamed, DataLoader[Image])
    assert type(first(streamed)) is np.ndarray


def test_batches_of_tuples_and_dicts_of_arrays_keep_their_type() -> None:
    pairs = DataLoader(Of((image(), mask())), 2)
    assert_type(pairs, DataLoader[tuple[Image, Mask]])
    batch = first(pairs)
    assert isinstance(batch, tuple)
    assert [part.dtype for part in batch] == [np.uint8, np.bool_]
    named = DataLoader(Of(Pair(image(), mask())), 2)
    assert_type(named, DataLoader[Pair])
    assert type(first(named)) is Pair
    fields = DataLoader(Of({"image": image()}), 2)
    assert_type(fields, DataLoader[dict[str, Image]])
    assert {name: value.dtype for name, value in first(fields).items()} == {"image": np.uint8}


def test_batches_of_numbers_are_arrays() -> None:
    labelled = DataLoader(Of((image(), 3)), 2)
    assert_type(labelled, DataLoader[tuple[Image, NDArray[Any]]])
    assert type(first(labelled)[1]) is np.ndarray
    for loader in (DataLoader(Of(1.5), 2), DataLoader(range(4), 2), DataLoader([True, False])):
        assert_type(loader, DataLoader[NDArray[Any]])
        assert type(first(loader)) is np.ndarray


def test_without_batches_samples_come_out() -> None:
    loader = DataLoader(Of(("a", 1)), None)
    assert_type(loader, DataLoader[tuple[str, int]])
    assert first(loader) == ("a", 1)


def count_and_join(samples: list[str]) -> tuple[int, str]:
    return len(samples), "".join(samples)


def test_batches_of_a_collate_fn_are_what_it_returns() -> None:
    joined = DataLoader(Of("a"), 3, collate_fn=count_and_join)
    assert_type(joined, DataLoader[tuple[int, str]])
    assert first(joined) == (3, "aaa")
    counted = DataLoader(["a", "b"], 2, shuffle=True, collate_fn=len)
    assert_type(counted, DataLoader[int])
    assert first(counted) == 2


def test_other_batches_are_any() -> None:
    """Where the type of samples says too little."""
    assert_type(DataLoader(TensorDataset(np.arange(4)), 2), DataLoader[tuple[Any, ...]])
    assert_type(DataLoader(Of("a"), 2), DataLoader[Any])
    assert_type(DataLoader(Foreign(), 2), DataLoader[Any])
    assert_type(DataLoader({"x": np.arange(4)}, 2), DataLoader[Any])
    assert_type(DataLoader(np.arange(4), 2, False, None, None, 0), DataLoader[Any])


def test_every_argument_of_the_loader_is_typed_alike() -> None:
    hints, parameters = LoaderOptions.__annotations__, inspect.signature(DataLoader).parameters
    assert set(hints) | {"dataset", "batch_size", "shuffle", "collate_fn"} == set(parameters)
