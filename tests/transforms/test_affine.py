"""Rotations, affine maps and perspective against torchvision's, and the distribution of what they draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace import Compose, DataLoader, RandomAffine, RandomPerspective, RandomRotation, TensorDataset, ToCHW
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.images.layout import Axes
from headrace.rng.context import use_keys
from headrace.transforms import warping
from headrace.transforms.maps import IDENTITY, affine, perspective, rotated_size

CHW = Axes(2, 3, 1)


def photo(height: int = 37, width: int = 29, dtype: Any = np.uint8) -> Any:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    image = np.stack([40 + 4 * x, 30 + 5 * y, 3 * (x + y)]) + rng.integers(0, 25, (3, height, width))
    image = image.clip(0, 255).astype(np.uint8)
    return image if dtype == np.uint8 else (image / 255).astype(dtype)


def warped(image: Any, by: Any, interpolation: str, size: Any = None, fill: Any = 0) -> Any:
    images = image[np.newaxis]
    sampling = warping.sampling_of(fill, interpolation, images, CHW)
    return warping.warp_images(images, CHW, [by], sampling, size)[0]


def assert_near(found: Any, expected: Any, interpolation: str) -> None:
    """Torch computes places in float32: a pixel may come from the neighbour, and floats differ by 1e-4."""
    expected = expected.numpy()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if interpolation == "nearest":
        assert (found != expected).mean() < 0.015
    else:
        np.testing.assert_allclose(found.astype(float), expected, atol=1 if found.dtype == np.uint8 else 3e-5)


# ---------------------------------------------------------------- values, for the same parameters


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("center", [None, (5, 11), (0.0, 30.25)])
@pytest.mark.parametrize("degrees", [0, 13.7, 90, -77, 180, 270, 359.9])
def test_rotations(v2: Any, degrees: float, center: Any, interpolation: str, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    image = photo(dtype=dtype)
    given = None if center is None else list(center)
    expected = v2.functional.rotate(
        torch.from_numpy(image), degrees, v2.InterpolationMode(interpolation), center=given, fill=None
    )
    found = RandomRotation((degrees, degrees), interpolation, center=center, layout="CHW")(image)
    assert_near(found, expected, interpolation)


@pytest.mark.parametrize("size", [(37, 29), (20, 20), (8, 31), (1, 5)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("degrees", [0, 13.7, 45, 90, 135.3, -77, 180, 270])
def test_expanded_rotations(v2: Any, degrees: float, interpolation: str, size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    image = photo(*size)
    expected = v2.functional.rotate(
        torch.from_numpy(image), degrees, v2.InterpolationMode(interpolation), expand=True, fill=None
    )
    found = RandomRotation((degrees, degrees), interpolation, expand=True, layout="CHW")(image)
    assert_near(found, expected, interpolation)


def test_sizes_of_expanded_rotations(v2: Any) -> None:
    geometry = pytest.importorskip("torchvision.transforms.v2.functional._geometry")
    for degrees in np.linspace(-180, 180, 97)[1:-1]:
        for height, width in ((37, 29), (20, 20), (224, 180)):
            if degrees in (-90, 0, 90):
                continue
            matrix = geometry._get_inverse_affine_matrix([0.0, 0.0], -degrees, [0.0, 0.0], 1.0, [0.0, 0.0])
            wide, high = geometry._compute_affine_output_size(matrix, width, height)
            assert rotated_size(degrees, (width / 2, height / 2), (height, width))[1] == (high, wide)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("center", [None, (5.0, 11.0)])
@pytest.mark.parametrize(
    ("degrees", "translate", "scale", "shear"),
    [
        (0, (0, 0), 1, (0, 0)),
        (33, (0, 0), 1, (0, 0)),
        (0, (3, -2), 1, (0, 0)),
        (0, (0, 0), 1.37, (0, 0)),
        (0, (0, 0), 1, (14, 0)),
        (0, (0, 0), 1, (0, -21)),
        (-50, (-4, 7), 0.61, (19, 8)),
    ],
)
def test_affine_maps(
    v2: Any, degrees: Any, translate: Any, scale: Any, shear: Any, center: Any, interpolation: str, dtype: Any
) -> None:
    torch = pytest.importorskip("torch")
    image = photo(dtype=dtype)
    given = None if center is None else list(center)
    expected = v2.functional.affine(
        torch.from_numpy(image),
        float(degrees),
        list(translate),
        scale,
        list(shear),
        v2.InterpolationMode(interpolation),
        center=given,
    )
    by = affine(degrees, translate, scale, shear, center or (29 / 2, 37 / 2))
    assert_near(warped(image, by, interpolation), expected, interpolation)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize(
    "corners",
    [
        [(0, 0), (28, 0), (28, 36), (0, 36)],
        [(3, 1), (22, 4), (27, 30), (2, 33)],
        [(7, 9), (20, 0), (28, 27), (0, 36)],
    ],
)
def test_perspectives(v2: Any, corners: Any, interpolation: str, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    image = photo(dtype=dtype)
    start = [[0, 0], [28, 0], [28, 36], [0, 36]]
    end = [list(corner) for corner in corners]
    expected = v2.functional.perspective(torch.from_numpy(image), start, end, v2.InterpolationMode(interpolation))
    found = warped(image, perspective(corners, (37, 29)), interpolation)
    if dtype == np.float32 and interpolation == "bilinear":  # torch solves for the map in float32
        np.testing.assert_allclose(found, expected.numpy(), atol=2e-4)
    else:
        assert_near(found, expected, interpolation)


def test_a_fill_lies_around_the_image(v2: Any) -> None:
    torch = pytest.importorskip("torch")
    image = photo()
    for fill in (7, (1, 2, 3)):
        found = RandomAffine((31, 31), fill=fill, layout="CHW")(image)
        given = list(fill) if isinstance(fill, tuple) else fill
        expected = v2.functional.affine(torch.from_numpy(image), 31.0, [0, 0], 1.0, [0, 0], fill=given)
        assert_near(found, expected, "nearest")
    assert (RandomRotation((45, 45), "bilinear", fill=9, layout="CHW")(image)[:, 0, 0] == 9).all()


@pytest.mark.parametrize("dtype", ["?", "i2", "i8", "f2", "f8", "u2"])
def test_numbers_of_other_types(dtype: str) -> None:
    image = (photo(dtype=np.float64) * 200).astype(dtype)
    found = RandomRotation((90, 90), layout="CHW")(image[:, :20, :20])
    np.testing.assert_array_equal(found, np.rot90(image[:, :20, :20], axes=(1, 2)))
    if dtype != "?":
        between = RandomRotation((20, 20), "bilinear", layout="CHW")(image)
        expected = RandomRotation((20, 20), "bilinear", layout="CHW")(image.astype(np.float64))
        np.testing.assert_allclose(between.astype(float), expected, atol=0.5, rtol=2e-3)
    else:
        with pytest.raises(ArgumentTypeError, match="interpolation='bilinear' takes integers and floating-point"):
            RandomRotation((20, 20), "bilinear", layout="CHW")(image)


# ---------------------------------------------------------------- what is drawn


def numbers_of(transform: Any, count: int = 4000, extent: tuple[int, int] = (60, 40)) -> Any:
    with use_keys(7, np.arange(count)):
        return np.array(transform.maps(count, extent))


def uniform(numbers: Any, low: float, high: float) -> bool:
    stats = pytest.importorskip("scipy.stats")
    return bool(stats.kstest(numbers, stats.uniform(low, high - low).cdf).pvalue > 1e-3)


def test_angles_are_uniform() -> None:
    maps = numbers_of(RandomRotation((-20, 70)))
    assert uniform(np.degrees(np.arctan2(maps[:, 3], maps[:, 0])), -20, 70)
    maps = numbers_of(RandomAffine(15))
    assert uniform(np.degrees(np.arctan2(maps[:, 1], maps[:, 0])), -15, 15)


def test_affine_parameters_are_uniform_and_apart() -> None:
    stats = pytest.importorskip("scipy.stats")
    maps = numbers_of(RandomAffine(0, translate=(0.5, 0.25), scale=(0.5, 2), center=(0, 0)))
    scales = 1 / maps[:, 0]
    assert uniform(scales, 0.5, 2)
    right, down = -maps[:, 2] * scales, -maps[:, 5] * scales
    assert np.abs(right - np.rint(right)).max() < 1e-9
    right, down = np.rint(right), np.rint(down)
    assert (right.min(), right.max(), down.min(), down.max()) == (-20, 20, -15, 15)
    assert stats.chisquare(np.bincount(right.astype(int) + 20)[1:-1]).pvalue > 1e-3
    assert abs(np.corrcoef([right, down, scales])[np.triu_indices(3, 1)]).max() < 0.06
    maps = numbers_of(RandomAffine(0, shear=(-10, 20, 5, 30), center=(0, 0)))
    assert uniform(np.degrees(np.arctan(maps[:, 1])), -10, 20)
    assert uniform(np.degrees(np.arctan(maps[:, 3])), 5, 30)


def test_corners_are_torchvisions(v2: Any) -> None:
    """The same ranges: of 4,000 draws each the least and the largest, and the means."""
    transform = RandomPerspective(0.6, p=1)
    words = np.random.default_rng(0).integers(0, 2**32, (4000, 8)).astype(np.uint32)
    ours = np.array(transform._corners(words, (60, 41))).reshape(4000, 8)
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    seen: list[Any] = []
    geometry = pytest.importorskip("torchvision.transforms.v2._geometry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "_get_perspective_coeffs", lambda start, end: seen.append(np.ravel(end)))
        theirs = v2.RandomPerspective(0.6, p=1)
        for _ in range(4000):
            theirs.make_params([torch.zeros(3, 60, 41)])
    expected = np.array(seen)
    np.testing.assert_array_equal(ours.min(axis=0), expected.min(axis=0))
    np.testing.assert_array_equal(ours.max(axis=0), expected.max(axis=0))
    np.testing.assert_allclose(ours.mean(axis=0), expected.mean(axis=0), atol=0.5)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_a_perspective_comes_as_often_as_p_says(p: float) -> None:
    maps = numbers_of(RandomPerspective(0.9, p=p), 2000)
    moved = (maps != np.array(IDENTITY)).any(axis=1).sum()
    assert abs(moved - 2000 * p) <= 4 * np.sqrt(2000 * p * (1 - p)) + 2000 / 400


# ---------------------------------------------------------------- as transforms

TRANSFORMS: list[Any] = [
    RandomRotation(30),
    RandomRotation(30, "bilinear", fill=0.5),
    RandomAffine(10, (0.1, 0.2), (0.8, 1.2), 5),
    RandomAffine(0, interpolation="bilinear", shear=(-5, 5, -5, 5)),
    RandomPerspective(),
    RandomPerspective(1.0, 0.7, "nearest"),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float16])
def test_a_sample_alone_becomes_what_it_does_in_a_batch(transform: Any, dtype: Any) -> None:
    images = np.stack([photo(dtype=dtype).transpose(1, 2, 0)] * 20)
    before = images.copy()
    dataset = TensorDataset(images).map(Compose([transform, ToCHW()]), field=0)
    batches = [np.concatenate([batch for (batch,) in DataLoader(dataset, size, seed=4)]) for size in (1, 6, 20)]
    assert batches[0].tobytes() == batches[1].tobytes() == batches[2].tobytes()
    assert batches[0].tobytes() != images.transpose(0, 3, 1, 2).tobytes()
    assert (images == before).all()


def test_nothing_is_moved_by_nothing() -> None:
    images = photo()[np.newaxis]
    for transform in (RandomRotation(0), RandomAffine(0), RandomPerspective(p=0)):
        assert transform.apply_batch(images) is images


def test_batches_are_not_expanded() -> None:
    transform = RandomRotation(30, expand=True)
    assert not transform.batched
    assert not transform.keeps_shape
    with pytest.raises(ArgumentError, match="gives images of several sizes; apply it to each of them"):
        transform.apply_batch(np.zeros((2, 4, 4, 3), np.uint8))
    dataset = TensorDataset(np.zeros((8, 32, 32, 3), np.uint8)).map(transform, field=0)
    loader = DataLoader(dataset, batch_size=None, seed=0)
    assert len({image.shape for (image,) in loader}) > 1


def test_tiny_images() -> None:
    for shape in ((1, 1, 3), (1, 7, 1), (2, 2, 3), (0, 4, 3)):
        images = np.ones((30, *shape), np.float32)
        for transform in TRANSFORMS:
            assert transform.apply_in_layout(images, "HWC", batched=True).shape == images.shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomRotation(-1), "degrees as one number must not be negative, but got degrees=-1"),
        (lambda: RandomRotation((1, 2, 3)), "degrees must be 2 finite numbers, but got"),
        (lambda: RandomRotation("9"), "degrees must be 2 finite numbers"),  # type: ignore[arg-type]
        (lambda: RandomRotation(9, "bicubic"), "interpolation must be one of nearest, bilinear"),
        (lambda: RandomRotation(9, center=(1,)), "center must be 2 finite numbers"),
        (lambda: RandomAffine(9, translate=(0.5, 2)), r"translate must be 2 finite numbers in \[0, 1\]"),
        (lambda: RandomAffine(9, scale=(0, 1)), "scale must be two positive numbers"),
        (lambda: RandomAffine(9, shear=(1, 2, 3)), "shear must be 2 or 4 finite numbers"),
        (lambda: RandomPerspective(1.5), r"distortion_scale must be a number in \[0, 1\]"),
        (lambda: RandomPerspective(p=2), "p must be a probability"),
        (lambda: RandomRotation(9, fill=(1, 2))(np.zeros((4, 4, 3), np.uint8)), "fill has 2 values for images with 3"),
        (lambda: RandomRotation(9, fill=300)(np.zeros((4, 4, 3), np.uint8)), "fill=300 cannot be a value of uint8"),
    ],
)
def test_wrong_arguments(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
