"""Reading batches of a dataset: the samples of a selection become a batch."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.collate import default_collate
from headrace.batch.tree import count_array_bytes
from headrace.errors import CollateError, HeadraceWarning, TooManyErrorsError
from headrace.errors.notes import text_of
from headrace.insight.clock import present_clock
from headrace.insight.columns import COLLATE, READ
from headrace.loader.bad_samples import Failure
from headrace.loader.known_collation import batch_as_collated
from headrace.loader.tasks import Loaded, numbers_of
from headrace.pipeline.compile import compile_dataset
from headrace.rng.context import use_keys
from headrace.rng.draws import replacement
from headrace.rng.places import slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.read_plan import ReadCall
    from headrace.sampling.samplers import Selection

__all__ = ["BatchReader", "collate", "substitutes"]

# The place where a collate_fn draws; without one of its own it would draw what the first sample drew.
_COLLATION = 2**31
# So many samples are tried in place of one that cannot be read.
_MOST_DRAWS = 100


class BatchReader:
    """Reads the samples of a selection and makes them a batch.

    Args:
        dataset: any object with `__getitem__`.
        collate_fn: makes a batch of a list of samples; None for headrace's own way.
        single: hand out the one sample of a selection as it is, or what collate_fn makes of it.
        on_error: what a sample does that cannot be read: "raise", "skip" or "replace".
        from_batch: replace it with another sample of its batch, not of the whole dataset.

    Attributes:
        clock: times the stages of reading.
    """

    def __init__(
        self,
        dataset: Any,
        collate_fn: Callable[[Any], Any] | None,
        *,
        single: bool,
        on_error: str = "raise",
        from_batch: bool = False,
    ) -> None:
        self._dataset = dataset
        self._collate_fn = collate_fn
        self._single = single
        self._on_error = on_error
        self._from_batch = from_batch
        self.clock = present_clock()
        self._compile()

    def _compile(self) -> None:
        self._plan = compile_dataset(self._dataset, self.clock)
        self._read_batch = None if self._single else batch_as_collated(self._plan, self._collate_fn)
        self._reads_many = not self._single and self._plan.reads_many

    def __call__(self, selection: Selection, key: int, step: int) -> Any:
        """Return the batch of the selection, or a Loaded where samples failed and were passed over.

        It is called in the context of its batch, see `loading_batch`.

        Args:
            selection: which samples.
            key: the key of the samples' draws.
            step: the number of the batch, which tells apart samples that have no index.
        """
        if not self._plan.is_current():  # a dataset that is changed in the midst of an epoch is heard
            self._compile()
        read: Callable[[Any], Any] | None = self._read_many if self._reads_many else None
        if self._read_batch is not None and isinstance(selection, np.ndarray):
            read = self._read_batch
        if read is None:
            return self._read_singly(selection, key, step)
        try:
            batch = read(selection)
        except Exception as error:
            failure = f"{type(error).__name__}: {text_of(error)}"
            refusal = error if isinstance(error, CollateError) and error.names_samples else None
        else:
            if self.clock.on:
                self.clock.lap(READ)
            return batch
        # Reading sample by sample is what a fast face stands for: it names the sample that is wrong,
        # or else it gives the batch, and the fast face is what is wrong.
        try:
            with use_keys(key, numbers_of(selection, step)):  # with what has been drawn forgotten
                batch = self._read_singly(selection, key, step)
        except CollateError as error:
            if refusal is None:
                raise
            raise refusal from error  # all samples can be read, and the dataset says better why they make no batch
        finally:
            refusal = None  # it holds this frame
        if not isinstance(batch, Loaded):
            warnings.warn(
                f"{type(self._dataset).__name__} could not read a batch at once, but sample by sample: {failure}",
                HeadraceWarning,
                stacklevel=2,
            )
        return batch

    def calls(self, selection: Selection) -> Iterator[ReadCall]:
        """Return the calls of datasets that reading the batch of a selection makes, which read nothing yet."""
        at_once = self._read_batch is not None and isinstance(selection, np.ndarray)
        return self._plan.calls(np.asarray(selection, np.int64), at_once=at_once)

    def read_at_once(self, selection: NDArray[np.int64]) -> Any:
        """Return all samples of the selection as one batch, read by the dataset's own method; see __call__."""
        batch = self._plan.batch(selection)
        self.clock.lap(READ)
        return batch

    def _read_many(self, selection: Selection) -> Any:
        return self._collate(self._plan.samples(selection), selection)

    def _read_singly(self, selection: Selection, key: int, step: int) -> Any:
        if self._on_error == "raise":
            return self._collate(self._plan.samples(selection, singly=True), selection)
        samples, errors = self._plan.readable(selection)
        if not errors:
            return self._collate(list(samples.values()), selection)
        return self._complete(_Gapped(selection, numbers_of(selection, step), samples, errors), key)

    def _complete(self, batch: _Gapped, key: int) -> Loaded:
        """Return the batch without the samples that failed, or with others in their place."""
        if self._on_error == "replace":
            try:
                self._fill(batch, key)
            except TooManyErrorsError as error:
                return Loaded(0, errors=[error], failures=batch.failures)
        places = sorted(batch.samples)
        if not places:
            return Loaded(0, failures=batch.failures)
        samples, keys = [batch.samples[place] for place in places], [batch.keys[place] for place in places]
        with use_keys(key, batch.numbers[places]):
            return Loaded(len(places), self._collate(samples, keys), loaded=True, failures=batch.failures)

    def _fill(self, batch: _Gapped, key: int) -> None:
        """Read other samples in place of those that failed."""
        readable = sorted(batch.samples) if self._from_batch else None
        count = len(self._dataset) if readable is None else len(readable)
        if not count:
            return
        for place in batch.gaps:
            chosen = substitutes(key, int(batch.numbers[place]), count)
            if not any(self._put(batch, place, each if readable is None else readable[each], key) for each in chosen):
                raise TooManyErrorsError(
                    f"sample {batch.keys[place]!r} could not be read, nor could the {_MOST_DRAWS} that were drawn in "
                    "its place (on_error='replace')"
                ) from batch.failures[-1].error

    def _put(self, batch: _Gapped, place: int, chosen: int, key: int) -> bool:
        """Read another sample, of the batch or of the dataset, into a gap; tell whether it could be."""
        other, number = (batch.keys[chosen], int(batch.numbers[chosen])) if self._from_batch else (chosen, chosen)
        with use_keys(key, np.array([number], np.int64)):
            samples, errors = self._plan.readable([other])
        if errors:
            batch.failures.append(Failure(other, errors[0]))
            return False
        batch.samples[place], batch.keys[place], batch.numbers[place] = samples[0], other, number
        return True

    def _collate(self, samples: list[Any], selection: Selection) -> Any:
        clock = self.clock
        if not clock.on:
            return collate(samples, selection, self._collate_fn, single=self._single)
        clock.lap(READ)
        batch = collate(samples, selection, self._collate_fn, single=self._single)
        clock.lap(COLLATE, count_array_bytes(batch))
        return batch


class _Gapped:
    """A batch some of whose samples could not be read.

    Attributes:
        keys: the samples' indices or other keys.
        numbers: what tells their draws apart, shape (n,), int64.
        samples: those that could be read, by their places.
        gaps: the places of the others.
        failures: all that could not be read, replacements too.
    """

    def __init__(
        self, selection: Selection, numbers: NDArray[np.int64], samples: dict[int, Any], errors: dict[int, Exception]
    ) -> None:
        self.keys: list[Any] = selection.tolist() if isinstance(selection, np.ndarray) else list(selection)
        self.numbers = numbers.copy()
        self.samples = samples
        self.gaps = list(errors)
        self.failures = [Failure(self.keys[place], error) for place, error in errors.items()]


def substitutes(key: int, number: int, count: int) -> Iterator[int]:
    """Yield which of so many samples are tried in place of one that cannot be read, one after the other.

    Args:
        key: the key of the epoch's draws.
        number: what tells the sample's draws apart.
        count: how many samples there are to choose from; of none, nothing is chosen.
    """
    for attempt in range(_MOST_DRAWS if count else 0):
        yield replacement(key, number, attempt, count)


def collate(
    samples: list[Any], indices: Sequence[Any] | NDArray[np.int64], fn: Callable[[Any], Any] | None, *, single: bool
) -> Any:
    """Return the batch of the samples, or what becomes of the only one."""
    if fn is None:
        return samples[0] if single else default_collate(samples, indices)
    with slot(_COLLATION):
        return fn(samples[0] if single else samples)
