"""Whatever is written comes back, or is refused before anything is at the path."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.convert.conftest import NAMES

from headrace import open_dataset
from headrace.convert import write_dataset
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.formats.tar.fields import decoder

_NEEDED = {"lmdb": ("lmdb", "msgpack"), "parquet": ("pyarrow",)}
FORMATS = [name for name in NAMES if all(find_spec(library) for library in _NEEDED.get(name, ()))]
_SPECIAL = (
    "label",
    "txt",
    "json",
    "x.cls",
    "npy",
    "id",
    "data",
    "A",
    "a",
    "a.b",
    "a/b",
    "..",
    ".x",
    "x/shape",
    "x",
    "é",
)
FIELDS = st.one_of(st.sampled_from(_SPECIAL), st.text(min_size=1, max_size=6))
SHAPES = st.sampled_from([(), (0,), (1,), (3,), (2, 3), (0, 3), (3, 0), (1, 1), (2, 1, 2)])
_NUMBERS = ["?", "i1", "u1", "i2", "<i4", ">i4", "i8", "u8", "f2", "<f4", ">f4", "f8", ">f8", "c8", "c16", "g"]
_NAMED = [*_NUMBERS, "M8[ns]", "M8[D]", "m8[s]", "U3", "S2"]
DTYPES = st.sampled_from([np.dtype(name) for name in _NAMED])


def _array(dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool) -> st.SearchStrategy[Any]:
    made = arrays.arrays(dtype, shape)
    return made.map(np.asfortranarray) if fortran else made.map(lambda array: array[()])


@st.composite
def values(draw: st.DrawFn) -> st.SearchStrategy[Any]:
    """Draw what the values of one field are: mostly alike in all samples, as those of datasets are."""
    kind = draw(st.sampled_from(["array", "ragged", "number", "text", "bytes", "any"]))
    dtype, fortran = draw(DTYPES), draw(st.booleans())
    if kind == "array":
        return _array(dtype, draw(SHAPES), fortran)
    if kind == "ragged":
        return SHAPES.flatmap(lambda shape: _array(dtype, shape, fortran))
    numbers = draw(st.sampled_from([st.integers(-(2**70), 2**70), st.integers(0, 9), st.floats(), st.booleans()]))
    several = {"number": numbers, "text": st.text(max_size=5), "bytes": st.binary(max_size=5)}
    if kind in several:
        return several[kind]
    return st.one_of(st.none(), *several.values(), DTYPES.flatmap(lambda each: _array(each, (2,), fortran)))


@st.composite
def datasets(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw samples whose fields stand in any order."""
    fields = {name: draw(values()) for name in draw(st.lists(FIELDS, min_size=1, max_size=3, unique=True))}
    samples = []
    for _ in range(draw(st.integers(1, 4))):
        names = draw(st.permutations(list(fields)))
        samples.append({name: draw(fields[name]) for name in names})
    return samples


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(samples=datasets(), shards=st.booleans())
def test_what_is_packed_comes_back_or_is_refused(form: str, samples: list[dict[str, Any]], shards: bool) -> None:
    if form == "tar":  # whoever gives bytes to a field named "json" says that they are JSON
        assume(not any(isinstance(value, bytes) and decoder(name) for each in samples for name, value in each.items()))
        names = {name for each in samples for name in each}  # which are read in lower case, and told by it here
        assume(len({name.encode().lower() for name in names}) == len(names))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, NAMES[form])
        try:
            written = write_dataset(samples, path, shard_samples=2 if shards else None)
        except (ArgumentError, ArgumentTypeError):
            assert not list(Path(folder).iterdir())
            return
        dataset = open_dataset(path if not shards or form == "npy" else Path(folder), images=False)
        assert written.samples == len(dataset) == len(samples)
        order = list(dict.fromkeys(name for sample in samples for name in sample))
        for index, sample in enumerate(samples):
            given = {name: sample[name] for name in order if sample.get(name) is not None}
            _check(form, dataset[index], given)


def _check(form: str, found: dict[str, Any], given: dict[str, Any]) -> None:
    found = {name: value for name, value in found.items() if value is not None}
    if form == "tar":  # names say how the values are encoded
        del found["__key__"]
        assert len(found) == len(given)
        by_name = dict(sorted(found.items()))
        exact = sorted(given, key=lambda name: name.encode().lower().decode() not in by_name)
        found = {name: by_name.pop(_name_in_tar(name, by_name)) for name in exact}
    assert found.keys() == given.keys()
    for name, value in given.items():
        _check_value(name, found[name], value)


def _name_in_tar(name: str, found: dict[str, Any]) -> str:
    lower = name.encode().lower().decode()
    fitting = [each for each in found if each == lower or each.rpartition(".")[0] == lower]
    return fitting[0] if fitting else next(each for each in found if "." not in each)


def _check_value(name: str, found: Any, value: Any) -> None:
    expected = np.asarray(value)
    if isinstance(value, str | bytes):
        assert found == value, name
        return
    if expected.dtype.kind in "US":  # which Parquet holds as a list of texts
        assert np.shape(found) == expected.shape
        assert np.asarray(found).tolist() == expected.tolist()
        return
    if isinstance(value, np.ndarray) and value.ndim:
        assert isinstance(found, np.ndarray), name
        assert found.shape == value.shape
        assert found.dtype == value.dtype.newbyteorder("=") or found.dtype == value.dtype
    found = np.asarray(found)
    same = found == expected
    if expected.dtype.kind in "fcmM":
        same |= (found != found) & (expected != expected)
    assert np.all(same), (name, found, expected)
