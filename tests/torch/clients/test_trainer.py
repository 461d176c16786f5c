"""The Hugging Face Trainer trains from the loader by an override of one method, and goes on exactly after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from headrace.torch import DataLoader, Dataset, StatefulDataLoader  # noqa: E402

pytestmark = [pytest.mark.usefixtures("by_value"), pytest.mark.filterwarnings("ignore")]


class Numbers(Dataset):
    """Samples as a model of transformers is given them."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.read.append(index)
        return {"x": torch.tensor([float(index)]), "labels": torch.tensor([0.0])}


class Tiny(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[list[int]] = []

    def forward(self, x: Any, labels: Any) -> dict[str, Any]:
        if self.training:
            self.seen.append(x.flatten().int().tolist())
        return {"loss": (self.layer(x) - labels).square().mean() * 1e-4, "logits": x}


class Keeping(transformers.TrainerCallback):
    """Puts the loader's state beside the model's in each checkpoint."""

    def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        saved = json.dumps(given["train_dataloader"].state_dict())
        (folder / "loader.json").write_text(saved, encoding="utf-8")


class Trainer(transformers.Trainer):
    """A Trainer whose samples come from a loader that was made for it."""

    def __init__(self, loader: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.loader = loader

    def get_train_dataloader(self) -> Any:
        return self.accelerator.prepare(self.loader)


def trainer(folder: Path, loader: Any, **options: Any) -> Any:
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        save_strategy="steps",
        save_steps=options.pop("save_steps", 100),
        num_train_epochs=3,
        ignore_data_skip=True,
        **options,
    )
    return Trainer(loader, model=Tiny(), args=arguments, train_dataset=loader.dataset, callbacks=[Keeping()])


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (DataLoader, {"seed": 1}),
        (DataLoader, {}),
        (StatefulDataLoader, {"seed": 1, "num_workers": 1}),
        (StatefulDataLoader, {}),
    ],
)
def test_a_stopped_training_goes_on_exactly(tmp_path: Path, kind: Any, arguments: dict[str, Any]) -> None:
    def loader() -> Any:
        torch.manual_seed(5)
        return kind(Numbers(), 4, shuffle=True, **arguments)

    whole = trainer(tmp_path / "whole", loader())
    whole.train()
    assert len(whole.model.seen) == 18
    stopped = trainer(tmp_path / "stopped", loader(), save_steps=8, max_steps=8)
    stopped.train()
    assert stopped.model.seen == whole.model.seen[:8]
    checkpoint = tmp_path / "stopped" / "checkpoint-8"
    resumed = loader()
    resumed.load_state_dict(json.loads((checkpoint / "loader.json").read_text(encoding="utf-8")))
    going_on = trainer(tmp_path / "on", resumed)
    going_on.train(resume_from_checkpoint=str(checkpoint))
    if "num_workers" not in arguments:
        assert len(resumed.dataset.read) == 4 * 10  # none of those before was read
    assert going_on.model.seen[:4] == whole.model.seen[8:12]
    assert len(going_on.model.seen) == 10
    if arguments:
        assert going_on.model.seen == whole.model.seen[8:]


def test_evaluation_counts_each_sample_once(tmp_path: Path) -> None:
    loader = DataLoader(Numbers(), 5)
    evaluating = trainer(tmp_path, loader)
    found = evaluating.evaluation_loop(evaluating.accelerator.prepare(loader), "evaluation")
    assert found.predictions.flatten().astype(int).tolist() == list(range(24))
