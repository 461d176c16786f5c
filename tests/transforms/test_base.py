"""What holds for every transform: kinds, layouts, draws, and the batch path against the samples' one."""

from __future__ import annotations

import pickle
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace
from headrace import (
    CenterCrop,
    Compose,
    DataLoader,
    Dataset,
    ImageTransform,
    Normalize,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    TensorDataset,
    ToCHW,
    ToFloat,
    Transform,
)
from headrace.batch.capabilities import batch_function
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.images.layout import Axes, image_axes
from headrace.pipeline.compile import compile_dataset
from headrace.rng.context import use_keys
from headrace.rng.places import each_sample
from headrace.transforms.base import per_channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

DTYPES = ["?", "u1", "u2", "i4", "f2", "f4", "f8"]
SHAPES = {"HW": (0, 1), "CHW": (2, 0, 1), "HWC": (0, 1, 2)}  # which of (height, width, channels) stand where


class Boxed:
    """A tensor as TinyTorch has it."""

    def __init__(self, data: NDArray[Any]) -> None:
        self.data = data


class Samples(Dataset[Any]):
    """A dataset that reads one sample at a time."""

    def __init__(self, *arrays: Any) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int, /) -> Any:
        return tuple(array[index] for array in self.arrays)


def shape_of(layout: str, height: int, width: int, channels: int) -> tuple[int, ...]:
    return tuple((height, width, channels)[axis] for axis in SHAPES[layout])


@st.composite
def batches(draw: st.DrawFn, dtypes: list[str] = DTYPES) -> tuple[NDArray[Any], str]:
    """A batch of images of any layout and type, perhaps of none or of one pixel, and the layout."""
    layout = draw(st.sampled_from(list(SHAPES)))
    height, width, channels = draw(st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5)))
    count = draw(st.integers(0, 5))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    noise = np.random.default_rng(draw(st.integers(0, 99)))
    shape = (count, *shape_of(layout, height, width, channels))
    return noise.integers(0, 2 if dtype.kind == "b" else 200, shape).astype(dtype), layout


def paddings() -> st.SearchStrategy[Any]:
    pixels = st.integers(0, 4)
    return pixels | st.tuples(pixels, pixels) | st.tuples(pixels, pixels, pixels, pixels)


@st.composite
def transforms(draw: st.DrawFn, layout: str, dtype: np.dtype[Any], height: int, width: int) -> Transform:
    """Any transform of this package that takes such images."""
    size = draw(st.tuples(st.integers(1, height), st.integers(1, width)))
    makers: list[Callable[[], Transform]] = [
        lambda: RandomHorizontalFlip(draw(st.floats(0, 1)), layout=layout),
        lambda: RandomVerticalFlip(draw(st.floats(0, 1)), layout=layout),
        lambda: RandomCrop(size, draw(paddings()), layout=layout),
        lambda: CenterCrop(size, layout=layout),
        lambda: Pad(draw(paddings()), fill=1, padding_mode=draw(st.sampled_from(["constant", "edge", "symmetric"]))),
        lambda: ToFloat(draw(st.sampled_from(["f2", "f4", "f8"])), layout=layout),
        lambda: ToCHW(layout=layout),
    ]
    if dtype.kind == "f":
        makers.append(lambda: Normalize(0.4, 0.3, layout=layout))
    transform = draw(st.sampled_from(makers))()
    if isinstance(transform, Pad):
        transform.layout = layout
    return transform


@st.composite
def chains(draw: st.DrawFn, layout: str, dtype: np.dtype[Any], height: int, width: int) -> Compose:
    """Up to four transforms of which each can follow the one before, perhaps nested."""
    chain: list[Transform] = []
    probe = np.ones(shape_of(layout, height, width, 3), dtype)
    for _ in range(draw(st.integers(0, 4))):
        chain.append(draw(transforms(layout, probe.dtype, height, width)))
        with use_keys(0, np.array([0])):
            probe = chain[-1](probe)
        layout = "CHW" if isinstance(chain[-1], ToCHW) else layout
        axes = image_axes(probe.shape, layout)
        height, width = probe.shape[axes.height - 1], probe.shape[axes.width - 1]
    cut = draw(st.integers(0, len(chain)))
    return Compose([*chain[:cut], Compose(chain[cut:])]) if draw(st.booleans()) else Compose(chain)


def sample_by_sample(transform: Callable[[Any], Any], images: NDArray[Any], keys: use_keys) -> list[Any]:
    out = []
    with keys, each_sample(len(images)) as move_to:
        for position, image in enumerate(images):
            move_to(position)
            out.append(transform(image))
    return out


def as_one_batch(transform: Callable[[Any], Any], images: Any, keys: use_keys) -> Any:
    function = batch_function(transform)
    assert function is not None
    with keys:
        return function(images)


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# ---------------------------------------------------------------- the batch path is the samples' path


@given(st.data(), batches(), st.integers(0, 2**64 - 1))
@settings(max_examples=300)
def test_a_batch_becomes_what_its_samples_become(data: st.DataObject, case: tuple[Any, str], key: int) -> None:
    images, layout = case
    axes = image_axes(images.shape[1:], layout)
    height, width = images.shape[axes.height], images.shape[axes.width]
    chain = data.draw(chains(layout, images.dtype, height, width))
    indices = np.array(data.draw(st.permutations(range(len(images)))), np.int64) + data.draw(st.integers(0, 2**62))
    before = images.copy()
    batch = as_one_batch(chain, images, use_keys(key, indices))
    samples = sample_by_sample(chain, images, use_keys(key, indices))
    assert len(batch) == len(samples)
    assert all(same(row, sample) for row, sample in zip(batch, samples, strict=True))
    assert batch.flags.c_contiguous
    assert same(images, before)


@given(st.data(), batches(), st.integers(0, 10**6))
@settings(max_examples=60)
def test_the_loader_gives_the_same_bytes_from_a_dataset_with_and_without_get_batch(
    data: st.DataObject, case: tuple[Any, str], seed: int
) -> None:
    images, layout = case
    axes = image_axes(images.shape[1:], layout)
    chain = data.draw(chains(layout, images.dtype, images.shape[axes.height], images.shape[axes.width]))
    size, labels = data.draw(st.integers(1, 6)), np.arange(len(images))
    loaders = [
        DataLoader(dataset(images, labels).map(chain, field=0), batch_size=size, shuffle=True, seed=seed)
        for dataset in (TensorDataset, Samples)
    ]
    for (a, a_labels), (b, b_labels) in zip(*loaders, strict=True):
        assert same(a, b)
        assert same(a_labels, b_labels)


def test_the_loader_takes_the_batch_path_where_there_is_one() -> None:
    seen: list[int] = []

    class Counting(RandomHorizontalFlip):
        def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
            seen.append(len(images))
            return super().transform(images, axes)

    images = np.zeros((10, 3, 4, 4), np.float32)
    list(DataLoader(TensorDataset(images).map(Counting(), field=0), batch_size=5))
    list(DataLoader(Samples(images).map(Counting(), field=0), batch_size=10))
    assert seen == [5, 5] + [1] * 10


def test_draws_of_a_sample_depend_neither_on_its_batch_nor_on_its_place_in_it() -> None:
    images = np.arange(6 * 64, dtype=np.float32).reshape(6, 8, 8)
    chain = Compose([RandomCrop(6, padding=2), RandomVerticalFlip()])
    whole = as_one_batch(chain, images, use_keys(5, np.arange(6)))
    part = as_one_batch(chain, images[[4, 1]], use_keys(5, np.array([4, 1])))
    assert same(part, whole[[4, 1]])


def test_another_key_gives_other_draws() -> None:
    images = np.arange(6 * 64, dtype=np.float32).reshape(6, 8, 8)
    of_keys = [as_one_batch(RandomCrop(8), images, use_keys(key, np.arange(6))).tobytes() for key in range(10)]
    assert len(set(of_keys)) == 10


# ---------------------------------------------------------------- kinds


def as_torch(array: NDArray[Any]) -> Any:
    return pytest.importorskip("torch").from_numpy(array.copy())


def as_jax(array: NDArray[Any]) -> Any:
    return pytest.importorskip("jax.numpy").asarray(array)


KINDS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "ndarray": np.copy,
    "torch": as_torch,
    "boxed": lambda array: Boxed(array.copy()),
    "jax": as_jax,
}
EVERY_TRANSFORM = [
    RandomHorizontalFlip(0.5),
    RandomVerticalFlip(0.5),
    RandomCrop(3),
    CenterCrop(3),
    Pad(1),
    Pad((1, 2, 0, 1), padding_mode="edge"),
    ToCHW(),
]


def plain(value: Any) -> NDArray[Any]:
    return value.data if isinstance(value, Boxed) else np.asarray(value)


@pytest.mark.parametrize("transform", EVERY_TRANSFORM, ids=repr)
@pytest.mark.parametrize("dtype", ["?", "u1", "i4", "f2", "f4"])
@pytest.mark.parametrize("kind", KINDS)
def test_kind_and_dtype_come_back_unchanged(kind: str, dtype: str, transform: Transform) -> None:
    array = np.random.default_rng(0).integers(0, 2, (6, 3, 4, 5)).astype(dtype)
    batch = KINDS[kind](array)
    expected = as_one_batch(transform, array, use_keys(9, np.arange(6)))
    out = as_one_batch(transform, batch, use_keys(9, np.arange(6)))
    assert isinstance(out, type(batch))
    assert same(plain(out), expected)
    one = KINDS[kind](array[2])
    with use_keys(9, np.array([2])):
        out = transform(one)
    assert isinstance(out, type(one))
    assert same(plain(out), expected[2])
    assert same(plain(one), array[2])


@pytest.mark.parametrize("kind", ["torch", "jax"])
def test_bfloat16_is_moved_but_not_computed_with_as_if_it_were_integers(kind: str) -> None:
    framework = pytest.importorskip("torch" if kind == "torch" else "jax.numpy")
    image = framework.ones((1, 2, 2), dtype=framework.bfloat16)
    moves: list[Transform] = [RandomHorizontalFlip(1), RandomCrop(2, padding=0), CenterCrop(2), ToCHW()]
    for move in moves:
        out = move(image)
        assert out.dtype == framework.bfloat16
        assert bool((out == image).all())
    assert RandomCrop(6, padding=2)(image).sum() == 4
    if kind == "jax":  # whose ndarrays know the type
        assert bool((ToFloat()(image) == 1).all())
        return
    with pytest.raises(ArgumentTypeError, match=r"ToFloat takes real numbers, but got \|V2; convert the images"):
        ToFloat()(image)
    with pytest.raises(ArgumentTypeError, match="Normalize takes floating-point images"):
        Normalize(0.5, 0.5)(image)
    with pytest.raises(ArgumentError, match=r"fill=1 cannot be a value of \|V2 images"):
        Pad(1, fill=1)(image)


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_changes_the_input_itself_comes_back(kind: str) -> None:
    batch = KINDS[kind](np.zeros((2, 3, 4, 4), np.float32))
    unchanging: list[Transform] = [RandomHorizontalFlip(0), Pad(0), ToFloat(), ToCHW(), Compose([Pad(0), ToFloat()])]
    for transform in unchanging:
        assert transform(batch) is batch
        assert transform.apply_batch(batch) is batch
    one = KINDS[kind](np.zeros((3, 4, 4), np.float32))
    assert all(transform(one) is one for transform in unchanging)


def test_tensors_that_need_gradients_are_refused_with_a_remedy() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ArgumentTypeError, match=r"but got a torch\.Tensor; convert it with numpy\.asarray"):
        RandomCrop(2)(torch.ones(3, 4, 4, requires_grad=True))


@pytest.mark.parametrize("value", [[[1, 2], [3, 4]], "image", None, 3.0, np.float32(1)])
def test_what_is_no_array_is_refused(value: object) -> None:
    with pytest.raises(ArgumentTypeError, match="an image transform takes an ndarray, a torch or JAX array"):
        RandomHorizontalFlip()(value)


def test_images_of_any_memory_layout() -> None:
    image = np.arange(3 * 6 * 8, dtype=np.float32).reshape(3, 6, 8)
    for view in (image[:, ::2], image[:, :, ::-1], image.transpose(0, 2, 1), np.asfortranarray(image)):
        expected = RandomHorizontalFlip(1)(view.copy())
        assert same(RandomHorizontalFlip(1)(view), expected)
        with use_keys(1, np.array([0])):
            expected = RandomCrop(3)(view.copy())
        with use_keys(1, np.array([0])):
            assert same(RandomCrop(3)(view), expected)


def test_read_only_images_are_taken() -> None:
    image = np.ones((4, 4), np.float32)
    image.flags.writeable = False
    for transform in (*EVERY_TRANSFORM, Normalize(0, 1), ToFloat()):
        transform(image)


# ---------------------------------------------------------------- layouts


@pytest.mark.parametrize(("layout", "axes"), [("HW", Axes(1, 2, None)), ("CHW", Axes(2, 3, 1)), ("HWC", Axes(1, 2, 3))])
def test_the_axes_of_a_layout(layout: str, axes: Axes) -> None:
    assert image_axes((3,) * len(layout), layout) == axes


@pytest.mark.parametrize(("layout", "axis"), [("CHW", 2), ("HWC", 1)])
def test_a_given_layout_overrules_what_would_be_inferred(layout: str, axis: int) -> None:
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    assert same(RandomHorizontalFlip(1, layout=layout)(image), np.flip(image, axis).copy())


def test_one_dimension_more_than_an_image_has_is_a_batch() -> None:
    batch = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    assert same(RandomHorizontalFlip(1)(batch), batch[..., ::-1].copy())
    assert same(RandomHorizontalFlip(1, layout="HW")(batch[0]), batch[0, ..., ::-1].copy())


@pytest.mark.parametrize(
    ("layout", "shape"), [(None, (4,)), (None, ()), (None, (1, 1, 3, 4, 4)), ("HW", (4,)), ("HW", (2, 3, 4, 4))]
)
def test_a_shape_that_is_no_image_is_refused(layout: str | None, shape: tuple[int, ...]) -> None:
    expected = rf"an image of layout {layout or 'HW, CHW or HWC'} was expected, but got shape \(.*\); say which it is"
    with pytest.raises(ArgumentError, match=expected):
        RandomCrop(2, layout=layout)(np.zeros(shape))


def test_an_image_of_fewer_dimensions_than_the_layout_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"layout CHW was expected, but got shape \(4, 4\)"):
        CenterCrop(2, layout="CHW")(np.zeros((4, 4)))


@pytest.mark.parametrize("layout", ["WH", "NCHW", "chw", "", 3])
def test_an_unknown_layout_is_refused(layout: Any) -> None:
    with pytest.raises(ArgumentError, match=f"layout must be 'HW', 'CHW', 'HWC' or None, but got layout={layout!r}"):
        RandomHorizontalFlip(layout=layout)


def test_per_channel_numbers_stand_along_the_channels() -> None:
    images = np.zeros((8, 2, 4, 3), np.float32)
    assert per_channel("mean", [1, 2], images, Axes(2, 3, 1)).shape == (2, 1, 1)
    assert per_channel("mean", [1, 2, 3], images, Axes(1, 2, 3)).shape == (1, 1, 3)
    assert per_channel("mean", 1, images[..., 0], Axes(1, 2, None)).dtype == np.float32
    with pytest.raises(ArgumentError, match=r"mean has 2 values for images with 3 channels: \[1, 2\]"):
        per_channel("mean", [1, 2], images, Axes(1, 2, 3))


# ---------------------------------------------------------------- Compose


def test_compose_calls_each_in_turn() -> None:
    assert Compose([lambda x: x + 1, lambda x: x * 2])(3) == 8
    assert Compose([])(3) == 3
    assert Compose(function for function in (abs, str))(-3) == "3"


@pytest.mark.parametrize("wrong", [3, None, "flip"])
def test_compose_refuses_what_cannot_be_called(wrong: object) -> None:
    with pytest.raises(ArgumentTypeError, match=f"transform 1 of Compose cannot be called: {wrong!r}"):
        Compose([str, wrong])  # type: ignore[list-item]


def test_compose_of_a_users_function_works_on_samples() -> None:
    shapes = []

    def look(image: NDArray[Any]) -> NDArray[Any]:
        shapes.append(image.shape)
        return image + 1

    chain = Compose([RandomHorizontalFlip(), look, RandomCrop(4)])
    assert not chain.batched
    assert batch_function(chain) is None
    dataset = TensorDataset(np.zeros((6, 3, 4, 4), np.float32)).map(chain, field=0)
    assert not compile_dataset(dataset).reads_batches
    (images,) = next(iter(DataLoader(dataset, batch_size=6)))
    assert images.shape == (6, 3, 4, 4)
    assert shapes == [(3, 4, 4)] * 6
    with pytest.raises(ArgumentTypeError, match="works on single samples; apply Compose to each sample instead"):
        chain.apply_batch(images)


def test_a_function_of_samples_does_not_change_what_the_others_draw() -> None:
    images = np.arange(8 * 36, dtype=np.float32).reshape(8, 6, 6)
    batched = Compose([RandomCrop(5), ToFloat(), RandomVerticalFlip()])
    by_sample = Compose([RandomCrop(5), lambda image: image, RandomVerticalFlip()])
    a, b = (DataLoader(TensorDataset(images).map(chain, field=0), 8, seed=1) for chain in (batched, by_sample))
    assert same(next(iter(a))[0], next(iter(b))[0])


def test_an_overridden_call_is_not_bypassed() -> None:
    class Loud(RandomHorizontalFlip):
        def __call__(self, sample: Any) -> Any:
            return super().__call__(sample) + 100

    assert batch_function(Loud()) is None
    assert batch_function(Compose([Loud()])) is None
    dataset = TensorDataset(np.zeros((4, 2, 2), np.float32))
    for fn in (Loud(), Compose([ToFloat(), Loud()])):
        (images,) = next(iter(DataLoader(dataset.map(fn, field=0), batch_size=4)))
        assert (images == 100).all()


def test_a_subclass_with_another_transform_keeps_the_batch_path() -> None:
    class Invert(ImageTransform):
        def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
            return 1 - images

    assert batch_function(Invert()) is not None
    batch = np.zeros((2, 3, 4, 4), np.float32)
    assert same(Invert()(batch[0]), 1 - batch[0])
    assert same(Invert().apply_batch(batch), 1 - batch)


def test_transforms_are_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Transform()  # type: ignore[abstract]
    with pytest.raises(TypeError, match="abstract"):
        ImageTransform()  # type: ignore[abstract]


def test_transforms_show_their_arguments() -> None:
    assert repr(RandomHorizontalFlip(0.25)) == "RandomHorizontalFlip(layout=None, p=0.25)"
    assert repr(Compose([CenterCrop(2)])) == "Compose(transforms=[CenterCrop(layout=None, size=(2, 2))])"


def test_transforms_can_be_pickled() -> None:
    chain = Compose([RandomCrop(4), RandomVerticalFlip(0.3), Pad(1, fill=[1, 2, 3]), Normalize([0] * 3, [1] * 3)])
    image = np.ones((3, 4, 4), np.float32)
    results = []
    for same_chain in (chain, pickle.loads(pickle.dumps(chain))):
        with use_keys(1, np.array([3])):
            results.append(same_chain(image).tobytes())
    assert results[0] == results[1]


# ---------------------------------------------------------------- draws


@pytest.fixture
def _own_random() -> Iterator[None]:
    state = random.getstate()
    yield
    random.setstate(state)


@pytest.mark.usefixtures("_own_random")
def test_outside_a_loader_random_seed_reproduces_calls() -> None:
    chain = Compose(
        [
            RandomCrop(8),
            RandomHorizontalFlip(),
            lambda image: image + headrace.sample_rng().random(image.shape),
        ]
    )
    image = np.arange(64.0).reshape(8, 8)

    def run(seed: int) -> list[bytes]:
        random.seed(seed)
        return [chain(image).tobytes() for _ in range(5)]

    first = run(0)
    assert run(0) == first
    assert len(set(first)) == 5
    assert run(1) != first


def test_users_draws_follow_from_the_sample() -> None:
    def noisy(image: NDArray[Any]) -> NDArray[Any]:
        return image + headrace.sample_rng().normal(size=image.shape)

    dataset = TensorDataset(np.zeros((20, 3, 3)), np.arange(20)).map(noisy, field=0)
    by_label: dict[int, bytes] = {}
    for images, labels in DataLoader(dataset, batch_size=4, shuffle=True, seed=0):
        by_label |= {int(label): image.tobytes() for image, label in zip(images, labels, strict=True)}
    assert len(set(by_label.values())) == 20
    again = DataLoader(dataset, batch_size=7, seed=0)  # other batches, another order, the same draws
    for images, labels in again:
        assert all(by_label[int(label)] == image.tobytes() for image, label in zip(images, labels, strict=True))
    next_epoch = next(iter(again))[0]
    assert all(image.tobytes() not in by_label.values() for image in next_epoch)


def test_a_dataset_may_transform_its_samples_itself() -> None:
    class Photos(Dataset[Any]):
        augment = Compose([RandomCrop(6, padding=2), RandomHorizontalFlip()])

        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int, /) -> Any:
            for _ in range(index % 3):
                headrace.sample_rng()
            image = np.arange(64, dtype=np.float32).reshape(8, 8)
            return RandomVerticalFlip()(self.augment(image)), index

    of_size = []
    for size in (1, 5, 12):
        loader = DataLoader(Photos(), size, shuffle=True, seed=4)
        of_size.append({int(label): image.tobytes() for x, y in loader for image, label in zip(x, y, strict=True)})
    assert of_size[0] == of_size[1] == of_size[2]
    assert len(set(of_size[0].values())) > 6


@pytest.mark.parametrize("generators", [0, 1, 2, 7])
@pytest.mark.parametrize("numbers", [0, 1, 100])
def test_a_function_that_draws_more_or_less_does_not_shift_its_neighbours(generators: int, numbers: int) -> None:
    def greedy(image: NDArray[Any]) -> NDArray[Any]:
        for _ in range(generators + int(image[0, 0] % 3)):  # more for some samples than for others
            headrace.sample_rng().random(numbers)
        return image

    images = np.arange(8 * 36, dtype=np.float32).reshape(8, 6, 6)

    def load(*functions: Callable[[Any], Any]) -> NDArray[Any]:
        chain = Compose([RandomHorizontalFlip(), Compose(functions), RandomCrop(5)])
        dataset = TensorDataset(images).map(chain, field=0).map(RandomVerticalFlip(), field=0)
        batch: NDArray[Any] = next(iter(DataLoader(dataset, batch_size=8, seed=0)))[0]
        return batch

    assert same(load(greedy), load())


def decisions(transform: Callable[[Any], Any], images: NDArray[Any], key: int = 0) -> NDArray[Any]:
    """The first pixel of each image, where the images are made to tell what was done."""
    first: NDArray[Any] = as_one_batch(transform, images, use_keys(key, np.arange(len(images))))[:, 0, 0]
    return first


def test_different_transforms_of_a_chain_are_independent() -> None:
    stats = pytest.importorskip("scipy.stats")
    images = np.broadcast_to(np.array([[0, 1], [2, 3]]), (20000, 2, 2))
    for chain in (
        Compose([RandomHorizontalFlip(), RandomVerticalFlip()]),
        Compose([Compose([RandomHorizontalFlip()]), Compose([RandomVerticalFlip()])]),
        Compose([Compose([RandomHorizontalFlip(), Compose([RandomVerticalFlip()])])]),
    ):
        counts = np.bincount(decisions(chain, images), minlength=4)
        assert stats.chisquare(counts).pvalue > 1e-4


def test_the_same_transform_twice_in_a_chain_is_independent() -> None:
    images = np.broadcast_to(np.array([[0, 1]]), (20000, 1, 2))
    flip = RandomHorizontalFlip()
    for chain in (Compose([flip, flip]), Compose([flip, Compose([flip])]), Compose([Compose([flip]), flip])):
        turned_once = decisions(chain, images)
        assert abs(turned_once.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(images))


def test_the_same_transform_mapped_twice_is_independent() -> None:
    flip = RandomHorizontalFlip()
    dataset = TensorDataset(np.broadcast_to(np.array([[0, 1]]), (20000, 1, 2))).map(flip, field=0).map(flip, field=0)
    (images,) = next(iter(DataLoader(dataset, batch_size=20000, seed=0)))
    assert abs(images[:, 0, 0].mean() - 0.5) < 4 * 0.5 / np.sqrt(len(images))


def test_epochs_are_independent() -> None:
    images = np.broadcast_to(np.array([[0, 1]]), (20000, 1, 2))
    agreeing = np.mean(decisions(RandomHorizontalFlip(), images, 1) == decisions(RandomHorizontalFlip(), images, 2))
    assert abs(agreeing - 0.5) < 4 * 0.5 / np.sqrt(len(images))


def test_pixels_of_several_numbers_are_moved_like_any_other() -> None:
    image = np.zeros((2, 3), [("depth", "f4"), ("label", "u1")])
    image["label"] = np.arange(6).reshape(2, 3)
    assert RandomHorizontalFlip(1)(image)["label"].tolist() == [[2, 1, 0], [5, 4, 3]]
