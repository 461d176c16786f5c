"""The installed script, called as a user calls it, in a folder with a module of the user's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headrace import open_dataset

MODULE = """
import numpy as np
from headrace import Dataset, DataLoader

class Mine(Dataset):
    def __init__(self, length, bad=None):
        self.length = length
        self.bad = bad
    def __len__(self):
        return self.length
    def __getitem__(self, index):
        if index == self.bad:
            raise RuntimeError(f"sample {index} is\\nno good")
        return {"x": np.full(3, index, np.float32), "y": index}

training_set = Mine(20)
many = Mine(3000)
broken = Mine(3000, 1234)

def make():
    return open("nowhere/labels.csv")

def images():
    return [(np.zeros((8, 8, 3), np.uint8), label) for label in range(8)]
"""
SCRIPT = shutil.which("headrace", path=str(Path(sys.executable).parent))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mydata.py").write_text(MODULE)
    return tmp_path


def call(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """What the script returns and prints; it does not know the folder by itself, as `python -m` would."""
    if SCRIPT is None:
        pytest.skip("the script is not installed beside this Python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [SCRIPT, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["training_set", "many"])
@pytest.mark.parametrize("workers", [(), ("--workers", "2"), ("--workers", "0"), ("--workers", "64")])
def test_convert_of_a_module(folder: Path, name: str, workers: tuple[str, ...]) -> None:
    code, out, err = call(folder, "convert", f"mydata:{name}", "a.tfrecord", *workers)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "a.tfrecord"
    written = open_dataset(folder / "a.tfrecord")
    assert len(written) == (20 if name == "training_set" else 3000)
    assert int(written[7]["y"]) == 7


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_error_of_the_users_code_is_one_line_that_names_it(folder: Path, workers: str) -> None:
    code, out, err = call(folder, "convert", "mydata:broken", "a.npy.d", "--format", "npy", "--workers", workers)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("headrace convert: RuntimeError: sample 1234 is no good; ")
    assert "while reading sample 1234 of Mine" in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["convert", "mydata:make", "a.tar"], "nowhere/labels.csv"),
        (["show", "mydata:make"], "nowhere/labels.csv"),
        (["verify", "broken.tar"], "broken.tar"),
        (["convert", "broken.tar", "b.tar"], "broken.tar"),
        (["convert", "broken.parquet", "b.tar"], "broken.parquet"),
        (["convert", "broken.lmdb", "b.tar"], "broken.lmdb"),
        (["convert", "pets", "b.tfrecord", "--workers", "0"], "nothing.jpg"),
        (["show", "pets"], "nothing.jpg"),
        (["convert", "mydata:training_set", "nowhere/there/a.tar"], "nowhere/there"),
        (["convert", "mydata:training_set", "a.tar", "--workers", "-1"], "--workers"),
        (["verify", "nothing.tar"], "nothing.tar"),
        (["show", "mydata:images", "--out", "seen.xyz"], "cannot write seen.xyz: no image format ends in '.xyz'"),
        (["show", "mydata:images", "--out", "nowhere/seen.jpg"], "cannot write nowhere/seen.jpg"),
    ],
)
def test_errors_are_one_line_that_names_the_file(folder: Path, arguments: list[str], named: str) -> None:
    pytest.importorskip("PIL")
    for name in ("broken.tar", "broken.parquet", "broken.lmdb"):
        (folder / name).write_bytes(b"nothing of the kind" * 100)
    (folder / "pets" / "cat").mkdir(parents=True)
    (folder / "pets" / "cat" / "nothing.jpg").write_bytes(b"\xff\xd8\xff no image")
    code, out, err = call(folder, *arguments)
    if "verify" in arguments and "broken.tar" in arguments:  # what is bad is its result
        assert code in (1, 2)
        assert named in out + err
        return
    if arguments[:2] == ["convert", "pets"] and code == 0:  # files are written as they are
        return
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(f"headrace {arguments[0]}: ")
    assert named in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("ending", "form"), [(".jpg", "JPEG"), (".JPEG", "JPEG"), (".webp", "WEBP"), ("", "PNG")])
def test_show_writes_what_the_ending_says(folder: Path, ending: str, form: str) -> None:
    image = pytest.importorskip("PIL.Image")
    assert call(folder, "show", "mydata:images", "--out", f"seen{ending}") == (0, f"seen{ending}\n", "")
    with image.open(folder / f"seen{ending}") as seen:
        assert seen.format == form
