"""ImageDataset and ImageFolder: which files, in which order, and the same images in any worker."""

from __future__ import annotations

import io
import os
import pickle
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import (
    CenterCrop,
    ConcatDataset,
    DataLoader,
    Normalize,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    ToFloat,
    sample_rng,
)
from headrace.datasets.images import ImageDataset, ImageFolder
from headrace.datasets.paths import PackedPaths
from headrace.errors import ArgumentError, ArgumentTypeError, DecodeError, OutOfRangeError
from headrace.io import progress as progress_line
from headrace.pipeline import compile as compiling
from headrace.pipeline import image_plans
from headrace.pipeline.compile import compile_dataset
from headrace.testing import check_dataset, check_same
from headrace.transforms import Compose, Decode, ToCHW

if TYPE_CHECKING:
    from collections.abc import Callable

Image = pytest.importorskip("PIL.Image", reason="Pillow decodes")


def shade(path: Path, value: int = 0, size: tuple[int, int] = (4, 3)) -> Path:
    """A file of one grey, that needs no library to write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P5 %d %d 255 " % size + bytes([value]) * (size[0] * size[1]))
    return path


def shades(folder: Path, count: int) -> list[Path]:
    return [shade(folder / f"{value}.pgm", value) for value in range(count)]


# -- ImageDataset


def test_samples_are_image_and_label(tmp_path: Path) -> None:
    dataset = ImageDataset(shades(tmp_path, 3), [5, 6, 7])
    assert len(dataset) == 3
    image, label = dataset[1]
    np.testing.assert_array_equal(image, np.full((3, 4, 3), 1, np.uint8))
    assert (label, type(label)) == (6, int)
    check_dataset(dataset, negative=True, picklable=True)


def test_the_example_of_the_seed_page(tmp_path: Path) -> None:
    """A dataset of image files whose samples are boxed tensors, loaded in batches."""

    class Tensor:
        def __init__(self, data: Any) -> None:
            self.data = np.array(data, np.float32)
            self.shape = self.data.shape

    image_paths, labels = [], []
    for number in range(10):
        image_paths.append(tmp_path / f"{number}.jpg")
        Image.new("RGB", (8, 6), (20 * number, 0, 0)).save(image_paths[-1])
        labels.append(number % 2)
    dataset = ImageDataset(image_paths, labels).map(lambda sample: (Tensor(sample[0]), Tensor(sample[1])))
    batches = list(DataLoader(dataset, batch_size=4))
    assert [batch.shape for batch, _ in batches] == [(4, 6, 8, 3), (4, 6, 8, 3), (2, 6, 8, 3)]
    assert type(batches[0][0]) is type(batches[0][1]) is Tensor
    assert np.concatenate([labels.data for _, labels in batches]).tolist() == [0, 1] * 5


LABELS: list[Any] = [
    [0, 1, 2],
    (0, 1, 2),
    [0.5, 1.5, 2.5],
    ["a", "b", "c"],
    [True, False, True],
    [0, 1, 2**70],
    range(3),
    np.arange(3, dtype=np.uint8),
    np.eye(3, dtype=np.float32),
    [{"a": 1}, {"b": 2}, {}],
]


@pytest.mark.parametrize("labels", LABELS, ids=repr)
def test_labels_stay_what_they_are(labels: Any, tmp_path: Path) -> None:
    dataset = ImageDataset(shades(tmp_path, 3), labels)
    for index in range(3):
        check_same(dataset[index][1], labels[index])
        assert type(dataset[index][1]) is type(labels[index])


def test_as_many_labels_as_paths(tmp_path: Path) -> None:
    text = "there must be one label a path, but got 3 paths and 2 labels"
    with pytest.raises(ArgumentError, match=f"^{text}$"):
        ImageDataset(shades(tmp_path, 3), [0, 1])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((["a"], 3), "labels is a int without __len__ and __getitem__; a dataset is any object"),
        (("a", [1]), "paths are several, but got only 'a'; put it in a list, or see ImageFolder"),
        ((["a"], [1], "flip"), "transform must be a function of one image or None, but got 'flip'"),
        ((["a"], [1], None, "RGB"), "decode must be a function of one image or None, but got 'RGB'"),
    ],
)
def test_wrong_arguments(arguments: Any, text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"^{re.escape(text)}"):
        ImageDataset(*arguments)


def test_decode_and_transform(tmp_path: Path) -> None:
    paths = shades(tmp_path, 2)
    assert ImageDataset(paths, [0, 1], decode=None)[1][0] == paths[1].read_bytes()
    assert ImageDataset(paths, [0, 1], len, None)[1][0] == len(paths[1].read_bytes())
    assert ImageDataset(paths, [0, 1], ToCHW(), Decode("L"))[1][0].shape == (1, 3, 4)
    assert ImageDataset(paths, [0, 1], decode=lambda data: data[:2])[0] == (b"P5", 0)


def test_which_may_be_read_in_threads(tmp_path: Path) -> None:
    paths = shades(tmp_path, 1)
    assert compile_dataset(ImageDataset(paths, [0])).releases_gil
    assert compile_dataset(ImageDataset(paths, [0], Compose([RandomCrop(2), ToCHW()]), None)).releases_gil
    assert not compile_dataset(ImageDataset(paths, [0], np.sin)).releases_gil
    assert not compile_dataset(ImageDataset(paths, [0], decode=len)).releases_gil

    class Slow(ImageDataset):
        def __getitem__(self, index: int, /) -> Any:
            return super().__getitem__(index)

    assert not compile_dataset(Slow(paths, [0])).releases_gil


def test_methods_of_datasets(tmp_path: Path) -> None:
    dataset = ImageDataset(shades(tmp_path, 3), [0, 1, 2])
    assert dataset.map(lambda image: int(image.max()), field=0)[2] == (2, 2)
    assert dataset.subset([2])[0][1] == 2
    assert (dataset + dataset)[5][1] == 2


def test_indices(tmp_path: Path) -> None:
    dataset = ImageDataset(shades(tmp_path, 3), [0, 1, 2])
    assert dataset[-1][1] == 2
    with pytest.raises(OutOfRangeError, match=r"^Index 3 out of range for dataset of size 3$"):
        dataset[3]


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"Not Found", DecodeError), (b"", DecodeError), (b"P5 4 3 255 abc", DecodeError), (None, FileNotFoundError)],
)
def test_errors_name_the_file(content: bytes | None, error: type[Exception], tmp_path: Path) -> None:
    paths = shades(tmp_path, 6)
    paths[4].unlink() if content is None else paths[4].write_bytes(content)
    dataset = ImageDataset(paths, range(6))
    note = f"while reading the image {str(paths[4])!r}"
    with pytest.raises(error) as caught:
        dataset[4]
    assert caught.value.__notes__ == [note]
    assert getattr(caught.value, "filename", None) == str(paths[4])
    with pytest.raises(error) as caught:
        list(DataLoader(dataset, batch_size=2))
    notes = "\n".join(caught.value.__notes__)
    assert note in notes
    assert "while reading sample 4 of ImageDataset" in notes


def test_errors_of_a_transform_name_the_file_too(tmp_path: Path) -> None:
    dataset = ImageDataset(shades(tmp_path, 1), [0], RandomCrop(100))
    with pytest.raises(ArgumentError, match="crop size") as caught:
        dataset[0]
    assert "0.pgm" in caught.value.__notes__[0]
    assert getattr(caught.value, "filename", "").endswith("0.pgm")


def test_a_name_that_is_wrong_matters_not(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (4, 3), "red").save(path, "PNG")
    assert ImageDataset([path], [0])[0][0].tolist() == [[[255, 0, 0]] * 4] * 3


def test_no_file_stays_open(tmp_path: Path) -> None:
    dataset = ImageDataset(shades(tmp_path, 20), range(20))
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("open files cannot be counted")
    before = len(list(folder.iterdir()))
    kept = [dataset[index] for index in range(20)]
    assert len(list(folder.iterdir())) <= before
    assert len(kept) == 20


def test_small_when_sent() -> None:
    count = 20_000
    dataset = ImageDataset((f"/{number:059d}" for number in range(count)), list(range(count)))
    buffers: list[Any] = []
    assert len(pickle.dumps(dataset, protocol=5, buffer_callback=buffers.append)) < 2000
    assert sum(buffer.raw().nbytes for buffer in buffers) == count * (60 + 8 + 8) + 8
    paths = PackedPaths(["a"])
    assert ImageDataset(paths, [0]).paths is paths


# -- ImageFolder: which files, in which order


def tree(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        shade(root / name, number)
    return root


def found(dataset: ImageFolder) -> list[tuple[str, int]]:
    return [(Path(path).relative_to(dataset.root).as_posix(), label) for path, label in dataset.samples]


def test_torchvisions_order(tmp_path: Path) -> None:
    """Classes by name; in each the folders by their whole path, and in each of these the files by name."""
    names = ["b/2.pgm", "b/10.pgm", "B/z.pgm", "b/sub/0.pgm", "b/sub-x/1.pgm", "b/sub/deep/3.PGM", "a/x.ppm", "é/1.jpg"]
    dataset = ImageFolder(tree(tmp_path, *names))
    assert dataset.classes == ["B", "a", "b", "é"]
    assert dataset.class_to_idx == {"B": 0, "a": 1, "b": 2, "é": 3}
    assert found(dataset) == [
        ("B/z.pgm", 0),
        ("a/x.ppm", 1),
        ("b/10.pgm", 2),
        ("b/2.pgm", 2),
        ("b/sub/0.pgm", 2),
        ("b/sub-x/1.pgm", 2),  # "-" comes before "/"
        ("b/sub/deep/3.PGM", 2),
        ("é/1.jpg", 3),
    ]
    assert [dataset[index][1] for index in range(len(dataset))] == dataset.targets.tolist() == [0, 1, 2, 2, 2, 2, 2, 3]
    check_dataset(dataset, negative=True, picklable=True)


def test_the_order_of_the_recipe_that_torchvision_follows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = ["a", "a-b", "a.b", "a b", "B", "ab", "_"]
    names = {"/".join(rng.choice(parts, rng.integers(2, 5))) + f"/{rng.integers(100)}.pgm" for _ in range(60)}
    root = str(tree(tmp_path, *sorted(names)))
    expected = []
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    for number, name in enumerate(classes):
        for folder, _, files in sorted(os.walk(os.path.join(root, name), followlinks=True)):  # noqa: PTH118
            expected += [(os.path.join(folder, file), number) for file in sorted(files)]  # noqa: PTH118
    dataset = ImageFolder(root)
    assert list(dataset.samples) == expected
    assert len(expected) == len(names)


def test_samples_are_a_sequence(tmp_path: Path) -> None:
    dataset = ImageFolder(tree(tmp_path, "a/1.pgm", "b/1.pgm", "b/2.pgm"))
    for pairs in (dataset.samples, dataset.imgs):
        assert len(pairs) == 3
        assert pairs[-1] == (str(tmp_path / "b" / "2.pgm"), 1)
        assert [label for _, label in pairs] == [0, 1, 1]
        assert pairs[1:] == [pairs[1], pairs[2]]
        assert type(pairs[0][1]) is int
        with pytest.raises(IndexError):
            pairs[3]
    assert type(dataset[0][1]) is int
    assert dataset.targets.dtype == np.int64
    assert dataset.targets.tolist() == [0, 1, 1]


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    names = ["a/1.pgm", "a/README", "a/2.txt", "a/3.JPG", "a/pgm", "a/.pgm", "top.pgm"]
    assert found(ImageFolder(tree(tmp_path, *names))) == [("a/.pgm", 0), ("a/1.pgm", 0), ("a/3.JPG", 0)]
    assert found(ImageFolder(tmp_path, extensions=".txt")) == [("a/2.txt", 0)]
    assert found(ImageFolder(tmp_path, extensions=[".TXT", "README"])) == [("a/2.txt", 0), ("a/README", 0)]


def test_a_function_says_what_an_image_is(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.pgm", "a/README", "a/sub/README")
    dataset = ImageFolder(tmp_path, is_valid_file=lambda path: path.endswith("README"))
    assert found(dataset) == [("a/README", 0), ("a/sub/README", 0)]


def test_links_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    tree(tmp_path / "other", "1.pgm")
    root = tree(tmp_path / "root", "a/1.pgm")
    try:
        (root / "a" / "link").symlink_to(tmp_path / "other")
        (root / "a" / "same").symlink_to(tmp_path / "other")
        (root / "a" / "back").symlink_to(root / "a")
        (root / "a" / "sub").mkdir()
        (root / "a" / "sub" / "up").symlink_to(root / "a")
        (root / "b").symlink_to(tmp_path / "other")
    except OSError:
        pytest.skip("links cannot be made here")
    assert found(ImageFolder(root)) == [("a/1.pgm", 0), ("a/link/1.pgm", 0), ("a/same/1.pgm", 0), ("b/1.pgm", 1)]


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe")
    try:
        tree(tmp_path, f"{name}/{name}.pgm")
    except OSError:
        pytest.skip("this file system has Unicode names only")
    dataset = ImageFolder(tmp_path)
    assert dataset.classes == [name]
    assert dataset[0][0].shape == (3, 4, 3)


def test_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "data", "a/1.pgm")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = [("a/1.pgm", 0)]
    for root in ("data", "data/", b"data", Path("data"), "~/data", str(tmp_path / "data")):
        assert found(ImageFolder(root)) == expected


# -- ImageFolder: errors


def test_no_root(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ImageFolder(tmp_path / "nowhere")


def test_no_classes(tmp_path: Path) -> None:
    shade(tmp_path / "1.pgm")
    text = f"Couldn't find any class folder in {tmp_path}."
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(text)}$"):
        ImageFolder(tmp_path)


def test_empty_classes(tmp_path: Path) -> None:
    tree(tmp_path, "b/1.pgm", "c/1.txt", "a/1.txt")
    text = (
        "Found no valid file for the classes a, c. "
        "Supported extensions are: .jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif, .tiff, .webp"
    )
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(text)}$"):
        ImageFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^Found no valid file for the classes a, b, c\.$"):
        ImageFolder(tmp_path, is_valid_file=lambda path: False)
    dataset = ImageFolder(tmp_path, allow_empty=True)
    assert (dataset.classes, found(dataset)) == (["a", "b", "c"], [("b/1.pgm", 1)])
    assert len(ImageFolder(tmp_path, extensions=".none", allow_empty=True)) == 0


def test_extensions_or_a_function(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^extensions and is_valid_file are mutually exclusive"):
        ImageFolder(tmp_path, extensions=".jpg", is_valid_file=bool)


@pytest.mark.parametrize("extensions", ["", [], [".jpg", ""], [3]])
def test_extensions(extensions: Any, tmp_path: Path) -> None:
    text = f"extensions must be endings of names such as '.jpg', but got {extensions!r}"
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        ImageFolder(tmp_path, extensions=extensions)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    folder = tree(tmp_path, "a/1.pgm", "a/sub/1.pgm") / "a" / "sub"
    folder.chmod(0)
    try:
        with pytest.raises(PermissionError):
            ImageFolder(tmp_path)
    finally:
        folder.chmod(0o700)


# -- ImageFolder: progress


class Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "progress", "patience", "shown"),
    [
        (True, None, 0, True),
        (True, None, 1000, False),
        (False, None, 0, False),
        (True, False, 0, False),
        (False, True, 1000, True),
    ],
)
def test_progress(
    terminal: bool,
    progress: bool | None,
    patience: float,
    shown: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Stream(terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress_line, "_PATIENCE", patience)
    monkeypatch.setattr(progress_line, "_BETWEEN", 0)
    ImageFolder(tree(tmp_path, "a/1.pgm", "b/2.pgm"), progress=progress)
    lines = "".join(f"\rheadrace: {count} images found in {tmp_path}" for count in range(2)) + "\n"
    assert stream.getvalue() == (lines if shown else "")


@pytest.mark.parametrize("progress", [None, True])
def test_progress_without_a_console(progress: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert len(ImageFolder(tree(tmp_path, "a/1.pgm"), progress=progress)) == 1


# -- in a loader


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Noise as JPEG and PNG files of one size, some of them turned."""
    rng = np.random.default_rng(0)
    for number in range(12):
        image = Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8))
        folder = tmp_path / f"class {number % 3}"
        folder.mkdir(exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        image.save(folder / f"{number}.{'png' if number % 2 else 'jpg'}", exif=exif)
    return tmp_path


WORKERS: list[dict[str, Any]] = [
    {"num_workers": 2, "backend": "process"},
    {"num_workers": 2, "backend": "thread"},
    {"num_workers": 2},
]


@pytest.mark.parametrize("workers", WORKERS, ids=repr)
@pytest.mark.parametrize("transform", [None, RandomCrop(16)], ids=repr)
def test_the_same_bytes_from_any_worker(
    photographs: Path, transform: Callable[[Any], Any] | None, workers: dict[str, Any]
) -> None:
    dataset = ImageFolder(photographs, transform)
    arguments: dict[str, Any] = {"batch_size": 5, "shuffle": True, "seed": 0}
    expected = list(DataLoader(dataset, **arguments))
    with DataLoader(dataset, **arguments, **workers) as loader:
        for batch, other in zip(loader, expected, strict=True):
            check_same(batch, other)
    pixels, labels = expected[0]
    assert (pixels.shape, pixels.dtype) == ((5, *(transform.size if transform else (20, 20)), 3), np.uint8)  # type: ignore[attr-defined]
    assert labels.dtype == np.int64


# -- in one pass


@pytest.fixture
def of_many_sizes(tmp_path: Path) -> Path:
    """Noise as JPEG and PNG files of many sizes, some of them turned."""
    rng = np.random.default_rng(0)
    for number in range(12):
        image = Image.fromarray(rng.integers(0, 256, (40 + 3 * number, 90 - 4 * number, 3), np.uint8))
        folder = tmp_path / f"class {number % 3}"
        folder.mkdir(exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        image.save(folder / f"{number}.{'png' if number % 5 == 4 else 'jpg'}", exif=exif)
    return tmp_path


CROP: list[Any] = [RandomResizedCrop(16), RandomHorizontalFlip()]
PIXELS: list[Any] = [ToFloat(), Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), ToCHW()]
FORMS: dict[str, Callable[[Path], Any]] = {
    "transform": lambda root: ImageFolder(root, Compose([*CROP, *PIXELS])),
    "map": lambda root: ImageFolder(root).map(Compose([*CROP, *PIXELS]), field=0),
    "maps": lambda root: ImageFolder(root).map(Compose(CROP), field=0).map(Compose(PIXELS), field=0),
    "transform and map": lambda root: ImageFolder(root, Compose(CROP)).map(Compose(PIXELS), field=0),
    "map of bytes": lambda root: ImageFolder(root, decode=None).map(Compose([Decode(), *CROP, *PIXELS]), field=0),
    "maps of bytes": lambda root: ImageFolder(root, decode=None).map(Decode(), field=0).map(Compose(CROP), field=0),
    "subset": lambda root: ImageFolder(root).subset(range(1, 11)).map(Compose([*CROP, *PIXELS]), field=0),
    "evaluation": lambda root: ImageFolder(root, Compose([Resize(30), CenterCrop(24), *PIXELS])),
    "lines repeated": lambda root: ImageFolder(root, Compose([Resize((20, 21)), Pad(3, 0, "reflect"), *PIXELS])),
    "lines of several sizes": lambda root: ImageFolder(
        root, Compose([Resize(20), RandomCrop((26, 24), 3, padding_mode="edge"), *PIXELS])
    ),
    "and a function": lambda root: ImageFolder(root, Compose([*CROP, np.negative])),
    "maps of several fields": lambda root: (
        ImageFolder(root).map(Compose(CROP), field=0).map(noisy, field=1).map(Compose(PIXELS), field=0)
    ),
    "another field last": lambda root: ImageFolder(root, Compose([*CROP, *PIXELS])).map(noisy, field=1),
}
HALVES = [range(5), range(5, 12)]
END_TO_END: dict[str, Callable[[Path], Any]] = {
    "map": lambda root: halves(root, ImageFolder).map(Compose([*CROP, *PIXELS]), field=0),
    "maps of several fields": lambda root: (
        halves(root, ImageFolder).map(Compose(CROP), field=0).map(noisy, field=1).map(Compose(PIXELS), field=0)
    ),
    "transforms and a map": lambda root: halves(root, lambda root: ImageFolder(root, RandomHorizontalFlip())).map(
        Compose([*CROP, *PIXELS]), field=0
    ),
    "maps and a map": lambda root: halves(root, lambda root: ImageFolder(root).map(Compose(CROP), 0)).map(
        Compose(PIXELS), field=0
    ),
    "subset": lambda root: (halves(root, ImageFolder) + ImageFolder(root)).subset(range(3, 18)).map(Compose(CROP), 0),
    "decoded with another limit": lambda root: (
        ImageFolder(root, decode=Decode(max_pixels=9999)) + ImageFolder(root)
    ).map(Compose([*CROP, *PIXELS]), field=0),
    "maps of bytes": lambda root: halves(root, lambda root: ImageFolder(root, decode=None)).map(
        Compose([Decode(), *CROP]), field=0
    ),
    "another field": lambda root: halves(root, lambda root: ImageFolder(root, Compose(CROP))).map(noisy, field=1),
}


def halves(root: Path, make: Callable[[Path], Any]) -> Any:
    """A dataset end to end with itself, each a half of it."""
    return ConcatDataset([make(root).subset(half) for half in HALVES])


def noisy(label: Any) -> Any:
    """A label that is random, and made one at a time."""
    return label + int(sample_rng().integers(1000))


@pytest.mark.parametrize("workers", [{}, *WORKERS[1:]], ids=repr)
@pytest.mark.parametrize(
    "form", [*FORMS.values(), *END_TO_END.values()], ids=[*FORMS, *(f"end to end: {each}" for each in END_TO_END)]
)
@pytest.mark.usefixtures("by_value")
def test_a_batch_in_one_pass_is_what_samples_are(
    form: Callable[[Path], Any], workers: dict[str, Any], of_many_sizes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = form(of_many_sizes)
    assert compile_dataset(dataset).reads_batches
    singly = list(DataLoader(dataset, 1, shuffle=True, seed=5))
    passes = []
    make: Any = vars(image_plans)["make_batch"]

    def counting(*arguments: Any) -> Any:
        passes.append(len(arguments[0]))
        return make(*arguments)

    monkeypatch.setattr(image_plans, "make_batch", counting)
    with DataLoader(dataset, 5, shuffle=True, seed=5, **workers) as loader:
        batches = list(loader)
    assert sum(passes) == len(dataset) or workers == {"num_workers": 2}  # which may be processes
    for field in range(2):
        expected = np.concatenate([batch[field] for batch in singly])
        check_same(np.concatenate([batch[field] for batch in batches]), expected)


CUT: list[Any] = [RandomCrop(24, padding=0), RandomHorizontalFlip()]
STEPS: dict[str, Callable[[Any], Any]] = {
    "a map": lambda images: images.map(Compose([*CUT, *PIXELS]), field=0),
    "maps": lambda images: images.map(Compose(CUT), field=0).map(Compose(PIXELS), field=0),
    "maps of several fields": lambda images: images.map(Compose(CUT), 0).map(noisy, 1).map(Compose(PIXELS), 0),
    "another field last": lambda images: images.map(Compose(CUT), field=0).map(noisy, field=1),
    "one more subset": lambda images: images.map(Compose(CUT), field=0).subset(range(2, 11)).map(ToFloat(), field=0),
    "end to end": lambda images: (images + images).map(Compose(CUT), field=0).map(noisy, field=1),
    "end to end, mapped": lambda images: (images.map(Compose(CUT), 0) + images.map(CUT[0], 0)).map(CUT[1], field=0),
    "end to end in it": lambda images: ((images + images).map(noisy, 1) + images).map(Compose(CUT), field=0),
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_one_pass_draws_and_changes_what_each_step_would(steps: Callable[[Any], Any], of_many_sizes: Path) -> None:
    """By itself a step knows nothing of those below it, or of where the images come from."""
    dataset = steps(ImageFolder(of_many_sizes))
    assert compile_dataset(dataset).reads_batches
    found = list(DataLoader(dataset, 5, shuffle=True, seed=5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "_last_decode", lambda steps, begins: 0 if len(steps) == 1 and begins[0] else None)
        patch.setattr(compiling, "_decode_together", lambda *_: None)
        singly = list(DataLoader(dataset, 1, shuffle=True, seed=5))
    for field in range(2):
        expected = np.concatenate([batch[field] for batch in singly])
        check_same(np.concatenate([batch[field] for batch in found]), expected)


def test_folders_that_are_decoded_alike_are_one_pass_together(
    of_many_sizes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    make: Any = vars(image_plans)["make_batch"]

    def counting(*arguments: Any) -> Any:
        passes.append(len(arguments[0]))
        return make(*arguments)

    monkeypatch.setattr(image_plans, "make_batch", counting)
    for form, expected in (("maps of several fields", [6]), ("maps of bytes", [6]), ("transforms and a map", [3, 3])):
        END_TO_END[form](of_many_sizes).get_batch(np.array([0, 6, 5, 1, 11, 4]))
        assert passes == expected
        passes.clear()


@pytest.mark.parametrize("form", ["maps of several fields", "transforms and a map", "maps of bytes"])
def test_an_error_of_one_of_several_folders_names_the_file(form: str, of_many_sizes: Path) -> None:
    path = ImageFolder(of_many_sizes).paths[7]
    Path(path).write_bytes(Path(path).read_bytes()[:300])
    with pytest.raises(DecodeError) as caught:
        END_TO_END[form](of_many_sizes).get_batch(np.arange(12)[::-1])
    assert getattr(caught.value, "filename", None) == path
    with pytest.raises(DecodeError) as caught:
        END_TO_END[form](of_many_sizes)[7]
    assert getattr(caught.value, "filename", None) == path


def test_an_error_in_one_pass_names_the_file_and_the_sample(of_many_sizes: Path) -> None:
    dataset = FORMS["map"](of_many_sizes)
    path = Path(dataset.dataset.paths[7])
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DecodeError) as caught:
        dataset.get_batch(np.arange(12))
    assert caught.value.__notes__ == [f"while reading the image {str(path)!r}"]
    assert getattr(caught.value, "filename", None) == str(path)
    with pytest.raises(DecodeError) as caught:
        list(DataLoader(dataset, 4))
    notes = "\n".join(caught.value.__notes__)
    assert str(path) in notes
    assert "sample 7" in notes


@pytest.mark.parametrize("workers", [{}, WORKERS[0]], ids=repr)
@pytest.mark.parametrize(
    "form",
    [*FORMS.values(), lambda root: ImageFolder(root).cache(), END_TO_END["maps of several fields"]],
    ids=[*FORMS, "cache", "end to end"],
)
@pytest.mark.filterwarnings("ignore:sample .* This is the only warning:headrace.HeadraceWarning")
@pytest.mark.usefixtures("by_value")
def test_bad_samples_name_the_file(form: Callable[[Path], Any], workers: dict[str, Any], of_many_sizes: Path) -> None:
    path = ImageFolder(of_many_sizes).paths[4]
    Path(path).write_bytes(Path(path).read_bytes()[:300])
    with DataLoader(form(of_many_sizes), 5, on_error="skip", collate_fn=len, **workers) as loader:
        list(loader)
    assert [bad.path for bad in loader.bad_samples] == [path]
