"""Where the start of workers is most of an epoch, the loader says so, once, and names the remedy."""

from __future__ import annotations

import time
import warnings
from typing import Any

import pytest

from headrace import DataLoader
from headrace.batch.arena import Arena
from headrace.errors import HeadraceWarning
from headrace.loader.pools import PoolKeeper
from headrace.workers import InlinePool

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

WARNING = r"starting the workers took [\d.]+ of the [\d.]+ seconds of an epoch; .*persistent_workers=True"


def start_slowly(worker: int) -> None:
    time.sleep(0.7)


def make_loader(**options: Any) -> DataLoader[Any]:
    return DataLoader([0, 1], num_workers=1, backend="process", worker_init_fn=start_slowly, **options)


def count_warnings(loader: DataLoader[Any], epochs: int) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(epochs):
            for _ in loader:
                pass
    return sum(issubclass(each.category, HeadraceWarning) for each in caught)


def test_slow_start_warns_in_the_second_epoch() -> None:
    loader = make_loader()
    assert count_warnings(loader, 1) == 0
    with pytest.warns(HeadraceWarning, match=WARNING) as caught:
        for _ in loader:
            pass
    assert [each.filename for each in caught] == [__file__]
    assert count_warnings(loader, 1) == 0


def test_persistent_workers_start_once() -> None:
    loader = make_loader(persistent_workers=True)
    assert count_warnings(loader, 3) == 0
    loader.close()


class Started(InlinePool[Any, Any]):
    """A pool that says how long it took to start."""

    def __init__(self, took: float, lasted: float) -> None:
        super().__init__(lambda worker: abs)
        self.times = took, lasted

    def start_times(self) -> tuple[float, float]:
        return self.times


@pytest.mark.parametrize(
    ("took", "lasted", "said"), [(0.4, 0.4, False), (0.6, 0.6, True), (0.6, 1.3, False), (3.0, 5.0, True)]
)
def test_warning_depends_on_start_and_epoch_time(took: float, lasted: float, said: bool) -> None:
    keeper = PoolKeeper(persistent=False)
    arena = Arena()
    keeper.give_back(keeper.take(lambda: Started(took, lasted), arena), arena)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        keeper.give_back(keeper.take(lambda: Started(took, lasted), arena), arena)
    assert bool(caught) == said
