"""Padding: sequences of different lengths become one batch."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from headrace import frameworks, kernels
from headrace.batch.arena import empty
from headrace.batch.collate import Collation
from headrace.batch.ragged import Ragged
from headrace.errors import ArgumentError, ArgumentTypeError, MixedSamplesError
from headrace.frameworks import numpy
from headrace.kernels.sequence_checks import padded_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.frameworks import Adapter

__all__ = ["PadCollate", "pad_collate", "rules_of"]

Side: TypeAlias = Literal["right", "left"]
_NUMBERS = frozenset((int, float, bool))


class PadCollate:
    """Makes a batch of samples whose sequences differ in length: pass it as a loader's `collate_fn`.

    Arrays, tensors and lists of numbers with one dimension are sequences, and so are arrays of more dimensions whose
    first one differs from sample to sample. They are padded to the longest of the batch, and stay what they are:
    ndarrays, tensors of torch, boxed arrays. All else is collated as `default_collate` does it.

    Args:
        fields: padding values by field: a dict key, a name, or the position in a tuple. Those that are named are
            sequences whatever their dimensions.
        padding_value: that of all other fields.
        side: "right" puts the padding behind the sequence, "left" before it.
        pad_to_multiple_of: let the padded length be a multiple of this.
        max_length: cut longer sequences off behind so many items.
        return_lengths: add a field "lengths", int64, shape (n,): the items of the first sequence of each sample.
        mask: add a field "attention_mask", int64, shape (n, padded length): 1 for the items of the first sequence of
            each sample, 0 for padding.

    Raises:
        ArgumentError: a value is not allowed.
        ArgumentTypeError: fields is no mapping.

    Added fields stand under their names in a dict, else at the end of a tuple.

    >>> samples = [{"ids": [5, 6, 7], "labels": [0, 1, 1]}, {"ids": [8], "labels": [1]}]
    >>> PadCollate(fields={"labels": -100}, return_lengths=True)(samples)
    {'ids': array([[5, 6, 7],
           [8, 0, 0]]), 'labels': array([[   0,    1,    1],
           [   1, -100, -100]]), 'lengths': array([3, 1])}
    """

    def __init__(
        self,
        fields: Mapping[Any, Any] | None = None,
        *,
        padding_value: Any = 0,
        side: Side = "right",
        pad_to_multiple_of: int | None = None,
        max_length: int | None = None,
        return_lengths: bool = False,
        mask: bool = False,
    ) -> None:
        _check_fields(fields, side)
        _check_length("pad_to_multiple_of", pad_to_multiple_of)
        _check_length("max_length", max_length)
        self.fields = dict(fields or {})
        self.padding_value = padding_value
        self.side = side
        self.pad_to_multiple_of = pad_to_multiple_of or 1
        self.max_length = max_length
        self.return_lengths = return_lengths
        self.mask = mask
        self._fillers: dict[tuple[str, np.dtype[Any], tuple[int, ...]], NDArray[Any]] = {}  # found so far
        # The values by the paths of the fields, as a collation calls them.
        self._values = {path: value for name, value in self.fields.items() for path in (f"[{name!r}]", f".{name}")}

    def filler(self, value: Any, values: NDArray[Any], path: str) -> NDArray[Any]:
        """Return one item of padding for the values of a field.

        Raises:
            ArgumentError: their dtype cannot hold it.
        """
        known = path, values.dtype, values.shape[1:]
        if known not in self._fillers:
            self._fillers[known] = np.full(values.shape[1:], _fitting(value, values.dtype, path))
        return self._fillers[known]

    def __call__(self, samples: Sequence[Any]) -> Any:
        """Return the batch of the samples, at least one."""
        if len(samples) == 0:
            raise ArgumentError("PadCollate got no samples; a batch needs at least one")
        padding = _Padding(self, self._values, samples[0], range(len(samples)))
        batch = padding.field(list(samples), "")
        return padding.with_added(batch) if self.return_lengths or self.mask else batch

    def pad_ragged(self, batch: Any) -> Any:
        """Return the same of samples that were read as a batch: arrays, lists of texts, Ragged, or a dict of these.

        None where it would take the samples to tell what becomes of them.
        """
        padding = _Padding(self, self._values, None, ())
        fields = batch if type(batch) is dict else {None: batch}
        if not all(map(_tells_enough, fields.values())):
            return None
        padded = {name: padding.ragged(value, "" if name is None else f"[{name!r}]") for name, value in fields.items()}
        found = padded if type(batch) is dict else padded[None]
        return padding.with_added(found) if self.return_lengths or self.mask else found


class _Padding(Collation):
    """One call of a PadCollate."""

    def __init__(self, rules: PadCollate, values: dict[str, Any], sample: Any, indices: Sequence[int]) -> None:
        super().__init__(sample, indices)
        self._rules = rules
        names = getattr(sample, "_fields", ())  # of a namedtuple, whose fields are called by their positions
        named = {f"[{at}]": rules.fields[name] for at, name in enumerate(names) if name in rules.fields}
        self._values = values | named if named else values
        self._adds = rules.return_lengths or rules.mask
        self._of_array: tuple[Adapter, Any] = numpy, None  # the adapter, and a value, of the field being collated
        self._first: tuple[NDArray[np.int64], int, Adapter, Any] | None = None  # of the first sequence

    def field(self, values: list[Any], path: str) -> Any:
        first = values[0]
        if type(first) is dict:
            return self._mappings(values, path)
        if first.__class__ is list and _are_lists_of_numbers(values):
            return self._lists(values, path)
        adapter = frameworks.find(first) if hasattr(first, "dtype") else None
        return super().field(values, path) if adapter is None else self._arrays(adapter, values, path)

    def ragged(self, value: Any, path: str) -> Any:
        """Return the batch of a field that has been read as a whole."""
        self._of_array = numpy, None
        if type(value) is Ragged:
            return self._pad(value.values, value.lengths.tolist(), path)
        if type(value) is np.ndarray and value.ndim == 2:  # sequences that happen to be of one length
            return self._pad(value.reshape(-1), [value.shape[1]] * len(value), path)
        return value

    def _lists(self, values: list[list[Any]], path: str) -> NDArray[Any]:
        with suppress(struct.error):  # they are no integers, or large ones
            numbers = bytearray().join([struct.pack(f"{len(value)}q", *value) for value in values])
            return self._pad(np.frombuffer(numbers, np.int64), list(map(len, values)), path)
        return self._padded(list(map(np.asarray, values)), path)

    def _arrays(self, adapter: Adapter, values: list[Any], path: str) -> Any:
        self._of_array = adapter, values[0]
        padded = self._plain_arrays(adapter, values, path)
        if padded is not None:
            return adapter.from_numpy(padded, values[0])
        join_plain = getattr(adapter, "join_plain", None)
        joined = None if join_plain is None else join_plain(values)
        if joined is not None:
            end_to_end, items = joined
            return adapter.from_numpy(self._pad(end_to_end, items, path), values[0])
        if adapter.own_all(values) and all(map(adapter.rebuilds, set(map(type, values)))):
            known = list(map(adapter.to_numpy, values))
            arrays = [array for array in known if array is not None]
            if len(arrays) == len(known) and self._is_sequence(arrays, path):
                return adapter.from_numpy(self._padded(arrays, path), values[0])
        return super()._arrays(adapter, values, path)

    def _plain_arrays(self, adapter: Adapter, values: list[Any], path: str) -> NDArray[Any] | None:
        """Return the padded batch of arrays of one dimension and one dtype, from where they lie; None of others."""
        see_plain = getattr(adapter, "see_plain", None)
        seen = None if see_plain is None else see_plain(values)
        if seen is None:
            return None
        first, exchange = seen
        rules = self._rules
        fill = rules.filler(self._values.get(path, rules.padding_value), first, path)
        found = kernels.active().pad_arrays(
            values,
            fill,
            empty,
            most=rules.max_length,
            multiple=rules.pad_to_multiple_of,
            before=rules.side == "left",
            exchange=exchange,
        )
        if found is None:
            return None
        padded, lengths = found
        if self._first is None and self._adds:
            kept = lengths if rules.max_length is None else np.minimum(lengths, rules.max_length)
            self._first = (kept, padded.shape[1], *self._of_array)
        return padded

    def _stacked(self, adapter: Adapter, values: list[Any], path: str) -> Any:
        if len({tuple(value.shape) for value in values}) > 1:
            raise MixedSamplesError(
                f"field sample{path} of {type(values[0]).__name__}s cannot be padded, since NumPy does not "
                "see their memory; convert them with dataset.map(...)"
            )
        return super()._stacked(adapter, values, path)

    def _padded(self, arrays: list[NDArray[Any]], path: str) -> NDArray[Any]:
        if len({array.dtype for array in arrays}) > 1:
            self._common_dtype(arrays, path)  # or there is none
        try:
            values = np.ascontiguousarray(np.concatenate(arrays))  # which keeps the order of Fortran
        except ValueError:
            self._check_same(arrays, lambda array: array.shape[1:] if array.ndim else None, "shape", path)
            raise
        return self._pad(values, list(map(len, arrays)), path)

    def _is_sequence(self, arrays: list[NDArray[Any]], path: str) -> bool:
        if arrays[0].ndim < 2 or path in self._values:
            return arrays[0].ndim > 0
        return len({len(array) if array.ndim else -1 for array in arrays}) > 1

    def _pad(self, values: NDArray[Any], items: list[int], path: str) -> NDArray[Any]:
        """Return the padded batch of sequences that lie end to end, each of so many items."""
        rules = self._rules
        lengths = np.array(items, np.int64)
        width, most = padded_width(max(items), rules.max_length, rules.pad_to_multiple_of)
        if self._first is None and self._adds:
            self._first = (np.minimum(lengths, most), width, *self._of_array)
        fill = rules.filler(self._values.get(path, rules.padding_value), values, path)
        out = empty((len(lengths), width, *values.shape[1:]), values.dtype)
        kernels.active().pad(values, lengths, fill, out, most=most, before=rules.side == "left")
        return out

    def with_added(self, batch: Any) -> Any:
        """Return the batch with the lengths and the mask of the first sequence."""
        if self._first is None:
            raise ArgumentError("there is no sequence in the samples whose lengths, or mask, could be returned")
        lengths, width, adapter, like = self._first
        added: dict[str, Any] = {}
        if self._rules.return_lengths:
            added["lengths"] = adapter.from_numpy(lengths, like)
        if self._rules.mask:
            places = np.arange(width) if self._rules.side == "right" else np.arange(width)[::-1]
            mask = (places < lengths[:, np.newaxis]).astype(np.int64)
            added["attention_mask"] = adapter.from_numpy(mask, like)
        if isinstance(batch, Mapping):
            return {**batch, **added}
        return (*batch, *added.values()) if isinstance(batch, tuple) else (batch, *added.values())


def pad_collate(samples: Sequence[Any]) -> Any:
    """Make one batch of samples whose sequences differ in length, padded with zeros behind.

    It is a `PadCollate` with its defaults, to pass as a loader's `collate_fn`.

    Args:
        samples: the samples, at least one, all of one structure.

    Returns:
        A batch of the samples' structure.

    >>> pad_collate([np.array([1, 2, 3]), np.array([4])])
    array([[1, 2, 3],
           [4, 0, 0]])
    """
    return _PLAIN(samples)


def _check_fields(fields: object, side: object) -> None:
    if fields is not None and not isinstance(fields, Mapping):
        raise ArgumentTypeError(f"fields must be a dict of padding values by field, but got fields={fields!r}")
    if side not in ("right", "left"):
        raise ArgumentError(f"side must be 'right' or 'left', but got side={side!r}")


def _check_length(name: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
        raise ArgumentError(f"{name} must be a positive integer or None, but got {name}={value!r}")


def rules_of(collate_fn: object) -> PadCollate | None:
    """Return the PadCollate that a function is, or stands for; None for others."""
    if collate_fn is pad_collate:
        return _PLAIN
    return collate_fn if type(collate_fn) is PadCollate else None


def _tells_enough(value: object) -> bool:
    """Return whether padding has nothing to ask of the samples of a field that has been read as a whole."""
    if type(value) is np.ndarray:
        return value.ndim in (1, 2) and not value.dtype.hasobject
    return type(value) is Ragged or (type(value) is list and {str, bytes}.issuperset(map(type, value)))


def _are_lists_of_numbers(values: list[Any]) -> bool:
    return all(value.__class__ is list and (not value or type(value[0]) in _NUMBERS) for value in values)


def _fitting(value: Any, dtype: np.dtype[Any], path: str) -> NDArray[Any]:
    """Return a padding value as one of the dtype of the sequences."""
    with suppress(OverflowError, ValueError, TypeError):
        fitting = np.array(value, dtype)
        if dtype.kind not in "iub" or fitting == value:
            return fitting
    raise ArgumentError(
        f"field sample{path} is of {dtype}, which cannot hold the padding value {value!r}; convert the field with "
        "dataset.map(...), or give another value"
    )


_PLAIN = PadCollate()
