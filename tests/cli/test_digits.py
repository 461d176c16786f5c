from __future__ import annotations

import hashlib
from importlib import resources

import numpy as np

from headrace.cli.digits import load_digits


def test_shapes_and_values() -> None:
    images, labels = load_digits()
    assert images.shape == (1797, 8, 8)
    assert labels.shape == (1797,)
    assert images.dtype == labels.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 16)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_every_byte() -> None:
    images, labels = load_digits()
    assert hashlib.sha256(images.tobytes()).hexdigest() == (
        "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
    )
    assert hashlib.sha256(labels.tobytes()).hexdigest() == (
        "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0"
    )


def test_each_call_returns_its_own_arrays() -> None:
    images, _ = load_digits()
    images[:] = 0
    assert load_digits()[0].any()


def test_source_and_licence_lie_beside_the_data() -> None:
    text = resources.files("headrace.cli.digits").joinpath("README.md").read_text(encoding="utf-8")
    for fact in ("archive.ics.uci.edu/dataset/80", "Alpaydin", "Kaynak", "1998", "CC BY 4.0"):
        assert fact in text
