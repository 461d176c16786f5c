"""Samples become bytes and come back with every type, shape and bit."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headrace.cache.layout import Container, Field, Layout, decode, encode
from headrace.errors import CacheError
from headrace.testing import check_same

DTYPES = st.one_of(
    hnp.scalar_dtypes(),
    hnp.unicode_string_dtypes(max_len=3),
    hnp.byte_string_dtypes(max_len=3),
    hnp.nested_dtypes(max_leaves=2),
).filter(lambda dtype: dtype.itemsize > 0)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
NUMBERS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.builds(np.float32, st.floats(width=32)),
    st.builds(np.int8, st.integers(-128, 127)),
    st.builds(np.datetime64, st.integers(-1000, 1000), st.just("us")),
)
_TEXTS_OF_NUMPY = st.text(max_size=3).map(lambda text: text.rstrip("\0"))  # NumPy cuts zeros off a text
TEXTS = st.one_of(st.text(max_size=5), st.binary(max_size=5), st.just("\udc80"), st.builds(np.str_, _TEXTS_OF_NUMPY))
LEAVES = st.one_of(ARRAYS, NUMBERS, TEXTS, st.none())
SAMPLES = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3),
        st.tuples(parts, parts),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), parts, max_size=3),
    ),
    max_leaves=5,
)


def joined(parts: list[Any]) -> Any:
    return np.frombuffer(b"".join(parts), np.uint8)


def there_and_back(sample: Any, layout: Layout) -> Any:
    taken = layout.take_apart(sample)
    assert taken is not None
    row, rest = taken
    assert sum(map(len, row)) == layout.nbytes
    return layout.read(bytearray(joined(row)), rest)


@given(SAMPLES)
def test_any_sample_comes_back(sample: Any) -> None:
    check_same(there_and_back(sample, Layout(Layout.describe(sample))), sample)
    check_same(decode(joined(encode(sample, pickles=True)), pickles=True), sample)


@given(SAMPLES, SAMPLES)
def test_a_layout_takes_what_fits_and_nothing_else(sample: Any, other: Any) -> None:
    layout = Layout(Layout.describe(sample))
    if layout.take_apart(other) is not None:
        check_same(there_and_back(other, layout), other)


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Record:
    x: int


OTHERS = [
    ((1, 2), [1, 2]),
    ((1, 2), (1, 2, 3)),
    ((1, 2), Point(1, 2)),
    ({"a": 1}, {"b": 1}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": 1}, OrderedDict(a=1)),
    (1, True),
    (1, 1.0),
    (1, np.int64(1)),
    (1, 2**70),
    (np.zeros(3), np.zeros(4)),
    (np.zeros(3), np.zeros(3, np.float32)),
    (np.zeros(3), np.zeros((3, 1))),
    (np.zeros(3, "<i4"), np.zeros(3, ">i4")),
    (np.zeros(()), np.float64(0)),
    (None, 0),
]


@pytest.mark.parametrize(("sample", "other"), OTHERS)
def test_other_samples_do_not_fit(sample: Any, other: Any) -> None:
    assert Layout(Layout.describe(sample)).take_apart(other) is None


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_tensors(framework: str) -> None:
    module = pytest.importorskip("torch" if framework == "torch" else "jax.numpy")
    sample = (module.ones((2, 3), dtype=module.bfloat16), module.arange(3), 1)
    again = there_and_back(sample, Layout(Layout.describe(sample)))
    assert [type(part) for part in again] == [type(part) for part in sample]
    assert again[0].dtype == module.bfloat16
    assert bool((again[0] == sample[0]).all())
    assert bool((again[1] == sample[1]).all())


def test_fields_lie_aligned() -> None:
    layout = Layout(Layout.describe({"a": np.int8(1), "b": (np.zeros(3, np.float64), True), "c": 1}))
    assert [(field.offset, field.end) for field in layout.fields] == [(0, 1), (8, 32), (32, 33), (40, 48)]
    assert layout.nbytes == 48


def test_strings_and_objects_have_no_place_in_the_row() -> None:
    layout = Layout(Layout.describe((1, "a", {"b": b"x", "c": Point(1, 2)})))
    assert layout.rests == 3
    assert layout.take_apart((2, "bc", {"b": b"", "c": Record(1)})) is not None
    taken = layout.take_apart((2, "bc", {"b": b"", "c": 3}))
    assert taken is not None
    assert taken[1] == ["bc", b"", 3]


def test_parts_of_containers() -> None:
    root = Layout(Layout.describe((1, {"x": 2}))).root
    assert isinstance(root, Container)
    assert root.get(0) is root.get(-2) is root.items[0]
    assert root.get(2) is root.get(-3) is root.get("x") is None
    assert isinstance(root.get(1).get("x"), Field)
    assert root.get(1).get(0) is None


def test_arrays_have_the_order_of_c() -> None:
    turned = np.arange(6).reshape(2, 3).T
    again = there_and_back(turned, Layout(Layout.describe(turned)))
    assert again.flags.c_contiguous
    assert (again == turned).all()


def test_without_pickles() -> None:
    with pytest.raises(CacheError, match=r"a sample holds a .*\.Point, which would have to be pickled"):
        encode((1, Point(1, 2)), pickles=False)
    content = joined(encode((1, Point(1, 2)), pickles=True))
    with pytest.raises(CacheError, match="holds a pickle"):
        decode(content, pickles=False)


def test_what_cannot_be_pickled() -> None:
    with pytest.raises(CacheError, match=r"a sample holds a builtins\.generator, which cannot be pickled"):
        encode((each for each in [1]), pickles=True)


@pytest.mark.parametrize(
    "text",
    [
        '["array", "|O", [9]]',  # whose values would be addresses
        '["array", [["x", "|O"]], [1]]',
        '["array", "O8", [1]]',
        '["array", "<i8", [-1]]',
        '["array", "<i8", [4611686018427387904, 4611686018427387904]]',
        '["array", "<i8", [0, 4611686018427387904]]',
        '["array", "<i8", ["a"]]',
        '["array", "<i8", [true]]',
        '["array", "<i8", 3]',
        '["array", "<i8"]',
        f'["array", "<i8", {[1] * 64}]',
        '["array", "|V0", [9]]',
        '["array", "i8", [1]]',
        '["int", "<f8", []]',
        '["int", "<i8", [2]]',
        '["scalar", "<i8", [2]]',
        '["str", "<i8", [2]]',
        '["bytes", "|u1", []]',
        '["pickle", "|O", [2]]',
        '["module", "<i8", [2]]',
        '["tuple", [["none"]], ["key"]]',
        '["tuple", 7, []]',
        '["dict", [["none"], ["none"]], ["a", "a"]]',
        '["dict", [["none"]], [[]]]',
        '["dict", [["none"]], ["a", "b"]]',
        '["dict", "ab", ["a", "b"]]',
        '{"array": 1}',
        "[]",
        "[[]]",
        "7",
        "null",
        "",
        "[" * 100_000,
        '["tuple", [' * 5_000 + '["none"]' + "], []]" * 5_000,
    ],
)
def test_a_layout_that_no_writer_wrote(text: str) -> None:
    with pytest.raises(CacheError, match="damaged, or was not written by headrace"):
        Layout(text)
    content = len(text).to_bytes(4, "little") + text.encode()
    with pytest.raises(CacheError):
        decode(np.frombuffer(content, np.uint8), pickles=True)


def test_bytes_that_end_too_early() -> None:
    content = joined(encode((np.arange(5), "text"), pickles=False))
    for length in range(len(content)):
        with pytest.raises(CacheError):
            decode(content[:length], pickles=False)
