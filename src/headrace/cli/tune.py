"""`headrace tune`: the workers with which a loader is fastest are found by trying."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from headrace.cli.profile import find_consumer
from headrace.cli.target import find_target, loader_of, with_dataset
from headrace.convert.sizes import parse_size
from headrace.insight.tune import candidates, tune

if TYPE_CHECKING:
    from headrace import DataLoader
    from headrace.insight.tune import Setting, Trial

__all__ = ["run"]


def run(
    target: str,
    *,
    consumer_ms: float | None = None,
    train: str | None = None,
    seconds: float = 0.5,
    batch_size: int = 32,
    ram: str | None = None,
    as_json: bool = False,
) -> None:
    """Try settings, and print a table of them and the line of code of the best.

    Args:
        target: as for `headrace show`.
        consumer_ms: how long each step of the consumer takes.
        train: "module:function" of the consumer.
        seconds: how long each setting is run in the first round.
        batch_size: where the target is no loader.
        ram: the memory that a setting may take, such as "2 GB".
        as_json: print one JSON object, for programs.

    Raises:
        ArgumentError: a number is not positive, there is no such target, or no setting keeps to the memory.
    """
    loader = loader_of(find_target(target), None, batch_size)
    consume = find_consumer(consumer_ms, train)

    def make(setting: Setting) -> DataLoader[Any]:
        options = setting.arguments() | ({"persistent_workers": True} if setting.num_workers else {})
        return with_dataset(loader, loader.dataset, loader.seed, collate_fn=loader.collate_fn, **options)

    def watch(setting: Setting, rate: float) -> None:
        print(f"{rate:12,.0f} samples/s  {setting}", file=sys.stderr)

    most = parse_size("ram", ram)
    shown = watch if sys.stderr.isatty() else None
    trials = tune(make, consume, candidates(), seconds=seconds, ram=most, watch=shown)
    print(json.dumps([asdict(trial) for trial in trials]) if as_json else _as_text(trials))


def _as_text(trials: list[Trial]) -> str:
    lines = [f"{'samples/s':>12} {'memory':>10}  setting"]
    lines += [
        f"{trial.rates[-1]:12,.0f} {trial.memory / 1e6:7,.0f} MB  {trial.setting}"
        + (f"  ({trial.dropped})" if trial.dropped else "")
        for trial in trials
    ]
    return "\n".join([*lines, "", f"DataLoader(..., {trials[0].setting})"])
