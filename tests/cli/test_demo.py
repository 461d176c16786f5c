from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("rich")
pytest.importorskip("PIL")

from PIL import Image
from rich.console import Console

from headrace.cli import demo
from headrace.cli.digits import load_digits
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from pathlib import Path


def _run(out: Path, **options: Any) -> tuple[demo.DemoResult, str]:
    """Run the demo and return the result with what it printed."""
    text = io.StringIO()
    result = demo.run(out=out, console=Console(file=text, width=100), **options)
    return result, text.getvalue()


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> tuple[demo.DemoResult, str]:
    return _run(tmp_path_factory.mktemp("demo"))


def test_demo_model_learns(default: tuple[demo.DemoResult, str]) -> None:
    assert default[0].accuracy >= 0.95


def test_figures_are_plausible(default: tuple[demo.DemoResult, str]) -> None:
    result, _ = default
    assert result.images_per_second > 1000
    assert 0 < result.loading_share < 1


def test_what_is_printed_is_the_result(default: tuple[demo.DemoResult, str]) -> None:
    result, text = default
    assert f"{result.accuracy:.1%}" in text
    assert f"{result.images_per_second:,.0f}" in text
    assert f"{result.loading_share:.0%}" in text
    assert str(result.sheet) in text


def test_the_same_seed_is_the_same_result(default: tuple[demo.DemoResult, str], tmp_path: Path) -> None:
    again, _ = _run(tmp_path)
    assert again.accuracy == default[0].accuracy
    assert again.sheet.read_bytes() == default[0].sheet.read_bytes()


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    first, _ = _run(tmp_path / "0", seed=0, epochs=1)
    other, _ = _run(tmp_path / "1", seed=1, epochs=1)
    assert first.accuracy != other.accuracy
    assert first.sheet.read_bytes() != other.sheet.read_bytes()


def test_training_and_test_images_do_not_overlap() -> None:
    # Ids in place of labels show which images are where.
    ids = np.arange(1797)
    training, test = demo._split(load_digits()[0], ids, seed=3)
    train_ids = [training[row][1] for row in range(len(training))]
    test_ids = [test[row][1] for row in range(len(test))]
    assert (len(train_ids), len(test_ids)) == (1437, 360)
    assert sorted(train_ids + test_ids) == ids.tolist()


def test_test_images_are_not_augmented() -> None:
    images = load_digits()[0]
    _, test = demo._split(images, np.arange(len(images)), seed=0)
    for row in range(len(test)):
        image, number = test[row]
        assert np.allclose(image, (images[number] / 255 - demo.MEAN) / demo.SPREAD, atol=1e-5)


def test_mean_and_spread_are_those_of_the_digits() -> None:
    pixels = load_digits()[0] / 255
    assert pixels.mean() == pytest.approx(demo.MEAN, rel=1e-2)
    assert pixels.std() == pytest.approx(demo.SPREAD, rel=1e-2)


def test_the_picture_is_a_sheet_of_the_first_batch(default: tuple[demo.DemoResult, str]) -> None:
    with Image.open(default[0].sheet) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 8 * 96


def test_a_terminal_sees_the_progress(tmp_path: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    demo.run(1, out=tmp_path, console=console)
    assert "45/45" in text.getvalue()
    assert "images/s" in text.getvalue()
    assert "loss" in text.getvalue()


def test_batches_larger_than_the_training_set(tmp_path: Path) -> None:
    result, _ = _run(tmp_path, epochs=1, batch_size=5000)
    assert result.images_per_second > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch size must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_numbers_that_are_too_small(options: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=message):
        _run(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []
