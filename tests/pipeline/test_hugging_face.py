"""Hugging Face's datasets as they are: their own library where it is installed, and a stand-in where it is not."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest

import headrace
from headrace import DataLoader, Decode, default_collate
from headrace.errors import CollateError, MixedSamplesError, RaggedSamplesError
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.hugging_face import collate_columns, gives_columns
from headrace.testing import check_same

N = 40
IMAGES = [b"P6 2 2 255 " + bytes([n] * 12) for n in range(N)]
COLUMNS: dict[str, list[Any]] = {
    "number": list(range(N)),
    "weight": [n / 2 for n in range(N)],
    "flag": [n % 3 == 0 for n in range(N)],
    "text": [f"row {n}" for n in range(N)],
    "vector": [[n, n + 1] for n in range(N)],
    "image": IMAGES,
}


def made(columns: dict[str, list[Any]]) -> Any:
    library = pytest.importorskip("datasets", reason="Hugging Face's own library is tested")
    return library.Dataset.from_dict(columns)


class StandIn:
    """Gives columns as theirs does."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns
        self.reads = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key: Any) -> Any:
        self.reads += 1
        if isinstance(key, list):
            return {name: [column[index] for index in key] for name, column in self.columns.items()}
        return {name: column[key] for name, column in self.columns.items()}

    __getitem__.__module__ = "datasets.arrow_dataset"


@pytest.fixture(params=["theirs", "a stand-in"])
def dataset(request: pytest.FixtureRequest) -> Any:
    return made(COLUMNS) if request.param == "theirs" else StandIn(COLUMNS)


def test_batches_are_the_collated_samples(dataset: Any) -> None:
    assert gives_columns(dataset)
    indices = np.array([3, 0, 3, 39])
    check_same(compile_dataset(dataset).batch(indices), default_collate([dataset[int(index)] for index in indices]))
    loader = DataLoader(dataset, batch_size=16, shuffle=True, seed=0)
    numbers = np.concatenate([batch["number"] for batch in loader])
    assert sorted(numbers.tolist()) == list(range(N))


def test_a_batch_is_read_at_once() -> None:
    dataset = StandIn(COLUMNS)
    list(DataLoader(dataset, batch_size=10))
    assert dataset.reads == 4


def test_a_column_of_images_is_decoded(dataset: Any) -> None:
    mapped = headrace.MapDataset(dataset, Decode(), field="image")
    batch = next(iter(DataLoader(mapped, batch_size=8, num_workers=2, backend="thread")))
    assert batch["image"].shape == (8, 2, 2, 3)
    assert batch["image"][:, 0, 0, 0].tolist() == batch["number"].tolist()


def test_overridden_getitem_is_used() -> None:
    class Doubled(StandIn):
        def __getitem__(self, key: Any) -> Any:
            return super().__getitem__(key)["number"] * 2

    assert not gives_columns(Doubled(COLUMNS))
    assert next(iter(DataLoader(Doubled(COLUMNS), batch_size=3))).tolist() == [0, 2, 4]


def test_draws_belong_to_samples() -> None:
    """A transform in the dataset that does not know for which sample it draws is asked for one at a time."""

    class Noisy(StandIn):
        def _noisy(self, key: Any) -> Any:
            columns = StandIn.__getitem__(self, key)
            noise = headrace.sample_rng().random()
            return columns | {"weight": [noise] * len(key) if isinstance(key, list) else noise}

        _noisy.__module__ = "datasets.arrow_dataset"
        __getitem__ = _noisy

    batches = [
        np.concatenate([batch["weight"] for batch in DataLoader(Noisy(COLUMNS), batch_size=size, seed=1)])
        for size in (1, 8)
    ]
    assert batches[0].tolist() == batches[1].tolist()
    assert len(set(batches[0].tolist())) == N


def test_values_that_do_not_fit_are_named() -> None:
    with pytest.raises(MixedSamplesError, match=r"\['x'\] differs in type: sample 5 has int64, sample 6 has NoneType"):
        collate_columns({"x": [1, None]}, [5, 6])
    with pytest.raises(RaggedSamplesError, match=r"\['x'\] differs in length: sample 5 has 1, sample 6 has 2"):
        collate_columns({"x": [[1], [1, 2]]}, [5, 6])


def test_arrays_of_the_dataset_are_copied() -> None:
    array = np.arange(3)
    array.flags.writeable = False
    batch = collate_columns({"x": array, "y": np.array(["a", "b", "c"])}, [0, 1, 2])
    batch["x"][0] = 9
    assert array[0] == 0
    assert batch["y"] == ["a", "b", "c"]


# -- their own library


def test_their_numpy_format() -> None:
    dataset = made(COLUMNS).with_format("numpy")
    batch = compile_dataset(dataset).batch(np.array([3, 1]))
    assert {name: type(value) for name, value in batch.items()} == {
        **dict.fromkeys(("number", "weight", "flag", "vector"), np.ndarray),
        **dict.fromkeys(("text", "image"), list),
    }
    assert batch["vector"].tolist() == [[3, 4], [1, 2]]
    assert batch["text"] == ["row 3", "row 1"]
    with pytest.raises(CollateError, match=r"\['x'\] differs in shape"):
        compile_dataset(made({"x": [[1], [1, 2]]}).with_format("numpy")).batch(np.array([0, 1]))


def test_their_torch_format() -> None:
    torch = pytest.importorskip("torch", reason="its tensors are tested")
    dataset = made({"number": list(range(N)), "vector": COLUMNS["vector"]}).with_format("torch")
    batch = compile_dataset(dataset).batch(np.array([3, 1]))
    assert isinstance(batch["number"], torch.Tensor)
    check_same(batch, default_collate([dataset[3], dataset[1]]))


def test_their_transforms() -> None:
    dataset = made(COLUMNS).with_transform(lambda columns: {"x": [n * 2 for n in columns["number"]]})
    assert next(iter(DataLoader(dataset, batch_size=4)))["x"].tolist() == [0, 2, 4, 6]


def test_their_selections_and_files(tmp_path: Any) -> None:
    made(COLUMNS).save_to_disk(tmp_path)
    stored = pytest.importorskip("datasets").load_from_disk(str(tmp_path)).shuffle(seed=1).select(range(30))
    expected = stored["number"][:30]
    assert [n for batch in DataLoader(stored, batch_size=7) for n in batch["number"].tolist()] == expected
    assert compile_dataset(pickle.loads(pickle.dumps(stored))).batch(np.arange(30))["number"].tolist() == expected
    table = headrace.ArrowDataset(stored.with_format("arrow")[:])
    check_same(
        table.get_batch(np.arange(30)),
        compile_dataset(stored).batch(np.arange(30)) | {"vector": table.get_batch(np.arange(30))["vector"]},
    )
    files = headrace.ArrowDataset(tmp_path / "data-*.arrow")
    assert files.get_batch(np.arange(N))["text"] == COLUMNS["text"]


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_their_datasets_in_workers(backend: Any) -> None:
    dataset = made(COLUMNS)
    expected = list(DataLoader(dataset, batch_size=9, shuffle=True, seed=2))
    with DataLoader(dataset, batch_size=9, shuffle=True, seed=2, num_workers=2, backend=backend) as loader:
        check_same(list(loader), expected)


def test_their_streams() -> None:
    stream = made({"number": list(range(N))}).to_iterable_dataset()
    random.seed(0)
    assert [n for batch in DataLoader(stream, batch_size=8) for n in batch["number"].tolist()] == list(range(N))


def test_a_null_is_named() -> None:
    with pytest.raises(MixedSamplesError, match=r"\['x'\] is None in sample 2"):
        list(DataLoader(made({"x": [0, 1, None]}), batch_size=2, sampler=[2, 1]))
