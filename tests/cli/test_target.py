"""Targets of commands: files, objects in modules, and loaders of every kind."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import headrace as hr
from headrace.cli.main import main
from headrace.cli.target import find_target, loader_of, made
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import sys
import numpy as np
from headrace import DataLoader, IterableDataset, TensorDataset

dataset = TensorDataset(np.arange(40.0), np.arange(40))
loader = DataLoader(dataset, 4, shuffle=True, seed=3)
unseeded = DataLoader(dataset, 4, shuffle=True)
nothing = None

class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(8))

stream = Stream()

def make():
    return loader

def needs(path):
    return loader

def fails():
    return {}["dataset"]

def exits():
    sys.exit("set DATA first")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "targets.py").write_text(MODULE)
    (tmp_path / "exiting.py").write_text("raise SystemExit('usage: exiting DATA')")
    (tmp_path / "failing.py").write_text("\n1 / 0")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("targets", "exiting", "failing"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize("name", ["targets:loader", "targets:make"])
def test_objects_and_functions(name: str) -> None:
    expected = hr.DataLoader(range(40), 4, shuffle=True, seed=3).batch(2, 0)
    assert loader_of(find_target(name), None, None).batch(2, 0)[1].tolist() == expected.tolist()


def test_a_dataset_has_the_batch_size_that_is_given() -> None:
    dataset = find_target("targets:dataset")
    assert [loader_of(dataset, None, size, 16).batch_size for size in (None, 8)] == [16, 8]


@pytest.mark.parametrize("name", ["rows.tar", "rows.tfrecord", "rows.parquet", "rows.jsonl"])
def test_files_of_all_formats(name: str) -> None:
    rows = hr.StackDataset(txt=[f"line {number}" for number in range(20)])
    hr.write_dataset(rows, name)
    assert len(find_target(name)) == 20
    assert main(["explain", name, "--step", "1", "--batch-size", "4"]) == 0


def test_images_in_files_get_the_usual_augmentation(folder: Path) -> None:
    Image = pytest.importorskip("PIL.Image")
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (40 + number, 30), (9, 9, 9)).save(folder / "photos" / name / f"{number}.png")
    hr.write_dataset(hr.ImageFolder(folder / "photos"), folder / "photos.tar", fields=["png", "cls"])
    images, _ = loader_of(find_target("photos"), None, 6).batch(0, 0)
    packed = loader_of(find_target("photos.tar"), None, 6).batch(0, 0)
    assert images.shape == packed["png"].shape == (6, 224, 224, 3)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("", "the target is empty; give files"),
        ("nowhere", "'nowhere' is neither a path nor module:object; give files"),
        ("nowhere*.tar", "nowhere*.tar"),
        ("empty", "it cannot be told what"),
        ("targets.py", "targets.py is a script; name a DataLoader or a dataset in it, as in targets:loader"),
        ("targets.py:make", "as in targets:make"),
        ("nowhere:loader", "there is no module 'nowhere' in"),
        ("targets:missing", "targets has no 'missing'"),
        ("targets:nothing", "the target is of type NoneType; give files"),
        ("targets:stream", "the target is a stream (Stream); name the DataLoader that reads it"),
        ("targets:needs", "needs needs arguments (path)"),
        ("targets:fails", "KeyError: 'dataset'; in "),
        ("targets:exits", "sys.exit('set DATA first') was called; in "),
        ("exiting:loader", "importing exiting failed with SystemExit: usage: exiting DATA; in "),
        ("failing:loader", "failing.py, line 2"),
    ],
)
@pytest.mark.parametrize("command", ["explain", "profile", "plan"])
def test_mistakes_are_a_line(command: str, target: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, target]) == 2
    out, error = capsys.readouterr()
    assert not out
    assert text in error
    assert error.startswith(f"headrace {command}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["explain", "plan", "profile", "tune"])
def test_a_loader_has_a_batch_size_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "targets:loader", "--batch-size", "8"]) == 2
    assert "the target is a DataLoader with its own (4)" in capsys.readouterr().err


def test_the_order_of_no_run_is_said_to_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "targets:unseeded"]) == 0
    assert "the loader has no seed" in capsys.readouterr().err
    assert main(["explain", "targets:unseeded", "--seed", "4"]) == main(["explain", "targets:dataset"]) == 0
    assert not capsys.readouterr().err


def test_warnings_are_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "warning.py").write_text("import warnings\nwarnings.warn('look\\nout', stacklevel=1)\nrows = [1, 2]")
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "warning", raising=False)
        patch.setattr(sys, "warnoptions", ["default"])
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("default")
            assert main(["explain", "warning:rows"]) == 0
    assert capsys.readouterr().err == "warning: look out\n"


@pytest.mark.parametrize("command", ["explain", "memory", "plan", "profile", "tune"])
def test_what_the_users_code_prints_is_no_part_of_the_json(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "printing.py").write_text("print('imported')\nrows = list(range(64))\ndef step(batch): print('a step')")
    monkeypatch.delitem(sys.modules, "printing", raising=False)
    options = {"profile": ["--epochs", "1"], "tune": ["--seconds", "0.01"], "memory": ["--batch-sizes", "8"]}
    train = ["--train", "printing:step"] if command in ("profile", "tune") else []
    assert main([command, "printing:rows", "--json", *options.get(command, []), *train]) == 0
    out, error = capsys.readouterr()
    json.loads(out)
    assert "imported\n" in error


def test_objects_of_other_libraries() -> None:
    with pytest.raises(ArgumentError, match="the target is of type int"):
        loader_of(3, None, None)
    assert made(dict) == {}


# ---------------------------------------------------------------------- other loaders


@pytest.mark.parametrize("options", [{}, {"seed": 5}, {"seed": 5, "num_workers": 1}])
def test_loaders_of_torch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    import headrace.torch as ours

    data = torch.utils.data.TensorDataset(torch.arange(40.0), torch.arange(40))
    loader = ours.DataLoader(data, batch_size=4, shuffle=True, drop_last=True, **options)
    found = loader_of(loader, None, None)
    expected = ours.DataLoader(data, batch_size=4, shuffle=True, drop_last=True, seed=options.get("seed", 0))
    batch = found.batch(3, 1)
    assert all(map(torch.equal, batch, expected.batch(3, 1)))
    assert found.num_workers == options.get("num_workers", 0)
    again = found.with_arguments(batch_size=8, num_workers=0)
    assert torch.equal(again.batch(0, 0)[1], torch.cat([expected.batch(0, 0)[1], expected.batch(1, 0)[1]]))


def test_samplers_of_torch_stay() -> None:
    torch = pytest.importorskip("torch")
    import headrace.torch as ours

    loader = ours.DataLoader(torch.arange(40), batch_size=4, sampler=torch.utils.data.SequentialSampler(range(40)))
    assert loader_of(loader, None, None).batch(2, 0).tolist() == [8, 9, 10, 11]
    batches = ours.DataLoader(torch.arange(40), batch_sampler=[[1, 2], [7]])
    assert loader_of(batches, None, None).batch(1, 0).tolist() == [7]


def test_torchs_own_loaders_are_told_what_to_import() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ArgumentError, match=r"import DataLoader from headrace\.torch instead"):
        loader_of(torch.utils.data.DataLoader(range(8)), None, None)


def test_loaders_of_jax_give_arrays_of_jax() -> None:
    jax = pytest.importorskip("jax")
    from headrace.jax import DataLoader

    loader: Any = DataLoader(hr.TensorDataset(np.arange(8.0, dtype=np.float32)), batch_size=4)
    [batch] = loader_of(loader, None, None).with_arguments(batch_size=8)
    assert isinstance(batch[0], jax.Array)


def test_a_loader_is_made_again_without_what_is_for_workers() -> None:
    options: dict[str, Any] = {"timeout": 9, "prefetch_factor": 3, "persistent_workers": True, "prefetch_bytes": 10**6}
    loader: Any = hr.DataLoader(range(8), 2, num_workers=2, multiprocessing_context="spawn", **options)
    assert loader.with_arguments(batch_size=4).prefetch_factor == 3
    assert loader.with_arguments(backend="thread").multiprocessing_context is None
    alone = loader.with_arguments(num_workers=0)
    assert [batch.tolist() for batch in alone] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    budget = hr.DataLoader(range(8), 2, num_workers="auto", ram_budget=10**9)
    assert budget.with_arguments().ram_budget == 10**9
    assert budget.with_arguments(num_workers=1).ram_budget is None
