"""Fields that move together, against torchvision's tv_tensors by the same draws, and against one another."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from headrace import (
    CenterCrop,
    ColorJitter,
    Compose,
    DataLoader,
    Decode,
    ElasticTransform,
    GaussianBlur,
    MapDataset,
    Normalize,
    Pad,
    RandAugment,
    RandomAffine,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomOrder,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
    StackDataset,
    TensorDataset,
    ToCHW,
    ToFloat,
)
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.rng.context import use_keys
from headrace.testing import check_dataset
from headrace.transforms.fields import FieldsTransform
from headrace.transforms.maps import perspective

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = (48, 64)
FIELDS = {"image": "image", "mask": "mask", "boxes": "boxes", "keypoints": "points", "labels": "labels"}

CHAINS: dict[str, Callable[[], Any]] = {
    "flips": lambda: Compose([RandomHorizontalFlip(), RandomVerticalFlip()]),
    "a flip alone": lambda: RandomHorizontalFlip(),
    "crop": lambda: Compose([RandomCrop((40, 30), padding=8), ToFloat(), ToCHW()]),
    "crop reflected": lambda: RandomCrop((60, 30), padding=8, pad_if_needed=True, padding_mode="reflect"),
    "center": lambda: CenterCrop((30, 90)),
    "pad": lambda: Pad((3, -2, 5, 4), fill=9),
    "resize": lambda: Resize((30, 100), antialias=False),
    "shorter side": lambda: Resize(30, max_size=35),
    "resized crop": lambda: RandomResizedCrop(32),
    "rotation": lambda: RandomRotation(40),
    "rotation expanded": lambda: RandomRotation(40, "bilinear", expand=True),
    "affine": lambda: RandomAffine(20, (0.1, 0.2), (0.7, 1.2), (-9, 9, -4, 4), "bilinear", fill=(1, 2, 3)),
    "perspective": lambda: RandomPerspective(0.4, 0.8),
    "bent": lambda: ElasticTransform(30.0, 4.0),
    "values": lambda: Compose([ColorJitter(0.4), GaussianBlur(3), RandomErasing(), ToFloat(), Normalize(0.5, 0.5)]),
    "all": lambda: Compose(
        [
            RandomApply([RandomRotation(20), ColorJitter(0.3)]),
            RandomChoice([RandomResizedCrop(40), Compose([RandomCrop(40), RandomVerticalFlip()])]),
            RandomOrder([RandomHorizontalFlip(), RandomAffine(0, (0.2, 0.2)), ColorJitter(0.2)]),
            ToFloat(),
            Normalize(0.5, 0.5),
            ToCHW(),
        ]
    ),
}


def sample(seed: int = 0, count: int = 6) -> dict[str, Any]:
    """An image with bright rectangles, masks of them, and what is around each."""
    rng = np.random.default_rng(seed)
    image, mask = rng.integers(0, 60, (*SIZE, 3), np.uint8), np.zeros(SIZE, np.int64)
    boxes = []
    for number in range(count):
        high, wide = rng.integers(8, 16, 2)
        top, left = rng.integers(0, SIZE[0] - high), rng.integers(0, SIZE[1] - wide)
        boxes.append((left, top, left + wide, top + high))
        mask[top : top + high, left : left + wide] = number + 1
        image[top : top + high, left : left + wide] += 100
    points = rng.random((count, 3, 2)) * [SIZE[1], SIZE[0]]
    return {
        "image": image,
        "mask": mask,
        "boxes": np.array(boxes, np.float32),
        "points": points,
        "labels": np.arange(count),
    }


class Samples:
    """A dataset without a batch path."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return sample(index)


# ---------------------------------------------------------------- the same draws for all


@pytest.mark.parametrize("name", CHAINS)
def test_images_become_what_they_become_alone(name: str) -> None:
    together = MapDataset(Samples(5), CHAINS[name](), FIELDS)
    alone = MapDataset(Samples(5), CHAINS[name](), "image")
    loaders = [DataLoader(dataset, 1, seed=3, collate_fn=lambda samples: samples[0]) for dataset in (together, alone)]
    for found, expected in zip(*loaders, strict=True):
        assert found["image"].tobytes() == expected["image"].tobytes()


@pytest.mark.parametrize("name", CHAINS)
def test_a_mask_is_moved_as_an_image_of_it_is(name: str) -> None:
    """Its classes as grey levels, by the nearest pixel."""
    chain = CHAINS[name]()
    for seed in range(10):
        with use_keys(seed, np.arange(1)):
            found = FieldsTransform(chain, FIELDS)(sample(seed))
        height, width = found["mask"].shape
        assert found["image"].shape[-2:] == (height, width) or found["image"].shape[:2] == (height, width)
        assert found["mask"].dtype == np.int64
        assert set(np.unique(found["mask"])) <= {*range(7), 9}
        bright = found["image"][0] if found["image"].shape[0] == 3 else found["image"][..., 0]
        if name not in ("values", "all"):
            threshold = 80 if bright.dtype == np.uint8 else 80 / 255
            inside = (found["mask"] > 0) & (found["mask"] != 9)
            assert ((bright > threshold) == inside).mean() > 0.9


@pytest.mark.parametrize("name", [name for name in CHAINS if name not in ("bent", "crop reflected")])
def test_boxes_and_points_follow_the_pixels(name: str) -> None:
    """A mask of one rectangle lies in its moved box, and touches its sides where boxes stay upright."""
    chain = CHAINS[name]()
    for seed in range(20):
        one = sample(seed, 1)
        one["points"] = (one["boxes"].reshape(1, 2, 2).mean(axis=1) // 1) + 0.5  # the middle of a pixel
        with use_keys(seed, np.arange(1)):
            found = FieldsTransform(chain, FIELDS)(one)
        rows, columns = np.nonzero(found["mask"] == 1)
        if not len(found["boxes"]):
            assert len(rows) == 0
            assert len(found["labels"]) == 0
            continue
        left, top, right, bottom = found["boxes"][0]
        if len(rows):
            assert left - 1 <= columns.min() <= columns.max() <= right
            assert top - 1 <= rows.min() <= rows.max() <= bottom
        if len(rows) and name in ("flips", "a flip alone", "crop", "center", "pad", "resize"):
            seen = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            np.testing.assert_allclose(found["boxes"][0], seen, atol=0.6)
        x, y = found["points"][0]
        height, width = found["mask"].shape
        if 0 <= x < width and 0 <= y < height:
            assert found["mask"][int(y), int(x)] == 1


@pytest.mark.parametrize("workers", [{}, {"num_workers": 2, "backend": "thread"}])
def test_workers_and_batches_change_nothing(workers: Any) -> None:
    dataset = MapDataset(Samples(12), CHAINS["all"](), FIELDS)
    loader = DataLoader(dataset, 4, seed=3, shuffle=True, collate_fn=lambda samples: samples, **workers)
    found = [each for batch in loader for each in batch]
    loader = DataLoader(dataset, 1, seed=3, shuffle=True, collate_fn=lambda samples: samples)
    expected = [each for batch in loader for each in batch]
    for one, other in zip(found, expected, strict=True):
        assert {name: value.tobytes() for name, value in one.items()} == {
            name: value.tobytes() for name, value in other.items()
        }


def test_outside_of_a_loader_python_s_random_decides() -> None:
    chain = FieldsTransform(CHAINS["all"](), FIELDS)
    random.seed(5)
    first, second = chain(sample()), chain(sample())
    random.seed(5)
    again = chain(sample())
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert first["image"].tobytes() != second["image"].tobytes()


@pytest.mark.parametrize("name", ["flips", "crop", "resized crop", "rotation", "affine", "values", "pad"])
def test_images_and_masks_go_in_batches(name: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, *SIZE, 3), np.uint8)
    masks = rng.integers(0, 9, (20, *SIZE)).astype(np.int16)
    fields = {"image": 0, "mask": 1}
    dataset = TensorDataset(images, masks, np.arange(20)).map(CHAINS[name](), field=fields)
    assert FieldsTransform(CHAINS[name](), fields).batched
    batches = [list(DataLoader(dataset, size, seed=4)) for size in (1, 7, 20)]
    joined = [[np.concatenate(parts) for parts in zip(*each, strict=True)] for each in batches]
    for one, two, three in zip(*joined, strict=True):
        assert one.tobytes() == two.tobytes() == three.tobytes()
    check_dataset(dataset)


def test_chains_of_samples_alone_are_not_batched() -> None:
    assert not FieldsTransform(RandomRotation(9, expand=True), {"image": 0, "mask": 1}).batched
    assert not FieldsTransform(RandomHorizontalFlip(), {"image": 0, "boxes": 1}).batched


# ---------------------------------------------------------------- torchvision's


class Case(NamedTuple):
    """A transform with fixed parameters, and torchvision's."""

    ours: Any
    theirs: Callable[[Any, Any], Any]


def fixed(name: str) -> Case:
    corners = [(3, 2), (60, 5), (55, 44), (1, 40)]
    start = [[0, 0], [63, 0], [63, 47], [0, 47]]
    cases = {
        "flip": Case(RandomHorizontalFlip(1), lambda f, x: f.horizontal_flip(x)),
        "vertical flip": Case(RandomVerticalFlip(1), lambda f, x: f.vertical_flip(x)),
        "center": Case(CenterCrop((30, 20)), lambda f, x: f.center_crop(x, [30, 20])),
        "larger center": Case(CenterCrop((60, 70)), lambda f, x: f.center_crop(x, [60, 70])),
        "pad": Case(Pad((3, 4, 5, 6), fill=2), lambda f, x: f.pad(x, [3, 4, 5, 6], fill=2)),
        "resize": Case(Resize((30, 100)), lambda f, x: f.resize(x, [30, 100])),
        "shorter": Case(Resize(30, max_size=35), lambda f, x: f.resize(x, [30], max_size=35)),
        "rotate": Case(RandomRotation((31, 31)), lambda f, x: f.rotate(x, 31)),
        "expand": Case(RandomRotation((31, 31), expand=True), lambda f, x: f.rotate(x, 31, expand=True)),
        "around": Case(RandomRotation((31, 31), center=(9, 5)), lambda f, x: f.rotate(x, 31, center=[9, 5])),
        "affine": Case(
            RandomAffine((13, 13), scale=(1.3, 1.3), shear=(5, 5, 8, 8)),
            lambda f, x: f.affine(x, 13.0, [0, 0], 1.3, [5.0, 8.0]),
        ),
        "perspective": Case(_Tilted(corners), lambda f, x: f.perspective(x, start, [list(c) for c in corners])),
    }
    return cases[name]


class _Tilted(RandomPerspective):
    """A given perspective."""

    def __init__(self, corners: Any) -> None:
        super().__init__(p=1)
        self.corners = corners

    def maps(self, count: int, extent: tuple[int, int]) -> Any:
        """Return its map."""
        return [perspective(self.corners, extent)] * count


NAMES = ["flip", "vertical flip", "center", "larger center", "pad", "resize", "shorter"]
NAMES += ["rotate", "expand", "around", "affine", "perspective"]


@pytest.mark.parametrize("name", NAMES)
def test_fields_become_what_tv_tensors_do(v2: Any, name: str) -> None:
    torch, tv = pytest.importorskip("torch"), pytest.importorskip("torchvision.tv_tensors")
    case, one = fixed(name), sample(3)
    found = FieldsTransform(case.ours, FIELDS)(one)
    boxes = tv.BoundingBoxes(torch.from_numpy(one["boxes"]), format="XYXY", canvas_size=SIZE)
    expected = v2.functional.clamp_bounding_boxes(case.theirs(v2.functional, boxes))
    kept = ((expected[:, 2] > expected[:, 0]) & (expected[:, 3] > expected[:, 1])).numpy()
    # torchvision moves boxes and images by maps that are half a pixel apart, and rounds the size of an expanded one
    atol = 1.5 if name in ("rotate", "expand", "around", "affine", "perspective") else 1e-4
    np.testing.assert_allclose(found["boxes"], expected.numpy()[kept], atol=atol)
    assert found["labels"].tolist() == np.flatnonzero(kept).tolist()
    mask = case.theirs(v2.functional, tv.Mask(torch.from_numpy(one["mask"]))).numpy()
    assert mask.shape == found["mask"].shape
    assert (mask != found["mask"]).mean() < (0.1 if name in ("resize", "shorter") else 0.01)
    if hasattr(tv, "KeyPoints"):
        points = tv.KeyPoints(torch.from_numpy(one["points"].astype(np.float32)), canvas_size=SIZE)
        moved = np.asarray(case.theirs(v2.functional, points))
        inside = ((moved > 1) & (moved < np.array(found["mask"].shape)[::-1] - 1)).all(axis=-1)
        np.testing.assert_allclose(found["points"][inside], moved[inside], atol=max(atol, 1.01))


# ---------------------------------------------------------------- fields


def test_fields_inside_others_and_labels_beside_boxes() -> None:
    one = sample()
    nested = (one["image"], {"boxes": one["boxes"], "labels": list("abcdef"), "id": 7, "masks": one["mask"]})
    chain = FieldsTransform(Compose([CenterCrop(20)]), {"image": 0, "mask": (1, "masks"), "boxes": (1, "boxes")})
    image, target = chain(nested)
    assert image.shape == (20, 20, 3)
    assert target["masks"].shape == (20, 20)
    assert target["id"] == 7
    assert 0 < len(target["boxes"]) == len(target["labels"]) < 6
    assert type(target["labels"]) is list
    assert nested[1]["labels"] == list("abcdef")


def test_masks_one_a_box_are_left_out_with_their_boxes() -> None:
    one = sample()
    stack = np.stack([one["mask"] == number for number in range(1, 7)])
    chain = FieldsTransform(CenterCrop(20), {"image": "image", "mask": "masks", "boxes": "boxes"})
    found = chain({**one, "masks": stack})
    assert found["masks"].dtype == bool
    assert len(found["masks"]) == len(found["boxes"]) == len(found["labels"]) < 6
    for mask, (left, top, right, bottom) in zip(found["masks"], found["boxes"].astype(int), strict=True):
        assert not mask[: max(0, top)].any()
        assert not mask[bottom:].any()
        assert not mask[:, : max(0, left)].any()
        assert not mask[:, right:].any()


def test_several_images_and_labels() -> None:
    one = sample()
    fields = {"image": ["image", "other"], "boxes": "boxes", "labels": ["labels", "areas"]}
    both = {**one, "other": one["image"].copy(), "areas": np.arange(6.0)}
    with use_keys(1, np.arange(1)):
        found = FieldsTransform(RandomCrop(24, padding=0), fields)(both)
    np.testing.assert_array_equal(found["image"], found["other"])
    assert found["areas"].tolist() == found["labels"].tolist()


def test_kinds_of_arrays_are_kept() -> None:
    torch = pytest.importorskip("torch")
    one = sample()
    flip = FieldsTransform(RandomHorizontalFlip(1), {**FIELDS, "image": "image"})
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in one.items()}
    tensors["image"] = tensors["image"].permute(2, 0, 1)
    found, expected = flip(tensors), flip(one)
    for name, value in found.items():
        assert type(value) is torch.Tensor
        other = expected[name].transpose(2, 0, 1) if name == "image" else expected[name]
        np.testing.assert_array_equal(value.numpy(), other)
    assert flip({**one, "boxes": one["boxes"].astype(np.int16)})["boxes"].dtype == np.int16
    assert flip({**one, "boxes": one["boxes"].tolist()})["boxes"] == expected["boxes"].tolist()


def test_images_of_pillow() -> None:
    pil = pytest.importorskip("PIL.Image")
    one = sample()
    palette = pil.fromarray(one["mask"].astype(np.uint8)).convert("P")
    pictures = {**one, "image": pil.fromarray(one["image"]), "mask": palette}
    found = FieldsTransform(RandomHorizontalFlip(1), FIELDS)(pictures)
    np.testing.assert_array_equal(np.asarray(found["image"]), one["image"][:, ::-1])
    assert found["mask"].mode == "P"
    np.testing.assert_array_equal(np.asarray(found["mask"]), np.asarray(palette)[:, ::-1])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_encoded_images_have_the_size_that_is_seen(form: str, orientation: int) -> None:
    pil, io = pytest.importorskip("PIL.Image"), pytest.importorskip("io")
    file, exif = io.BytesIO(), pil.Exif()
    exif[0x0112] = orientation
    pil.fromarray(sample()["image"]).save(file, form, exif=exif)
    height, width = SIZE if orientation < 5 else SIZE[::-1]
    dataset = StackDataset(image=[file.getvalue()], boxes=[np.array([[1.0, 2, 3, 4]])], labels=[[5]])
    chain = Compose([Decode(), RandomHorizontalFlip(1), Resize((height * 2, width)), ToCHW()])
    found = dataset.map(chain, field={"image": "image", "boxes": "boxes"})[0]
    assert found["image"].shape == (3, height * 2, width)
    np.testing.assert_allclose(found["boxes"], [[width - 3, 4, width - 1, 8]])
    assert found["labels"] == [5]


def test_no_boxes() -> None:
    one = sample()
    for boxes in (np.zeros((0, 4)), np.zeros(0), list[float]()):
        found = FieldsTransform(CenterCrop(20), FIELDS)({**one, "boxes": boxes, "labels": np.zeros(0)})
        assert len(found["boxes"]) == 0


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("field", "error", "message"),
    [
        ({"picture": 0}, ArgumentError, "must be one of image, mask, boxes, keypoints, labels, but got 'picture'"),
        ({"boxes": 0}, ArgumentError, "need an image or a mask, but got field="),
        ({"image": 0, "boxes": [1, 2]}, ArgumentError, r"only one field of boxes .* but got \[1, 2\]"),
        ({"image": 1.5}, ArgumentTypeError, "'image' must be the position or name of a field, a tuple"),
        ({"image": ()}, ArgumentTypeError, "'image' must be the position or name of a field"),
        ({"image": True}, ArgumentTypeError, "'image' must be the position or name of a field"),
    ],
)
def test_wrong_fields(field: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        MapDataset([()], CenterCrop(3), field)


@pytest.mark.parametrize("transform", [RandAugment(), lambda image: image, Compose([CenterCrop(3), abs])])
def test_transforms_of_which_it_is_not_known_what_they_move(transform: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"it is not known how .* moves masks and boxes; apply it in a"):
        MapDataset([()], transform, {"image": 0, "mask": 1})


def test_samples_that_do_not_fit() -> None:
    chain, one = FieldsTransform(CenterCrop(9), FIELDS), sample()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"mask": one["mask"][1:]}, "must have one height and width, but got image: 48 x 64, mask: 47 x 64"),
        ({"boxes": np.zeros((2, 5))}, r"the boxes in boxes must be of shape \(n, 4\), left, top"),
        ({"points": np.zeros((2, 3))}, r"the keypoints in points must be of shape \(..., 2\)"),
        ({"labels": [1, 2]}, "there must be one of labels for each box, but got 2 for 6"),
    ]
    for changed, message in wrong:
        with pytest.raises(ArgumentError, match=message):
            chain({**one, **changed})
    with pytest.raises(ArgumentTypeError, match="the field boxes must be an array, but got a str"):
        chain({**one, "boxes": "none"})
    with pytest.raises(ArgumentError, match="there is no field 'mask'"):
        chain({"image": one["image"]})


def test_a_chain_that_is_replaced_is_used() -> None:
    dataset: Any = MapDataset(Samples(2), CenterCrop(9), FIELDS)
    assert dataset[0]["mask"].shape == (9, 9)
    dataset.fn = CenterCrop(5)
    assert dataset[0]["mask"].shape == (5, 5)


@pytest.mark.parametrize(
    "make",
    [
        lambda fill: Pad(5, fill),
        lambda fill: RandomCrop((70, 80), 0, pad_if_needed=True, fill=fill),
        lambda fill: RandomRotation((45, 45), fill=fill),
        lambda fill: RandomRotation((45, 45), "bilinear", expand=True, fill=fill),
        lambda fill: RandomAffine((45, 45), fill=fill),
        lambda fill: ElasticTransform(300.0, 9.0, fill=fill),
    ],
)
@pytest.mark.parametrize(
    ("fill", "pixel", "number"),
    [
        ({"image": (200, 201, 202), "mask": 255}, (200, 201, 202), 255),
        ({"mask": 255}, (0, 0, 0), 255),
        ({"image": 201}, (201, 201, 201), 0),
        ((200, 201, 202), (200, 201, 202), 0),
        (201, (201, 201, 201), 201),
        (None, (0, 0, 0), 0),
    ],
)
def test_what_lies_around_images_and_masks(make: Any, fill: Any, pixel: Any, number: int) -> None:
    one = {"image": np.full((*SIZE, 3), 99, np.uint8), "mask": np.full(SIZE, 3)}
    with use_keys(1, np.arange(1)):
        found = FieldsTransform(make(fill), {"image": "image", "mask": "mask"})(one)
    outside = found["mask"] != 3
    assert outside.any()
    assert (found["mask"][outside] == number).all()
    solid = outside & (np.abs(found["image"].astype(int) - pixel).max(axis=-1) == 0)
    assert solid.sum() > 0.8 * outside.sum()


@pytest.mark.parametrize("fill", [{"boxes": 3}, {"mask": "a"}, "a", (1, "a"), (1, (2, 3)), ((1, 2), (3, 4)), (), b"ab"])
@pytest.mark.parametrize(
    "make",
    [
        lambda fill: Pad(3, fill=fill),
        lambda fill: RandomCrop(3, fill=fill),
        lambda fill: RandomAffine(3, fill=fill),
        lambda fill: ElasticTransform(fill=fill),
    ],
)
def test_a_fill_of_something_else(make: Any, fill: Any) -> None:
    with pytest.raises(ArgumentError, match="fill must be a number, one a channel, None, or a dict of"):
        make(fill)
