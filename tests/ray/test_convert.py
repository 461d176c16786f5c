"""Conversion and checking by actors: the bytes and the findings of one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.convert.conftest import digits, fingerprints

from headrace.cli.main import main
from headrace.convert import write_dataset
from headrace.convert.lengths import measure_lengths
from headrace.convert.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("ray")
pytestmark = pytest.mark.usefixtures("cluster")


@pytest.mark.parametrize("name", ["a.tar", "a.tfrecord"])
def test_the_bytes_are_those_of_one_machine(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    monkeypatch.setattr("headrace.convert.write._MOST", 16)
    (tmp_path / "ray").mkdir()
    (tmp_path / "here").mkdir()
    options = {"fields": ["image", "label"], "shard_samples": 130}
    write_dataset(digits(), tmp_path / "here" / name, **options)  # type: ignore[arg-type]
    write_dataset(digits(), tmp_path / "ray" / name, workers=2, backend="ray", **options)  # type: ignore[arg-type]
    here, there = (
        {path.name: fingerprints(path) for path in folder.iterdir()} for folder in sorted(tmp_path.iterdir())
    )
    assert here == there


def test_what_is_damaged_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.tfrecord"
    write_dataset(digits(), path, fields=["image", "label"])
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 60] ^= 255
    path.write_bytes(content)
    found, expected = verify(str(path), workers=2, backend="ray"), verify(str(path))
    assert (found.bad, found.samples) == (expected.bad, expected.samples)
    assert len(found.bad) == 1
    assert main(["verify", str(path), "--backend", "ray", "--workers", "2"]) == 1
    assert "1 bad" in capsys.readouterr().out


def test_lengths_are_measured_by_actors() -> None:
    rows = [{"tokens": list(range(number % 7))} for number in range(3000)]
    found = measure_lengths(rows, workers=2, backend="ray")
    assert found.tolist() == [number % 7 for number in range(3000)]
