"""The loader that a person names on the command line: files, or `module:object`."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from headrace import Compose, DataLoader, Decode, ImageFolder, RandomHorizontalFlip, RandomResizedCrop
from headrace.cli.failure import place_of
from headrace.errors import ArgumentError
from headrace.errors.notes import text_of
from headrace.formats.opening import format_at, image_fields, open_dataset

__all__ = ["find_object", "find_target", "loader_of", "made", "names_object"]

_SIZE = 224  # of the crops of images that come without augmentation
_WAYS = (
    "give files of a dataset, or module:object, where the object is a DataLoader, a dataset or a function that "
    "makes one"
)
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*", re.ASCII)


def find_target(text: str) -> Any:
    """Return what is named: a dataset of files, its images with the usual augmentation, or the object in a module.

    Args:
        text: a path, a pattern or an address of files, or "module:object".

    Raises:
        ArgumentError: there is no such file, module or object, or the module cannot be imported.
    """
    if not text:
        raise ArgumentError(f"the target is empty; {_WAYS}")
    script, _, name = text.partition(":")
    if script.endswith(".py") and Path(script).is_file():
        module = ".".join(Path(script).with_suffix("").parts)
        raise ArgumentError(
            f"{script} is a script; name a DataLoader or a dataset in it, as in {module}:{name or 'loader'}"
        )
    if names_object(text):
        return find_object(text, _WAYS)
    try:
        return _open(text)
    except FileNotFoundError as error:
        missing = "://" not in text and not Path(text).exists() and not any(each in text for each in "*?[{")
        raise ArgumentError(
            f"{text!r} is neither a path nor module:object; {_WAYS}" if missing else str(error)
        ) from error


def names_object(text: str) -> bool:
    """Return whether a text is of the form "module:object", and no path or address.

    >>> names_object("train:loader"), names_object("s3://bucket/photos.tar"), names_object("photos")
    (True, False, False)
    """
    module, colon, name = text.partition(":")
    if not (colon and name) or name.startswith("//") or not _MODULE.fullmatch(module):
        return False
    return not Path(text).exists()


def find_object(text: str, remedy: str) -> Any:
    """Return the object that "module:object" names; modules are also looked for in the folder of the call.

    Args:
        text: the name.
        remedy: ends the texts of errors.

    Raises:
        ArgumentError: there is no such module or object, or the module cannot be imported.
    """
    module, _, name = text.partition(":")
    value: Any = _import(module, remedy)
    for part in name.split("."):
        if not hasattr(value, part):
            raise ArgumentError(f"{module} has no {name!r}; {remedy}")
        value = getattr(value, part)
    return value


def _open(path: str) -> Any:
    form, _ = format_at(path)
    augment = [RandomResizedCrop(_SIZE), RandomHorizontalFlip()]
    if form == "images":
        try:
            return ImageFolder(path, transform=Compose(augment))
        except OSError as error:
            raise ArgumentError(f"{error} A folder for each class is expected, with its images inside") from error
    dataset: Any = open_dataset(path, images=False)
    for field in image_fields(dataset):
        dataset = dataset.map(Compose([Decode(), *augment]), field=field)
    return dataset


def _look_in_current_folder() -> str:
    """Let modules be imported from the folder that the command is called in, as `python -m` does; workers do so, too.

    Returns:
        The folder.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return folder


def _import(module: str, remedy: str) -> Any:
    folder = _look_in_current_folder()
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (module == missing or module.startswith(f"{missing}.")):
            raise ArgumentError(f"there is no module {module!r} in {folder} or where Python looks; {remedy}") from None
        place = None if isinstance(error, SyntaxError) else place_of(error)
        where = "" if place is None else f"; {place}"
        raise ArgumentError(
            f"importing {module} failed with {type(error).__name__}: {text_of(error)}{where}"
        ) from error


def loader_of(target: Any, seed: int | None, batch_size: int | None, default_size: int = 32) -> DataLoader[Any]:
    """Return the loader that is meant, with a seed.

    Args:
        target: a DataLoader, a dataset, or a function without arguments that makes one.
        seed: in place of the loader's own; None for that, or 0 where it has none.
        batch_size: of the loader of a dataset, which is shuffled.
        default_size: where no batch size is given.

    Raises:
        ArgumentError: it is none of these, or a batch size is given for a loader, which has its own.
    """
    target = made(target)
    kind = type(target)
    if _is_loader(target):
        if batch_size is not None:
            raise ArgumentError(
                f"--batch-size is for datasets, but the target is a DataLoader with its own ({target.batch_size}); "
                "leave it out, or name the dataset"
            )
        given = target.seed if seed is None else seed
        if hasattr(kind, "own_loader"):
            return target.own_loader(given or 0)  # type: ignore[no-any-return]
        if target.seed is not None and target.seed == given:
            return target  # type: ignore[no-any-return]
        return target.with_arguments(seed=given or 0)  # type: ignore[no-any-return]
    if hasattr(kind, "__len__") and hasattr(kind, "__getitem__"):
        return DataLoader(target, default_size if batch_size is None else batch_size, shuffle=True, seed=seed or 0)
    if any(each.__module__.startswith("torch.utils.data.") and each.__name__ == "DataLoader" for each in kind.__mro__):
        raise ArgumentError(
            "the target is a DataLoader of torch; import DataLoader from headrace.torch instead, which takes the same "
            "arguments"
        )
    if hasattr(kind, "__iter__"):
        raise ArgumentError(f"the target is a stream ({kind.__qualname__}); name the DataLoader that reads it")
    raise ArgumentError(f"the target is of type {kind.__qualname__}; {_WAYS}")


def made(target: Any) -> Any:
    """Return what a function without arguments makes; anything else as it is.

    Raises:
        ArgumentError: the function needs arguments.

    >>> made(list), made([1])
    ([], [1])
    """
    return target() if _is_maker(target) else target


def _is_loader(target: Any) -> bool:
    return isinstance(target, DataLoader) or hasattr(type(target), "own_loader")


def _is_maker(target: Any) -> bool:
    is_dataset = hasattr(type(target), "__getitem__") or hasattr(type(target), "__iter__")
    if not callable(target) or is_dataset:
        return False
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:  # of what is written in C, nobody knows
        return True
    needed = [
        parameter
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        name = getattr(target, "__qualname__", repr(target))
        raise ArgumentError(f"{name} needs arguments ({', '.join(map(str, needed))}); {_WAYS}")
    return True
