"""Messages between processes: the work to a worker, the results and the errors back.

Everything travels as a pickle of protocol 5 whose large memory lies apart, so that the sender
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
import types
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.workers.pickling.by_value import CACHING, RENAMED_MAIN, send_main_by_value, value_pickler
from headrace.workers.pickling.class_registry import Delivery
from headrace.workers.pickling.picklers import ByReference, dump, keep_large
from headrace.workers.pickling.plain_lists import PlainLists
from headrace.workers.pickling.sending import sending, warn_of_objects
from headrace.workers.pickling.values import dump_error, load_error, reduce
from headrace.workers.processes.channel import MOST_FILES
from headrace.workers.processes.mapped_arrays import MappedFile, mapped_root, reduce_view
from headrace.workers.shared_file import SharedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from typing_extensions import Buffer

    from headrace.errors import NotPicklableError
    from headrace.workers.pickling.picklers import Kind, Reduce

__all__ = ["PickledMessage", "dump_error", "dump_result", "dump_work", "load", "load_error"]


@dataclass(frozen=True, slots=True)
class PickledMessage:
    """A pickle whose large memory lies apart.

    Args:
        payload: the pickle.
        buffers: the memory that it refers to, in order. Each is contiguous and at least 4 KiB; what
            was read-only is so again after `load`.
        files: the shared files that it refers to, in order.
        modules: names of the modules that `load` imports, and maybe of others.

    >>> PickledMessage(pickle.dumps([1]), []).buffers
    []
    """

    payload: bytes
    buffers: list[pickle.PickleBuffer]
    files: list[SharedFile] = field(default_factory=list)
    modules: frozenset[str] = frozenset()


def dump_work(work: object, name: str = "work") -> PickledMessage:
    """Return a callable and all that it holds, for workers that start as clean interpreters.

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
    kind = value_pickler() or ByReference
    buffers: list[pickle.PickleBuffer] = []
    reducer = _WorkReducer(kind)
    with io.BytesIO() as file:
        pickler = kind(file, reducer, keep_large(buffers))
        try:
            if kind is not ByReference:
                send_main_by_value()
            with sending():
                pickler.dump(Delivery(work, pickler.classes, pickler.sources))
        except Exception as error:
            raise _refusal(work, name, error, kind, lambda: _WorkReducer(kind), to_worker=True) from error
        warn_of_objects(work, file.tell() + reducer.lists.nbytes)
        return PickledMessage(file.getvalue(), buffers, reducer.shared, frozenset(reducer.modules))


def dump_result(result: object, name: str = "batch") -> PickledMessage:
    """Return a batch, for the process that asked for it.

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
        return _dump_apart(result, ByReference)
    except Exception as error:
        kind = value_pickler()
        if kind is None:
            raise _refusal(result, name, error, ByReference, lambda: reduce) from error
    try:
        return _dump_apart(result, kind)
    except Exception as error:
        raise _refusal(result, name, error, kind, lambda: reduce) from error


def _dump_apart(result: object, kind: Kind) -> PickledMessage:
    buffers: list[pickle.PickleBuffer] = []
    return PickledMessage(dump(result, kind, reduce, keep_large(buffers)), buffers)


def _refusal(
    value: object,
    name: str,
    error: Exception,
    kind: Kind,
    make_reduce: Callable[[], Reduce],
    *,
    to_worker: bool = False,
) -> NotPicklableError:
    from headrace.workers.pickling import refusals  # needed on failure alone

    journey = refusals.TO_A_WORKER if to_worker else refusals.FROM_A_WORKER
    return refusals.refuse(value, name, error, refusals.MessageTrial(kind, make_reduce), journey)


def load(payload: Buffer, buffers: Iterable[Buffer], files: Sequence[int] = ()) -> Any:
    """Return the object that was dumped. Its large arrays lie in the buffers.

    Args:
        payload: of the `PickledMessage`.
        buffers: memory of the same content as those of the `PickledMessage`, in the same order. Arrays are
            read-only where it is.
        files: descriptors of the same files as those of the `PickledMessage`, which become the result's own.

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


# Descriptors of shared files that came with what is being loaded.
_arrived: ContextVar[Sequence[int]] = ContextVar("headrace_arrived", default=())


def _take_shared(number: int, nbytes: int) -> SharedFile:
    return SharedFile(nbytes, _arrived.get()[number])


class _WorkReducer:
    """`reduce` for work: it maps and shares files again, and refuses what a worker could not import.

    Attributes:
        lists: of plain values, which go apart.
        shared: files that workers get with the work.
        modules: names of those that the work needs.
    """

    def __init__(self, kind: Kind) -> None:
        self._by_reference = kind is ByReference
        self._files: dict[int, MappedFile] = {}
        self.lists = PlainLists()
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
        reduced = reduce(value)
        return self.lists.reduce(value) if reduced is NotImplemented else reduced

    def _file(self, root: np.memmap[Any, Any]) -> MappedFile:
        """Return the same object for all views of a mapping, so that the worker maps it once."""
        if id(root) not in self._files:
            self._files[id(root)] = MappedFile.of(root)
        return self._files[id(root)]
