"""`headrace index`: the files at a path are read once, so that they open at once."""

from __future__ import annotations

from time import monotonic

from headrace.cli.rate import bar
from headrace.convert.indexes import build_indexes
from headrace.errors import ArgumentError

__all__ = ["run"]


def run(path: str, *, workers: int, backend: str = "auto") -> None:
    """Build the indexes and print how many samples there are.

    Args:
        path: what to read.
        workers: workers that read.
        backend: what they are.

    Raises:
        ArgumentError: there is nothing at the path.
    """
    start = monotonic()
    try:
        with bar("indexing") as progress:
            found = build_indexes(path, workers=workers, backend=backend, progress=progress)
    except FileNotFoundError as error:
        raise ArgumentError(str(error)) from error
    for each, samples in zip(found.paths, found.samples, strict=True):
        print(f"{each}: {samples:,} samples")
    print(f"{sum(found.samples):,} samples in {len(found.paths)} files, in {monotonic() - start:.1f} s")
