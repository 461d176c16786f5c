"""The number of workers that the face finds itself, its traces, and replays."""

from __future__ import annotations

import gc
import json
import pickle
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from tests.torch.oracle import ours, theirs  # noqa: E402

from headrace.loader.auto_workers import AutoWorkers, InUse, Observed  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def plan(monkeypatch: pytest.MonkeyPatch) -> list[InUse]:
    """A loader that finds its workers goes by this plan, a task for each."""
    plan = [InUse(2, 4), InUse(), InUse(3, 3)]
    steps = cycle(plan)

    def decide(auto: AutoWorkers, _: Any) -> InUse:
        auto.observed = Observed()
        return next(steps)

    monkeypatch.setattr(AutoWorkers, "is_due", lambda auto: auto.observed.tasks >= 1)
    monkeypatch.setattr(AutoWorkers, "skips", lambda *_: False)
    monkeypatch.setattr(AutoWorkers, "decide", decide)
    return plan


class Squares(theirs.Dataset):
    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> Any:
        return torch.tensor(index * index), float(torch.rand(1))


def tensors() -> Any:
    return theirs.TensorDataset(torch.arange(240.0).reshape(60, 4), torch.arange(60))


def values(batches: Any) -> list[Any]:
    return [[field.tolist() for field in batch] for batch in batches]


@pytest.mark.parametrize("backend", ["thread", "process"])
@pytest.mark.parametrize("persistent", [False, True])
def test_the_batches_are_torchs(backend: str, persistent: bool) -> None:
    """Of any epoch: what an iterator draws does not depend on how many workers there are when it begins."""
    found = []
    for make, options in (
        (theirs.DataLoader, {}),
        (ours.DataLoader, {"num_workers": "auto", "backend": backend, "persistent_workers": persistent}),
    ):
        torch.manual_seed(4)
        loader: Any = make(tensors(), 2, shuffle=True, **options)
        found.append([values(loader) for _ in range(3)] + [torch.rand(1).item()])
    assert found[0] == found[1]


def test_with_a_seed_code_may_draw() -> None:
    expected = values(ours.DataLoader(Squares(), 2, shuffle=True, seed=3, num_workers=2, backend="process"))
    with ours.DataLoader(Squares(), 2, shuffle=True, seed=3, num_workers="auto", backend="process") as loader:
        assert values(loader) == expected
        assert values([loader.batch(5, 0)]) == [expected[5]]


def test_without_a_seed_code_that_could_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="num_workers='auto' needs a seed here"):
        ours.DataLoader(Squares(), num_workers="auto")
    with pytest.raises(ValueError, match="num_workers='auto' needs a seed here"):
        ours.DataLoader(tensors(), num_workers="auto", collate_fn=lambda samples: samples)
    with pytest.raises(ValueError, match="each has a state of the dataset; give a number"):
        ours.StatefulDataLoader(tensors(), num_workers="auto")
    with pytest.raises(ValueError, match="batches of an IterableDataset depend on it"):
        ours.DataLoader(theirs.ChainDataset([]), num_workers="auto")
    with pytest.raises(ValueError, match="ram_budget bounds the workers that num_workers='auto' finds"):
        ours.DataLoader(tensors(), ram_budget=5)


def test_the_number_in_use() -> None:
    loader = ours.DataLoader(
        tensors(), None, num_workers="auto", backend="thread", prefetch_factor=3, timeout=9, ram_budget=10**9
    )
    assert (loader.num_workers, loader.prefetch_factor, loader.ram_budget) == (0, 3, 10**9)
    loader.ram_budget = None
    seen = set()
    for _ in loader:
        seen.add(loader.num_workers)
    assert seen == {0, 2, 3}
    assert loader.stats().settings.auto
    assert pickle.loads(pickle.dumps(loader)).num_workers in seen
    loader.num_workers = 1
    assert loader.num_workers == 1
    assert not loader.stats().settings.auto
    assert ours.DataLoader(tensors(), num_workers="auto").prefetch_factor is None


def events(path: Path) -> list[str]:
    return [event["name"] for event in json.loads(path.read_text())["traceEvents"]]


def test_a_trace_goes_on_when_the_loader_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    loader = ours.DataLoader(tensors(), 20, trace=path)
    assert len(list(loader)) == 3
    loader.num_workers = 1
    assert len(list(loader)) == 3
    assert loader.stats().batches == 6
    assert not path.exists()
    loader.close()
    assert events(path).count("wait") == 6
    assert "trace" not in ours.StatefulDataLoader(tensors(), trace=tmp_path / "other.json").state_dict()
    gc.collect()
    assert (tmp_path / "other.json").exists()


@pytest.mark.parametrize("options", [{}, {"shuffle": True, "seed": 3}, {"batch_sampler": [[3, 1], [4], [1, 5]]}])
def test_replay_hands_out_what_it_keeps(options: dict[str, Any]) -> None:
    sizes = {} if "batch_sampler" in options else {"batch_size": 10}
    loader = ours.DataLoader(tensors(), **sizes, **options)
    kept = loader.replay(2)
    first = values(loader)
    assert values(kept) == [first[step % 2] for step in range(len(first))]


def test_replay_of_a_stream_and_of_nothing() -> None:
    class Stream(theirs.IterableDataset):
        def __iter__(self) -> Any:
            return iter(range(10))

    assert [batch.tolist() for batch in ours.DataLoader(Stream(), 3).replay(2)] == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="batches must be a positive integer"):
        ours.DataLoader(tensors()).replay(0)
