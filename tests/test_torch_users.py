"""A torch program changes one import: the same arguments, datasets and tensors."""

from __future__ import annotations

import inspect
import warnings
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

from headrace import Compose, DataLoader, HeadraceWarning, RandomCrop, RandomHorizontalFlip, TensorDataset

torch = pytest.importorskip("torch")
data = pytest.importorskip("torch.utils.data")

Point = namedtuple("Point", "x y")  # noqa: PYI024 - what users have


def same(found: Any, expected: Any) -> None:
    """Equal in structure, type, dtype and value."""
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        assert found == expected


def tensors(count: int = 10) -> tuple[Any, Any]:
    return torch.arange(count * 3, dtype=torch.float32).reshape(count, 3), torch.arange(count)


# ------------------------------------------------------------------ the constructor


def test_torchs_arguments_in_torchs_order() -> None:
    theirs = inspect.signature(data.DataLoader).parameters
    ours = inspect.signature(DataLoader).parameters
    names = [name for name in theirs if name in ours]
    assert names == list(theirs)
    assert list(ours)[: len(names)] == names
    for name, parameter in theirs.items():
        assert ours[name].kind == parameter.kind, name
        assert ours[name].default == parameter.default, name
    assert all(ours[name].kind is inspect.Parameter.KEYWORD_ONLY for name in ours if name not in theirs)


def test_defaults_given_by_name() -> None:
    """As a configuration file of a torch program would."""
    given = {
        name: parameter.default
        for name, parameter in inspect.signature(data.DataLoader).parameters.items()
        if name != "dataset"
    }
    assert [batch.tolist() for batch in DataLoader(range(3), **given)] == [[0], [1], [2]]


@pytest.mark.parametrize(
    "given",
    [
        {"num_workers": -1},
        {"timeout": -1},
        {"prefetch_factor": 2},
        {"persistent_workers": True},
        {"multiprocessing_context": "spawn"},
        {"sampler": [1], "shuffle": True},
        {"batch_sampler": [[1]], "batch_size": 2},
        {"batch_sampler": [[1]], "drop_last": True},
        {"batch_size": None, "drop_last": True},
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"batch_size": True},
        {"drop_last": 1},
    ],
)
def test_what_torch_refuses_is_refused(given: dict[str, Any]) -> None:
    for loader in (data.DataLoader, DataLoader):
        with pytest.raises(ValueError, match=r"."):
            loader([0, 1], **given)


def test_attributes_that_wrappers_read() -> None:
    dataset, sampler = [1, 2, 3], [2, 0]
    loader = DataLoader(dataset, 2, sampler=sampler, pin_memory=False, drop_last=True)
    for name, value in {
        "dataset": dataset,
        "batch_size": 2,
        "sampler": sampler,
        "batch_sampler": None,
        "num_workers": 0,
        "collate_fn": None,
        "pin_memory": False,
        "drop_last": True,
        "timeout": 0,
        "worker_init_fn": None,
        "generator": None,
        "prefetch_factor": None,
        "persistent_workers": False,
    }.items():
        assert getattr(loader, name) == value
    assert DataLoader(dataset, batch_sampler=[[1]]).batch_size is None
    assert DataLoader(dataset, None).batch_size is None


# ------------------------------------------------------------------ tensors


@pytest.mark.parametrize("of", [TensorDataset, data.TensorDataset])
def test_tensors_come_out_as_tensors(of: Any) -> None:
    dataset = of(*tensors())
    for ours, theirs in zip(DataLoader(dataset, 4), data.DataLoader(dataset, 4), strict=True):
        same(list(ours), list(theirs))


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "int64", "uint8", "bool", "complex64", "int16"]
)
def test_dtypes(dtype: str) -> None:
    tensor = torch.tensor([[0, 1], [1, 0], [1, 1]]).to(getattr(torch, dtype))
    (batch,) = next(iter(DataLoader(TensorDataset(tensor), 3, sampler=[2, 0, 1])))
    same(batch, tensor[[2, 0, 1]])
    same(next(iter(DataLoader(list(tensor), 2))), tensor[:2])


def test_rows_are_copied() -> None:
    """Writing into a batch must not change the dataset."""
    features, labels = tensors()
    before = features.clone()
    for batch, _ in DataLoader(TensorDataset(features, labels), 4):
        batch.zero_()
    assert torch.equal(features, before)


def test_dicts_and_namedtuples() -> None:
    features, labels = tensors(4)
    samples = [
        {"x": x, "point": Point(y, 2.5), "name": str(int(y)), "many": [x, y]}
        for x, y in zip(features, labels, strict=True)
    ]
    ours, theirs = (next(iter(loader(samples, 4))) for loader in (DataLoader, data.DataLoader))
    assert type(ours["point"]) is Point
    same(ours["point"].y, theirs["point"].y)
    same(ours["x"], theirs["x"])
    same(ours["point"].x, theirs["point"].x)
    same(ours["name"], theirs["name"])
    same(ours["many"], theirs["many"])


def test_torchs_collate() -> None:
    dataset = data.TensorDataset(*tensors())
    ours, theirs = DataLoader(dataset, 4, collate_fn=data.default_collate), data.DataLoader(dataset, 4)
    same(list(ours), list(theirs))


def test_a_tensor_as_dataset() -> None:
    features, _ = tensors()
    same(list(DataLoader(features, 4)), list(features.split(4)))


def test_augmented_tensors() -> None:
    images = torch.arange(6 * 3 * 8 * 8, dtype=torch.uint8).reshape(6, 3, 8, 8)
    augment = Compose([RandomCrop(8, padding=2, layout="CHW"), RandomHorizontalFlip(layout="CHW")])
    loader = DataLoader(TensorDataset(images, torch.arange(6)).map(augment, field=0), 4, seed=0)
    arrays = DataLoader(TensorDataset(images.numpy(), np.arange(6)).map(augment, field=0), 4, seed=0)
    for (ours, labels), (expected, _) in zip(loader, arrays, strict=True):
        assert isinstance(labels, torch.Tensor)
        np.testing.assert_array_equal(ours.numpy(), expected)


def test_tensors_in_a_graph() -> None:
    features = torch.ones(4, 2, requires_grad=True)
    (batch,) = next(iter(DataLoader(TensorDataset(features * 2), 4)))
    batch.sum().backward()
    assert torch.equal(features.grad, torch.full((4, 2), 2.0))


# ------------------------------------------------------------------ its datasets


def test_composed_datasets_of_torch() -> None:
    base = data.TensorDataset(*tensors(20))
    stacked = data.StackDataset(x=base, y=list(range(20)))
    parts = data.random_split(base, [15, 5], generator=torch.Generator().manual_seed(0))
    for dataset in (data.Subset(base, [3, 1, 4]), data.ConcatDataset([base, base]), stacked, *parts):
        for ours, theirs in zip(DataLoader(dataset, 4), data.DataLoader(dataset, 4), strict=True):
            for field in (0, 1) if isinstance(ours, tuple) else ():
                same(ours[field], theirs[field])
            if isinstance(ours, dict):
                same(ours["x"][0], theirs["x"][0])
                assert ours["y"].tolist() == theirs["y"].tolist()


def test_getitems_is_asked_once_a_batch() -> None:
    class Counting(data.Dataset):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.asked: list[list[int]] = []

        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> Any:
            raise AssertionError

        def __getitems__(self, indices: list[int]) -> list[Any]:
            self.asked.append(indices)
            return [torch.tensor(index) for index in indices]

    dataset = Counting()
    assert [batch.tolist() for batch in DataLoader(dataset, 3)] == [[0, 1, 2], [3, 4]]
    assert dataset.asked == [[0, 1, 2], [3, 4]]
    assert all(type(index) is int for indices in dataset.asked for index in indices)


# ------------------------------------------------------------------ randomness


def test_a_torch_generator_decides() -> None:
    def run(seed: int) -> list[Any]:
        loader = DataLoader(range(50), 7, shuffle=True, generator=torch.Generator().manual_seed(seed))
        return [batch.tolist() for _ in range(3) for batch in loader]

    assert run(1) == run(1) != run(2)
    assert run(1)[:8] != run(1)[8:16]


def test_torchs_generator_is_left_alone_where_it_gives_no_seed() -> None:
    """It gives one where samples are torch's and no seed is passed."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    list(DataLoader(TensorDataset(*tensors()), 3, shuffle=True, seed=5))
    list(DataLoader(TensorDataset(*[tensor.numpy() for tensor in tensors()]), 3, shuffle=True))
    assert torch.equal(torch.get_rng_state(), state)


# ------------------------------------------------------------------ pinning


def test_pinning_without_a_gpu_warns_and_goes_on() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    loader = DataLoader(TensorDataset(*tensors()), 5, pin_memory=True)
    with pytest.warns(HeadraceWarning, match=r"^pin_memory=True has no effect: no GPU is found$"):
        batches = list(loader)
    assert len(batches) == 2


def test_pinning_pins_each_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the GPU: what is no tensor stays as it is."""
    pinned = []

    def pin(tensor: Any) -> Any:
        pinned.append(tensor)
        return tensor

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    samples = [{"x": torch.zeros(2), "name": "a", "y": (np.zeros(2), torch.ones(1))}] * 4
    loader = DataLoader(samples, 2, pin_memory=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches = [*loader, loader.batch(0)]
    assert len(pinned) == 2 * len(batches)
    assert batches[0]["name"] == ["a", "a"]
    assert isinstance(batches[0]["y"][0], np.ndarray)


def _gpu_or_skip() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")


@pytest.mark.parametrize(("backend", "workers"), [("auto", 0), ("thread", 2), ("process", 2)])
def test_copies_to_a_gpu_from_pinned_batches(backend: Any, workers: int) -> None:
    _gpu_or_skip()
    images = torch.arange(64 * 3 * 64 * 64, dtype=torch.float32).reshape(64, 3, 64, 64)
    dataset = TensorDataset(images, torch.arange(64))
    with DataLoader(dataset, 8, shuffle=True, num_workers=workers, backend=backend, pin_memory=True) as loader:
        copies = []
        for batch, numbers in loader:
            assert batch.is_pinned()
            copies.append((batch.to("cuda", non_blocking=True), numbers))
    for copy, numbers in copies:
        assert torch.equal(copy.cpu(), images[numbers])


def test_what_is_on_a_gpu_already_stays_there() -> None:
    _gpu_or_skip()
    images = torch.arange(24, dtype=torch.float32, device="cuda").reshape(8, 3)
    loader = DataLoader(TensorDataset(images, torch.arange(8)), 4, pin_memory=True)
    for batch, numbers in loader:
        assert batch.is_cuda
        assert torch.equal(batch, images[numbers.cuda()])


# ------------------------------------------------------------------ a model learns


def test_a_training_loop() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(200, 5)
    weights = torch.tensor([1.0, -2.0, 3.0, -4.0, 5.0])
    loader = DataLoader(data.TensorDataset(inputs, inputs @ weights), batch_size=20, shuffle=True, num_workers=0)
    model = torch.nn.Linear(5, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        for batch, targets in loader:
            optimizer.zero_grad()
            loss = ((model(batch)[:, 0] - targets) ** 2).mean()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(model.weight[0].detach(), weights, atol=1e-3, rtol=0)
