"""Lengths that workers measure are those of the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import open_dataset, write_dataset
from headrace.cli.main import main
from headrace.convert import lengths as module
from headrace.convert.lengths import measure_lengths
from headrace.datasets import lengths as measuring
from headrace.datasets.lengths import find_kept_lengths
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from pathlib import Path

ROWS: list[dict[str, Any]] = [{"text": "x", "tokens": list(range(number % 7))} for number in range(100)]
EXPECTED = [number % 7 for number in range(100)]


@pytest.mark.parametrize("workers", [0, 2])
def test_lengths_are_those_of_the_samples(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 13)
    monkeypatch.setattr(measuring, "_SAMPLES_AT_ONCE", 13)
    seen: list[int] = []
    found = measure_lengths(
        ROWS,
        "tokens",
        path=tmp_path / "a.npy",
        workers=workers,
        backend="thread" if workers else "auto",
        progress=lambda done, total, _: seen.append(done),
    )
    assert found.tolist() == np.load(tmp_path / "a.npy").tolist() == EXPECTED
    assert seen == [*range(13, 100, 13), 100]


def test_what_is_known_is_not_read() -> None:
    class Known:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> None:
            raise AssertionError

        def lengths(self) -> Any:
            return np.array([1, 2, 3])

    assert measure_lengths(Known()).tolist() == [1, 2, 3]


def test_a_field_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError):
        measure_lengths(ROWS, "words", path=tmp_path / "a.npy")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ArgumentError, match=r"are kept in a \.npy file"):
        measure_lengths(ROWS, path=tmp_path / "a.txt")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(ROWS, tmp_path / "a.jsonl")
    assert main(["lengths", str(tmp_path / "a.jsonl"), str(tmp_path / "a.npy"), "--field", "tokens"]) == 0
    assert "100 sequences of 295 items, 0 to 6 of each, in" in capsys.readouterr().out
    assert np.load(tmp_path / "a.npy").tolist() == EXPECTED


def test_the_command_keeps_them_beside_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(ROWS, tmp_path / "a.jsonl")
    assert main(["lengths", str(tmp_path / "a.jsonl"), "--field", "tokens"]) == 0
    assert "100 sequences of 295 items, 0 to 6 of each, in" in capsys.readouterr().out
    found = find_kept_lengths(open_dataset(tmp_path / "a.jsonl"), "tokens")
    assert found is not None
    assert found.tolist() == EXPECTED


def test_the_command_without_a_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 4)))
    assert main(["lengths", str(tmp_path / "a.npy")]) == 0
    assert "3 sequences of 12 items, 4 to 4 of each, which the dataset tells" in capsys.readouterr().out
    (tmp_path / "classes/a").mkdir(parents=True)
    (tmp_path / "classes/a/0.png").touch()
    assert main(["lengths", str(tmp_path / "classes")]) == 2
    assert "has no files beside which lengths could be kept; say which FILE to write" in capsys.readouterr().err
