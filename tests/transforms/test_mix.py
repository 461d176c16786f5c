"""MixUp and CutMix: every pixel and label accounted for, and the same batch for any workers."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, TensorDataset, default_collate
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.rng.context import use_keys
from headrace.transforms import CutMix, MixUp

BOTH: list[Any] = [MixUp, CutMix]
SHAPES = {"HW": (12, 10), "CHW": (3, 12, 10), "HWC": (12, 10, 3)}


def mixed(mix: Any, *batch: Any, key: int = 0) -> Any:
    with use_keys(key, np.arange(len(batch[0]))):
        return mix(*batch)


@given(st.sampled_from(list(SHAPES)), st.sampled_from(["u1", "f4", "f8"]), st.integers(1, 5), st.integers(0, 10**6))
def test_mixup(layout: str, dtype: str, count: int, key: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *SHAPES[layout])).astype(dtype)
    labels = rng.integers(0, 7, count)
    before = images.copy()
    out, soft = mixed(MixUp(num_classes=7, layout=layout), images, labels, key=key)
    assert (images == before).all()
    assert out.dtype == dtype
    assert soft.dtype == np.float32
    assert soft.shape == (count, 7)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
    apart = [row for row in range(count) if labels[row] != labels[row - 1]]
    share = soft[apart[0], labels[apart[0]]] if apart else None
    for row in range(count):
        if share is None:
            assert soft[row, labels[row]] == pytest.approx(1)
            continue
        one_hot = np.eye(7)[labels]
        np.testing.assert_allclose(soft[row], share * one_hot[row] + (1 - share) * one_hot[row - 1], atol=1e-6)
        expected = float(share) * images[row] + (1 - float(share)) * images[row - 1].astype(float)
        np.testing.assert_allclose(out[row], expected, atol=0.501 if dtype == "u1" else 1e-4)


@given(st.sampled_from(list(SHAPES)), st.sampled_from(["u1", "f4", "f8"]), st.integers(2, 5), st.integers(0, 10**6))
def test_cutmix(layout: str, dtype: str, count: int, key: int) -> None:
    images = np.stack([np.full(SHAPES[layout], number, dtype) for number in range(count)])
    labels = np.arange(count)
    out, soft = mixed(CutMix(num_classes=count, layout=layout), images, labels, key=key)
    assert out.dtype == dtype
    windows = []
    for row in range(count):
        given_by_other = out[row] != row
        assert (out[row][given_by_other] == (row - 1) % count).all()
        share = 1 - given_by_other.mean()
        assert soft[row, row] == pytest.approx(share, abs=1e-6)
        assert soft[row, row - 1] == pytest.approx(1 - share, abs=1e-6)
        planes = np.moveaxis(given_by_other, 0, -1) if layout == "CHW" else given_by_other
        planes = planes.reshape(12, 10, -1)
        assert (planes == planes[..., :1]).all()
        windows.append(planes[..., 0])
    assert all((window == windows[0]).all() for window in windows)
    height, width = windows[0].any(1).sum(), windows[0].any(0).sum()
    assert windows[0].sum() == height * width


def shares(mix: Any, count: int = 3000) -> Any:
    images = np.zeros((2, 1, 32, 32), np.float32)
    return np.array([mixed(mix, images, np.array([0, 1]), key=key)[1][0, 0] for key in range(count)])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_is_beta(alpha: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    of_mixup = shares(MixUp(alpha=alpha, num_classes=2))
    assert stats.kstest(of_mixup, stats.beta(alpha, alpha).cdf).pvalue > 1e-4


def test_the_window_takes_the_share_where_it_is_not_cut_off() -> None:
    drawn = shares(CutMix(num_classes=2), 2000)
    assert 0.6 < drawn.mean() < 0.75  # more than a half, since windows end with the image
    images = np.stack([np.zeros((64, 64)), np.ones((64, 64))])
    places = []
    for key in range(2000):
        out = mixed(CutMix(num_classes=2), images, np.array([0, 1]), key=key)[0][0]
        if out.any() and not out[[0, -1]].any() and not out[:, [0, -1]].any():
            rows, columns = np.flatnonzero(out.any(1)), np.flatnonzero(out.any(0))
            assert len(rows) == len(columns)  # as high as wide, as the image is
            places.append((rows.mean() / 64, columns.mean() / 64))
    assert np.abs(np.mean(places, 0) - 0.5).max() < 0.05


# ---------------------------------------------------------------- in a loader


@pytest.mark.parametrize("kind", BOTH)
def test_in_a_collate_fn_a_batch_is_a_function_of_its_place(kind: Any) -> None:
    dataset = TensorDataset(np.random.default_rng(0).random((30, 3, 8, 8), np.float32), np.arange(30) % 5)
    mix = kind(num_classes=5)

    def collate(samples: Any) -> Any:
        return mix(*default_collate(samples))

    def load(workers: int) -> list[Any]:
        loader = DataLoader(dataset, 8, shuffle=True, seed=1, collate_fn=collate, num_workers=workers, backend="thread")
        with loader:
            return [array.tobytes() for _ in range(2) for batch in loader for array in batch]

    alone = load(0)
    assert load(0) == alone
    assert load(2) == alone
    assert len(set(alone)) == len(alone)
    loader = DataLoader(dataset, 8, shuffle=True, seed=1, collate_fn=collate)
    assert [array.tobytes() for array in loader.batch(2, epoch=0)] == alone[4:6]


@pytest.mark.parametrize("kind", BOTH)
def test_outside_a_loader_random_seed_reproduces_it(kind: Any) -> None:
    images, labels = np.random.default_rng(0).random((4, 8, 8)), np.arange(4)
    state = random.getstate()
    out = []
    for _ in range(2):
        random.seed(7)
        out.append([kind(num_classes=4)(images, labels)[0].tobytes() for _ in range(3)])
    random.setstate(state)
    assert out[0] == out[1]
    assert len(set(out[0])) == 3


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize("kind", BOTH)
def test_labels_of_several_kinds(kind: Any) -> None:
    images, labels = np.random.default_rng(0).random((4, 3, 8, 8), np.float32), np.array([0, 2, 1, 2])
    expected = mixed(kind(num_classes=3), images, labels)[1]
    rows = np.eye(3, dtype=np.float32)[labels]
    for mix, given_labels in (
        (kind(num_classes=3), labels.tolist()),
        (kind(num_classes=3), labels.astype(np.uint8)),
        (kind(num_classes=3), rows),
        (kind(), rows),
        (kind(), rows.astype(np.float64)),
        (kind(), rows.astype(int)),
    ):
        soft = mixed(mix, images, given_labels)[1]
        assert soft.dtype == np.float32
        assert (soft == expected).all()
    with use_keys(0, np.arange(4)):
        assert (kind(num_classes=3)((images, labels))[1] == expected).all()  # a pair


@pytest.mark.parametrize("kind", BOTH)
def test_tensors_come_back_as_tensors(kind: Any) -> None:
    torch = pytest.importorskip("torch")
    images, labels = np.random.default_rng(0).random((4, 3, 8, 8), np.float32), np.arange(4)
    expected = mixed(kind(num_classes=4), images, labels)
    out = mixed(kind(num_classes=4), torch.from_numpy(images), torch.from_numpy(labels))
    for tensor, array in zip(out, expected, strict=True):
        assert isinstance(tensor, torch.Tensor)
        assert (tensor.numpy() == array).all()


@pytest.mark.parametrize("kind", BOTH)
def test_no_images(kind: Any) -> None:
    images, soft = kind(num_classes=3)(np.zeros((0, 3, 8, 8), np.float32), np.zeros(0, int))
    assert images.shape == (0, 3, 8, 8)
    assert soft.shape == (0, 3)


def test_repr() -> None:
    assert repr(MixUp(alpha=0.5, num_classes=10)) == "MixUp(alpha=0.5, num_classes=10, layout=None)"


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("kind", BOTH)
def test_errors_of_arguments(kind: Any) -> None:
    for alpha in (0, -1, math.nan, math.inf, "1", True, None):
        with pytest.raises(ArgumentError, match="alpha must be a positive number, but got alpha="):
            kind(alpha=alpha, num_classes=3)
    for classes in (0, -1, 2.0, "3", True):
        with pytest.raises(ArgumentError, match="num_classes must be a positive integer or None, but got num_classes="):
            kind(num_classes=classes)
    with pytest.raises(ArgumentError, match="layout must be 'HW', 'CHW', 'HWC' or None, but got layout='NCHW'"):
        kind(num_classes=3, layout="NCHW")


@pytest.mark.parametrize("kind", BOTH)
def test_errors_of_batches(kind: Any) -> None:
    images, labels = np.zeros((4, 3, 8, 8), np.float32), np.array([0, 1, 2, 3])
    mix = kind(num_classes=4)
    with pytest.raises(ArgumentError, match=r"labels must be in \[0, 3\), but got 0 \.\.\. 3"):
        kind(num_classes=3)(images, labels)
    with pytest.raises(ArgumentError, match=r"but got int64 of shape \(4,\) and num_classes=None; use it on batches"):
        kind()(images, labels)
    with pytest.raises(ArgumentError, match=r"but got float64 of shape \(4, 3\) and num_classes=4"):
        mix(images, np.zeros((4, 3)))
    with pytest.raises(ArgumentError, match=r"but got int64 of shape \(\) and num_classes=4; use it on batches, in a"):
        mix(images[0], labels[0])
    with pytest.raises(ArgumentError, match="there are 4 images, but 3 labels"):
        mix(images, labels[:3])
    with pytest.raises(ArgumentError, match="images and labels were expected, but got 1 values"):
        mix(images)
    with pytest.raises(ArgumentTypeError, match="takes uint8 or floating-point images, but got int64; put ToFloat"):
        mix(images.astype(int), labels)
    with pytest.raises(ArgumentTypeError, match=r"images must be an array on the host, but got a builtins\.list"):
        mix(images.tolist(), labels)
