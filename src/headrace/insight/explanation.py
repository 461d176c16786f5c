"""The explanation of a batch: where each sample comes from, and what was done to it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.insight.table import TextTable

__all__ = ["BatchExplanation", "SampleExplanation"]

_WIDEST = 120  # columns of a table; what is wider is told sample by sample


@dataclass(frozen=True, slots=True)
class SampleExplanation:
    """The explanation of a sample of a batch.

    Attributes:
        row: its place in the batch.
        index: its index in the dataset, or the key that a sampler gave.
        position: its place in the order of the epoch, over all ranks; None where the order is no list of samples.
        origins: where it, or each of its parts, comes from, as headrace.pipeline.origins.Origin has it.
        draws: what each transform drew for it, in their order, as headrace.rng.notes.Note has it.
        error: why it could not be read; None where it could.
        replaces: the index of the sample that could not be read, in whose place it stands; None where it is in its
            own.
        valid: whether it is no filling of a last step.
        sample: what was read; None where it could not be.
    """

    row: int
    index: Any
    position: int | None
    origins: tuple[Any, ...]
    draws: tuple[Any, ...] = ()
    error: str | None = None
    replaces: Any = None
    valid: bool = True
    sample: Any = field(default=None, repr=False, compare=False)

    @property
    def origin(self) -> str:
        """The origins in words."""
        return "; ".join(map(str, self.origins)) + ("" if self.valid else " (filling)")

    @property
    def story(self) -> str:
        """The errors and draws in words."""
        return "; ".join(self._parts())

    def _parts(self) -> list[str]:
        parts = [] if self.replaces is None else [f"in place of {self.replaces!r}, which could not be read"]
        parts += [] if self.error is None else [f"could not be read: {self.error}"]
        return [*parts, *map(str, self.draws)]

    def to_dict(self) -> dict[str, Any]:
        """Return all but the sample as dicts, lists, numbers and strings.

        >>> SampleExplanation(0, 7, 0, ()).to_dict()["index"]
        7
        """
        plain = {"row": self.row, "index": _plain(self.index), "position": self.position}
        plain |= {"origins": [asdict(each) | {"index": _plain(each.index)} for each in self.origins]}
        plain |= {"draws": [{"transform": each.transform, **each.drawn} for each in self.draws]}
        return plain | {"error": self.error, "replaces": _plain(self.replaces), "valid": self.valid}

    def __str__(self) -> str:
        place = "" if self.position is None else f", position {self.position} of the epoch"
        lines = [f"row {self.row}: sample {self.index!r}{place}", *(f"  {each}" for each in self.origins)]
        return "\n".join([*lines, *(f"  {text}" for text in self._parts())])


@dataclass(frozen=True, slots=True)
class BatchExplanation:
    """The explanation of a batch, found again and not recorded.

    Printed, and in a notebook, it is a table, with pictures of the samples that are images.

    Attributes:
        epoch: the epoch.
        step: the step of it.
        seed: the seed of the loader; None where each epoch draws its own.
        rank: whose batch it is.
        world_size: of how many ranks.
        worker: which worker loads it, in words.
        samples: the explanation of each sample, those that were left out, too.
        draws: what was drawn for the batch as a whole, as by a `collate_fn`.

    >>> explained = BatchExplanation(0, 3, 7, 0, 1, "the consumer itself", (SampleExplanation(0, 5, 12, ()),))
    >>> len(explained), explained[0].index
    (1, 5)
    """

    epoch: int
    step: int
    seed: int | None
    rank: int
    world_size: int
    worker: str
    samples: tuple[SampleExplanation, ...]
    draws: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[SampleExplanation]:
        return iter(self.samples)

    @overload
    def __getitem__(self, row: int) -> SampleExplanation: ...
    @overload
    def __getitem__(self, row: slice) -> tuple[SampleExplanation, ...]: ...
    def __getitem__(self, row: int | slice) -> SampleExplanation | tuple[SampleExplanation, ...]:
        return self.samples[row]

    @property
    def title(self) -> str:
        """The epoch, step and ranks in words."""
        rank = f", rank {self.rank} of {self.world_size}" if self.world_size > 1 else ""
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"step {self.step} of epoch {self.epoch}{seed}{rank}, loaded by {self.worker}"

    def to_dict(self) -> dict[str, Any]:
        """Return all but the samples themselves as dicts, lists, numbers and strings, as `json.dumps` takes them.

        >>> BatchExplanation(0, 3, 7, 0, 1, "the consumer itself", ()).to_dict()["step"]
        3
        """
        names = ("epoch", "step", "seed", "rank", "world_size", "worker")
        samples = [each.to_dict() for each in self.samples]
        draws = [{"transform": each.transform, **each.drawn} for each in self.draws]
        return {name: getattr(self, name) for name in names} | {"samples": samples, "draws": draws}

    def __str__(self) -> str:
        from headrace.insight.table import as_text  # when it is shown

        table = as_text(self._table())
        if max(map(len, table.splitlines())) > _WIDEST:
            table = "\n".join(map(str, self.samples))
        return "\n".join([self.title, *(f"  {each}" for each in self.draws), table])

    def _repr_html_(self) -> str:
        from headrace.insight.pictures import pictures_of  # when it is shown
        from headrace.insight.table import as_html, paragraph

        pictures = pictures_of([each.sample for each in self.samples])
        lines = [self.title, *map(str, self.draws)]
        return "".join(map(paragraph, lines)) + as_html(self._table(), pictures)

    def _table(self) -> TextTable:
        from headrace.insight.table import TextTable

        rows = [(str(each.row), str(each.index), each.origin, each.story) for each in self.samples]
        return TextTable(("row", "sample", "comes from", "drawn"), rows, numbers=False)


def _plain(value: Any) -> Any:
    """Return a key as what JSON has."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value if isinstance(value, int | str | float | None) else getattr(value, "tolist", lambda: repr(value))()
