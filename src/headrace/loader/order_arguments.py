"""The checks of the DataLoader's arguments that decide how often samples come, and which are in one batch."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["BatchBy", "CHOICE", "check_order", "checked_weights"]  # noqa: RUF022 - in plain order

# The arguments that say how often samples come, and which are in one batch.
CHOICE = (
    "weights",
    "replacement",
    "batch_by",
    "max_tokens",
    "max_batch_size",
    "boundaries",
    "group_by_length",
    "sort_window",
)

BatchBy: TypeAlias = Literal["samples", "tokens"]
_OF_TOKENS = ("max_tokens", "max_batch_size", "boundaries")
_MOST_WEIGHTS = 2**32
_LARGEST = 2**63 - 1  # that an int64 holds


def check_order(given: Mapping[str, Any], *, stream: bool) -> None:
    """Refuse arguments that are wrong, alone or together.

    Args:
        given: the loader's arguments by name.
        stream: whether the dataset is an IterableDataset.

    Raises:
        ArgumentError: with what was got, and what is allowed.
    """
    if given["batch_by"] not in get_args(BatchBy):
        raise ArgumentError(f"batch_by must be 'samples' or 'tokens', but got batch_by={given['batch_by']!r}")
    if not isinstance(given["group_by_length"], bool | np.bool_):
        raise ArgumentError(f"group_by_length must be True or False, but got {given['group_by_length']!r}")
    asked = ["weights"] if given["weights"] is not None else []
    asked += [name for name in ("replacement", "group_by_length") if given[name]]
    asked += ["batch_by"] if given["batch_by"] == "tokens" else []
    for name in asked:
        _check_alone(name, given, stream=stream)
    _check_draws(given)
    _check_buckets(given)
    for name in ("max_tokens", "max_batch_size", "sort_window"):
        _check_count(name, given[name])
    if given["sort_window"] is not None and not given["group_by_length"]:
        raise ArgumentError(f"sort_window needs group_by_length=True, but got sort_window={given['sort_window']!r}")
    if given["group_by_length"] and given["batch_by"] == "tokens":
        raise ArgumentError("batch_by='tokens' has batches of similar lengths by itself; leave group_by_length out")


def checked_weights(weights: Any, length: int) -> NDArray[np.float64]:
    """Return the weights of samples.

    Args:
        weights: one number for each sample.
        length: how many samples there are.

    Raises:
        ArgumentError: there are more or fewer, one is no number, negative, NaN or infinite, or all are zero.
    """
    try:
        found = np.asarray(weights, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(
            f"weights must be a number for each of the {length} samples, but got {weights!r:.100} ({error})"
        ) from error
    if found.shape != (length,):
        raise ArgumentError(f"weights has shape {found.shape}, but the dataset has {length} samples; give one for each")
    wrong = ~(np.isfinite(found) & (found >= 0))
    if wrong.any():
        first = int(wrong.argmax())
        raise ArgumentError(f"weights must be finite and not negative, but sample {first} has {found[first]}")
    if not found.any():
        raise ArgumentError("weights are all zero, so there is nothing to draw; give a sample a weight")
    if length >= _MOST_WEIGHTS:
        raise ArgumentError(f"weights can be given for fewer than {_MOST_WEIGHTS} samples, but there are {length}")
    return found


def _check_alone(name: str, given: Mapping[str, Any], *, stream: bool) -> None:
    for other in ("sampler", "batch_sampler"):
        if given[other] is not None:
            raise ArgumentError(f"{name} and {other} are mutually exclusive: the {other} decides which samples come")
    if stream:
        raise ArgumentError(f"{name} needs samples with indices, and an IterableDataset decides its own order")
    if given["shuffle"] == "block" and name != "group_by_length":
        raise ArgumentError(f"{name} and shuffle='block' are mutually exclusive; use shuffle=True or leave it out")


def _check_draws(given: Mapping[str, Any]) -> None:
    if not isinstance(given["replacement"], bool | np.bool_ | None):
        raise ArgumentError(f"replacement must be True, False or None, but got replacement={given['replacement']!r}")
    draws = given["weights"] is not None or given["replacement"]
    if draws and (given["group_by_length"] or given["batch_by"] == "tokens"):
        raise ArgumentError("weights and replacement draw samples one by one; leave group_by_length and batch_by out")
    several = given["world_size"] not in (None, 1)
    if draws and several and given["seed"] is None and given["generator"] is None:
        raise ArgumentError("weights and replacement on several ranks need a seed, or each rank would draw its own")


def _check_buckets(given: Mapping[str, Any]) -> None:
    if given["batch_by"] != "tokens":
        for name in _OF_TOKENS:
            if given[name] is not None:
                raise ArgumentError(f"{name} needs batch_by='tokens', but got {name}={given[name]!r}")
        return
    if given["max_tokens"] is None:
        raise ArgumentError("batch_by='tokens' needs max_tokens: how many tokens a batch has at most, with its padding")
    if given["batch_size"] != 1:
        raise ArgumentError(
            f"batch_by='tokens' decides how many samples a batch has, but got batch_size={given['batch_size']!r}; use "
            "max_batch_size to bound it"
        )
    if given["boundaries"] is not None and not _rise(given["boundaries"]):
        raise ArgumentError(
            f"boundaries must be lengths that rise, integers from 1 on, but got boundaries={given['boundaries']!r:.80}"
        )


def _rise(boundaries: Any) -> bool:
    """Return whether these are lengths, each larger than the one before it."""
    try:
        lengths = [0, *boundaries]
    except TypeError:
        return False
    integers = all(isinstance(length, int | np.integer) and not isinstance(length, bool) for length in lengths)
    rise = integers and all(before < length <= _LARGEST for before, length in pairwise(lengths))
    return rise and len(lengths) > 1


def _check_count(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= _LARGEST:
        raise ArgumentError(f"{name} must be a positive integer below 2**63, or None, but got {name}={value!r}")
