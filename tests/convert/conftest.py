from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import TensorDataset

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 300
NAMES = {"tar": "a.tar", "tfrecord": "a.tfrecord", "lmdb": "a.lmdb", "parquet": "a.parquet", "npy": "a"}


def digits(count: int = COUNT) -> TensorDataset:
    rng = np.random.default_rng(0)
    return TensorDataset(rng.integers(0, 256, (count, 8, 8), np.uint8), np.arange(count) % 10)


def fingerprints(path: Path) -> dict[str, str]:
    """The files of what was written, each with a hash of its bytes."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    assert files
    return {str(file.relative_to(path.parent)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(params=list(NAMES))
def form(request: pytest.FixtureRequest) -> str:
    """The name of a format whose library is there."""
    name: str = request.param
    for library in {"lmdb": ["lmdb", "msgpack"], "parquet": ["pyarrow"], "tar": ["PIL"]}.get(name, []):
        pytest.importorskip(library)
    return name


class Words:
    """Samples of 1 to 40 bytes, in a dict with a number."""

    def __len__(self) -> int:
        return 200

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {"word": (f"{index}-" * 20)[: 1 + index % 40].encode(), "length": index, "text": f"\u00e9{index}"}
