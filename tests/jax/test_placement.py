"""Any pytree of arrays goes to the devices and comes out as it went in."""

from __future__ import annotations

import collections
import dataclasses
import types
from typing import Any, NamedTuple

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from headrace import DataLoader, TensorDataset  # noqa: E402
from headrace.errors import ArgumentError, ArgumentTypeError, MixedSamplesError  # noqa: E402
from headrace.jax.placement import DevicePlacement, makes_memory  # noqa: E402

P = jax.sharding.PartitionSpec


class Point(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Plain:
    image: Any
    name: str


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Registered:
    image: Any
    table: Any = dataclasses.field(metadata={"static": True})


class Ragged:
    """Of a class that headrace does not know."""

    def __init__(self, values: Any, lengths: tuple[int, ...]) -> None:
        self.values = values
        self.lengths = lengths

    def tree_flatten(self) -> tuple[Any, Any]:
        return (self.values,), self.lengths

    @classmethod
    def tree_unflatten(cls, lengths: Any, values: Any) -> Ragged:
        return cls(values[0], lengths)


jax.tree_util.register_pytree_node_class(Ragged)


def place(batch: Any, sharding: Any = None) -> Any:
    return DevicePlacement(sharding, owned=False)(batch)


def ones() -> Any:
    return np.ones(3, np.float32)


def is_placed(value: Any) -> bool:
    return isinstance(value, jax.Array) and value.dtype == np.float32 and value.tolist() == [1, 1, 1]


def test_containers_keep_their_type_and_order() -> None:
    batch = {"z": ones(), "a": [ones(), (ones(), Point(ones(), "y"))], 3: None}
    placed = place(batch)
    assert list(placed) == ["z", "a", 3]
    assert is_placed(placed["z"])
    assert is_placed(placed["a"][0])
    assert type(placed["a"][1]) is tuple
    assert type(placed["a"][1][1]) is Point
    assert is_placed(placed["a"][1][1].x)
    assert placed["a"][1][1].y == "y"
    assert placed[3] is None


@pytest.mark.parametrize("kind", [collections.OrderedDict, lambda items: collections.defaultdict(list, items)])
def test_other_dicts(kind: Any) -> None:
    batch = kind({"b": ones(), "a": ones()})
    placed = place(batch)
    assert type(placed) is type(batch)
    assert placed.keys() == batch.keys()
    assert all(map(is_placed, placed.values()))


def test_a_mapping_that_is_no_dict() -> None:
    placed = place(types.MappingProxyType({"a": ones()}))
    assert is_placed(placed["a"])


def test_dataclasses() -> None:
    placed = place(Plain(ones(), "a"))
    assert is_placed(placed.image)
    assert placed.name == "a"


def test_what_jax_takes_for_static_stays() -> None:
    table = ones()
    placed = place(Registered(ones(), table))
    assert is_placed(placed.image)
    assert placed.table is table


def test_classes_that_jax_alone_knows() -> None:
    placed = place([Ragged({"a": ones()}, (1, 2))])
    assert type(placed[0]) is Ragged
    assert is_placed(placed[0].values["a"])
    assert placed[0].lengths == (1, 2)


def test_a_sharding_for_each_field_of_a_registered_class() -> None:
    device = jax.devices()[0]
    placed = place(Ragged(ones(), (1,)), Ragged(device, (1,)))
    assert placed.values.devices() == {device}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float64, np.float32),
        (np.int64, np.int32),
        (np.uint64, np.uint32),
        (np.complex128, np.complex64),
        (np.uint8, np.uint8),
        (np.float16, np.float16),
        (np.bool_, np.bool_),
        (jax.numpy.bfloat16, jax.numpy.bfloat16),
        (">f4", np.float32),
        (">i8", np.int32),
    ],
    ids=str,
)
def test_dtypes_become_those_of_jax(given: Any, expected: Any) -> None:
    placed = place(np.array([0, 1, 1]).astype(given))
    assert placed.dtype == np.dtype(expected)
    assert placed.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "value",
    [
        np.array(["a", "b"]),
        np.array([b"a"]),
        np.array([None]),
        np.array(["2020"], "M8[D]"),
        ["a", "b"],
        b"a",
        3,
        0.5,
        True,
    ],
    ids=repr,
)
def test_what_jax_has_no_dtype_for_stays(value: Any) -> None:
    assert place({"x": value})["x"] is value or place({"x": value})["x"] == value


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**40])
def test_integers_that_jax_would_cut_off_are_refused(value: int) -> None:
    with pytest.raises(
        MixedSamplesError, match=rf"integers up to {abs(value)} do not fit into JAX's int32; set jax_ena"
    ):
        place({"x": np.array([0, value])})


def test_numbers_of_numpy_become_scalars() -> None:
    placed = place(np.float32(3))
    assert isinstance(placed, jax.Array)
    assert placed.shape == ()


def test_arrays_of_jax_go_where_they_are_sent() -> None:
    device = jax.devices()[0]
    assert place(jax.numpy.ones(3), device).devices() == {device}


def test_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    assert is_placed(place((torch.ones(3),))[0])


def test_a_sharding_for_each_field() -> None:
    device = jax.devices()[0]
    mesh = jax.sharding.Mesh(np.array([device]), ("data",))
    named = jax.sharding.NamedSharding(mesh, P("data"))
    placed = place({"x": ones(), "y": (ones(), ones())}, {"x": named, "y": (device, None)})
    assert placed["x"].sharding == named
    assert placed["y"][0].devices() == {device}
    placed = place(Point(ones(), ones()), Point(named, None))
    assert placed.x.sharding == named


def test_a_sharding_that_lacks_a_field() -> None:
    with pytest.raises(
        ArgumentError, match=r"^sharding has nothing for the field batch\['a'\]\['y'\]; it has \['x'\]: "
    ):
        place({"a": {"x": ones(), "y": ones()}}, {"a": {"x": None}})


def test_a_sharding_of_what_is_one_array() -> None:
    with pytest.raises(ArgumentError, match=r"sharding has a dict for the field batch\['a'\], which is an array; give"):
        place({"a": ones()}, {"a": {"x": None}})


@pytest.mark.parametrize("sharding", ["cpu", 0, P("data"), {"x": P("data")}, [0]], ids=repr)
def test_a_sharding_that_is_none(sharding: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"^sharding must be a jax.sharding.Sharding, a device, None, or a con"):
        DevicePlacement(sharding, owned=True)


def test_arrays_of_others_are_copied() -> None:
    """JAX would read memory that its owner may write to, now or later."""
    memory = np.zeros((1 << 20) + 64, np.uint8)
    start = -memory.__array_interface__["data"][0] % 64  # an address whose memory JAX shares on a CPU
    array = memory[start : start + (1 << 20)]
    for view in (array, array.view(np.memmap)):
        shared, copied = DevicePlacement(None, owned=True)(view), DevicePlacement(None, owned=False)(view)
        array += 1
        assert np.unique(copied).tolist() == [array[0] - 1]
        assert np.unique(shared).tolist() == [array[0]]  # or the test shows nothing


def test_which_loaders_make_their_memory() -> None:
    dataset = TensorDataset(np.arange(4))
    assert makes_memory(DataLoader(dataset))
    assert makes_memory(DataLoader(dataset, batch_sampler=[[0, 1]]))
    assert not makes_memory(DataLoader(dataset, batch_size=None))
    assert not makes_memory(DataLoader(dataset, collate_fn=list))
    assert not makes_memory([np.arange(3)])
