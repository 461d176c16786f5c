"""Functions that make batches of samples, passed by users, of which it is known what they would make."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from headrace import frameworks
from headrace.batch.collate import default_collate
from headrace.batch.pad import rules_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from headrace.batch.pad import PadCollate
    from headrace.pipeline.compile import ReadPlan

__all__ = ["batch_as_collated"]


def batch_as_collated(
    plan: ReadPlan, collate_fn: Callable[[Any], Any] | None
) -> Callable[[NDArray[np.int64]], Any] | None:
    """Return what reads a batch at once that is the same as a function makes of its samples.

    Args:
        plan: reads the dataset.
        collate_fn: the function; None for headrace's own way.

    Returns:
        A function of the samples' indices; None where the samples must be read and given to `collate_fn`. That of
        torch is known for plain tensors, of which it makes tensors as headrace does, but a list where samples are
        tuples.
    """
    rules = rules_of(collate_fn) if plan.reads_ragged else None
    if rules is not None:
        return partial(_read_padded, plan, rules)
    if not plan.reads_batches:
        return None
    if collate_fn is None or collate_fn is default_collate:
        return plan.batch
    if not (plan.collates_as_torch and frameworks.is_torch_collate(collate_fn)):
        return None

    def read(indices: NDArray[np.int64]) -> Any:
        batch = plan.batch(indices)
        return list(batch) if type(batch) is tuple else batch

    return read


def _read_padded(plan: ReadPlan, rules: PadCollate, indices: NDArray[np.int64]) -> Any:
    """Return the padded batch of sequences that are read end to end, where they can be."""
    ragged = plan.ragged(indices)
    padded = None if ragged is None else rules.pad_ragged(ragged)
    return rules(plan.samples(indices)) if padded is None else padded
