"""`headrace lengths`: the lengths of sequences are measured once, and kept in a file."""

from __future__ import annotations

from headrace.cli.convert import open_source
from headrace.cli.rate import bar
from headrace.convert.lengths import measure_lengths

__all__ = ["run"]


def run(source: str, target: str, *, field: str | None = None, workers: int = 0, backend: str = "auto") -> None:
    """Measure, with a line of progress on terminals, and print what was found.

    Args:
        source: as for `headrace convert`.
        target: the .npy file to write.
        field: the name or the position of the field that has the sequence.
        workers: workers that read.
        backend: what they are.
    """
    name = int(field) if field is not None and field.isdecimal() else field
    dataset = open_source(source)
    with bar("measuring") as progress:
        found = measure_lengths(dataset, name, path=target, workers=workers, backend=backend, progress=progress)
    most = f", {found.min():,} to {found.max():,} of each" if len(found) else ""
    print(f"{len(found):,} sequences of {found.sum():,} items{most}, in {target}")
