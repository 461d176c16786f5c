"""`headrace verify`: everything at a path is read, and what is bad is listed."""

from __future__ import annotations

import json
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Any

from headrace.cli.rate import bar, summary
from headrace.convert.verify import verify
from headrace.convert.write import write_dataset
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from headrace.convert.verify import Bad, Verified

__all__ = ["run"]


def run(
    path: str,
    *,
    repair: str | None = None,
    force: bool = False,
    as_json: bool = False,
    train: bool = True,
    workers: int = 0,
    backend: str = "auto",
) -> int:
    """Verify, print what is bad, and write what is good if that is wanted.

    Args:
        path: what to read.
        repair: where to write the good samples to.
        force: overwrite what is there.
        as_json: print one JSON object, and no text.
        train: which part of MNIST and CIFAR.
        workers: workers that read.
        backend: what they are.

    Returns:
        1 if anything is bad, else 0.
    """
    start = monotonic()
    try:
        with bar("verifying") as progress:
            found = verify(path, train=train, workers=workers, backend=backend, progress=progress)
    except FileNotFoundError as error:
        raise ArgumentError(str(error)) from error
    print(_as_json(path, found) if as_json else _as_text(found, monotonic() - start))
    if repair is not None:
        _repair(found, repair, force=force, quiet=as_json, workers=workers, backend=backend)
    return 1 if found.bad else 0


def _repair(found: Verified, target: str, *, force: bool, quiet: bool, **reading: Any) -> None:
    if found.good is None:
        raise ArgumentError("there are no good samples to write")
    with bar("writing") as progress:
        written = write_dataset(found.good, target, overwrite=force, progress=progress, **reading)
    if not quiet:
        print(f"{written.samples:,} good samples are in {target}")


def _as_json(path: str, found: Verified) -> str:
    bad = [asdict(each) for each in found.bad]
    numbers = {"samples": found.samples, "bytes": found.bytes, "saved": found.saved}
    return json.dumps({"path": path, **numbers, "bad": bad}, indent=2)


def _as_text(found: Verified, seconds: float) -> str:
    lines = [_line(each) for each in found.bad]
    bad = sum(each.index is not None for each in found.bad)
    files = len(found.bad) - bad
    verdict = (
        f"{bad:,} bad" + (f", {files} {_files(files)} cannot be read" if files else "") if found.bad else "all good"
    )
    if found.saved:
        lines.append(f"{found.saved:,} good samples come before the damage in such files; --repair writes them too")
    return "\n".join([*lines, f"{summary(found.samples, found.bytes, seconds)}: {verdict}"])


def _files(count: int) -> str:
    return "file" if count == 1 else "files"


def _line(bad: Bad) -> str:
    what = "file" if bad.index is None else f"sample {bad.index}"
    where = "" if bad.where and bad.where in bad.reason else f" ({bad.where})"
    return f"{what}: {bad.reason}{where}"
