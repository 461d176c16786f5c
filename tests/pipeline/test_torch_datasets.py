"""Torch's own datasets are read as headrace's of the same names, with the batches that their samples make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import headrace
from headrace import DataLoader, RandomCrop, default_collate, sample_rng
from headrace.errors import HeadraceWarning
from headrace.loader.pools import choose_backend
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.describe import describe
from headrace.pipeline.nodes import Concat, Select, Source
from headrace.testing import check_same

if TYPE_CHECKING:
    from collections.abc import Callable

torch: Any = pytest.importorskip("torch", reason="its datasets are read")
data: Any = pytest.importorskip("torch.utils.data", reason="its datasets are read")

N = 60


def rows(count: int = N) -> Any:
    """A TensorDataset of torch's."""
    made = torch.Generator().manual_seed(count)
    return data.TensorDataset(torch.randn(count, 3, 8, 8, generator=made), torch.arange(count))


class Plain:
    """The same samples, in a class of which nothing is known."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]


def noisy(sample: Any) -> Any:
    return sample[0] + float(sample_rng().normal()), sample[1]


def ours() -> Any:
    """A dataset of headrace's that draws, once for each sample and once more in a transform."""
    images = np.random.default_rng(0).integers(0, 255, (N, 8, 8, 3)).astype(np.float32)
    return headrace.TensorDataset(images, np.arange(N)).map(RandomCrop(8, padding=2), field=0).map(noisy)


SEEN: dict[str, tuple[Callable[[], Any], type]] = {
    "TensorDataset": (rows, Source),
    "of many kinds": (
        lambda: data.TensorDataset(
            torch.arange(N),
            torch.randn(2, N).T,
            torch.randn(1).expand(N),
            torch.zeros(N, 0),
            torch.randn(N, 3).bfloat16(),
            torch.randn(N, 2) > 0,
        ),
        Source,
    ),
    "Subset": (lambda: data.Subset(rows(), [3, -1, 7, 7, *range(20)]), Select),
    "Subset of a tensor of indices": (lambda: data.Subset(rows(), torch.randperm(N)), Select),
    "Subset of an array of indices": (lambda: data.Subset(rows(), np.arange(N)[::-1]), Select),
    "Subset of a Subset": (lambda: data.Subset(data.Subset(rows(), range(50, 0, -1)), [-1, 3, 5]), Select),
    "random_split": (lambda: data.random_split(rows(), [40, 20])[0], Select),
    "ConcatDataset": (lambda: data.ConcatDataset([rows(20), data.Subset(rows(50), range(7, 30)), rows(30)]), Concat),
    "ours under random_split": (lambda: data.random_split(ours(), [0.5, 0.5])[1], Select),
    "ours in a ConcatDataset": (lambda: data.ConcatDataset([ours(), data.Subset(ours(), [5, 4])]), Concat),
    "ours in a Subset in ours": (lambda: headrace.MapDataset(data.Subset(ours(), range(40)), noisy), object),
}


@pytest.mark.parametrize(("make", "kind"), SEEN.values(), ids=SEEN)
def test_batches_are_those_of_the_samples(make: Callable[[], Any], kind: type) -> None:
    dataset = make()
    assert isinstance(describe(dataset), kind)
    loaders = [DataLoader(each, batch_size=16, shuffle=True, seed=3) for each in (dataset, Plain(dataset))]
    for batch, expected in zip(*loaders, strict=True):
        assert type(batch) is type(expected)
        check_same(batch, expected)


@pytest.mark.parametrize(("make", "kind"), list(SEEN.values())[:-3], ids=list(SEEN)[:-3])
def test_they_are_read_at_once(make: Callable[[], Any], kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make()
    monkeypatch.setattr(headrace.loader.fetch.BatchReader, "_read_singly", None)
    assert kind in (Source, Select, Concat)
    assert compile_dataset(dataset).reads_batches
    assert len(list(DataLoader(dataset, batch_size=16))) == -(-len(dataset) // 16)


class Derived(data.TensorDataset):  # type: ignore[misc]
    def __getitem__(self, index: Any) -> Any:
        return tuple(-field for field in super().__getitem__(index))


class DerivedSubset(data.Subset):  # type: ignore[misc]
    def __getitems__(self, indices: Any) -> Any:
        return [tuple(-field for field in sample) for sample in super().__getitems__(indices)]

    def __getitem__(self, index: Any) -> Any:
        return self.__getitems__([index])[0]


class Named(data.TensorDataset):  # type: ignore[misc]
    """Derived from it, and reads no other way; which is not asked."""


def gradients() -> Any:
    return data.TensorDataset(torch.randn(N, 3, requires_grad=True), torch.arange(N))


def channels_last() -> Any:
    return data.TensorDataset(torch.randn(N, 3, 4, 4).contiguous(memory_format=torch.channels_last))


UNSEEN: dict[str, Callable[[], Any]] = {
    "a derived class": lambda: Derived(torch.arange(N)),
    "a derived Subset": lambda: DerivedSubset(rows(), [3, 4, 5]),
    "a derived class that changes nothing": lambda: Named(torch.arange(N)),
    "gradients": gradients,
    "channels_last": channels_last,
    "samples of anyone's": lambda: data.Subset(Plain(rows()), [3, 4, 5]),
    "samples of anyone's beside others": lambda: data.ConcatDataset([rows(), Plain(rows())]),
}


@pytest.mark.parametrize("make", UNSEEN.values(), ids=UNSEEN)
def test_what_may_read_otherwise_is_read_by_its_own_methods(make: Callable[[], Any]) -> None:
    dataset = make()
    assert isinstance(describe(dataset), Source)
    assert not hasattr(describe(dataset).dataset, "get_batch")
    for batch, expected in zip(DataLoader(dataset, 16), data.DataLoader(dataset, 16), strict=True):
        assert all(torch.equal(field, other) for field, other in zip(batch, expected, strict=True))


def test_a_method_that_has_been_replaced_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    subset = data.Subset(rows(), [3, 4, 5])
    subset.__getitems__ = lambda indices: [torch.tensor(7)] * len(indices)
    assert isinstance(describe(subset), Source)
    monkeypatch.setattr(data.TensorDataset, "__getitem__", lambda self, index: (self.tensors[1][index] * 2,))
    (batch,) = DataLoader(rows(), batch_size=N)
    assert torch.equal(batch[0], torch.arange(N) * 2)


def test_changes_are_heard_in_the_midst_of_an_epoch() -> None:
    dataset = data.TensorDataset(torch.arange(6))
    subset = data.Subset(dataset, [0, 1, 2, 3, 4, 5])
    batches = iter(DataLoader(subset, batch_size=2))
    assert next(batches)[0].tolist() == [0, 1]
    subset.indices[2:4] = [5, 5]
    assert next(batches)[0].tolist() == [5, 5]
    dataset.tensors = (torch.arange(6) * 10,)
    assert next(batches)[0].tolist() == [40, 50]
    subset.indices = [2, 2]
    assert next(iter(DataLoader(subset, batch_size=2)))[0].tolist() == [20, 20]


def test_other_keys_of_samples_are_theirs() -> None:
    """A list of indices in place of an index, of which a TensorDataset makes a batch itself."""
    for dataset in (rows(), data.Subset(rows(), range(40))):
        sampler = data.BatchSampler(data.SequentialSampler(range(40)), 8, drop_last=False)
        batches = list(DataLoader(dataset, batch_size=None, sampler=sampler))
        assert [tuple(batch[0].shape) for batch in batches] == [(8, 3, 8, 8)] * 5
        assert torch.equal(batches[1][0], rows().tensors[0][8:16])


@pytest.mark.parametrize("indices", [[1, 99], [1, 2.5]])
def test_an_index_that_is_none_is_an_error_as_torch_has_it(indices: Any) -> None:
    with pytest.raises((IndexError, TypeError), match="ind"):
        next(iter(DataLoader(data.Subset(rows(), indices), batch_size=2)))


COLLATED = {"tuples": rows, "Subset": lambda: data.Subset(rows(), range(40)), "ours": lambda: headrace.TensorDataset(
    torch.randn(N, 3), torch.arange(N)), "dicts": lambda: headrace.ColumnDataset({"x": torch.randn(N, 3)})}  # fmt: skip


@pytest.mark.parametrize("make", COLLATED.values(), ids=COLLATED)
@pytest.mark.parametrize("collate", [default_collate, data.default_collate], ids=["ours", "torch's"])
def test_default_collate_may_be_passed(make: Any, collate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make()
    expected = list(DataLoader(Plain(dataset), batch_size=16, collate_fn=collate))
    assert not choose_backend(DataLoader(dataset, num_workers=2, collate_fn=collate), streams=False).separate
    monkeypatch.setattr(headrace.loader.fetch.BatchReader, "_read_singly", None)
    for batch, other in zip(DataLoader(dataset, 16, collate_fn=collate), expected, strict=True):
        assert type(batch) is type(other)
        check_same(batch, other)


def test_the_default_collate_of_torch_is_called_where_it_makes_something_else() -> None:
    for dataset in (headrace.TensorDataset(np.arange(N)), headrace.TensorDataset(torch.arange(N), np.arange(N))):
        (batch,) = DataLoader(dataset, N, collate_fn=data.default_collate)
        assert [type(field) for field in batch] == [torch.Tensor] * len(batch)
    images = headrace.TensorDataset(torch.randn(N, 3)).map(lambda field: field.numpy(), field=0)
    (batch,) = DataLoader(images, N, collate_fn=data.default_collate)
    assert type(batch[0]) is torch.Tensor


def test_a_way_of_collating_tensors_that_was_registered_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("torch.utils.data._utils.collate", reason="functions are registered there")
    negative = {**module.default_collate_fn_map, torch.Tensor: lambda batch, **_: -torch.stack(batch)}
    monkeypatch.setattr(module, "default_collate_fn_map", negative)
    (batch,) = DataLoader(data.TensorDataset(torch.arange(3)), 3, collate_fn=data.default_collate)
    assert batch[0].tolist() == [0, -1, -2]


def test_no_warning_is_given(recwarn: pytest.WarningsRecorder) -> None:
    list(DataLoader(data.ConcatDataset([rows(), data.Subset(rows(), [1, 2])]), batch_size=7, num_workers=2))
    assert not [each for each in recwarn if issubclass(each.category, HeadraceWarning)]
