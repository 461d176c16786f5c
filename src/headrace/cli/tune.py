"""`headrace tune`: the settings with which a loader is fastest are found by trying."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from headrace.cache.dataset import CachedDataset
from headrace.cli.failure import one_line
from headrace.cli.memory import check_sizes_can_change, parse_sizes
from headrace.cli.output import printing_results
from headrace.cli.plain import draws
from headrace.cli.profile import find_consumer
from headrace.cli.target import find_target, loader_of
from headrace.convert.sizes import parse_size
from headrace.errors import HeadraceError
from headrace.insight.cached_part import CachedPart, cache_part
from headrace.insight.profile import profile_loader
from headrace.insight.tune import Setting, candidates, tune
from headrace.io.memory import total_memory
from headrace.pipeline.compile import compile_dataset

if TYPE_CHECKING:
    from headrace import DataLoader
    from headrace.insight.profile import Profile
    from headrace.insight.tune import Trial

__all__ = ["run"]


def run(
    target: str,
    *,
    consumer_ms: float | None = None,
    train: str | None = None,
    seconds: float = 0.5,
    batch_size: int | None = None,
    batch_sizes: str | None = None,
    ram: str | None = None,
    as_json: bool = False,
) -> None:
    """Try settings, and print a table of them and the line of code of the best.

    Args:
        target: as for `headrace show`.
        consumer_ms: how long each step of the consumer takes.
        train: "module:function" of the consumer.
        seconds: how long each setting is run in the first round.
        batch_size: where the target is no loader; 32 where it is not given.
        batch_sizes: numbers with commas between them, to try each.
        ram: the memory that a setting may take, such as "2 GB".
        as_json: print one JSON object, for programs.

    Raises:
        ArgumentError: a number is not positive, there is no such target, or no setting keeps to the memory.
    """
    sizes = [None] if batch_sizes is None else parse_sizes(batch_sizes)
    with printing_results(as_json=as_json) as show_result:
        loader = loader_of(find_target(target), None, batch_size)
        if sizes != [None]:
            check_sizes_can_change(loader, "--batch-sizes")
        consume = find_consumer(consumer_ms, train)
        most = parse_size("ram", ram)
        first = profile_loader(_loader(loader, loader.dataset, Setting()), consume, seconds=seconds)
        with TemporaryDirectory() as folder:
            part = _cached_part(loader, Path(folder), first, most, 4 * seconds)
            caches = {"": loader.dataset} | ({part.kind: part.dataset} if isinstance(part, CachedPart) else {})

            def watch(setting: Setting, rate: float) -> None:
                print(f"{rate:12,.0f} samples/s  {setting}", file=sys.stderr)

            trials = tune(
                lambda setting: _loader(loader, caches[setting.cache], setting),
                consume,
                candidates(busy_cores=first.stats.busy_cores, batch_sizes=sizes, caches=list(caches)),
                seconds=seconds,
                ram=most,
                measured=first.stats.measured(),
                reserved={part.kind: part.nbytes} if isinstance(part, CachedPart) else {},
                watch=watch if sys.stderr.isatty() else None,
            )
        note = "" if isinstance(part, CachedPart) else f"no cache was tried: {part}"
        show_result(json.dumps([_as_dict(trial) for trial in trials]) if as_json else _as_text(trials, note))


def _as_dict(trial: Trial) -> dict[str, Any]:
    return {**asdict(trial), "setting": trial.setting._asdict(), "code": trial.setting.code()}


def _loader(loader: DataLoader[Any], dataset: Any, setting: Setting) -> DataLoader[Any]:
    options = setting.arguments() | ({"persistent_workers": True} if setting.num_workers else {})
    return loader.with_arguments(dataset=dataset, **options)


def _cached_part(
    loader: DataLoader[Any], folder: Path, first: Profile, most: int | None, seconds: float
) -> CachedPart | str:
    """Return what can be tried of a cache; or a text that says why nothing."""
    if loader.sampler is not None or loader.batch_sampler is not None:
        return "the loader's sampler asks for samples of all of the dataset"
    if isinstance(loader.dataset, CachedDataset):
        return "the dataset has one"
    if compile_dataset(loader.dataset).reads_together:
        return "the samples are rows in memory"
    ram = total_memory() // 2 if most is None else max(0, most - first.peak_memory)
    least = 4 * (loader.batch_size or 1) * loader.world_size
    try:
        with draws() as noticed:
            loader.dataset[0]
        if noticed.any:
            return "a sample is drawn at random where it is read, and would be the same in all epochs"
        return cache_part(loader.dataset, folder, ram=ram, seconds=seconds, least=least)
    except HeadraceError as error:
        return str(error)
    except Exception as error:  # of the user's dataset, whose samples the loader may leave out or replace
        return f"filling one failed with {one_line(error)}"


def _as_text(trials: list[Trial], note: str) -> str:
    lines = [f"{'samples/s':>12} {'memory':>10}  setting"]
    lines += [
        (f"{trial.rates[-1]:12,.0f} {trial.memory / 1e6:7,.0f} MB" if trial.rates else f"{'-':>12} {'-':>10}")
        + f"  {trial.setting}"
        + (f"  ({trial.dropped})" if trial.dropped else "")
        for trial in trials
    ]
    lines += [note] if note else []
    return "\n".join([*lines, "", trials[0].setting.code()])
