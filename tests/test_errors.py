from __future__ import annotations

import inspect

import pytest

from headrace import errors

BUILT_IN = {
    "ArgumentError": ValueError,
    "ArgumentTypeError": TypeError,
    "CacheError": ValueError,
    "CollateError": Exception,
    "CorruptDataError": ValueError,
    "DatasetChangedError": RuntimeError,
    "DecodeError": ValueError,
    "DestinationExistsError": FileExistsError,
    "FileChangedError": OSError,
    "HeadraceError": Exception,
    "HeadraceWarning": UserWarning,
    "MixedSamplesError": TypeError,
    "NotYetError": NotImplementedError,
    "OutOfRangeError": IndexError,
    "RaggedSamplesError": ValueError,
    "ReferenceKernelsWarning": UserWarning,
    "StateError": ValueError,
    "StorageError": OSError,
    "TooManyErrorsError": RuntimeError,
    "UnexpectedStopIterationError": RuntimeError,
    "NotPicklableError": TypeError,
    "WorkerDiedError": RuntimeError,
    "WorkerError": RuntimeError,
    "WorkerTimeoutError": TimeoutError,
    "WorkerTraceback": Exception,
}


def test_every_error_is_listed() -> None:
    found = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert found == set(errors.__all__) == set(BUILT_IN)
    assert errors.__all__ == sorted(errors.__all__)


@pytest.mark.parametrize(("name", "built_in"), BUILT_IN.items())
def test_errors_derive_from_headrace_error_and_a_builtin(name: str, built_in: type[Exception]) -> None:
    kind = getattr(errors, name)
    root = errors.HeadraceWarning if name.endswith("Warning") else errors.HeadraceError
    assert issubclass(kind, root)
    assert issubclass(kind, built_in)
    assert kind.__doc__


def test_what_collation_raises_can_be_caught_by_one_name() -> None:
    assert issubclass(errors.RaggedSamplesError, errors.CollateError)
    assert issubclass(errors.MixedSamplesError, errors.CollateError)


def test_no_stop_iteration_among_them() -> None:
    """One of these would end the user's loop silently."""
    assert not any(issubclass(getattr(errors, name), StopIteration | GeneratorExit) for name in errors.__all__)
