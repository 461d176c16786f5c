"""Indexes are built by whoever opens a file first; here by workers, many files at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.convert.workers import useful_workers
from headrace.datasets.base import Dataset
from headrace.formats.opening import format_at, open_dataset
from headrace.formats.registry import formats
from headrace.loader.dataloader import DataLoader
from headrace.pipeline.reading import check_index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Indexed", "build_indexes"]


@dataclass(frozen=True)
class Indexed:
    """The files that have an index now.

    Attributes:
        paths: of the files.
        samples: of each.
    """

    paths: list[str]
    samples: list[int]


def build_indexes(
    path: str,
    *,
    workers: int = 0,
    backend: str = "auto",
    progress: Callable[[int, int, int], None] | None = None,
) -> Indexed:
    """Build the index of each file at a path that has none, as the first program that opens it would.

    Args:
        path: a file, a pattern of several or a folder, as for `open_dataset`.
        workers: workers that read the files; 0 reads in the calling thread.
        backend: what they are, "thread", "process" or "ray"; "auto" as for the DataLoader. Actors on other nodes need
            the files at the same paths.
        progress: called with the files done, all files, and 0.

    Raises:
        FileNotFoundError: there is nothing.
        ArgumentError: it cannot be told what is there.
        CorruptDataError: a file is damaged.
    """
    form, found = format_at(path)
    opened = _OpenedFiles(found if form in formats() else [path])
    samples: list[int] = []
    useful = useful_workers(workers, len(opened))
    with DataLoader(opened, None, seed=0, num_workers=useful, backend=backend) as loader:
        for count in loader:
            samples.append(count)
            if progress is not None:
                progress(len(samples), len(opened), 0)
    return Indexed([*opened.paths], samples)


class _OpenedFiles(Dataset[int]):
    """For each file how many samples it has, which is known when it is opened."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> int:
        return len(open_dataset(self.paths[check_index(index, len(self))], images=False))

    def releases_gil(self) -> bool:
        """Return whether files are best read in threads: a kernel goes through them."""
        return True
