"""One cache for all workers of a loader, whatever they are, over epochs and restarts, and nothing left of it."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import Compose, DataLoader, Dataset, RandomCrop, RandomHorizontalFlip, ToCHW, ToFloat, default_collate
from headrace.errors import CacheError
from headrace.testing import check_same

if TYPE_CHECKING:
    from collections.abc import Callable

    Eventually = Callable[[Callable[[], Any]], None]

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

LENGTH = 60
WORKERS: dict[str, dict[str, Any]] = {
    "inline": {},
    "threads": {"num_workers": 2, "backend": "thread"},
    "processes": {"num_workers": 2, "backend": "process"},
    "persistent": {"num_workers": 2, "backend": "process", "persistent_workers": True},
    "fork": {"num_workers": 2, "multiprocessing_context": "fork"},
    "forkserver": {"num_workers": 2, "multiprocessing_context": "forkserver"},
    "spawn": {"num_workers": 2, "multiprocessing_context": "spawn"},
}
MIB = 1 << 20


class Logged(Dataset[Any]):
    """Samples that leave a mark in a file when they are read."""

    def __init__(self, log: Path, size: int = 16, length: int = LENGTH) -> None:
        self.log = str(log)
        self.size = size
        self.length = length
        self.broken: set[int] = set()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> Any:
        with Path(self.log).open("a", encoding="ascii") as file:
            file.write(f"{index}\n")
        if index in self.broken:
            raise OSError("no such disk")
        image = np.full((self.size, self.size, 3), index, np.uint8)
        image[0, 0] = (1, 2, 3)
        return image, index, "n" * (index % 3)

    def reads(self) -> list[int]:
        return sorted(map(int, Path(self.log).read_text(encoding="ascii").split()))


class LoggedBatches(Logged):
    """Whole batches, each of which leaves a line."""

    def get_batch(self, indices: Any) -> Any:
        samples = [silent()[index] for index in indices.tolist()]
        with Path(self.log).open("a", encoding="ascii") as file:
            file.write(" ".join(map(str, indices.tolist())) + "\n")
        return default_collate(samples, indices)


def silent() -> Logged:
    return Logged(Path(os.devnull))


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    return Logged(tmp_path / "log")


def epochs(loader: Any, count: int) -> list[list[Any]]:
    return [list(loader) for _ in range(count)]


@pytest.mark.parametrize("kind", WORKERS)
def test_each_sample_is_read_once_for_all(kind: str, logged: Logged) -> None:
    cached = logged.cache()
    expected = epochs(DataLoader(silent(), 8, shuffle=True, seed=1), 3)
    with DataLoader(cached, 8, shuffle=True, seed=1, **WORKERS[kind]) as loader:
        check_same(epochs(loader, 3), expected)
    assert logged.reads() == list(range(LENGTH))
    stats = cached.stats()
    assert (stats.misses, stats.hits, stats.samples) == (LENGTH, 2 * LENGTH, LENGTH)
    for index in (0, 59):  # what workers have kept is there for the consumer too
        check_same(cached[index], silent()[index])
    assert len(logged.reads()) == LENGTH


@pytest.mark.parametrize("kind", ["inline", "threads", "processes", "fork"])
def test_batches_are_read_once_for_all(kind: str, tmp_path: Path) -> None:
    dataset = LoggedBatches(tmp_path / "log")
    expected = epochs(DataLoader(silent(), 8, shuffle=True, seed=1), 2)
    with DataLoader(dataset.cache(), 8, shuffle=True, seed=1, **WORKERS[kind]) as loader:
        check_same(epochs(loader, 2), expected)
    assert dataset.reads() == list(range(LENGTH))
    batches = (tmp_path / "log").read_text(encoding="ascii").splitlines()
    # The first worker has read one sample alone, to know what all are like, and so has the other if it began as soon.
    assert len([line for line in batches if " " in line]) == 8
    assert len(batches) in (9, 10)


@pytest.mark.parametrize("kind", ["threads", "processes", "fork"])
def test_samples_cached_by_the_program_serve_workers(kind: str, logged: Logged) -> None:
    cached = logged.cache()
    cached.get_batch(np.arange(LENGTH))
    with DataLoader(cached, 8, **WORKERS[kind]) as loader:
        check_same(list(loader), list(DataLoader(silent(), 8)))
    assert len(logged.reads()) == LENGTH


@pytest.mark.parametrize("kind", WORKERS)
def test_augmentation_over_a_cache(kind: str, logged: Logged) -> None:
    augment = Compose([RandomCrop(16), RandomHorizontalFlip(), ToFloat(), ToCHW()])
    expected = epochs(DataLoader(silent().map(augment, field=0), 8, shuffle=True, seed=1), 2)
    with DataLoader(logged.cache().map(augment, field=0), 8, shuffle=True, seed=1, **WORKERS[kind]) as loader:
        check_same(epochs(loader, 2), expected)
    assert len(logged.reads()) == LENGTH


def test_one_cache_under_several_loaders(logged: Logged) -> None:
    cached = logged.cache()
    for kind in ("processes", "inline", "fork", "threads"):
        with DataLoader(cached.subset(np.arange(40)), 8, **WORKERS[kind]) as loader:
            check_same(list(loader), list(DataLoader(silent().subset(np.arange(40)), 8)))
    assert logged.reads() == list(range(40))


@pytest.mark.parametrize("kind", ["inline", "threads", "processes"])
def test_resume_in_the_midst_of_an_epoch(kind: str, logged: Logged) -> None:
    expected = list(DataLoader(silent(), 8, shuffle=True, seed=1))
    cached = logged.cache()
    with DataLoader(cached, 8, shuffle=True, seed=1, **WORKERS[kind]) as loader:
        batches = iter(loader)
        begun = [next(batches) for _ in range(3)]
        state = loader.state_dict()
    with DataLoader(cached, 8, shuffle=True, seed=1, **WORKERS[kind]) as loader:
        loader.load_state_dict(state)
        check_same([*begun, *loader], expected)


@pytest.mark.parametrize("kind", ["inline", "threads", "processes"])
def test_an_error_in_the_midst(kind: str, logged: Logged) -> None:
    logged.broken = {10}
    cached = logged.cache()
    with DataLoader(cached, 8, **WORKERS[kind]) as loader:
        for _ in range(2):
            batches = iter(loader)
            next(batches)
            with pytest.raises(OSError, match="no such disk") as caught:
                next(batches)
            assert "while reading sample 10 of CachedDataset" in "".join(caught.value.__notes__)
            check_same(list(batches), list(DataLoader(silent(), 8))[2:])
    assert cached.stats().samples == LENGTH - 6  # those of the batch that lie before sample 10 were read singly
    logged.broken.clear()
    check_same(cached.get_batch(np.arange(8, 16)), list(DataLoader(silent(), 8))[1])


def test_a_draw_in_a_worker_is_named(logged: Logged) -> None:
    import headrace

    def noisy(image: Any) -> Any:
        return image + headrace.sample_rng().integers(3)

    cached = logged.map(noisy, field=0).cache()
    with (
        DataLoader(cached, 8, **WORKERS["processes"]) as loader,
        pytest.raises(CacheError, match=r"noisy draws random"),
    ):
        next(iter(loader))


@pytest.mark.parametrize("kind", ["processes", "fork"])
def test_workers_that_die_leave_what_they_have_kept(kind: str, logged: Logged, eventually: Eventually) -> None:
    cached = logged.cache()
    loader = DataLoader(cached, 4, on_worker_death="restart", in_order=False, **WORKERS[kind])
    batches: Any = iter(loader)
    seen = [next(batches)[1]]
    process = batches._batches._results._pool.supervisor._workers[0].process
    eventually(lambda: process.pid)  # the batch may be of another one
    process.kill()
    seen += [batch[1] for batch in batches]
    assert sorted(np.concatenate(seen).tolist()) == list(range(LENGTH))
    loader.close()
    check_same(list(DataLoader(cached, 4)), list(DataLoader(silent(), 4)))
    assert set(logged.reads()) == set(range(LENGTH))


def test_samples_of_classes_that_workers_were_sent(logged: Logged) -> None:
    """They go by value, and come back as instances of the consumer's own class, from wherever they were kept."""

    class Box:
        def __init__(self, data: Any) -> None:
            self.data = np.asarray(data)

    cached = logged.map(lambda sample: Box(sample[0].copy())).cache()
    for _ in range(2):
        with DataLoader(cached, 8, **WORKERS["processes"]) as loader:
            for batch, expected in zip(loader, DataLoader(silent(), 8), strict=True):
                assert type(batch) is Box
                check_same(batch.data, expected[0])
    assert logged.reads() == list(range(LENGTH))
    assert type(cached[0]) is Box


# ---------------------------------------------------------------------- memory


def shared_memory(processes: list[int]) -> int:
    """What the processes have of shared memory, each page counted once."""
    total = 0
    for process in processes:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss_Shmem:")) * 1024
    return total


def _knows_shares() -> bool:
    path = Path("/proc/self/smaps_rollup")
    return path.exists() and "Pss_Shmem:" in path.read_text(encoding="ascii")


@pytest.mark.skipif(not _knows_shares(), reason="the system does not say how memory is shared")
def test_memory_is_held_once(tmp_path: Path) -> None:
    length, size = 120, 400  # 480 KB each
    dataset = Logged(tmp_path / "log", size, length)
    cached = dataset.cache()
    before = shared_memory([os.getpid()])
    loader = DataLoader(cached, 4, num_workers=3, backend="process", persistent_workers=True)
    for _ in range(3):
        for batch in loader:
            del batch
    (pool,) = loader._pools._idle[loader._arena]
    workers = [worker.process.pid for worker in pool.supervisor._workers.values()]  # type: ignore[attr-defined]
    cached.get_batch(np.arange(length))
    stats = cached.stats()
    assert stats.bytes > length * size * size * 3
    blocks = 3 * 6 * 4 * size * size * 3  # batches that workers have ready, or that come back late
    assert shared_memory([os.getpid(), *workers]) - before < stats.bytes + blocks
    loader.close()


def test_no_descriptor_stays_open(logged: Logged) -> None:
    def count() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    list(DataLoader(silent(), 8, **WORKERS["processes"]))
    before = count()
    cached = logged.cache()
    with DataLoader(cached, 8, **WORKERS["processes"]) as loader:
        epochs(loader, 2)
    del loader, cached
    assert count() == before


SCRIPT = """
import sys, time
import numpy as np
from headrace import DataLoader, Dataset

class Large(Dataset):
    def __len__(self):
        return 64
    def __getitem__(self, index):
        return np.full(1 << 20, index, np.uint8)

for batch in DataLoader(Large().cache(), 4, num_workers=2, backend="process", persistent_workers=True):
    pass
print("ready", flush=True)
time.sleep(60)
"""


def test_killed_program_leaves_no_memory(run_script: Callable[..., Any], eventually: Callable[..., None]) -> None:
    before = set(Path("/dev").glob("shm/*"))
    script = run_script(SCRIPT)
    assert script.process.stdout.readline() == "ready\n"
    pid = script.process.pid
    group = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(path) == pid]
    script.process.kill()
    script.process.wait()
    eventually(lambda: not any(Path(f"/proc/{worker}").exists() for worker in group))
    assert set(Path("/dev").glob("shm/*")) <= before


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0
