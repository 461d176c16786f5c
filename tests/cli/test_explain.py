"""`headrace explain`: what it prints, and what it refuses."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace import DataLoader, RandomCrop, TensorDataset
from headrace.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import numpy as np
from headrace import DataLoader, RandomCrop, TensorDataset
dataset = TensorDataset(np.zeros((40, 8, 8, 3), np.uint8), np.arange(40)).map(RandomCrop(8), field=0)
loader = DataLoader(dataset, 4, shuffle=True, seed=3)
weighted = DataLoader(dataset, 4, weights=np.arange(1, 41), on_error="skip")
"""


@pytest.fixture(autouse=True)
def explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explained.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "explained", raising=False)


def loader() -> DataLoader[object]:
    dataset = TensorDataset(np.zeros((40, 8, 8, 3), np.uint8), np.arange(40)).map(RandomCrop(8), field=0)
    return DataLoader(dataset, 4, shuffle=True, seed=3)


def test_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "explained:loader", "--step", "2", "--epoch", "1"]) == 0
    assert capsys.readouterr().out == f"{loader().explain(2, 1)}\n"


def test_a_row_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "explained:loader", "--row", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == loader().explain(0, 0)[3].to_dict()


def test_a_dataset_and_another_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "explained:dataset", "--batch-size", "4", "--seed", "3"]) == 0
    assert capsys.readouterr().out == f"{loader().explain(0, 0)}\n"


def test_a_loader_without_a_seed_keeps_its_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "explained:weighted", "--json"]) == 0
    found = [each["index"] for each in json.loads(capsys.readouterr().out)["samples"]]
    assert found == DataLoader(range(40), 4, weights=np.arange(1, 41), seed=0).batch(0, 0).tolist()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["explained:loader", "--row", "4"], "there is no row 4 in a batch of 4 samples; rows count from 0"),
        (["explained:loader", "--step", "10"], "there is no step 10 in an epoch of 10 steps"),
        (["explained:loader", "--step", "x"], "argument --step: invalid int value: 'x'"),
        (["explained:nothing"], "explained has no 'nothing'"),
        (["nowhere"], "'nowhere' is neither a path nor module:object"),
    ],
)
def test_what_is_refused(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *arguments]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error
