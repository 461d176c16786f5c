"""Workers of torch's face on a Ray cluster give what processes give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ray")

from headrace.errors import ArgumentError  # noqa: E402
from headrace.torch import DataLoader, Dataset, StatefulDataLoader  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("cluster")


class Noisy(Dataset[Any]):
    """Samples that draw from torch's generator, which workers have seeds for."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return torch.tensor(index), torch.rand(2)


@pytest.mark.parametrize("make", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize("seed", [None, 3])
def test_actors_give_the_batches_of_processes(make: Callable[..., Any], seed: int | None) -> None:
    def epoch(**options: Any) -> list[list[Any]]:
        torch.manual_seed(0)
        with torch.random.fork_rng():
            return list(make(Noisy(), 4, shuffle=True, num_workers=2, seed=seed, **options))

    given = epoch(backend="ray", ray_options={"num_cpus": 1})
    expected = epoch(backend="process")
    assert len(given) == len(expected) == 5
    for batch, other in zip(given, expected, strict=True):
        assert type(batch) is type(other) is list
        assert all(map(torch.equal, batch, other))


def test_options_are_checked_when_the_loader_is_made() -> None:
    with pytest.raises(ArgumentError, match="ray_options"):
        DataLoader(Noisy(), num_workers=1, backend="ray", ray_options={"cpus": 1})
