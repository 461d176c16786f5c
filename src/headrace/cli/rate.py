"""The progress, rate and remaining time of a command: a line on standard error, on terminals only."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["bar", "summary"]


@contextmanager
def bar(description: str) -> Iterator[Callable[[int, int, int], None] | None]:
    """Yield a function of the samples done, all samples and the bytes done; None where nothing can be shown.

    Args:
        description: what is being done.
    """
    if find_spec("rich") is None:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    ]
    start = monotonic()
    with Progress(*columns, console=console, disable=not console.is_interactive, transient=True) as progress:
        task = progress.add_task(description, total=None, rate="")
        first: list[int] = []

        def show(samples: int, total: int, size: int) -> None:
            first[:] = first or [samples, size]  # what an earlier run did is not counted as speed
            seconds = max(monotonic() - start, 1e-9)
            rate = f"{(samples - first[0]) / seconds:,.0f} samples/s {(size - first[1]) / seconds / 1e6:,.1f} MB/s"
            progress.update(task, completed=samples, total=total, rate=rate)

        yield show


def summary(samples: int, size: int, seconds: float) -> str:
    """Return a line such as "60,000 samples, 47.0 MB, in 1.2 s (50,000 samples/s, 39.2 MB/s)"."""
    took = max(seconds, 1e-9)
    return (
        f"{samples:,} samples, {size / 1e6:,.1f} MB, in {seconds:.1f} s "
        f"({samples / took:,.0f} samples/s, {size / took / 1e6:,.1f} MB/s)"
    )
