"""Workloads are listed, and take only those rivals that are wanted."""

from __future__ import annotations

import http.client
import subprocess
import sys
from pathlib import Path

import pytest

import headrace
from headrace.bench.rivals import RIVALS, installed
from headrace.bench.workloads import WORKLOADS, works_of
from headrace.bench.workloads.far_server import far_server

FOLDER = Path(headrace.__file__).parent / "bench" / "workloads"


def test_all_are_listed() -> None:
    files = {path.stem for path in FOLDER.glob("*.py") if "def works(" in path.read_text(encoding="utf-8")}
    assert files == set(WORKLOADS)


@pytest.mark.parametrize("name", ["table", "images", "tokens", "shuffle", "mixture", "resume"])
def test_without_rivals_there_is_headrace_alone(name: str, tmp_path: Path) -> None:
    tables = [work.run() for work in works_of(name, tmp_path, (), smoke=True)]
    assert tables
    assert {result.kind for table in tables for result in table.results} == {"headrace"}
    assert all(result.seconds for table in tables for result in table.results)


def test_a_rival_that_is_not_wanted_is_not_imported(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from headrace.bench.workloads import works_of\n"
        f"for work in works_of('table', pathlib.Path({str(tmp_path)!r}), {{'numpy'}}, smoke=True): work.run()\n"
        f"print([name for name in {[rival.module for rival in RIVALS.values()]} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['numpy']\n"


def test_the_rivals_that_are_there() -> None:
    assert installed() == {name for name, rival in RIVALS.items() if rival.is_there}
    assert not type(RIVALS["numpy"])("no.such.module", "nothing").is_there


def test_the_server_answers_ranges(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(range(100)))
    with far_server(tmp_path, 0) as address:
        assert ask(address, "a.bin") == (200, None, bytes(range(100)))
        assert ask(address, "a.bin", Range="bytes=10-19") == (206, "bytes 10-19/100", bytes(range(10, 20)))
        assert ask(address, "b.bin")[0] == 404


def ask(address: str, name: str, **headers: str) -> tuple[int, str | None, bytes]:
    """Status, range and content of an answer."""
    connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"))
    connection.request("GET", f"/{name}", headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.headers["Content-Range"], answer.read()
    connection.close()
    return found
