"""`headrace profile`: a loader is run with a consumer, and watched."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, Literal

from headrace.cli.output import check_output, printing_results
from headrace.cli.target import find_object, find_target, loader_of, names_object
from headrace.errors import ArgumentError
from headrace.insight.profile import profile_batch_sizes, profile_loader
from headrace.insight.report import html_report
from headrace.io.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace import DataLoader
    from headrace.insight.profile import Profile
    from headrace.insight.stats import LoaderStats

__all__ = ["find_consumer", "run"]


def run(
    target: str,
    *,
    consumer_ms: float | None = None,
    train: str | None = None,
    seconds: float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    html: str | None = None,
    as_json: bool = False,
) -> None:
    """Run, and print what was found; on a terminal show it live.

    Args:
        target: as for `headrace show`.
        consumer_ms: how long each step of the consumer takes, which waits for so long.
        train: "module:function" of the consumer, called with each batch.
        seconds: how long to run.
        epochs: how many epochs to run; without either, ten seconds.
        batch_size: where the target is no loader; 32 where it is not given.
        workers: in place of the loader's own.
        html: where to write a page of it.
        as_json: print one JSON object, for programs.

    Raises:
        ArgumentError: a number is not positive, or there is no such target or consumer.
    """
    if html is not None:
        check_output(html)
    with printing_results(as_json=as_json) as show_result:
        loader = _loader(target, batch_size, workers)
        consume = find_consumer(consumer_ms, train)
        if seconds is None and epochs is None:
            seconds = 10.0
        with _live() as watch:
            profile = profile_loader(loader, consume, seconds=seconds, epochs=epochs, after_start=True, watch=watch)
            if html is not None:
                sizes = _sizes_around(loader)
                by_size = profile_batch_sizes(
                    partial(_with_batch_size, loader), sizes, seconds=min(1.0, profile.seconds / 5), watch=watch
                )
        alone = consumer_ms is None and train is None
        finding = _alone(profile) if alone else str(profile.stats.verdict())
        if html is not None:
            page = html_report(profile, f"headrace profile {target}", finding, by_size)
            Path(html).write_text(page, encoding="utf-8")
        if as_json:
            show_result(json.dumps(_as_dict(profile, alone=alone)))
            return
        show_result(finding)
        show_result("")
        show_result(profile.stats)
        show_result(f"\nmemory: {profile.peak_memory / 1e6:,.0f} MB at most, in {profile.seconds:.1f} s")
        if html is not None:
            show_result(f"the page is {html}")


def _alone(profile: Profile) -> str:
    """Return what a run without a consumer tells: nothing of a model."""
    verdict, rate = profile.stats.verdict(), profile.steady_rate or profile.stats.samples_per_second
    stage = f" {verdict.largest_stage} of loading." if verdict.shares else ""
    return (
        f"The loader alone gives {rate:,.0f} samples a second.{stage} For a verdict on a model give the "
        "time of its step, --consumer-ms X, or the step itself, --train module:function."
    )


def _loader(target: str, batch_size: int | None, workers: int | None) -> DataLoader[Any]:
    loader = loader_of(find_target(target), None, batch_size)
    own: int | Literal["auto"] = "auto" if loader.stats().settings.auto else loader.num_workers
    return _again(loader, own if workers is None else workers)


def _again(loader: DataLoader[Any], count: int | Literal["auto"], **changed: Any) -> DataLoader[Any]:
    """Return a fresh loader of the same, with so many workers, which it keeps between epochs."""
    return loader.with_arguments(num_workers=count, persistent_workers=count != 0, **changed)


def _with_batch_size(loader: DataLoader[Any], size: int) -> DataLoader[Any]:
    return _again(loader, loader.num_workers, batch_size=size)


def _sizes_around(loader: DataLoader[Any]) -> list[int]:
    """Return batch sizes from a quarter of the loader's to four times, as far as there are samples; or none."""
    size = loader.batch_size
    if size is None or loader.batch_sampler is not None or loader.batch_by != "samples":
        return []
    most = len(loader.dataset) // loader.world_size if hasattr(type(loader.dataset), "__len__") else 4 * size
    return sorted({each for each in (size // 4, size // 2, size, 2 * size, 4 * size) if 0 < each <= most})


def find_consumer(consumer_ms: float | None, train: str | None) -> Callable[[Any], object]:
    """Return what takes the batches: a function in a module, or one that waits so long.

    Raises:
        ArgumentError: both are given, there is no such function, or the time is negative.
    """
    if train is not None and consumer_ms is not None:
        raise ArgumentError("--train and --consumer-ms are mutually exclusive: each says what a step does")
    if train is not None:
        if not names_object(train):
            raise ArgumentError(f"--train is module:function, but got {train!r}")
        found = find_object(train, "give --train a module:function, which is called with each batch")
        if not callable(found):
            raise ArgumentError(f"--train {train} is of type {type(found).__name__}, but takes a function of a batch")
        function: Callable[[Any], object] = found
        return function
    if consumer_ms is not None and not consumer_ms >= 0:
        raise ArgumentError(f"--consumer-ms must be a number of milliseconds, 0 or more, got {consumer_ms:g}")
    pause = (consumer_ms or 0) / 1e3
    return lambda _: sleep(pause) if pause else None


@contextmanager
def _live() -> Iterator[Any]:
    """Yield what shows a run while it goes on; None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    if find_spec("rich") is None:
        with _line() as watch:
            yield watch
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, refresh_per_second=4) as live:

        def watch(stats: Any, memory: int) -> None:
            loads = "  ".join(f"worker {number} {each.load:.0%}" for number, each in stats.workers.items())
            live.update(f"{_state(stats)}  memory {memory / 1e6:,.0f} MB\n{loads}")

        yield watch


@contextmanager
def _line() -> Iterator[Any]:
    """Yield what shows a run in one line, without a library for it."""
    line = ""
    with Progress(lambda: line, wanted=True) as show:

        def watch(stats: Any, memory: int) -> None:
            nonlocal line
            line = f"{_state(stats)}  memory {memory / 1e6:,.0f} MB"
            show()

        yield watch


def _state(stats: LoaderStats) -> str:
    return f"{stats.samples_per_second:,.0f} samples/s  waiting {stats.wait_share:.1%}  ready {stats.queue.depth:.1f}"


def _as_dict(profile: Profile, *, alone: bool) -> dict[str, Any]:
    return {
        "seconds": profile.seconds,
        "memory": profile.memory,
        "verdict": None if alone else profile.stats.verdict().to_dict(),
        "stats": profile.stats.to_dict(),
    }
