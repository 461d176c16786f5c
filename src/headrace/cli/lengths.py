"""`headrace lengths`: the lengths of sequences are measured once, and kept in a file."""

from __future__ import annotations

from headrace.cli.convert import open_source
from headrace.cli.rate import bar
from headrace.convert.lengths import measure_lengths
from headrace.datasets.kept_lengths import place_of_lengths
from headrace.errors import ArgumentError
from headrace.pipeline.hints import lengths

__all__ = ["run"]


def run(source: str, target: str | None, *, field: str | None = None, workers: int = 0, backend: str = "auto") -> None:
    """Measure, with a line of progress on terminals, and print what was found.

    Args:
        source: as for `headrace convert`.
        target: the .npy file to write; None to keep them beside the source, where loaders find them.
        field: the name or the position of the field that has the sequence.
        workers: workers that read.
        backend: what they are.

    Raises:
        ArgumentError: there is no target, and the source has no files beside which they could be kept.
    """
    name = int(field) if field is not None and field.isdecimal() else field
    dataset = open_source(source)
    place = place_of_lengths(dataset, name)
    is_told = lengths(dataset, name) is not None
    if target is None and place is None and not is_told:
        raise ArgumentError(f"{source} has no files beside which lengths could be kept; say which FILE to write")
    with bar("measuring") as progress:
        found = measure_lengths(dataset, name, path=target, workers=workers, backend=backend, progress=progress)
    where: str | None = f"in {target}"
    if target is None and is_told:
        where = "which the dataset tells without being read"
    elif target is None and place is not None:
        where = f"in {place.keep(found).path}"
    most = f", {found.min():,} to {found.max():,} of each" if len(found) else ""
    print(f"{len(found):,} sequences of {found.sum():,} items{most}, {where}")
