"""What travels between processes: the work to a worker, the results and the errors back.

Everything travels as a pickle of protocol 5 whose large memory lies apart, so that whoever sends it
puts each array where the other process reads it, and no array is copied into a pickle.

- **Work** is a callable with all that it holds. What a clean interpreter cannot import (lambdas,
  classes of a notebook) goes by value where cloudpickle is installed, and a memory-mapped file is
  mapped again, not copied. A class that went by value comes back as a name: results hold the
  sender's own class, and cost no copy of its code.
- **Results** are batches: any structure of arrays of any framework.
- **Errors** keep type, arguments, attributes and notes. Their traceback comes as text, as the cause.
"""

from __future__ import annotations

import io
import pickle
import traceback
import types
from contextlib import nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import adapters
from headrace.batch.shared import SharedFile
from headrace.errors import NotPicklableError, WorkerError, WorkerTraceback
from headrace.failures import add_note, notes_of, set_cause, text_of
from headrace.workers.by_value import CACHING, PROTOCOL, RENAMED_MAIN, main_by_value, value_pickler
from headrace.workers.channel import MOST_FILES
from headrace.workers.culprit import Culprit, find_culprit, parts_of
from headrace.workers.mapped import MappedFile, dtype_name, mapped_root, reduce_view
from headrace.workers.passports import Delivery, passports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    _Reduce = Callable[[Any], Any]
    _Kind = type["_ByReference"]
    _Keep = Callable[[pickle.PickleBuffer], bool]

__all__ = ["Pickled", "dump_error", "dump_result", "dump_work", "load", "load_error"]

# Below this the bookkeeping of a buffer costs more than the copy into the pickle.
_APART_FROM = 1 << 12


@dataclass(frozen=True, slots=True)
class Pickled:
    """A pickle whose large memory lies apart.

    Args:
        payload: the pickle.
        buffers: the memory that it refers to, in order. Each is contiguous and at least 4 KiB; what
            was read-only is so again after `load`.
        files: the shared files that it refers to, in order.
        modules: names of the modules that `load` imports, and maybe of others.

    >>> Pickled(pickle.dumps([1]), []).buffers
    []
    """

    payload: bytes
    buffers: list[pickle.PickleBuffer]
    files: list[SharedFile] = field(default_factory=list)
    modules: frozenset[str] = frozenset()


def dump_work(work: object, name: str = "work") -> Pickled:
    """A callable and all that it holds, for workers that start as clean interpreters.

    Args:
        work: any object.
        name: what an error calls it.

    Raises:
        NotPicklableError: something in it cannot travel; the text says where it is and what helps.

    >>> from functools import partial
    >>> work = partial(np.multiply, np.ones((64, 64)))
    >>> sent = dump_work(work)
    >>> [buffer.raw().nbytes for buffer in sent.buffers]
    [32768]
    >>> load(sent.payload, sent.buffers)(2).sum()
    np.float64(8192.0)
    """
    kind = value_pickler() or _ByReference
    buffers: list[pickle.PickleBuffer] = []
    reducer = _WorkReducer(kind)
    with io.BytesIO() as file:
        pickler = kind(file, reducer, _keep_large(buffers))
        try:
            with nullcontext() if kind is _ByReference else main_by_value():
                pickler.dump(Delivery(work, pickler.classes, pickler.sources))
        except Exception as error:
            trial = _Trial(kind, lambda: _WorkReducer(kind))
            raise NotPicklableError(_explain(find_culprit(work, name, error, trial), _TO_A_WORKER)) from error
        return Pickled(file.getvalue(), buffers, reducer.shared, frozenset(reducer.modules))


def dump_result(result: object, name: str = "batch") -> Pickled:
    """A batch, for the process that asked for it.

    Args:
        result: any structure of arrays (NumPy, PyTorch, JAX) and other objects; exceptions in it
            travel as by `dump_error`.
        name: what an error calls it.

    Raises:
        NotPicklableError: something in it cannot travel; the text says where it is and what helps.

    >>> sent = dump_result({"images": np.zeros((32, 3, 32, 32), np.uint8), "labels": np.arange(32)})
    >>> [buffer.raw().nbytes for buffer in sent.buffers]
    [98304]
    >>> load(sent.payload, sent.buffers)["labels"].sum()
    np.int64(496)
    """
    try:
        return _dump_apart(result, _ByReference)
    except Exception as error:
        kind = value_pickler()
        if kind is None:
            raise _refusal(result, name, error, _ByReference) from error
    try:
        return _dump_apart(result, kind)
    except Exception as error:
        raise _refusal(result, name, error, kind) from error


def _dump_apart(result: object, kind: _Kind) -> Pickled:
    buffers: list[pickle.PickleBuffer] = []
    return Pickled(_dump(result, kind, keep=_keep_large(buffers)), buffers)


def _refusal(result: object, name: str, error: Exception, kind: _Kind) -> NotPicklableError:
    culprit = find_culprit(result, name, error, _Trial(kind, lambda: _reduce))
    return NotPicklableError(_explain(culprit, _FROM_A_WORKER))


def load(payload: Buffer, buffers: Iterable[Buffer], files: Sequence[int] = ()) -> Any:
    """What was dumped. Its large arrays lie in the buffers.

    Args:
        payload: of the `Pickled`.
        buffers: memory of the same content as those of the `Pickled`, in the same order. Arrays are
            read-only where it is.
        files: descriptors of the same files as those of the `Pickled`, which become the result's own.

    Raises:
        FileNotFoundError: a memory-mapped file of the work is gone.
        WorkerError: a class that the work brought was defined anew since.

    >>> load(pickle.dumps("anything"), [])
    'anything'
    """
    token = _arrived.set(files)
    try:
        return pickle.loads(payload, buffers=buffers)  # noqa: S301 - written by this program's own processes
    finally:
        _arrived.reset(token)


# ---------------------------------------------------------------------- two picklers


class _ByReference(pickle.Pickler):
    """Pickles functions and classes as names. `reduce` is asked first for all that is no plain Python value."""

    def __init__(self, file: io.BytesIO, reduce: _Reduce, keep: _Keep | None = None) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=keep)
        self.reducer_override = reduce  # type: ignore[method-assign] # a method would cost a call more a value
        self.classes: dict[str, type] = {}  # that went by value, by their tokens
        self.sources: dict[str, list[str]] = {}  # lines of their code, by file, where there is no such file


def _dump(value: object, kind: _Kind, reduce: _Reduce | None = None, keep: _Keep | None = None) -> bytes:
    with io.BytesIO() as file:
        kind(file, reduce or _reduce, keep).dump(value)
        return file.getvalue()


def _dump_anyhow(value: object) -> bytes:
    """All in one, by reference where that serves."""
    try:
        return _dump(value, _ByReference)
    except Exception:
        kind = value_pickler()
        if kind is None:
            raise
        return _dump(value, kind)


def _keep_large(buffers: list[pickle.PickleBuffer]) -> _Keep:
    """Collects large buffers, and has small ones put into the pickle, where they stay writable."""

    def keep(buffer: pickle.PickleBuffer) -> bool:
        if memoryview(buffer).nbytes < _APART_FROM:
            return True
        buffers.append(buffer)
        return False

    return keep


# ---------------------------------------------------------------------- how values are taken apart


def _reduce(value: Any) -> Any:
    """How pickle takes the value apart, or NotImplemented for its own way."""
    kind = type(value)
    if kind is np.ndarray:
        return _reduce_array(value)
    if kind is types.FunctionType:
        return NotImplemented
    if isinstance(value, type):
        return passports.show(value)
    if isinstance(value, BaseException):
        return load_error, (dump_error(value),)
    if kind is np.memmap:
        return _as_memmap, (value.view(np.ndarray),)
    return adapters.reduce(value) or NotImplemented


# Descriptors of shared files that came with what is being loaded.
_arrived: ContextVar[Sequence[int]] = ContextVar("headrace_arrived", default=())


def _take_shared(number: int, nbytes: int) -> SharedFile:
    return SharedFile(nbytes, _arrived.get()[number])


class _WorkReducer:
    """`_reduce` for work: it maps and shares files again, and refuses what a worker could not import."""

    def __init__(self, kind: _Kind) -> None:
        self._by_reference = kind is _ByReference
        self._files: dict[int, MappedFile] = {}
        self.shared: list[SharedFile] = []
        self.modules: set[str] = set()

    def __call__(self, value: Any) -> Any:
        if type(value) in (np.ndarray, np.memmap):
            root = mapped_root(value)
            if root is not None:
                return reduce_view(value, root, self._file(root))
        elif type(value) is SharedFile:  # pickle asks once for each
            if len(self.shared) == MOST_FILES:
                raise pickle.PicklingError(f"it is one of more than {MOST_FILES} shared files")
            self.shared.append(value)
            return _take_shared, (len(self.shared) - 1, value.first_nbytes)
        elif isinstance(value, types.ModuleType):
            self.modules.add(value.__name__)
        elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | CACHING):
            self.modules.add(str(value.__module__))
            # Pickle alone would send a name that means something else, or nothing, in the worker.
            if self._by_reference and value.__module__ in ("__main__", RENAMED_MAIN):
                raise pickle.PicklingError(f"{value.__qualname__} is defined in __main__")
            return NotImplemented
        return _reduce(value)

    def _file(self, root: np.memmap[Any, Any]) -> MappedFile:
        """The same object for all views of a mapping, so that the worker maps it once."""
        if id(root) not in self._files:
            self._files[id(root)] = MappedFile.of(root)
        return self._files[id(root)]


# ---------------------------------------------------------------------- arrays


def _reduce_array(array: NDArray[Any]) -> Any:
    """NumPy's own way in half of its time, which also keeps the order of the axes in memory."""
    if array.dtype.hasobject or array.itemsize == 0:
        return NotImplemented
    if array.flags.c_contiguous:
        return _rebuild_array, (_buffer_of(array), dtype_name(array.dtype), array.shape)
    order = sorted(range(array.ndim), key=array.strides.__getitem__, reverse=True)
    dense = array.transpose(order)
    if not dense.flags.c_contiguous:
        order, dense = list(range(array.ndim)), array.copy("C")
        dense.flags.writeable = array.flags.writeable
    axes = tuple(map(order.index, range(array.ndim)))
    return _rebuild_array, (_buffer_of(dense), dtype_name(array.dtype), dense.shape, axes)


def _rebuild_array(
    buffer: Any, dtype: np.dtype[Any] | str, shape: tuple[int, ...], axes: tuple[int, ...] | None = None
) -> NDArray[Any]:
    # `frombuffer` keeps a memoryview, and with it the memory; `ndarray(buffer=...)` would not.
    array: NDArray[Any] = np.frombuffer(buffer, dtype).reshape(shape)
    return array if axes is None else array.transpose(axes)


def _buffer_of(array: Any) -> pickle.PickleBuffer:
    try:
        return pickle.PickleBuffer(array)
    except ValueError:  # dates, and types that are not NumPy's own, have no buffers
        return pickle.PickleBuffer(array.reshape(-1).view(np.uint8))


def _as_memmap(array: NDArray[Any]) -> NDArray[Any]:
    return array.view(np.memmap)


# ---------------------------------------------------------------------- errors


# Of the errors that are being dumped, by identity: so that those that hold each other come to an end.
_dumped: ContextVar[dict[int, tuple[BaseException, bytes]]] = ContextVar("headrace_dumped")


class _Wreck(NamedTuple):
    """What is left of an error on its way."""

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
        return pickle.dumps(tuple(_Wreck(None, _name_of(type(error)), text, [], "")))
    finally:
        _dumped.reset(token)


def load_error(data: bytes) -> BaseException:
    r"""The exception, with its traceback in the worker as the cause. This never fails either.

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
        wreck = _Wreck(None, _name_of(type(error)), text_of(error), notes_of(error), _trace_of(error))
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
    """How to make the error again: as it says itself if that gives the same, else past its `__init__`."""
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
    """An exception of the class as its nearest built-in base makes one, which fills errno and the like."""
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
        return f"{_name_of(type(error))}: {text_of(error)} (its traceback raised {type(failure).__name__})\n"


def _name_of(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


# ---------------------------------------------------------------------- what cannot travel, and where it is


class _Journey(NamedTuple):
    failure: str
    receiver: str
    remedy: str


_TO_A_WORKER = _Journey(
    "cannot be sent to a worker process",
    "a worker process",
    'open it in __getitem__ when it is first needed, leave it out in __getstate__, or use backend="thread"',
)
_FROM_A_WORKER = _Journey(
    "cannot come back from a worker process",
    "the main process",
    'leave it out of the samples, convert it to arrays, numbers or text, or use backend="thread"',
)


class _Trial:
    """Whether values can be pickled, and why not."""

    def __init__(self, kind: _Kind, make_reduce: Callable[[], _Reduce]) -> None:
        self._kind = kind
        self._make_reduce = make_reduce

    def parts_of(self, value: Any) -> list[tuple[str, Any]]:
        """What pickling the value pickles, each with how it is reached. A name has no parts."""
        is_name = self._kind is _ByReference and isinstance(value, type | types.FunctionType)
        return [] if is_name else parts_of(value)

    def error_of(self, values: list[Any], above: list[Any]) -> Exception | None:
        """The error of pickling the values, without the objects above them, which they may refer to."""
        reduce, hidden = self._make_reduce(), set(map(id, above))
        try:
            _dump(values, self._kind, lambda value: _stub if id(value) in hidden else reduce(value), lambda _: False)
        except Exception as error:
            return error
        return None


_stub = (list, ())


def _explain(culprit: Culprit, journey: _Journey) -> str:
    path, value, holder, error = culprit
    if isinstance(value, type | types.FunctionType | CACHING) and value_pickler() is None:
        return (
            f"{path}: {value.__qualname__} is defined in __main__ (or locally), "
            f"which {journey.receiver} cannot import; pip install 'headrace[processes]', or move it to a module"
        )
    held = "" if holder is None else f" held by a {_name_of(type(holder))}"
    return f'{path} {journey.failure}: it is a {_name_of(type(value))}{held} ("{error!s:.200}"); {journey.remedy}'
