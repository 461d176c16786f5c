"""Compiling: a dataset's nodes become the plan by which it is read, once for each fetcher."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.capabilities import batch_function, capability
from headrace.batch.collate import join_numbers
from headrace.images.layout import is_own
from headrace.images.steps import begins_encoded, flat_steps
from headrace.insight.clock import StageClock
from headrace.pipeline.describe import describe
from headrace.pipeline.hints import mixed_node
from headrace.pipeline.layouts import are_apart, with_layouts
from headrace.pipeline.nodes import Cached, Concat, Map, Mixed, Node, Packing, Select, Source, Zip
from headrace.pipeline.read_parts import ConcatPlan, PartsPlan, ZipPlan
from headrace.pipeline.read_plan import Mapped, MapPlan, OwnMapPlan, PlanNode, SelectPlan, SourcePlan
from headrace.pipeline.reading import check_index, getter, read_each, read_many, read_readable
from headrace.pipeline.torch_datasets import is_torchs_own, made_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.read_plan import ReadCall

__all__ = ["ReadPlan", "compile_dataset"]


class ReadPlan:
    """Reads a dataset of any kind: samples, batches, and what else it has been found to be able to.

    Args:
        dataset: the dataset.
        node: its description.
        clock: times the stages of reading; None where nobody asks for that.

    Attributes:
        reads_batches: whether reading a batch is anything else than reading each sample.
        gets_batches: whether it makes batches that are not made of samples.
        reads_ragged: whether it may read sequences of different lengths end to end.
        reads_many: whether the dataset itself reads many samples at once, by `__getitems__`.
        collates_as_torch: whether its batches are what torch's `default_collate` makes of its samples, but for tuples,
            which are lists there.
    """

    def __init__(self, dataset: Any, node: Node, clock: StageClock | None = None) -> None:
        self._dataset = dataset
        self._node = node
        self._name = type(dataset).__name__
        self._clock = clock or StageClock()
        self._plan = _compile(node, (), [], self._clock)
        self._composed = not isinstance(self._plan, SourcePlan)
        self._getitems = capability(dataset, "__getitems__")
        self._made_of = list(_made_of(node))
        self._goes_on = mixed_node(node) is not None  # beyond its length
        self.reads_batches = self._plan.reads_batches
        self.gets_batches = self.reads_batches and (self._composed or capability(dataset, "get_batch") is not None)
        self.reads_ragged = self._plan.reads_ragged
        self.reads_many = self._getitems is not None
        self.collates_as_torch = self.reads_batches and _collates_as_torch(node)
        reads_itself = isinstance(self._plan, SourcePlan) and self._plan.dataset is dataset
        if reads_itself or is_torchs_own(dataset):  # which know more keys, such as lists of indices
            self.sample = getter(dataset)  # type: ignore[method-assign, assignment]

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # another process compiles its own

    def is_current(self) -> bool:
        """Return whether the dataset is still made of what it was when this was compiled."""
        for attributes, name, value in self._made_of:  # noqa: SIM110 - asked for each batch, and `all` takes longer
            if attributes[name] is not value:
                return False
        return True

    @property
    def may_change(self) -> bool:
        """Whether the dataset is made of others, or of functions, that may be replaced in the midst of an epoch."""
        return bool(self._made_of)

    def sample(self, index: Any) -> Any:
        """Read the sample at an index; negative ones count from the end."""
        if self._composed and not (self._goes_on and index >= 0):
            index = check_index(index, len(self._dataset))
        return self._plan.sample(index)

    def batch(self, indices: NDArray[np.int64]) -> Any:
        """Read the batch of the samples at the indices, shape (n,), int64; numbers beside tensors are tensors."""
        return join_numbers(self._plan.batch(indices))

    def ragged(self, indices: NDArray[np.int64]) -> Any:
        """Read the same with sequences of different lengths end to end, as Ragged; None where samples must be read."""
        return self._plan.ragged(indices)

    def samples(self, indices: Sequence[Any] | NDArray[np.int64], *, singly: bool = False) -> list[Any]:
        """Read the samples at the indices, each with its own randomness.

        Args:
            indices: the samples' indices, or other keys that the dataset knows.
            singly: read one sample at a time, also where the dataset offers `__getitems__`.

        Raises:
            Exception: what the dataset raised, with a note that names the index.
            UnexpectedStopIterationError: the dataset raised StopIteration, which would end the loop
                around the loader silently.
        """
        keys = indices.tolist() if isinstance(indices, np.ndarray) else indices
        many = None if singly or self._getitems is None else read_many(self._getitems, keys, self._name)
        return read_each(self.sample, keys, self._name, self._clock) if many is None else many

    def readable(self, indices: Sequence[Any] | NDArray[np.int64]) -> tuple[dict[int, Any], dict[int, Exception]]:
        """Read the samples at the indices that can be read, and note the errors of the others; see read_readable."""
        keys = indices.tolist() if isinstance(indices, np.ndarray) else indices
        return read_readable(self.sample, keys, self._name, self._clock)

    def calls(self, indices: NDArray[np.int64], *, at_once: bool) -> Iterator[ReadCall]:
        """Return the calls of datasets that reading samples makes, which read nothing yet.

        Args:
            indices: of the samples, shape (n,), int64.
            at_once: as `batch` and `ragged` read them, else as `samples`.
        """
        if at_once:
            return self._plan.batch_calls(indices)
        if self._getitems is not None and not self._composed:
            return self._plan.samples_calls(indices)
        return chain.from_iterable(map(self._plan.sample_calls, indices.tolist()))

    @property
    def releases_gil(self) -> bool:
        """Whether batches of the dataset can be read in several threads at the same time.

        A dataset says so in a method `releases_gil()`. One that does not is taken to hold the global
        interpreter lock (GIL), as Python code does.
        """
        return _releases_gil(self._node, self.reads_batches)

    @property
    def reads_together(self) -> bool:
        """Whether several batches of the dataset may be read as one, since a sample is the same in any batch.

        A dataset says so in a method `reads_together()`. It should say so only where that is quick, as it is for
        rows in memory, and where nothing is counted.
        """
        return self.reads_batches and _reads_together(self._node)


def compile_dataset(dataset: Any, clock: StageClock | None = None) -> ReadPlan:
    """Return the plan by which any object with `__len__` and `__getitem__` is read.

    Args:
        dataset: the object.
        clock: times the stages of reading; None where nobody asks for that.
    """
    return ReadPlan(dataset, describe(dataset), clock)


def _made_of(node: Node) -> list[tuple[dict[str, Any], str, Any]]:
    """Return what the plan of a node takes for granted: attributes of datasets, and their values."""
    found: list[tuple[dict[str, Any], str, Any]] = []
    waiting: list[Node] = [node]
    while waiting:
        each = waiting.pop()
        dataset, names = made_of(each.dataset)
        found += [(vars(dataset), name, vars(dataset)[name]) for name in names]
        if isinstance(each, Source | Cached):
            continue
        waiting += each.inputs if isinstance(each, Concat | Mixed | Zip) else [each.input]
    return found


# ---------------------------------------------------------------------- from nodes to plans


def _compile(node: Node, slots: tuple[int, ...], above: list[Mapped], clock: StageClock) -> PlanNode:
    """Return the plan of a node.

    Args:
        node: the node.
        slots: where it draws, one slot in the other.
        above: functions that are applied to its samples.
        clock: times the stages of reading.
    """
    steps, selected = [], []
    while isinstance(node, Map | Select):
        if isinstance(node, Map):
            steps.append(Mapped((*slots, *node.slots), node.fn, node.field, not node.slots))
            slots = slots if node.input_slot is None else (*slots, node.input_slot)
        else:
            selected.append(node.indices)
        node = node.input
    plan = _apply(node, slots, [*with_layouts(node, steps[::-1]), *above], clock)
    return SelectPlan(plan, selected) if selected else plan


def _apply(
    node: Source | Concat | Mixed | Zip | Packing | Cached,
    slots: tuple[int, ...],
    steps: list[Mapped],
    clock: StageClock,
) -> PlanNode:
    """Return the plan of functions applied to what no function or selection is the top of."""
    if isinstance(node, Concat | Mixed):
        return _apply_to_parts(node, slots, steps, clock)
    if isinstance(node, Zip):
        inputs = [_compile(each, (*slots, number), [], clock) for number, each in enumerate(node.inputs)]
        return _group(ZipPlan(type(node.dataset).__name__, inputs, node.names), steps)
    if isinstance(node, Packing):
        rows = _compile(node.input, slots, [], clock)
        from headrace.pipeline.packed import PackedPlan  # what few datasets need, as below

        packed = PackedPlan(type(node.dataset).__name__, rows, node.table, node.style)
        return _group(packed, steps)
    draws = not isinstance(node, Source) or node.draws
    return _group(SourcePlan(node.dataset, slots if draws else (), clock), steps)


def _apply_to_parts(node: Concat | Mixed, slots: tuple[int, ...], steps: list[Mapped], clock: StageClock) -> PlanNode:
    name = type(node.dataset).__name__

    def concat(inner: list[Mapped]) -> ConcatPlan:
        inputs = [
            _compile(each, _slots_of(node, slots, number), inner, clock) for number, each in enumerate(node.inputs)
        ]
        return ConcatPlan(name, inputs, node)

    if not steps:
        return concat([])
    together = _decode_together(node, slots, steps, clock)
    return PartsPlan(concat(steps), lambda: MapPlan(concat([]), steps)) if together is None else together


def _slots_of(node: Concat | Mixed, slots: tuple[int, ...], number: int) -> tuple[int, ...]:
    """Return where one of several datasets draws."""
    return slots if isinstance(node, Concat) and not node.has_slots else (*slots, number)


def _decode_together(
    node: Concat | Mixed, slots: tuple[int, ...], steps: list[Mapped], clock: StageClock
) -> PlanNode | None:
    """Return the plan of datasets end to end whose images are decoded alike, in one pass; None if they are not."""
    field, functions, files = _decoded_alike(node) or (None, [], list(node.inputs))
    own = [Mapped(slots, function, field) for function in functions]
    if not any(begins_encoded([step.step]) for step in (*own, *steps)):
        return None
    inputs = [_compile(each, _slots_of(node, slots, number), [], clock) for number, each in enumerate(files)]
    plan = _group(ConcatPlan(type(node.dataset).__name__, inputs, node), [*own, *steps])
    return plan if plan.decodes else None


def _decoded_alike(node: Concat | Mixed) -> tuple[int | str | None, list[Any], list[Node]] | None:
    """Return how the images of all datasets are decoded, if that is alike and all that is done to them.

    Returns:
        Their field, the functions that decode them, and the datasets of what is decoded.
    """
    parts = [_decoded(each) for each in node.inputs]
    first = parts[0]
    if first is None:
        return None
    known = [vars(function) for function in first[1]]
    files = []
    for each in parts:
        if each is None or each[0] != first[0] or [vars(function) for function in each[1]] != known:
            return None
        files.append(each[2])
    return first[0], first[1], files


def _decoded(node: Node) -> tuple[int | str | None, list[Any], Node] | None:
    """Return the field that is decoded, by which functions, and what is decoded, if nothing else is done."""
    selects: list[Select] = []
    functions: list[Any] = []
    fields: set[int | str | None] = set()
    while isinstance(node, Map | Select):
        if isinstance(node, Select):
            selects.append(node)
        elif capability(node.fn, "decodes_to") is not None and node.input_slot is None:
            functions.append(node.fn)
            fields.add(node.field)
        else:
            return None
        node = node.input
    if len(fields) != 1:
        return None
    for select in reversed(selects):
        node = Select(select.dataset, node, select.indices)
    return fields.pop(), functions[::-1], node


def _group(plan: PlanNode, steps: list[Mapped]) -> PlanNode:
    """Return the plan of functions applied to another plan's samples, as many of them as can be in one pass.

    The last function that begins with a Decode begins a pass over encoded images, of all functions of its field behind
    it; those of other fields are applied before. A function that may see the images otherwise ends the pass.
    """
    if not steps:
        return plan
    begins = [begins_encoded([step.step]) for step in steps]
    if steps[0].is_own and not begins[0]:
        return _group(OwnMapPlan(plan, steps[:1]), steps[1:])
    if any(begins):
        for stop in range(len(steps), 0, -1):
            at = _last_decode(steps[:stop], begins)
            if at is not None:
                decoded = _decode(plan, steps[:stop], at)
                return MapPlan(decoded, steps[stop:]) if stop < len(steps) else decoded
    if isinstance(plan, SourcePlan) and plan.open_rows is not None:
        for stop in range(len(steps), 0, -1):
            field = _pass_field(steps[:stop])
            if field is not None:
                from headrace.pipeline.image_plans import RowsPlan  # what few datasets need, as below

                rows = RowsPlan(plan, steps[:stop], field[0])
                return MapPlan(rows, steps[stop:]) if stop < len(steps) else rows
    return MapPlan(plan, steps)


def _last_decode(steps: list[Mapped], begins: list[bool]) -> int | None:
    """Return which of the functions begins a pass that goes on to the last of them, if one does."""
    for at in range(len(steps) - 1, -1, -1):
        if begins[at]:
            field = steps[at].field
            together = all(each.field == field or are_apart(each.field, field) for each in steps[at + 1 :])
            return at if together else None
    return None


def _decode(plan: PlanNode, steps: list[Mapped], at: int) -> PlanNode:
    from headrace.pipeline.image_plans import EncodedPlan

    field = steps[at].field
    behind = steps[at + 1 :]
    others = [step for step in behind if step.field != field]
    own = [steps[at].step, *(step.step for step in behind if step.field == field)]
    return EncodedPlan(_group(plan, [*steps[:at], *others]), field, own)


def _pass_field(steps: list[Mapped]) -> tuple[int | str | None] | None:
    """Return the field of images whose functions can be one pass, if those of other fields don't touch it."""
    if any(batch_function(step.function) is None for step in steps):
        return None
    for field in dict.fromkeys(step.field for step in reversed(steps)):
        own = [step.step for step in steps if step.field == field]
        apart = all(step.field == field or are_apart(step.field, field) for step in steps)
        first = next(flat_steps(own), None)
        if apart and first is not None and _may_be_written(first[1]):
            return (field,)
    return None


def _may_be_written(function: Any) -> bool:
    return capability(function, "lower") is not None


# ---------------------------------------------------------------------- what a tree can do


def _releases_gil(node: Node, whole: bool) -> bool:  # noqa: FBT001 - handed down
    says = capability(node.dataset, "releases_gil")
    if says is not None:
        return bool(says())
    match node:
        case Map():
            return whole and bool(getattr(node.fn, "releases_gil", False)) and _releases_gil(node.input, whole)
        case Select():
            return _releases_gil(node.input, whole)
        case Concat() | Mixed() | Zip():
            return all(_releases_gil(each, whole) for each in node.inputs)
    return False


def _collates_as_torch(node: Node) -> bool:
    match node:
        case Select():
            return _collates_as_torch(node.input)
        case Concat() | Mixed():
            return all(map(_collates_as_torch, node.inputs))
        case Source():
            says = capability(node.dataset, "collates_as_torch")
            return says is not None and bool(says())
    return False


def _reads_together(node: Node) -> bool:
    match node:
        case Map():
            steps = flat_steps([((), node.fn)])
            ours = all(is_own(step) and batch_function(step) is not None for _, step in steps)
            return ours and _reads_together(node.input)
        case Select():
            return _reads_together(node.input)
        case Concat() | Mixed() | Zip():
            return all(map(_reads_together, node.inputs))
    says = capability(node.dataset, "reads_together")
    return says is not None and bool(says())
