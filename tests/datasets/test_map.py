"""Maps that are done together, over fields and parts: the bytes of each step by itself, in as few passes as can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import (
    Compose,
    ConcatDataset,
    DataLoader,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    StackDataset,
    TensorDataset,
    ToFloat,
    Transform,
    default_collate,
    sample_rng,
)
from headrace.images import fuse
from headrace.pipeline import read_parts
from headrace.pipeline.compile import compile_dataset
from headrace.rng.context import use_keys
from headrace.testing import check_same

if TYPE_CHECKING:
    from numpy.typing import NDArray

CROP, FLIP = RandomCrop((6, 8), padding=2), RandomHorizontalFlip()


class Negate(Transform):
    """Of labels, whole batches of them."""

    def __call__(self, sample: Any) -> Any:
        return -sample

    def apply_batch(self, batch: Any) -> Any:
        return -batch


def noisy(label: Any) -> Any:
    """One label at a time, and random."""
    return label + sample_rng().integers(1000)


def images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 8, 3), np.uint8)


def numbered(count: int, seed: int = 0) -> TensorDataset:
    return TensorDataset(images(count, seed), np.arange(count))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each pass has made."""
    found: list[int] = []
    make = fuse.make_rows

    def counting(program: Any, source: Any, rows: NDArray[np.int64], out: Any) -> None:
        found.append(len(rows))
        make(program, source, rows, out)

    monkeypatch.setattr(fuse, "make_rows", counting)
    return found


def alone(dataset: Any, index: int) -> Any:
    with use_keys(5, np.array([index])):
        return dataset[index]


def together(dataset: Any, indices: list[int]) -> Any:
    with use_keys(5, np.array(indices)):
        return compile_dataset(dataset).batch(np.array(indices))


def check_batch(dataset: Any, indices: list[int]) -> None:
    check_same(together(dataset, indices), default_collate([alone(dataset, index) for index in indices]))


# ---------------------------------------------------------------------- several fields


def test_functions_of_a_field_are_one_pass_over_those_of_others(passes: list[int]) -> None:
    dataset = numbered(30).map(CROP, field=0).map(Negate(), field=1).map(FLIP, field=0).map(ToFloat(), field=0)
    check_batch(dataset, [4, 29, 4, 0])
    assert passes == [4]
    written = fuse.write_steps

    def all_written(program: Any, steps: Any, layout: Any) -> int:
        assert len(steps) == 3
        return written(program, steps, layout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuse, "write_steps", all_written)
        together(dataset, [1, 2])


def test_a_function_of_single_samples_between_them_ends_the_pass(passes: list[int]) -> None:
    dataset = numbered(30).map(CROP, field=0).map(noisy, field=1).map(FLIP, field=0)
    assert not compile_dataset(dataset).reads_batches
    check_batch(dataset, [4, 29, 4, 0])


@pytest.mark.parametrize(("one", "other"), [(0, 1), (0, -1), (-2, 1), (0, -2), (-1, 1), (1, -1), (-2, -1)])
def test_fields_that_may_be_the_same_keep_their_order(one: int, other: int) -> None:
    """A position from the end may be any of them, as far as a map knows."""
    rows = TensorDataset(images(20), images(20, 1))
    dataset = rows.map(Pad(1, fill=1), one).map(Pad(1, fill=2), other).map(Pad(1, fill=3), one)
    check_batch(dataset, [3, 3, 7])
    image = dataset[0][one]
    same = one % 2 == other % 2
    assert image[:3, 5, 0].tolist() == ([3, 2, 1] if same else [3, 1, image[2, 5, 0]])


def test_names_of_fields(passes: list[int]) -> None:
    stacked = StackDataset(image=images(9), label=np.arange(9))
    dataset = stacked.map(CROP, field="image").map(Negate(), field="label").map(FLIP, field="image")
    check_batch(dataset, [8, 0, 0])


# ---------------------------------------------------------------------- parts


@pytest.mark.parametrize("size", [32, 5])
def test_rows_of_several_arrays_are_one_pass_each(size: int, passes: list[int]) -> None:
    dataset = (numbered(30) + numbered(50, 1)).map(CROP, field=0).map(ToFloat(), field=0)
    batches = list(DataLoader(dataset, size, shuffle=True, seed=3))
    assert sum(passes) == (80 if size == 32 else 0)  # few rows are gathered first
    assert len(passes) == (6 if size == 32 else 0)
    singly = list(DataLoader(dataset, 1, shuffle=True, seed=3))
    for field in range(2):
        expected = np.concatenate([batch[field] for batch in singly])
        check_same(np.concatenate([batch[field] for batch in batches]), expected)


def test_parts_of_parts_and_functions_in_them(passes: list[int]) -> None:
    inner = ConcatDataset([numbered(20).map(FLIP, field=0), numbered(20, 1).map(Negate(), field=1)])
    dataset = ConcatDataset([inner, numbered(20, 2)]).subset(range(1, 60)).map(CROP, field=0).map(Negate(), field=1)
    check_batch(dataset, list(range(0, 59, 2)))
    assert passes == [10, 10, 10]


def test_no_samples() -> None:
    dataset = (numbered(3) + numbered(5)).map(CROP, field=0)
    pixels, labels = compile_dataset(dataset).batch(np.empty(0, np.int64))
    assert (pixels.shape, labels.shape) == ((0, 6, 8, 3), (0,))


# ---------------------------------------------------------------------- any of them

FUNCTIONS = [
    CROP,
    FLIP,
    RandomVerticalFlip(),
    Compose([Pad(1), RandomCrop((6, 8), padding=0)]),
    np.negative,
]
leaves = st.builds(numbered, st.integers(1, 6), st.integers(0, 3))


def _compositions(trees: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(
            lambda tree, seed: tree.subset(np.random.default_rng(seed).permutation(len(tree))),
            trees,
            st.integers(0, 99),
        ),
        st.builds(ConcatDataset, st.lists(trees, min_size=1, max_size=3)),
        st.builds(lambda tree, fn: tree.map(fn, field=0), trees, st.sampled_from(FUNCTIONS)),
        st.builds(lambda tree, fn: tree.map(fn, field=1), trees, st.sampled_from([Negate(), noisy])),
    )


@settings(max_examples=200)
@given(st.recursive(leaves, _compositions, max_leaves=6), st.data())
def test_any_maps_over_any_parts(dataset: Any, data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, len(dataset) - 1), min_size=1, max_size=8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_parts, "_ROWS", 1)
        check_batch(dataset, indices)
