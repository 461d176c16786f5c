"""Three processes train together; one is killed, and two others go on where they were."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import headrace

pytest.importorskip("torch.distributed")

SCRIPT = """
import json, os, signal, sys
from datetime import timedelta
import torch
import torch.distributed as dist
from headrace import DataLoader

rank, world_size, batch_size, length = map(int, sys.argv[1:5])
meeting, state, out, stop = *sys.argv[5:8], int(sys.argv[8])
dist.init_process_group("gloo", f"file://{meeting}", timedelta(seconds=30), world_size, rank)
loader = DataLoader(range(length), batch_size, shuffle=True, seed=5, rank=rank, world_size=world_size)
if os.path.exists(state):
    loader.load_state_dict(json.load(open(state)), at="samples")
for step, batch in enumerate(loader):
    total = torch.tensor(len(batch))
    dist.all_reduce(total)  # hangs where the ranks do not make the same steps
    with open(f"{out}.{rank}", "a") as file:
        print(*batch.tolist(), file=file)
    if step + 1 == stop:
        dist.barrier()
        if rank == 0:
            json.dump(loader.state_dict(), open(state, "w"))
        dist.barrier()
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
dist.destroy_process_group()
"""


def run(folder: Path, name: str, world_size: int, batch_size: int, length: int, stop: int) -> list[int]:
    """The exit codes of the ranks."""
    own = str(Path(headrace.__file__).parents[1])
    arguments = [str(number) for number in (world_size, batch_size, length)]
    files = [str(folder / f"{name}.meeting"), str(folder / "state.json"), str(folder / name), str(stop)]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), *arguments, *files], env=os.environ | {"PYTHONPATH": own}
        )
        for rank in range(world_size)
    ]
    try:
        return [process.wait(60) for process in ranks]
    finally:
        for process in ranks:
            process.kill()


def seen(folder: Path) -> list[int]:
    return [int(index) for path in folder.glob("run*.[0-9]") for index in path.read_text().split()]


def test_two_ranks_go_on_where_one_of_three_was_killed(tmp_path: Path) -> None:
    length = 101
    assert run(tmp_path, "run3", 3, 5, length, stop=4) == [0, -signal.SIGKILL, 0]
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 4
    assert len(seen(tmp_path)) == 60
    assert run(tmp_path, "run2", 2, 4, length, stop=0) == [0, 0]
    assert sorted(seen(tmp_path)) == list(range(length))
