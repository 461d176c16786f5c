"""Chains that are done in one pass give the bytes that they give step by step."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import (
    CenterCrop,
    Compose,
    DataLoader,
    Dataset,
    ImageTransform,
    Normalize,
    Pad,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    StackDataset,
    TensorDataset,
    ToCHW,
    ToFloat,
)
from headrace.images import fuse
from headrace.pipeline import image_plans
from headrace.testing import check_same

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.images.layout import Axes
    from headrace.images.program import Program

LAYOUTS = {"HWC": (9, 12, 3), "CHW": (3, 9, 12), "HW": (9, 12)}


class Invert(ImageTransform):
    """A transform that no program knows."""

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        return 1 - images


class Shouting(RandomCrop):
    """Another transform under the name of one that a program knows."""

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        return super().transform(images, axes) * 2


def images_of(shape: tuple[int, ...], count: int = 20) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


def loaded(dataset: Dataset[Any]) -> list[Any]:
    return list(DataLoader(dataset, 7, shuffle=True, seed=3))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images have been made by programs."""
    counts: list[int] = []
    make = fuse.make_rows

    def counting(program: Program, images: NDArray[Any], rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        counts.append(len(rows))
        make(program, images, rows, out)

    monkeypatch.setattr(fuse, "make_rows", counting)
    return counts


def check_fused(dataset: Dataset[Any], made: list[int], *, fused: bool = True) -> None:
    """Hold the batches of a dataset to those read step by step."""
    found = loaded(dataset)
    assert sum(made) % len(dataset) == 0
    assert (sum(made) > 0) == fused
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_plans, "apply_to_rows", lambda *_: None)
        patch.setattr(fuse, "_pass", lambda *_: None)
        expected = loaded(dataset)
    for one, other in zip(found, expected, strict=True):
        check_same(one, other)
    singly = list(DataLoader(dataset, 1, shuffle=True, seed=3))
    check_same(np.concatenate([batch[0] for batch in singly]), np.concatenate([batch[0] for batch in found]))


CROP, FLIP = RandomCrop((6, 8), padding=2), RandomHorizontalFlip()
CHAINS: dict[str, list[Any]] = {
    "the usual": [CROP, FLIP, ToFloat(), Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), ToCHW()],
    "floats": [ToFloat()],
    "small floats": [FLIP, ToFloat(np.float16)],
    "bytes": [RandomVerticalFlip(), CenterCrop(5), FLIP],
    "padded twice": [Pad(1), CROP, Pad((1, 2, 3, 0))],
    "padded after a flip": [FLIP, RandomVerticalFlip(), Pad((1, 2, 3, 0)), CROP],
    "padded inside": [CenterCrop(4), Pad(3), RandomCrop(7, padding=0)],
    "padded after the pixels": [ToFloat(), Pad(2)],
    "mean of zeros": [CROP, ToFloat(), Normalize(0.0, 1.0)],
    "lines repeated": [RandomCrop((6, 8), 3, padding_mode="reflect"), FLIP, ToFloat(), Normalize(0.5, 0.25), ToCHW()],
    "repeated after flips": [FLIP, RandomVerticalFlip(), RandomCrop((11, 14), (1, 2, 3, 4), padding_mode="symmetric")],
    "repeated twice": [Pad((1, 2, 3, 0), padding_mode="edge"), FLIP, Pad(4, padding_mode="reflect"), CROP],
    "repeated twice alike": [
        FLIP,
        Pad((1, 2), padding_mode="edge"),
        FLIP,
        Pad(4, padding_mode="reflect"),
        Pad(2),
        CROP,
    ],
    "padded if needed": [RandomCrop((15, 10), padding=1, pad_if_needed=True, fill=3), FLIP],
    "a fill for each channel": [RandomCrop(9, padding=3, fill=(1, 2, 3)), ToFloat()],
    "scaled": [RandomResizedCrop(7), FLIP, ToFloat(), Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), ToCHW()],
    "scaled and cut": [Resize((8, 10)), CenterCrop(5), Pad(2), FLIP, ToFloat()],
    "scaled after windows": [FLIP, CROP, RandomVerticalFlip(), Resize(11, antialias=False)],
    "scaled by the nearest": [RandomResizedCrop(7, interpolation="nearest"), FLIP, ToFloat()],
    "scaled by a cubic": [FLIP, Resize(14, "bicubic"), CROP, ToCHW()],
    "scaled after a padding": [Pad(2), FLIP, Resize((5, 9)), CROP],
    "lines repeated after scaling": [RandomResizedCrop(9), FLIP, RandomCrop(8, 3, padding_mode="reflect"), ToFloat()],
    "repeated twice after scaling": [
        Resize((5, 7)),
        Pad(2, padding_mode="edge"),
        Pad(3, padding_mode="symmetric"),
        CROP,
    ],
    "scaled twice": [RandomResizedCrop(9), FLIP, Resize(5), CenterCrop(3)],
    "scaled floats": [ToFloat(), RandomResizedCrop(9), ToCHW()],
    "in chains": [Compose([CROP, Compose([FLIP])]), ToFloat()],
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_the_same_bytes(chain: list[Any], made: list[int]) -> None:
    check_fused(TensorDataset(images_of(LAYOUTS["HWC"]), np.arange(20)).map(Compose(chain), field=0), made)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, made: list[int]) -> None:
    crop, flip = RandomCrop(6, padding=2, layout=layout), RandomHorizontalFlip(layout=layout)
    chain = [crop, flip, ToFloat(layout=layout), ToCHW(layout=layout)]
    check_fused(TensorDataset(images_of(LAYOUTS[layout]), np.arange(20)).map(Compose(chain), field=0), made)


def test_rows_that_lie_apart(made: list[int]) -> None:
    images = images_of((12, 9, 3), 40).transpose(0, 2, 1, 3)[::2]
    check_fused(TensorDataset(images).map(Compose([CROP, FLIP]), field=0), made)


def test_maps_over_maps_and_parts(made: list[int]) -> None:
    dataset = TensorDataset(images_of(LAYOUTS["HWC"], 40), np.arange(40))
    check_fused(dataset.map(CROP, field=0).map(FLIP, field=0).map(ToFloat(), field=0).subset(range(0, 40, 2)), made)
    made.clear()
    check_fused(dataset.subset(range(20)).map(Compose([CROP, ToFloat()]), field=-2), made)


def test_unknown_transform_after_the_fused_pass(made: list[int]) -> None:
    images = images_of(LAYOUTS["HWC"])
    check_fused(
        TensorDataset(images).map(Compose([CROP, FLIP, ToFloat(), Invert(), RandomVerticalFlip()]), field=0), made
    )


@pytest.mark.parametrize("first", [Invert(), Shouting(4)], ids=repr)
def test_unknown_transform_before_the_fused_pass(first: Any, made: list[int]) -> None:
    check_fused(TensorDataset(images_of(LAYOUTS["HWC"])).map(Compose([first, FLIP]), field=0), made)
    assert sum(made) == 40  # of the batches of seven, and of one


def test_passes_before_and_behind_a_transform_that_is_none(made: list[int]) -> None:
    chain = Compose([CROP, RandAugment(), FLIP, ToFloat(), Normalize(0.5, 0.25), ToCHW(), RandomErasing()])
    check_fused(TensorDataset(images_of(LAYOUTS["HWC"])).map(chain, field=0), made)
    assert sum(made) == 80


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_images_that_are_no_bytes(dtype: Any, made: list[int]) -> None:
    images = images_of(LAYOUTS["CHW"]).astype(dtype)
    check_fused(TensorDataset(images).map(Compose([CROP, FLIP]), field=0), made, fused=False)


def test_a_part_whose_edges_are_repeated(made: list[int]) -> None:
    """A program repeats the edges of whole images only; here that is another one."""
    chain = Compose([CenterCrop((6, 4)), RandomCrop(7, padding=2, padding_mode="edge"), FLIP])
    check_fused(TensorDataset(images_of(LAYOUTS["HWC"])).map(chain, field=0), made)


def test_edges_of_scaled_images_are_repeated_in_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Pad, RandomCrop):
        monkeypatch.setattr(kind, "transform", lambda *_: pytest.fail("this is no pass"))
    chain = Compose([RandomResizedCrop(8), Pad(2, padding_mode="edge"), RandomCrop(9, 3, padding_mode="reflect")])
    loaded(TensorDataset(images_of(LAYOUTS["HWC"])).map(chain, field=0))


def test_two_fills(made: list[int]) -> None:
    """One program has one; the second padding is done after it."""
    check_fused(
        TensorDataset(images_of(LAYOUTS["HWC"])).map(Compose([Pad(2), ToFloat(), Pad(1, fill=0.5)]), field=0), made
    )


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    images = images_of(LAYOUTS["CHW"])
    chain = Compose([RandomCrop(6, layout="CHW"), RandomHorizontalFlip(layout="CHW"), ToFloat()])
    found = loaded(TensorDataset(torch.from_numpy(images)).map(chain, field=0))
    expected = loaded(TensorDataset(images).map(chain, field=0))
    for (one,), (other,) in zip(found, expected, strict=True):
        assert one.dtype is torch.float32
        np.testing.assert_array_equal(one.numpy(), other)


def test_errors_are_those_of_the_transforms(made: list[int]) -> None:
    loader = DataLoader(TensorDataset(images_of(LAYOUTS["HWC"])).map(RandomCrop(40), field=0), 4)
    with pytest.raises(ValueError, match="crop size"):
        next(iter(loader))


def test_a_transform_that_is_changed_between_batches() -> None:
    flip, crop = RandomHorizontalFlip(0.0), RandomCrop(9, padding=0)
    dataset = TensorDataset(images_of((9, 9, 3))).map(Compose([flip, crop]), field=0)
    loader = DataLoader(dataset, 10, seed=3)
    batches = iter(loader)
    np.testing.assert_array_equal(next(batches)[0], images_of((9, 9, 3))[:10])
    flip.p = 1.0
    np.testing.assert_array_equal(next(batches)[0], images_of((9, 9, 3))[10:, :, ::-1])
    crop.size = (4, 9)
    assert next(iter(loader))[0].shape == (10, 4, 9, 3)


@pytest.mark.parametrize("numbers", [[0.0], np.zeros(1)])
def test_numbers_that_are_changed_in_place_between_batches(numbers: Any) -> None:
    dataset = TensorDataset(images_of((9, 9, 1))).map(Compose([ToFloat(), Normalize(numbers, [1.0])]), field=0)
    batches = iter(DataLoader(dataset, 10))
    first = next(batches)[0]
    numbers[0] = 2
    np.testing.assert_array_equal(next(batches)[0], np.float32(images_of((9, 9, 1))[10:] / np.float32(255)) - 2)
    assert first.min() >= 0


class Growing(CenterCrop):
    """A transform whose window depends on more than it has as attributes."""

    extent = 3

    def lower(self, program: Program) -> bool:
        program.crop(0, 0, (self.extent, self.extent))
        return True


def test_a_derived_transform_writes_itself_for_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = iter(DataLoader(TensorDataset(images_of((9, 9, 3))).map(Growing(3), field=0), 10))
    assert next(batches)[0].shape == (10, 3, 3, 3)
    monkeypatch.setattr(Growing, "extent", 5)
    assert next(batches)[0].shape == (10, 5, 5, 3)


def test_a_chain_that_grows_between_batches() -> None:
    chain = Compose([RandomHorizontalFlip(0.0)])
    batches = iter(DataLoader(TensorDataset(images_of((9, 9, 3))).map(chain, field=0), 10))
    assert next(batches)[0].shape == (10, 9, 9, 3)
    chain.transforms.insert(0, CenterCrop(4))
    assert next(batches)[0].shape == (10, 4, 4, 3)


def test_one_chain_at_two_places_draws_twice(made: list[int]) -> None:
    part = TensorDataset(images_of(LAYOUTS["HWC"])).map(Compose([CROP, FLIP]), field=0)
    both = StackDataset(part, part)
    (one,), (other,) = next(iter(DataLoader(both, 20, seed=3)))
    assert sum(made) == 40
    assert (one != other).any()
    singly = [batch[1][0] for batch in DataLoader(both, 1, seed=3)]
    np.testing.assert_array_equal(np.concatenate(singly), other)


def test_what_was_written_stays_behind_in_a_pickle() -> None:
    dataset = TensorDataset(images_of(LAYOUTS["HWC"])).map(Compose([CROP, FLIP]), field=0)
    before = pickle.dumps(dataset)
    expected = loaded(dataset)
    assert pickle.dumps(dataset) == before
    for one, other in zip(loaded(pickle.loads(before)), expected, strict=True):
        check_same(one, other)


KINDS, BOOLEANS = st.sampled_from(["nearest", "bilinear", "bicubic"]), st.booleans()
STEPS: list[Callable[[Any], Any]] = [
    lambda draw: RandomHorizontalFlip(draw(st.floats(0, 1))),
    lambda draw: RandomVerticalFlip(draw(st.floats(0, 1))),
    lambda draw: RandomCrop(draw(st.integers(1, 4)), padding=draw(st.integers(0, 3))),
    lambda draw: RandomCrop(
        draw(st.integers(1, 12)),
        draw(st.tuples(*[st.integers(0, 3)] * 4)),
        pad_if_needed=True,
        padding_mode=draw(st.sampled_from(["edge", "reflect", "symmetric"])),
    ),
    lambda draw: CenterCrop((draw(st.integers(1, 3)), draw(st.integers(1, 3)))),
    lambda draw: Pad(draw(st.tuples(*[st.integers(1, 3)] * 4)), fill=draw(st.sampled_from([0, 0, 7]))),
    lambda draw: Resize(
        draw(st.integers(1, 9)), draw(KINDS), max_size=draw(st.none() | st.integers(10, 13)), antialias=draw(BOOLEANS)
    ),
    lambda draw: RandomResizedCrop((draw(st.integers(1, 9)), draw(st.integers(1, 9))), interpolation=draw(KINDS)),
    lambda draw: ToFloat(draw(st.sampled_from([np.float16, np.float32, np.float64]))),
]


@given(st.data())
def test_any_chain(data: st.DataObject) -> None:
    chain = [
        data.draw(st.sampled_from([FLIP, Pad(4, padding_mode="symmetric"), Pad((1, 2, 3, 4), padding_mode="edge")]))
    ]
    for number in data.draw(st.lists(st.integers(0, len(STEPS) - 1), min_size=1, max_size=6)):
        chain += [Pad(4), STEPS[number](data.draw)]  # so that every crop fits
    dataset = TensorDataset(images_of((5, 6, 4), 6)).map(Compose(chain), field=0)
    found = loaded(dataset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_plans, "apply_to_rows", lambda *_: None)
        expected = loaded(dataset)
    for one, other in zip(found, expected, strict=True):
        check_same(one, other)
