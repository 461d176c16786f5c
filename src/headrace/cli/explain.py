"""`headrace explain`: where each sample of a batch comes from, and what was done to it."""

from __future__ import annotations

import json
import sys

from headrace.cli.output import printing_results
from headrace.cli.target import find_target, loader_of, made
from headrace.errors import OutOfRangeError

__all__ = ["run"]

_BATCH_SIZE = 16


def run(
    target: str,
    *,
    step: int = 0,
    epoch: int = 0,
    row: int | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
    as_json: bool = False,
) -> None:
    """Print where the samples of a batch come from, and what the transforms drew for them.

    Args:
        target: as for `headrace show`.
        step: which batch of the epoch.
        epoch: which epoch.
        row: one sample of the batch; None for all.
        seed: in place of the loader's own.
        batch_size: of a target that is no loader; 16 where it is not given.
        as_json: print one JSON object, for programs.

    Raises:
        ArgumentError: the target is no loader or dataset.
        OutOfRangeError: there is no such step, or no such row.
    """
    with printing_results(as_json=as_json) as show_result:
        found = made(find_target(target))
        if seed is None and getattr(found, "seed", 0) is None:
            print(
                "the loader has no seed: this is the order of seed 0, and not of a run that drew its own",
                file=sys.stderr,
            )
        explained = loader_of(found, seed, batch_size, _BATCH_SIZE).explain(step, epoch)
        if row is None:
            show_result(json.dumps(explained.to_dict(), indent=2) if as_json else explained)
            return
        if not 0 <= row < len(explained):
            raise OutOfRangeError(f"there is no row {row} in a batch of {len(explained)} samples; rows count from 0")
        sample = explained[row]
        show_result(json.dumps(sample.to_dict(), indent=2) if as_json else f"{explained.title}\n{sample}")
