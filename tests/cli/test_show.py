"""Sheets of a batch: which images and labels stand on them, before and after, and what is refused."""

from __future__ import annotations

import base64
import io
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from headrace import (
    Compose,
    CutMix,
    DataLoader,
    ImageTransform,
    Normalize,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    StackDataset,
    TensorDataset,
    ToCHW,
    ToFloat,
    default_collate,
    sample_rng,
)
from headrace.cli import show
from headrace.cli.fields import find_images, find_labels
from headrace.cli.main import main
from headrace.cli.plain import without_random
from headrace.cli.sheet import GUTTER, LABEL_HEIGHT, MARGIN
from headrace.errors import ArgumentError, OutOfRangeError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
LABELS = np.arange(40)
FLIPS = [RandomHorizontalFlip(1.0), RandomVerticalFlip(1.0)]
SCALE = show.SIDE // 8
TOP = 36 + 22 + 18  # below the title


class Drawn(ImageTransform):
    """A transform of a user's own that draws."""

    def transform(self, images: NDArray[Any], axes: Any) -> NDArray[Any]:
        return (images + sample_rng().integers(1, 9)).astype(images.dtype)


def seen(sheet: show.Sheet, columns: int, count: int, *, paired: bool = True) -> list[list[NDArray[Any]]]:
    """The images that lie on a sheet of images of 8 x 8, each before and after if paired, in their own size."""
    pixels = np.asarray(sheet.image)
    side = SCALE * 8
    wide = 2 * side + show.GAP if paired else side
    left = (pixels.shape[1] - (columns * (wide + GUTTER) - GUTTER)) // 2
    found = []
    for number in range(count):
        row, column = divmod(number, columns)
        y, x = TOP + row * (side + LABEL_HEIGHT), left + column * (wide + GUTTER)
        cells = [x, x + side + show.GAP] if paired else [x]
        found.append([pixels[y : y + side : SCALE, at : at + side : SCALE] for at in cells])
    return found


@pytest.mark.parametrize(
    "chain",
    [
        FLIPS,
        [*FLIPS, ToCHW()],
        [*FLIPS, ToFloat()],
        [*FLIPS, ToFloat(), Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), ToCHW()],
        [Compose(FLIPS), ToFloat(), ToCHW(), Normalize(0.5, 0.25)],
    ],
)
def test_each_image_before_and_after(chain: list[Any]) -> None:
    loader = DataLoader(TensorDataset(IMAGES, LABELS).map(Compose(chain), field=0), 4, shuffle=True, seed=7)
    sheet = show.sheet(loader, step=3, epoch=2)
    indices = loader.batch(3, 2)[1]
    for index, (before, after) in zip(indices, seen(sheet, 2, 4), strict=True):
        np.testing.assert_allclose(before, IMAGES[index], atol=1)
        np.testing.assert_allclose(after, IMAGES[index][::-1, ::-1], atol=1)


def test_nothing_random_is_one_image_each() -> None:
    loader = DataLoader(TensorDataset(IMAGES, LABELS).map(ToFloat(), field=0), 4, seed=0)
    for number, (image,) in enumerate(seen(show.sheet(loader), 3, 4, paired=False)):
        np.testing.assert_allclose(image, IMAGES[number], atol=1)


def test_a_step_an_epoch_and_a_seed_are_one_sheet() -> None:
    dataset = TensorDataset(IMAGES, LABELS).map(RandomHorizontalFlip(), field=0)

    def pixels(**how: Any) -> bytes:
        return np.asarray(show.sheet(dataset, **how).image)[TOP:].tobytes()

    assert pixels(step=1, epoch=2, seed=3, batch_size=8) == pixels(step=1, epoch=2, seed=3, batch_size=8)
    assert len({pixels(), pixels(step=1), pixels(epoch=1), pixels(seed=1), pixels(batch_size=8)}) == 5
    unseeded = DataLoader(dataset, 16, shuffle=True)
    assert pixels() == np.asarray(show.sheet(unseeded).image)[TOP:].tobytes()


def test_what_others_draw_is_not_disturbed() -> None:
    random.seed(1)
    expected = random.random()  # noqa: S311 - not a secret
    random.seed(1)
    show.sheet(TensorDataset(IMAGES, LABELS).map(Compose([*FLIPS, Drawn()]), field=0))
    assert random.random() == expected  # noqa: S311


@dataclass
class Photo:
    pixels: Any
    name: str


class Photos:
    """A dataset of a user's own, with a transform as torchvision's have it."""

    def __init__(self, transform: Any, kind: Any) -> None:
        self.transform = transform
        self.kind = kind

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> Any:
        return self.kind(self.transform(IMAGES[index]), f"no {index}")


@pytest.mark.parametrize(
    "kind", [lambda *sample: sample, lambda x, y: {"image": x, "label": y}, Photo], ids=["tuple", "dict", "dataclass"]
)
def test_datasets_of_any_samples(kind: Any) -> None:
    def noisy(image: Any) -> Any:
        return (image // 2 + np.random.randint(0, 9, image.shape)).astype(np.uint8)  # noqa: NPY002

    sheet = show.sheet(DataLoader(Photos(Compose([noisy, FLIPS[0]]), kind), 4, seed=0))
    for number, (before, after) in enumerate(seen(sheet, 2, 4)):
        assert (before == IMAGES[number]).all()
        assert abs(after.astype(int) - IMAGES[number][:, ::-1] // 2).max() < 9


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    planes = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255

    def maybe(image: Any) -> Any:
        return image.flip(2) if torch.rand(1) < 2 else image

    dataset = TensorDataset(planes, torch.arange(40)).map(maybe, field=0)
    for number, (before, after) in enumerate(seen(show.sheet(DataLoader(dataset, 4, seed=0)), 2, 4)):
        assert (before == IMAGES[number]).all()
        assert (after == IMAGES[number][:, ::-1]).all()


def test_what_is_drawn_inside_of_a_dataset_has_no_before() -> None:
    class Noise(Photos):
        def __getitem__(self, index: int) -> Any:
            return (IMAGES[index] // 2 + random.randrange(9)).astype(np.uint8), index  # noqa: S311

    sheet = show.sheet(DataLoader(Noise(None, None), 4, seed=0))
    assert len(seen(sheet, 3, 4, paired=False)) == 4
    assert sheet.image.width < 4 * show.SIDE + 2 * MARGIN


def test_random_functions_are_left_out_wherever_they_are() -> None:
    dataset = TensorDataset(IMAGES, LABELS).map(FLIPS[0], field=0).subset([3, 1, 2])
    stacked = StackDataset(dataset, dataset.map(Drawn(), field=0)) + StackDataset(dataset, dataset)
    for index, number in enumerate([3, 1, 2, 3, 1, 2]):
        for image, _ in without_random(stacked)[index]:
            assert (image == IMAGES[number]).all()
    named = StackDataset(image=TensorDataset(IMAGES).map(Drawn(), field=0), label=LABELS)
    assert (without_random(named)[5]["image"][0] == IMAGES[5]).all()


# ---------------------------------------------------------------- fields


@pytest.mark.parametrize(
    "batch",
    [
        (IMAGES, LABELS),
        {"label": LABELS, "image": IMAGES},
        [list(IMAGES), [f"{number}" for number in LABELS]],
        (IMAGES.transpose(0, 3, 1, 2), np.arange(40.0)),
        {"id": np.arange(40) + 7, "image": IMAGES, "target": LABELS},
        {"in": {"image": IMAGES}, "out": {"y": LABELS}},
    ],
)
def test_images_and_labels_are_found(batch: Any) -> None:
    assert np.shape(find_images(batch))[:1] == (40,)
    assert find_labels(batch, 40, None)[:3] == ["0", "1", "2"]


def test_labels_in_words() -> None:
    classes = ["cat", "dog"]
    assert find_labels((np.array([1, 0, 2]),), 3, classes) == ["dog", "cat", "2"]
    assert find_labels((np.array([[0.3, 0.7], [1, 0]]),), 2, classes) == ["dog 0.7, cat 0.3", "cat 1"]
    assert find_labels((np.array([[3.0, 0.7]]), [b"x"]), 1, classes) == ["x"]
    assert find_labels((IMAGES,), 40, classes) == [""] * 40


def test_mixed_batches() -> None:
    mix = CutMix(num_classes=40)
    loader = DataLoader(
        TensorDataset(IMAGES, LABELS), 4, seed=0, collate_fn=lambda samples: mix(default_collate(samples))
    )
    for number, (before, _) in enumerate(seen(show.sheet(loader), 2, 4)):
        assert (before == IMAGES[number]).all()


# ---------------------------------------------------------------- the command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (50 + number, 40), (90 * number, 30, 200)).save(tmp_path / "pets" / name / f"{number}.png")
    (tmp_path / "shown.py").write_text(
        "import numpy as np\n"
        "from headrace import DataLoader, IterableDataset, RandomHorizontalFlip, TensorDataset\n"
        "images = np.arange(40 * 48, dtype=np.uint32).reshape(40, 4, 4, 3).astype(np.uint8)\n"
        "dataset = TensorDataset(images, np.arange(40)).map(RandomHorizontalFlip(), field=0)\n"
        "loader = DataLoader(dataset, 8, seed=0)\n"
        "make = lambda: loader\n"
        "numbers = TensorDataset(np.zeros((40, 3)), np.arange(40))\n"
        "singles = DataLoader(dataset, None, seed=0)\n"
        "class Endless(IterableDataset):\n"
        "    def __iter__(self):\n"
        "        return iter(images)\n"
        "stream = DataLoader(Endless(), 8)\n"
        "def wrong(path): ...\n"
    )
    (tmp_path / "broken.py").write_text("1 / 0\n")
    sys.modules.pop("shown", None)
    return tmp_path


@pytest.mark.parametrize("target", ["pets", "shown:loader", "shown:make", "shown:dataset"])
def test_the_command_writes_a_picture(folder: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    size = 3 if target in ("pets", "shown:dataset") else None
    arguments = ["--step", "1", "--epoch", "2", "--seed", "3", "--out", "out.png"]
    arguments += [] if size is None else ["--batch-size", f"{size}"]
    assert main(["show", target, *arguments]) == 0
    assert capsys.readouterr().out == "out.png\n"
    with Image.open(folder / "out.png") as picture:
        expected = show.sheet(target, 1, 2, 3, size)
        assert picture.tobytes() == expected.image.tobytes()
    page = expected._repr_html_()
    with Image.open(io.BytesIO(base64.b64decode(page.split("base64,")[1].split('"')[0]))) as picture:
        assert picture.tobytes() == expected.image.tobytes()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere"], "'nowhere' is neither a path nor module:object; give files of a dataset, or"),
        (["pets/cat/0.png"], "it cannot be told what pets/cat/0.png is"),
        (["pets/cat"], "pets/cat is: there are no files in it that end in"),
        (["nowhere:loader"], "there is no module 'nowhere' in"),
        (["broken:loader"], "importing broken failed with ZeroDivisionError: division by zero"),
        (["shown:nothing"], "shown has no 'nothing'"),
        (["shown:"], "'shown:' is neither"),
        (["shown:wrong"], "needs arguments (path)"),
        (["shown:numbers"], "the batch has no images: 0: float64 of shape (16, 3), 1: int64 of shape (16,)"),
        (["shown:singles"], "the loader hands out single samples; give it a batch_size"),
        (["shown:stream"], "a stream has no batch to be asked for"),
        (["shown:loader", "--step", "5"], "there is no step 5 in an epoch of 5 steps"),
        (["shown:loader", "--step", "-1"], "step must be a non-negative integer"),
        (["shown:loader", "--batch-size", "4"], "--batch-size is for datasets, but the target is a DataLoader"),
        (["shown:loader", "--seed", "-1"], "seed must be a non-negative integer"),
        (["shown:dataset", "--batch-size", "0"], "batch_size must be a positive integer"),
        (["shown:loader", "--out", "nowhere/out.png"], "cannot write nowhere/out.png: No such file or directory"),
        (["shown:images.shape.nothing"], "shown has no 'images.shape.nothing'"),
    ],
)
def test_what_cannot_be_shown(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert main(["show", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("headrace show: ")
    assert text in error
    assert error.count("\n") == 1


def test_errors_of_the_function() -> None:
    dataset = TensorDataset(IMAGES, LABELS)
    with pytest.raises(OutOfRangeError):
        show.sheet(dataset, step=99)
    with pytest.raises(ArgumentError, match="the target is of type int; give files"):
        show.sheet(3)
