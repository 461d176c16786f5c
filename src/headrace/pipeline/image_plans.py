"""Plans of images, whose chains of transforms are done in one pass: imported where a dataset has such a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.batch.collate import default_collate
from headrace.batch.tree import count_bytes, get_field, replace_field
from headrace.images.encoded import become_one_size, make_batch, make_sample
from headrace.images.fuse import ProgramWriter, apply_to_rows
from headrace.insight.columns import DECODE, READ, TRANSFORM
from headrace.pipeline.read_plan import MapPlan, PlanNode, batch_chain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from headrace.images.layout import Step
    from headrace.pipeline.read_plan import Mapped, ReadCall, Rows, SourcePlan

__all__ = ["EncodedPlan", "RowsPlan"]


class RowsPlan(MapPlan):
    """Does functions on images that lie in an array in one pass, which need not be gathered first.

    Where the rows are not to be had, or nothing is won, functions are applied one after the other.

    Args:
        input: the dataset of the rows.
        steps: all functions, each of which works on batches.
        field: the field whose functions are one pass; those of other fields have nothing to do with it.
    """

    def __init__(self, input: SourcePlan, steps: Sequence[Mapped], field: int | str | None) -> None:  # noqa: A002
        super().__init__(input, steps)
        self._open_rows = input.open_rows
        self._field = field
        self._steps = [step.step for step in steps if step.field == field]
        self._layout = next(step.layout for step in steps if step.field == field)
        self._others = batch_chain([step for step in steps if step.field != field])
        self._writer = ProgramWriter()

    def batch(self, indices: NDArray[np.int64]) -> Any:
        rows: Rows | None = None if self._open_rows is None else self._open_rows(indices, self._field)
        if rows is not None:
            self.clock.lap(READ)
            value = apply_to_rows(rows.array, rows.rows, self._steps, rows.wrap, self._writer, self._layout)
            if value is not None:
                batch = rows.complete(value)
                batch = batch if self._others is None else self._others(batch)
                self.clock.lap(TRANSFORM)
                return batch
        return super().batch(indices)


class EncodedPlan(PlanNode):
    """Decodes images, and does what follows on the same field, in one pass; a sample goes the same way.

    Args:
        input: reads samples with encoded images in the field.
        field: the field.
        steps: the functions of the field, the first of them a Decode.
    """

    def __init__(self, input: PlanNode, field: int | str | None, steps: Sequence[Step]) -> None:  # noqa: A002
        self.name, self.clock = input.name, input.clock
        self._input = input
        self._field = field
        self._steps = list(steps)
        self.reads_batches = self.decodes = become_one_size(self._steps)

    def sample(self, index: Any) -> Any:
        sample, clock = self._input.sample(index), self.clock
        file = get_field(sample, self._field)
        if clock.fine:
            clock.lap(READ)
        try:
            image = make_sample(file, self._steps)
        except Exception as error:
            self._input.annotate(error, index)
            raise
        if clock.fine:
            clock.lap(DECODE)
        return replace_field(sample, self._field, image)

    def batch(self, indices: NDArray[np.int64]) -> Any:
        if not self.reads_batches:
            return self.collated(indices)
        files, batch = self._read(indices)
        self.clock.lap(READ, count_bytes(files))
        images = make_batch(files, self._steps, lambda error, row: self._input.annotate(error, int(indices[row])))
        self.clock.lap(DECODE, count_bytes(images))
        return self.collated(indices) if images is None else replace_field(batch, self._field, images)

    def sample_calls(self, index: int) -> Iterator[ReadCall]:
        return self._input.sample_calls(index)

    def batch_calls(self, indices: NDArray[np.int64]) -> Iterator[ReadCall]:
        if not self.reads_batches:
            return self.samples_calls(indices)
        at_once = self._input.reads_batches
        return self._input.batch_calls(indices) if at_once else self._input.samples_calls(indices)

    def annotate(self, error: Exception, index: int) -> None:
        self._input.annotate(error, index)

    def _read(self, indices: NDArray[np.int64]) -> tuple[list[Any], Any]:
        """Read the encoded images, and a batch in which something else may stand in their place."""
        if self._input.reads_batches:
            batch = self._input.batch(indices)
            return list(get_field(batch, self._field)), batch
        samples = self._input.samples(indices)
        files = [get_field(sample, self._field) for sample in samples]
        return files, default_collate([replace_field(sample, self._field, b"") for sample in samples], indices)
