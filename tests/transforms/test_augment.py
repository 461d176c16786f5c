"""TrivialAugmentWide: its operations against Pillow, and against torchvision where that is installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, RandAugment, TensorDataset, TrivialAugmentWide
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.rng.context import use_keys
from headrace.transforms import augment, augment_operations, operations
from headrace.transforms.augment_operations import OPERATIONS as ALL
from headrace.transforms.warping import Sampling

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

OPERATIONS = list(augment._TRIVIAL)
MOVING = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"]


def photo(height: int = 37, width: int = 29, seed: int = 0, channels: int = 3) -> NDArray[np.uint8]:
    """Planes with smooth parts and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([40 + 4 * x, 30 + 5 * y, 3 * (x + y)])[:channels]
    return (ramps + rng.integers(0, 25, ramps.shape)).clip(0, 255).astype(np.uint8)


def operated(
    name: str, image: NDArray[Any], magnitude: float, fill: float = 0, interpolation: str = "nearest"
) -> NDArray[Any]:
    return ALL[name](image, magnitude, Sampling(np.full(len(image), fill, image.dtype), interpolation))


def pillow(image: NDArray[np.uint8], change: Callable[[Any], Any]) -> NDArray[np.uint8]:
    pil = pytest.importorskip("PIL.Image")
    return np.asarray(change(pil.fromarray(image.transpose(1, 2, 0)))).transpose(2, 0, 1)


# ---------------------------------------------------------------- against Pillow


def matrix(*numbers: float) -> Callable[[Any, Any], Any]:
    def change(image: Any, how: Any) -> Any:
        pil = pytest.importorskip("PIL.Image")
        return image.transform(image.size, pil.Transform.AFFINE, numbers, how, fillcolor=(7, 7, 7))

    return change


def turn(degrees: float) -> Callable[[Any, Any], Any]:
    return lambda image, how: image.rotate(degrees, how, fillcolor=(7, 7, 7))


MOVES: dict[str, tuple[str, float, Callable[[Any, Any], Any]]] = {
    "shear x": ("ShearX", 0.3, matrix(1, 0.3, 0, 0, 1, 0)),
    "shear x back": ("ShearX", -0.7, matrix(1, -0.7, 0, 0, 1, 0)),
    "shear y": ("ShearY", 0.4, matrix(1, 0, 0, 0.4, 1, 0)),
    "right": ("TranslateX", 5.9, matrix(1, 0, -5, 0, 1, 0)),
    "left": ("TranslateX", -5.9, matrix(1, 0, 5, 0, 1, 0)),
    "down": ("TranslateY", 3.2, matrix(1, 0, 0, 0, 1, -3)),
    "rotate": ("Rotate", 31.0, turn(31)),
    "rotate back": ("Rotate", -117.3, turn(-117.3)),
    "rotate by nothing": ("Rotate", 0.0, turn(0)),
}


def moved(image: NDArray[np.uint8], move: str, how: str) -> NDArray[np.uint8]:
    pil = pytest.importorskip("PIL.Image")
    return pillow(image, lambda image: MOVES[move][2](image, pil.Resampling[how]))


@pytest.mark.parametrize("move", MOVES)
def test_moves_are_pillows(move: str) -> None:
    name, magnitude, _ = MOVES[move]
    found, expected = operated(name, photo(), magnitude, fill=7), moved(photo(), move, "NEAREST")
    # Pillow counts in 1/65536 of a pixel, so a few pixels may come from the neighbour
    assert (found != expected).any(axis=0).mean() < 0.01


@pytest.mark.parametrize("move", MOVES)
def test_moves_between_pixels_are_pillows(move: str) -> None:
    """Inside the image: Pillow does not mix its edge with what lies around, and torchvision does."""
    name, magnitude, _ = MOVES[move]
    found, expected = operated(name, photo(), magnitude, 7, "bilinear"), moved(photo(), move, "BILINEAR")
    inside = operated(name, np.ones((1, 37, 29)), magnitude, 0, "bilinear")[0] > 1 - 1e-9
    assert inside.mean() > 0.5
    difference = found.astype(int) - expected
    assert set(difference[:, inside].ravel().tolist()) <= {0, 1}  # Pillow rounds down
    assert (difference[:, inside] == 0).mean() > 0.4


def enhance(name: str, factor: float) -> Callable[[Any], Any]:
    def change(image: Any) -> Any:
        return getattr(pytest.importorskip("PIL.ImageEnhance"), name)(image).enhance(factor)

    return change


def op(name: str, *arguments: Any) -> Callable[[Any], Any]:
    return lambda image: getattr(pytest.importorskip("PIL.ImageOps"), name)(image, *arguments)


VALUES: dict[str, tuple[str, float, Callable[[Any], Any], int]] = {
    "nothing": ("Identity", 0, lambda image: image, 0),
    "brighter": ("Brightness", 0.5, enhance("Brightness", 1.5), 1),
    "darker": ("Brightness", -0.99, enhance("Brightness", 0.01), 1),
    "colourful": ("Color", 0.8, enhance("Color", 1.8), 2),
    "grey": ("Color", -0.9, enhance("Color", 0.1), 2),
    "contrast": ("Contrast", 0.6, enhance("Contrast", 1.6), 2),
    "flat": ("Contrast", -0.6, enhance("Contrast", 0.4), 2),
    "posterize": ("Posterize", 3, op("posterize", 3), 0),
    "posterize by nothing": ("Posterize", 8, op("posterize", 8), 0),
    "solarize": ("Solarize", 0.5, op("solarize", 128), 0),
    "solarize all": ("Solarize", 0, op("invert"), 0),
    "autocontrast": ("AutoContrast", 0, op("autocontrast"), 1),
    "equalize": ("Equalize", 0, op("equalize"), 0),
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("size", [(37, 29), (5, 4)])
def test_values_are_pillows(value: str, size: tuple[int, int]) -> None:
    name, magnitude, change, tolerance = VALUES[value]
    image = photo(*size)
    difference = operated(name, image, magnitude).astype(int) - pillow(image, change)
    assert abs(difference).max() <= tolerance


@pytest.mark.parametrize("by", [-0.99, -0.3, 0.0, 0.7])
def test_sharpness_is_pillows(by: float) -> None:
    image = photo()
    difference = operated("Sharpness", image, by).astype(int) - pillow(image, enhance("Sharpness", 1 + by))
    assert abs(difference).max() <= 1


# ---------------------------------------------------------------- against torchvision


def theirs(v2: Any, name: str, image: NDArray[Any], magnitude: float, interpolation: str) -> NDArray[Any]:
    torch = sys.modules["torch"]
    magnitude = round(magnitude) if name == "Posterize" else magnitude
    tensor, fill = torch.from_numpy(image), {torch.Tensor: None}
    changed = v2.TrivialAugmentWide()._apply_image_or_video_transform(
        tensor, name, magnitude, v2.InterpolationMode(interpolation), fill
    )
    return np.asarray(changed)


def magnitudes(name: str) -> NDArray[Any]:
    operation = augment._TRIVIAL[name]
    numbers = np.linspace(operation.least, operation.most, 7)
    return np.concatenate([-numbers, numbers]) if operation.signed else numbers


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_torchvisions(v2: Any, name: str, interpolation: str, dtype: Any) -> None:
    image = photo() if dtype == np.uint8 else (photo() / np.float32(255)).astype(np.float32)
    for magnitude in magnitudes(name):
        found = operated(name, image, magnitude, interpolation=interpolation)
        expected = theirs(v2, name, image, magnitude, interpolation)
        if interpolation == "nearest" and name in MOVING:
            assert (found != expected).mean() < 0.01  # a middle on the edge between two pixels
        else:
            np.testing.assert_allclose(found, expected, atol=1 if dtype == np.uint8 else 2e-5)


@pytest.mark.parametrize("name", MOVING)
def test_a_fill_counts_as_much_as_the_image_does_not(v2: Any, name: str) -> None:
    """torchvision's own fill counts the image twice at its edge, and the fill less."""
    image, fill = (photo() / np.float32(255)).astype(np.float32), 0.75
    for magnitude in magnitudes(name):
        seen = theirs(v2, name, np.ones_like(image), magnitude, "bilinear")
        expected = theirs(v2, name, image, magnitude, "bilinear") + (1 - seen) * fill
        np.testing.assert_allclose(operated(name, image, magnitude, fill, "bilinear"), expected, atol=2e-5)


def test_magnitudes_are_torchvisions(v2: Any) -> None:
    assert list(v2.TrivialAugmentWide._AUGMENTATION_SPACE) == OPERATIONS
    for name, (numbers, signed) in v2.TrivialAugmentWide._AUGMENTATION_SPACE.items():
        operation, expected = augment._TRIVIAL[name], numbers(31, 32, 32)
        assert operation.signed == signed
        if expected is not None:
            found = operation.least + (operation.most - operation.least) * np.arange(31) / 30
            found = np.round(found) if name == "Posterize" else found
            np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


# ---------------------------------------------------------------- the transform


def test_all_operations_bins_and_signs_are_equally_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = pytest.importorskip("scipy.stats")
    seen: list[tuple[str, float]] = []

    def noting(name: str) -> Any:
        def apply(image: Any, magnitude: float, fill: Any) -> Any:
            seen.append((name, magnitude))
            return image

        return apply

    for name in OPERATIONS:
        monkeypatch.setitem(augment_operations.OPERATIONS, name, noting(name))
    count = 14 * 62 * 20
    with use_keys(3, np.arange(count)):
        TrivialAugmentWide().apply_batch(np.zeros((count, 2, 2, 1), np.uint8))
    frequencies = [sum(name == each for each, _ in seen) for name in OPERATIONS]
    assert stats.chisquare(frequencies).pvalue > 1e-4
    turns = [magnitude for name, magnitude in seen if name == "Rotate"]
    counts = np.unique(np.round(np.array(turns) / 4.5), return_counts=True)[1]
    assert len(counts) == 61
    assert stats.chisquare(np.delete(counts, 30)).pvalue > 1e-4
    assert {magnitude for name, magnitude in seen if name == "Solarize"} == {1 - place / 30 for place in range(31)}


@pytest.mark.parametrize("layout", ["HWC", "CHW", "HW"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float16, np.float64])
def test_a_batch_has_the_bytes_of_single_images(layout: str, interpolation: str, dtype: Any) -> None:
    images = np.stack([photo(seed=seed) for seed in range(50)])
    images = images if dtype == np.uint8 else (images / 255).astype(dtype)
    images = {"CHW": images, "HWC": images.transpose(0, 2, 3, 1), "HW": images[:, 0]}[layout]
    transform = TrivialAugmentWide(interpolation=interpolation, fill=0.5 if dtype != np.uint8 else 9, layout=layout)
    dataset = TensorDataset(np.ascontiguousarray(images)).map(transform, field=0)
    (batch,) = next(iter(DataLoader(dataset, 50, seed=1)))
    singly = np.concatenate([each for (each,) in DataLoader(dataset, 1, seed=1)])
    assert batch.dtype == dtype
    assert batch.tobytes() == singly.tobytes()
    assert not np.array_equal(batch, images)


def test_layouts_are_alike() -> None:
    images = np.stack([photo(seed=seed) for seed in range(30)])
    with use_keys(0, np.arange(30)):
        planes = TrivialAugmentWide(fill=(1, 2, 3), layout="CHW").apply_batch(images)
    with use_keys(0, np.arange(30)):
        pixels = TrivialAugmentWide(fill=(1, 2, 3)).apply_batch(images.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(planes, pixels.transpose(0, 3, 1, 2))


def test_images_are_not_written_to() -> None:
    for name in OPERATIONS:
        image = photo()
        image.flags.writeable = False
        operated(name, image, augment._TRIVIAL[name].most)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 2, 1), (1, 7)])
def test_tiny_images(shape: tuple[int, ...]) -> None:
    with use_keys(0, np.arange(200)):
        for transform in (TrivialAugmentWide(), TrivialAugmentWide(interpolation="bilinear")):
            assert transform.apply_batch(np.ones((200, *shape), np.uint8)).shape == (200, *shape)


def test_flat_channels_stay() -> None:
    flat = np.full((3, 5, 5), 9, np.uint8)
    assert (operations.autocontrast(flat) == 9).all()
    assert (operations.equalize(flat) == 9).all()


def test_interpolations_by_other_libraries_names(v2: Any) -> None:
    pil = pytest.importorskip("PIL.Image")
    for name in ("nearest", "bilinear"):
        for constant in (pil.Resampling[name.upper()], int(pil.Resampling[name.upper()]), v2.InterpolationMode(name)):
            assert TrivialAugmentWide(interpolation=constant).interpolation == name


@pytest.mark.parametrize("wrong", ["bicubic", "", 3, 7, True, None, ["nearest"]])
def test_other_interpolations_are_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="interpolation must be one of nearest, bilinear, but got"):
        TrivialAugmentWide(interpolation=wrong)


def test_wrong_arguments() -> None:
    for wrong in (1, 0, -3, 2.0, True, None):
        with pytest.raises(ArgumentError, match="num_magnitude_bins must be an integer from 2, but got"):
            TrivialAugmentWide(wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="TrivialAugmentWide takes images of 1 or 3 or 4 channels, but got 2"):
        TrivialAugmentWide(layout="HWC")(np.zeros((5, 5, 2), np.uint8))
    with pytest.raises(
        ArgumentTypeError, match="TrivialAugmentWide takes uint8 or floating-point images, but got int16"
    ):
        TrivialAugmentWide()(np.zeros((3, 5, 5), np.int16))
    with pytest.raises(ArgumentError, match="fill has 2 values for images with 3 channels"):
        TrivialAugmentWide(fill=(1, 2))(np.zeros((5, 5, 3), np.uint8))


@pytest.mark.parametrize("make", [TrivialAugmentWide, lambda **how: RandAugment(3, 20, **how)])
def test_alpha_is_moved_with_the_colours_and_else_stays(make: Any) -> None:
    images = np.stack([np.concatenate([photo(seed=seed), photo(seed=99 + seed, channels=1)]) for seed in range(200)])
    with use_keys(0, np.arange(200)):
        found = make(layout="CHW").apply_batch(images)
    with use_keys(0, np.arange(200)):
        colours = make(layout="CHW").apply_batch(images[:, :3])
    np.testing.assert_array_equal(found[:, :3], colours)
    with use_keys(0, np.arange(200)):
        plans = make().plans(200, images.shape[2:])
    for image, row, plan in zip(images, found, plans, strict=True):
        alpha = image[3:]
        for name, magnitude in plan:
            alpha = operated(name, alpha, magnitude) if name in MOVING else alpha
        np.testing.assert_array_equal(row[3:], alpha)


# ---------------------------------------------------------------- RandAugment


@pytest.mark.parametrize("bins", [31, 10])
@pytest.mark.parametrize("extent", [(32, 32), (224, 180)])
def test_magnitudes_of_rand_augment_are_torchvisions(v2: Any, bins: int, extent: tuple[int, int]) -> None:
    assert list(v2.RandAugment._AUGMENTATION_SPACE) == list(augment._RAND)
    for name, (numbers, signed) in v2.RandAugment._AUGMENTATION_SPACE.items():
        operation, expected = augment._RAND[name], numbers(bins, *extent)
        assert operation.signed == signed
        if expected is not None:
            found = np.array([operation.magnitude(place / (bins - 1), 2**31, extent) for place in range(bins)])
            found = np.round(found) if name == "Posterize" else found
            np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_all_operations_of_rand_augment_are_equally_likely_and_apart() -> None:
    stats = pytest.importorskip("scipy.stats")
    with use_keys(3, np.arange(14 * 14 * 30)):
        plans = RandAugment(2).plans(14 * 14 * 30, (32, 32))
    pairs = np.array([[OPERATIONS.index(name) for name, _ in plan] for plan in plans])
    assert stats.chisquare(np.bincount(14 * pairs[:, 0] + pairs[:, 1], minlength=196)).pvalue > 1e-4
    turns = [magnitude for plan in plans for name, magnitude in plan if name == "Rotate"]
    assert {abs(turn) for turn in turns} == {9.0}
    assert stats.binomtest(sum(turn < 0 for turn in turns), len(turns)).pvalue > 1e-4


def test_no_operations_leave_the_image() -> None:
    np.testing.assert_array_equal(RandAugment(0)(photo()), photo())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_ops": -1}, "num_ops must be an integer from 0, but got -1"),
        ({"magnitude": 31}, r"magnitude must be an integer in \[0, 30\], but got 31"),
        ({"magnitude": 2.5}, "magnitude must be an integer"),
        ({"num_magnitude_bins": 1}, "num_magnitude_bins must be an integer from 2"),
        ({"interpolation": "bicubic"}, "interpolation must be one of nearest, bilinear"),
    ],
)
def test_wrong_arguments_of_rand_augment(wrong: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        RandAugment(**wrong)
