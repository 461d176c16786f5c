"""Collation by torch's rules, whoever reads the samples."""

from __future__ import annotations

import array
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")
Tensor: Any = torch.Tensor

from tests.torch.oracle import assert_same, ours, theirs  # noqa: E402

from headrace import StackDataset, TensorDataset  # noqa: E402
from headrace.torch.collate import TorchCollation  # noqa: E402

pytestmark = pytest.mark.usefixtures("by_value")


class Pair(NamedTuple):
    x: Any
    y: Any


class Own:
    def __init__(self, value: int) -> None:
        self.value = value


class TensorOfOwn(Tensor):
    pass


class DictOfOwn(dict[str, int]):
    pass


GOOD: dict[str, list[Any]] = {
    "tensors": [torch.ones(2), torch.zeros(2)],
    "scalars": [torch.tensor(1.0), torch.tensor(2.0)],
    "promoted": [torch.ones(2), torch.zeros(2, dtype=torch.float64)],
    "bfloat16": [torch.ones(2, dtype=torch.bfloat16)] * 2,
    "a subclass": [torch.ones(2).as_subclass(TensorOfOwn)] * 2,
    "large tensors": [torch.ones(400, 400), torch.zeros(400, 400)] * 2,
    "channels last": [torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last)] * 2,
    "arrays": [np.ones(2, np.float32), np.zeros(2, np.float32)],
    "NumPy numbers": [np.float32(1), np.float32(2)],
    "NumPy bools": [np.True_, np.False_],
    "floats": [1.0, 2.0],
    "ints": [1, 2],
    "bools": [True, False],
    "texts": ["a", "b"],
    "bytes": [b"a", b"b"],
    "tuples": [(1, 2.0), (3, 4.0)],
    "lists": [[1, 2.0], [3, 4.0]],
    "named tuples": [Pair(1, "a"), Pair(2, "b")],
    "dicts": [{"a": 1, "b": [1.0]}, {"a": 2, "b": [2.0]}],
    "an extra key": [{"a": 1}, {"a": 2, "b": 3}],
    "ordered dicts": [OrderedDict(b=1, a=2)] * 2,
    "dicts of a class": [DictOfOwn(a=1)] * 2,
    "ranges": [range(2), range(2, 4)],
    "arrays of arrays": [array.array("i", [1, 2])] * 2,
    "empty tuples": [(), ()],
}
BAD: dict[str, list[Any]] = {
    "None": [None, None],
    "unequal tensors": [torch.ones(2), torch.ones(3)],
    "unequal lists": [[1], [1, 2]],
    "a missing key": [{"a": 1}, {"b": 2}],
    "texts of NumPy": [np.array(["a"]), np.array(["b"])],
    "objects": [np.array([None])] * 2,
    "a class": [Own(1), Own(2)],
    "sparse": [torch.ones(2).to_sparse()] * 2,
    "nothing": [],
}


@pytest.mark.parametrize("name", GOOD)
def test_batches(name: str) -> None:
    samples = GOOD[name]
    expected = theirs.default_collate(samples)
    assert_same(expected, TorchCollation()(samples))
    assert_same(list(theirs.DataLoader(samples, batch_size=2)), list(ours.DataLoader(samples, batch_size=2)))


@pytest.mark.parametrize("name", BAD)
def test_refusals(name: str) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever torch says
        theirs.default_collate(BAD[name])
    with pytest.raises(type(expected.value)) as found:
        TorchCollation()(BAD[name])
    assert str(found.value) == str(expected.value)


def test_all_of_them_from_a_worker() -> None:
    """They come one after the other: an epoch of batches of two samples, each of another kind."""
    samples = [sample for kind in GOOD.values() for sample in kind[:2]]
    indices = [[2 * kind, 2 * kind + 1] for kind in range(len(GOOD))]
    expected = list(theirs.DataLoader(samples, batch_sampler=indices))
    found = list(ours.DataLoader(samples, batch_sampler=indices, num_workers=1))
    for name, one, other in zip(GOOD, expected, found, strict=True):
        if name != "a subclass":  # its class is not the worker's to send
            assert_same(one, other)


@pytest.mark.parametrize("name", GOOD)
def test_single_samples_are_converted(name: str) -> None:
    samples = GOOD[name]
    expected = list(theirs.DataLoader(samples, batch_size=None))
    assert_same(expected, list(ours.DataLoader(samples, batch_size=None)))


def own_collate(batch: list[Any], *, collate_fn_map: Any = None) -> Any:
    return torch.tensor([each.value for each in batch])


def by_hand(batch: list[Any]) -> Any:
    return {"batch": theirs.default_collate(batch)}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_the_program_registers_is_used_in_workers_too(num_workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(torch.utils.data._utils.collate.default_collate_fn_map, Own, own_collate)
    samples = [(Own(1), 2), (Own(3), 4)]
    for collate_fn in (None, by_hand):
        loader = ours.DataLoader(samples, batch_size=2, num_workers=num_workers, collate_fn=collate_fn)
        assert_same(list(theirs.DataLoader(samples, batch_size=2, collate_fn=collate_fn)), list(loader))


@pytest.mark.parametrize("arguments", [{}, {"num_workers": 2}, {"seed": 3}, {"num_workers": 1, "backend": "process"}])
def test_batches_that_headrace_reads_at_once(arguments: dict[str, Any]) -> None:
    """They are what torch makes of the samples, one by one."""
    x, names = np.arange(60, dtype=np.float32).reshape(10, 6), [f"{number}" for number in range(10)]
    dataset = StackDataset(x=TensorDataset(x[::-1], np.arange(10)), name=names)
    expected = list(theirs.DataLoader(dataset, batch_size=4))
    assert_same(expected, list(ours.DataLoader(dataset, batch_size=4, **arguments)))
