"""Runs that go on with other ranks and workers every few steps: their samples must be those of one that never stops."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import DataLoader, Dataset, mix, pad_collate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 7  # between restarts


class Texts(Dataset[Any]):
    """Sequences of one token each, of which some cannot be read."""

    def __init__(self, token: int) -> None:
        self.token = token
        self.counts = np.random.default_rng(token).integers(1, 40, 400)

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if index % 41 == 7:
            raise ValueError("damaged")
        return {"input_ids": [self.token + index] * int(self.counts[index])}

    def lengths(self) -> NDArray[np.int64]:
        """The tokens of each, those that cannot be read included."""
        return self.counts


def check_restarts(kind: str, seed: int, setups: list[tuple[int, int, str]]) -> None:
    """Compare two epochs of a mixture, packed or grouped, with those of a run that never stops.

    Args:
        kind: "packed" or "grouped".
        seed: of the loader.
        setups: the world size, the workers and their backend, in turns.
    """
    mixed = mix({"a": Texts(1), "b": Texts(1000)}, [2, 1], stop="all_exhausted")
    data: Any = mixed if kind == "grouped" else mixed.pack_sequences(64, style="torchtune", window=100)
    given: dict[str, Any] = {"shuffle": True, "seed": seed, "collate_fn": pad_collate, "drop_last": True}
    given |= {"on_error": "replace"} | ({"group_by_length": True} if kind == "grouped" else {})
    whole = DataLoader(data, 24, **given)
    state = whole.state_dict()
    expected = [_digest([batch]) for _ in range(2) for batch in whole]
    assert whole.stats().bad_samples
    found: list[str] = []
    while len(found) < len(expected):
        world_size, workers, backend = setups[len(found) // _STEPS % len(setups)]
        given |= {"num_workers": workers, "backend": backend, "world_size": world_size}
        loaders = [DataLoader(data, 24 // world_size, rank=rank, **given) for rank in range(world_size)]
        for each in loaders:
            each.load_state_dict(state)
        for _, parts in zip(range(_STEPS), zip(*loaders, strict=True), strict=False):
            found.append(_digest(parts))
        state = loaders[0].state_dict()
        for each in loaders:
            each.close()
    assert found == expected


def _digest(parts: Any) -> str:
    """Return a hash of the tokens of a step, whatever ranks and padding they came in."""
    rows = sorted(row[row > 0].tobytes() for part in parts for row in part.get("input_ids", part.get("tokens")))
    return hashlib.sha256(b"|".join(rows)).hexdigest()
