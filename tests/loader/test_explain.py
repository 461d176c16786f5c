"""Explanations are held against the batches themselves: what they say is done again, by NumPy and Pillow."""

from __future__ import annotations

import io
import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace
from headrace import (
    AugMix,
    AutoAugment,
    ColorJitter,
    Compose,
    CutMix,
    DataLoader,
    ElasticTransform,
    GaussianBlur,
    ImageFolder,
    MixUp,
    RandAugment,
    RandomAdjustSharpness,
    RandomAffine,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomOrder,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    TensorDataset,
    TrivialAugmentWide,
    default_collate,
    frameworks,
    mix,
    sample_rng,
)
from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), np.uint8)
LABELS = np.arange(50)
PLAIN = TensorDataset(IMAGES, LABELS)
RANDOM: list[Any] = [
    RandomCrop(16),
    RandomHorizontalFlip(),
    RandomVerticalFlip(),
    RandomResizedCrop(16),
    RandomErasing(),
    RandomRotation(30),
    RandomAffine(10, (0.1, 0.1), (0.9, 1.1), 5),
    RandomPerspective(),
    ElasticTransform(),
    GaussianBlur(3),
    ColorJitter(0.4, 0.4, 0.4, 0.1),
    RandomGrayscale(0.5),
    RandomAdjustSharpness(2),
    RandAugment(),
    TrivialAugmentWide(),
    AutoAugment(),
    AugMix(),
]


def drawn(sample: Any) -> dict[str, dict[str, Any]]:
    return {note.transform: note.drawn for note in sample.draws}


def cut(image: NDArray[Any], top: int, left: int, size: int) -> NDArray[Any]:
    """The crop, with zeros around the image."""
    around = np.pad(image, ((size, size), (size, size), (0, 0)))
    return around[size + top : 2 * size + top, size + left : 2 * size + left]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(0, 4), st.integers(1, 3), st.data())
def test_what_is_told_makes_the_batch(seed: int, epoch: int, step: int, ranks: int, data: st.DataObject) -> None:
    dataset = PLAIN.map(Compose([RandomCrop(16, padding=3), RandomHorizontalFlip()]), field=0)
    rank = data.draw(st.integers(0, ranks - 1))
    loader = DataLoader(dataset, batch_size=3, shuffle=True, seed=seed, rank=rank, world_size=ranks)
    images, labels = loader.batch(step, epoch)
    explained = loader.explain(step, epoch)
    assert [sample.index for sample in explained] == labels.tolist()
    for image, sample in zip(images, explained, strict=True):
        found = drawn(sample)
        made = cut(IMAGES[sample.index], found["RandomCrop"]["top"], found["RandomCrop"]["left"], 16)
        assert np.array_equal(image, made[:, ::-1] if found["RandomHorizontalFlip"]["flipped"] else made)
    whole = DataLoader(range(50), batch_size=50, shuffle=True, seed=seed).batch(0, epoch)
    assert [whole[sample.position] for sample in explained] == labels.tolist()


@pytest.mark.parametrize("transform", RANDOM, ids=lambda each: type(each).__name__)
def test_every_transform_says_what_it_draws(transform: Any) -> None:
    loader = DataLoader(PLAIN.map(transform, field=0), batch_size=8, seed=3)
    explained = loader.explain(1)
    assert all(list(drawn(sample)) == [type(transform).__name__] for sample in explained)
    assert all(sample.draws[0].drawn for sample in explained)
    assert np.array_equal(default_collate([sample.sample[0] for sample in explained]), loader.batch(1)[0])


def test_jitter_and_rotation_are_done_again_by_what_is_told() -> None:
    chain = Compose([ColorJitter(brightness=0.5), RandomRotation(40)])
    loader = DataLoader(PLAIN.map(chain, field=0), batch_size=5, seed=1)
    for image, sample in zip(loader.batch(2)[0], loader.explain(2), strict=True):
        factor, degrees = drawn(sample)["ColorJitter"]["brightness"], drawn(sample)["RandomRotation"]["degrees"]
        brighter = ColorJitter(brightness=(factor, factor))(IMAGES[sample.index])
        assert np.array_equal(image, RandomRotation((degrees, degrees))(brighter))


def test_erased_boxes() -> None:
    loader = DataLoader(PLAIN.map(RandomErasing(p=0.5, value=7), field=0), batch_size=25, seed=1)
    for image, sample in zip(loader.batch(0)[0], loader.explain(0), strict=True):
        expected, box = IMAGES[sample.index].copy(), drawn(sample)["RandomErasing"]
        if box.pop("erased"):
            top, left, height, width = box["top"], box["left"], box["height"], box["width"]
            expected[top : top + height, left : left + width] = 7
        assert np.array_equal(image, expected)


def test_transforms_in_transforms() -> None:
    flips = [RandomHorizontalFlip(1.0), RandomVerticalFlip(1.0)]
    chain = Compose([RandomApply([RandomCrop(16)], p=0.5), RandomChoice(flips), RandomOrder(flips)])
    for sample in DataLoader(PLAIN.map(chain, field=0), batch_size=20, seed=0).explain(0):
        found = [(note.transform, note.drawn) for note in sample.draws]
        if dict(found)["RandomApply"]["applied"]:
            found.pop(1)  # the crop
        assert [name for name, _ in found[:2]] == ["RandomApply", "RandomChoice"]
        assert found[1][1]["chosen"] == found[2][0]
        assert found[3][0] == "RandomOrder"
        assert found[3][1]["order"] == [name for name, _ in found[4:]]


def jpeg(number: int) -> bytes:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    ramp = np.add.outer(np.arange(90), np.arange(120)).astype(np.uint8)
    image.fromarray(np.stack([ramp, ramp + number, ramp.T[:1].repeat(90, 0).repeat(2, 1)[:, :120]], axis=2)).save(
        file, "JPEG", quality=95
    )
    return file.getvalue()


def test_files_and_crops_of_encoded_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.jpg").write_bytes(jpeg(number))
    dataset = ImageFolder(tmp_path, transform=Compose([RandomResizedCrop(32), RandomHorizontalFlip()]))
    loader = DataLoader(dataset, batch_size=4, shuffle=True, seed=5, num_workers=2)
    for pixels, sample in zip(loader.batch(0)[0], loader.explain(0), strict=True):
        (origin,) = sample.origins
        assert origin.where == str(dataset.paths[sample.index])
        box, flip = drawn(sample)["RandomResizedCrop"], drawn(sample)["RandomHorizontalFlip"]["flipped"]
        corners = (box["left"], box["top"], box["left"] + box["width"], box["top"] + box["height"])
        with image.open(origin.where) as whole:
            made = np.asarray(whole.crop(corners).resize((32, 32), image.Resampling.BILINEAR))
        assert abs(pixels.astype(int) - (made[:, ::-1] if flip else made)).mean() < 4


def test_image_files_are_called_as_their_dataset(tmp_path: Path) -> None:
    Image = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "a" / "b.png")

    class Mine(ImageFolder):
        pass

    for dataset in (ImageFolder(tmp_path), Mine(tmp_path, decode=None)):
        [sample] = DataLoader(dataset).explain(0)
        assert str(sample.origins[0]) == f"{type(dataset).__name__}[0], {tmp_path / 'a' / 'b.png'}"


def test_masks_are_moved_with_their_images_and_told_once() -> None:
    masks = TensorDataset(IMAGES, IMAGES[..., 0])
    chain = Compose([RandomRotation(20), RandomCrop(16)])
    loader = DataLoader(masks.map(chain, field={"image": 0, "mask": 1}), batch_size=4, seed=0)
    assert all(len(sample.draws) == 2 for sample in loader.explain(0))


def test_functions_of_the_users_are_named() -> None:
    def add_noise(sample: Any) -> Any:
        return sample[0] + sample_rng().normal(), sample[1]

    sample = DataLoader(PLAIN.map(add_noise), seed=0).explain(3)[0]
    assert [(note.transform, note.drawn) for note in sample.draws] == [
        ("test_functions_of_the_users_are_named.<locals>.add_noise", {})
    ]
    assert sample.story.endswith("add_noise: draws, but does not say what")


def test_transforms_called_in_a_dataset_of_the_users() -> None:
    class Cropped(headrace.Dataset[Any]):
        crop = RandomCrop(16)

        def __len__(self) -> int:
            return 50

        def __getitem__(self, index: int) -> Any:
            return self.crop(IMAGES[index])

        def where(self, index: int) -> str:
            return f"row {index}"

    loader = DataLoader(Cropped(), batch_size=4, shuffle=True, seed=0)
    for image, sample in zip(loader.batch(2), loader.explain(2), strict=True):
        box = drawn(sample)["RandomCrop"]
        assert np.array_equal(image, cut(IMAGES[sample.index], box["top"], box["left"], 16))
        assert sample.origins[0].where == f"row {sample.index}"


_legacy = np.random.rand  # as users' code draws


class Noisy:
    """Draws from global generators: for a sample alone other values than for samples of a batch together."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> Any:
        return index + random.random(), index  # noqa: S311


class NoisyItems(Noisy):
    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [(index + noise, index) for index, noise in zip(indices, _legacy(len(indices)), strict=True)]


class NoisyBatches(Noisy):
    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        return indices + _legacy(len(indices)), indices


@pytest.mark.parametrize("kind", [Noisy, NoisyItems, NoisyBatches])
@pytest.mark.parametrize("tree", ["alone", "subset", "mapped"])
def test_samples_that_draw_from_global_generators_are_those_of_the_batch(kind: Any, tree: str) -> None:
    dataset = kind() if tree == "alone" else headrace.Subset(kind(), np.arange(50))
    dataset = dataset.map(_doubled, field=0) if tree == "mapped" else dataset
    loader = DataLoader(dataset, batch_size=8, shuffle=True, seed=0)
    values, indices = loader.batch(2, 0)
    before = frameworks.global_states()
    explained = loader.explain(2, 0)
    assert [sample.sample for sample in explained] == list(zip(values.tolist(), indices.tolist(), strict=True))
    if kind is Noisy or tree == "mapped":  # a function of the user's is given one sample after the other
        assert not explained.draws
        assert all(str(sample.draws[-1]) == "global generators: drawn from random" for sample in explained)
    else:
        assert [str(note) for note in explained.draws] == ["global generators: drawn from numpy.random"]
        assert not any(sample.draws for sample in explained)
    assert frameworks.global_states() == before


def _doubled(value: Any) -> Any:
    return 2 * value


class JoinedBatches(NoisyBatches):
    """A batch that has no rows: its samples cannot be told apart."""

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        return float(_legacy(len(indices)).sum())


def test_a_collation_that_is_known_is_not_given_samples_that_cannot_be_told_apart() -> None:
    explained = DataLoader(JoinedBatches(), 8, seed=0, collate_fn=default_collate).explain(1)
    assert [str(note) for note in explained.draws] == ["global generators: drawn from numpy.random"]
    assert [sample.sample for sample in explained] == [None] * 8


@pytest.mark.parametrize("mixing", [MixUp(num_classes=50), CutMix(num_classes=50)])
def test_what_a_collate_fn_draws_is_of_the_batch(mixing: Any) -> None:
    loader = DataLoader(PLAIN, batch_size=8, seed=0, collate_fn=lambda samples: mixing(*default_collate(samples)))
    explained = loader.explain(1)
    kept = {note.transform: note.drawn for note in explained.draws}[type(mixing).__name__]["kept"]
    labels = loader.batch(1)[1]
    assert np.allclose(labels[0][explained[0].index], kept, atol=1e-6)
    assert not any(sample.draws for sample in explained)


def test_sources_of_mixtures_and_parts_of_zips() -> None:
    inner = mix({"x": PLAIN, "y": PLAIN.map(RandomCrop(16), field=0)}, weights=[1, 1])
    outer = mix({"web": PLAIN, "books": inner}, weights=[1, 2])
    loader = DataLoader(headrace.StackDataset(outer, outer), batch_size=12, shuffle=True, seed=0)
    (_, labels), _ = loader.batch(0)
    for label, sample in zip(labels.tolist(), loader.explain(0), strict=True):
        first, second = sample.origins
        assert (first.part, second.part) == ("field 0", "field 1")
        assert first.source == second.source
        assert first.source in ("web", "books/x", "books/y")
        assert first.index == label


def test_rows_of_packed_sequences() -> None:
    sequences = [np.full(length, number) for number, length in enumerate([3, 5, 2, 6, 4, 1])]
    loader = DataLoader(headrace.Subset(sequences, range(6)).pack_sequences(8), batch_size=2, seed=0)
    rows = loader.batch(0)["input_ids"] if isinstance(loader.batch(0), dict) else loader.batch(0)[0]
    for row, sample in zip(rows, loader.explain(0), strict=True):
        for origin in sample.origins:
            _, first, _, last = str(origin.part).split()
            assert set(row[int(first) : int(last) + 1].tolist()) == {origin.index}


class _Bad(headrace.Dataset[int]):
    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> int:
        if index % 4 == 1:
            raise OSError(f"no sample {index}")
        return index


@pytest.mark.parametrize("sampler", [None, range(30)])
def test_bad_samples_and_what_stands_in_their_place(sampler: Any) -> None:
    loader = DataLoader(_Bad(), batch_size=6, sampler=sampler, seed=2, on_error="replace")
    with pytest.warns(headrace.errors.HeadraceWarning):
        batch = loader.batch(1)
    explained = loader.explain(1)
    assert [sample.sample for sample in explained] == batch.tolist()
    assert [sample.replaces for sample in explained] == [None, None, None, 9, None, None]
    assert "in place of 9, which could not be read" in str(explained)


def test_bad_samples_that_nothing_replaces() -> None:
    for on_error in ("raise", "skip"):
        explained = DataLoader(_Bad(), batch_size=6, on_error=on_error).explain(1, 0)
        assert [sample.error is None for sample in explained] == [True, True, True, False, True, True]
        assert "OSError: no sample 9" in str(explained)


def test_a_collation_that_fails_is_told() -> None:
    def collate_fn(samples: list[Any]) -> Any:
        raise ValueError(f"{len(samples)} samples;\ndo not fit")

    loader = DataLoader(PLAIN.map(RandomCrop(16), field=0), batch_size=4, seed=0, collate_fn=collate_fn)
    explained = loader.explain(1)
    assert [str(note) for note in explained.draws] == ["collate_fn: raised ValueError: 4 samples; do not fit"]
    assert [sample.index for sample in explained] == [4, 5, 6, 7]
    assert all("RandomCrop" in drawn(sample) for sample in explained)


def test_errors_of_several_lines_are_one() -> None:
    class Broken:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            raise ValueError("first; second\nthird")

    explained = DataLoader(Broken(), batch_size=4, seed=0).explain(0)
    assert str(explained[0]).splitlines()[2:] == [f"  could not be read: {explained[0].error}"]
    assert (explained[0].error or "").startswith("ValueError: first; second third")
    assert len(str(explained).splitlines()) == 2 + 4


def test_keys_that_json_has_no_number_for() -> None:
    loader = DataLoader({1.5: 1}, 1, sampler=[float("inf")], seed=0, on_error="skip")
    text = json.dumps(loader.explain(0).to_dict(), allow_nan=False)
    assert json.loads(text)["samples"][0]["index"] == "inf"


def test_filling_is_told_from_samples() -> None:
    explained = DataLoader(range(10), batch_size=4, uneven="pad", seed=0).explain(2)
    assert [sample.valid for sample in explained] == [True, True, False, False]
    assert [sample.position for sample in explained] == [8, 9, 0, 1]


def test_other_keys_of_a_sampler() -> None:
    explained = DataLoader({"a": 1, "b": 2}, sampler=["b", "a"], seed=0).explain(0)
    assert [sample.index for sample in explained] == ["b"]
    assert explained.to_dict()["samples"][0]["origins"][0]["index"] == "b"


def test_nothing_changes_by_an_explanation() -> None:
    dataset = PLAIN.map(lambda sample: (sample[0] + np.uint8(random.randrange(9)), sample[1]))  # noqa: S311
    loader, same = (DataLoader(dataset, batch_size=5, shuffle=True, seed=0) for _ in range(2))
    batches, state = iter(loader), random.getstate()
    next(batches)
    before = loader.state_dict()
    explained = loader.explain(4)
    assert random.getstate() == state
    assert loader.state_dict() == before
    assert np.array_equal(default_collate([sample.sample[0] for sample in explained]), same.batch(4)[0])
    for found, expected in zip(batches, list(same)[1:], strict=True):
        assert np.array_equal(found[0], expected[0])


def test_it_goes_into_json_and_shows_as_text_and_as_a_page() -> None:
    chain = Compose([ColorJitter(0.4, 0.4), RandomErasing(), RandomCrop(16)])
    explained = DataLoader(PLAIN.map(chain, field=0), batch_size=3, seed=9, num_workers=2).explain(1)
    plain = json.loads(json.dumps(explained.to_dict()))
    assert plain["seed"] == 9
    assert [each["index"] for each in plain["samples"]] == [3, 4, 5]
    assert str(explained).startswith(
        "step 1 of epoch 0, seed 9, loaded by one of 2 workers (thread), whichever is free"
    )
    html = explained._repr_html_()
    assert html.count("<img") == 3
    assert html.count("<tr>") == 4
    assert explained[1:] == explained.samples[1:]


def test_what_cannot_be_explained() -> None:
    with pytest.raises(ArgumentTypeError, match="a stream has no batch to be asked for"):
        DataLoader({1, 2}).explain(0)
    with pytest.raises(OutOfRangeError, match="there is no step 5 in an epoch of 5 steps"):
        DataLoader(range(10), batch_size=2, seed=0).explain(5)
    with pytest.raises(ArgumentError):
        DataLoader(range(10), batch_size=2, shuffle=True).explain(0, 7)
