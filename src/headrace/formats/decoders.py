"""Functions that decode single fields of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.batch.capabilities import batch_function
from headrace.batch.collate import default_collate
from headrace.errors import ArgumentTypeError
from headrace.errors.notes import add_note
from headrace.images.layout import layout_after
from headrace.rng.places import each_sample, slot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FieldDecoders", "check_fields"]


class FieldDecoders:
    """Functions that decode some fields of a sample; the others stay as they are.

    Args:
        functions: by the name of the field; None for none.

    Attributes:
        functions: by the name of the field.

    Raises:
        ArgumentTypeError: it is something else.
    """

    def __init__(self, functions: Mapping[str, Callable[[Any], Any]] | None) -> None:
        given: Any = {} if functions is None else functions
        if not hasattr(given, "keys") or not all(map(callable, given.values())):
            raise ArgumentTypeError(
                f"decode must be a dict of functions by field, such as {{'cls': int}}, but got {functions!r}"
            )
        self.functions: dict[str, Callable[[Any], Any]] = dict(given)

    def releases_gil(self) -> bool:
        """Return whether all of them work in several threads at the same time."""
        return all(getattr(function, "releases_gil", False) for function in self.functions.values())

    def image_layout(self, field: int | str | None) -> str | None:
        """Return where the channels of the images in a field are, if its function says so."""
        function = self.functions.get(field) if isinstance(field, str) else None
        return None if function is None else layout_after(function, None)

    def sample(self, sample: dict[str, Any], where: Callable[[], str]) -> dict[str, Any]:
        """Return a sample with its fields decoded.

        Args:
            sample: its fields by name.
            where: which sample it is, for the texts of errors.
        """
        decoded = {}
        for place, (name, value) in enumerate(sample.items()):
            with slot(place):
                decoded[name] = self._one(name, value, where)
        return decoded

    def samples(
        self, columns: dict[str, Any], indices: NDArray[np.int64], where: Callable[[int], str]
    ) -> list[dict[str, Any]]:
        """Return some samples with their fields decoded; for the arguments see `batch`."""
        samples = []
        with each_sample(len(indices)) as move_to:
            for place, index in enumerate(indices.tolist()):
                move_to(place)
                sample = {name: values[place] for name, values in columns.items()}
                samples.append(self.sample(sample, lambda index=index: where(index)))  # type: ignore[misc]
        return samples

    def batch(self, columns: dict[str, Any], indices: NDArray[np.int64], where: Callable[[int], str]) -> dict[str, Any]:
        """Return the batch of some samples.

        Args:
            columns: what they have in each field, as a list, or as the array that is a batch of it.
            indices: of the samples, shape (n,), int64.
            where: which sample one of the indices is, for the texts of errors.
        """
        batch = {}
        for place, (name, values) in enumerate(columns.items()):
            with slot(place):
                batch[name] = self._all(name, values, indices, where) if name in self.functions else values
        return batch

    def _one(self, name: str, value: Any, where: Callable[[], str]) -> Any:
        if name not in self.functions:
            return value
        try:
            return self.functions[name](value)
        except Exception as error:
            add_note(error, f"while decoding {name!r} of {where()}")
            raise

    def _all(self, name: str, values: Sequence[Any], indices: NDArray[np.int64], where: Callable[[int], str]) -> Any:
        whole = batch_function(self.functions[name])
        if whole is not None:
            return whole(values)
        decoded = []
        with each_sample(len(values)) as move_to:
            for place, (value, index) in enumerate(zip(values, indices.tolist(), strict=True)):
                move_to(place)
                decoded.append(self._one(name, value, lambda index=index: where(index)))  # type: ignore[misc]
        return default_collate(decoded, indices)


def check_fields(fields: Any) -> list[str]:
    """Return the names of fields.

    Raises:
        ArgumentTypeError: it is something else.
    """
    if isinstance(fields, str) or not all(isinstance(name, str) for name in fields):
        raise ArgumentTypeError(f"fields must be a list of names, such as ['jpg', 'cls'], but got {fields!r}")
    return list(fields)
