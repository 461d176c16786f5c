"""Arrays of each framework: recognised without an import, read without a copy, made of the same kind."""

from __future__ import annotations

import io
import itertools
import pickle
import subprocess
import sys
from typing import Any
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest

from headrace import ConcatDataset, DataLoader, StackDataset, TensorDataset, default_collate, frameworks
from headrace.batch.scatter import merge
from headrace.batch.tree import count_bytes
from headrace.errors import ArgumentTypeError, MixedSamplesError, RaggedSamplesError
from headrace.frameworks import boxed, find
from headrace.testing import check_dataset, check_same


class Tensor:
    """Boxes a float32 ndarray, as the tensor of a small framework does."""

    def __init__(self, data: Any) -> None:
        self.data = np.array(data, np.float32)
        self.shape = self.data.shape


class Unshaped:
    """Boxes an ndarray as it is, and says nothing of its shape."""

    def __init__(self, data: Any) -> None:
        self.data = data


# ---------------------------------------------------------------------- imports


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


_USE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        assert name.partition(".")[0] not in ("torch", "jax"), f"{name} was imported"
sys.meta_path.insert(0, Blocked())
import numpy as np
import headrace
from headrace import DataLoader, TensorDataset, random_split
dataset = TensorDataset(np.zeros((8, 3, 4, 4), np.float32), np.arange(8)).map(headrace.RandomHorizontalFlip(), 0)
for part in random_split(dataset, [0.5, 0.5]):
    for images, labels in DataLoader(part, batch_size=2, shuffle=True, pin_memory=True):
        assert type(images) is np.ndarray
headrace.default_collate([{"x": 1, "y": "a"}])
assert headrace.frameworks.find(object()) is None
"""


def test_no_framework_is_imported_to_recognise_values() -> None:
    assert run(_USE + "print(sorted({'torch', 'jax'} & set(sys.modules)))") == "[]"


def test_importing_headrace_imports_numpy_and_the_standard_library_only() -> None:
    code = """
import sys
before = set(sys.modules)
import headrace, headrace.testing
roots = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(root for root in roots if root not in sys.stdlib_module_names))
"""
    assert run(code) == "['headrace', 'numpy']"


def test_a_framework_imported_later_is_recognised_then() -> None:
    pytest.importorskip("torch", reason="it is imported after headrace")
    code = """
import headrace
assert headrace.frameworks.find(3) is None
import torch
print(type(headrace.default_collate([torch.zeros(2)])).__name__)
"""
    assert run(code) == "Tensor"


# ---------------------------------------------------------------------- recognition


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.5,
        "text",
        b"bytes",
        None,
        (np.zeros(2),),
        [np.zeros(2)],
        {"data": np.zeros(2)},
        np.float32(1),
        object(),
        dict,
    ],
)
def test_other_values_have_no_adapter(value: Any) -> None:
    assert find(value) is None


@pytest.mark.parametrize("value", [np.zeros(2), np.zeros(()), np.zeros(2).view(np.recarray), np.array(["a"], object)])
def test_ndarrays_and_their_subclasses_are_numpys(value: Any) -> None:
    adapter = find(value)
    assert adapter is not None
    assert getattr(adapter, "__name__", "") == "headrace.frameworks.numpy"
    assert adapter.to_numpy(value) is value


def test_masked_arrays_have_no_adapter() -> None:
    assert find(np.ma.masked_array([1, 2])) is None


def test_boxes_are_recognised_by_their_ndarray() -> None:
    for box in (Tensor([1, 2]), Unshaped(np.zeros(2))):
        assert find(box) is boxed
        assert boxed.to_numpy(box) is box.data
    lying = Tensor([1, 2])
    lying.shape = (7,)
    for other in (Unshaped([1, 2]), Unshaped(memoryview(b"")), lying):
        assert find(other) is None


class Parents:
    """A tensor as small frameworks for teaching have it, with more attributes than its data."""

    def __init__(self, data: Any, *parents: Any, requires_grad: bool = False) -> None:
        self._data = np.asarray(data, np.float32)
        self.parents = set(parents)
        self.requires_grad = requires_grad
        self.grad = None
        self.backward: Any = lambda: None
        self.mean = float(self._data.mean())

    @property
    def data(self) -> Any:
        return self._data.view()

    @property
    def shape(self) -> Any:
        return self._data.shape


class Slots:
    __slots__ = ("__hidden", "data")

    def __init__(self, data: Any, hidden: Any = None) -> None:
        self.data, self.__hidden = data, hidden


@pytest.mark.parametrize("box", [Tensor, Unshaped, Parents, Slots])
def test_a_box_is_built_again_whole_from_its_array(box: Any) -> None:
    rows = [box(np.full((2, 3), number, np.float32)) for number in range(3)]
    assert find(rows[0]) is boxed
    batch = default_collate(rows)
    assert type(batch) is box
    assert (batch.data[:, 0, 0].tolist(), batch.data.shape) == ([0, 1, 2], (3, 2, 3))


class Sample:
    def __init__(self, data: Any, label: Any = 0, mask: Any = None) -> None:
        self.data, self.label, self.mask = data, label, mask


class Clip:
    def __init__(self, data: Any, rate: int) -> None:
        self.data, self.rate = data, rate


class Scaled:
    def __init__(self, data: Any) -> None:
        self.data = data / 2


class Text(str):
    """Text that has been read from an array: the class takes other arguments, and is a string in the first place."""

    data: Any


def _text() -> Any:
    text = Text("text")
    text.data = np.zeros(2)
    return text


def _noted() -> Any:
    noted = Tensor([1, 2])
    noted.note = "added later"  # type: ignore[attr-defined]
    return noted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Sample(np.zeros(2), 3), r"\(Sample\(data\), built of the ndarray in .data alone, would not have its label\)"),
        (Sample(np.zeros(2), 3, np.ones(2)), "would not have its label, mask"),
        (Clip(np.zeros(2), 16000), r"\(it has an ndarray in .data, but Clip\(data\) does not build it again\)"),
        (Scaled(np.ones(2)), r"but Scaled\(data\) does not build it again"),
        (Slots(np.zeros(2), "hidden"), "would not have its _Slots__hidden"),
        (_noted(), "would not have its note"),
    ],
)
def test_lossy_box_is_refused(value: Any, text: str) -> None:
    assert find(value) is None
    with pytest.raises(MixedSamplesError, match=text):
        default_collate([{"x": value}])
    with pytest.raises(ArgumentTypeError, match="is a "):
        TensorDataset(value)


def test_lossy_later_box_is_refused() -> None:
    samples = [Sample(np.zeros(2)), Sample(np.zeros(2)), Sample(np.zeros(2), 1)]
    assert default_collate(samples[:2]).label == 0
    with pytest.raises(
        MixedSamplesError, match=r"is a .*Sample in sample 9, which has no batch .*would not have its label"
    ):
        default_collate(samples, [7, 8, 9])


@pytest.mark.parametrize(
    ("name", "wrong"), [("shape", (7,)), ("shape", [2]), ("size", 7), ("requires_grad", True), ("note", "added later")]
)
def test_later_value_that_is_no_box_is_refused(name: str, wrong: Any) -> None:
    boxes = [Tensor([1, 2]), Tensor([3, 4]), Tensor([5, 6])]
    assert default_collate(boxes).data.tolist() == [[1, 2], [3, 4], [5, 6]]
    setattr(boxes[2], name, wrong)
    with pytest.raises(MixedSamplesError, match="Tensor in sample 2, which has no batch"):
        default_collate(boxes)


def test_a_subclass_of_str_is_a_text() -> None:
    assert default_collate([_text()]) == ["text"]


class Quantity(np.ndarray):
    """An ndarray with a unit, as that of astropy."""

    unit: Any

    def __array_finalize__(self, source: Any) -> None:
        self.unit = getattr(source, "unit", None)


def test_a_subclass_of_ndarray_with_attributes_is_refused() -> None:
    bare = np.zeros(2).view(Quantity)
    assert type(default_collate([bare, bare])) is np.ndarray
    metres = np.zeros(2).view(Quantity)
    metres.unit = "m"
    with pytest.raises(MixedSamplesError, match="a Quantity is more than its elements"):
        default_collate([bare, metres])


class Raising:
    """An object whose attributes raise whatever they like."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name} outside of a request")


class Endless(dict[str, Any]):
    """A dict whose attributes are its items, and that has an item of any name: another one."""

    def __getattr__(self, name: str) -> Any:
        return Endless()


class Lazy:
    """An object that is computed when it is looked at."""

    @property
    def data(self) -> Any:
        raise NotImplementedError("not known before it is computed")

    shape = nbytes = data


@pytest.mark.parametrize("make", [Raising, Endless, Lazy, Mock, MagicMock])
def test_probes_of_objects_do_not_raise(make: Any) -> None:
    value = make()
    assert find(value) is None
    assert frameworks.reduce(value) is None
    assert frameworks.explain(value) == ""
    assert count_bytes({"x": [value]}) == 0


def test_each_adapter_has_every_function() -> None:
    names = {name for name in vars(frameworks.Adapter) if not name.startswith("_")}
    for adapter in (find(np.zeros(1)), find(Tensor([1]))):
        assert names <= set(vars(adapter))


# ---------------------------------------------------------------------- the same face, whatever the framework


def _torch(array: Any) -> Any:
    return pytest.importorskip("torch", reason="it owns the values").from_numpy(array)


def _jax(array: Any) -> Any:
    return pytest.importorskip("jax.numpy", reason="it owns the values").asarray(array)


KINDS: dict[str, Any] = {"numpy": np.asarray, "boxed": Tensor, "unshaped": Unshaped, "torch": _torch, "jax": _jax}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]


def as_lists(adapter: Any, value: Any) -> Any:
    return adapter.to_numpy(value).tolist()


def test_rows_taken_stacked_and_converted_are_of_the_same_kind(make: Any) -> None:
    value = make(np.arange(6, dtype=np.float32).reshape(3, 2))
    adapter: Any = find(value)
    assert adapter.owns(value)
    assert not adapter.owns("text")
    assert as_lists(adapter, value) == [[0, 1], [2, 3], [4, 5]]
    rows = [adapter.row(value, 2), adapter.row(value, 0)]
    for found in (adapter.stack(rows), adapter.take(value, np.array([2, 0])), default_collate(rows)):
        assert type(found) is type(value)
        assert as_lists(adapter, found) == [[4, 5], [0, 1]]
    made = adapter.from_numpy(np.ones((2, 2), np.float32), value)
    assert type(made) is type(value)
    assert as_lists(adapter, made) == [[1, 1], [1, 1]]


def test_labels_of_one_dimension_collate(make: Any) -> None:
    value = make(np.arange(3, dtype=np.float32))
    adapter: Any = find(value)
    batch = default_collate([adapter.row(value, index) for index in (2, 0)])
    assert type(batch) is type(value)
    assert as_lists(adapter, batch) == [2, 0]


def test_ragged_samples_of_every_kind_are_named(make: Any) -> None:
    with pytest.raises(RaggedSamplesError, match=r"sample 4 has \(2,\), sample 9 has \(3,\)"):
        default_collate([make(np.zeros(2, np.float32)), make(np.zeros(3, np.float32))], [4, 9])


def test_kinds_do_not_mix() -> None:
    for first, second in [(Tensor([1]), np.zeros(1)), (np.zeros(1), _torch(np.zeros(1))), (_torch(np.zeros(1)), 1)]:
        with pytest.raises(MixedSamplesError, match="differs in type"):
            default_collate([first, second])


@pytest.mark.parametrize("value", [1, "text", object(), np.zeros(2), Tensor([1, 2]), [np.zeros(2)]])
def test_other_values_are_pickled_their_own_way(value: Any) -> None:
    assert frameworks.reduce(value) is None


# ---------------------------------------------------------------------- torch


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="its tensors are tested")


def test_torch_memory_is_shared(torch: Any) -> None:
    tensor = torch.arange(6.0).reshape(2, 3).T
    adapter: Any = find(tensor)
    array = adapter.to_numpy(tensor)
    array[0, 0] = 9
    assert tensor[0, 0] == 9
    back = adapter.from_numpy(array, tensor)
    back[0, 1] = 7
    assert array[0, 1] == 7


def test_bfloat16_is_neither_copied_nor_taken_for_integers(torch: Any) -> None:
    tensor = torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16)
    adapter: Any = find(tensor)
    back = adapter.from_numpy(adapter.to_numpy(tensor), tensor)
    assert back.dtype == torch.bfloat16
    assert back.data_ptr() == tensor.data_ptr()
    for shape in [(), (3,), (2, 0), (2, 3)]:
        batch = default_collate([torch.ones(shape, dtype=torch.bfloat16)] * 2)
        assert torch.equal(batch, torch.ones((2, *shape), dtype=torch.bfloat16))
    integers = torch.ones(1, 2, dtype=torch.int16)
    assert default_collate([tensor, integers]).dtype == torch.bfloat16
    assert merge([tensor, integers], [np.array([0]), np.array([1])]).dtype == torch.bfloat16
    text = "sample 0 has torch.uint16, sample 1 has torch.int16; convert the samples to one dtype"
    with pytest.raises(MixedSamplesError, match=text):
        default_collate([integers.to(torch.uint16), integers])
    with pytest.raises(MixedSamplesError, match=r"batches of \['uint16', 'int16'\] cannot be merged"):
        merge([integers.to(torch.uint16), integers], [np.array([0]), np.array([1])])


def test_torch_tensors_that_numpy_cannot_see_are_stacked_by_torch(torch: Any) -> None:
    weights = torch.ones(2, requires_grad=True)
    default_collate([weights, weights * 2]).sum().backward()
    assert weights.grad.tolist() == [3, 3]
    conjugated = torch.tensor([1 + 2j]).conj()
    assert default_collate([conjugated, conjugated]).tolist() == [[1 - 2j]] * 2
    sparse = torch.eye(2).to_sparse()
    assert default_collate([sparse, sparse]).to_dense().tolist() == [[[1, 0], [0, 1]]] * 2
    meta = default_collate([torch.empty(3, device="meta")] * 2)
    assert (meta.device.type, tuple(meta.shape)) == ("meta", (2, 3))
    assert default_collate([weights, torch.ones(2, dtype=torch.float64)]).dtype == torch.float64
    with pytest.raises(RaggedSamplesError, match=r"sample 0 has \(2,\), sample 1 has \(3,\)"):
        default_collate([weights, torch.ones(3)])


def test_torch_tensors_are_taken_apart_into_their_memory(torch: Any) -> None:
    for tensor in (torch.arange(6.0).reshape(2, 3).T, torch.ones(2, 3, dtype=torch.bfloat16), torch.tensor(3)):
        rebuild, (array,) = frameworks.reduce(tensor) or (None, (None,))
        assert type(array) is np.ndarray
        assert array.__array_interface__["data"][0] == tensor.data_ptr()
        again = rebuild(array)
        assert (again.data_ptr(), again.dtype, again.stride()) == (tensor.data_ptr(), tensor.dtype, tensor.stride())


def test_torch_tensors_that_are_more_than_memory_are_left_to_torch(torch: Any) -> None:
    class Named(torch.Tensor):  # type: ignore[misc]
        pass

    noted = torch.ones(2)
    noted.origin = "camera 1"
    parameter = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    for tensor in (noted, parameter, torch.ones(2).as_subclass(Named), torch.ones(2, requires_grad=True)):
        assert frameworks.reduce(tensor) is None


def test_sizes_of_tensors_become_arrays(torch: Any) -> None:
    _, size = default_collate([(torch.zeros(2, 3), torch.zeros(2, 3).shape)] * 2)
    assert [axis.tolist() for axis in size] == [[2, 2], [3, 3]]


def test_numbers_beside_tensors_become_tensors(torch: Any) -> None:
    samples = [{"x": torch.ones(2), "y": (i, 0.5, i == 1), "z": [np.float32(i), np.int8(i)]} for i in range(3)]
    for batch in (default_collate(samples), DataLoader(samples, batch_size=3).batch(0)):
        fields = [*batch["y"], *batch["z"]]
        assert [field.dtype for field in fields] == [
            torch.int64,
            torch.float64,
            torch.bool,
            torch.float32,
            torch.int8,
        ]
        assert fields[0].tolist() == [0, 1, 2]
    day = np.datetime64("2020-01-01")
    beside: Any = default_collate([(torch.ones(1), day, np.longdouble(1), np.ones(2), "text")])
    assert [type(field) for field in beside] == [torch.Tensor, np.ndarray, np.ndarray, np.ndarray, list]
    assert type(default_collate([1, 2])) is np.ndarray


class Rows:
    """Makes tensors of samples and of batches."""

    batched = True

    def __call__(self, array: Any) -> Any:
        return sys.modules["torch"].from_numpy(array)

    apply_batch = __call__


def test_batches_of_datasets_have_the_numbers_of_collated_samples(torch: Any) -> None:
    images, labels = torch.arange(12.0).reshape(6, 2), np.arange(6)
    datasets = {
        "tensors": TensorDataset(images, labels),
        "times": TensorDataset(images, labels.astype("M8[s]")),
        "big-endian": TensorDataset(images, labels.astype(">i4")),
        "stacked": StackDataset(TensorDataset(images), labels.tolist(), TensorDataset(labels)),
        "mapped": TensorDataset(images.numpy(), labels).map(torch.from_numpy, 0),
        "joined": ConcatDataset([TensorDataset(images, labels), TensorDataset(images, labels / 2)]),
        "joined ways": ConcatDataset(
            [TensorDataset(images.numpy(), labels).map(Rows(), 0), list(zip(images, labels, strict=True))]
        ),
        "cached": TensorDataset(images, labels).cache(),
    }
    for name, dataset in datasets.items():
        check_dataset(dataset)
        with DataLoader(dataset, batch_size=len(dataset), collate_fn=default_collate) as loader:
            expected = loader.batch(0)
        for _ in range(2):
            check_same(DataLoader(dataset, batch_size=len(dataset)).batch(0), expected, name)


def test_numbers_beside_arrays_of_two_frameworks_are_numpys(torch: Any, jax: Any) -> None:
    batch = default_collate([(torch.ones(1), jax.numpy.ones(1), 1)])
    assert [type(field) for field in batch[:1]] == [torch.Tensor]
    assert type(batch[2]) is np.ndarray


def test_dtypes_of_tensors_promote_in_any_order(torch: Any) -> None:
    samples = [torch.ones(2, dtype=torch.int64), torch.ones(2, dtype=torch.float16), torch.ones(2, dtype=torch.float32)]
    for order in itertools.permutations(samples):
        assert default_collate(list(order)).dtype == torch.float32


def test_tensor_subclasses_are_stacked_as_torch_stacks_them(torch: Any) -> None:
    class Tagged(torch.Tensor):  # type: ignore[misc]
        pass

    rows = [torch.full((2,), i).as_subclass(Tagged) for i in range(3)]
    batch = default_collate(rows)
    assert type(batch) is Tagged
    assert batch.tolist() == [[0, 0], [1, 1], [2, 2]]
    merged = merge([batch[:2], batch[2:]], [np.array([2, 0]), np.array([1])])
    assert (type(merged), merged[:, 0].tolist()) == (Tagged, [1, 2, 0])
    (rows_of,) = TensorDataset(batch).get_batch(np.array([2, 0]))
    assert (type(rows_of), rows_of[:, 0].tolist()) == (Tagged, [2, 0])
    plain = default_collate([torch.nn.Parameter(torch.ones(1), requires_grad=False)] * 2)
    assert type(plain) is torch.Tensor


def test_channels_last_is_kept(torch: Any) -> None:
    images = torch.rand(6, 3, 4, 5).to(memory_format=torch.channels_last)
    (batch,) = TensorDataset(images).get_batch(np.array([4, 1]))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, images[[4, 1]])
    pairs = default_collate([images[:2], images[2:4]])
    assert pairs.stride() == torch.stack([images[:2], images[2:4]]).stride()
    for dtype, count in ((torch.float32, 4), (torch.bfloat16, 5)):
        tensor = torch.rand(2, 3, *[4] * (count - 2)).to(dtype)
        tensor = tensor.to(memory_format=torch.channels_last if count == 4 else torch.channels_last_3d)
        again = pickle.loads(dump(tensor))
        assert torch.equal(again, tensor)
        assert again.stride() == tensor.stride()
        stacked = default_collate([tensor, tensor])
        assert pickle.loads(dump(stacked)).stride() == stacked.stride() == torch.stack([tensor, tensor]).stride()
        found = frameworks.framework_of(tensor)
        assert found is not None
        assert torch.equal(frameworks.rebuild(found[0], found[1]), tensor)


def dump(tensor: Any) -> bytes:
    """Pickle a tensor in the way that a batch of a worker is pickled."""

    class Pickler(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            return frameworks.reduce(value) or NotImplemented

    file = io.BytesIO()
    Pickler(file, protocol=5).dump(tensor)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC) tensor support", "ignore:The PyTorch API of nested tensors")
def test_layouts_without_a_batch_are_named_with_the_remedy(torch: Any) -> None:
    eye = torch.eye(2)
    ragged = [torch.ones(2), torch.ones(3)]
    for value, text in [
        (eye.to_sparse_csr(), r"a tensor of layout torch.sparse_csr has no batch; value.to_dense\(\) has one"),
        (eye.to_sparse_csc(), r"a tensor of layout torch.sparse_csc has no batch; value.to_dense\(\) has one"),
        (torch.nested.nested_tensor(ragged), r"a nested tensor has no batch; torch.nested.to_padded_tensor"),
        (torch.nested.nested_tensor(ragged, layout=torch.jagged), r"a nested tensor has no batch"),
    ]:
        with pytest.raises(MixedSamplesError, match=rf"^field sample\['x'\] in sample 7: {text}"):
            default_collate([{"x": value}] * 2, [7, 8])
    with pytest.raises(MixedSamplesError, match=r"field sample\['x'\] cannot be stacked, in samples 7 ... 8: "):
        default_collate([{"x": eye}, {"x": eye.to_sparse()}], [7, 8])


def test_parameters_and_tensors_mix(torch: Any) -> None:
    batch = default_collate([torch.nn.Parameter(torch.ones(2), requires_grad=False), torch.zeros(2)])
    assert type(batch) is torch.Tensor
    assert batch.tolist() == [[1, 1], [0, 0]]


def test_without_a_gpu_nothing_is_pinned(torch: Any) -> None:
    assert frameworks.can_pin() is torch.cuda.is_available()
    assert frameworks.pin("text") == "text"


def test_torch_streams_are_recognised(torch: Any) -> None:
    class Stream(torch.utils.data.IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Any:
            return iter([1])

    assert frameworks.is_iterable_dataset(Stream())
    assert not frameworks.is_iterable_dataset([1])


# ---------------------------------------------------------------------- jax


@pytest.fixture
def jax() -> Any:
    return pytest.importorskip("jax", reason="its arrays are tested")


def test_jax_arrays_keep_their_dtype(jax: Any) -> None:
    for dtype in ("float32", "int32", "uint8", "bool", "bfloat16", "complex64", "float8_e4m3fn"):
        value = jax.numpy.ones((2, 3)).astype(dtype)
        batch = default_collate([value, value])
        assert isinstance(batch, jax.Array)
        assert (batch.dtype, batch.shape) == (value.dtype, (2, 2, 3))
        assert (batch == 1).all()


def test_jax_arrays_are_taken_apart_into_their_memory(jax: Any) -> None:
    for dtype in ("float32", "bfloat16"):
        value = jax.numpy.ones((2, 3)).astype(dtype)
        rebuild, (array,) = frameworks.reduce(value) or (None, (None,))
        assert array.__array_interface__["data"][0] == value.unsafe_buffer_pointer()
        assert isinstance(rebuild(array), jax.Array)
        assert rebuild(array).dtype == value.dtype
    assert frameworks.reduce(jax.numpy.asarray(1.0)) is None  # it is weakly typed
    assert frameworks.reduce(jax.random.key(0)) is None


def test_numbers_beside_jax_arrays_become_jax_arrays(jax: Any) -> None:
    batch = default_collate([(jax.numpy.ones(2), i, i / 2, True) for i in range(3)])
    assert all(isinstance(field, jax.Array) for field in batch)
    assert [str(field.dtype) for field in batch] == ["float32", "int32", "float32", "bool"]
    assert batch[1].tolist() == [0, 1, 2]
    assert type(default_collate([(jax.numpy.ones(2), np.datetime64("2020"))])[1]) is np.ndarray
    with pytest.raises(MixedSamplesError, match=r"integers up to 1099511627776 do not fit into JAX's int32"):
        default_collate([(jax.numpy.ones(2), 2**40)])


def test_dtypes_of_jax_arrays_promote(jax: Any) -> None:
    one = jax.numpy.ones(2, "bfloat16")
    assert default_collate([one, jax.numpy.ones(2, "float16")]).dtype == "float32"
    assert default_collate([jax.numpy.ones(2, int), one]).dtype == "bfloat16"


def test_jax_random_keys_have_batches(jax: Any) -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    batch = default_collate([keys[2], keys[0]])
    assert (jax.random.key_data(batch) == jax.random.key_data(keys)[np.array([2, 0])]).all()


def test_jax_arrays_do_not_change_with_memory_used_again(jax: Any) -> None:
    from headrace.batch.arena import Arena, use_arena

    arena = Arena()
    samples = [jax.numpy.full((1 << 18,), number, np.float32) for number in range(8)]
    kept = []
    for start in range(0, 8, 2):
        with use_arena(arena):
            kept.append(default_collate(samples[start : start + 2]))
    assert [batch[:, 0].tolist() for batch in kept] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert all((batch == batch[:, :1]).all() for batch in kept)
