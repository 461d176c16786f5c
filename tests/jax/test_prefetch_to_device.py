"""Batches on devices ahead of their turn: sharded, kept for ever, and gone with the program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from tests.jax.programs import run  # noqa: E402

from headrace import DataLoader, Dataset, TensorDataset  # noqa: E402
from headrace.batch.arena import Arena  # noqa: E402
from headrace.errors import ArgumentError, ArgumentTypeError, MixedSamplesError  # noqa: E402
from headrace.jax import prefetch_to_device  # noqa: E402

WORKERS = [(0, "auto"), (2, "thread"), (2, "process")]


def dataset() -> Any:
    """Rows of 128 KB, of which each is told by its number."""
    numbers = np.arange(48)
    return TensorDataset(np.repeat(numbers[:, None], 1 << 15, axis=1).astype(np.float32), numbers)


@pytest.mark.parametrize(("workers", "backend"), WORKERS)
def test_batches_that_are_kept_never_change(workers: int, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is used again as soon as nobody reads it: here every array has some that is, and JAX reads it in place."""
    monkeypatch.setattr(Arena, "leased_from", 1)
    with DataLoader(dataset(), 4, shuffle=True, seed=0, num_workers=workers, backend=backend) as loader:
        batches = prefetch_to_device(loader, size=3)
        for epoch in range(3):
            kept, plain = [], []
            for number, batch in enumerate(batches):
                if number % 3:  # the memory of the others goes to those that follow
                    kept.append(batch)
                    plain.append(loader.batch(number, epoch))
            for (rows, numbers), (same_rows, same_numbers) in zip(kept, plain, strict=True):
                np.testing.assert_array_equal(numbers, same_numbers)
                np.testing.assert_array_equal(rows, same_rows)
                np.testing.assert_array_equal(rows, np.repeat(numbers[:, None], 1 << 15, axis=1))


def test_what_is_computed_in_donated_memory_never_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX may write its result where the batch was."""
    monkeypatch.setattr(Arena, "leased_from", 1)
    double = jax.jit(lambda rows: rows * 2, donate_argnums=0)
    loader = DataLoader(dataset(), 4, shuffle=True, seed=0)
    kept = [(double(rows), numbers) for rows, numbers in prefetch_to_device(loader)]
    for rows, numbers in kept:
        np.testing.assert_array_equal(rows, np.repeat(2 * numbers[:, None], 1 << 15, axis=1))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_samples_whose_memory_is_filled_again(size: int) -> None:
    class Refilled(Dataset[Any]):
        memory = np.zeros(1 << 20, np.float32)

        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> Any:
            self.memory[:] = index
            return self.memory

    for loader in (DataLoader(Refilled(), batch_size=None), DataLoader(Refilled(), collate_fn=lambda rows: rows[0])):
        kept = list(prefetch_to_device(loader, size=size))
        assert [np.unique(row).tolist() for row in kept] == [[number] for number in range(6)]
    generated = (dataset for dataset in [Refilled()] for dataset in map(dataset.__getitem__, range(6)))
    assert [int(row[0]) for row in list(prefetch_to_device(generated, size=size))] == list(range(6))


def test_it_has_the_length_and_the_place_of_the_loader() -> None:
    loader = DataLoader(dataset(), 10, shuffle=True, seed=0)
    batches = prefetch_to_device(loader, size=3)
    assert len(batches) == 5
    for step, _ in enumerate(batches, 1):
        assert batches.state_dict()["step"] == step


def test_memory_goes_back_when_arrays_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arena, "leased_from", 1)
    loader = DataLoader(dataset(), 4)
    most = max(len(loader._arena.leases) for _ in prefetch_to_device(loader, size=2))
    assert most <= 2 * 6  # two fields a batch: two batches on the device, two in hand, and JAX takes its time


def test_arguments_that_are_none() -> None:
    with pytest.raises(ArgumentError, match="size must be a positive integer"):
        prefetch_to_device([], size=0)
    with pytest.raises(ArgumentTypeError, match=r"sharding must be a jax\.sharding\.Sharding"):
        prefetch_to_device([], "gpu")


def test_integers_beyond_32_bits_are_told_at_their_turn() -> None:
    batches = iter(prefetch_to_device([np.array([1]), np.array([2**40]), np.array([3])]))
    assert next(batches).tolist() == [1]
    with pytest.raises(MixedSamplesError, match="do not fit into JAX's int32"):
        next(batches)
    assert next(batches).tolist() == [3]


def test_one_shape_for_all_batches() -> None:
    """Those that are filled up need no other compiled program."""
    traced = []

    def total_of(rows: Any, numbers: Any, valid: Any) -> Any:
        traced.append(rows.shape)
        return jax.numpy.where(valid, rows[:, 0] + numbers, 0).sum()

    total, sums = jax.jit(total_of), []
    for rank in range(2):
        ranks: dict[str, Any] = {"rank": rank, "world_size": 2, "uneven": "pad"}
        loader = DataLoader(dataset().subset(range(10)), 4, shuffle=True, seed=0, **ranks)
        sums += [total(*batch) for batch in prefetch_to_device(loader)]
    assert traced == [(4, 1 << 15)]
    assert len(sums) == 4
    assert sum(sums) == 2 * sum(range(10))


# ------------------------------------------------------------------ eight devices

_EIGHT = """
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P, SingleDeviceSharding
from headrace import DataLoader, TensorDataset
from headrace.jax import prefetch_to_device
assert len(jax.devices()) == 8
x = np.arange(64 * 4 * 6, dtype=np.float32).reshape(64, 4, 6)
data = TensorDataset(x, np.arange(64))
"""


def test_batches_are_divided_among_devices() -> None:
    run(
        _EIGHT
        + """
mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))
images = NamedSharding(mesh, P("data", "model"))
labels = NamedSharding(mesh, P("data"))
loader = DataLoader(data, 16, shuffle=True, seed=0)
count = 0
for (a, b), (c, d) in zip(prefetch_to_device(loader, (images, labels)), DataLoader(data, 16, shuffle=True, seed=0)):
    assert a.sharding == images and b.sharding == labels
    assert a.addressable_shards[0].data.shape == (4, 2, 6) and len(a.addressable_shards) == 8
    for shard in a.addressable_shards:
        np.testing.assert_array_equal(shard.data, c[shard.index])
    np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(b, d)
    count += 1
assert count == 4
"""
    )


def test_kept_batches_on_eight_devices_never_change() -> None:
    run(
        _EIGHT
        + """
from headrace.batch.arena import Arena
Arena.leased_from = 1
numbers = np.arange(256)
data = TensorDataset(np.repeat(numbers[:, None], 1 << 12, axis=1).astype(np.float32), numbers)
sharding = NamedSharding(Mesh(np.array(jax.devices()), "data"), P("data"))
total = jax.jit(lambda rows: rows.sum(axis=1))
for options in ({}, {"num_workers": 2, "backend": "thread"}, {"num_workers": 2, "backend": "process"}):
    with DataLoader(data, 8, shuffle=True, seed=0, **options) as loader:
        kept = []
        for step, (rows, which) in enumerate(prefetch_to_device(loader, sharding, size=3)):
            kept.append((rows if step % 2 else rows[:, :3], total(rows), which))
        for rows, sums, which in kept:
            which = np.asarray(which)
            np.testing.assert_array_equal(rows, np.repeat(which[:, None], rows.shape[1], axis=1))
            np.testing.assert_array_equal(sums, which * float(1 << 12))
"""
    )


def test_each_device_alone() -> None:
    run(
        _EIGHT
        + """
for device in jax.devices():
    for place in (device, SingleDeviceSharding(device)):
        for batch in prefetch_to_device(DataLoader(data, 32), place):
            assert all(part.devices() == {device} for part in batch)
"""
    )


def test_a_batch_that_the_devices_cannot_share() -> None:
    text = run(
        _EIGHT
        + """
from headrace.errors import ArgumentError
sharding = NamedSharding(Mesh(np.array(jax.devices()), "data"), P("data"))
batches = iter(prefetch_to_device(DataLoader(data, 24), sharding))
assert next(batches)[0].shape == next(batches)[0].shape == (24, 4, 6)
assert next(batches)[0].shape == (16, 4, 6)
cases = {"batch[0] of shape (12, 4, 6)": DataLoader(data, 12), "batch['n'] of shape ()": [{"n": np.float32(1)}]}
for field, loader in cases.items():
    try:
        next(iter(prefetch_to_device(loader, sharding)))
    except ArgumentError as error:
        text = str(error)
        assert text.startswith(f"the field {field} cannot be put on NamedSharding("), text
        assert text.endswith("or the field a sharding of its own: sharding={...}")
        assert isinstance(error.__cause__, ValueError)
        print("refused")
"""
    )
    assert text == "refused\n" * 2


def test_each_process_has_its_part_of_a_global_array() -> None:
    """Two processes of four devices each, whose loaders are ranks: together they hold the batch of one loader."""
    run(
        """
import os, socket, subprocess, sys
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
code = '''
import sys, jax, numpy as np
rank, port = map(int, sys.argv[1:])
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from headrace import DataLoader, TensorDataset
from headrace.jax import prefetch_to_device
data = TensorDataset(np.arange(64.0, dtype=np.float32).reshape(32, 2), np.arange(32))
options = dict(shuffle=True, seed=0)
loader = DataLoader(data, 4, rank=jax.process_index(), world_size=jax.process_count(), **options)
sharding = NamedSharding(Mesh(np.array(jax.devices()), "data"), P("data"))
steps = 0
plain = DataLoader(data, 4, rank=rank, world_size=2, **options)
for (x, y), (mine, numbers) in zip(prefetch_to_device(loader, sharding), plain):
    assert x.shape == (8, 2) and y.shape == (8,) and not x.is_fully_addressable
    parts = sorted(x.addressable_shards, key=lambda shard: shard.index[0].start)
    assert parts[0].index[0].start == 4 * rank
    np.testing.assert_array_equal(np.concatenate([part.data for part in parts]), mine)
    steps += 1
assert steps == 4
'''
env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
ranks = [subprocess.Popen([sys.executable, "-c", code, str(rank), str(port)], env=env) for rank in range(2)]
assert [process.wait(50) for process in ranks] == [0, 0]
"""
    )


# ------------------------------------------------------------------ how programs end

_ENDS = """
import atexit, sys, threading, time
import jax, numpy as np
from headrace import DataLoader, TensorDataset
from headrace.jax import prefetch_to_device

def last():
    left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    print("left", left)

if __name__ == "__main__":
    loader = DataLoader(TensorDataset(np.zeros((64, 1 << 16), np.float32)), 2, {options})
    atexit.register(last)  # runs after all that is registered below
    batches = iter(prefetch_to_device(loader, size=4))
    next(batches)
    {ending}
"""


_PROCESSES = "num_workers=2, backend='process'"


@pytest.mark.parametrize(
    ("ending", "code", "options"),
    [
        ("", 0, _PROCESSES),
        ("", 0, "num_workers=2, backend='thread'"),
        ("for batch in batches: break", 0, "num_workers=0"),
        ("raise RuntimeError('on purpose')", 1, _PROCESSES),
        ("sys.exit(3)", 3, "num_workers=2, backend='thread'"),
        ("sys.exit(3)", 3, _PROCESSES),
        ("del batches, loader", 0, _PROCESSES),
        ("globals().update(kept=next(batches))", 0, _PROCESSES),
    ],
)
def test_a_program_that_stops_amid_an_epoch_ends(ending: str, code: int, options: str) -> None:
    """And leaves no thread behind when the interpreter ends."""
    text = run(_ENDS.format(ending=ending, options=options), returncode=code, timeout=30)
    assert text == "left []\n"
