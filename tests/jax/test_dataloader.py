"""The loader whose batches are JAX arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import headrace  # noqa: E402
from headrace import Dataset, TensorDataset  # noqa: E402
from headrace.jax import DataLoader  # noqa: E402


def arrays() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.random((40, 3, 4), np.float32), rng.integers(0, 10, 40)


@pytest.mark.parametrize(("workers", "backend"), [(0, "auto"), (2, "thread"), (2, "process")])
def test_batches_are_those_of_the_loader_of_numpy(workers: int, backend: Any) -> None:
    options: dict[str, Any] = {"batch_size": 16, "shuffle": True, "seed": 1}
    with DataLoader(TensorDataset(*arrays()), num_workers=workers, backend=backend, **options) as loader:
        batches = [*loader, *loader]
        plain = headrace.DataLoader(TensorDataset(*arrays()), **options)
        for found, expected in zip(batches, [*plain, *plain], strict=True):
            for ours, theirs in zip(found, expected, strict=True):
                assert isinstance(ours, jax.Array)
                np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(loader.batch(1, 0)[0], batches[1][0])


def test_single_samples() -> None:
    class Samples(Dataset[Any]):
        """Fills the same memory for each sample."""

        def __init__(self) -> None:
            self.memory = np.zeros(1 << 20, np.float32)

        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> Any:
            self.memory[:] = index
            return {"x": self.memory, "index": index}

    kept: list[Any] = list(DataLoader(Samples(), batch_size=None))
    for number, sample in enumerate(kept):
        assert isinstance(sample["x"], jax.Array)
        assert sample["index"] == number
        assert np.unique(sample["x"]).tolist() == [number]


def test_it_resumes_as_the_other_does() -> None:
    loader: DataLoader[Any] = DataLoader(TensorDataset(*arrays()), batch_size=8, shuffle=True, seed=0)
    batches = iter(loader)
    next(batches)
    plain = headrace.DataLoader(TensorDataset(*arrays()), batch_size=8, shuffle=True, seed=0)
    plain.load_state_dict(loader.state_dict())
    np.testing.assert_array_equal(next(batches)[0], next(iter(plain))[0])
