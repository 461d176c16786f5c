"""AutoAugment and AugMix against torchvision's: policies, magnitudes, distributions, and what becomes of an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace import AugMix, AutoAugment, AutoAugmentPolicy, DataLoader, TensorDataset
from headrace.errors import ArgumentError
from headrace.rng.context import use_keys
from headrace.transforms import augmix, auto_augment
from headrace.transforms.augment_operations import OPERATIONS
from headrace.transforms.warping import Sampling


def photo(dtype: Any = np.uint8, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:37, :29]
    image = (np.stack([40 + 4 * x, 30 + 5 * y, 3 * (x + y)]) + rng.integers(0, 25, (3, 37, 29))).clip(0, 255)
    return image.astype(np.uint8) if dtype == np.uint8 else (image / 255).astype(dtype)


@pytest.mark.parametrize("name", ["imagenet", "cifar10", "svhn"])
def test_policies_are_torchvisions(v2: Any, name: str) -> None:
    theirs = v2.AutoAugment(v2.AutoAugmentPolicy(name))._policies
    found = [
        [(step.name, step.p, step.magnitude) for step in pair] for pair in auto_augment._pairs(AutoAugmentPolicy(name))
    ]
    assert found == [[(operation, p, magnitude or 0) for operation, p, magnitude in pair] for pair in theirs]
    assert AutoAugment(v2.AutoAugmentPolicy(name)).policy is AutoAugment(name).policy is AutoAugmentPolicy(name)


@pytest.mark.parametrize("extent", [(32, 32), (224, 180)])
@pytest.mark.parametrize("name", ["AutoAugment", "AugMix"])
def test_magnitudes_are_torchvisions(v2: Any, name: str, extent: tuple[int, int]) -> None:
    ours = {"AutoAugment": auto_augment._RANGES, "AugMix": augmix._FULL}[name]
    theirs = getattr(v2, name)._AUGMENTATION_SPACE
    assert set(theirs) == set(ours) - ({"Identity"} if name == "AutoAugment" else set())
    for operation, (numbers, signed) in theirs.items():
        expected = numbers(10, *extent)
        assert ours[operation].signed == signed
        if expected is not None:
            found = np.array([ours[operation].magnitude(place / 9, 2**31, extent) for place in range(10)])
            found = np.round(found) if operation == "Posterize" else found
            np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_pairs_are_equally_likely_and_their_operations_as_likely_as_they_say() -> None:
    stats = pytest.importorskip("scipy.stats")
    count = 25 * 400
    with use_keys(3, np.arange(count)):
        plans = AutoAugment("cifar10").plans(count, (32, 32))
    pairs = auto_augment._pairs(AutoAugmentPolicy.CIFAR10)
    expected: dict[tuple[str, ...], float] = {}
    for one, other in pairs:
        for names, p in (
            ((one.name, other.name), one.p * other.p),
            ((one.name,), one.p * (1 - other.p)),
            ((other.name,), (1 - one.p) * other.p),
            ((), (1 - one.p) * (1 - other.p)),
        ):
            expected[names] = expected.get(names, 0) + p * count / len(pairs)
    found = dict.fromkeys(expected, 0)
    for plan in plans:
        found[tuple(name for name, _ in plan)] += 1
    often = [names for names in expected if expected[names] > 20]
    assert all(found[names] == 0 for names in expected if expected[names] == 0)
    rest = count - sum(expected[names] for names in often)
    numbers = [*(found[names] for names in often), count - sum(found[names] for names in often)]
    assert stats.chisquare(numbers, [*(expected[names] for names in often), rest]).pvalue > 1e-4


def test_shares_of_mixtures_are_dirichlets() -> None:
    stats = pytest.importorskip("scipy.stats")
    with use_keys(3, np.arange(3000)):
        mixtures = AugMix(alpha=2.0, mixture_width=4).plans(3000, (32, 32))
    kept = [mixture.kept for mixture in mixtures]
    assert stats.kstest(kept, stats.beta(2, 2).cdf).pvalue > 1e-3
    shares = np.array([mixture.shares for mixture in mixtures]) / (1 - np.array(kept))[:, np.newaxis]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert stats.kstest(shares[:, 1], stats.beta(2, 6).cdf).pvalue > 1e-3


@pytest.mark.parametrize("all_ops", [True, False])
def test_chains_are_torchvisions(v2: Any, all_ops: bool) -> None:
    stats = pytest.importorskip("scipy.stats")
    with use_keys(3, np.arange(2000)):
        mixtures = AugMix(severity=4, all_ops=all_ops).plans(2000, (32, 32))
    chains = [chain for mixture in mixtures for chain in mixture.chains]
    assert stats.chisquare(np.bincount([len(chain) for chain in chains])[1:]).pvalue > 1e-3
    space = v2.AugMix._AUGMENTATION_SPACE if all_ops else v2.AugMix._PARTIAL_AUGMENTATION_SPACE
    names = [name for chain in chains for name, _ in chain]
    assert set(names) == set(space)
    assert stats.chisquare([names.count(name) for name in space]).pvalue > 1e-3
    turns = sorted({abs(round(by, 6)) for chain in chains for name, by in chain if name == "Rotate"})
    np.testing.assert_allclose(turns, space["Rotate"][0](10, 32, 32).numpy()[:4], atol=1e-5)
    with use_keys(3, np.arange(20)):
        assert {len(chain) for mixture in AugMix(chain_depth=5).plans(20, (9, 9)) for chain in mixture.chains} == {5}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_mixture_is_torchvisions(v2: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its operations and its shares, as we have drawn them."""
    torch = pytest.importorskip("torch")
    for seed in range(12):
        image, transform = photo(dtype, seed), AugMix(alpha=2.0)
        with use_keys(seed, np.arange(1)):
            (plan,) = transform.plans(1, (37, 29))
        with use_keys(seed, np.arange(1)):
            found = AugMix(alpha=2.0, layout="CHW")(image)
        theirs = v2.AugMix(alpha=2.0)
        shares = np.array(plan.shares, np.float32) / np.float32(1 - plan.kept)
        words = iter([np.array([[plan.kept, 1 - plan.kept]], np.float32), shares[np.newaxis]])
        monkeypatch.setattr(theirs, "_sample_dirichlet", lambda _, words=words: torch.from_numpy(next(words)))
        chains = iter(plan.chains)

        def applied(image: Any, *_: Any, chains: Any = chains, **__: Any) -> Any:
            planes, sampling = image[0].numpy(), Sampling(np.zeros(3, dtype), "bilinear")
            for name, magnitude in next(chains):
                planes = OPERATIONS[name](planes, magnitude, sampling)
            return torch.from_numpy(planes)[None]

        monkeypatch.setattr(theirs, "chain_depth", 1)
        monkeypatch.setattr(theirs, "_apply_image_or_video_transform", applied)
        expected = theirs(torch.from_numpy(image)).numpy()
        np.testing.assert_allclose(found.astype(float), expected, atol=1 if dtype == np.uint8 else 1e-6)


@pytest.mark.parametrize("make", [AutoAugment, lambda **how: AutoAugment("svhn", "bilinear", **how), AugMix])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_batch_has_the_bytes_of_single_images(make: Any, dtype: Any) -> None:
    images = np.stack([photo(dtype, seed) for seed in range(30)])
    dataset = TensorDataset(images).map(make(layout="CHW"), field=0)
    (batch,) = DataLoader(dataset, 30, seed=1).batch(0)
    singly = np.concatenate([each for (each,) in DataLoader(dataset, 1, seed=1)])
    assert batch.tobytes() == singly.tobytes()
    assert (batch != images).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AutoAugment("mnist"), "policy must be one of imagenet, cifar10, svhn, but got 'mnist'"),
        (lambda: AugMix(11), r"severity must be an integer in \[1, 10\], but got 11"),
        (lambda: AugMix(mixture_width=0), "mixture_width must be an integer from 1"),
        (lambda: AugMix(chain_depth=-2), "chain_depth must be an integer from -1"),
        (lambda: AugMix(alpha=0), "alpha must be a positive number"),
    ],
)
def test_wrong_arguments(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
