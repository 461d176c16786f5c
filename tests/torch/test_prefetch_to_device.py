"""Batches go to a device ahead of their turn, and their memory to other batches once they are there."""

from __future__ import annotations

import ctypes
import gc
import threading
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import headrace  # noqa: E402
from headrace import TensorDataset  # noqa: E402
from headrace.batch.arena import Arena  # noqa: E402
from headrace.errors import ArgumentError, ArgumentTypeError  # noqa: E402
from headrace.loader.prefetch import PrefetchedBatches  # noqa: E402
from headrace.torch import DataLoader, prefetch_to_device  # noqa: E402
from headrace.torch.prefetch_to_device import StreamMover  # noqa: E402

WORKERS = [(0, "auto"), (2, "thread"), (2, "process")]
WIDTH = 1 << 14


class SmallArena(Arena):
    """Leases memory for every array, so that all of it is used again at once."""

    leased_from = 1


class Passing:
    """A point in the one stream of a slow device: so many copies are done then."""

    def __init__(self, device: SlowDevice) -> None:
        self.device = device
        self.position = device.begun

    def query(self) -> bool:
        self.device.tick()
        return self.device.done >= self.position

    def synchronize(self) -> None:
        self.device.work(self.position)


class SlowDevice:
    """Stands in for a GPU: it reads the memory of the host long after it was told to, and keeps nothing alive.

    One copy is done for every `latency` times that it is asked how far it is.
    """

    name = "slow"

    def __init__(self, latency: int = 3) -> None:
        self.latency = latency
        self.asked = 0
        self.begun = self.done = 0
        self.pending: list[tuple[Any, int]] = []
        self.handed_over: list[Any] = []
        self.moved: list[Any] = []
        self.lock = threading.Lock()

    def make_arena(self) -> Arena:
        return SmallArena()

    def copy(self, tensor: Any) -> Any:
        assert tensor.is_contiguous()
        found = torch.empty_like(tensor)
        self.pending.append((found, tensor.data_ptr()))
        self.begun += 1
        return found

    def mark_copies(self) -> Passing:
        return Passing(self)

    def hand_over(self, copied: Any, tensors: list[Any]) -> None:
        assert copied.position <= self.begun  # else the stream would wait for ever
        self.handed_over += tensors

    def move(self, value: Any) -> Any:
        self.moved.append(value)
        return value.to("cpu")

    def mark_moves(self) -> Passing:
        return Passing(self)

    def tick(self) -> None:
        """Copy one tensor, if it has been asked often enough."""
        self.asked += 1
        if self.asked >= self.latency:
            self.asked = 0
            self.work(self.done + 1)

    def work(self, position: int) -> None:
        """Copy up to a position in the stream."""
        with self.lock:
            while self.pending and self.done < position:
                found, address = self.pending.pop(0)
                nbytes = found.numel() * found.element_size()
                found.view(-1).view(torch.uint8).numpy()[:] = (ctypes.c_uint8 * nbytes).from_address(address)
                self.done += 1

    def finish(self) -> None:
        self.work(self.begun)


def dataset() -> Any:
    """Rows of 64 KB, of which each is told by its number."""
    numbers = torch.arange(48)
    return TensorDataset(numbers[:, None].repeat(1, WIDTH).float(), numbers)


def on(device: SlowDevice, loader: Any, size: int = 2) -> PrefetchedBatches:
    return PrefetchedBatches(loader, size, StreamMover(device))


@pytest.mark.parametrize(("workers", "backend"), WORKERS)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_memory_is_not_leased_again_before_it_is_copied(workers: int, backend: Any, size: int) -> None:
    device = SlowDevice(latency=9)
    kept: list[Any] = []
    with headrace.DataLoader(dataset(), 4, shuffle=True, seed=0, num_workers=workers, backend=backend) as loader:
        for _ in range(3):
            kept += list(on(device, loader, size))
        device.finish()
        plain = headrace.DataLoader(dataset(), 4, shuffle=True, seed=0)
        for (rows, numbers), (_, expected) in zip(kept, [*plain, *plain, *plain], strict=True):
            assert torch.equal(numbers, expected)
            assert torch.equal(rows, numbers[:, None].repeat(1, WIDTH).float())


def test_memory_is_leased_again_once_it_is_copied() -> None:
    device = SlowDevice(latency=1)
    loader = headrace.DataLoader(dataset(), 4)
    most = 0
    for _ in on(device, loader):
        most = max(most, len(loader._other_arenas["slow"].leases))
    assert 2 <= most <= 2 * 6
    assert loader._other_arenas["slow"].free > 0
    assert len(loader._arena.leases) == 0


def test_every_copy_is_handed_over_to_the_stream_that_uses_it() -> None:
    device = SlowDevice()
    batches = [tensor for batch in on(device, headrace.DataLoader(dataset(), 16)) for tensor in batch]
    assert list(map(id, device.handed_over)) == list(map(id, batches))


@pytest.mark.parametrize("what", ["iterator", "all"])
def test_copies_that_have_begun_are_waited_for(what: str) -> None:
    """Whatever is dropped first, the memory that they read from is kept."""
    device = SlowDevice(latency=10**9)
    loader = headrace.DataLoader(dataset(), 4, shuffle=True, seed=0)
    batches = on(device, loader, 3)
    iterator = iter(batches)
    rows, numbers = next(iterator)
    del iterator
    gc.collect()
    assert len(loader._other_arenas["slow"].leases) >= 3
    if what == "all":
        arena = loader._other_arenas["slow"]
        del batches, loader
        gc.collect()
        assert not device.pending
        assert len(arena.leases) == 0
    else:
        device.finish()
    assert torch.equal(rows, numbers[:, None].repeat(1, WIDTH).float())


def test_a_copy_that_fails_leaves_none_without_memory() -> None:
    class Full(SlowDevice):
        def copy(self, tensor: Any) -> Any:
            if self.begun == 3 and not self.moved:
                self.moved.append("once")
                raise RuntimeError("out of memory")
            return super().copy(tensor)

    device = Full(latency=9)
    loader = headrace.DataLoader(dataset(), 4)
    batches = iter(on(device, loader, 2))
    kept = [next(batches)]
    with pytest.raises(RuntimeError, match="out of memory"):
        next(batches)
    kept += list(batches)
    device.finish()
    assert len(kept) == 11
    for rows, numbers in kept:
        assert torch.equal(rows, numbers[:, None].repeat(1, WIDTH).float())


def test_a_loader_that_is_gone_through_otherwise_has_memory_of_its_own() -> None:
    """What is copied asynchronously by the user is not known here, so it must not be page-locked memory."""
    device = SlowDevice()
    with headrace.DataLoader(dataset(), 4, num_workers=1, backend="thread", persistent_workers=True) as loader:
        prefetched, plain = iter(on(device, loader)), iter(loader)
        for _ in range(5):
            next(prefetched)
            rows, numbers = next(plain)
            assert torch.equal(rows, numbers[:, None].repeat(1, WIDTH).float())
        pools = len(loader._pools._open)
        del prefetched, plain
        list(on(device, loader))
        list(loader)
        assert len(loader._pools._open) == pools == 2


def test_the_memory_of_worker_processes_is_adopted_once() -> None:
    class Adopting(SmallArena):
        def __init__(self) -> None:
            super().__init__()
            self.adopted: list[Any] = []

        def adopt(self, memory: Any) -> None:
            self.adopted.append((memory.__array_interface__["data"][0], memory.nbytes))

    class Locking(SlowDevice):
        def make_arena(self) -> Arena:
            return Adopting()

    options: dict[str, Any] = {"num_workers": 2, "backend": "process", "persistent_workers": True}
    with headrace.DataLoader(dataset(), 4, **options) as loader:
        batches = on(Locking(1), loader)
        list(batches)
        adopted: Any = loader._other_arenas["slow"]
        first = list(adopted.adopted)
        for _ in range(3):
            list(batches)
        assert 1 <= len(first) <= 12
        assert len(set(adopted.adopted)) == len(adopted.adopted) <= 2 * len(first)
        for address, nbytes in adopted.adopted:
            assert address % 4096 == nbytes % 4096 == 0


# ------------------------------------------------------------------ what is in a batch


class Point(NamedTuple):
    x: Any
    y: Any


class Movable:
    """An object that moves itself."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def to(self, device: Any, non_blocking: bool = False) -> Movable:
        return Movable(self.value)


def test_containers_keep_their_type() -> None:
    device = SlowDevice(1)
    dates = np.array(["2020"], "M8[D]")
    batch = {
        "z": torch.ones(2),
        "point": Point(torch.zeros(3), ["a", "b"]),
        "list": [np.ones(2, np.float32), dates, None, 3],
        "movable": Movable(1),
    }
    (moved,) = list(on(device, [batch]))
    device.finish()
    assert list(moved) == list(batch)
    assert torch.equal(moved["z"], torch.ones(2))
    assert moved["z"] is not batch["z"]
    assert type(moved["point"]) is Point
    assert moved["point"].y == ["a", "b"]
    assert torch.equal(moved["list"][0], torch.ones(2))
    assert moved["list"][1] is dates
    assert moved["list"][2:] == [None, 3]
    assert moved["movable"] is not batch["movable"]
    assert device.moved == [batch["movable"]]


def test_what_moves_itself_is_kept_until_it_has() -> None:
    device = SlowDevice(10**9)
    batches = iter(on(device, [[torch.ones(2), Movable(torch.ones(3))] for _ in range(3)], 1))
    next(batches)
    held = batches._mover._in_flight  # type: ignore[attr-defined]
    assert len(held) == 2
    assert held[1][1] == device.moved


def test_packed_sequences() -> None:
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(3), torch.ones(2)])
    for batches in (on(SlowDevice(), [packed]), prefetch_to_device([packed], "cpu")):
        (moved,) = list(batches)
        assert type(moved) is type(packed)
        assert torch.equal(moved.data, packed.data)


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(2, requires_grad=True), torch.eye(2).to_sparse()],
    ids=["grad", "sparse"],
)
def test_tensors_that_are_no_plain_memory_move_themselves(tensor: Any) -> None:
    device = SlowDevice()
    list(on(device, [[tensor]]))
    assert len(device.moved) == 1
    assert device.moved[0] is tensor


# ------------------------------------------------------------------ loaders


@pytest.mark.parametrize(("workers", "backend"), WORKERS)
@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("persistent", [False, True])
def test_batches_are_those_of_the_loader(workers: int, backend: Any, seed: Any, persistent: bool) -> None:
    def loader() -> Any:
        options: dict[str, Any] = {"num_workers": workers, "backend": backend, "seed": seed}
        options["persistent_workers"] = persistent and workers > 0
        return DataLoader(dataset(), 4, shuffle=True, **options)

    device = SlowDevice()
    torch.manual_seed(0)
    with loader() as plain:
        expected = [*plain, *plain]
    torch.manual_seed(0)
    with loader() as ours:
        found = [*on(device, ours, 3), *on(device, ours, 1)]
        assert ours._core_loader()._other_arenas.keys() == {"slow"}
    device.finish()
    for batch, same in zip(found, expected, strict=True):
        assert type(batch) is type(same)
        assert all(map(torch.equal, batch, same))


def test_the_place_to_resume_from_is_that_of_the_consumer() -> None:
    batches = on(SlowDevice(), DataLoader(dataset(), 4, shuffle=True, seed=0), 3)
    for step, _ in enumerate(batches, 1):
        assert batches.state_dict()["step"] == step
        if step == 5:
            break
    resumed = DataLoader(dataset(), 4, shuffle=True, seed=0)
    resumed.load_state_dict(batches.state_dict())
    assert len(list(resumed)) == 7


def test_loaders_of_others() -> None:
    device = SlowDevice()
    plain = torch.utils.data.DataLoader(dataset(), 4)
    found = list(on(device, plain))
    device.finish()
    for batch, same in zip(found, plain, strict=True):
        assert all(map(torch.equal, batch, same))


# ------------------------------------------------------------------ devices


def test_on_a_cpu_batches_stay_what_they_are() -> None:
    batch = [torch.ones(2), np.ones(2), "a"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = list(prefetch_to_device([batch], "cpu"))
    assert found[0] is batch[0]
    assert np.shares_memory(found[1].numpy(), batch[1])
    assert found[2] == "a"


def test_without_cuda_a_warning_is_given_and_batches_stay_on_the_cpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.warns(UserWarning, match="no accelerator is found, then device pinned memory won't be used"):
        batches = prefetch_to_device(DataLoader(dataset(), 4), "cuda")
    assert all(rows.device.type == "cpu" for rows, _ in batches)


@pytest.mark.parametrize("device", ["gpu", "cpu:x", "xpu", -1], ids=str)
def test_a_device_that_is_none(device: Any) -> None:
    with pytest.raises(
        ArgumentError, match=r'^device must be one that torch has on this machine, as "cpu" or "cuda:0"'
    ):
        prefetch_to_device([], device)


@pytest.mark.parametrize("device", [None, 1.5, True, ["cuda"]], ids=str)
def test_a_device_of_another_kind(device: Any) -> None:
    with pytest.raises(
        ArgumentTypeError, match=r'^device must be a torch\.device, a str as "cuda:0", or an int, but got'
    ):
        prefetch_to_device([], device)


def test_a_size_that_is_none() -> None:
    with pytest.raises(ArgumentError, match="size must be a positive integer"):
        prefetch_to_device([], "cpu", 0)


# ------------------------------------------------------------------ a GPU


def _gpu_or_skip() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")


@pytest.mark.parametrize(("workers", "backend"), WORKERS)
@pytest.mark.parametrize("size", [1, 3])
def test_on_a_gpu_kept_batches_never_change(workers: int, backend: Any, size: int) -> None:
    _gpu_or_skip()
    numbers = torch.arange(256)
    data = TensorDataset(numbers[:, None].repeat(1, 1 << 18).float(), numbers)
    with headrace.DataLoader(data, 8, shuffle=True, seed=0, num_workers=workers, backend=backend) as loader:
        batches = prefetch_to_device(loader, "cuda", size)
        sums = []
        for _ in range(3):
            for rows, which in batches:
                assert rows.is_cuda
                sums.append((rows.sum(dim=1), rows[:, :3].clone(), which))
        for total, part, which in sums:
            assert torch.equal(total, which.float() * (1 << 18))
            assert torch.equal(part, which[:, None].repeat(1, 3).float())


@pytest.mark.parametrize(("workers", "backend"), WORKERS)
def test_on_a_gpu_large_arrays_are_copied_from_where_they_were_loaded(
    workers: int, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gpu_or_skip()
    pinned: list[int] = []
    pin = torch.Tensor.pin_memory

    def pin_and_note(tensor: Any) -> Any:
        pinned.append(tensor.nbytes)
        return pin(tensor)

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_and_note)
    data = TensorDataset(torch.zeros(64, 1 << 16), torch.arange(64))
    with headrace.DataLoader(data, 8, num_workers=workers, backend=backend) as loader:
        list(prefetch_to_device(loader, "cuda"))
    assert max(pinned, default=0) < 1 << 16


def test_on_a_gpu_another_stream_may_use_the_batches() -> None:
    _gpu_or_skip()
    data = TensorDataset(torch.arange(64.0)[:, None].repeat(1, 1 << 18), torch.arange(64))
    streams = [torch.cuda.Stream() for _ in range(3)]
    totals = []
    batches = iter(prefetch_to_device(headrace.DataLoader(data, 4), "cuda"))
    for step in range(16):
        with torch.cuda.stream(streams[step % 3]):
            rows, which = next(batches)
            totals.append((rows.sum(dim=1), which))
            del rows
    torch.cuda.synchronize()
    for total, which in totals:
        assert torch.equal(total, which.float() * (1 << 18))
