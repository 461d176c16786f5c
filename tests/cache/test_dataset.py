"""A cache changes nothing but how often samples are read."""

from __future__ import annotations

import copy
import pickle
import random
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

import headrace
from headrace import (
    CachedDataset,
    CacheStats,
    Compose,
    ConcatDataset,
    Dataset,
    HeadraceError,
    ImageDataset,
    Normalize,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomHorizontalFlip,
    StackDataset,
    Subset,
    TensorDataset,
    ToCHW,
    ToFloat,
    Transform,
    default_collate,
)
from headrace.errors import ArgumentError, ArgumentTypeError, CacheError, OutOfRangeError, RaggedSamplesError
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.hints import blocks, counters, reads_ahead, will_need
from headrace.rng.context import use_keys
from headrace.rng.draws import draw
from headrace.testing import check_dataset, check_same

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Pair(NamedTuple):
    image: Any
    label: int


class Counting(Dataset[Any]):
    """Samples that say how often they were read."""

    def __init__(self, make: Callable[[int], Any], length: int = 20) -> None:
        self.make = make
        self.length = length
        self.reads: Counter[int] = Counter()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> Any:
        if not 0 <= index < self.length:
            raise IndexError(index)
        self.reads[index] += 1
        return self.make(index)


def image(index: int) -> tuple[Any, int]:
    return np.random.default_rng(index).integers(0, 256, (9, 8, 3), np.uint8), index


SAMPLES: dict[str, Callable[[int], Any]] = {
    "images": image,
    "dicts": lambda index: {"x": np.full((2, 3), index, np.float32), "y": (np.int16(index), index % 2 == 0)},
    "texts": lambda index: (image(index)[0], "n" * index, [b"x" * index, index / 3]),
    "ragged": lambda index: (np.arange(index % 3), index),
    "bare": lambda index: np.arange(3) + index,
    "numbers": lambda index: index,
    "large numbers": lambda index: 2**62 * (index + 1),
    "text": str,
    "named": lambda index: Pair(image(index)[0], index),
    "days": lambda index: np.datetime64("2020-01-01") + np.timedelta64(index, "D"),
    "nothing": lambda index: (np.zeros((0, 3)), index),
    "kinds": lambda index: index if index % 2 else float(index),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_samples_and_batches_are_those_of_the_dataset(kind: str) -> None:
    dataset = Counting(SAMPLES[kind])
    if kind not in ("ragged", "kinds", "large numbers"):  # which have no batch
        check_dataset(dataset.cache(), negative=True)
    cached = dataset.cache()
    for indices in ([3, 1, 4], [1, 5, 9, 2, 6], [3, 3, 3], [7], list(range(20))):
        asked = np.array(indices)
        expected = _batch_or_error([SAMPLES[kind](index) for index in indices])
        for _ in range(2):
            check_same(_batch_or_error(cached, asked), expected)
            for index in indices:
                check_same(cached[index], SAMPLES[kind](index))


def _batch_or_error(samples: Any, indices: Any = None) -> Any:
    try:
        return default_collate(samples) if indices is None else compile_dataset(samples).batch(indices)
    except HeadraceError as error:
        return type(error).__name__


@pytest.mark.parametrize("kind", SAMPLES)
def test_each_sample_is_read_once(kind: str) -> None:
    dataset = Counting(SAMPLES[kind])
    cached = dataset.cache()
    for index in (3, 3, -17):
        check_same(cached[index], SAMPLES[kind](3))
    for _ in range(2):
        _batch_or_error(cached, np.array([0, 3, 5, 5, 7]))
    assert dataset.reads == Counter([0, 3, 5, 7])
    assert (cached.stats().samples, cached.stats().hits, cached.stats().misses) == (4, 2 + 1 + 5, 1 + 4)


def test_stats() -> None:
    cached = TensorDataset(np.zeros((10, 100), np.uint8)).cache(limit=1000)
    assert cached.stats() == CacheStats(limit=1000)
    cached.get_batch(np.array([0, 1, 2]))
    cached.get_batch(np.array([2, 3]))
    stats = cached.stats()
    assert (stats.hits, stats.misses, stats.samples, stats.limit) == (1, 4, 4, 1000)
    assert 400 < stats.bytes < 700
    assert stats.hit_share == 0.2
    assert counters(cached) == {"cache_hits": 1, "cache_misses": 4, "cache_bytes": 4 * 128}
    assert CacheStats().hit_share == 0


def test_samples_over_the_limit_are_read_each_time() -> None:
    dataset = Counting(image)
    room = 7 * 256
    cached = dataset.cache(limit=room)
    everything = np.arange(20)
    for _ in range(3):
        check_same(cached.get_batch(everything), default_collate([image(index) for index in range(20)]))
    stats = cached.stats()
    assert 5 <= stats.samples <= 7
    assert stats.bytes <= room
    assert sorted(dataset.reads.values()) == [1] * stats.samples + [3] * (20 - stats.samples)
    assert (stats.hits, stats.misses) == (2 * stats.samples, 20 + 2 * (20 - stats.samples))


def test_a_sample_is_the_readers_own() -> None:
    """What somebody writes into it must not come back to anybody."""
    cached = Counting(image).cache()
    for _ in range(3):
        found, _ = cached[5]
        check_same(found, image(5)[0])
        found[...] = 0
        batch, _ = cached.get_batch(np.array([5]))
        check_same(batch[0], image(5)[0])
        batch[...] = 0


def test_an_error_of_the_dataset_is_no_sample() -> None:
    broken = {4}

    def make(index: int) -> Any:
        if index in broken:
            raise OSError("no such disk")
        return image(index)

    dataset = Counting(make)
    cached = dataset.cache()
    with pytest.raises(OSError, match="no such disk") as caught:
        cached.get_batch(np.array([2, 4, 6]))
    assert caught.value.__notes__ == ["while reading sample 4 of Counting"]
    with pytest.raises(OSError, match="no such disk"):
        cached[4]
    broken.clear()
    check_same(cached.get_batch(np.array([2, 4, 6])), default_collate([image(index) for index in (2, 4, 6)]))


# ---------------------------------------------------------------------- read in batches


class Batches(Counting):
    """Reads whole batches, by a way of its own."""

    def __init__(self, make: Callable[[int], Any], length: int = 20) -> None:
        super().__init__(make, length)
        self.batches: list[list[int]] = []

    def get_batch(self, indices: Any) -> Any:
        self.batches.append(indices.tolist())
        self.reads.update(indices.tolist())
        return default_collate([self.make(index) for index in indices.tolist()], indices)


@pytest.mark.parametrize("kind", SAMPLES)
def test_samples_of_batches_are_those_of_the_dataset(kind: str) -> None:
    cached = Batches(SAMPLES[kind]).cache()
    for indices in ([3, 1, 4], [5, 9, 1, 2, 5], [7], list(range(20))):
        for _ in range(2):
            samples = [SAMPLES[kind](index) for index in indices]
            check_same(_batch_or_error(cached, np.array(indices)), _batch_or_error(samples))
    for index in range(20):
        check_same(cached[index], SAMPLES[kind](index))


def test_what_is_not_there_is_read_in_one_batch() -> None:
    dataset = Batches(image)
    cached = dataset.cache()
    for _ in range(2):
        cached.get_batch(np.array([7, 2, 5, 2]))  # of these the first says what samples are like
        cached.get_batch(np.array([5, 8, 9, 1]))
    assert dataset.batches == [[5, 7], [1, 8, 9]]
    assert dataset.reads == Counter([1, 2, 5, 7, 8, 9])
    assert (cached.stats().hits, cached.stats().misses) == (1 + 8, 4 + 3)
    cached[3]
    assert len(dataset.batches) == 2


def test_batches_for_which_there_is_no_room() -> None:
    dataset = Batches(image)
    cached = dataset.cache(limit=7 * 256)
    expected = default_collate([image(index) for index in range(20)])
    for _ in range(3):
        images, labels = cached.get_batch(np.arange(20))
        check_same((images, labels), expected)
        images[...] = 0
    rest = 20 - cached.stats().samples
    assert [len(batch) for batch in dataset.batches] == [19, rest, rest]


def test_an_error_in_a_batch_names_the_sample() -> None:
    broken = {4}

    def make(index: int) -> Any:
        if index in broken:
            raise OSError("no such disk")
        return image(index)

    dataset = Batches(make)
    cached = dataset.cache()
    for _ in range(2):
        with pytest.raises(OSError, match="no such disk") as caught:
            cached.get_batch(np.array([2, 4, 6]))
        assert caught.value.__notes__ == ["while reading sample 4 of Batches"]
    assert cached.stats().samples == 0
    broken.clear()
    check_same(cached.get_batch(np.array([2, 4, 6])), default_collate([image(index) for index in (2, 4, 6)]))
    assert dataset.batches == [[4, 6], [2, 4, 6], [2, 4, 6]]  # they serve as before


def _wide(index: int) -> Any:
    return np.array(["n" * (index + 1)])


@pytest.mark.parametrize("kind", ["ragged", "named", "widths"])
def test_samples_that_are_no_rows_of_batches_are_read_singly(kind: str) -> None:
    make: Callable[[int], Any] = {**SAMPLES, "widths": _wide}[kind]
    dataset = Batches(make)
    cached = dataset.cache()
    for start in (0, 5, 10):
        _batch_or_error(cached, np.arange(start, start + 5))
    assert dataset.batches == [[1, 2, 3, 4]]
    for index in range(15):
        check_same(cached[index], make(index))


def test_samples_that_do_not_fit_together_are_named() -> None:
    cached = Counting(SAMPLES["ragged"]).cache()
    for _ in range(2):
        with pytest.raises(RaggedSamplesError, match=r"sample 3 has .*sample 4 has"):
            list(headrace.DataLoader(cached, sampler=[3, 4], batch_size=2))


def test_indices_outside() -> None:
    cached = Counting(image).cache()
    with pytest.raises(OutOfRangeError):
        cached[20]
    with pytest.raises(OutOfRangeError):
        cached.get_batch(np.array([0, 20]))
    with pytest.raises(ArgumentTypeError):
        cached[0:3]  # type: ignore[index]


def test_arguments() -> None:
    dataset = Counting(image)
    for limit in (-1, 1.5, True, "1GB"):
        with pytest.raises(ArgumentError, match=r"^limit must be a number of bytes, not negative, or None, but got "):
            dataset.cache(limit=limit)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"^key tells folders apart"):
        dataset.cache(key="v1")
    with pytest.raises(ArgumentTypeError, match="without __len__"):
        CachedDataset(iter([]))  # type: ignore[arg-type]
    assert CachedDataset(dataset, limit=5).stats().limit == 5
    assert dataset.cache().stats().limit > 1 << 20  # type: ignore[operator]


# ---------------------------------------------------------------------- copies


def test_a_pickled_copy_has_a_cache_of_its_own() -> None:
    cached = TensorDataset(np.arange(5)).cache()
    cached.get_batch(np.arange(5))
    for other in (pickle.loads(pickle.dumps(cached)), copy.deepcopy(cached)):
        assert other.stats() == CacheStats(limit=cached.stats().limit)
        check_same(other[3], cached[3])
        assert other.stats().samples == 1
    check_dataset(cached, negative=True, picklable=True)


# ---------------------------------------------------------------------- what is mapped over it


AUGMENT = Compose([RandomCrop(8), RandomHorizontalFlip(), ToFloat(), Normalize(0.5, 0.25), ToCHW()])


def test_a_cache_changes_no_draw() -> None:
    dataset = Counting(image).map(_negative, field=0)
    indices = np.array([3, 1, 4, 1, 5])
    with use_keys(7, indices):
        expected = compile_dataset(dataset.map(AUGMENT, field=0)).batch(indices)
    for below in (dataset.cache(), dataset.cache().subset(np.arange(20)), dataset.cache().cache()):
        augmented = below.map(AUGMENT, field=0)
        for _ in range(2):
            with use_keys(7, indices):
                check_same(compile_dataset(augmented).batch(indices), expected)


def _negative(pixels: Any) -> Any:
    return 255 - pixels


@pytest.mark.parametrize("field", [0, -2, "x", None])
def test_arrays_are_read_where_they_lie(field: int | str | None) -> None:
    make: Callable[[int], Any] = {
        0: image,
        -2: image,
        "x": lambda index: {"x": image(index)[0], "y": index},
        None: lambda i: image(i)[0],
    }[field]
    cached: Any = Counting(make).cache()
    indices = np.array([2, 7, 2])
    assert cached.open_rows(indices, field) is None  # not yet
    cached.get_batch(indices)
    rows = cached.open_rows(indices, field)
    assert rows is not None
    gathered = rows.array[rows.rows]
    check_same(gathered, np.stack([image(index)[0] for index in indices.tolist()]))
    assert not rows.array.flags.writeable
    check_same(rows.complete(rows.wrap(gathered)), default_collate([make(index) for index in indices.tolist()]))
    assert cached.stats().hits == 3
    assert cached.open_rows(np.array([2, 8]), field) is not None  # there is room for one more
    assert cached.stats().samples == 3
    assert CachedDataset(Counting(make), limit=600).open_rows(indices, field) is None
    assert cached.open_rows(indices, 1 if isinstance(field, int) else "y") is None  # no array
    assert cached.open_rows(indices, "other") is None


@pytest.mark.parametrize("where", ["ram", "folder"])
def test_what_has_just_been_read_is_not_read_from_the_cache(where: str, tmp_path: Path) -> None:
    images, labels = np.stack([image(index)[0] for index in range(20)]), np.arange(20)
    cached: Any = TensorDataset(images, labels).cache("ram" if where == "ram" else tmp_path / where)
    cached.get_batch(np.array([0, 1]))
    for indices in (np.array([5, 3, 5]), np.array([5, 3, 0])):  # read, then found
        rows = cached.open_rows(indices, 0)
        gathered = rows.array[rows.rows]
        check_same(gathered, images[indices])
        check_same(rows.complete(rows.wrap(gathered)), (images[indices], labels[indices]))
    assert (cached.stats().hits, cached.stats().misses, cached.stats().samples) == (3, 5, 4)
    check_same(cached[3], (images[3], labels[3]))
    augment = Compose([RandomCrop(4), RandomHorizontalFlip(), ToFloat(), ToCHW()])
    epochs = [
        list(headrace.DataLoader(dataset.map(augment, field=0), 5, shuffle=True, seed=1))
        for dataset in (TensorDataset(images, labels), cached, TensorDataset(images, labels).cache())
    ]
    check_same(epochs[1], epochs[0])
    check_same(epochs[2], epochs[0])


def test_tensors_come_out_as_tensors() -> None:
    torch = pytest.importorskip("torch")
    dataset = Counting(lambda index: (torch.full((3, 8, 8), index, dtype=torch.uint8), torch.tensor(index)))
    cached = dataset.cache()
    for _ in range(2):
        images, labels = cached.get_batch(np.array([3, 4]))
        assert isinstance(images, torch.Tensor)
        assert labels.tolist() == [3, 4]
    scaled = cached.map(ToFloat(layout="CHW"), field=0).get_batch(np.array([3, 4]))[0]
    assert isinstance(scaled, torch.Tensor)
    assert scaled.shape == (2, 3, 8, 8)
    assert dataset.reads == Counter([3, 4])


def test_hints_go_to_what_is_read() -> None:
    class Far(TensorDataset):
        def will_need(self, indices: Any) -> None:
            asked.extend(indices.tolist())

        def blocks(self) -> int:
            return 3

        def counters(self) -> dict[str, int]:
            return {"requests": 2}

    asked: list[int] = []
    cached = Far(np.arange(10)).cache()
    cached.get_batch(np.array([3, 4]))
    assert reads_ahead(cached)
    will_need(cached, np.array([2, 3, 4, 5]))
    assert asked == [2, 5]
    assert blocks(cached) == 3
    assert counters(cached)["requests"] == 2
    assert not reads_ahead(Counting(image).cache())


def test_threads_where_the_dataset_allows_them() -> None:
    assert compile_dataset(TensorDataset(np.arange(3)).cache()).releases_gil
    assert not compile_dataset(Counting(image).cache()).releases_gil


# ---------------------------------------------------------------------- what is random


class Noise(Transform):
    def __call__(self, sample: Any) -> Any:
        return sample + draw(1)[0, 0] % 2

    def apply_batch(self, batch: Any) -> Any:
        return batch + (draw(len(batch))[:, 0] % 2)[:, np.newaxis]


def with_rng(sample: Any) -> Any:
    return sample + headrace.sample_rng().integers(9)


def with_default_rng(sample: Any) -> Any:
    return sample + headrace.default_rng().integers(9)


class RandomStranger:
    """A transform of another library."""

    def __call__(self, sample: Any) -> Any:
        return sample


class RandomInNameOnly(RandomStranger):
    is_random = False


DATASET = TensorDataset(np.zeros((4, 8, 8), np.uint8))
RANDOM: dict[str, tuple[Callable[[], Any], str]] = {
    "map": (lambda: DATASET.map(RandomCrop(8), field=0), r"RandomCrop\(.*\) of MapDataset"),
    "compose": (
        lambda: DATASET.map(Compose([ToFloat(), RandomHorizontalFlip()]), field=0),
        r"RandomHorizontalFlip\(.*\) of Compose",
    ),
    "below": (
        lambda: DATASET.map(RandomCrop(8), field=0).map(_negative).subset([1]),
        r"RandomCrop\(.*\) of MapDataset",
    ),
    "parts": (lambda: ConcatDataset([DATASET, DATASET.map(Noisy())]), r"Noisy\(\) of MapDataset"),
    "stack": (lambda: StackDataset(a=DATASET, b=DATASET.map(Noisy())), r"Noisy\(\) of MapDataset"),
    "apply": (lambda: DATASET.map(RandomApply([ToFloat()])), r"RandomApply\(.*\) of MapDataset"),
    "choice": (lambda: DATASET.map(RandomChoice([ToFloat()])), r"RandomChoice\(.*\) of MapDataset"),
    "images": (lambda: ImageDataset(["a.png"], [0], transform=RandomCrop(8)), r"RandomCrop\(.*\) of ImageDataset"),
    "partial": (lambda: DATASET.map(partial(RandomStranger())), r"RandomStranger object at .* of MapDataset"),
    "another library": (lambda: DATASET.map(RandomStranger()), r"RandomStranger object at .* of MapDataset"),
}


class Noisy(Noise):
    @property
    def is_random(self) -> bool:
        return True


@pytest.mark.parametrize("where", RANDOM)
def test_a_random_transform_is_named(where: str) -> None:
    make, name = RANDOM[where]
    with pytest.raises(CacheError, match=f"{name} is random, and cached samples would be the same in all epochs; put "):
        Dataset.cache(make())


UNNAMED_RANDOM = ("ColorJitter", "TrivialAugmentWide")


@pytest.mark.parametrize("name", [name for name in headrace.__all__ if "Random" in name or name in UNNAMED_RANDOM])
def test_every_random_transform_is_recognised(name: str) -> None:
    kind = getattr(headrace, name)
    assert kind.is_random.fget(None) is True


def test_deterministic_transforms_may_be_cached() -> None:
    calm: list[Callable[[Any], Any]] = [ToFloat(), Compose([ToCHW(), _negative]), RandomInNameOnly(), _negative]
    for transform in calm:
        DATASET.map(transform, field=0).cache()


DRAWING: dict[str, tuple[Callable[[Any], Any], str]] = {
    "draw": (Noise(), "Noise"),
    "rng": (with_rng, "with_rng"),
    "default_rng": (with_default_rng, "with_default_rng"),
}


@pytest.mark.parametrize("how", DRAWING)
def test_random_draw_while_caching_names_the_transform(how: str) -> None:
    transform, name = DRAWING[how]
    cached = TensorDataset(np.zeros((4, 3), np.uint8)).map(transform, field=0).cache()
    error = (
        rf"^{name} draws random numbers for a sample that is being cached, .*dataset\.cache\(\.\.\.\)\.map\(augment\)"
    )
    with pytest.raises(CacheError, match=error):
        cached[0]
    with pytest.raises(CacheError, match=error):
        cached.get_batch(np.array([0, 1]))
    with pytest.raises(CacheError, match=error):
        next(iter(headrace.DataLoader(cached, batch_size=2)))
    assert cached.stats().samples == 0


def test_draws_are_allowed_again_afterwards() -> None:
    cached = DATASET.cache().map(with_rng, field=0)
    random.seed(0)
    assert cached[0][0].shape == (8, 8)
    with use_keys(1, np.array([0])):
        assert cached[0][0].shape == (8, 8)


def test_a_subset_may_be_cached_alone() -> None:
    dataset = Counting(image)
    cached = Subset(dataset, [3, 4]).cache()
    check_same(cached.get_batch(np.array([1, 0, 1])), default_collate([image(4), image(3), image(4)]))
    assert dataset.reads == Counter([3, 4])
