"""Features of the records of a TFRecord file, noted when its index is built, so that no single record decides."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.errors import CorruptDataError, StorageError
from headrace.formats.index import are_bounds
from headrace.formats.tfrecord.example import BYTES, FLOATS, INTEGERS, Feature
from headrace.kernels.scans import FeatureScan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.formats.index import Tables

__all__ = ["FeatureNotes"]
__all__ += ["SUMMARY", "Summary", "fit"]

_NOTED = np.dtype([(name, "<i8") for name in ("section", "kinds", "records", "least", "most")])
# The tables of an index that tell of features.
SUMMARY = {
    "features": _NOTED,
    "feature_names": np.dtype(np.uint8),
    "feature_bounds": np.dtype(np.int64),
    "examples": np.dtype(np.int64),
}
_OF_RECORD, _OF_STEPS = 1, 2
_WORDS = {BYTES: "bytes", FLOATS: "floats", INTEGERS: "integers"}
_MOST_DAMAGED = 100  # one record in so many may be damaged


class FeatureNotes:
    """Notes the features of records while a file is gone through."""

    def __init__(self) -> None:
        self._scan = FeatureScan()
        self._failed = 0
        self._is_over = False

    def add(self, data: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Note the features of records that lie in the data; records that are no Examples are only counted."""
        start = 0
        while start < len(offsets) and not self._is_over:
            ended = kernels.active().note_features(data, offsets[start:], lengths[start:], self._scan)
            if ended == -1:
                return
            start += ended + 1
            self._scan.records += 1
            self._failed += 1
            # Of a damaged file some, of a file of something else the first ones.
            self._is_over = ended < 0 or self._failed > 1 + self._scan.records // _MOST_DAMAGED

    def tables(self) -> Tables:
        """Return the tables of the summary, for an index."""
        scan = self._scan
        are_examples = not self._is_over and (not scan.records or self._failed < scan.records)
        count = scan.names if are_examples else 0
        noted = np.empty(count, _NOTED)
        for place, name in enumerate(_NOTED.names or ()):
            noted[name] = scan.table[:count, place]
        np.minimum(noted["least"], noted["most"], out=noted["least"])  # of steps that no record has
        return {
            "features": noted,
            "feature_names": scan.text[: scan.bounds[count]].copy(),
            "feature_bounds": scan.bounds[: count + 1].copy(),
            "examples": np.array([scan.records if are_examples else 0]),
        }


def fit(tables: Tables) -> bool:
    """Return whether tables of an index are such as `FeatureNotes` makes."""
    bounds = tables["feature_bounds"]
    sections = tables["features"]["section"]
    return (
        len(bounds) == len(sections) + 1
        and are_bounds(bounds, len(tables["feature_names"]))
        and len(tables["examples"]) == 1
        and bool(((sections == _OF_RECORD) | (sections == _OF_STEPS)).all())
        and not (tables["features"]["least"] > tables["features"]["most"]).any()
    )


class Summary:
    """The features of several files, taken together.

    Args:
        tables: of the index of each file.
        records: how many records they have.
    """

    def __init__(self, tables: Sequence[Tables], records: int) -> None:
        self._records = records
        self._of_examples = sum(int(each["examples"].sum()) for each in tables)
        self._noted: dict[tuple[int, bytes], Any] = {}
        for each in tables:
            text = each["feature_names"].tobytes()
            for noted, (start, stop) in zip(each["features"], pairwise(each["feature_bounds"].tolist()), strict=True):
                self._add(text[start:stop], noted)

    @property
    def has_examples(self) -> bool:
        """Whether the records are tf.train.Example, and have features."""
        return bool(self._noted) and self._of_examples == self._records

    def infer(self) -> tuple[dict[str, Feature], dict[str, Feature]]:
        """Return the features of the records and of their steps.

        Single values stay single, and several have any number, unless all records have as many. One that is single
        where it is, but not in all records, is None in the others.

        Raises:
            CorruptDataError: the records are no Examples.
            StorageError: a feature is of several kinds.
        """
        if self._of_examples != self._records:
            raise CorruptDataError(
                "the first record is no tf.train.Example, or the records have more than 4,096 features; give those to "
                "read by name, as features={'image': bytes, ...}"
            )
        found: dict[int, dict[str, Feature]] = {_OF_RECORD: {}, _OF_STEPS: {}}
        for (section, text), noted in self._noted.items():
            try:
                name = text.decode()
            except UnicodeDecodeError as error:
                raise StorageError(f"there is a feature whose name is no UTF-8: {text!r}") from error
            found[section][name] = self._feature(name, section, *noted)
        return found[_OF_RECORD], found[_OF_STEPS]

    def _add(self, name: bytes, noted: Any) -> None:
        section, kinds, records, least, most = noted.item()
        known = self._noted.get((section, name))
        if known is not None:
            kinds, records = kinds | known[0], records + known[1]
            least, most = min(least, known[2]), max(most, known[3])
        self._noted[section, name] = kinds, records, least, most

    def _feature(self, name: str, section: int, kinds: int, records: int, least: int, most: int) -> Feature:
        several = [kind for kind in _WORDS if kinds >> kind & 1]
        if len(several) > 1:
            raise StorageError(
                f"feature {name!r} is {' and '.join(_WORDS[kind] for kind in several)}, each in some of the records; "
                "give the features to read by name, without this one, or write the files anew"
            )
        kind = several[0] if several else FLOATS  # the kind of a feature that is empty in all records is unknown
        dtypes: dict[int, np.dtype[Any]] = {FLOATS: np.dtype(np.float32), INTEGERS: np.dtype(np.int64)}
        dtype, is_everywhere = dtypes.get(kind), records == self._records
        if least == most == 1:
            is_optional = section == _OF_RECORD and not is_everywhere
            return Feature(kind, dtype, (), is_optional=is_optional)
        is_fixed = section == _OF_RECORD and is_everywhere and least == most and most and dtype is not None
        return Feature(kind, dtype, (most,) if is_fixed else None)
