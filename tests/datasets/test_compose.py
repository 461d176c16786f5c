"""Datasets made of others: whichever way a batch is read, it is the collated samples, draws included."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import (
    Compose,
    ConcatDataset,
    DataLoader,
    Dataset,
    MapDataset,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    StackDataset,
    Subset,
    TensorDataset,
    Transform,
    default_collate,
    sample_rng,
)
from headrace.errors import ArgumentError, ArgumentTypeError, MixedSamplesError, OutOfRangeError, RaggedSamplesError
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.describe import describe
from headrace.rng.context import use_keys
from headrace.testing import check_dataset, check_same

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = 0xC0FFEE


def numbered(length: int, start: int = 0) -> TensorDataset:
    """Images 2 x 6 whose every pixel tells the sample and the place, and labels."""
    images = np.arange(length * 12, dtype=np.float32).reshape(length, 1, 2, 6) + 100 * start
    return TensorDataset(images, np.arange(start, start + length))


def alone(dataset: Any, index: int) -> Any:
    with use_keys(KEY, np.array([index])):
        return dataset[index]


def together(dataset: Any, indices: list[int]) -> Any:
    with use_keys(KEY, np.array(indices)):
        return compile_dataset(dataset).batch(np.array(indices))


# ---------------------------------------------------------------------- random trees


class Plain(Dataset[Any]):
    """A dataset of somebody's own, without faster faces."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int, /) -> Any:
        return self.source[index]


class Restless(Plain):
    """The same with draws of its own, not as many for each sample."""

    def __getitem__(self, index: int, /) -> Any:
        image, label = self.source[index]
        for _ in range(int(label) % 3):
            image = add_noise(image)
        return image, label


class Listing(Plain):
    """The same with torch's face."""

    def __getitem__(self, index: int, /) -> Any:
        return self.source[index]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self.source[index] for index in indices]


class Gathering(Plain):
    """The same with a batch face of its own, in any order of reading."""

    def __getitem__(self, index: int, /) -> Any:
        return self.source[index]

    def get_batch(self, indices: Any) -> Any:
        backwards = default_collate([self.source[index] for index in indices[::-1].tolist()])
        return tuple(field[::-1] for field in backwards)


def add_noise(image: Any) -> Any:
    return image + sample_rng().normal(size=image.shape).astype(np.float32)


def draw_twice(image: Any) -> Any:
    return image * np.float32(sample_rng().random()) + np.float32(sample_rng().random())


def relabel(sample: Any) -> Any:
    image, label = sample
    return image + np.float32(sample_rng().integers(1000)), label


def cross(stacked: Any) -> Any:
    """One sample of two that stand side by side."""
    (image, _), (other, label) = stacked
    return image + 2 * other, label


IMAGE_FUNCTIONS: list[Callable[[Any], Any]] = [
    RandomHorizontalFlip(),
    RandomCrop((2, 6), padding=1),
    Compose([RandomCrop((2, 6), padding=1), RandomHorizontalFlip(), Normalize(0.5, 2.0)]),
    Compose([RandomHorizontalFlip(), add_noise, RandomCrop((2, 6), padding=2)]),
    Compose([Compose([RandomHorizontalFlip()]), RandomHorizontalFlip()]),
    add_noise,
    draw_twice,
    np.negative,
]

leaves = st.builds(
    lambda kind, length, start: kind(numbered(length, start)),
    st.sampled_from([lambda rows: rows, Plain, Restless, Listing, Gathering, list]),
    st.integers(1, 5),
    st.integers(0, 9),
)


@st.composite
def _subsets(draw: st.DrawFn, trees: st.SearchStrategy[Any]) -> Any:
    dataset = draw(trees)
    last = len(dataset) - 1
    return Subset(dataset, draw(st.lists(st.integers(-last - 1, last), min_size=1, max_size=6)))


@st.composite
def _crossings(draw: st.DrawFn, trees: st.SearchStrategy[Any]) -> Any:
    first, second = draw(trees), draw(trees)
    length = min(len(first), len(second))
    stacked = StackDataset(Subset(first, np.arange(length)), Subset(second, np.arange(length)[::-1]))
    return MapDataset(stacked, cross)


def _compositions(trees: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        _subsets(trees),
        _crossings(trees),
        st.builds(ConcatDataset, st.lists(trees, min_size=1, max_size=3)),
        st.builds(MapDataset, trees, st.sampled_from(IMAGE_FUNCTIONS), st.just(0)),
        st.builds(MapDataset, trees, st.just(relabel)),
    )


trees = st.recursive(leaves, _compositions, max_leaves=5)


@settings(max_examples=300)
@given(trees, st.data())
def test_every_composition_reads_batches_as_samples(dataset: Any, data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, len(dataset) - 1), min_size=1, max_size=8))
    singles = [alone(dataset, index) for index in indices]
    expected = default_collate(singles)

    check_same(together(dataset, indices), expected, "read as a batch")

    with use_keys(KEY, np.array(indices)):
        samples = compile_dataset(dataset).samples(np.array(indices), singly=True)
    check_same(samples, singles, "read one by one")
    stacked = StackDataset(first=dataset, second=Subset(dataset, np.arange(len(dataset))))
    singles = [alone(stacked, index) for index in indices]
    check_same(together(stacked, indices), default_collate(singles), "side by side")


@settings(max_examples=50)
@given(trees)
def test_every_composition_keeps_the_rules(dataset: Any) -> None:
    check_dataset(dataset, samples=4, negative=True, picklable=True)


@settings(max_examples=50)
@given(trees, st.integers(1, 5), st.integers(0, 3))
def test_a_loader_gives_the_same_samples_in_batches_of_any_size(dataset: Any, size: int, seed: int) -> None:
    one = default_collate(list(DataLoader(dataset, batch_size=None, shuffle=True, seed=seed)))
    batches = list(DataLoader(dataset, batch_size=size, shuffle=True, seed=seed))
    check_same(tuple(np.concatenate(field) for field in zip(*batches, strict=True)), one)


# ---------------------------------------------------------------------- draws


def drawing(length: int = 4) -> Any:
    return TensorDataset(np.zeros((length, 3), np.float32)).map(add_noise, field=0)


def test_each_layer_draws_for_itself() -> None:
    above = drawing().map(lambda sample: (sample[0], add_noise(np.zeros(3)), add_noise(np.zeros(3))))
    below, first, second = alone(above, 2)
    assert (below != first).all()
    assert (first != second).all()
    # what the layer above draws does not shift what the one below draws
    check_same(alone(drawing().map(tuple), 2)[0], below)


class Around(Dataset[Any]):
    """Draws before and after it reads what it wraps."""

    def __init__(self, inner: Any, before: int = 0) -> None:
        self.inner = inner
        self.before = before

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int, /) -> Any:
        for _ in range(self.before):
            sample_rng()
        return (*self.inner[index], sample_rng().random())


def test_what_one_draws_never_shifts_what_another_draws() -> None:
    blank = TensorDataset(np.zeros((4, 3), np.float32))
    quiet, noisy = blank.map(np.negative, field=0), blank.map(draw_twice, field=0)
    for wrap in (lambda dataset: dataset, lambda dataset: ConcatDataset([dataset]), lambda dataset: dataset.map(tuple)):
        assert alone(Around(wrap(quiet)), 1)[-1] == alone(Around(wrap(noisy)), 1)[-1]
        check_same(alone(Around(wrap(noisy), before=2), 1)[0], alone(Around(wrap(noisy)), 1)[0])
        sides = [alone(StackDataset(wrap(first), drawing()), 1)[1] for first in (quiet, noisy)]
        check_same(sides[0], sides[1])


def test_parts_side_by_side_and_end_to_end_draw_differently() -> None:
    same = drawing()
    left, right = together(StackDataset(same, same), [0, 1, 2])
    assert (left[0] != right[0]).all()
    both = ConcatDataset([same, same])
    with use_keys(KEY, np.array([1, 1])):  # even if the sample had one index in both
        batch = compile_dataset(both).batch(np.array([1, 5]))
    assert (batch[0][0] != batch[0][1]).all()


def test_samples_draw_differently_and_alike_in_every_epoch_of_one_key() -> None:
    batch = together(drawing(), [0, 1, 2, 3, 0])[0]
    assert len(np.unique(batch[:4])) == 12
    assert (batch[0] == batch[4]).all()
    assert (together(drawing(), [3])[0] == batch[3]).all()
    with use_keys(KEY + 1, np.arange(4)):
        assert (compile_dataset(drawing()).batch(np.arange(4))[0] != batch[:4]).all()


# ---------------------------------------------------------------------- overridden __getitem__


class Marked:
    """A mixin that changes every sample."""

    def __getitem__(self, index: Any, /) -> Any:
        return mark(super().__getitem__(index))  # type: ignore[misc]


def mark(sample: Any) -> Any:
    return (*sample[:-1], np.int64(-1)) if not isinstance(sample[0], tuple) else (mark(sample[0]), mark(sample[1]))


class MarkedTensors(TensorDataset):
    def __getitem__(self, index: int, /) -> Any:
        return mark(super().__getitem__(index))


class GrandChild(MarkedTensors):
    def helper(self) -> None:
        """Nothing that matters."""


class MixedIn(Marked, TensorDataset):
    pass


class MarkedMap(MapDataset):
    def __getitem__(self, index: int, /) -> Any:
        return mark(super().__getitem__(index))


class MarkedSubset(Marked, Subset):
    pass


class MarkedConcat(Marked, ConcatDataset):
    pass


class MarkedStack(Marked, StackDataset):
    pass


class Forwarding:
    """A wrapper that forwards everything it does not know, faster faces included."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        return mark(self._dataset[index])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__getitems__":
            raise AttributeError(name)
        return getattr(self._dataset, name)


class ForgottenFace(TensorDataset):
    """Switches the inherited batch face off."""

    get_batch = None  # type: ignore[assignment]

    def __getitem__(self, index: int, /) -> Any:
        return mark(super().__getitem__(index))


OVERRIDING: dict[str, Callable[[], Any]] = {
    "TensorDataset": lambda: MarkedTensors(*numbered(4).tensors),
    "grandchild": lambda: GrandChild(*numbered(4).tensors),
    "mixin": lambda: MixedIn(*numbered(4).tensors),
    "Listing": lambda: type("MarkedListing", (Marked, Listing), {})(numbered(4)),
    "Gathering": lambda: type("MarkedGathering", (Marked, Gathering), {})(numbered(4)),
    "MapDataset": lambda: MarkedMap(numbered(4), RandomHorizontalFlip(), 0),
    "Subset": lambda: MarkedSubset(numbered(9), np.arange(4)),
    "ConcatDataset": lambda: MarkedConcat([numbered(2), numbered(2)]),
    "forwarding wrapper": lambda: Forwarding(numbered(4)),
    "forwarding wrapper of lists": lambda: Forwarding(Listing(numbered(4))),
    "face switched off": lambda: ForgottenFace(*numbered(4).tensors),
}

WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda dataset: dataset,
    "Subset": lambda dataset: Subset(dataset, [3, 2, 1, 0]),
    "ConcatDataset": lambda dataset: ConcatDataset([dataset, dataset]),
    "MapDataset": lambda dataset: MapDataset(dataset, Normalize(0.0, 2.0), 0),
    "all of them": lambda dataset: Subset(ConcatDataset([dataset, Subset(dataset, [1])]), [4, 0, 1, 2]),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("make", OVERRIDING.values(), ids=OVERRIDING)
def test_an_overridden_getitem_is_never_bypassed(make: Callable[[], Any], wrap: Callable[[Any], Any]) -> None:
    dataset = wrap(make())
    assert not compile_dataset(dataset).reads_batches
    for batch in (together(dataset, [0, 3, 1]), next(iter(DataLoader(dataset, batch_size=3)))):
        assert batch[-1].tolist() == [-1, -1, -1]
    check_same(together(dataset, [2, 0]), default_collate([alone(dataset, 2), alone(dataset, 0)]))


def test_an_overridden_getitem_of_a_stack_is_never_bypassed() -> None:
    batch = together(MarkedStack(numbered(4), numbered(4)), [0, 3])
    assert [part[-1].tolist() for part in batch] == [[-1, -1], [-1, -1]]
    batch = together(StackDataset(a=numbered(4), b=MarkedTensors(*numbered(4).tensors)), [0, 3])
    assert (batch["a"][1].tolist(), batch["b"][1].tolist()) == ([0, 3], [-1, -1])


def test_an_overridden_call_of_a_transform_is_never_bypassed() -> None:
    class Blank(RandomHorizontalFlip):
        def __call__(self, sample: Any) -> Any:
            return np.zeros_like(sample)

    for function in (Blank(), Compose([Blank()])):
        assert not together(numbered(4).map(function, field=0), [1, 2])[0].any()


def test_a_batch_face_beside_the_override_counts() -> None:
    class Both(TensorDataset):
        def __getitem__(self, index: int, /) -> Any:
            return mark(super().__getitem__(index))

        def get_batch(self, indices: Any) -> Any:
            return (*super().get_batch(indices)[:-1], np.full(len(indices), -1))

    class BatchOnly(TensorDataset):
        def get_batch(self, indices: Any) -> Any:
            return "read at once"

    assert compile_dataset(Both(*numbered(4).tensors)).reads_batches
    assert together(Both(*numbered(4).tensors), [1, 2])[-1].tolist() == [-1, -1]
    assert together(BatchOnly(*numbered(4).tensors), [1, 2]) == "read at once"


# ---------------------------------------------------------------------- Subset


def test_a_subset_maps_indices() -> None:
    subset = Subset("abcdef", [5, 0, -2, 5])
    assert [subset[index] for index in range(4)] == ["f", "a", "e", "f"]
    assert subset[-1] == "f"
    assert subset.indices.dtype == np.int64
    assert isinstance(subset.indices, np.ndarray)
    assert subset.get_batch(np.array([-1, 1])) == ["f", "a"]
    assert len(Subset("abc", [])) == 0
    assert len(numbered(4).subset(range(1, 3))) == 2
    assert numbered(4).subset([3])[0][1] == 3


@pytest.mark.parametrize(
    ("indices", "error", "text"),
    [
        ([0, 6], OutOfRangeError, "Index 6 out of range for dataset of size 6"),
        ([0, -7], OutOfRangeError, "Index -7 out of range for dataset of size 6"),
        ([[0]], ArgumentError, "indices must have one dimension, got shape (1, 1)"),
        ([0.5], ArgumentTypeError, "indices must be integers, got float64"),
        (
            np.ones(6, bool),
            ArgumentTypeError,
            "indices must be integers, got bool; turn a mask into indices with numpy.flatnonzero",
        ),
    ],
)
def test_indices_of_a_subset_are_checked_at_once(indices: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        Subset("abcdef", indices)


# ---------------------------------------------------------------------- ConcatDataset


def test_datasets_end_to_end() -> None:
    concat = ConcatDataset([numbered(2), numbered(0), numbered(3, start=10), numbered(1, start=50)])
    assert len(concat) == 6
    assert [int(concat[index][1]) for index in range(-6, 6)] == [0, 1, 10, 11, 12, 50] * 2
    assert isinstance(concat.cumulative_sizes, np.ndarray)
    assert concat.cumulative_sizes.tolist() == [2, 2, 5, 6]
    batch = concat.get_batch(np.array([5, 0, -2, 2, 0]))
    assert batch[1].tolist() == [50, 0, 12, 10, 0]
    check_same(concat.get_batch(np.array([], np.int64)), numbered(0).get_batch(np.array([], np.int64)))
    assert len(numbered(2) + numbered(3) + "ab") == 7


def test_each_dataset_of_a_concat_is_read_once() -> None:
    asked: list[list[int]] = []

    class Asked(Listing):
        def __getitem__(self, index: int, /) -> Any:
            raise AssertionError("read singly")

        def __getitems__(self, indices: list[int]) -> list[Any]:
            asked.append(indices)
            return super().__getitems__(indices)

    together(ConcatDataset([Asked(numbered(3)), Asked(numbered(3))]), [4, 0, 5, 2, 3])
    assert asked == [[0, 2], [1, 2, 0]]


def test_datasets_of_different_samples_do_not_merge() -> None:
    wide = TensorDataset(np.zeros((2, 1, 2, 5), np.float32), np.arange(2))
    with pytest.raises(
        RaggedSamplesError, match=re.escape("differ in shape cannot be merged: [(1, 1, 2, 6), (1, 1, 2, 5)]")
    ):
        together(ConcatDataset([numbered(2), wide]), [0, 2])
    text = "field sample[0] differs in shape: sample 0 has (1, 2, 6), sample 2 has (1, 2, 5); crop, resize or pad"
    with pytest.raises(RaggedSamplesError, match=f"^{re.escape(text)}"):
        next(iter(DataLoader(ConcatDataset([numbered(2), wide]), batch_size=4)))
    with pytest.raises(MixedSamplesError, match="cannot be merged"):
        together(ConcatDataset(["ab", [b"c"]]), [0, 2])
    assert together(ConcatDataset([range(2), [0.5]]), [1, 2]).tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    ("datasets", "error", "text"),
    [
        ([], ArgumentError, "ConcatDataset needs at least one dataset, got none"),
        ([[1], iter([2])], ArgumentTypeError, "dataset 1 is a list_iterator without __len__ and __getitem__; "),
        ([3], ArgumentTypeError, "dataset 0 is a int without __len__ and __getitem__; "),
    ],
)
def test_what_cannot_stand_end_to_end_is_refused(datasets: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        ConcatDataset(datasets)
    with pytest.raises(ArgumentTypeError, match=r"^dataset 1 is a int"):
        numbered(2) + 3  # type: ignore[operator]


def test_merging_needs_no_memory_that_numpy_sees() -> None:
    torch = pytest.importorskip("torch", reason="tensors with gradients are read")
    weights = torch.arange(3.0).requires_grad_()
    batch = together(ConcatDataset([TensorDataset(weights), TensorDataset(torch.full((2,), 9.0))]), [3, 2, 0])
    assert batch[0].tolist() == [9, 2, 0]
    batch[0].sum().backward()
    assert weights.grad.tolist() == [1, 0, 1]


# ---------------------------------------------------------------------- StackDataset


def test_datasets_side_by_side() -> None:
    stack = StackDataset("abc", range(3))
    assert (len(stack), stack[1], stack[-1]) == (3, ("b", 1), ("c", 2))
    check_same(together(stack, [2, 0]), (["c", "a"], np.array([2, 0])))
    named = StackDataset(text="abc", pair=numbered(3))
    assert named[0]["text"] == "a"
    batch = together(named, [2, 0])
    assert list(batch) == ["text", "pair"]
    assert (batch["text"], batch["pair"][1].tolist()) == (["c", "a"], [2, 0])


@pytest.mark.parametrize(
    ("positional", "named", "error", "text"),
    [
        ((), {}, ArgumentError, "StackDataset got 0 datasets and 0 named ones; give at least one, either all by "),
        (([1],), {"a": [1]}, ArgumentError, "StackDataset got 1 datasets and 1 named ones; give at least one, "),
        (([1, 2], [1], [1, 2]), {}, ArgumentError, "StackDataset needs datasets of one length, got lengths [2, 1, 2]"),
        ((3,), {}, ArgumentTypeError, "dataset is a int without __len__ and __getitem__; "),
    ],
)
def test_what_cannot_stand_side_by_side_is_refused(
    positional: Any, named: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        StackDataset(*positional, **named)


# ---------------------------------------------------------------------- MapDataset


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclass(frozen=True, slots=True)
class Record:
    x: Any
    y: Any


class Negate(Transform):
    """Applied to whole batches where it can be, and counts how."""

    def __init__(self) -> None:
        self.batches = 0

    def __call__(self, sample: Any) -> Any:
        return -sample

    def apply_batch(self, batch: Any) -> Any:
        self.batches += 1
        return -batch


@pytest.mark.parametrize(
    ("sample", "field", "mapped"),
    [
        ((1, 2), 0, (-1, 2)),
        ((1, 2), -1, (1, -2)),
        ([1, 2], 1, [1, -2]),
        ({"x": 1, "y": 2}, "y", {"x": 1, "y": -2}),
        ({0: 1, "y": 2}, 0, {0: -1, "y": 2}),
        (Pair(1, 2), "x", Pair(-1, 2)),
        (Pair(1, 2), 1, Pair(1, -2)),
        (Record(1, 2), "y", Record(1, -2)),
        (3, None, -3),
    ],
)
def test_a_function_is_applied_to_one_field(sample: Any, field: Any, mapped: Any) -> None:
    class Batches(Dataset[Any]):
        """The sample again and again, read at once."""

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int, /) -> Any:
            return sample

        def get_batch(self, indices: Any) -> Any:
            return default_collate([sample] * len(indices))

    class Function:
        def __call__(self, value: Any) -> Any:
            return -value

    transform = Negate()
    for dataset in (MapDataset([sample] * 3, Function(), field), Batches().map(transform, field)):
        assert dataset[1] == mapped
        assert type(dataset[-1]) is type(mapped)
        check_same(together(dataset, [0, 2]), default_collate([mapped, mapped]))
    assert transform.batches == 1


def test_samples_of_many_shapes_are_mapped_to_one() -> None:
    images = [np.arange(side * side).reshape(1, side, side) for side in (3, 5, 4)]
    batch = together(MapDataset(images, RandomCrop(3, padding=0)), [0, 2, 1])
    assert batch.shape == (3, 1, 3, 3)
    assert (batch[0] == images[0]).all()


def test_a_plain_function_falls_back_to_samples() -> None:
    seen: list[Any] = []

    def function(image: Any) -> Any:
        seen.append(image.shape)
        return image

    together(numbered(4).map(function, field=0), [1, 2])
    assert seen == [(1, 2, 6)] * 2


@pytest.mark.parametrize("index", [slice(0, 2), True, 1.5, "0", None])
def test_every_composition_refuses_what_is_no_index(index: Any) -> None:
    text = f"a sample index is an integer, got {index!r}; for several samples use dataset.subset(indices)"
    samples = [1, 2, 3]
    for dataset in _of_three(samples):
        with pytest.raises(ArgumentTypeError, match=f"^{re.escape(text)}$"):
            dataset[index]


@pytest.mark.parametrize("index", [3, -4])
def test_every_composition_refuses_an_index_outside(index: int) -> None:
    class Endless:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, number: int) -> int:
            return number

    for dataset in _of_three(Endless()):
        with pytest.raises(OutOfRangeError, match=f"^Index {index} out of range for dataset of size 3"):
            dataset[index]
        with pytest.raises(OutOfRangeError, match=f"^Index {index} out of range for dataset of size 3"):
            dataset.get_batch(np.array([index]))
        assert len(list(dataset)) == 3


def _of_three(dataset: Any) -> list[Any]:
    return [Subset(dataset, [0, 1, 2]), ConcatDataset([dataset]), StackDataset(dataset), MapDataset(dataset, abs)]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([1], 3), ArgumentTypeError, "map needs a function of one sample, got 3"),
        (
            ([1], abs, True),
            ArgumentTypeError,
            "field must be a tuple position, a key, a dict of them or None; got True",
        ),
        (
            ([1], abs, 1.5),
            ArgumentTypeError,
            "field must be a tuple position, a key, a dict of them or None; got 1.5",
        ),
        ((iter([1]), abs), ArgumentTypeError, "dataset is a list_iterator without __len__ and __getitem__; "),
    ],
)
def test_what_cannot_be_mapped_is_refused(arguments: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        MapDataset(*arguments)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ArgumentError, match=re.escape("there is no field 2 in a tuple with fields [0, 1]")):
        numbered(2).map(abs, field=2)[0]
    with pytest.raises(ArgumentError, match=re.escape("there is no field 'x' in a tuple with fields [0, 1]")):
        together(numbered(2).map(Negate(), field="x"), [0])


def test_compositions_can_be_pickled() -> None:
    dataset = StackDataset(a=Subset(numbered(4), [1, 2]), b=ConcatDataset([numbered(1), numbered(1)]).map(relabel))
    copy = pickle.loads(pickle.dumps(dataset))
    check_same(together(copy, [1, 0]), together(dataset, [1, 0]))


def drawn_here(value: Any) -> Any:
    """What the sample draws here, in place of the sample."""
    return sample_rng().random()


def drawn_by(dataset: Any) -> list[Any]:
    with use_keys(7, np.arange(6)):
        return compile_dataset(dataset).samples(np.arange(6))


@pytest.mark.parametrize(
    "dataset",
    [
        TensorDataset(np.arange(6)).map(drawn_here),
        TensorDataset(np.arange(6)).map(abs, field=0).map(drawn_here).subset(range(6)),
        TensorDataset(np.arange(3)).map(drawn_here) + TensorDataset(np.arange(3)).map(drawn_here),
    ],
)
def test_one_more_map_changes_no_draws_below_it(dataset: Dataset[Any]) -> None:
    assert drawn_by(dataset.map(lambda drawn: drawn)) == drawn_by(dataset)
    assert drawn_by(dataset.map(lambda drawn: drawn).map(lambda drawn: drawn)) == drawn_by(dataset)


class Hidden(Dataset[Any]):
    """A map inside a dataset of one's own."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int, /) -> Any:
        return self.dataset[index]


def test_maps_draw_apart_also_where_one_is_hidden() -> None:
    mapped = TensorDataset(np.arange(6)).map(drawn_here)
    beside = StackDataset(mapped, mapped)
    stages = [
        mapped.map(lambda drawn: (drawn, drawn_here(drawn))),
        Hidden(mapped).map(lambda drawn: (drawn, drawn_here(drawn))),
        mapped.subset(range(6)).map(lambda drawn: (drawn, drawn_here(drawn))),
        beside.map(lambda drawn: (*drawn, drawn_here(drawn))),
        (mapped + mapped).map(lambda drawn: (drawn, drawn_here(drawn))),
    ]
    for dataset in stages:
        for sample in drawn_by(dataset):
            assert len(set(sample)) == len(sample)


def test_a_dataset_that_is_another_one_under_its_own_name() -> None:
    class Renamed(Subset):
        def node(self) -> Any:
            return describe(self.dataset)

    assert Renamed("abc", [0, 1, 2])[1] == "b"
