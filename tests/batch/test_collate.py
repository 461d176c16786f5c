"""Collation: every kind of sample against a naive reference, and every refusal by its text."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import types
from collections import Counter, OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import default_collate
from headrace.batch.arena import Arena, use_arena
from headrace.errors import ArgumentError, CollateError, MixedSamplesError, RaggedSamplesError
from headrace.testing import check_same

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Record:
    left: Any
    right: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    left: Any
    right: Any


class Box:
    """Boxes an ndarray, as the tensor of a small framework does."""

    def __init__(self, data: Any) -> None:
        self.data = np.array(data, np.float32)
        self.shape = self.data.shape


# ---------------------------------------------------------------------- samples of every kind

DTYPES = [
    *("?", "i1", "u1", "<i2", ">i4", "u8", "f2", "f4", ">f8", "c8", ">c16", "M8[s]", ">M8[D]", "m8[ms]"),
    *("U3", ">U2", "S4", "V3"),
]
STRUCTURED = [np.dtype([("a", "i4"), ("b", ">f8", (2,))]), np.dtype([("x", [("y", "?"), ("z", "S2")])], align=True)]

dtypes = st.sampled_from([*map(np.dtype, DTYPES), *STRUCTURED])
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


def random_array(rng: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    out = np.zeros(shape, dtype)
    for name in dtype.names or ():
        out[name] = random_array(rng, out.dtype[name].base, out[name].shape)
    if dtype.kind in "US":
        out[...] = rng.choice(["", "a", "bc"], shape)
    elif dtype.kind == "b":
        out[...] = rng.integers(0, 2, shape)
    elif dtype.kind in "fc":
        out[...] = rng.choice([0.0, -0.0, np.nan, np.inf, 1.5, -2.25], shape)
    elif dtype.kind in "iumM":
        out[...] = rng.integers(0, 100, shape).astype(dtype)
    elif dtype.names is None:
        out[...] = np.frombuffer(rng.bytes(out.nbytes), dtype).reshape(shape)
    return out


def _strided(array: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array


def _backwards(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array[::-1])[::-1] if array.ndim else array


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


LAYOUTS: list[Callable[[NDArray[Any]], NDArray[Any]]] = [
    np.asarray,
    np.asfortranarray,
    _strided,
    _backwards,
    _read_only,
    lambda array: (
        np.frombuffer(b"\0" + array.tobytes(), array.dtype, array.size, 1).reshape(array.shape) if array.size else array
    ),  # not aligned
]

Maker = Callable[[np.random.Generator], Any]


def _array_maker(dtype: np.dtype[Any], shape: tuple[int, ...], layout: Callable[[Any], Any]) -> Maker:
    return lambda rng: layout(random_array(rng, dtype, shape)).reshape(shape)


def _scalar_maker(dtype: np.dtype[Any]) -> Maker:
    return lambda rng: random_array(rng, dtype, (1,))[0]


leaves: st.SearchStrategy[Maker] = st.one_of(
    st.builds(_array_maker, dtypes, shapes, st.sampled_from(LAYOUTS)),
    st.builds(_scalar_maker, dtypes),
    st.sampled_from(
        [
            lambda rng: bool(rng.integers(2)),
            lambda rng: int(rng.integers(-(2**62), 2**62)),
            lambda rng: float(rng.normal()),
            lambda rng: complex(rng.normal(), 1),
            lambda rng: str(rng.integers(100)),
            lambda rng: rng.bytes(3),
            lambda rng: Box(rng.normal(size=(2,))),
        ]
    ),
)


def _container_makers(children: st.SearchStrategy[Maker]) -> st.SearchStrategy[Maker]:
    def make(kind: Callable[[list[Any]], Any], makers: list[Maker]) -> Maker:
        return lambda rng: kind([maker(rng) for maker in makers])

    def named(cls: Callable[..., Any]) -> Callable[[list[Any]], Any]:
        return lambda items: cls({f"key{number}": item for number, item in enumerate(items)})

    kinds: list[Callable[[list[Any]], Any]] = [tuple, list, named(dict), named(OrderedDict)]
    kinds += [named(lambda items: defaultdict(list, items)), named(UserDict), named(types.MappingProxyType)]
    pairs: list[Callable[[list[Any]], Any]] = [lambda items, cls=cls: cls(*items) for cls in (Pair, Record, Frozen)]  # type: ignore[misc]
    return st.one_of(
        st.builds(make, st.sampled_from(kinds), st.lists(children, max_size=3)),
        st.builds(make, st.sampled_from(pairs), st.lists(children, min_size=2, max_size=2)),
    )


sample_makers = st.recursive(leaves, _container_makers, max_leaves=6)


def naive_collate(samples: list[Any]) -> Any:
    """What the batch must be, field by field and row by row."""
    first = samples[0]
    if isinstance(first, Mapping):
        items = {key: naive_collate([sample[key] for sample in samples]) for key in first}
        return defaultdict(first.default_factory, items) if isinstance(first, defaultdict) else type(first)(items)  # type: ignore[call-arg]
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in dataclasses.fields(first)]
        columns = {name: naive_collate([getattr(sample, name) for sample in samples]) for name in names}
        return type(first)(**columns)
    if isinstance(first, tuple | list):
        fields = [naive_collate([sample[position] for sample in samples]) for position in range(len(first))]
        return type(first)(*fields) if isinstance(first, Pair) else type(first)(fields)
    if isinstance(first, str | bytes):
        return samples
    if isinstance(first, Box):
        return Box(naive_collate([sample.data for sample in samples]))
    array = np.asarray(first)
    batch = np.zeros((len(samples), *array.shape), np.int64 if type(first) is int else array.dtype)
    for row, sample in enumerate(samples):
        batch[row] = sample
    return batch


@given(sample_makers, st.integers(1, 5), st.integers(0, 2**32))
def test_any_sample_collates_as_the_naive_reference(maker: Maker, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [maker(rng) for _ in range(count)]

    batch = default_collate(samples)

    check_same(batch, naive_collate(samples))


@given(dtypes, shapes, st.integers(1, 4), st.integers(0, 2**32))
def test_leased_memory_serves_every_dtype(dtype: np.dtype[Any], shape: tuple[int, ...], count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [random_array(rng, dtype, shape) for _ in range(count)]
    with pytest.MonkeyPatch.context() as patch, use_arena(Arena()):
        patch.setattr(Arena, "leased_from", 1)
        batch = default_collate(samples)
    check_same(batch, naive_collate(samples))


def test_samples_are_left_as_they_were() -> None:
    texts = ["a", "b"]
    rows: list[Any] = [{"x": [np.zeros(2), "t"]} for _ in range(2)]
    batch = default_collate(rows)
    assert default_collate(texts) is not texts
    batch["x"][0][...] = 9
    batch["x"][1].append("u")
    assert [(row["x"][0].tolist(), row["x"][1]) for row in rows] == [([0, 0], "t")] * 2


def test_memory_maps_become_plain_arrays(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(12).reshape(4, 3))
    mapped = np.load(path, mmap_mode="r")
    batch = default_collate([mapped[3], mapped[0]])
    assert type(batch) is np.ndarray
    assert batch.tolist() == [[9, 10, 11], [0, 1, 2]]
    assert batch.flags.writeable
    assert not np.may_share_memory(batch, mapped)


@pytest.mark.parametrize("dtype", [object, ">f4", [("a", "O")]])
def test_arrays_of_objects_and_foreign_byte_order_keep_their_dtype(dtype: Any) -> None:
    batch = default_collate([np.zeros(2, dtype), np.ones(2, dtype)])
    assert batch.dtype == np.dtype(dtype)
    assert batch[1].tolist() == np.ones(2, dtype).tolist()


def test_strings_in_arrays_are_as_wide_as_the_widest() -> None:
    batch = default_collate([np.array(["a"]), np.array(["long"])])
    assert batch.dtype == np.dtype("U4")
    assert batch.tolist() == [["a"], ["long"]]


@pytest.mark.parametrize(
    ("samples", "dtype"),
    [
        ([True, np.bool_(False)], bool),
        ([1, np.int64(2)], np.int64),
        ([0.5, np.float64(2)], np.float64),
        ([1j, np.complex128(2)], np.complex128),
        ([np.uint64(2**64 - 1)], np.uint64),
        ([enum.IntEnum("Colour", ["RED"]).RED], np.int64),  # type: ignore[attr-defined]
        ([np.float16(1)], np.float16),
        ([np.datetime64("2020-01-01")], "M8[D]"),
    ],
)
def test_numbers_of_python_and_numpy_with_one_dtype_mix(samples: list[Any], dtype: Any) -> None:
    batch = default_collate(samples)
    assert batch.dtype == np.dtype(dtype)
    assert batch.tolist() == np.array(samples, dtype).tolist()


numbers: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.complex_numbers(),
    st.builds(
        lambda dtype, value: np.dtype(dtype).type(value),
        st.sampled_from(list("?bBhHiIqefdgFD")),
        st.integers(0, 100),
    ),
)


@given(st.lists(numbers, min_size=1, max_size=6), st.randoms())
def test_numbers_promote_in_any_order(values: list[Any], random: Any) -> None:
    dtypes = {value.dtype if isinstance(value, np.generic) else np.array(value).dtype for value in values}
    batch = default_collate(values)
    assert batch.dtype == np.result_type(*dtypes)
    np.testing.assert_array_equal(batch, np.array([batch.dtype.type(value) for value in values]))
    shuffled = random.sample(range(len(values)), len(values))
    again = default_collate([values[number] for number in shuffled])
    assert again.dtype == batch.dtype
    np.testing.assert_array_equal(again, batch[shuffled])


@given(st.lists(st.sampled_from([*"?bBhHiIqQefdgFD", ">f4", ">i8"]), min_size=1, max_size=6))
def test_dtypes_of_arrays_promote_in_any_order(dtypes: list[str]) -> None:
    arrays = [np.full((2, 3), number, dtype) for number, dtype in enumerate(dtypes)]
    batch = default_collate(arrays)
    if len(set(dtypes)) > 1:
        assert batch.dtype == np.result_type(*sorted(set(dtypes)))
    assert batch.dtype == default_collate(arrays[::-1]).dtype
    assert (batch == np.stack(arrays)).all()


def test_times_of_several_units_get_the_finest() -> None:
    batch = default_collate([np.datetime64("2020-01-01"), np.datetime64("2020-01-01T05")])
    assert (str(batch.dtype), str(batch[1])) == ("datetime64[h]", "2020-01-01T05")


# ---------------------------------------------------------------------- types of containers


class Attributes(dict[str, Any]):
    """A dict whose keys are attributes, in the way that many projects write it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__dict__ = self


class Shared(Mapping[str, Any]):
    """A mapping that a shallow copy would share its items with, and that is built from names."""

    def __init__(self, *, x: Any) -> None:
        self._items = {"x": x}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Any:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class Named(dict[str, Any]):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def _named(x: Any) -> Named:
    made = Named("n")
    made["x"] = x
    return made


def test_a_dict_of_attributes_gives_the_batch_by_attribute_too() -> None:
    batch = default_collate([Attributes(x=1), Attributes(x=2)])
    assert type(batch) is Attributes
    assert batch.x.tolist() == batch["x"].tolist() == [1, 2]  # type: ignore[attr-defined]


def test_a_counter_is_not_counted_up() -> None:
    assert default_collate([Counter(a=1), Counter(a=5)])["a"].tolist() == [1, 5]


def test_mappings_of_other_constructors_are_not_written_to() -> None:
    samples = [Shared(x=1), Shared(x=2)]
    assert default_collate(samples)["x"].tolist() == [1, 2]
    assert [sample["x"] for sample in samples] == [1, 2]
    named = default_collate([_named(1), _named(2)])
    assert (type(named), named.name, named["x"].tolist()) == (Named, "n", [1, 2])


def test_a_default_dict_keeps_its_factory() -> None:
    batch = default_collate([defaultdict(list, x=1), defaultdict(list, x=2)])
    assert batch["more"] == []


def test_keys_may_come_in_any_order_and_be_no_strings() -> None:
    batch = default_collate([{1: 1, ("a", 2): 2}, {("a", 2): 4, 1: 3}])
    assert {key: value.tolist() for key, value in batch.items()} == {1: [1, 3], ("a", 2): [2, 4]}


def test_a_namedtuple_or_dataclass_is_filled_without_its_constructor() -> None:
    @dataclasses.dataclass(frozen=True)
    class Positive:
        x: float
        doubled: float = dataclasses.field(init=False)

        def __post_init__(self) -> None:
            if not self.x > 0:
                raise ValueError("x must be positive")
            object.__setattr__(self, "doubled", 2 * self.x)

    class Ordered(Pair):
        def __new__(cls, left: Any, right: Any) -> Self:
            if left > right:
                raise ValueError("left must not exceed right")
            return super().__new__(cls, left, right)

    batch = default_collate([(Positive(1.0), Ordered(1, 2)), (Positive(2.0), Ordered(3, 4))])

    assert (batch[0].x.tolist(), batch[0].doubled.tolist()) == ([1, 2], [2, 4])
    assert type(batch[1]) is Ordered
    assert batch[1].right.tolist() == [2, 4]


def test_a_container_with_a_field_called_data_is_a_container() -> None:
    @dataclasses.dataclass
    class Sample:
        data: Any
        label: Any

    row = namedtuple("row", ["data", "label"])  # noqa: PYI024 - of this kind there are many
    for kind in (Sample, row):
        batch = default_collate([kind(np.zeros(2), 1), kind(np.ones(2), 2)])
        assert type(batch) is kind
        assert (batch.data.tolist(), batch.label.tolist()) == ([[0, 0], [1, 1]], [1, 2])


def test_empty_containers_stay() -> None:
    assert default_collate([([], {}, ()), ([], {}, ())]) == ([], {}, ())


def test_boxes_come_out_as_their_class() -> None:
    batch = default_collate([(Box(1), Box([1, 2])), (Box(2), Box([3, 4]))])
    assert [type(field) for field in batch] == [Box, Box]
    assert (batch[0].data.tolist(), batch[1].data.tolist()) == ([1, 2], [[1, 2], [3, 4]])


# ---------------------------------------------------------------------- refusals

_ALLOWED = (
    "allowed are arrays, tensors, numbers, str, bytes, and dicts, tuples, lists and dataclasses of "
    "them; convert it with dataset.map(...), or pass a collate_fn"
)
_SAME_TYPE = "give all samples the same type, or pass a collate_fn"


@pytest.mark.parametrize(
    ("samples", "error", "text"),
    [
        pytest.param(
            [{"image": np.zeros((3, 2))}, {"image": np.zeros((3, 2))}, {"image": np.zeros((3, 4))}],
            RaggedSamplesError,
            "field sample['image'] differs in shape: sample 10 has (3, 2), sample 12 has (3, 4); "
            "crop, resize or pad the samples to one shape, or pass a collate_fn: headrace.pad_collate pads sequences",
            id="shapes",
        ),
        pytest.param(
            [([1, 2],), ([1, 2, 3],)],
            RaggedSamplesError,
            "field sample[0] differs in length: sample 10 has 2, sample 11 has 3; "
            "give all samples the same number of items, or pass a collate_fn: headrace.pad_collate pads sequences",
            id="lengths",
        ),
        pytest.param(
            [np.array(["a"]), np.array([1])],
            MixedSamplesError,
            "the sample differs in dtype: sample 10 has <U1, sample 11 has int64; "
            "convert the samples to one dtype, or pass a collate_fn",
            id="strings and numbers in arrays",
        ),
        pytest.param(
            [{"a": 1, "b": 2}, {"a": 1}],
            MixedSamplesError,
            "the sample differs in keys: sample 10 has ['a', 'b'], sample 11 has ['a'] "
            "(only one of them has 'b'); give all samples the same keys, or pass a collate_fn",
            id="keys",
        ),
        pytest.param(
            [{"a": 1}, {"a": 2, "b": 3}],
            MixedSamplesError,
            "the sample differs in keys: sample 10 has ['a'], sample 11 has ['a', 'b'] "
            "(only one of them has 'b'); give all samples the same keys, or pass a collate_fn",
            id="a key more",
        ),
        pytest.param(
            [1, 0.5, "a"],
            MixedSamplesError,
            f"the sample differs in type: sample 10 has int64, sample 12 has str; {_SAME_TYPE}",
            id="numbers and text",
        ),
        pytest.param(
            [np.timedelta64(1, "s"), 1],
            MixedSamplesError,
            f"the sample differs in type: sample 10 has timedelta64[s], sample 11 has int64; {_SAME_TYPE}",
            id="times and numbers",
        ),
        pytest.param(
            [{"x": dt.datetime(2020, 1, 1)}],
            MixedSamplesError,
            "field sample['x'] is a datetime.datetime in sample 10, which has no batch (numpy.datetime64(value) has "
            f"one, without a time zone; and value.timestamp() of a datetime); {_ALLOWED}",
            id="datetime",
        ),
        pytest.param(
            [np.zeros(1, "i4,i4")[0], np.zeros(1, "i4,f4")[0]],
            MixedSamplesError,
            "the sample differs in type: sample 10 has [('f0', '<i4'), ('f1', '<i4')], "
            f"sample 11 has [('f0', '<i4'), ('f1', '<f4')]; {_SAME_TYPE}",
            id="structured scalars",
        ),
        pytest.param(
            ["a", b"b"],
            MixedSamplesError,
            f"the sample differs in type: sample 10 has str, sample 11 has bytes; {_SAME_TYPE}",
            id="str and bytes",
        ),
        pytest.param(
            [1, "a"],
            MixedSamplesError,
            f"the sample differs in type: sample 10 has int64, sample 11 has str; {_SAME_TYPE}",
            id="number and text",
        ),
        pytest.param(
            [(1,), [1]],
            MixedSamplesError,
            f"the sample differs in type: sample 10 has tuple, sample 11 has list; {_SAME_TYPE}",
            id="containers",
        ),
        pytest.param(
            [Pair(1, 2), (1, 2)],
            MixedSamplesError,
            f"the sample differs in type: sample 10 has Pair, sample 11 has tuple; {_SAME_TYPE}",
            id="tuples",
        ),
        pytest.param(
            [Record(1, 2), Frozen(1, 2)],
            MixedSamplesError,
            f"the sample differs in type: sample 10 has Record, sample 11 has Frozen; {_SAME_TYPE}",
            id="dataclasses",
        ),
        pytest.param(
            [{"a": 1}, OrderedDict(a=1)],
            MixedSamplesError,
            f"the sample differs in type: sample 10 has dict, sample 11 has OrderedDict; {_SAME_TYPE}",
            id="dicts",
        ),
        pytest.param(
            [Record(np.zeros(2), 1), Record(None, 1)],
            MixedSamplesError,
            "field sample.left differs in type: sample 10 has ndarray, sample 11 has NoneType; "
            "give samples a value in place of None with dataset.map(...), or pass a collate_fn",
            id="None later",
        ),
        pytest.param(
            [np.zeros(()), np.float64(0)],
            MixedSamplesError,
            f"the sample differs in type: sample 10 has ndarray, sample 11 has float64; {_SAME_TYPE}",
            id="array and scalar",
        ),
        pytest.param(
            [np.zeros(2), Box([0, 0])],
            MixedSamplesError,
            f"the sample differs in type: sample 10 has ndarray, sample 11 has Box; {_SAME_TYPE}",
            id="array and box",
        ),
        pytest.param(
            [{"x": [None]}],
            MixedSamplesError,
            f"field sample['x'][0] is None in sample 10, which has no batch; {_ALLOWED}",
            id="None",
        ),
        pytest.param(
            [{1, 2}],
            MixedSamplesError,
            f"the sample is a builtins.set in sample 10, which has no batch; {_ALLOWED}",
            id="unknown type",
        ),
        pytest.param(
            [Record],
            MixedSamplesError,
            f"the sample is a builtins.type in sample 10, which has no batch; {_ALLOWED}",
            id="a class",
        ),
        pytest.param(
            [np.ma.masked_array([1, 2], [False, True])],
            MixedSamplesError,
            "the sample is a numpy.ma.MaskedArray in sample 10, which has no batch (a MaskedArray is more than its "
            f"elements; numpy.asarray(value) makes an array of them alone); {_ALLOWED}",
            id="masked array",
        ),
        pytest.param(
            [(1, 2**63)],
            MixedSamplesError,
            "field sample[1] has Python integers beyond int64; return them as numpy.uint64 or as strings",
            id="large integers",
        ),
    ],
)
def test_what_cannot_be_a_batch_is_refused_by_name(samples: list[Any], error: type[CollateError], text: str) -> None:
    with pytest.raises(CollateError) as caught:
        default_collate(samples, range(10, 10 + len(samples)))
    assert type(caught.value) is error
    assert str(caught.value) == text
    assert isinstance(caught.value, ValueError if error is RaggedSamplesError else TypeError)


def test_without_indices_errors_name_positions() -> None:
    with pytest.raises(RaggedSamplesError, match=r"sample 0 has \(1,\), sample 1 has \(2,\)"):
        default_collate([np.zeros(1), np.zeros(2)])


def test_sparse_matrices_are_refused() -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="sparse matrices come from scipy")
    with pytest.raises(MixedSamplesError, match="which has no batch"):
        default_collate([sparse.csr_matrix(np.eye(2))] * 2)


def test_samples_that_hold_themselves_are_refused() -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    with pytest.raises(MixedSamplesError, match="nested without an end"):
        default_collate([circle, circle])


def test_no_samples_are_no_batch() -> None:
    with pytest.raises(ArgumentError, match=r"^default_collate got no samples; a batch needs at least one$"):
        default_collate([])
