"""Paths, patterns and lists of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.io.braces import expand_braces
from headrace.io.paths import find_paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.bin", "a.bin", "ä[1].bin", "inner/c.bin"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def names(folder: Path, paths: Any) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in find_paths(paths)]


def test_one_path(folder: Path) -> None:
    path = folder / "a.bin"
    assert names(folder, path) == names(folder, str(path)) == names(folder, bytes(path)) == ["a.bin"]


def test_a_pattern_is_in_the_order_of_names(folder: Path) -> None:
    assert names(folder, folder / "*.bin") == ["a.bin", "b.bin", "ä[1].bin"]
    assert names(folder, folder / "**" / "*.bin") == ["a.bin", "b.bin", "inner/c.bin", "ä[1].bin"]


def test_a_list_is_in_its_own_order(folder: Path) -> None:
    assert names(folder, [folder / "b.bin", folder / "[a]*"]) == ["b.bin", "a.bin"]


def test_a_path_that_is_there_is_no_pattern(folder: Path) -> None:
    assert names(folder, folder / "ä[1].bin") == ["ä[1].bin"]


def test_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert names(folder, "~/a.bin") == ["a.bin"]


def test_what_is_not_there(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder .*z\.bin"):
        find_paths(folder / "z.bin")
    with pytest.raises(FileNotFoundError, match=r"no file matches .*\*\.tar"):
        find_paths(folder / "*.tar")
    with pytest.raises(ArgumentError, match="at least one path is needed, got none"):
        find_paths([])


@pytest.mark.parametrize("paths", [5, [5], None])
def test_what_is_no_path(paths: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="path"):
        find_paths(paths)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{a,b}.bin", ["a.bin", "b.bin"]),
        ("{b,a}.bin", ["b.bin", "a.bin"]),
        ("{008..011}.tar", ["008.tar", "009.tar", "010.tar", "011.tar"]),
        ("{0..10}", [str(number) for number in range(11)]),
        ("{11..8}.tar", ["11.tar", "10.tar", "9.tar", "8.tar"]),
        ("{0..1}{0..1}.tar", ["00.tar", "01.tar", "10.tar", "11.tar"]),
        ("{a,inner/c}.b*", ["a.bin", "inner/c.bin"]),
        ("{cc-{0..2},laion-{0..1}}.tar", ["cc-0.tar", "cc-1.tar", "cc-2.tar", "laion-0.tar", "laion-1.tar"]),
        ("{x,{y,z}{1,2}}.tar", ["x.tar", "y1.tar", "y2.tar", "z1.tar", "z2.tar"]),
        ("{0..4..2}.tar", ["0.tar", "2.tar", "4.tar"]),
        ("{04..0..-2}.tar", ["04.tar", "02.tar", "00.tar"]),
        ("{-1..1}.tar", ["-1.tar", "0.tar", "1.tar"]),
        ("{a..c}.tar", ["a.tar", "b.tar", "c.tar"]),
        ("{a,}.tar", ["a.tar", ".tar"]),
        ("{one}{1,2}.tar", ["{one}1.tar", "{one}2.tar"]),
        ("{open{1,2}.tar", ["{open1.tar", "{open2.tar"]),
    ],
)
def test_braces(folder: Path, pattern: str, expected: list[str]) -> None:
    for name in expected:
        (folder / name).touch()
    assert names(folder, folder / pattern) == expected


def test_what_braces_stand_for_must_be_there(folder: Path) -> None:
    (folder / "0.tar").touch()
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder .*1\.tar"):
        find_paths(folder / "{0..1}.tar")


def test_a_name_with_braces(folder: Path) -> None:
    (folder / "{0..1}.tar").touch()
    assert names(folder, folder / "{0..1}.tar") == ["{0..1}.tar"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    "pattern",
    ["{a,b{1..3},c}{x,y}", "{{1..3},{7..5}}-{01..10..4}", "{a,b}{c", "{}{a,b}", "{a..e..2}", "{10..08}", "{,x}{,{y}}"],
)
def test_braces_as_bash_expands_them(pattern: str) -> None:
    shell = subprocess.run(["bash", "-c", f"printf '%s\\n' {pattern}"], capture_output=True, text=True, check=True)  # noqa: S607
    assert [name for name in expand_braces(pattern) if name] == [name for name in shell.stdout.split("\n") if name]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "got an empty one"),
        ("pipe:cat a.tar", "headrace runs none"),
        ("a.tar::b.tar", r"give the list \['a.tar', 'b.tar'\]"),
        ("simplecache::s3://bucket/a.tar", "give 's3://bucket/a.tar'"),
        ("zip://a.csv::b.zip", "unpack the file first"),
    ],
)
def test_notations_of_other_loaders(path: str, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        find_paths(path)


def test_a_file_with_such_a_name_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a::b.bin").touch()
    assert find_paths("a::b.bin") == [str(tmp_path / "a::b.bin")]
