"""The demo: train a small network on handwritten digits, fed by the loader, in a few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from headrace import Compose, DataLoader, Normalize, RandomCrop, TensorDataset, ToFloat, random_split
from headrace.cli.digits import load_digits
from headrace.cli.network import Adam, digits_network
from headrace.cli.sheet import contact_sheet
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from headrace import Dataset
    from headrace.cli.network import Network

__all__ = ["DemoResult", "run"]

_TEST_IMAGES = 360
_SHEET_IMAGES = 72  # a picture of more is no longer a glance

# Mean and spread of the digits' pixels, which go from 0 to 16, on the scale of ToFloat.
MEAN = 4.88 / 255
SPREAD = 6.02 / 255


@dataclass(frozen=True)
class DemoResult:
    """The result of a run of the demo.

    Args:
        accuracy: share of the test images that were recognised.
        images_per_second: training images, over the whole training loop.
        loading_share: share of the training loop that was spent waiting for the loader.
        sheet: where the picture of the first batch lies.

    """

    accuracy: float
    images_per_second: float
    loading_share: float
    sheet: Path


def run(
    epochs: int = 20,
    batch_size: int = 32,
    seed: int = 0,
    out: str | PathLike[str] = "headrace-demo",
    *,
    console: Console | None = None,
) -> DemoResult:
    """Train on the digits, test on those held back, draw the first batch, and print what came of it.

    Args:
        epochs: how often the training images are gone through.
        batch_size: images a step.
        seed: split, order, augmentation and first weights follow from it, so one seed is one result.
        out: the folder for the picture, created if it is not there.
        console: where to print; standard output without it. Terminals also see the progress.

    Returns:
        The figures that are printed.

    Raises:
        ArgumentError: a number is too small, or the folder cannot be written to.

    """
    for name, value, least in (("epochs", epochs, 1), ("batch size", batch_size, 1), ("seed", seed, 0)):
        if value < least:
            raise ArgumentError(f"{name} must be at least {least}, got {value}")
    console = console or Console()
    training, test = _split(*load_digits(), seed)
    with DataLoader(training, batch_size=batch_size, shuffle=True, seed=seed) as loader:
        sheet = _save_sheet(loader, seed, Path(out))
        network = digits_network(seed)
        seconds = _train(network, loader, epochs, console)
        stats = loader.stats()
    result = DemoResult(
        accuracy=_accuracy(network, test),
        images_per_second=stats.samples / seconds,
        loading_share=stats.wait_share,
        sheet=sheet,
    )
    _print(result, console)
    return result


def _split(images: NDArray[Any], labels: NDArray[Any], seed: int) -> tuple[Dataset[Any], Dataset[Any]]:
    """Return training images, moved about by up to a pixel, and test images as they are.

    They are never mirrored: a mirrored 2 is no digit.
    """
    digits = TensorDataset(images, labels)
    training, test = random_split(digits, [len(digits) - _TEST_IMAGES, _TEST_IMAGES], seed=seed)
    as_they_are = Compose([ToFloat(), Normalize(MEAN, SPREAD)])
    augmented = Compose([RandomCrop(8, padding=1), as_they_are])
    return training.map(augmented, field=0), test.map(as_they_are, field=0)


def _save_sheet(loader: DataLoader[Any], seed: int, folder: Path) -> Path:
    """Draw the first batch of the training that follows: any batch can be asked for at any time."""
    images, labels = loader.batch(step=0, epoch=0)
    cut = f", {_SHEET_IMAGES} of {len(images)}" if len(images) > _SHEET_IMAGES else ""
    sheet = contact_sheet(
        images[:_SHEET_IMAGES],
        labels[:_SHEET_IMAGES],
        title=f"digits, seed {seed}, epoch 0, step 0, augmented{cut}",
        layout="HW",
        value_range=((0 - MEAN) / SPREAD, (16 / 255 - MEAN) / SPREAD),
    )
    path = folder / "digits.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except OSError as error:
        raise ArgumentError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
    return path


def _train(network: Network, loader: DataLoader[Any], epochs: int, console: Console) -> float:
    """Train the network and return how many seconds it took."""
    steps = epochs * len(loader)
    adam = Adam(network.parameters, steps)
    seen = 0
    with _progress(console) as progress:
        task = progress.add_task("training", total=steps, loss=0.0, rate=0.0)
        start = perf_counter()
        for _ in range(epochs):
            for images, labels in loader:
                loss = network.loss(_with_channel(images), labels)
                adam.step()
                seen += len(labels)
                progress.update(task, advance=1, loss=loss, rate=seen / (perf_counter() - start))
        return perf_counter() - start


def _accuracy(network: Network, test: Dataset[Any]) -> float:
    right = 0
    for images, labels in DataLoader(test, batch_size=120):
        right += int(np.count_nonzero(network.predict(_with_channel(images)) == labels))
    return right / len(test)


def _with_channel(images: Any) -> Any:
    """Return images of shape (n, h, w) as (n, h, w, 1)."""
    return images[..., np.newaxis]


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TextColumn("{task.fields[rate]:,.0f} images/s"),
        console=console,
        disable=not console.is_interactive,  # files and pipes get the result alone
    )


def _print(result: DemoResult, console: Console) -> None:
    lines = {
        "test accuracy": f"{result.accuracy:.1%}",
        "images a second": f"{result.images_per_second:,.0f}",
        "time spent loading": f"{result.loading_share:.0%}",
        "first batch": str(result.sheet),
    }
    for name, value in lines.items():
        # A path may have letters that the console cannot show, and is only of use if it is not wrapped.
        shown = value.encode(console.encoding, "backslashreplace").decode(console.encoding)
        console.print(Text.assemble((f"{name:22}", "dim"), (shown, "bold")), soft_wrap=True)
