"""Where the channels of images are: told by the chain before, or by a shape that leaves no doubt, else an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import (
    CachedDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    ImageDataset,
    StackDataset,
    Subset,
    TensorDataset,
)
from headrace.errors import ArgumentError
from headrace.images.layout import find_layout, image_axes, layout_after
from headrace.pipeline.describe import describe
from headrace.pipeline.layouts import image_layout
from headrace.rng.context import use_keys
from headrace.transforms import (
    CenterCrop,
    ColorJitter,
    Compose,
    CutMix,
    Decode,
    Grayscale,
    ImageTransform,
    MixUp,
    Normalize,
    Pad,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    ToCHW,
    ToFloat,
    Transform,
    TrivialAugmentWide,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HWC = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
BANDS = [2, 5, 13, 64]


def ppm(image: NDArray[np.uint8]) -> bytes:
    """An encoded image that any decoder gives back as it is."""
    height, width, _ = image.shape
    return b"P6 %d %d 255\n" % (width, height) + image.tobytes()


def strip(height: int, width: int = 11, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pytest.importorskip("PIL", reason="Pillow decodes")


# ---------------------------------------------------------------- by shape


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((5, 5), "HW"),
        ((3, 32, 24), "CHW"),  # as TinyTorch has it: at most four in front are channels
        ((1, 28, 28), "CHW"),
        ((2, 24, 24), "CHW"),
        ((4, 24, 24), "CHW"),
        ((32, 24, 3), "HWC"),
        ((32, 24, 1), "HWC"),
        ((32, 24, 4), "HWC"),
        ((3, 4, 4), "CHW"),  # of tiny images, the one that is square
        ((1, 3, 3), "CHW"),
        ((4, 4, 3), "HWC"),
        ((1, 1, 3), "HWC"),
    ],
)
def test_shapes_that_leave_no_doubt(shape: tuple[int, ...], layout: str) -> None:
    assert find_layout(shape) == layout
    assert image_axes(shape) == image_axes(shape, layout)


@pytest.mark.parametrize(
    "shape", [(64, 64, 2), (64, 64, 5), (13, 64, 64), (64, 8, 8), (4, 64, 3), (3, 200, 3), (3, 3, 3)]
)
def test_shapes_that_leave_doubts(shape: tuple[int, ...]) -> None:
    assert find_layout(shape) is None
    with pytest.raises(ArgumentError, match=r"may be CHW or HWC.*say which it is: Flip\(\.\.\., layout='HWC'\)"):
        image_axes(shape, who="Flip")
    for layout in ("CHW", "HWC"):
        assert image_axes(shape, layout) == image_axes(shape, None, layout)


EVERY: list[Any] = [
    lambda **layout: CenterCrop(2, **layout),
    lambda **layout: Pad(1, **layout),
    lambda **layout: RandomCrop(2, **layout),
    lambda **layout: RandomErasing(1.0, **layout),
    lambda **layout: RandomHorizontalFlip(1.0, **layout),
    lambda **layout: RandomVerticalFlip(1.0, **layout),
    lambda **layout: RandomResizedCrop(4, **layout),
    lambda **layout: Resize(4, **layout),
    lambda **layout: ToCHW(**layout),
]
OF_COLOURS: list[Any] = [ColorJitter, Grayscale, RandomGrayscale, TrivialAugmentWide]


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("bands", BANDS)
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_every_transform_asks_where_there_are_doubts(make: Any, bands: int, dtype: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, bands)).astype(dtype)
    transform = make()
    for call in (transform, Compose([transform]), RandomApply([transform], 1.0), RandomChoice([transform])):
        with pytest.raises(ArgumentError, match=f"{type(transform).__name__} got an image .* say which it is"):
            call(image)
    with pytest.raises(ArgumentError, match="say which it is"):
        transform.apply_batch(image[np.newaxis])
    for dataset in (TensorDataset(image[np.newaxis]).map(transform, 0), StackDataset([image]).map(transform, 0)):
        with pytest.raises(ArgumentError, match="say which it is"):
            dataset[0]
        with pytest.raises(ArgumentError, match="say which it is"):
            next(iter(DataLoader(dataset, 1)))
    out = make(layout="HWC")(image)
    assert out.shape[0 if isinstance(transform, ToCHW) else 2] == bands


@pytest.mark.parametrize("kind", OF_COLOURS)
def test_colours_too(kind: Any) -> None:
    with pytest.raises(ArgumentError, match="say which it is"):
        kind()(strip(4))
    assert kind(layout="HWC")(strip(4)).shape[:2] == (4, 11)


@pytest.mark.parametrize("shape", [(64, 64, 13), (5, 6, 7), (4, 6, 3)])
def test_where_the_layout_does_not_matter_any_shape_will_do(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 51, np.uint8)
    out = Compose([ToFloat(), Normalize(0.5, 0.25)])(image)
    assert out.shape == shape
    np.testing.assert_allclose(out, -1.2, rtol=1e-6)
    mixed, _ = MixUp(num_classes=2)(np.stack([image, image]), np.array([0, 1]))
    assert mixed.shape == (2, *shape)
    with pytest.raises(ArgumentError, match="Normalize got an image"):
        Normalize((0.1, 0.2, 0.3), (1, 1, 1))(out)
    with pytest.raises(ArgumentError, match="CutMix got an image"):
        CutMix(num_classes=2)(np.stack([image, image]), np.array([0, 1]))


# ---------------------------------------------------------------- along a chain


def test_what_becomes_of_a_layout() -> None:
    assert layout_after(Decode(), None) == "HWC"
    assert layout_after(ToFloat(), "HWC") == "HWC"
    assert layout_after(ToFloat(layout="CHW"), None) == "CHW"
    assert layout_after(Compose([Decode(), ToFloat(), ToCHW(), RandomCrop(2)]), None) == "CHW"
    assert layout_after(RandomApply([RandomHorizontalFlip()]), "HWC") == "HWC"
    assert layout_after(RandomApply([ToCHW()]), "HWC") is None
    assert layout_after(RandomApply([ToCHW()]), "CHW") == "CHW"
    assert layout_after(RandomChoice([ToCHW(), Compose([ToFloat(), ToCHW()])]), "HWC") == "CHW"
    assert layout_after(RandomChoice([ToCHW(), ToFloat()]), "HWC") is None
    assert layout_after(lambda image: image, "HWC") is None


class Transposed(ImageTransform):
    """A user's transform, of which nobody knows what it does to the layout."""

    def transform(self, images: Any, axes: Any) -> Any:
        return np.moveaxis(images, axes.channels, 1)


class Swapped(Transform):
    """A user's transform of whole batches."""

    def __call__(self, sample: Any) -> Any:
        return sample.transpose(2, 0, 1)

    def apply_batch(self, batch: Any) -> Any:
        return batch.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("own", [Transposed(), Swapped(), lambda image: image.transpose(2, 0, 1)])
def test_behind_a_users_function_nothing_is_known(own: Any) -> None:
    image = HWC
    for chain in (
        Compose([Decode(), own, RandomHorizontalFlip(1.0)]),
        Compose([Decode(), Compose([own]), Pad(0), ToCHW()]),
    ):
        out = chain(ppm(image))
        assert out.shape == (3, 9, 11)
    np.testing.assert_array_equal(
        Compose([Decode(), own, RandomHorizontalFlip(1.0)])(ppm(image)), image[:, ::-1].transpose(2, 0, 1)
    )
    rows = (
        TensorDataset(image[np.newaxis]).map(RandomHorizontalFlip(1.0), 0).map(own, 0).map(RandomVerticalFlip(1.0), 0)
    )
    expected = image[::-1, ::-1].transpose(2, 0, 1)
    np.testing.assert_array_equal(rows[0][0], expected)
    np.testing.assert_array_equal(next(iter(DataLoader(rows, 1)))[0][0], expected)


CHAINS: dict[str, list[Any]] = {
    "resize": [Resize((4, 64)), ToFloat(), ToCHW()],
    "crop": [CenterCrop((2, 7)), ToFloat(), Normalize((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), ToCHW()],
    "window": [RandomResizedCrop((3, 9)), RandomHorizontalFlip(), ToFloat(), RandomErasing(1.0), ToCHW()],
    "random crop": [RandomCrop((1, 8)), ColorJitter(0.5), ToFloat(), ToCHW()],
    "nested": [Compose([Resize((4, 20))]), RandomApply([RandomVerticalFlip()], 1.0), Compose([ToFloat()]), ToCHW()],
    "choice": [Resize((3, 20)), RandomChoice([ToFloat(), ToFloat()]), ToCHW(), RandomHorizontalFlip()],
    "first": [Resize((4, 12)), ToCHW(), ToFloat(), RandomHorizontalFlip(1.0)],
}
FILES = [ppm(strip(9, 11, seed)) for seed in range(4)]


class Plain(Dataset[Any]):
    """Samples that are read one at a time, of which nothing is known."""

    def __init__(self, samples: list[Any]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        return self._samples[index], index


def decoded(kind: str, folder: Path) -> Any:
    """Four decoded images with labels, in datasets that read them in different ways."""
    paths = []
    for number, data in enumerate(FILES):
        paths.append(folder / f"{number}.ppm")
        paths[-1].write_bytes(data)
    files = ImageDataset(paths, range(4))
    if kind == "files":
        return files
    if kind == "records":
        return Plain(FILES).map(Decode(), field=0)
    if kind == "cache":
        return CachedDataset(files)
    if kind == "several":
        return ConcatDataset([Subset(files, [0, 1]), files.subset([2, 3])])
    if kind == "beside":
        return StackDataset(Plain(FILES).map(lambda pair: pair[0]).map(Decode()), list(range(4)))
    return TensorDataset(np.stack([strip(9, 11, seed) for seed in range(4)]), np.arange(4))


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("kind", ["files", "records", "cache", "several", "beside", "rows"])
def test_images_keep_their_layout_whatever_their_height(kind: str, chain: list[Any], tmp_path: Path) -> None:
    whole = decoded(kind, tmp_path).map(Compose(chain), 0)
    by_one = decoded(kind, tmp_path)
    for transform in chain:
        by_one = by_one.map(transform, 0)
    for dataset in (whole, by_one):
        assert image_layout(describe(dataset), 0) == "CHW"
        images, _ = next(iter(DataLoader(dataset, 4, seed=0)))
        assert images.shape[:2] == (4, 3)
        loader = DataLoader(dataset, 1, seed=0)
        for number in range(4):
            with use_keys(0, np.array([number])):
                assert dataset[number][0].shape == images.shape[1:]
        np.testing.assert_array_equal(np.concatenate([images for images, _ in loader]), images)


def test_pixels_are_where_they_should_be(tmp_path: Path) -> None:
    for kind in ("files", "records", "cache", "several", "beside", "rows"):
        dataset = decoded(kind, tmp_path).map(Compose([CenterCrop((4, 8)), ToFloat(), ToCHW()]), 0)
        for number in range(4):
            window = strip(9, 11, number)[2:6, 2:10]
            expected = (window / np.float32(255)).transpose(2, 0, 1)
            np.testing.assert_array_equal(dataset[number][0], expected)
        np.testing.assert_array_equal(next(iter(DataLoader(dataset, 4)))[0][3], expected)


@pytest.mark.parametrize("bands", BANDS)
def test_a_layout_given_once_holds_for_what_follows(bands: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 12, bands), np.uint8)
    chain = [RandomHorizontalFlip(1.0, layout="HWC"), CenterCrop((2, 3)), ToFloat(), ToCHW()]
    expected = (images[:, 7:9, ::-1][:, :, 4:7] / np.float32(255)).transpose(0, 3, 1, 2)
    several = TensorDataset(images, np.arange(4))
    for transform in chain:
        several = several.map(transform, 0)  # type: ignore[assignment]
    for dataset in (several, TensorDataset(images, np.arange(4)).map(Compose(chain), 0)):
        np.testing.assert_array_equal(next(iter(DataLoader(dataset, 4)))[0], expected)
        np.testing.assert_array_equal(dataset[2][0], expected[2])
    np.testing.assert_array_equal(Compose(chain)(images[1]), expected[1])
    np.testing.assert_array_equal(Compose(chain).apply_batch(images), expected)


STEPS: list[Any] = [
    CenterCrop((4, 5)),
    CenterCrop(3),
    RandomCrop((2, 4)),
    Resize((4, 6)),
    Resize((1, 3)),
    RandomHorizontalFlip(),
    RandomVerticalFlip(layout="HWC"),
    RandomApply([Pad(1)], 1.0),
    ToFloat(),
    Normalize(0.5, 0.25),
    Transposed(),
    Swapped(),
    RandomErasing(1.0),
    ToCHW(),
    ToCHW(layout="HWC"),
]


def outcome(run: Any) -> Any:
    try:
        return run()
    except (ArgumentError, ValueError, TypeError) as error:
        return type(error)


@given(
    st.lists(st.sampled_from(STEPS), max_size=5),
    st.sampled_from([(6, 7, 3), (9, 9, 1), (3, 8, 8), (8, 8, 5), (4, 6, 3)]),
    st.lists(st.booleans(), min_size=5, max_size=5),
)
@settings(max_examples=300, deadline=None)
def test_samples_and_batches_agree(chain: list[Any], shape: tuple[int, ...], cuts: list[bool]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    dataset: Any = TensorDataset(images, np.arange(3))
    together: list[Any] = []
    for transform, cut in zip(chain, cuts, strict=False):  # some mapped one by one, some composed
        together.append(transform)
        if cut:
            dataset, together = dataset.map(Compose(together), 0), []
    dataset = dataset.map(Compose(together), 0)
    batch = outcome(lambda: next(iter(DataLoader(dataset, 3, seed=0)))[0])
    singly = outcome(lambda: np.concatenate([images for images, _ in DataLoader(dataset, 1, seed=0)]))
    one_by_one = outcome(lambda: dataset[0][0].shape)
    if isinstance(batch, type):
        assert isinstance(singly, type)
        assert isinstance(one_by_one, type)
    else:
        np.testing.assert_array_equal(singly, batch)
        assert one_by_one == batch.shape[1:]
