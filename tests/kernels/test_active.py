from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.errors import ArgumentError, ReferenceKernelsWarning
from headrace.kernels import active, native, reference, why_not_native

if TYPE_CHECKING:
    from headrace.kernels import Kernels

pytestmark = pytest.mark.usefixtures("fresh_choice")


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "find_library", lambda: None)


def use(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(native, "find_library", lambda: path)


def test_native_is_the_default_where_built(native_kernels: Kernels) -> None:
    assert active() is native_kernels
    assert active().name == "native"
    assert why_not_native() is None


@pytest.mark.usefixtures("no_library")
def test_one_warning_where_it_is_not() -> None:
    with pytest.warns(ReferenceKernelsWarning) as caught:
        assert active() is reference
    assert active().name == "reference"
    (warning,) = caught
    assert str(warning.message) == (
        f"the slower NumPy kernels serve because {native.LIBRARY} is not installed; install headrace where "
        "a C compiler is, or set HEADRACE_KERNELS=reference to accept this"
    )
    assert why_not_native() == f"{native.LIBRARY} is not installed"


def test_reference_by_name_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_KERNELS", "reference")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert active() is reference


def test_empty_name_is_none(monkeypatch: pytest.MonkeyPatch, native_kernels: Kernels) -> None:
    monkeypatch.setenv("HEADRACE_KERNELS", "")
    assert active() is native_kernels


@pytest.mark.usefixtures("no_library")
def test_native_by_name_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_KERNELS", "native")
    with pytest.raises(ArgumentError, match=f"asks for the native kernels, but {native.LIBRARY} is not installed; "):
        active()


def test_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_KERNELS", "numba")
    with pytest.raises(ArgumentError, match="HEADRACE_KERNELS is 'numba', but only 'native' and 'reference' are"):
        active()


def test_broken_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / native.LIBRARY
    path.write_text("not a library")
    use(monkeypatch, path)
    reason = why_not_native()
    assert reason is not None
    assert reason.startswith(f"{path} cannot be used: ")
    assert "\n" not in reason


def test_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Path(np._core._multiarray_umath.__file__))  # type: ignore[attr-defined]
    assert "headrace_abi" in str(why_not_native())


def test_another_abi(monkeypatch: pytest.MonkeyPatch, native_kernels: Kernels) -> None:
    built_for = native.ABI
    native.load.cache_clear()
    monkeypatch.setattr(native, "ABI", 999)
    assert str(why_not_native()).endswith(f"cannot be used: it has ABI {built_for}, but 999 is needed")


def test_library_is_found_through_the_installed_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As an editable install has it: the sources here, the built library in another folder."""
    built = tmp_path / "headrace" / "kernels" / native.LIBRARY
    built.parent.mkdir(parents=True)
    built.touch()
    info = tmp_path / "headrace-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headrace\nVersion: 0\n")
    (info / "RECORD").write_text(f"headrace/kernels/{native.LIBRARY},,\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(native, "__file__", str(tmp_path / "elsewhere" / "native.py"))
    assert native.find_library() == str(built)


def test_library_may_be_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    monkeypatch.setattr("sys.path", [])
    assert native.find_library() is None
