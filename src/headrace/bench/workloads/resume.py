"""Going on at 99 % of a shuffled epoch: from a saved state to the next batch."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace import DataLoader
from headrace.bench.race import Contender, rival
from headrace.bench.results import per
from headrace.bench.work import Race, missing, of_rivals
from headrace.bench.workloads.numbers import Numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

__all__ = ["works"]

_BATCH, _LENGTH = 256, 10**9
_STEP = _LENGTH * 99 // 100 // _BATCH
_FEW = 200_000  # samples, of a loader that goes through all that came before


def works(folder: Path, wanted: Collection[str], *, smoke: bool = False) -> Iterator[Race]:  # noqa: ARG001
    """Yield what it takes a new loader to go on from a state.

    Args:
        folder: stays empty.
        wanted: the names of the rivals that take part.
        smoke: with tiny sizes, to see that it runs.
    """
    makers: dict[str, Callable[..., Iterable[Contender]]] = {
        "headrace": _headrace,
        "grain": _grain,
        "torchdata": partial(_torchdata, few=5_000 if smoke else _FEW),
    }
    title = f"from a state to the next batch of {_BATCH}, at 99 % of {_LENGTH:,} shuffled samples"
    yield Race(title, of_rivals(makers, wanted), {"ms": per(1, 1e-3)}, 1 if smoke else 15)


def _headrace() -> Iterator[Contender]:
    def loader() -> DataLoader[Any]:
        return DataLoader(Numbers(_LENGTH), _BATCH, shuffle=True, seed=0)

    before = loader()
    before.seek(_STEP)
    state = before.state_dict()

    def run() -> None:
        resumed = loader()
        resumed.load_state_dict(state)
        next(iter(resumed))

    yield Contender("headrace load_state_dict", run)


def _grain() -> Iterable[Contender]:
    name = "Grain set_state"
    grain: Any = rival("grain")
    if not grain:
        return missing(name)

    def run() -> None:
        dataset = grain.MapDataset.source(Numbers(_LENGTH)).shuffle(seed=0).batch(_BATCH)
        batches = iter(dataset.to_iter_dataset())
        batches.set_state({"next_index": _STEP})
        next(batches)

    return [Contender(name, run)]


def _torchdata(few: int) -> Iterable[Contender]:
    """Resume a loader of fewer samples, which draws all indices anew, and passes over those before."""
    name = f"torchdata StatefulDataLoader, {few:,} samples"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it calls in torch
        loaders: Any = rival("torchdata.stateful_dataloader")
    if not loaders:
        return missing(name)

    def loader() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return loaders.StatefulDataLoader(Numbers(few), _BATCH, shuffle=True)

    before = loader()
    batches = iter(before)
    for _ in range(few * 99 // 100 // _BATCH):
        next(batches)
    state = before.state_dict()

    def run() -> None:
        resumed = loader()
        resumed.load_state_dict(state)
        next(iter(resumed))

    return [Contender(name, run, share=few / _LENGTH)]
