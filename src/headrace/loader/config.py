"""The checks of the DataLoader's arguments: each error says what it got, what is allowed, what helps."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from headrace import frameworks
from headrace.datasets.base import IterableDataset
from headrace.datasets.tables import open_table
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.loader.order_arguments import check_order
from headrace.pipeline.hugging_face import gives_samples
from headrace.pipeline.reading import check_dataset
from headrace.rng.keys import check_seed
from headrace.sampling.ranks import Uneven
from headrace.workers.backends import check_backend, default_backend, own_backends, requested_backend

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "OnError",
    "OnWorkerDeath",
    "Shuffle",
    "check_arguments",
    "check_count",
    "check_divides",
    "check_kind",
    "is_stream",
    "rows_of_table",
]

# What some arguments may be; the checks below take the same.
OnError: TypeAlias = Literal["raise", "skip", "replace"]
OnWorkerDeath: TypeAlias = Literal["raise", "restart"]
Shuffle: TypeAlias = bool | Literal["block"]

_ON_WORKER_DEATH = get_args(OnWorkerDeath)
_ON_ERROR = get_args(OnError)
_AUTO_BACKENDS = ("thread", "process")  # whose workers can become more or fewer while they load


def check_arguments(given: Mapping[str, Any], *, stream: bool) -> None:
    """Refuse arguments of a DataLoader that are wrong, alone or together.

    Args:
        given: the constructor's arguments by name.
        stream: whether the dataset is an IterableDataset.

    Raises:
        ArgumentError: a value is not allowed, or two exclude each other (also a ValueError).
        ArgumentTypeError: a value is of the wrong kind (also a TypeError).
        NotYetError: a value is right, but nothing implements it yet (also a NotImplementedError).
    """
    _check_flags(given)
    _check_callables(given)
    _check_batch_size(given["batch_size"])
    _check_workers(given)
    _check_shuffle(given)
    _check_sampling(given)
    if stream:
        _check_stream(given)
    elif given["shard"]:
        raise ArgumentError(
            "shard=True deals out an IterableDataset; the samples of other datasets are dealt out always"
        )
    _check_seeds(given)
    _check_ranks(given)
    _check_choice("on_worker_death", given["on_worker_death"], _ON_WORKER_DEATH)
    _check_errors(given, stream=stream)
    check_order(given, stream=stream)


def _check_flags(given: Mapping[str, Any]) -> None:
    for name in ("pin_memory", "drop_last", "persistent_workers", "in_order", "shard"):
        value = given[name]
        if not isinstance(value, bool | np.bool_):
            raise ArgumentError(f"{name} must be True or False, but got {name}={value!r}")
    if not isinstance(given["pin_memory_device"], str):
        raise ArgumentTypeError(f"pin_memory_device must be a str, but got {given['pin_memory_device']!r}")


def _check_callables(given: Mapping[str, Any]) -> None:
    for name in ("collate_fn", "worker_init_fn"):
        if given[name] is not None and not callable(given[name]):
            raise ArgumentTypeError(f"{name} must be a function or None, but got {name}={given[name]!r}")
    for name in ("sampler", "batch_sampler"):
        if given[name] is not None and not hasattr(given[name], "__iter__"):
            raise ArgumentTypeError(f"{name} must be an iterable or None, but got {name}={given[name]!r}")


def _check_batch_size(batch_size: object) -> None:
    if batch_size is not None and not _is_integer(batch_size, at_least=1):
        raise ArgumentError(
            "batch_size must be a positive integer, or None for samples that are not batched, "
            f"but got batch_size={batch_size!r}"
        )


def _check_workers(given: Mapping[str, Any]) -> None:
    num_workers, timeout = given["num_workers"], given["timeout"]
    auto = isinstance(num_workers, str) and num_workers == "auto"
    if not auto and not _is_integer(num_workers, at_least=0):
        raise ArgumentError(
            "num_workers must be a non-negative integer (0 loads in this process) or 'auto', but got "
            f"num_workers={num_workers!r}"
        )
    if isinstance(timeout, bool) or not isinstance(timeout, int | float | np.number) or not timeout >= 0:
        raise ArgumentError(f"timeout must be a non-negative number of seconds, but got timeout={timeout!r}")
    for name in ("prefetch_factor", "prefetch_bytes", "ram_budget"):
        if given[name] is not None and not _is_integer(given[name], at_least=1):
            raise ArgumentError(f"{name} must be a positive integer or None, but got {name}={given[name]!r}")
    if given["ram_budget"] is not None and not auto:
        raise ArgumentError(
            f"ram_budget bounds the workers that num_workers='auto' finds, but got ram_budget={given['ram_budget']!r} "
            f"with num_workers={num_workers!r}; use prefetch_bytes"
        )
    if not auto and num_workers == 0:
        options = [name for backend in own_backends().values() for name in backend.options]
        for name in ("timeout", "prefetch_factor", "prefetch_bytes", "persistent_workers", *options):
            if given[name] not in (None, False, 0):
                raise ArgumentError(f"{name} needs num_workers > 0, but got {name}={given[name]!r} with num_workers=0")
    check_backend(given)
    if auto:
        _check_auto_workers(given)


def _check_auto_workers(given: Mapping[str, Any]) -> None:
    """Refuse what cannot do with a number of workers that changes."""
    if given["worker_init_fn"] is not None:
        raise ArgumentError(
            "num_workers='auto' changes the number of workers, and what worker_init_fn makes for each could show in "
            "the batches; give a number, or leave worker_init_fn out"
        )
    context = given["multiprocessing_context"]
    if context is not None and (context if isinstance(context, str) else context.get_start_method()) == "fork":
        raise ArgumentError(
            "num_workers='auto' starts workers while the program runs, and forks would copy what it has then; give a "
            "number, or leave multiprocessing_context='fork' out"
        )
    backend = requested_backend(given)
    if backend is not None and backend.name not in _AUTO_BACKENDS:
        raise ArgumentError(
            f"num_workers='auto' finds the number of threads or processes of this machine, but got "
            f"backend={backend.name!r}; give a number"
        )


def _check_shuffle(given: Mapping[str, Any]) -> None:
    shuffle = given["shuffle"]
    known = isinstance(shuffle, int | np.integer | np.bool_ | None)  # 0 and 1 count as in torch
    if not (known or (isinstance(shuffle, str) and shuffle == "block")):
        raise ArgumentError(f'shuffle must be True, False, None or "block", but got shuffle={shuffle!r}')
    for name in ("block_size", "window"):
        value = given[name]
        if value is not None and not _is_integer(value, at_least=1):
            raise ArgumentError(f"{name} must be a positive integer or None, but got {name}={value!r}")
        if value is not None and not isinstance(shuffle, str):
            raise ArgumentError(f'{name} needs shuffle="block", but got {name}={value!r} with shuffle={shuffle!r}')


def _check_sampling(given: Mapping[str, Any]) -> None:
    if given["sampler"] is not None and given["shuffle"]:
        raise ArgumentError("sampler and shuffle are mutually exclusive: the sampler decides the order")
    if given["batch_sampler"] is not None and (
        given["batch_size"] != 1 or given["shuffle"] or given["sampler"] is not None or given["drop_last"]
    ):
        raise ArgumentError(
            "batch_sampler is mutually exclusive with batch_size, shuffle, sampler and drop_last: it decides all four"
        )
    if given["batch_size"] is None and given["drop_last"]:
        raise ArgumentError("batch_size=None hands out single samples and is mutually exclusive with drop_last")


def _check_stream(given: Mapping[str, Any]) -> None:
    if given["num_workers"] == "auto":
        raise ArgumentError(
            "num_workers='auto' changes the number of workers, and the batches of an IterableDataset depend on it; "
            "give a number"
        )
    refused = {"shuffle": bool(given["shuffle"])}
    refused |= {name: given[name] is not None for name in ("sampler", "batch_sampler")}
    for name, present in refused.items():
        if present:
            raise ArgumentError(
                f"an IterableDataset decides its own order, but got {name}={given[name]!r}; leave {name} out"
            )
    if given["world_size"] not in (None, 1) and given["seed"] is None and given["generator"] is None:
        raise ArgumentError(
            "an IterableDataset on several ranks needs a seed, so that what is random in it is alike on all of them; "
            "give all the same"
        )
    if given["uneven"] == "pad":
        raise ArgumentError(
            "uneven='pad' fills a last batch up with other samples of the epoch, which an IterableDataset cannot be "
            "asked for; use uneven='even_split', 'drop' or 'repeat'"
        )


def _check_seeds(given: Mapping[str, Any]) -> None:
    if given["seed"] is not None:
        check_seed(given["seed"])
    frameworks.check_generator(given["generator"])
    if given["seed"] is not None and given["generator"] is not None:
        raise ArgumentError("seed and generator are mutually exclusive: each alone decides the epochs' seeds")


def _check_ranks(given: Mapping[str, Any]) -> None:
    rank, world_size = given["rank"], given["world_size"]
    _check_choice("uneven", given["uneven"], get_args(Uneven))
    if given["uneven"] == "pad":
        _check_padding(given)
    if (rank is None) != (world_size is None):
        raise ArgumentError(f"rank and world_size go together, but got rank={rank!r}, world_size={world_size!r}")
    if world_size is None:
        return
    if not _is_integer(world_size, at_least=1):
        raise ArgumentError(f"world_size must be a positive integer or None, but got world_size={world_size!r}")
    if not _is_integer(rank, at_least=0) or rank >= world_size:
        raise ArgumentError(f"rank must be an integer in [0, {world_size - 1}], but got rank={rank!r}")
    if world_size == 1:
        return
    if given["sampler"] is not None or given["batch_sampler"] is not None:
        raise ArgumentError("world_size cannot divide a sampler of your own; let the sampler pick the rank's samples")
    if given["batch_size"] is None:
        raise ArgumentError("world_size needs batches: batch_size=None hands out single samples")
    if given["shuffle"] and given["seed"] is None and given["generator"] is None:
        raise ArgumentError(
            f"shuffle={given['shuffle']!r} on several ranks needs a seed, or each rank would draw an order of its own; "
            "give all the same"
        )


def _check_padding(given: Mapping[str, Any]) -> None:
    if given["sampler"] is not None or given["batch_sampler"] is not None:
        raise ArgumentError("uneven='pad' cannot fill up the batches of a sampler of your own; leave one of them out")
    if given["batch_by"] == "tokens":
        raise ArgumentError("uneven='pad' fills batches up to batch_size, and with batch_by='tokens' there is none")
    if given["batch_size"] is None:
        raise ArgumentError("uneven='pad' needs batches: batch_size=None hands out single samples")
    if given["on_error"] == "skip":
        raise ArgumentError(
            "uneven='pad' keeps all batches at one size, which on_error='skip' does not; use on_error='replace'"
        )


def _check_errors(given: Mapping[str, Any], *, stream: bool) -> None:
    on_error, max_errors = given["on_error"], given["max_errors"]
    _check_choice("on_error", on_error, _ON_ERROR)
    if stream and on_error == "replace":
        raise ArgumentError(
            "on_error='replace' draws another sample by its index, and an IterableDataset has none; use on_error='skip'"
        )
    if max_errors is None:
        return
    if not _is_integer(max_errors, at_least=0):
        raise ArgumentError(f"max_errors must be a non-negative integer or None, but got max_errors={max_errors!r}")
    if on_error == "raise":
        raise ArgumentError(
            f"max_errors bounds the samples that are passed over, but got max_errors={max_errors!r} with "
            "on_error='raise'; use on_error='skip' or 'replace'"
        )


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, allowed))}, but got {name}={value!r}")


def _is_integer(value: object, *, at_least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= at_least)


def is_stream(dataset: object) -> bool:
    """Return whether samples come from `__iter__`: by class, or because there is nothing else."""
    if _is_declared_stream(dataset):
        return True
    return hasattr(type(dataset), "__iter__") and not hasattr(type(dataset), "__getitem__")


def _is_declared_stream(dataset: object) -> bool:
    return isinstance(dataset, IterableDataset) or frameworks.is_iterable_dataset(dataset) or gives_samples(dataset)


def rows_of_table(dataset: Any, *samplers: Iterable[Any] | None) -> Any:
    """Return the rows of a dict of arrays or a DataFrame as a dataset; any other dataset itself.

    Args:
        dataset: any object.
        *samplers: those of the loader. Where one gives keys of a dict, its samples are what lies under these.

    Raises:
        ArgumentError: the columns of the table differ in length.
        ArgumentTypeError: a dict of arrays has something else beside them.
    """
    if isinstance(dataset, dict) and any(_gives_keys(sampler, dataset) for sampler in samplers):
        return dataset
    return open_table(dataset, of_lists=all(sampler is None for sampler in samplers))


def _gives_keys(sampler: Iterable[Any] | None, dataset: dict[Any, Any]) -> bool:
    """Return whether the first that a sampler gives, as far as it can be seen, is a key or a list of keys."""
    first = next(iter(sampler), None) if isinstance(sampler, Collection) else None
    if isinstance(first, list | tuple) and first:
        first = first[0]
    return isinstance(first, Hashable) and first in dataset


def check_kind(dataset: object, *, streams: bool, needs_length: bool) -> None:
    """Refuse what is no dataset.

    Args:
        dataset: any object.
        streams: whether its samples come from `__iter__`.
        needs_length: whether they are found by its length.

    Raises:
        ArgumentTypeError: it is an iterator, or has not what a dataset has.
    """
    if streams and isinstance(dataset, Iterator) and not _is_declared_stream(dataset):
        raise ArgumentTypeError(
            f"dataset is an iterator ({type(dataset).__name__}), which can be gone through once; derive from "
            "IterableDataset, whose __iter__ starts anew in each epoch"
        )
    if not streams and (needs_length or not hasattr(type(dataset), "__getitem__")):
        check_dataset(dataset)


def check_divides(dataset: object, given: Mapping[str, Any]) -> None:
    """Refuse a stream of Hugging Face in worker processes without torch, which alone it asks for its share.

    Raises:
        ArgumentError: each of the processes would give all of its samples.
    """
    backend = requested_backend(given) or default_backend(separate=True)
    alone = given["num_workers"] < 2 or given["shard"] or not backend.separate
    if not alone and gives_samples(dataset) and not frameworks.is_iterable_dataset(dataset):
        raise ArgumentError(
            "a stream of Hugging Face divides itself among worker processes where torch is installed, and here it "
            "would come once from each of them; use shard=True or backend='thread'"
        )


def check_count(name: str, value: Any, *, positive: bool = False) -> int:
    """Return the non-negative, or positive, integer that an argument of that name is.

    Raises:
        ArgumentError: it is none.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or not int(positive) <= value < 2**63:
        kind = "positive" if positive else "non-negative"
        raise ArgumentError(f"{name} must be a {kind} integer below 2**63, but got {name}={value!r}")
    return int(value)
