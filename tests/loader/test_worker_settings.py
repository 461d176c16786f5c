"""Workers compute, warn and log as the program does at the time they start."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

POOLS = [
    pytest.param({"backend": "process"}, id="process"),
    pytest.param({"multiprocessing_context": "fork"}, id="fork"),
    pytest.param({"multiprocessing_context": "spawn"}, id="spawn"),
    pytest.param({"backend": "thread"}, id="thread"),
]
PROCESSES = POOLS[:3]


def in_worker(look: Callable[[], Any], pool: dict[str, Any]) -> Any:
    """Return what a new worker sees."""
    return next(iter(DataLoader([0], num_workers=1, collate_fn=lambda _: look(), **pool)))


@pytest.mark.parametrize("pool", POOLS)
def test_errors_of_numpy(pool: dict[str, Any]) -> None:
    with np.errstate(divide="raise", over="ignore", invalid="warn", under="warn"):
        found = in_worker(np.geterr, pool)
        assert found == np.geterr()
    assert in_worker(np.geterr, pool) == np.geterr()


@pytest.mark.parametrize("pool", PROCESSES)
def test_numpy_error_callbacks_become_warnings(pool: dict[str, Any]) -> None:
    with np.errstate(all="call", call=lambda kind, flag: None):
        assert in_worker(np.geterr, pool)["divide"] == "warn"


class OwnWarning(UserWarning):
    """A warning that no worker could import."""


@pytest.mark.parametrize("pool", PROCESSES)
def test_filters_of_warnings(pool: dict[str, Any]) -> None:
    def warn() -> str:
        with warnings.catch_warnings(record=True) as caught:
            warnings.warn("of the user", UserWarning, stacklevel=1)
            warnings.warn("hidden", UserWarning, stacklevel=1)
        return str([str(each.message) for each in caught])

    def warn_of_an_error() -> str:
        try:
            warnings.warn("of the runtime", RuntimeWarning, stacklevel=1)
        except RuntimeWarning as error:
            return f"raised {error}"
        return "not raised"

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "hid+en")
        warnings.filterwarnings("ignore", category=OwnWarning)
        assert in_worker(warn, pool) == "['of the user']"
        warnings.simplefilter("error", RuntimeWarning)
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)  # by JAX, where it is there
        assert in_worker(warn_of_an_error, pool) == "raised of the runtime"


@pytest.fixture
def log_levels() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)
    logging.getLogger("of.a.test").setLevel(logging.NOTSET)
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("pool", PROCESSES)
def test_levels_of_logging(pool: dict[str, Any], log_levels: None) -> None:
    def look() -> Any:
        logger = logging.getLogger("of.a.test")
        return logging.getLogger().level, logger.level, logger.isEnabledFor(12), logger.isEnabledFor(9)

    logging.getLogger().setLevel(35)
    logging.getLogger("of.a.test").setLevel(9)
    logging.disable(10)
    assert in_worker(look, pool) == (35, 9, True, False)


@pytest.fixture
def torch() -> Iterator[Any]:
    torch = pytest.importorskip("torch", reason="it has settings")
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    yield torch
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(grad)


@pytest.mark.parametrize("pool", POOLS)
def test_the_default_dtype_of_torch(torch: Any, pool: dict[str, Any]) -> None:
    torch.set_default_dtype(torch.float64)
    assert in_worker(lambda: torch.zeros(3), pool).dtype == torch.float64
    torch.set_default_dtype(torch.float32)
    assert in_worker(lambda: torch.zeros(3), pool).dtype == torch.float32


@pytest.mark.parametrize("pool", POOLS)
def test_grad_mode_of_torch(torch: Any, pool: dict[str, Any]) -> None:
    """So a model in the dataset may make samples where the program has switched gradients off."""
    weights = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        assert not in_worker(lambda: weights * 2, pool).requires_grad
    with pytest.raises(TypeError, match="detach") if pool != {"backend": "thread"} else warnings.catch_warnings():
        in_worker(lambda: weights * 2, pool)
