"""Batches of workers are any structure of arrays of any framework, the user's alone, and take up no more than that."""

from __future__ import annotations

import copy
import gc
import os
import threading
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

import headrace
from headrace import DataLoader, Dataset, TensorDataset
from headrace.testing import check_same

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    RunScript = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

BACKENDS: list[Any] = ["thread", "process"]
LARGE = 1 << 16  # bytes that travel in a block


class Point(NamedTuple):
    x: Any
    y: Any


Pair = namedtuple("Pair", ["left", "right"])  # noqa: PYI024 - as older code has it


@dataclass
class Record:
    image: Any
    name: str
    meta: dict[str, Any]


class Tensor:
    """A box around an array, as courses have it."""

    def __init__(self, data: Any, *, name: str = "") -> None:
        self.data = np.asarray(data)
        self.name = name


class Everything(Dataset[Any]):
    """Whatever samples are made of, small and large."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int, /) -> Any:
        image = np.full((64, 128, 3), index, np.uint8)
        return {
            "record": Record(image, f"sample {index}", {"flip": index % 2 == 0, "score": index / 3}),
            "point": Point(np.float32(index), [index, -index]),
            "pair": Pair(b"bytes", 1j * index),
            "ordered": OrderedDict(b=1, a=2),
            "small": np.arange(3) + index,
            "fields": np.full(2, index, [("a", "i4"), ("b", "f8")]),
            "day": np.datetime64("2020-01-01") + np.timedelta64(index, "D"),
            "half": np.full((100, 200), index, np.float16),
            "yes": np.full(70_000, index % 3 == 0),
            "turned": np.full((200, 300), index, ">i4").T[::2],
            "none at all": np.zeros((0, 5)),
        }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_any_structure(backend: Any, context: str | None) -> None:
    if backend == "thread" and context is not None:
        return
    loader = DataLoader(Everything(), 5, num_workers=2, backend=backend, multiprocessing_context=context)
    batches = list(loader)
    check_same(batches, list(DataLoader(Everything(), 5)))
    for batch in batches:
        assert type(batch["record"]) is Record
        assert type(batch["point"]) is Point
        assert type(batch["pair"]) is Pair
        for array in (batch["small"], batch["record"].image, batch["record"].meta["score"], batch["yes"], batch["day"]):
            assert array.flags.writeable


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_collate_fn_makes(backend: Any) -> None:
    """Views, other orders of axes, read-only arrays, the same array twice, none, objects, and very long texts."""

    def collate(samples: list[int]) -> Any:
        base = np.arange(60_000).reshape(200, 300) + samples[0]
        base.flags.writeable = samples[0] % 2 == 0
        return [
            base,
            base,
            base[10:20],
            base.T,
            base[::2, ::3],
            np.array(["a", None], object),
            "x" * 200_000,
            None,
            {1},
        ]

    def load(**workers: Any) -> list[Any]:
        return list(DataLoader(range(6), 2, collate_fn=collate, **workers))

    expected = load()
    found = load(num_workers=2, backend=backend)
    check_same(found, expected)
    for one, other in zip(found, expected, strict=True):
        assert [array.strides for array in one[:2]] == [array.strides for array in other[:2]]
        assert one[0] is one[1]
        assert one[0].flags.writeable == other[0].flags.writeable


def test_boxed_tensors_come_back_as_their_class() -> None:
    class Boxed(Dataset[Any]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int, /) -> Any:
            return Tensor(np.full(40_000, index)), index

    for backend in BACKENDS:
        for image, index in DataLoader(Boxed(), 2, num_workers=1, backend=backend):
            assert type(image) is Tensor
            assert image.data[:, 7].tolist() == index.tolist()
            image.data += 1


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")

    class Theirs(Dataset[Any]):
        def __init__(self) -> None:
            self.images = torch.arange(12 * 6000).reshape(12, 30, 200)

        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int, /) -> Any:
            return {
                "image": self.images[index] * 2.5,
                "brain": torch.full((200, 100), index, dtype=torch.bfloat16),
                "label": torch.tensor(index),
                "turned": torch.full((3, 200), index).T,
                "beside": np.full(20_000, index),
            }

    def load(**workers: Any) -> list[Any]:
        return list(DataLoader(Theirs(), 4, seed=0, **workers))

    expected, found = load(), load(num_workers=2, backend="process")
    check_same(found, expected)
    blocks = blocks_here()
    for batch in found:
        assert isinstance(batch["image"], torch.Tensor)
        assert any(batch["image"].data_ptr() in block for block in blocks), "it was copied"
        assert not batch["image"].is_shared()
        batch["image"] += 1
        batch["brain"].zero_()
    view = found[1]["image"][2].reshape(-1)[5:]
    expected_view = expected[1]["image"][2].reshape(-1)[5:] + 1
    del found, batch
    gc.collect()
    assert torch.equal(view, expected_view), "a tensor alone keeps its block"


def test_jax_arrays() -> None:
    jnp = pytest.importorskip("jax.numpy")

    class Theirs(Dataset[Any]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int, /) -> Any:
            return jnp.full((100, 200), index, jnp.float32), jnp.full(3, index, jnp.bfloat16)

    check_same(list(DataLoader(Theirs(), 2, num_workers=1, backend="process")), list(DataLoader(Theirs(), 2)))


# ------------------------------------------------------------------ the user's alone


class Rows(Dataset[Any]):
    """Large rows that are views of what the dataset keeps, one by one and many at once."""

    def __init__(self, length: int = 24) -> None:
        self.rows = np.arange(length, dtype=np.int32)[:, None].repeat(20_000, 1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> NDArray[np.int32]:
        row: NDArray[np.int32] = self.rows[index]
        return row

    def get_batch(self, indices: NDArray[np.int64]) -> NDArray[np.int32]:
        first, last = indices[0], indices[-1]
        batch: NDArray[np.int32] = self.rows[first : last + 1]
        return batch


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("context", [None, "fork"])
def test_writing_to_a_batch_changes_nothing_else(batch_size: int | None, context: str | None) -> None:
    """Neither the dataset, here and in the workers, nor other batches, nor the same one when it comes again."""
    dataset = Rows()
    loader = DataLoader(
        dataset,
        batch_size,
        num_workers=2,
        backend="process",
        multiprocessing_context=context,
        persistent_workers=True,
    )
    expected = list(DataLoader(Rows(), batch_size))
    kept: list[Any] = []
    for _ in range(3):
        for step, batch in enumerate(loader):
            np.testing.assert_array_equal(batch, expected[step])
            batch[:] = -1
            kept.append(batch)
    assert all((batch == -1).all() for batch in kept)
    np.testing.assert_array_equal(dataset.rows, Rows().rows)
    loader.close()


def test_a_worker_that_writes_to_its_dataset_writes_to_its_own() -> None:
    class Written(Rows):
        def __getitem__(self, index: int, /) -> Any:
            self.rows[0] += 1
            return self.rows[0, 0], os.getpid()

    dataset = Written()
    counts: dict[int, list[int]] = {}
    for count, pid in DataLoader(dataset, None, num_workers=2, backend="process", collate_fn=tuple):
        counts.setdefault(pid, []).append(count)
    for found in counts.values():
        assert found == list(range(1, len(found) + 1))
    assert dataset.rows[0, 0] == 0


@pytest.mark.parametrize("make", [np.empty, headrace.empty])
def test_worker_may_write_to_an_array_it_has_returned(make: Any) -> None:
    """It writes all batches to one array, which it keeps."""
    kept: list[Any] = []

    def collate(samples: list[int]) -> Any:
        if not kept:
            kept.append(make((2, LARGE), np.uint8))
        kept[0][:] = samples[0]
        return kept[0], kept[0][1:]

    loader = DataLoader(range(40), 2, num_workers=1, backend="process", collate_fn=collate)
    for step, (batch, view) in enumerate(list(loader)):
        assert np.unique(batch).tolist() == np.unique(view).tolist() == [2 * step]


def test_no_copy_is_made() -> None:
    """What is collated, and what is leased with `headrace.empty`, is read where the worker wrote it."""

    def collate(samples: list[Any]) -> Any:
        batch = headrace.empty((len(samples), LARGE), np.uint8)
        batch[:] = np.array(samples)[:, None]
        return batch[1:], batch[:1]

    options: dict[str, Any] = {"num_workers": 1, "backend": "process"}
    rest, first = next(iter(DataLoader(range(8), 4, collate_fn=collate, **options)))
    (batch,) = next(iter(DataLoader(TensorDataset(Rows().rows), 4, **options)))
    blocks = blocks_here()
    for array in (rest, first, batch):
        (block,) = [block for block in blocks if array.__array_interface__["data"][0] in block]
        assert len(block) <= 2 * 4 * 80_000
    assert rest.__array_interface__["data"][0] - first.__array_interface__["data"][0] == LARGE, "they lie apart"


def test_a_batch_can_be_copied_and_pickled() -> None:
    batch = next(iter(DataLoader(Everything(), 5, num_workers=1, backend="process")))
    check_same(copy.deepcopy(batch), batch)


# ------------------------------------------------------------------ blocks


def blocks_here() -> list[range]:
    """Where this process has mapped memory of workers."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:headrace" in line]
    ends = [line[0].split("-") for line in lines]
    return [range(int(first, 16), int(last, 16)) for first, last in ends]


class Blocks:
    """How many blocks there are more than at first: what other tests have left may go at any time."""

    def __init__(self) -> None:
        gc.collect()
        self._before = len(blocks_here())

    def count(self) -> int:
        return len(blocks_here()) - self._before


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# Two workers with two batches each in hand or on their way, two that the consumer has, and some to spare.
MOST_BLOCKS = 14


def forever(loader: DataLoader[Any]) -> Any:
    while True:
        yield from loader


@pytest.fixture
def batches() -> Any:
    """Batches of 320 KB without end, whose rows are their numbers; two workers make them."""
    loader = DataLoader(Rows(), 4, num_workers=2, backend="process", persistent_workers=True)
    yield forever(loader)
    loader.close()


def test_a_run_uses_few_blocks_again_and_again(batches: Any) -> None:
    more = Blocks()
    for _ in range(30):
        next(batches)
    descriptors, blocks = count_descriptors(), more.count()
    assert blocks <= MOST_BLOCKS
    addresses = {next(batches).__array_interface__["data"][0] for _ in range(60)}
    assert len(addresses) <= MOST_BLOCKS
    assert count_descriptors() <= descriptors + MOST_BLOCKS - blocks
    assert more.count() <= MOST_BLOCKS


def test_a_block_stays_until_the_last_view_dies(batches: Any) -> None:
    views = {}
    for step in range(6):
        batch = next(batches)
        views[step] = [batch[1, 100:200], batch.T[5:6], memoryview(batch[3])]
    del batch
    for _ in range(40):
        next(batches)[:] = -1
    for step, (one, other, third) in views.items():
        assert np.unique(one).tolist() == [4 * step + 1]
        assert other.tolist() == [[4 * step + n for n in range(4)]]
        assert np.unique(np.asarray(third)).tolist() == [4 * step + 3]


def test_views_that_die_in_another_thread_and_in_a_circle(batches: Any) -> None:
    more = Blocks()
    for _ in range(5):
        circle: list[Any] = [next(batches), next(batches)]
        circle.append(circle)
        thread = threading.Thread(target=circle[:1].clear)
        thread.start()
        thread.join()
        del circle
    gc.collect()
    for _ in range(20):
        next(batches)
    assert more.count() <= MOST_BLOCKS


def test_blocks_grow_with_what_is_kept_and_shrink_after(batches: Any) -> None:
    more = Blocks()
    next(batches)
    descriptors = count_descriptors()
    for _ in range(19):
        next(batches)
    kept = [next(batches) for _ in range(60)]
    assert more.count() >= 60
    assert count_descriptors() >= 60, "one for each block"
    for step, batch in enumerate(kept, 20):
        np.testing.assert_array_equal(batch[:, 0], np.arange(4) + 4 * (step % 6))
    del kept, batch
    for _ in range(200):  # a worker that is far behind, on a busy machine, gives them up later
        next(batches)
        if more.count() <= MOST_BLOCKS:
            break
    assert more.count() <= MOST_BLOCKS
    assert count_descriptors() <= descriptors + MOST_BLOCKS


def test_small_arrays_take_no_descriptors() -> None:
    loader = DataLoader(
        range(200), num_workers=1, backend="process", collate_fn=lambda samples: [np.full(1000, samples[0])] * 20
    )
    batches = iter(loader)
    kept = [next(batches)]
    descriptors = count_descriptors()
    kept += batches
    assert count_descriptors() <= descriptors
    assert [batch[0][0] for batch in kept] == list(range(200))


def test_more_batches_are_kept_than_there_are_descriptors(run_script: RunScript) -> None:
    """The shells of most users allow 1024; of what is kept beyond some hundreds, copies are handed out."""
    script = run_script(
        """
        import gc, os, resource
        import numpy as np
        from headrace import DataLoader, TensorDataset

        class Rows(TensorDataset):
            def get_batch(self, indices):  # one of its own, so that its batches are loaded one by one
                return super().get_batch(indices)

        resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
        rows = np.arange(1000, dtype=np.uint16)[:, None].repeat(40_000, 1)
        with DataLoader(Rows(rows), 1, num_workers=2, backend="process", persistent_workers=True) as loader:
            kept = [batch for (batch,) in loader]
            for number, batch in enumerate(kept):
                assert batch.shape == (1, 40_000) and (batch == number).all(), number
                batch += 1
            print(len(kept), len(os.listdir("/proc/self/fd")) > 100)
            del kept, batch
            for _ in loader:
                pass
            print(len(os.listdir("/proc/self/fd")) < 50)
        """
    )
    assert script.output() == "1000 True\nTrue\n"


# ------------------------------------------------------------------ the dataset


class Weighing(Dataset[Any]):
    """A dataset of 48 MB that is read through and through, then says where this process has it."""

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = [np.ones(24 << 20, np.uint8), np.ones(6 << 20, np.float32)]

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int, /) -> Any:
        total = sum(int(np.sum(array)) for array in self.arrays)
        return index, total, *map(mapping_of, self.arrays)


def mapping_of(array: NDArray[Any]) -> str:
    """Return the line of this process's map that the memory of an array lies in."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, stop = line.split()[0].partition("-")
        if int(start, 16) <= array.ctypes.data < int(stop, 16):
            return line
    return ""


@pytest.mark.parametrize("context", [None, "spawn"])
def test_the_datasets_arrays_are_shared(context: str | None) -> None:
    """All workers map the same pages of files without a name, and none has a copy."""
    loader = DataLoader(
        Weighing(), None, num_workers=2, backend="process", multiprocessing_context=context, collate_fn=tuple
    )
    found = list(loader)
    for _, total, *mappings in found:
        assert total == (24 << 20) + (6 << 20)
        assert all("/memfd:" in mapping for mapping in mappings), mappings
    assert {index for index, *_ in found} == set(range(16))


def test_a_mapped_file_is_mapped_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, Rows().rows)
    dataset = Rows()
    dataset.rows = np.load(path, mmap_mode="r")

    def look(samples: list[Any]) -> Any:
        return np.stack(samples), "rows.npy" in Path("/proc/self/maps").read_text()

    loader = DataLoader(dataset, 4, num_workers=1, backend="process", collate_fn=look)
    batches = list(loader)
    assert all(mapped for _, mapped in batches)
    np.testing.assert_array_equal(np.concatenate([rows for rows, _ in batches]), Rows().rows)
