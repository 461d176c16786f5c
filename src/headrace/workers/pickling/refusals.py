"""Errors about an object that cannot be pickled: where it is, and what helps."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import NotPicklableError
from headrace.workers.pickling.by_value import CACHING, value_pickler
from headrace.workers.pickling.diagnosis import Diagnosis, diagnose, parts_of
from headrace.workers.pickling.picklers import ByReference, dump
from headrace.workers.pickling.values import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.workers.pickling.picklers import Kind, Reduce

__all__ = ["FROM_A_WORKER", "MessageTrial", "TO_A_WORKER", "refuse"]  # noqa: RUF022 - in plain order


class _Journey(NamedTuple):
    failure: str
    receiver: str
    remedy: str


TO_A_WORKER = _Journey(
    "cannot be sent to a worker process",
    "a worker process",
    'open it in __getitem__ when it is first needed, leave it out in __getstate__, or use backend="thread"',
)
FROM_A_WORKER = _Journey(
    "cannot come back from a worker process",
    "the main process",
    'leave it out of the samples, convert it to arrays, numbers or text, or use backend="thread"',
)


class MessageTrial:
    """Pickling of single values as a message would be pickled, to find out which of them fail."""

    def __init__(self, kind: Kind, make_reduce: Callable[[], Reduce]) -> None:
        self._kind = kind
        self._make_reduce = make_reduce

    def parts_of(self, value: Any) -> list[tuple[str, Any]]:
        """Return the objects that pickling the value pickles, each with the path to it. A name has no parts."""
        is_name = self._kind is ByReference and isinstance(value, type | types.FunctionType)
        return [] if is_name else parts_of(value)

    def error_of(self, values: list[Any], above: list[Any]) -> Exception | None:
        """Return the error of pickling the values, without the objects above them, which they may refer to."""
        reduce, hidden = self._make_reduce(), set(map(id, above))
        try:
            dump(values, self._kind, lambda value: _stub if id(value) in hidden else reduce(value), lambda _: False)
        except Exception as error:
            return error
        return None


_stub = (list, ())


def refuse(value: object, name: str, error: Exception, trial: MessageTrial, journey: _Journey) -> NotPicklableError:
    """Return the error that says where in a value it cannot be pickled, and what helps.

    Args:
        value: an object that could not be pickled.
        name: what the error calls it.
        error: what pickling it raised.
        trial: tries to pickle parts of it.
        journey: which way it was to go.
    """
    return NotPicklableError(explain(diagnose(value, name, error, trial), journey))


def explain(diagnosis: Diagnosis, journey: _Journey) -> str:
    """Return the text of the error: where the object is, why it cannot be pickled, and what helps."""
    path, value, holder, error = diagnosis
    if isinstance(value, type | types.FunctionType | CACHING) and value_pickler() is None:
        return (
            f"{path}: {value.__qualname__} is defined in __main__ (or locally), "
            f"which {journey.receiver} cannot import; pip install 'headrace[processes]', or move it to a module"
        )
    held = "" if holder is None else f" held by a {name_of(type(holder))}"
    return f'{path} {journey.failure}: it is a {name_of(type(value))}{held} ("{error!s:.200}"); {journey.remedy}'
