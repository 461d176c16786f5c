"""The loader that a person names on the command line: a folder of images, or `module:object`."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from headrace import Compose, DataLoader, ImageFolder, RandomHorizontalFlip, RandomResizedCrop
from headrace.errors import ArgumentError
from headrace.loader.order_arguments import CHOICE

__all__ = ["find_target", "loader_of", "look_in_current_folder", "with_dataset"]

_FOLDER_SIZE = 224  # of the crops of a folder that comes without augmentation
_WAYS = (
    "give an image folder, or module:object, where the object is a DataLoader, a dataset or a function that makes one"
)


def find_target(text: str) -> Any:
    """Return what is named: a dataset of a folder with the usual augmentation, or the object in a module.

    Args:
        text: the path of a folder with a folder for each class, or "module:object".

    Raises:
        ArgumentError: there is no such folder, module or object, or the module cannot be imported.
    """
    if Path(text).is_dir():
        return _folder(text)
    module, colon, name = text.rpartition(":")
    if not colon or not module or not name or Path(text).exists() or "/" in module:
        raise ArgumentError(f"{text!r} is neither a folder nor module:object; {_WAYS}")
    value: Any = _import(module)
    for part in name.split("."):
        if not hasattr(value, part):
            raise ArgumentError(f"{module} has no {name!r}; {_WAYS}")
        value = getattr(value, part)
    return value


def _folder(path: str) -> ImageFolder:
    augment = Compose([RandomResizedCrop(_FOLDER_SIZE), RandomHorizontalFlip()])
    try:
        return ImageFolder(path, transform=augment)
    except OSError as error:
        raise ArgumentError(f"{error} A folder for each class is expected, with its images inside") from error


def look_in_current_folder() -> str:
    """Let modules be imported from the folder that the command is called in, as `python -m` does; workers do so, too.

    Returns:
        The folder.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return folder


def _import(module: str) -> Any:
    folder = look_in_current_folder()
    try:
        return importlib.import_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name is not None and module.startswith(error.name):
            raise ArgumentError(f"there is no module {module!r} in {folder} or where Python looks; {_WAYS}") from None
        raise ArgumentError(f"importing {module} failed with {type(error).__name__}: {error}") from error


def loader_of(target: Any, seed: int | None, batch_size: int) -> DataLoader[Any]:
    """Return the loader that is meant, with a seed.

    Args:
        target: a DataLoader, a dataset, or a function without arguments that makes one.
        seed: in place of the loader's own; None for that, or 0 where it has none.
        batch_size: of the loader of a dataset, which is shuffled.

    Raises:
        ArgumentError: it is none of these.
    """
    if _is_maker(target):
        target = target()
    if isinstance(target, DataLoader):
        if target.seed is not None and seed in (None, target.seed):
            return target
        workers = {name: getattr(target, name) for name in _WORKERS}
        return with_dataset(target, target.dataset, seed or 0, collate_fn=target.collate_fn, **workers)
    if hasattr(type(target), "__len__") and hasattr(type(target), "__getitem__"):
        return DataLoader(target, batch_size, shuffle=True, seed=seed or 0)
    raise ArgumentError(f"a {type(target).__module__}.{type(target).__qualname__} cannot be shown; {_WAYS}")


def _is_maker(target: Any) -> bool:
    is_dataset = hasattr(type(target), "__getitem__") or hasattr(type(target), "__iter__")
    if not callable(target) or is_dataset:
        return False
    needed = [
        parameter
        for parameter in inspect.signature(target).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise ArgumentError(f"{target!r} needs arguments ({', '.join(map(str, needed))}); {_WAYS}")
    return True


# The arguments that decide which samples a batch holds.
_ORDER = (
    "batch_size",
    "shuffle",
    "sampler",
    "batch_sampler",
    "drop_last",
    "block_size",
    "window",
    *CHOICE,
)
# Those that say how samples are read.
_WORKERS = ("num_workers", "backend", "worker_init_fn", "on_error", "max_errors")


def with_dataset(loader: DataLoader[Any], dataset: Any, seed: int | None, **arguments: Any) -> DataLoader[Any]:
    """Return a loader that takes the same samples of another dataset."""
    given = {name: getattr(loader, name) for name in _ORDER}
    if loader.batch_sampler is not None:
        del given["batch_size"]
    given |= {name: arguments.pop(name) for name in _ORDER if name in arguments}
    if loader.world_size > 1:
        given |= {"rank": loader.rank, "world_size": loader.world_size, "uneven": loader.uneven}
    return DataLoader(dataset, **given, seed=seed, **arguments)
