"""TrivialAugmentWide: its operations against Pillow, and against torchvision where that is installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, TensorDataset, TrivialAugmentWide
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.keys import use_keys
from headrace.transforms import augment, operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

OPERATIONS = list(augment._OPERATIONS)


def photo(height: int = 37, width: int = 29, seed: int = 0, channels: int = 3) -> NDArray[np.uint8]:
    """Planes with smooth parts and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([40 + 4 * x, 30 + 5 * y, 3 * (x + y)])[:channels]
    return (ramps + rng.integers(0, 25, ramps.shape)).clip(0, 255).astype(np.uint8)


def operated(name: str, image: NDArray[Any], magnitude: float, fill: float = 0) -> NDArray[Any]:
    planes = np.full((len(image), 1), fill, image.dtype)
    return augment._OPERATIONS[name].apply(image, magnitude, planes)


def pillow(image: NDArray[np.uint8], change: Callable[[Any], Any]) -> NDArray[np.uint8]:
    pil = pytest.importorskip("PIL.Image")
    return np.asarray(change(pil.fromarray(image.transpose(1, 2, 0)))).transpose(2, 0, 1)


# ---------------------------------------------------------------- against Pillow


def matrix(*numbers: float) -> Callable[[Any], Any]:
    def change(image: Any) -> Any:
        pil = pytest.importorskip("PIL.Image")
        return image.transform(image.size, pil.Transform.AFFINE, numbers, pil.Resampling.NEAREST, fillcolor=(7, 7, 7))

    return change


MOVES: dict[str, tuple[str, float, Callable[[Any], Any]]] = {
    "shear x": ("ShearX", 0.3, matrix(1, 0.3, 0, 0, 1, 0)),
    "shear x back": ("ShearX", -0.7, matrix(1, -0.7, 0, 0, 1, 0)),
    "shear y": ("ShearY", 0.4, matrix(1, 0, 0, 0.4, 1, 0)),
    "right": ("TranslateX", 5.9, matrix(1, 0, -5, 0, 1, 0)),
    "left": ("TranslateX", -5.9, matrix(1, 0, 5, 0, 1, 0)),
    "down": ("TranslateY", 3.2, matrix(1, 0, 0, 0, 1, -3)),
    "rotate": ("Rotate", 31.0, lambda image: image.rotate(31, fillcolor=(7, 7, 7))),
    "rotate back": ("Rotate", -117.3, lambda image: image.rotate(-117.3, fillcolor=(7, 7, 7))),
    "rotate by nothing": ("Rotate", 0.0, lambda image: image),
}


@pytest.mark.parametrize("move", MOVES)
def test_moves_are_pillows(move: str) -> None:
    name, magnitude, change = MOVES[move]
    image = photo()
    found, expected = operated(name, image, magnitude, fill=7), pillow(image, change)
    # Pillow counts in 1/65536 of a pixel, so a few pixels may come from the neighbour
    assert (found != expected).any(axis=0).mean() < 0.01


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


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_torchvisions(v2: Any, name: str, dtype: Any) -> None:
    torch = sys.modules["torch"]
    image = photo() if dtype == np.uint8 else (photo() / np.float32(255)).astype(np.float32)
    operation = augment._OPERATIONS[name]
    for place in np.linspace(0, 1, 7):
        for sign in (-1, 1) if operation.signed else (1,):
            magnitude = sign * (operation.least + (operation.most - operation.least) * place)
            magnitude = round(magnitude) if name == "Posterize" else magnitude
            expected = v2.TrivialAugmentWide()._apply_image_or_video_transform(
                torch.from_numpy(image), name, magnitude, v2.InterpolationMode.NEAREST, {torch.Tensor: [0.0]}
            )
            found = operated(name, image, magnitude)
            if name.startswith(("Shear", "Translate", "Rotate")):
                assert (found != expected.numpy()).mean() < 0.01  # a middle on the edge between two pixels
            else:
                np.testing.assert_allclose(found, expected.numpy(), atol=1 if dtype == np.uint8 else 1e-5)


def test_magnitudes_are_torchvisions(v2: Any) -> None:
    assert list(v2.TrivialAugmentWide._AUGMENTATION_SPACE) == OPERATIONS
    for name, (magnitudes, signed) in v2.TrivialAugmentWide._AUGMENTATION_SPACE.items():
        operation, expected = augment._OPERATIONS[name], magnitudes(31, 32, 32)
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

        return augment._OPERATIONS[name]._replace(apply=apply)

    for name in OPERATIONS:
        monkeypatch.setitem(augment._OPERATIONS, name, noting(name))
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
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float16, np.float64])
def test_a_batch_has_the_bytes_of_single_images(layout: str, dtype: Any) -> None:
    images = np.stack([photo(seed=seed) for seed in range(50)])
    images = images if dtype == np.uint8 else (images / 255).astype(dtype)
    images = {"CHW": images, "HWC": images.transpose(0, 2, 3, 1), "HW": images[:, 0]}[layout]
    dataset = TensorDataset(np.ascontiguousarray(images)).map(TrivialAugmentWide(layout=layout), field=0)
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
        operated(name, image, augment._OPERATIONS[name].most)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 7, 1), (2, 2)])
def test_tiny_images(shape: tuple[int, ...]) -> None:
    with use_keys(0, np.arange(200)):
        assert TrivialAugmentWide().apply_batch(np.ones((200, *shape), np.uint8)).shape == (200, *shape)


def test_flat_channels_stay() -> None:
    flat = np.full((3, 5, 5), 9, np.uint8)
    assert (operations.autocontrast(flat) == 9).all()
    assert (operations.equalize(flat) == 9).all()


def test_wrong_arguments() -> None:
    for wrong in (1, 0, -3, 2.0, True, None):
        with pytest.raises(ArgumentError, match="num_magnitude_bins must be an integer from 2, but got"):
            TrivialAugmentWide(wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="TrivialAugmentWide takes images of 1 or 3 channels, but got 4"):
        TrivialAugmentWide()(np.zeros((5, 5, 4), np.uint8))
    with pytest.raises(
        ArgumentTypeError, match="TrivialAugmentWide takes uint8 or floating-point images, but got int16"
    ):
        TrivialAugmentWide()(np.zeros((3, 5, 5), np.int16))
    with pytest.raises(ArgumentError, match="fill has 2 values for images with 3 channels"):
        TrivialAugmentWide(fill=(1, 2))(np.zeros((5, 5, 3), np.uint8))
