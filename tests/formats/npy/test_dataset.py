"""Rows of .npy files, held against the arrays that NumPy wrote."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace import Compose, DataLoader, NpyDataset, RandomCrop, RandomHorizontalFlip, TensorDataset, ToCHW, ToFloat
from headrace.errors import ArgumentError, CorruptDataError, FileChangedError, OutOfRangeError
from headrace.testing import check_dataset, check_same

GRID = np.arange(60).reshape(5, 3, 4)

ARRAYS: dict[str, Any] = {
    "rows": GRID,
    "one dimension": np.arange(5),
    "bool": GRID % 2 == 0,
    "half": GRID.astype(np.float16),
    "big-endian": GRID.astype(">f8"),
    "big-endian labels": np.arange(5).astype(">i4"),
    "structured": np.array([(i, str(i)) for i in range(5)], "i4,U2"),
    "strings": np.array(["a", "bb", "", "dddd", "e"]),
    "Fortran order": np.asfortranarray(GRID),
    "times": np.arange(5).astype("M8[D]"),
    "no elements": np.zeros((5, 0, 2)),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_a_file_is_its_rows(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "x.npy", array)
    dataset = NpyDataset(tmp_path / "x.npy")
    check_dataset(dataset, negative=True, picklable=True)
    expected = TensorDataset(array)
    check_same([dataset[index] for index in range(5)], [expected[index][0] for index in range(5)])
    indices = np.array([4, 0, 0, -1])
    check_same(dataset.get_batch(indices), expected.get_batch(indices)[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images and labels, as columns in one folder and as three shards."""
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    labels = np.arange(50)
    for name, rows in {"all": slice(0, 50), "0": slice(0, 20), "1": slice(20, 21), "2": slice(21, 50)}.items():
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "label.npy", labels[rows])
        np.save(tmp_path / name / "image.npy", images[rows])
    return tmp_path


def test_a_folder_is_its_columns(folder: Path) -> None:
    (folder / "all" / ".hidden.npy").write_bytes(b"")
    (folder / "all" / "notes.txt").write_bytes(b"")
    dataset = NpyDataset(folder / "all")
    check_dataset(dataset, negative=True, picklable=True)
    assert dataset.fields == ["image", "label"]
    assert list(dataset[3]) == ["image", "label"]
    assert dataset[3]["label"] == 3


def test_shards_follow_one_another(folder: Path) -> None:
    whole, shards = NpyDataset(folder / "all"), NpyDataset(folder / "[0-9]")
    check_dataset(shards, negative=True, picklable=True)
    assert len(shards) == 50
    indices = np.array([49, 0, 20, 21, 19, 20])
    check_same(shards.get_batch(indices), whole.get_batch(indices))
    check_same([shards[index] for index in range(50)], [whole[index] for index in range(50)])
    backwards = NpyDataset([folder / "2", folder / "0"])
    assert backwards[0]["label"] == 21
    files = NpyDataset(folder / "[0-9]" / "label.npy")
    assert [files[index] for index in range(50)] == list(range(50))


def test_a_row_is_a_view_and_a_batch_is_a_copy(folder: Path) -> None:
    dataset = NpyDataset(folder / "all")
    assert dataset[0]["image"].base is not None
    assert not dataset[0]["image"].flags.writeable
    batch = dataset.get_batch(np.array([0]))
    batch["image"][...] = 0
    assert dataset[0]["image"].any()


@pytest.mark.parametrize("shards", ["all", "[0-9]"])
def test_transforms_give_what_they_give_on_arrays(folder: Path, shards: str) -> None:
    """The window is cut out of the mapped file, with the same draws as elsewhere."""
    augment = Compose([RandomCrop(8), RandomHorizontalFlip(), ToFloat(), ToCHW()])
    images = np.load(folder / "all" / "image.npy")
    loaders = [
        DataLoader(dataset, batch_size=16, shuffle=True, seed=3)
        for dataset in (
            NpyDataset(folder / shards).map(augment, field="image"),
            TensorDataset(images, np.arange(50)).map(augment, field=0),
        )
    ]
    for (image, label), expected in zip((batch.values() for batch in loaders[0]), loaders[1], strict=True):
        check_same((image, label), expected)
    alone = DataLoader(NpyDataset(folder / shards / "image.npy").map(augment), batch_size=16, shuffle=True, seed=3)
    check_same(alone.batch(1, epoch=0), loaders[1].batch(1, epoch=0)[0])


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_workers_read_the_same(folder: Path, backend: Any) -> None:
    dataset = NpyDataset(folder / "[0-9]")
    expected = list(DataLoader(dataset, batch_size=7, shuffle=True, seed=1))
    with DataLoader(dataset, batch_size=7, shuffle=True, seed=1, num_workers=2, backend=backend) as loader:
        for batch, other in zip(loader, expected, strict=True):
            check_same(batch, other)


@pytest.mark.parametrize("shards", ["all", "[012]"])
def test_small_batches_are_read_together(folder: Path, shards: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read, get_batch = [], NpyDataset.get_batch

    def counting(self: NpyDataset, indices: Any) -> Any:
        read.append(len(indices))
        return get_batch(self, indices)

    monkeypatch.setattr(NpyDataset, "get_batch", counting)
    dataset = NpyDataset(folder / shards)
    batches = list(DataLoader(dataset, 3, shuffle=True, seed=1))
    assert len(read) < len(batches) == 17
    check_same(batches, [DataLoader(dataset, 3, shuffle=True, seed=1).batch(step) for step in range(17)])


@pytest.mark.parametrize("count", [1, 24, 200])
def test_batches_of_few_rows_and_of_many(folder: Path, count: int) -> None:
    """Many rows of few shards go another way than few."""
    whole, shards = NpyDataset(folder / "all"), NpyDataset(folder / "[012]")
    indices = np.random.default_rng(count).integers(-50, 50, count)
    check_same(shards.get_batch(indices), whole.get_batch(indices))
    check_same(shards.get_batch(indices % 50), whole.get_batch(indices % 50))
    with pytest.raises(OutOfRangeError, match="Index 50 out of range for dataset of size 50"):
        shards.get_batch(np.append(indices, 50))


def test_of_shards_only_those_that_are_read_may_not_change(folder: Path) -> None:
    shards = NpyDataset(folder / "[012]")
    np.save(folder / "2" / "label.npy", np.arange(29) + 1)
    check_same(shards.get_batch(np.arange(40) % 21), NpyDataset(folder / "all").get_batch(np.arange(40) % 21))
    with pytest.raises(FileChangedError, match="has changed"):
        shards.get_batch(np.arange(40))


def test_threads_read_at_the_same_time(folder: Path) -> None:
    dataset = NpyDataset(folder / "[0-9]")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda index: dataset[index]["label"].item(), list(range(50)) * 20))
    assert found == list(range(50)) * 20


def test_a_resumed_epoch_goes_on(folder: Path) -> None:
    loader = DataLoader(NpyDataset(folder / "all"), batch_size=8, shuffle=True, seed=0)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    rest = [batch["label"].tolist() for batch in batches]
    other = DataLoader(NpyDataset(folder / "all"), batch_size=8, shuffle=True, seed=0)
    other.load_state_dict(state)
    assert [batch["label"].tolist() for batch in other] == rest


def test_of_many_shards_few_are_open(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="descriptors can be counted here")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(200):
        np.save(tmp_path / f"{number:03d}.npy", np.full((3, 2), number))
    taken = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 120, limits[1]))
    try:
        dataset = NpyDataset(tmp_path / "*.npy")
        order = np.random.default_rng(0).permutation(600)
        for start in range(0, 600, 30):
            rows = order[start : start + 30]
            assert dataset.get_batch(rows)[:, 0].tolist() == (rows // 3).tolist()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_it_is_small_to_pickle(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1000, 1000)))
    dataset = NpyDataset(tmp_path / "x.npy")
    dataset[0]
    assert len(pickle.dumps(dataset)) < 2000


def test_rows_that_are_not_there(folder: Path) -> None:
    with pytest.raises(OutOfRangeError, match=r"^Index 50 out of range for dataset of size 50$"):
        NpyDataset(folder / "all")[50]
    assert len(NpyDataset(folder / "all").get_batch(np.array([], np.int64))["label"]) == 0


def test_bad_folders(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"there are no \.npy files in the folder .*empty"):
        NpyDataset(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        NpyDataset(tmp_path / "absent.npy")
    np.save(folder / "0" / "label.npy", np.arange(19))
    with pytest.raises(ArgumentError, match=r"as many rows each, but have \{'image': 20, 'label': 19\}"):
        NpyDataset(folder / "0")
    np.save(folder / "1" / "label.npy", np.arange(1.0))
    with pytest.raises(ArgumentError, match=r"1/label\.npy has rows of float64 \(\)"):
        NpyDataset([folder / "all", folder / "1"])
    (folder / "2" / "label.npy").unlink()
    with pytest.raises(ArgumentError, match=r"2 has \['image'\]"):
        NpyDataset([folder / "all", folder / "2"])
    np.save(tmp_path / "value.npy", 5)
    with pytest.raises(ArgumentError, match=r"value\.npy holds a single value"):
        NpyDataset(tmp_path / "value.npy")


def test_a_damaged_file_is_named(folder: Path) -> None:
    path = folder / "1" / "image.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptDataError, match=r"1/image\.npy is cut short"):
        NpyDataset(folder / "[0-9]")


def test_a_file_that_changes_is_an_error_that_names_the_sample(folder: Path) -> None:
    dataset = NpyDataset(folder / "all")
    copy = pickle.dumps(dataset)
    np.save(folder / "all" / "label.npy", np.arange(7))
    with pytest.raises(FileChangedError, match=r"label\.npy has changed") as caught:
        next(iter(DataLoader(dataset, batch_size=4)))
    assert any("while reading sample 0" in note for note in caught.value.__notes__)
    with pytest.raises(FileChangedError, match=r"label\.npy has changed"):
        pickle.loads(copy)[0]
