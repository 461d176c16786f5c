"""Train on four workers of Ray Train, stop, and go on with two, at the next sample.

    pip install '.[ray]' 'ray[train]'
    python examples/ray_train.py

The loader finds its rank by itself. Its state is the same on all workers, so any of them may save it. Since
a global batch is a set of samples, two workers take over what four have left: no sample is lost, or seen twice.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from headrace import DataLoader, TensorDataset

SAMPLES, GLOBAL_BATCH, STOP_AT = 960, 48, 8


def make_dataset() -> TensorDataset:
    """Return points on a plane, and their heights with some noise."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(SAMPLES, 2)).astype(np.float32)
    heights = points @ np.array([2.0, -1.0], np.float32) + rng.normal(0, 0.1, SAMPLES).astype(np.float32)
    return TensorDataset(np.arange(SAMPLES), points, heights)


def train(config: dict[str, Any]) -> None:
    """Train on one worker: from the checkpoint, if there is one, to the step that is asked for."""
    from ray import train as ray_train

    context = ray_train.get_context()
    size = GLOBAL_BATCH // context.get_world_size()
    loader = DataLoader(make_dataset(), size, shuffle=True, seed=0, ranks="auto")
    weights, seen = np.zeros(2, np.float32), []
    checkpoint = ray_train.get_checkpoint() or config.get("checkpoint")
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            saved = json.loads(Path(folder, "state.json").read_text())
        loader.load_state_dict(saved["loader"])
        weights = np.array(saved["weights"], np.float32)
    for step, (indices, points, heights) in enumerate(loader):
        seen += indices.tolist()
        error = points @ weights - heights
        weights -= 0.05 * (points.T @ error) / len(points)
        if step + 1 == config["steps"]:
            break
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"seen-{context.get_world_rank()}.json").write_text(json.dumps(seen))
        state = {"loader": loader.state_dict(), "weights": weights.tolist()}
        Path(folder, "state.json").write_text(json.dumps(state))
        ray_train.report({"weights": weights.tolist()}, checkpoint=ray_train.Checkpoint.from_directory(folder))


def fit(workers: int, steps: int, checkpoint: Any, storage: str) -> Any:
    """Train on so many workers for so many steps; return the checkpoint."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer  # TorchTrainer is one, for models of torch

    trainer = DataParallelTrainer(
        train,
        train_loop_config={"steps": steps, "checkpoint": checkpoint},
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 0.25}),
        run_config=RunConfig(name=f"on-{workers}", storage_path=storage),
    )
    return trainer.fit().checkpoint


def seen_in(checkpoint: Any) -> list[int]:
    """Return the samples that all workers have seen up to a checkpoint."""
    with checkpoint.as_directory() as folder:
        files = sorted(Path(folder).glob("seen-*.json"))
        return [index for file in files for index in json.loads(file.read_text())]


def main() -> None:
    """Train, stop and go on."""
    import ray

    warnings.filterwarnings("ignore", category=DeprecationWarning)
    with tempfile.TemporaryDirectory() as storage:
        if not ray.is_initialized():
            ray.init("local", num_cpus=4, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        first = fit(4, STOP_AT, None, storage)
        second = fit(2, SAMPLES // GLOBAL_BATCH, first, storage)
        before, after = seen_in(first), seen_in(second)
    once = sorted(before + after) == list(range(SAMPLES))
    print(f"4 workers saw {len(before)} samples, then 2 workers {len(after)}; each came once: {once}")


if __name__ == "__main__":
    main()
