"""Memory of worker processes is registered once, and given back before it is unmapped. With a stand-in for CUDA."""

from __future__ import annotations

import gc
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.torch.test_prefetch_to_device import SlowDevice  # noqa: E402

import headrace  # noqa: E402
from headrace import TensorDataset  # noqa: E402
from headrace.errors import HeadraceWarning  # noqa: E402
from headrace.loader.prefetch import PrefetchedBatches  # noqa: E402
from headrace.torch import page_locked  # noqa: E402
from headrace.torch.page_locked import PageLockedArena  # noqa: E402
from headrace.torch.prefetch_to_device import StreamMover  # noqa: E402


class Cudart:
    """Keeps account of registered memory, as CUDA does."""

    def __init__(self, error: int = 0) -> None:
        self.error = error
        self.registered: dict[int, int] = {}
        self.calls = 0

    def cudaHostRegister(self, address: int, nbytes: int, flags: int) -> int:
        self.calls += 1
        if self.error:
            return self.error
        assert flags == 1
        assert mapped(address, nbytes)
        for other, size in self.registered.items():
            assert address + nbytes <= other or other + size <= address, "it is registered already"
        self.registered[address] = nbytes
        return 0

    def cudaHostUnregister(self, address: int) -> int:
        assert mapped(address, self.registered.pop(address)), "it is unmapped already"
        return 0


def mapped(address: int, nbytes: int) -> bool:
    """Whether this process has memory of others there."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        start, _, end = line.split()[0].partition("-")
        if int(start, 16) <= address and address + nbytes <= int(end, 16):
            return True
    return False


class Locking(SlowDevice):
    def make_arena(self) -> Any:
        return Unpinned(torch.device("cuda:0"))


class Unpinned(PageLockedArena):
    def _new_buffer(self, nbytes: int) -> Any:
        return np.empty(nbytes, np.uint8)


@pytest.fixture
def cudart(monkeypatch: pytest.MonkeyPatch) -> Cudart:
    found = Cudart()
    monkeypatch.setattr(torch.cuda, "cudart", lambda: found)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(page_locked, "_forget_error", lambda device: None)
    return found


def batches(loader: Any) -> PrefetchedBatches:
    return PrefetchedBatches(loader, 2, StreamMover(Locking(2)))


def loader(**options: Any) -> Any:
    data = TensorDataset(np.zeros((64, 1 << 15), np.float32))
    return headrace.DataLoader(data, 4, num_workers=2, backend="process", **options)


@pytest.mark.parametrize("persistent", [True, False])
def test_it_is_registered_once_and_given_back_before_it_is_unmapped(cudart: Cudart, persistent: bool) -> None:
    with loader(persistent_workers=persistent) as ours:
        for _ in range(3):
            kept = list(batches(ours))
        assert cudart.calls > 0
        assert bool(cudart.registered) == persistent
    del kept
    gc.collect()
    assert cudart.registered == {}


def test_what_is_kept_stays_registered(cudart: Cudart) -> None:
    device = Locking(10**9)
    mover = StreamMover(device)
    with loader() as ours:
        list(PrefetchedBatches(ours, 2, mover))
    gc.collect()
    assert cudart.registered  # copies still read it
    del mover
    gc.collect()
    assert not device.pending
    assert cudart.registered == {}


def test_where_it_is_refused_that_is_said_once(cudart: Cudart) -> None:
    cudart.error = 801
    with loader() as ours, pytest.warns(HeadraceWarning, match=r"cannot be page-locked \(801\)") as caught:
        assert len(list(batches(ours))) == 16
    assert cudart.calls == len(caught) == 1


def test_buffers_lie_in_page_locked_memory() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    arena = PageLockedArena(torch.device("cuda:0"))
    lease = arena.lease((1 << 16,), np.dtype(np.float32), 1 << 18)
    assert torch.from_numpy(lease).is_pinned()
    assert torch.from_numpy(lease[5:7]).is_pinned()
