"""Every exception and warning of headrace, one tree.

Each also derives from the built-in that a user of NumPy or PyTorch would catch, so that neither
`except ValueError` nor `except HeadraceError` misses it.
"""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "CacheError",
    "CollateError",
    "CorruptDataError",
    "DatasetChangedError",
    "DecodeError",
    "DestinationExistsError",
    "FileChangedError",
    "HeadraceError",
    "HeadraceWarning",
    "MixedSamplesError",
    "NotPicklableError",
    "NotYetError",
    "OutOfRangeError",
    "RaggedSamplesError",
    "ReferenceKernelsWarning",
    "StateError",
    "StorageError",
    "TooManyErrorsError",
    "UnexpectedStopIterationError",
    "WorkerDiedError",
    "WorkerError",
    "WorkerTimeoutError",
    "WorkerTraceback",
]


class HeadraceError(Exception):
    """Base of every error that headrace raises on its own account."""


class ArgumentError(HeadraceError, ValueError):
    """An argument has a value that is not allowed."""


class ArgumentTypeError(HeadraceError, TypeError):
    """An argument is of a kind that is not allowed."""


class OutOfRangeError(HeadraceError, IndexError):
    """A sample index lies outside the dataset."""


class NotYetError(HeadraceError, NotImplementedError):
    """The argument is understood, but this release cannot do it yet."""


class CacheError(HeadraceError, ValueError):
    """Samples cannot be kept: they are random, cannot be stored, or the place holds those of another dataset."""


class CollateError(HeadraceError):
    """Samples cannot become a batch.

    Attributes:
        names_samples: whether the text says which samples do not fit; of batches that were read apart it is not known.
    """

    names_samples = True


class RaggedSamplesError(CollateError, ValueError):
    """The samples of one field differ in shape or length."""


class MixedSamplesError(CollateError, TypeError):
    """The samples of one field differ in type, or are of a type that has no batch."""


class StateError(HeadraceError, ValueError):
    """A saved state does not belong to this loader."""


class DatasetChangedError(HeadraceError, RuntimeError):
    """The dataset's length changed while an epoch was running, or its samples differ from worker to worker."""


class DecodeError(HeadraceError, ValueError):
    """Bytes are not the image that they should be, or one that is larger than allowed."""


class StorageError(HeadraceError, OSError):
    """A file, or the index beside it, cannot be read as what it should be."""

    def __str__(self) -> str:
        return BaseException.__str__(self)  # an OSError with a filename and without a number hides its own text


class CorruptDataError(StorageError, ValueError):
    """Bytes of a file are not what was once written there."""


class FileChangedError(StorageError):
    """A file has changed, or is gone, since it was opened or indexed."""


class DestinationExistsError(StorageError, FileExistsError):
    """Something is already where a file is to be written."""


class TooManyErrorsError(HeadraceError, RuntimeError):
    """More samples could not be read than `max_errors` allows, or no replacement was found for one."""


class UnexpectedStopIterationError(HeadraceError, RuntimeError):
    """A sample raised StopIteration, which would have ended the epoch silently."""


class NotPicklableError(HeadraceError, TypeError):
    """Something cannot be sent to a worker process, or come back from one."""


class WorkerError(HeadraceError, RuntimeError):
    """A worker could not do its work."""


class WorkerDiedError(WorkerError):
    """A worker ended without being asked to.

    Attributes:
        pid: the number of its process; None for a thread.
        code: that one's exit code, or minus the signal that killed it; None where it is not known.
    """

    def __init__(self, text: str = "", pid: int | None = None, code: int | None = None) -> None:
        super().__init__(text)
        self.pid = pid
        self.code = code


class WorkerTimeoutError(WorkerError, TimeoutError):
    """No worker gave a result within the loader's timeout."""


class WorkerTraceback(HeadraceError):  # noqa: N818 - it explains an error and is none
    """The cause of an error that a worker process raised: its traceback there, as text."""

    def __str__(self) -> str:
        return f"in the worker:\n\n{self.args[0]}" if self.args else ""


class HeadraceWarning(UserWarning):
    """Base of every warning that headrace gives."""


class ReferenceKernelsWarning(HeadraceWarning):
    """The native kernels are not there, so the slower NumPy reference serves."""
