from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest

import headrace
from headrace import kernels
from headrace.cli import info


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The distributions that seem to be installed, with their versions."""
    versions: dict[str, str] = {}

    def version(name: str) -> str:
        try:
            return versions[name]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(metadata, "version", version)
    return versions


def _line(name: str, section: str = "") -> str:
    """Return what the report says about `name`, in the section of that title."""
    parts = info.report().split("\n\n")
    part = next(part for part in parts if not section or part.splitlines()[0] == section)
    return next(line for line in part.splitlines() if line.strip().startswith(name))


def _value(name: str, section: str = "") -> str:
    return _line(name, section).strip().removeprefix(name).strip()


def test_versions_of_the_system() -> None:
    assert _value("headrace") == headrace.__version__
    assert _value("NumPy") == np.__version__
    assert _value("Python").startswith(sys.version.split()[0])
    assert _value("platform")


@pytest.mark.parametrize(
    ("section", "name", "distribution", "value"),
    [
        ("image decoders", "Pillow", "pillow", "9.9"),
        ("image decoders", "simplejpeg", "simplejpeg", "9.9"),
        ("extras", "images", "pillow", "pillow 9.9"),
        ("extras", "lmdb", "lmdb", "lmdb 9.9"),
        ("extras", "arrow", "pyarrow", "pyarrow 9.9"),
        ("extras", "remote", "fsspec", "fsspec 9.9"),
        ("extras", "cli", "rich", "rich 9.9"),
        ("extras", "processes", "cloudpickle", "cloudpickle 9.9"),
        ("frameworks", "torch", "torch", "9.9"),
        ("frameworks", "jax", "jax", "9.9"),
        ("frameworks", "ray", "ray", "9.9"),
    ],
)
def test_packages_found_and_not_found(
    installed: dict[str, str], section: str, name: str, distribution: str, value: str
) -> None:
    absent = _value(name, section)
    assert absent.startswith("not installed: pip install ")
    if section != "image decoders":
        assert absent.endswith(f"'headrace[{name}]'")
    installed[distribution] = "9.9"
    assert _value(name, section) == value


def test_values_are_aligned_and_plain(installed: dict[str, str]) -> None:
    text = info.report()
    assert text.isascii()
    width = len("native libjpeg    ")
    titles = {"", "kernels", "image decoders", "extras", "frameworks"}
    rows = [line for line in text.splitlines() if line not in titles]
    assert len(rows) == 4 + 2 + 3 + 6 + 3
    for row in rows:
        assert row[width - 2 : width] == "  "
        assert row[width] != " "


def test_kernels_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _value("in use", "kernels") == kernels.active().name
    monkeypatch.setattr(kernels, "why_not_native", lambda: "the library is missing")
    assert (
        _value("native", "kernels") == "not available: the library is missing; install headrace where a C compiler is"
    )
    monkeypatch.setattr(kernels, "why_not_native", lambda: None)
    assert _value("native", "kernels") == "available"


def test_a_bad_choice_of_kernels_is_reported_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_KERNELS", "gpu")
    monkeypatch.setattr(kernels, "active", kernels.active.__wrapped__)
    assert _value("in use", "kernels").startswith("none: HEADRACE_KERNELS is 'gpu'")


def test_nothing_is_imported_to_find_its_version() -> None:
    code = (
        "import sys; from headrace.cli import info; info.report(); "
        "print({'PIL', 'cv2', 'fsspec', 'jax', 'lmdb', 'pyarrow', 'ray', 'rich', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")
