"""Reduction of values for a pickle: arrays, classes, and exceptions with notes and traceback."""

from __future__ import annotations

import pickle
import traceback
import types
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from headrace import frameworks
from headrace.errors import WorkerError, WorkerTraceback
from headrace.errors.notes import add_note, notes_of, set_cause, text_of
from headrace.workers.pickling.arrays import as_memmap, reduce_array
from headrace.workers.pickling.by_value import PROTOCOL, value_pickler
from headrace.workers.pickling.class_registry import class_registry
from headrace.workers.pickling.picklers import ByReference, dump

__all__ = ["dump_error", "load_error", "name_of", "reduce"]


def reduce(value: Any) -> Any:
    """Return how pickle takes the value apart, or NotImplemented for its own way."""
    kind = type(value)
    if kind is np.ndarray:
        return reduce_array(value)
    if kind is types.FunctionType:
        return NotImplemented
    if isinstance(value, type):
        return class_registry.show(value)
    if isinstance(value, BaseException):
        return load_error, (dump_error(value),)
    if kind is np.memmap:
        return as_memmap, (value.view(np.ndarray),)
    return frameworks.reduce(value) or NotImplemented


def _dump_anyhow(value: object) -> bytes:
    """Return all in one, by reference where that serves."""
    try:
        return dump(value, ByReference, reduce)
    except Exception:
        kind = value_pickler()
        if kind is None:
            raise
        return dump(value, kind, reduce)


# ---------------------------------------------------------------------- errors

# Of the errors that are being dumped, by identity: so that those that hold each other come to an end.
_dumped: ContextVar[dict[int, tuple[BaseException, bytes]]] = ContextVar("headrace_dumped")


class _Wreck(NamedTuple):
    """An error as it is pickled: enough to make it again, or its text where that fails."""

    form: bytes | None  # (callable, its arguments, state, attributes) pickled; None if that cannot be
    name: str
    text: str
    notes: list[str]
    trace: str


def dump_error(error: BaseException) -> bytes:
    """Pickle an exception for the process that waits for the result. This never fails.

    Type, arguments, attributes and notes travel; what of them cannot be pickled is left out, and an
    exception whose class cannot comes back as a WorkerError. The traceback travels as text. Whatever
    the exception's own methods raise, SystemExit included, is taken for a part that cannot be pickled.

    Args:
        error: the exception.

    >>> load_error(dump_error(KeyError("label")))
    KeyError('label')
    """
    known = _dumped.get({})
    token = _dumped.set(known)
    try:
        return _dump_error(error, known)
    except BaseException as failure:
        text = f"it could not be sent: {type(failure).__name__}"
        return pickle.dumps(tuple(_Wreck(None, name_of(type(error)), text, [], "")))
    finally:
        _dumped.reset(token)


def load_error(data: bytes) -> BaseException:
    r"""Return the exception, with its traceback in the worker as the cause. This never fails either.

    Args:
        data: what `dump_error` gave.

    >>> error = load_error(dump_error(ValueError("no such file")))
    >>> error, error.__cause__
    (ValueError('no such file'), WorkerTraceback('ValueError: no such file\n'))
    """
    try:
        wreck = _Wreck(*pickle.loads(data))  # noqa: S301 - written by `dump_error`
    except Exception as failure:
        return WorkerError(f"the error of a worker could not be read: {type(failure).__name__}: {text_of(failure)}")
    error = _salvage(wreck)
    set_cause(error, WorkerTraceback(wreck.trace))
    return error


def _dump_error(error: BaseException, known: dict[int, tuple[BaseException, bytes]]) -> bytes:
    if id(error) not in known:
        wreck = _Wreck(None, name_of(type(error)), text_of(error), notes_of(error), _trace_of(error))
        known[id(error)] = error, pickle.dumps(tuple(wreck))  # stands for it inside of itself
        known[id(error)] = error, pickle.dumps(tuple(wreck._replace(form=_form_of(error))))
    return known[id(error)][1]


def _salvage(wreck: _Wreck) -> BaseException:
    try:
        if wreck.form is not None:
            return _rebuild_error(wreck.form)
    except KeyboardInterrupt:  # the user's: where the error raised it itself, it did so in the worker, too
        raise
    except BaseException:  # noqa: S110 - its text and its traceback are there
        pass
    error = WorkerError(f"{wreck.name}: {wreck.text}" if wreck.text else wreck.name)
    for note in wreck.notes:
        add_note(error, note)
    return error


def _form_of(error: BaseException) -> bytes | None:
    """Return how to make the error again: as it says itself if that gives the same, else past its `__init__`."""
    with suppress(BaseException):
        form = _dump_anyhow(_own_parts(error))
        copy = _rebuild_error(form)
        if type(copy) is type(error) and repr(copy.args) == repr(error.args):
            return form
    with suppress(BaseException):
        form = _dump_anyhow(_plain_parts(error))
        if type(_rebuild_error(form)) is type(error):
            return form
    return None


def _rebuild_error(form: bytes) -> BaseException:
    make, args, state, attributes = pickle.loads(form)  # noqa: S301 - written by `_form_of`
    error: BaseException = make(*args)
    if state is not None:
        error.__setstate__(state)
    error.__dict__.update(attributes)
    return error


def _own_parts(error: BaseException) -> tuple[Any, ...]:
    reduced: Any = error.__reduce_ex__(PROTOCOL)
    make, args, *rest = reduced
    state = rest[0] if rest else None
    return make, args, _picklable_items(state), {} if state is vars(error) else _picklable_items(vars(error))


def _plain_parts(error: BaseException) -> tuple[Any, ...]:
    cls = type(error)
    _, args, *rest = _built_in(cls).__reduce__(error)
    args = tuple(value if _is_picklable(value) else _repr_of(value) for value in args)
    return _new_error, (cls, args), None, _picklable_items(rest[0]) if rest else {}


def _new_error(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Return an exception of the class as its nearest built-in base makes one, which fills errno and the like."""
    base = _built_in(cls)
    error: BaseException = base.__new__(cls, *args)
    base.__init__(error, *args)
    return error


def _built_in(cls: type) -> Any:
    return next(base for base in cls.__mro__ if base.__module__ == "builtins")


def _picklable_items(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    return {key: value for key, value in state.items() if _is_picklable(value)}


def _is_picklable(value: object) -> bool:
    try:
        _dump_anyhow(value)
    except BaseException:
        return False
    return True


def _repr_of(value: object) -> str:
    try:
        return repr(value)
    except BaseException:
        return object.__repr__(value)


def _trace_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException as failure:
        return f"{name_of(type(error))}: {text_of(error)} (its traceback raised {type(failure).__name__})\n"


def name_of(cls: type) -> str:
    """Return the name of a class as a traceback shows it."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
