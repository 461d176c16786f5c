"""PyTorch Lightning keeps the loader as it is, shards it, tells it its epochs, and resumes it where it stood."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from tests.torchvision_operators import import_torchvision

torch = pytest.importorskip("torch")
import_torchvision()  # which Lightning imports, in the ranks too
lightning: Any = pytest.importorskip("lightning")

from tests.torch.clients.processes import run_on_ranks  # noqa: E402

from headrace.torch import DataLoader, DistributedSampler, StatefulDataLoader, TensorDataset  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

pytestmark = pytest.mark.filterwarnings("ignore")


class Noting(lightning.LightningModule):
    """A model that notes which samples it is trained on, and may stop in the midst."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[list[int]] = []
        self.stop_after = stop_after

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen.append(batch[0].flatten().int().tolist())
        if len(self.seen) == self.stop_after:
            self.trainer.save_checkpoint(self.trainer.default_root_dir + "/stop.ckpt")
            raise KeyboardInterrupt
        return self.layer(batch[0]).sum()

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return batch[0].flatten().int().tolist()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 1e-3)


class Making(Noting):
    """One that makes its loader itself, while Lightning watches how loaders are made."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.arguments = arguments

    def train_dataloader(self) -> Any:
        return DataLoader(dataset(), 4, shuffle=True, **self.arguments)


def dataset(length: int = 20) -> Any:
    return TensorDataset(torch.arange(float(length)).reshape(-1, 1))


def trainer(folder: Path | str, **options: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return lightning.Trainer(
        default_root_dir=folder, enable_checkpointing=False, **{"max_epochs": 3, "devices": 1, **quiet, **options}
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_fit_trains_the_epochs_of_the_loader(tmp_path: Path, num_workers: int) -> None:
    loader = DataLoader(dataset(), 4, shuffle=True, seed=3, num_workers=num_workers)
    model = Noting()
    fitting = trainer(tmp_path)
    fitting.fit(model, loader)
    assert fitting.train_dataloader is loader
    expected = [loader.batch(step, epoch)[0].flatten().int().tolist() for epoch in range(3) for step in range(5)]
    assert model.seen == expected


@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize(
    "arguments", [{"seed": 3}, {"seed": 3, "num_workers": 2}, {}], ids=["seed", "workers", "torch"]
)
@pytest.mark.parametrize("stop_after", [3, 8])
def test_fit_goes_on_in_the_midst_of_an_epoch(
    tmp_path: Path, kind: Any, arguments: dict[str, Any], stop_after: int
) -> None:
    whole, before, after = Noting(), Noting(stop_after=stop_after), Noting()
    torch.manual_seed(1)
    trainer(tmp_path).fit(whole, kind(dataset(), 4, shuffle=True, **arguments))
    torch.manual_seed(1)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer(tmp_path).fit(before, kind(dataset(), 4, shuffle=True, **arguments))
    again = kind(dataset(), 4, shuffle=True, **arguments)
    trainer(tmp_path).fit(after, again, ckpt_path=tmp_path / "stop.ckpt")
    assert before.seen == whole.seen[:stop_after]
    of_epoch = 5 - stop_after % 5
    assert after.seen[:of_epoch] == whole.seen[stop_after : stop_after + of_epoch]
    assert len(after.seen) == 15 - stop_after


def test_predict_loses_no_sample(tmp_path: Path) -> None:
    predicted = trainer(tmp_path).predict(Noting(), DataLoader(dataset(), 3, drop_last=True))
    assert [index for batch in predicted for index in batch] == list(range(20))


def test_one_batch_is_overfitted(tmp_path: Path) -> None:
    model = Noting()
    trainer(tmp_path, overfit_batches=1).fit(model, DataLoader(dataset(), 4, shuffle=True))
    assert model.seen == [[0, 1, 2, 3]] * 3


def fit_on_rank(rank: int, world_size: int, folder: str) -> list[Any]:
    ranks: dict[str, Any] = {"rank": rank, "world_size": world_size, "seed": 3}
    found = []
    for model, loader in (
        (Noting(), DataLoader(dataset(), 4, shuffle=True)),
        (Noting(), DataLoader(dataset(), 4, shuffle=True, **ranks)),
        (Making({}), None),
        (Making(ranks), None),
    ):
        fitting = trainer(folder, devices=world_size, strategy="ddp", max_epochs=2)
        fitting.fit(model, loader)
        used = fitting.train_dataloader
        kept = type(used) is DataLoader and isinstance(used.sampler, DistributedSampler)
        found.append((model.seen, kept, used is loader or used.seed == ranks["seed"]))
    return found


def test_ranks_share_the_samples(tmp_path: Path) -> None:
    """Lightning divides one that does not know of ranks, and leaves one that does as it is."""
    ranks = run_on_ranks(fit_on_rank, 2, str(tmp_path))
    for scenario, same in enumerate([False, True, False, True]):
        batches = [rank[scenario][0] for rank in ranks]
        assert [rank[scenario][1:] for rank in ranks] == [(True, same)] * 2
        for epoch in range(2):
            halves = [seen[len(seen) // 2 * epoch : len(seen) // 2 * (epoch + 1)] for seen in batches]
            assert sorted(index for half in halves for batch in half for index in batch) == list(range(20))
        assert batches[0][0] != batches[0][len(batches[0]) // 2]


def test_fabric_takes_the_loader() -> None:
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    loader = fabric.setup_dataloaders(DataLoader(dataset(), 4, shuffle=True, seed=1))
    assert sorted(index for batch in loader for index in batch[0].flatten().int().tolist()) == list(range(20))
