"""The names of those that headrace is measured against, and how to install them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from headrace.errors import ArgumentError

__all__ = ["RIVALS", "installed", "read_names"]


@dataclass(frozen=True)
class Rival:
    """Another library.

    Args:
        module: shows whether it is installed.
        install: what to give to pip.
    """

    module: str
    install: str

    @property
    def is_there(self) -> bool:
        """Return whether it is installed."""
        try:
            return find_spec(self.module) is not None
        except (ModuleNotFoundError, ValueError):  # nor is the package that it would be in
            return False


# By the word that `headrace bench --against` takes. NumPy stands for a loop by hand, and for limits.
RIVALS = {
    "numpy": Rival("numpy", "numpy"),
    "torch": Rival("torch", "torch"),
    "grain": Rival("grain", "grain"),
    "tf": Rival("tensorflow", "tensorflow"),
    "spdl": Rival("spdl.pipeline", "spdl"),
    "dali": Rival("nvidia.dali", "nvidia-dali-cuda120"),
    "mlx": Rival("mlx.data", "mlx-data"),
    "hf": Rival("datasets", "datasets"),
    "webdataset": Rival("webdataset", "webdataset"),
    "simplejpeg": Rival("simplejpeg", "simplejpeg"),
    "torchdata": Rival("torchdata", "torchdata"),
}


def installed() -> set[str]:
    """Return the names of those that are installed.

    >>> "numpy" in installed()
    True
    """
    return {name for name, rival in RIVALS.items() if rival.is_there}


def read_names(text: str) -> set[str]:
    """Return the names in a list such as "torch,grain".

    Args:
        text: names of `RIVALS`, with commas between them.

    Raises:
        ArgumentError: there is no such rival, or it is not installed.

    >>> sorted(read_names("numpy"))
    ['numpy']
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in RIVALS:
            raise ArgumentError(f"there is no rival {name!r}; allowed are {', '.join(RIVALS)}")
        if not RIVALS[name].is_there:
            raise ArgumentError(f"{name} is not installed: pip install {RIVALS[name].install}")
    if not names:
        raise ArgumentError(f"name at least one rival, of {', '.join(RIVALS)}")
    return set(names)
