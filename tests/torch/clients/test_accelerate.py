"""accelerate keeps the loader where it knows its ranks, counts each sample once, and skips and saves by its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")
accelerate: Any = pytest.importorskip("accelerate")

from tests.torch.clients.processes import run_on_ranks  # noqa: E402

from headrace.torch import DataLoader, StatefulDataLoader, TensorDataset, skip_first_batches  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _fresh_state() -> Iterator[None]:
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


def dataset(length: int) -> Any:
    return TensorDataset(torch.arange(length), torch.arange(float(length)).reshape(-1, 1))


def prepared(loader: Any, *, steps: int = 1) -> tuple[Any, Any]:
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=steps)
    return accelerator, accelerator.prepare(loader)


@pytest.mark.parametrize("arguments", [{"seed": 1}, {}, {"seed": 1, "num_workers": 2}])
@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
def test_one_process_keeps_the_loader(kind: Any, arguments: dict[str, Any]) -> None:
    loader = kind(dataset(10), 4, shuffle=True, **arguments)
    accelerator, kept = prepared(loader)
    assert kept is loader
    for _ in range(2):
        found = [index for x, _ in kept for index in accelerator.gather_for_metrics(x).tolist()]
        assert sorted(found) == list(range(10))


@pytest.mark.parametrize("length", [16, 17, 18, 20])
def test_gradients_are_synchronised_at_the_end(length: int) -> None:
    accelerator, loader = prepared(DataLoader(dataset(length), 4, seed=1), steps=2)
    other, plain = prepared(torch.utils.data.DataLoader(dataset(length), 4), steps=2)
    model = torch.nn.Linear(1, 1)
    found = []
    for each, batches in ((accelerator, loader), (other, plain)):
        synchronised = []
        for _, x in batches:
            with each.accumulate(model):
                model(x)
                synchronised.append(each.sync_gradients)
        found.append(synchronised)
    assert found[0] == found[1]


def test_a_loop_that_is_left_is_forgotten() -> None:
    accelerator, loader = prepared(DataLoader(dataset(10), 4, seed=1))
    batches = iter(loader)
    next(batches)
    assert accelerator.gradient_state.in_dataloader
    del batches
    assert not accelerator.gradient_state.in_dataloader


@pytest.mark.parametrize("arguments", [{"seed": 1, "shuffle": True}, {"shuffle": True}, {}])
def test_skipped_batches_are_not_read(arguments: dict[str, Any]) -> None:
    read = []

    class Noting:
        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> int:
            read.append(index)
            return index

    torch.manual_seed(3)
    whole = [batch.tolist() for _ in range(2) for batch in DataLoader(Noting(), 4, **arguments)]
    read.clear()
    torch.manual_seed(3)
    _, loader = prepared(DataLoader(Noting(), 4, **arguments))
    assert [batch.tolist() for batch in skip_first_batches(loader, 7)] == whole[7:10]
    assert len(read) == 12
    if arguments.get("seed"):
        assert len(list(loader)) == 10


def test_skipping_a_billion_samples_takes_no_time() -> None:
    loader = DataLoader(range(10**9), 10, shuffle=True, seed=1)
    assert loader.batch(10**8 - 1).equal(next(iter(skip_first_batches(loader, 10**8 - 1))))


def test_a_loader_of_accelerate_is_skipped_by_it() -> None:
    _, loader = prepared(torch.utils.data.DataLoader(range(8), 2))
    assert [batch.tolist() for batch in skip_first_batches(loader, 3)] == [[6, 7]]


@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
def test_accelerate_saves_the_state_of_the_loader(tmp_path: Path, kind: Any) -> None:
    accelerator, loader = prepared(kind(dataset(20), 4, shuffle=True, seed=1))
    accelerator.dataloader_config.use_stateful_dataloader = True
    batches = iter(loader)
    next(batches)
    accelerator.save_state(tmp_path)
    rest = [x.tolist() for x, _ in batches]
    loader = kind(dataset(20), 4, shuffle=True, seed=1)
    accelerator._dataloaders.clear()
    accelerator.prepare(loader)
    accelerator.load_state(tmp_path)
    assert [x.tolist() for x, _ in loader] == rest


def test_ranks_that_would_be_divided_again_are_refused() -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    with pytest.raises(ValueError, match="give the loader a seed"):
        accelerator.prepare(DataLoader(dataset(10), 4, rank=0, world_size=2))


UNEVEN: list[dict[str, Any]] = [{}, {"uneven": "repeat"}, {"uneven": "pad"}]


def gather_on_rank(rank: int, world_size: int) -> list[Any]:
    ranks = {"rank": rank, "world_size": world_size, "seed": 3}
    found = []
    for length in (16, 17, 18, 20, 3):
        for arguments in ({}, {"seed": 3}, *({**ranks, **uneven} for uneven in UNEVEN)):
            accelerator = accelerate.Accelerator(cpu=True)
            loader: Any = DataLoader(dataset(length), 4, shuffle=True, **arguments)
            used = accelerator.prepare(loader)
            gathered = [index for x, *_ in used for index in accelerator.gather_for_metrics(x).tolist()]
            found.append((length, "rank" in arguments, used is loader, gathered))
    return [*found, refusal_by_tokens()]


def refusal_by_tokens() -> str:
    loader = DataLoader(torch.zeros(8, 3), seed=1, batch_by="tokens", max_tokens=9)
    try:
        accelerate.Accelerator(cpu=True).prepare(loader)
    except ValueError as error:
        return str(error)
    return "nothing"


def test_each_sample_is_counted_once_on_all_ranks() -> None:
    for *found, refusal in run_on_ranks(gather_on_rank, 2):
        for length, knows_ranks, kept, gathered in found:
            assert kept is knows_ranks
            assert sorted(gathered) == list(range(length))
        assert "give the loader rank= and world_size=" in refusal


def test_a_prepared_loader_stands_where_it_stood() -> None:
    """Its last batches are evened out, as gathering needs them; the order and the position stay."""
    ranks: dict[str, Any] = {"shuffle": True, "seed": 3, "rank": 1, "world_size": 2}
    loader = DataLoader(dataset(18), 4, **ranks)
    loader.seek(1, epoch=2)
    _, kept = prepared(loader)
    assert kept is loader
    assert loader.uneven == "repeat"
    assert loader.sampler.epoch == 2
    expected = DataLoader(dataset(18), 4, uneven="repeat", **ranks)
    expected.seek(1, epoch=2)
    assert [x.tolist() for x, _ in loader] == [x.tolist() for x, _ in expected]
