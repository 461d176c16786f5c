"""Samples kept on disk: they survive a restart, damage is noticed, and nobody gets those of another dataset."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import headrace
from headrace import DataLoader, Dataset, ImageDataset, Resize, Subset, TensorDataset, ToFloat, default_collate
from headrace.cache.fingerprint import fingerprint
from headrace.cache.store import HEAD
from headrace.errors import ArgumentError, CacheError
from headrace.testing import check_dataset, check_same

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LENGTH = 30


class Counting(Dataset[Any]):
    reads: list[int] = []  # noqa: RUF012 - of all, so that it is no part of a dataset

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int, /) -> Any:
        if not 0 <= index < LENGTH:
            raise IndexError(index)
        self.reads.append(index)
        return sample(index)


def sample(index: int) -> Any:
    return np.full((20, 20, 3), index, np.uint8), index, "name" * (index % 4)


@pytest.fixture(autouse=True)
def _nothing_read() -> None:
    Counting.reads.clear()


def batch(*indices: int) -> Any:
    return default_collate([sample(index) for index in indices])


def test_a_dataset_like_any_other(tmp_path: Path) -> None:
    check_dataset(Counting().cache(tmp_path / "a"), negative=True, picklable=True)


def test_cache_survives_a_restart(tmp_path: Path) -> None:
    first = Counting().cache(tmp_path / "new" / "cache")
    check_same(first.get_batch(np.arange(10)), batch(*range(10)))
    again = Counting().cache(str(tmp_path / "new" / "cache"))
    check_same(again.get_batch(np.arange(15)), batch(*range(15)))
    check_same(again[3], sample(3))
    assert sorted(Counting.reads) == list(range(15))
    assert (again.stats().hits, again.stats().misses, again.stats().samples) == (11, 5, 15)


def test_two_datasets_share_one_folder(tmp_path: Path) -> None:
    one, two = Counting().cache(tmp_path), Counting().cache(tmp_path)
    for start in range(0, LENGTH, 2):
        one.get_batch(np.array([start]))
        two.get_batch(np.array([start + 1]))
    for cached in (one, two):
        check_same(cached.get_batch(np.arange(LENGTH)), batch(*range(LENGTH)))
    assert sorted(Counting.reads) == list(range(LENGTH))


def test_numpy_reads_its_files(tmp_path: Path) -> None:
    cached = Counting().cache(tmp_path)
    cached.get_batch(np.arange(10))
    table = np.load(tmp_path / "table.npy", mmap_mode="r")
    content = np.load(tmp_path / "samples.npy", mmap_mode="r")
    assert (table.shape, table.dtype.str, int(np.count_nonzero(table))) == ((LENGTH,), "<i8", 10)
    assert (content.shape, content.dtype) == ((cached.stats().bytes,), np.dtype("u1"))
    start = 16 * int(table[7]) - 128 + 16
    assert (content[start : start + 1200] == 7).all()


def test_limit_is_kept(tmp_path: Path) -> None:
    for _ in range(2):  # it counts what is there already
        cached = Counting().cache(tmp_path, limit=5000)
        check_same(cached.get_batch(np.arange(LENGTH)), batch(*range(LENGTH)))
        assert cached.stats().samples == 3
        assert cached.stats().bytes <= 5000


def test_pickled_copies_share_the_folder(tmp_path: Path) -> None:
    import pickle

    cached = Counting().cache(tmp_path)
    cached.get_batch(np.arange(5))
    other = pickle.loads(pickle.dumps(cached))
    check_same(other[3], sample(3))
    assert sorted(Counting.reads) == list(range(5))


# ---------------------------------------------------------------------- damage


@pytest.mark.parametrize("where", ["content", "head", "length", "entry", "negative entry", "swapped"])
def test_damage_is_noticed_and_mended(where: str, tmp_path: Path) -> None:
    Counting().cache(tmp_path).get_batch(np.arange(LENGTH))
    table = np.load(tmp_path / "table.npy", mmap_mode="r+")
    content = np.load(tmp_path / "samples.npy", mmap_mode="r+")
    start = 16 * int(table[7]) - 128
    if where == "content":
        content[start + 500] ^= 1
    elif where == "head":
        content[start] ^= 1
    elif where == "length":
        content[start + 15] ^= 0x40
    elif where == "entry":
        table[7] = 1 << 40
    elif where == "negative entry":
        table[7] = -1
    else:
        table[7] = table[8]
    del table, content
    Counting.reads.clear()
    for reads in ([7], []):  # mended the first time
        cached = Counting().cache(tmp_path)
        check_same(cached.get_batch(np.arange(LENGTH)), batch(*range(LENGTH)))
        check_same(cached[7], sample(7))
        assert Counting.reads == reads
        Counting.reads.clear()


def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    Counting().cache(tmp_path).get_batch(np.arange(LENGTH))
    path = tmp_path / "samples.npy"
    os.truncate(path, path.stat().st_size // 2 + 5)
    for _ in range(2):
        cached = Counting().cache(tmp_path)
        check_same(cached.get_batch(np.arange(LENGTH)), batch(*range(LENGTH)))
    assert len(Counting.reads) < 2 * LENGTH


def test_damage_beyond_repair_is_told(tmp_path: Path) -> None:
    Counting().cache(tmp_path / "a")
    (tmp_path / "a" / "about.json").write_text("{")
    with pytest.raises(CacheError, match=r"is damaged: about\.json is no JSON; delete the folder"):
        Counting().cache(tmp_path / "a")
    Counting().cache(tmp_path / "b")
    os.truncate(tmp_path / "b" / "table.npy", 130)
    with pytest.raises(CacheError, match="its files have other sizes than they should; delete it"):
        Counting().cache(tmp_path / "b")


def test_half_made_folder_is_completed(tmp_path: Path) -> None:
    cached = Counting().cache(tmp_path)
    cached.get_batch(np.arange(5))
    (tmp_path / "about.json").unlink()
    Counting.reads.clear()
    check_same(Counting().cache(tmp_path).get_batch(np.arange(5)), batch(*range(5)))
    assert Counting.reads == list(range(5))


def test_a_folder_with_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(CacheError, match=r"holds other files \(thesis\.tex\)"):
        Counting().cache(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "thesis.tex"]
    with pytest.raises(FileExistsError):
        Counting().cache(tmp_path / "thesis.tex")
    with pytest.raises(ArgumentError, match="where must be 'ram' or a folder of this machine"):
        Counting().cache("s3://bucket/cache")


def test_no_pickle_is_read_from_disk(tmp_path: Path) -> None:
    cached = TensorDataset(np.arange(3)).map(lambda row: (row[0], {1, 2})).cache(tmp_path)
    with pytest.raises(CacheError, match=r"a sample holds a builtins\.set, which would have to be pickled"):
        cached[0]


# ---------------------------------------------------------------------- what others put there


def with_layout(folder: Path, text: str) -> None:
    """Write a cache whose file says that samples are something else."""
    TensorDataset(np.arange(10).reshape(10, 1)).cache(folder, key="k").get_batch(np.arange(10))
    path = folder / "samples.npy"
    content = bytearray(path.read_bytes())
    content[128 : 144 + len(text)] = HEAD.pack(0, len(text)) + text.encode()
    path.write_bytes(content)


@pytest.mark.parametrize(
    "text",
    [
        '["pickle", "|u1", [30]]',
        '["tuple", [["pickle", "|u1", [30]]], []]',
        '["str", "|u1", [3]]',
        '["array", "|O", [9]]',
        '["array", "<i8", [1152921504606846976, 16]]',
        "[" * 5000,
        "\xff",
        '["pickle"]',
    ],
)
def test_a_layout_that_no_writer_wrote(text: str, tmp_path: Path) -> None:
    with_layout(tmp_path, text)
    with pytest.raises(CacheError, match="a cache is damaged, or was not written by headrace"):
        TensorDataset(np.arange(10).reshape(10, 1)).cache(tmp_path, key="k")


@pytest.mark.parametrize("text", ['["array", "<i8", [100000]]', '["array", "|u1", [70368744177664]]'])
def test_rows_longer_than_the_file(text: str, tmp_path: Path) -> None:
    with_layout(tmp_path, f'["tuple", [{text}], []]')
    cached = TensorDataset(np.arange(10).reshape(10, 1)).cache(tmp_path, key="k")
    with pytest.raises(CacheError, match="a cache is damaged"):
        cached.get_batch(np.arange(10))
    with pytest.raises(CacheError, match="a cache is damaged"):
        cached[3]


def test_header_with_too_large_numbers(tmp_path: Path) -> None:
    with_layout(tmp_path, "[]")
    for nbytes in (1 << 40, -1):
        with (tmp_path / "samples.npy").open("r+b") as file:
            file.seek(128)
            file.write(HEAD.pack(0, nbytes))
        with pytest.raises(CacheError, match="is damaged: what it has at 144 is not in its"):
            TensorDataset(np.arange(10).reshape(10, 1)).cache(tmp_path, key="k")


@pytest.mark.parametrize("name", ["samples.npy", "table.npy", "lock", "about.json", "about.json.new"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe", "open to all"])
def test_planted_files(name: str, kind: str, tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "cache"
    victim.write_text("precious")
    folder.mkdir()
    path = folder / name
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "new")
    elif kind == "hard link":
        path.hardlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        path.chmod(0o666)
    if name == "about.json.new":  # which is made anew
        Counting().cache(folder)
    else:
        with pytest.raises(CacheError):
            Counting().cache(folder)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_open_to_all(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(CacheError, match="cannot be trusted: anybody may write to"):
        Counting().cache(folder)


# ---------------------------------------------------------------------- a disk that is full for a while


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room cannot be asked for here")
@pytest.mark.filterwarnings("ignore:no more samples are cached")
def test_room_that_was_taken_in_vain_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = TensorDataset(np.zeros((LENGTH, 1000))).cache(tmp_path, limit=8100 * LENGTH, key="k")
    free = [40_000]
    allocate = os.posix_fallocate

    def on_a_small_disk(descriptor: int, offset: int, length: int) -> None:
        if length > free[0]:
            os.ftruncate(descriptor, offset + length // 2)  # as some systems leave it
            raise OSError(errno.ENOSPC, "No space left on device")
        free[0] -= length
        allocate(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", on_a_small_disk)
    for _ in range(5):
        for start in range(0, LENGTH, 3):
            cached.get_batch(np.arange(start, start + 3))
    assert cached.stats().samples == 3
    assert cached.stats().bytes == (tmp_path / "samples.npy").stat().st_size - 128 < 40_000
    free[0] = 1 << 20
    for start in range(0, LENGTH, 3):
        cached.get_batch(np.arange(start, start + 3))
    assert cached.stats().samples == LENGTH


# ---------------------------------------------------------------------- whose samples


def scaled(factor: int) -> Callable[[Any], Any]:
    return lambda row: (row[0] * factor,)


PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "content": (lambda: TensorDataset(np.arange(9)), lambda: TensorDataset(np.arange(1, 10))),
    "length": (lambda: TensorDataset(np.arange(9)), lambda: TensorDataset(np.arange(8))),
    "dtype": (lambda: TensorDataset(np.arange(9)), lambda: TensorDataset(np.arange(9.0))),
    "class": (lambda: TensorDataset(np.arange(9)), lambda: Subset(list(range(9)), range(9))),
    "subset": (lambda: Subset(list(range(9)), [0, 1]), lambda: Subset(list(range(9)), [1, 2])),
    "paths": (lambda: ImageDataset(["a/1.png"], [0]), lambda: ImageDataset(["b/1.png"], [0])),
    "transform": (
        lambda: ImageDataset(["a"], [0], transform=Resize(8)),
        lambda: ImageDataset(["a"], [0], transform=Resize(9)),
    ),
    "map": (lambda: TensorDataset(np.arange(9)).map(abs), lambda: TensorDataset(np.arange(9)).map(ToFloat())),
    "closure": (
        lambda: TensorDataset(np.arange(9)).map(scaled(2)),
        lambda: TensorDataset(np.arange(9)).map(scaled(3)),
    ),
    "code": (
        lambda: TensorDataset(np.arange(9)).map(lambda row: row),
        lambda: TensorDataset(np.arange(9)).map(lambda row: row * 2),
    ),
    "field": (
        lambda: TensorDataset(np.arange(9)).map(abs, field=0),
        lambda: TensorDataset(np.arange(9)).map(abs, field=-1),
    ),
    "strings": (lambda: TensorDataset(np.array(["a", None])), lambda: TensorDataset(np.array(["b", None]))),
}


@pytest.mark.parametrize("what", PAIRS)
def test_another_dataset_is_refused(what: str, tmp_path: Path) -> None:
    one, other = PAIRS[what]
    assert fingerprint(one()) == fingerprint(one())
    one().cache(tmp_path)
    one().cache(tmp_path)
    with pytest.raises(
        CacheError, match=r"keeps samples of another dataset: .* give another folder, or delete that one"
    ):
        other().cache(tmp_path)


def test_key_identifies_the_dataset(tmp_path: Path) -> None:
    TensorDataset(np.arange(9)).cache(tmp_path, key="v1")
    TensorDataset(np.arange(9) * 2).cache(tmp_path, key="v1")
    for key in ("v2", None):
        with pytest.raises(CacheError, match="differing: key"):
            TensorDataset(np.arange(9)).cache(tmp_path, key=key)


def test_fingerprints_are_the_same_in_every_process() -> None:
    script = """
        import numpy as np
        from headrace import Compose, ImageDataset, Resize, TensorDataset, ToFloat
        from headrace.cache.fingerprint import fingerprint
        images = ImageDataset(["a", "b"], ["x", "y"], transform=Compose([Resize(8), ToFloat()]))
        print(fingerprint([images, {"b", "a", "c"}, TensorDataset(np.arange(3)).map(lambda row: row)]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    run = [
        subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
        for seed in "12"
    ]
    assert run[0].stdout == run[1].stdout != ""


def test_large_arrays_at_both_ends() -> None:
    large = np.zeros((1 << 16, 1100), np.uint8)
    before = fingerprint(large)
    for place in (0, -1):
        large[place] ^= 1
        assert fingerprint(large) != before
        large[place] ^= 1
    assert fingerprint(large) == before


def test_samples_that_hold_themselves() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert fingerprint(circle) == fingerprint(circle)
    assert fingerprint([open, sys, 1.5, b"x", np.float32(1)]) != fingerprint([open, os, 1.5, b"x", np.float32(1)])


# ---------------------------------------------------------------------- workers and kills


@pytest.mark.parametrize(
    "workers", [{}, {"backend": "thread"}, {"backend": "process"}, {"multiprocessing_context": "fork"}]
)
def test_workers(workers: dict[str, Any], tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (LENGTH, 16, 16, 3), np.uint8)
    dataset = TensorDataset(images, np.arange(LENGTH))
    expected = list(DataLoader(dataset, 4, shuffle=True, seed=0))
    for epoch in range(2):
        cached = dataset.cache(tmp_path)
        with DataLoader(cached, 4, shuffle=True, seed=0, num_workers=2 if workers else 0, **workers) as loader:
            check_same(list(loader), expected)
        assert (cached.stats().hits, cached.stats().misses) == ((0, LENGTH), (LENGTH, 0))[epoch]


KILLED = """
import sys
import numpy as np
from headrace import Dataset

class Slow(Dataset):
    def __len__(self):
        return 10_000
    def __getitem__(self, index):
        return np.full(1000, index % 251, np.uint8), index

cached = Slow().cache(sys.argv[1], key="killed")
print("ready", flush=True)
for start in range(0, 10_000, 10):
    cached.get_batch(np.arange(start, start + 10))
"""


def test_killed_in_the_midst(tmp_path: Path) -> None:
    class Slow(Dataset[Any]):
        def __len__(self) -> int:
            return 10_000

        def __getitem__(self, index: int, /) -> Any:
            return np.full(1000, index % 251, np.uint8), index

    script = tmp_path / "script.py"
    script.write_text(KILLED)
    Slow.__qualname__ = "Slow"
    Slow.__module__ = "__main__"
    for _ in range(3):
        command = [sys.executable, str(script), str(tmp_path / "cache")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGKILL)
        cached = Slow().cache(tmp_path / "cache", key="killed")
        content, labels = cached.get_batch(np.arange(10_000))
        assert (labels == np.arange(10_000)).all()
        assert (content == (np.arange(10_000) % 251)[:, np.newaxis]).all()
        shutil.rmtree(tmp_path / "cache")


def test_about_describes_the_cache(tmp_path: Path) -> None:
    Counting().cache(tmp_path, key="mine")
    about = json.loads((tmp_path / "about.json").read_text())
    assert about["dataset"].endswith("Counting")
    assert (about["length"], about["key"], about["fingerprint"]) == (LENGTH, "mine", None)
    assert headrace.CachedDataset(Counting(), tmp_path, key="mine").stats().samples == 0
