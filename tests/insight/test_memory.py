"""The memory of a loader, predicted and measured: the questions that the seed page asks, with its own numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, TensorDataset
from headrace.cli.main import main
from headrace.errors import ArgumentError
from headrace.insight.memory import measure_memory

if TYPE_CHECKING:
    from pathlib import Path

CIFAR = TensorDataset(np.zeros((1000, 3, 32, 32), np.float32))


def test_a_batch_of_cifar_takes_a_megabyte_and_a_half() -> None:
    [found] = measure_memory(lambda size: DataLoader(CIFAR, size), [128])
    assert found.sample == 3 * 32 * 32 * 4
    assert found.batch == found.predicted == 128 * found.sample


def test_a_stored_shuffle_takes_eight_bytes_a_sample() -> None:
    [found] = measure_memory(lambda size: DataLoader(range(10_000_000), size, shuffle=True, seed=0), [32], batches=1)
    assert (found.shuffle, found.stored_shuffle) == (0, 80_000_000)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not say")
def test_what_is_measured_has_what_was_predicted() -> None:
    program = """
import json
from dataclasses import asdict
import numpy as np
from headrace import DataLoader, TensorDataset
from headrace.insight.memory import measure_memory

dataset = TensorDataset(np.zeros((64, 1 << 16), np.float32))
make = lambda size: DataLoader(dataset, size, num_workers=2, backend="process")
[found] = measure_memory(make, [8], batches=8)
print(json.dumps(asdict(found)))
"""  # in an interpreter of its own: what this one gives back meanwhile would hide what is added
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    assert found["predicted"] == 5 * found["batch"] == 5 * 8 * (1 << 18)
    assert found["measured"] > found["batch"]
    assert found["each_worker"] > 1 << 20


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_sizes_are_positive_integers(size: Any) -> None:
    with pytest.raises(ArgumentError, match="must be positive integers"):
        measure_memory(lambda _: DataLoader(CIFAR), [size])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    lines = [
        "import numpy as np",
        "from headrace import TensorDataset",
        "rows = TensorDataset(np.zeros((100, 250), 'f4'))",
    ]
    (tmp_path / "my_data.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_data", raising=False)
    return "my_data:rows"


def test_the_command(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", module, "--batch-sizes", "10,20", "--batches", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:5] == ["10", "1.0", "kB", "10.0", "kB"]
    assert lines[-1] == "shuffling takes no memory; a stored permutation of 100 samples would take 800 B"
    assert main(["memory", module, "--batch-sizes", "10", "--json", "--workers", "1"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert (found["batch"], found["predicted"]) == (10_000, 30_000)


def test_the_command_refuses_what_is_no_size(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", module, "--batch-sizes", "10,many"]) == 2
    assert "--batch-sizes are positive integers with commas between them, got 'many'" in capsys.readouterr().err
