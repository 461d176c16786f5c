"""Each example runs from top to bottom and prints what it promises."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
with_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def run(name: str, *, path: Path | None = None, env: dict[str, str] | None = None, limit: int = 100) -> str:
    """What the example prints, run as a user does; modules in `path` come before the installed ones."""
    paths = [os.fspath(path)] if path else []
    paths += [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    done = subprocess.run(
        # Where no compiler was, the examples run on the reference kernels like the rest of the suite.
        [sys.executable, "-W", "error", "-W", "ignore:the slower NumPy kernels serve", ROOT / "examples" / name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(env or {})},
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def accuracies(text: str) -> list[float]:
    return [float(percent) / 100 for percent in re.findall(r"accuracy ([\d.]+)%", text)]


def test_every_example_is_tested() -> None:
    assert [path.stem for path in EXAMPLES] == [
        "jax_cifar",
        "ray_train",
        "torch_cifar",
        "torch_ddp",
        "torch_resume",
        "train_gpt",
        "train_images",
        "train_numpy",
        "train_tinytorch",
        "train_torch",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_to_run_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100
    assert f"\n    python examples/{path.name}\n" in text


def test_numpy() -> None:
    text = run("train_numpy.py")
    assert len(accuracies(text)) == 6
    assert accuracies(text)[-1] > 0.85
    assert re.search(r'stopped at \{"headrace": \d, "epoch": 2, "step": 30, "ahead": \[\], "seed": 1', text)
    assert text.endswith("same weights as without the stop: True\n")


def test_images() -> None:
    text = run("train_images.py")
    assert text.startswith("wrote 600 photos of leaning, lying, standing: ")
    assert accuracies(text)[-1] > 0.95
    assert re.search(r"batch 3 of epoch 1 is float32 \(30, 16, 16, 3\), of classes \[[012](, [012]){29}\]\n$", text)


def test_tinytorch() -> None:
    text = run("train_tinytorch.py")
    assert accuracies(text)[-1] > 0.95
    assert text.endswith("a batch is a pair of Tensors: (8, 2), (8,)\n")


@with_torch
def test_torch_with_one_import_changed() -> None:
    text = run("torch_cifar.py")
    assert len(accuracies(text)) == 4
    assert accuracies(text)[-1] > 0.8


@with_torch
def test_torch() -> None:
    text = run("train_torch.py")
    assert len(accuracies(text)) == 4
    assert accuracies(text)[-1] > 0.9
    assert re.search(r"hardest batch: epoch 1, step \d+, loss \d\.\d{3}\nit is torch\.Tensor \(50, 1, 16, 16\)", text)


@with_torch
def test_gpt() -> None:
    text = run("train_gpt.py")
    assert len(re.findall(r"step \d+, loss [01]\.\d{3}\n", text)) == 3
    assert "same losses as without the stop: True\n" in text
    assert re.search(r"\n1\+1=2;7\+5=\d\d?;\n$", text)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax() -> None:
    text = run("jax_cifar.py", env={"XLA_FLAGS": "--xla_force_host_platform_device_count=8"})
    assert len(accuracies(text)) == 4
    assert accuracies(text)[-1] > 0.4
    assert text.endswith("each of 8 devices had (8, 32, 32, 3) of a batch of (64, 32, 32, 3)\n")


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.timeout(400)
def test_ray_train(tmp_path: Path) -> None:
    pytest.importorskip("pandas")  # which Ray Train needs
    text = run("ray_train.py", env={"HOME": str(tmp_path)}, limit=380)
    assert text == "4 workers saw 384 samples, then 2 workers 576; each came once: True\n"


def test_torch_is_asked_for_where_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('not here')", encoding="utf-8")
    assert run("train_torch.py", path=tmp_path) == "This example needs PyTorch: install it with `pip install torch`.\n"


@with_torch
def test_torch_resume() -> None:
    text = run("torch_resume.py")
    assert accuracies(text)[0] == accuracies(text)[1] > 0.9
    assert text.endswith("same weights as without the stop: True\n")


@with_torch
def test_torch_ddp() -> None:
    text = run("torch_ddp.py")
    assert text.count("each sample once: True") == 3
    assert accuracies(text)[-1] > 0.9
    assert text.endswith("all ranks go on from the state of rank 0: True\n")
