"""The public names: listed, sorted, there, and each shown by an example."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import headrace

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(headrace.__path__, "headrace.")
    if not re.search(r"\.(torch|jax|__main__|headrace_kernels)$|^headrace\.tools", module.name)
    and (importlib.util.find_spec("ray") is not None or not re.match(r"headrace\.(workers\.)?ray\b", module.name))
)
METHODS = {
    "ConcatDataset": [],
    "DataLoader": ["batch", "close", "load_state_dict", "set_epoch", "state_dict", "stats"],
    "Dataset": ["cache", "map", "subset"],
}


def public() -> dict[str, object]:
    return {name: getattr(headrace, name) for name in headrace.__all__}


def test_listed_and_sorted() -> None:
    assert headrace.__all__ == sorted(set(headrace.__all__))
    public()  # some are imported when they are asked for
    visible = {
        name
        for name, value in vars(headrace).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    }
    assert visible == set(headrace.__all__)


def test_what_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"^module 'headrace' has no attribute 'ImageNet'$"):
        headrace.ImageNet  # noqa: B018 - asking is all


def test_the_names_of_the_design() -> None:
    promised = "Compose DataLoader Dataset RandomCrop RandomHorizontalFlip TensorDataset default_rng sample_rng"
    assert set(promised.split()) <= set(headrace.__all__)


def test_star_import() -> None:
    names: dict[str, object] = {}
    exec("from headrace import *", names)  # noqa: S102 - the one way to try it
    assert set(headrace.__all__) <= set(names)


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", headrace.__version__)
    assert f'version = "{headrace.__version__}"' in _project_file()


def _project_file() -> str:
    return (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", headrace.__all__)
def test_documented_with_an_example(name: str) -> None:
    documentation = inspect.getdoc(public()[name])
    assert documentation
    if isinstance(public()[name], type) and issubclass(public()[name], Exception):  # type: ignore[arg-type]
        return  # an error is an example of itself
    assert re.match(r"[A-Z].*[.:]$", documentation.splitlines()[0]), "the first line is a sentence"
    assert ">>>" in documentation


@pytest.mark.parametrize("name", headrace.__all__)
def test_arguments_are_documented(name: str) -> None:
    value = public()[name]
    if isinstance(value, type) and "__init__" not in vars(value):
        return
    if not callable(value) or (isinstance(value, type) and issubclass(value, Exception)):
        return
    documentation = inspect.getdoc(value) or ""
    for argument in inspect.signature(value).parameters:
        if name != "LoaderStats" or argument:
            assert re.search(rf"\b{argument}: |\*{argument}: |\b{argument},", documentation), argument


@pytest.mark.parametrize(("owner", "methods"), METHODS.items())
def test_methods_are_documented(owner: str, methods: list[str]) -> None:
    for method in methods:
        assert inspect.getdoc(getattr(public()[owner], method))


@pytest.mark.parametrize("name", MODULES)
def test_modules_list_what_they_offer(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    listed = getattr(module, "__all__", None)
    if listed is None:  # a folder whose files are imported one by one
        assert hasattr(module, "__path__")
        return
    assert list(listed) == sorted(listed)
    assert all(hasattr(module, each) for each in listed)


def test_public_names_say_where_they_live() -> None:
    for name, value in public().items():
        assert getattr(value, "__module__", "").startswith("headrace."), name
        assert getattr(value, "__name__", name) == name


@pytest.mark.parametrize(
    "used",
    [
        "StackDataset(range(3)).cache()[2]",
        "(StackDataset(range(3)) + StackDataset(range(3))).map(str).subset([5])[0]",
        "errors.HeadraceError, transforms.Compose, kernels.active(), datasets.__doc__",
    ],
)
def test_a_name_needs_no_import_but_its_own(used: str) -> None:
    program = "import headrace\nclass Names(dict):\n    def __missing__(self, name): return getattr(headrace, name)\n"
    program += f"eval({used!r}, Names(range=range, str=str))"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_what_is_imported_late_is_listed() -> None:
    assert set(headrace.__all__) <= set(dir(headrace))
    with pytest.raises(AttributeError, match=r"^module 'headrace' has no attribute 'no_such_name'$"):
        headrace.no_such_name  # noqa: B018
