"""Requests to other machines that are made again when they fail."""

from __future__ import annotations

import random
from time import monotonic, sleep
from typing import TYPE_CHECKING, TypeVar

from headrace.errors import ArgumentError, FileChangedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.errors import StorageError
    from headrace.io.remote_options import RemoteOptions

__all__ = ["retry"]

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # before a request is made again, in seconds
_FINAL = (ArgumentError, FileNotFoundError, PermissionError, FileChangedError, ImportError, NotImplementedError)


def retry(
    attempt: Callable[[float], T],
    options: RemoteOptions,
    deadline: float,
    failed: Callable[[Exception, int], StorageError],
) -> T:
    """Return the result of an attempt, which is made again while there is time and hope.

    Pauses between attempts are random up to a bound that doubles ("full jitter", Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015), so that many workers do not come back at the same moment.

    Args:
        attempt: called with the seconds that are left.
        options: how often it is made again.
        deadline: when to give up, on the clock of `monotonic`.
        failed: makes the error of the last attempt, from its own error and the number of attempts.

    Raises:
        StorageError: what `failed` made; its cause is the error of the last attempt. An error that would come again,
            such as FileNotFoundError, is raised as it is, at once.
    """
    for number in range(options.retries + 1):
        try:
            return attempt(max(deadline - monotonic(), 0.001))
        except Exception as error:
            if _is_final(error):
                raise
            pause = random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**number))  # noqa: S311 - full jitter
            if number == options.retries or monotonic() + pause >= deadline:
                raise failed(error, number + 1) from error
            sleep(pause)
    raise AssertionError  # pragma: no cover - the last attempt returns or raises


def _is_final(error: BaseException) -> bool:
    """Return whether it would be the same again."""
    status = getattr(error, "status", None)
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and cause is not None and not isinstance(cause, FileNotFoundError):
        return _is_final(cause)  # fsspec takes a server that fails for one that has nothing
    if isinstance(status, int):
        return 400 <= status < 500 and status not in (408, 425, 429)
    return isinstance(error, _FINAL)
