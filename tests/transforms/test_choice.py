"""RandomApply and RandomChoice: one decision a sample, the same alone and in a batch."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

import headrace
from headrace import (
    Compose,
    DataLoader,
    ImageTransform,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    TensorDataset,
    ToFloat,
)
from headrace.batch.capabilities import batch_function
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.rng.context import use_keys
from headrace.transforms import ColorJitter, RandomApply, RandomChoice, RandomErasing, RandomGrayscale, RandomOrder
from headrace.transforms import RandomInvert as Invert

IMAGES = np.random.default_rng(0).random((24, 3, 8, 8), np.float32)


def loaded(transform: Any, images: Any, batch_size: int) -> Any:
    loader = DataLoader(TensorDataset(images).map(transform, field=0), batch_size=batch_size, seed=3)
    return np.concatenate([batch for (batch,) in loader])


BATCHED: list[Any] = [
    RandomApply([RandomHorizontalFlip()], 0.5),
    RandomApply([ColorJitter(0.4, 0.4, 0.4, 0.1), RandomErasing()], 0.8),
    RandomApply([RandomApply([RandomHorizontalFlip(), RandomVerticalFlip()]), RandomGrayscale(0.5)]),
    RandomChoice([RandomHorizontalFlip(), ColorJitter(0.5), Normalize(0.5, 0.5)]),
    RandomChoice([Compose([RandomErasing(), RandomVerticalFlip()]), RandomApply([RandomErasing(1)])], p=[3, 1]),
    Compose([RandomChoice([RandomErasing(), RandomErasing()]), RandomApply([RandomErasing()]), RandomCrop(6)]),
    RandomApply([], 0.5),
    RandomOrder(
        [RandomHorizontalFlip(), RandomErasing(1), ColorJitter(0.4), RandomApply([RandomErasing(1)]), Invert()]
    ),
    RandomOrder([]),
]


@pytest.mark.parametrize("transform", BATCHED, ids=str)
@pytest.mark.parametrize("batch_size", [2, 5, 24])
def test_a_sample_alone_becomes_what_it_does_in_a_batch(transform: Any, batch_size: int) -> None:
    assert batch_function(transform) is not None
    before = IMAGES.copy()
    assert loaded(transform, IMAGES, batch_size).tobytes() == loaded(transform, IMAGES, 1).tobytes()
    assert (before == IMAGES).all()


@pytest.mark.parametrize("transform", [each for each in BATCHED if each.transforms], ids=str)
def test_the_batch_path_is_the_path_of_functions_that_know_no_batches(transform: Any) -> None:
    by_sample = Compose([transform, lambda image: image])
    in_chain = Compose([transform])
    assert loaded(in_chain, IMAGES, 6).tobytes() == loaded(by_sample, IMAGES, 6).tobytes()
    assert loaded(transform, IMAGES, 6).tobytes() != IMAGES.tobytes()


UNBATCHED: list[Any] = [
    RandomApply([lambda image: image + 1]),
    RandomApply([RandomCrop(8)]),
    RandomApply([ToFloat()]),
    RandomChoice([RandomHorizontalFlip(), lambda image: image]),
    RandomChoice([RandomHorizontalFlip(), Compose([RandomCrop(8, padding=2)])]),
    RandomApply([RandomApply([RandomCrop(8)])]),
]


@pytest.mark.parametrize("transform", UNBATCHED, ids=range(len(UNBATCHED)))
def test_what_may_change_the_shape_takes_single_samples(transform: Any) -> None:
    assert not transform.batched
    assert batch_function(Compose([transform])) is None
    assert loaded(transform, IMAGES, 6).tobytes() == loaded(transform, IMAGES, 1).tobytes()
    with pytest.raises(ArgumentTypeError, match="takes single samples here; apply it to each of them instead"):
        transform.apply_batch(IMAGES)


def test_shapes_may_differ_before_they_are_alike_again() -> None:
    chain = Compose([RandomApply([RandomCrop(6)]), RandomCrop(5)])
    assert loaded(chain, IMAGES, 8).shape == (24, 3, 5, 5)


def test_an_overridden_call_is_not_bypassed() -> None:
    class Loud(RandomHorizontalFlip):
        def __call__(self, sample: Any) -> Any:
            return super().__call__(sample) + 100

    assert (loaded(RandomApply([Loud()], 1), IMAGES, 6) >= 100).all()
    assert (loaded(RandomChoice([Loud()]), IMAGES, 6) >= 100).all()


def test_a_derived_transform_that_does_not_keep_the_shape_is_noticed() -> None:
    class Halve(RandomHorizontalFlip):
        def transform(self, images: Any, axes: Any) -> Any:
            return images[..., ::2]

    with pytest.raises(ArgumentError, match=r"made float32 \(3, 8, 4\) of float32 \(3, 8, 8\), which do not fit"):
        RandomApply([Halve()], 1).apply_batch(IMAGES)


# ---------------------------------------------------------------- probabilities


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_how_often_transforms_are_applied(p: float) -> None:
    images = np.broadcast_to(np.array([[0, 1]]), (4000, 1, 2))
    with use_keys(1, np.arange(4000)):
        turned = RandomApply([RandomHorizontalFlip(1)], p).apply_batch(images)[:, 0, 0]
    assert abs(turned.mean() - p) < 4 * math.sqrt(p * (1 - p) / 4000) + 1e-9


@pytest.mark.parametrize(
    ("p", "expected"),
    [(None, [1 / 3, 1 / 3, 1 / 3]), ([1, 2, 1], [0.25, 0.5, 0.25]), ((0, 0, 9), [0, 0, 1]), ([1, 0, 1], [0.5, 0, 0.5])],
)
def test_how_often_each_is_chosen(p: Any, expected: list[float]) -> None:
    choice = RandomChoice([str, int, float], p)
    with use_keys(1, np.arange(4000)):
        counts = np.bincount(choice._choose(4000), minlength=3) / 4000
    assert (np.abs(counts - expected) < 4 * np.sqrt(np.array(expected) * (1 - np.array(expected)) / 4000) + 1e-9).all()


@pytest.mark.parametrize("word", [0, 2**32 - 1])
def test_what_has_no_weight_is_never_chosen(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.transforms.choice.draw", lambda count: np.full((count, 4), word, np.uint32))
    for p, number in (([0, 1], 1), ([1, 0], 0), ([0, 0.1, 0.2, 0.7, 0], 1 if word == 0 else 3)):
        assert RandomChoice([str] * len(p), p)._choose(3).tolist() == [number] * 3


def test_decisions_and_what_they_lead_to_are_independent() -> None:
    images = np.broadcast_to(np.array([[0, 1], [2, 3]]), (8000, 2, 2))
    chain = RandomApply([RandomApply([RandomHorizontalFlip(1)], 0.5), RandomApply([RandomVerticalFlip(1)], 0.5)], 0.5)
    with use_keys(1, np.arange(8000)):
        first = chain.apply_batch(images)[:, 0, 0]
    assert np.abs(np.bincount(first, minlength=4) / 8000 - np.array([5, 1, 1, 1]) / 8).max() < 0.03


def test_what_one_choice_draws_does_not_shift_what_stands_behind() -> None:
    def greedy(image: Any) -> Any:
        headrace.sample_rng().random(7)
        return image

    quiet = Compose([RandomChoice([lambda image: image, lambda image: image]), RandomCrop(5)])
    loud = Compose([RandomChoice([greedy, lambda image: image]), RandomCrop(5)])
    assert loaded(quiet, IMAGES, 6).tobytes() == loaded(loud, IMAGES, 6).tobytes()


def test_two_of_the_same_choices_draw_differently() -> None:
    images = np.random.default_rng(0).random((1, 1, 16, 16), np.float32)
    out = []
    for p in ([1, 0], [0, 1]):
        with use_keys(1, np.arange(1)):
            out.append(RandomChoice([RandomErasing(1), RandomErasing(1)], p)(images[0]).tobytes())
    assert out[0] != out[1]


# ---------------------------------------------------------------- calls, kinds and errors


def test_single_samples_of_any_kind() -> None:
    assert RandomApply([str], 1)(3) == "3"
    assert RandomApply([str], 0)(3) == 3
    assert RandomChoice([str])(3) == "3"
    chain = pickle.loads(pickle.dumps(RandomApply([RandomHorizontalFlip(1)], 1)))
    assert chain(np.array([[1, 2]])).tolist() == [[2, 1]]
    assert repr(chain) == "RandomApply(transforms=[RandomHorizontalFlip(layout=None, p=1.0)], p=1.0)"


def test_tensors_come_back_as_tensors() -> None:
    torch = pytest.importorskip("torch")
    batch = torch.from_numpy(IMAGES)
    for transform in (RandomApply([RandomHorizontalFlip(1)], 1), RandomChoice([RandomHorizontalFlip(1)])):
        out = transform.apply_batch(batch)
        assert isinstance(out, torch.Tensor)
        assert torch.equal(out, batch.flip(-1))
    assert RandomApply([RandomHorizontalFlip(1)], 0).apply_batch(batch) is batch


def test_boxed_tensors_and_jax_arrays() -> None:
    class Boxed:
        def __init__(self, data: Any) -> None:
            self.data = data

    out = RandomApply([RandomHorizontalFlip(1)], 1).apply_batch(Boxed(IMAGES))
    assert isinstance(out, Boxed)
    assert (out.data == IMAGES[..., ::-1]).all()
    batch = pytest.importorskip("jax.numpy").asarray(IMAGES)
    out = RandomApply([RandomHorizontalFlip(1)], 1).apply_batch(batch)
    assert isinstance(out, type(batch))
    assert (np.asarray(out) == IMAGES[..., ::-1]).all()


def test_errors() -> None:
    for p in (-0.1, 1.1, math.nan, "1", True, None):
        with pytest.raises(ArgumentError, match=r"p must be a probability in \[0, 1\], but got p="):
            RandomApply([str], p)  # type: ignore[arg-type]
    for weights in ([1], [1, 2, 3], [-1, 2], [0, 0], [math.nan, 1], "ab", 0.5, [[1, 2]], [math.inf, 1]):
        with pytest.raises(ArgumentError, match="p must be 2 non-negative numbers, one a transform and not all 0, but"):
            RandomChoice([str, int], weights)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="RandomChoice needs at least one transform, got none"):
        RandomChoice([])
    kinds: list[Any] = [RandomApply, RandomChoice]
    for kind in kinds:
        with pytest.raises(ArgumentTypeError, match=f"transform 1 of {kind.__name__} cannot be called: 3"):
            kind([str, 3])
        with pytest.raises(ArgumentTypeError, match=f"{kind.__name__} takes a list of transforms, but got"):
            kind(str)


def test_the_gil_is_left_to_others_if_every_transform_does() -> None:
    class Holding(ImageTransform):
        releases_gil = False

        def transform(self, images: Any, axes: Any) -> Any:
            return images

    assert RandomApply([RandomHorizontalFlip()]).releases_gil
    assert not RandomChoice([RandomHorizontalFlip(), Holding()]).releases_gil
    assert not RandomChoice([RandomHorizontalFlip(), str]).releases_gil


# ---------------------------------------------------------------- RandomOrder


def test_all_orders_are_equally_likely() -> None:
    def append(letter: str) -> Any:
        return lambda text: text + letter

    texts = headrace.MapDataset([""] * 2400, RandomOrder([append(letter) for letter in "abc"]))
    found = [text for batch in DataLoader(texts, 100, seed=0) for text in batch]
    counts = np.unique(found, return_counts=True)
    assert counts[0].tolist() == ["abc", "acb", "bac", "bca", "cab", "cba"]
    assert ((counts[1] - 400) ** 2 / 400).sum() < 20.5  # chi squared of 5, one in a thousand


def test_more_transforms_than_a_draw_has_words() -> None:
    def append(number: int) -> Any:
        return lambda numbers: [*numbers, number]

    order = RandomOrder([append(number) for number in range(11)])
    found = {tuple(order([])) for _ in range(20)}
    assert len(found) > 15
    assert all(sorted(numbers) == list(range(11)) for numbers in found)


def test_an_order_keeps_the_layout_that_all_keep() -> None:
    assert RandomOrder([RandomHorizontalFlip(), RandomErasing()]).layout_after("HWC") == "HWC"
    assert RandomOrder([RandomHorizontalFlip(), headrace.ToCHW()]).layout_after("HWC") is None
    with pytest.raises(ArgumentTypeError, match="transform 1 of RandomOrder cannot be called"):
        RandomOrder([str, 3])  # type: ignore[list-item]
