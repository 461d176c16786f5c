"""Explaining a batch: its samples are read again, one by one, and what is drawn for them is noted."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.cache.layout import Layout
from headrace.cache.unbatch import unbatch
from headrace.errors import HeadraceError
from headrace.errors.notes import whole_text_of
from headrace.insight.explanation import BatchExplanation, SampleExplanation
from headrace.loader.fetch import collate, substitutes
from headrace.loader.known_collation import batch_as_collated
from headrace.loader.tasks import naming_step, numbers_of, seed_globals
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.origins import find_origins
from headrace.rng.notes import Note, take_notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.loader.cursor import Epoch
    from headrace.loader.work import WorkMaker
    from headrace.sampling.ranks import Shares
    from headrace.sampling.samplers import Selection

__all__ = ["explain_batch"]

_GENERATORS = ("random", "numpy.random", "torch")  # of which `frameworks.global_states` are
_GLOBALS = "global generators"


class _Outcome:
    """A sample that was read, or could not be."""

    def __init__(self, key: Any, number: int) -> None:
        self.key = key
        self.number = number
        self.sample: Any = None
        self.error: Exception | None = None
        self.notes: list[Note] = []


def explain_batch(
    maker: WorkMaker,
    epoch: Epoch,
    step: int,
    selection: Selection,
    shares: Shares | None,
    *,
    worker: str,
    foreign: bool,
) -> BatchExplanation:
    """Return where the samples of a batch come from, and what is drawn for them.

    Args:
        maker: tells how samples are read.
        epoch: the batch's epoch.
        step: the batch's step.
        selection: its samples.
        shares: the positions of batches in the order; None where they have none.
        worker: which worker loads it, in words.
        foreign: whether code of others draws from the global generators.
    """
    reader = _SampleReader(maker, epoch)
    keys = selection.tolist() if isinstance(selection, np.ndarray) else list(selection)
    kept = frameworks.kept_globals() if foreign else nullcontext()
    with kept, naming_step(epoch, step):
        if foreign:
            seed_globals(epoch, step, devices=False)
        asked = [reader.read(key, number) for key, number in zip(keys, numbers_of(selection, step), strict=True)]
        found = reader.replaced(asked)
        draws = []
        if foreign and all(each.error is None for each in asked):
            seed_globals(epoch, step, devices=False)
            draws += reader.read_together(asked, selection)
        draws += reader.collated([each for each in found if each.error is None])
        origins = [find_origins(maker.dataset, each.key) for each in found]
    positions, valid = _places(shares, step, len(keys))
    samples = [
        SampleExplanation(
            row=row,
            index=each.key,
            position=positions[row],
            origins=origins[row],
            draws=tuple(each.notes),
            error=None if each.error is None else _in_a_line(each.error),
            replaces=None if each is asked[row] else asked[row].key,
            valid=valid[row],
            sample=each.sample,
        )
        for row, each in enumerate(found)
    ]
    ranks = maker.shares
    return BatchExplanation(
        epoch.number, step, epoch.seed, ranks.rank, ranks.world_size, worker, tuple(samples), tuple(draws)
    )


def _places(shares: Shares | None, step: int, count: int) -> tuple[list[int | None], list[bool]]:
    """Return the positions of a batch's samples in the order, and which of them are no filling."""
    if shares is None:
        return [None] * count, [True] * count
    first = shares.span(step)[0]
    return [(first + row) % shares.length for row in range(count)], shares.valid(step).tolist()


def _samples_of(batch: Any, like: Any, count: int) -> list[Any] | None:
    """Return the samples of a batch; None where they cannot be told apart."""
    try:
        return unbatch(batch, Layout(Layout.describe(like)), count)
    except HeadraceError:
        return None


@contextmanager
def _noting_globals() -> Iterator[list[Note]]:
    """Yield a list to which it is added which global generators were drawn from meanwhile."""
    notes: list[Note] = []
    before = frameworks.global_states()
    yield notes
    after = frameworks.global_states()
    drawn = [name for name, old, new in zip(_GENERATORS, before, after, strict=True) if old != new]
    if drawn:
        notes.append(Note(_GLOBALS, {"drawn_from": drawn}))


def _in_a_line(error: Exception) -> str:
    """Return the kind of an error and all that it says."""
    return " ".join(f"{type(error).__name__}: {whole_text_of(error)}".split())


class _SampleReader:
    """Reads samples one by one, as a worker does where samples cannot be read together."""

    def __init__(self, maker: WorkMaker, epoch: Epoch) -> None:
        self._maker = maker
        self._key = epoch.draws_key
        self._plan = compile_dataset(maker.dataset)

    def read(self, key: Any, number: int) -> _Outcome:
        """Read a sample; an error is part of what is found."""
        found = _Outcome(key, int(number))
        with _noting_globals() as of_globals, take_notes(self._key, np.array([number], np.int64)) as notes:
            samples, errors = self._plan.readable([key])
        found.sample, found.error, found.notes = samples.get(0), errors.get(0), notes + of_globals
        return found

    def read_together(self, asked: list[_Outcome], selection: Selection) -> list[Note]:
        """Give samples what a dataset reads that draws from the global generators for a whole batch at once.

        Returns:
            What is to be said of the batch.
        """
        maker, keys = self._maker, np.array([each.number for each in asked], np.int64)
        if maker.single or maker.on_error != "raise" or not isinstance(selection, np.ndarray):
            return []
        read_batch = batch_as_collated(self._plan, maker.collate_fn)
        if read_batch is None and not self._plan.reads_many:
            return []
        with _noting_globals() as notes, take_notes(self._key, keys):
            if read_batch is None:
                samples: list[Any] | None = self._plan.samples(selection)
            else:
                samples = _samples_of(read_batch(selection), asked[0].sample, len(asked))
        if not notes:
            return []
        for number, each in enumerate(asked):
            each.sample = None if samples is None else samples[number]
            each.notes = [note for note in each.notes if note.transform != _GLOBALS]
        return notes

    def replaced(self, asked: list[_Outcome]) -> list[_Outcome]:
        """Return the samples, with others in place of those that cannot be read, where the loader replaces them."""
        if self._maker.on_error != "replace":
            return asked
        readable = [each for each in asked if each.error is None]
        return [each if each.error is None else self._substitute(each, readable) for each in asked]

    def _substitute(self, bad: _Outcome, readable: list[_Outcome]) -> _Outcome:
        choices = readable if self._maker.from_batch else None
        count = len(self._maker.dataset) if choices is None else len(choices)
        for chosen in substitutes(self._key, bad.number, count):
            key, number = (chosen, chosen) if choices is None else (choices[chosen].key, choices[chosen].number)
            other = self.read(key, number)
            if other.error is None:
                return other
        return bad

    def collated(self, found: list[_Outcome]) -> list[Note]:
        """Return what a `collate_fn` draws for the samples together, and what it raises."""
        maker = self._maker
        if maker.collate_fn is None or not found or batch_as_collated(self._plan, maker.collate_fn) is not None:
            return []  # one that is known draws nothing, and is not given samples that are read as a batch
        samples, keys = [each.sample for each in found], [each.key for each in found]
        failures: list[Note] = []
        with take_notes(self._key, np.array([each.number for each in found], np.int64)) as notes:
            try:
                collate(samples, keys, maker.collate_fn, single=maker.single)
            except Exception as error:
                failures.append(Note("collate_fn", {"raised": _in_a_line(error)}))
        return notes + failures
