"""Reading rows that several sequences share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch import tree as structure
from headrace.batch.packed import IGNORED, STYLES, PackedRows
from headrace.batch.ragged import Ragged, find_token_field
from headrace.errors import ArgumentError, DatasetChangedError
from headrace.insight.columns import COLLATE, READ
from headrace.pipeline.read_plan import PlanNode
from headrace.rng.places import below

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.read_plan import ReadCall
    from headrace.sampling.packing import RowTable

__all__ = ["PackedPlan", "PackedStyle", "sequence_of"]

# Fields of the unpacked sequences that rows have in another way, or do not need.
_LEFT_OUT = frozenset(("attention_mask", "position_ids", "token_type_ids", "special_tokens_mask", "length"))
_OF_TOKENS = frozenset(("labels", "loss_mask"))  # have one number for each token
_INT64 = np.dtype(np.int64)


@dataclass(frozen=True)
class PackedStyle:
    """The form of packed rows.

    Attributes:
        length: items a row.
        name: of the fields; one of STYLES.
        bos: the token that is put before each sequence; None for none.
        padding: the token that fills rows up.
        field: the field of a sample that has its tokens; None to find it.
    """

    length: int
    name: str
    bos: int | None
    padding: int
    field: int | str | None

    @property
    def change(self) -> int:
        """By how many items a sequence takes more than it has: one for `bos`, one less where labels run ahead."""
        return (self.bos is not None) - STYLES[self.name].ahead


class PackedPlan(PlanNode):
    """Reads rows that several sequences share.

    Args:
        name: of the class that packs.
        input: reads the sequences.
        table: which of them each row has.
        style: the form of the rows.
    """

    reads_batches = True

    def __init__(self, name: str, input: PlanNode, table: RowTable, style: PackedStyle) -> None:  # noqa: A002
        self.name, self.clock = name, input.clock
        self._input = input
        self._table = table
        self._style = style
        self._most = table.most

    def sample(self, index: Any) -> Any:
        return structure.map_fields(lambda field: field[0], self.batch(np.array([index], np.int64)))

    def batch(self, indices: NDArray[np.int64]) -> Any:
        table, length = self._table, self._style.length
        pieces = table.pieces(indices)
        sequences, which = np.unique(table.sequences[pieces].astype(np.int64), return_inverse=True)
        with below(sequences):
            values, sizes, wrap = self._ragged(sequences) or self._joined(self._input.samples(sequences), sequences)
        self.clock.lap(READ)
        lengths = table.lengths[pieces].astype(np.int64)
        starts = np.zeros(len(pieces), np.int64) if table.starts is None else table.starts[pieces].astype(np.int64)
        _check_sizes(starts + lengths + STYLES[self._style.name].ahead, sizes[which], sequences[which])
        packed = PackedRows(
            rows=len(indices),
            length=length,
            values=values,
            tokens=next(iter(values)),
            starts=starts + (np.cumsum(sizes) - sizes)[which],
            lengths=lengths,
            places=_places(lengths, table.counts(indices), length),
            padding=self._style.padding,
            most=self._most,
        )
        rows = structure.map_fields(wrap, STYLES[self._style.name].make(packed))
        self.clock.lap(COLLATE)
        return rows

    def sample_calls(self, index: int) -> Iterator[ReadCall]:
        return self.batch_calls(np.array([index]))

    def batch_calls(self, indices: NDArray[np.int64]) -> Iterator[ReadCall]:
        sequences = np.unique(self._table.sequences[self._table.pieces(indices)].astype(np.int64))
        at_once = self._input.reads_ragged and self._style.bos is None
        return self._input.batch_calls(sequences) if at_once else self._input.samples_calls(sequences)

    def _ragged(self, sequences: NDArray[np.int64]) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64], Any] | None:
        """Return the same as `_joined` of what is read end to end; None where samples must be read."""
        found = self._input.ragged(sequences) if self._input.reads_ragged and self._style.bos is None else None
        if type(found) is Ragged and self._style.field is None:
            found = {"tokens": found}
        if type(found) is not dict:
            return None
        fields = _fields_of(found, self._style.field)
        tokens = next(iter(fields.values()))
        if not all(
            type(field) is Ragged and np.array_equal(field.lengths, tokens.lengths) for field in fields.values()
        ):
            return None
        values = {name: field.values for name, field in fields.items()}
        for name in [next(iter(values)), *values.keys() & {"labels"}]:
            _check_tokens(name, values[name])
            values[name] = values[name].astype(np.int64, copy=False)
        return values, tokens.lengths, _unchanged

    def _joined(
        self, samples: Sequence[Any], sequences: NDArray[np.int64]
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64], Any]:
        """Return the fields of samples end to end, tokens first, the length of each sample, and what wraps results."""
        columns = [_fields_of(sample, self._style.field) for sample in samples]
        names = list(columns[0])
        for column, number in zip(columns, sequences.tolist(), strict=True):
            _check_fields(column, names, number)
        like = columns[0][names[0]]
        adapter = frameworks.find(like)
        values: dict[str, NDArray[Any]] = {}
        sizes = np.array([len(column[names[0]]) for column in columns], np.int64)
        bos = self._style.bos
        for at, name in enumerate(names):
            arrays = [_array(column[name], name) for column in columns]
            _check_items(name, arrays, sequences, flat=at == 0 or name in _OF_TOKENS)
            wide = at == 0 or name == "labels"
            if wide:
                arrays = [_tokens(name, array) for array in arrays]
            first = None if bos is None else bos if at == 0 else IGNORED if name == "labels" else 0
            values[name] = _end_to_end(arrays, first, wide=wide)
        wrap = _unchanged if adapter is None else lambda array: adapter.from_numpy(array, like)
        return values, sizes + (bos is not None), wrap


def sequence_of(sample: Any, field: int | str | None) -> Any:
    """Return the tokens of a sample: the sample itself, or a field of it.

    Args:
        sample: a sequence, or a dict, tuple or dataclass of fields.
        field: which of them; None for "input_ids", "tokens", or the only field.

    Raises:
        ArgumentError: there is no such field, or no telling which.
    """
    return (
        sample if _is_sequence(sample) and field is None else structure.get_field(sample, _token_field(sample, field))
    )


def _token_field(sample: Any, field: int | str | None) -> int | str:
    if field is not None:
        return field
    names: list[int | str] = (
        list(sample) if isinstance(sample, Mapping) else [key for key, _ in structure.children(sample) or ()]
    )
    found = find_token_field(names)
    if found is None:
        raise ArgumentError(
            f"a sample is a {type(sample).__name__} with fields {names}, none of which is called 'input_ids' or "
            "'tokens'; say which has the tokens with field="
        )
    return found


def _is_sequence(sample: Any) -> bool:
    if isinstance(sample, list):
        return not sample or isinstance(sample[0], int | float)
    return frameworks.find(sample) is not None


def _fields_of(sample: Any, field: int | str | None) -> dict[str, Any]:
    """Return the sequences of a sample by name, tokens first."""
    if field is None and _is_sequence(sample):
        return {"tokens": sample}
    tokens = _token_field(sample, field)
    found = {str(tokens): structure.get_field(sample, tokens)}
    if isinstance(sample, Mapping):
        found |= {str(name): value for name, value in sample.items() if name != tokens and name not in _LEFT_OUT}
    return found


def _check_fields(column: dict[str, Any], names: list[str], number: int) -> None:
    if list(column) != names:
        raise ArgumentError(
            f"sequences differ in their fields: sequence {number} has {list(column)}, others have {names}; give all "
            "the same with dataset.map(...)"
        )
    size = len(column[names[0]])
    for name in names[1:]:
        if isinstance(column[name], str | bytes) or not hasattr(column[name], "__len__") or len(column[name]) != size:
            raise ArgumentError(
                f"field {name!r} of sequence {number} is {column[name]!r:.60}, but a field beside {size} tokens must "
                "be a sequence of as many items; leave it out with dataset.map(...)"
            )


def _check_items(name: str, arrays: list[NDArray[Any]], sequences: NDArray[np.int64], *, flat: bool) -> None:
    """Raise if the items of a field have not one shape in all sequences, or are no numbers where they are to be."""
    shape = () if flat else arrays[0].shape[1:]
    for array, number in zip(arrays, sequences.tolist(), strict=True):
        if array.shape[1:] != shape:
            items = "one number for each token" if flat else f"items of shape {shape}, as in sequence {sequences[0]}"
            raise ArgumentError(
                f"field {name!r} of sequence {number} has shape {array.shape}, but it must have {items}; convert it "
                "with dataset.map(...)"
            )


def _check_tokens(name: str, values: NDArray[Any]) -> None:
    """Raise unless values are integers that an int64 holds, as tokens and their labels are."""
    if values.dtype.kind not in "iub":
        raise ArgumentError(
            f"field {name!r} has values of {values.dtype}, but tokens and their labels must be integers; convert it "
            "with dataset.map(...), or say with field= which has the tokens"
        )
    if values.dtype == np.uint64 and values.size and int(values.max()) >= 2**63:
        raise ArgumentError(
            f"field {name!r} has a value {values.max()}, but tokens and their labels must be integers below 2**63; "
            "convert it with dataset.map(...)"
        )


def _tokens(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of tokens, or of their labels: an empty list has no dtype of its own."""
    if not array.size:
        return array.astype(_INT64)
    _check_tokens(name, array)
    return array


def _check_sizes(needed: NDArray[np.int64], sizes: NDArray[np.int64], sequences: NDArray[np.int64]) -> None:
    wrong = needed > sizes
    if wrong.any():
        at = int(wrong.argmax())
        raise DatasetChangedError(
            f"sequence {sequences[at]} has {sizes[at]} items, but had at least {needed[at]} when the rows were packed; "
            "pack the dataset anew, and draw no random lengths below pack_sequences"
        )


def _array(value: Any, name: str) -> NDArray[Any]:
    adapter = frameworks.find(value)
    array = None if adapter is None else adapter.to_numpy(value)
    if array is not None:
        return array
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ArgumentError(
            f"field {name!r} has {value!r:.60}, which is no array ({error}); convert it with dataset.map(...)"
        ) from error


def _end_to_end(arrays: list[NDArray[Any]], first: int | None, *, wide: bool) -> NDArray[Any]:
    """Return arrays end to end, each with an item before it, if one is given; as int64 if they are to be wide."""
    dtype = _INT64 if wide else np.result_type(*arrays)
    if first is not None:
        before = np.full((1, *arrays[0].shape[1:]), first, dtype)
        arrays = [each for array in arrays for each in (before, array)]
    casting: Any = "unsafe" if wide and arrays[-1].dtype == np.uint64 else "same_kind"
    return np.ascontiguousarray(np.concatenate(arrays, dtype=dtype, casting=casting))  # not in the order of Fortran


def _places(lengths: NDArray[np.int64], counts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return where pieces go, each behind the one before it in its row, rows one after the other."""
    begins = np.cumsum(lengths) - lengths
    firsts = begins[np.cumsum(counts) - counts]
    places: NDArray[np.int64] = begins + np.repeat(np.arange(len(counts)) * length - firsts, counts)
    return places


def _unchanged(array: Any) -> Any:
    return array
