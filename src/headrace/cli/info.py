"""The text of `headrace info`: the packages installed, the kernels in use, and the packages that could be added."""

from __future__ import annotations

import platform
import sys
import sysconfig
import warnings
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from headrace import __version__, kernels
from headrace.errors import ArgumentError, ReferenceKernelsWarning

__all__ = ["report"]

_Row = tuple[str, str]


@dataclass(frozen=True)
class _Package:
    """A package that headrace can use.

    Args:
        label: what its line begins with.
        distributions: the names under which it is installed; some come in several builds.
        install: what to give to pip.

    """

    label: str
    distributions: tuple[str, ...]
    install: str

    def version(self) -> str | None:
        """Return the installed version, or None."""
        return next(filter(None, map(_version, self.distributions)), None)

    def row(self, *, named: bool = False) -> _Row:
        """Return the version, after the name if `named`, or how to get the package."""
        version = self.version()
        if version is None:
            return self.label, f"not installed: pip install {self.install}"
        return self.label, f"{self.distributions[0]} {version}" if named else version


_REMEDY = "install headrace where a C compiler is"
_DECODERS = (
    _Package("simplejpeg", ("simplejpeg",), "simplejpeg"),
    _Package("Pillow", ("pillow", "pillow-simd"), "'headrace[images]'"),
)
_EXTRAS = (
    _Package("images", ("pillow", "pillow-simd"), "'headrace[images]'"),
    _Package("lmdb", ("lmdb",), "'headrace[lmdb]'"),
    _Package("arrow", ("pyarrow",), "'headrace[arrow]'"),
    _Package("remote", ("fsspec",), "'headrace[remote]'"),
    _Package("cli", ("rich",), "'headrace[cli]'"),
    _Package("processes", ("cloudpickle",), "'headrace[processes]'"),
)
_FRAMEWORKS = (
    _Package("torch", ("torch",), "'headrace[torch]'"),
    _Package("jax", ("jax",), "'headrace[jax]'"),
    _Package("ray", ("ray",), "'headrace[ray]'"),
)


def report() -> str:
    """Return what `headrace info` prints: aligned lines of plain text, in sections.

    Versions come from the installed packages' metadata, so nothing is imported to find them.

    >>> report().splitlines()[0].split()[0]
    'headrace'

    """
    sections = [
        ("", _system()),
        ("kernels", _kernels()),
        ("image decoders", [("native libjpeg", _native_decoder()), *(package.row() for package in _DECODERS)]),
        ("extras", [package.row(named=True) for package in _EXTRAS]),
        ("frameworks", [package.row() for package in _FRAMEWORKS]),
    ]
    width = max(len(name) for _, rows in sections for name, _ in rows)
    return "\n\n".join(_section(title, rows, width) for title, rows in sections)


def _section(title: str, rows: list[_Row], width: int) -> str:
    indent = "  " if title else ""
    lines = [f"{indent}{name:{width + 4 - len(indent)}}{value}" for name, value in rows]
    return "\n".join([title, *lines] if title else lines)


def _system() -> list[_Row]:
    return [
        ("headrace", __version__),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()}, {_threading()})"),
        ("NumPy", np.__version__),
        ("platform", platform.platform()),
    ]


def _threading() -> str:
    """Return whether threads share one interpreter lock, which a free-threaded build can still switch on."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "with the GIL"
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return "free-threaded, but the GIL is on" if locked else "free-threaded"


def _kernels() -> list[_Row]:
    with warnings.catch_warnings():
        # The next lines say in full what the warning would.
        warnings.simplefilter("ignore", ReferenceKernelsWarning)
        try:
            in_use = kernels.active().name
        except ArgumentError as error:
            in_use = f"none: {error}"
    reason = kernels.why_not_native()
    return [("in use", in_use), ("native", "available" if reason is None else f"not available: {reason}; {_REMEDY}")]


def _native_decoder() -> str:
    found = kernels.native.load()
    if not isinstance(found, str) and found.has_libjpeg:
        return "available"
    without = "" if isinstance(found, str) else "; baseline JPEG needs none"
    return f"not built: install headrace where libjpeg-turbo and its headers are{without}"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
