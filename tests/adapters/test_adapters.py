"""Arrays of each framework: recognised without an import, read without a copy, made of the same kind."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from headrace import adapters, default_collate
from headrace.adapters import boxed, find
from headrace.batch.merge import merge
from headrace.errors import MixedSamplesError, RaggedSamplesError


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
assert headrace.adapters.find(object()) is None
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
assert headrace.adapters.find(3) is None
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
    assert getattr(adapter, "__name__", "") == "headrace.adapters.numpy"
    assert adapter.to_numpy(value) is value


def test_masked_arrays_are_nobodys() -> None:
    assert find(np.ma.masked_array([1, 2])) is None


def test_boxes_are_recognised_by_their_ndarray() -> None:
    for box in (Tensor([1, 2]), Unshaped(np.zeros(2))):
        assert find(box) is boxed
        assert boxed.to_numpy(box) is box.data
    lying = Tensor([1, 2])
    lying.shape = (7,)
    for other in (Unshaped([1, 2]), Unshaped(memoryview(b"")), lying):
        assert find(other) is None


def test_each_adapter_has_the_whole_face() -> None:
    names = {name for name in vars(adapters.Adapter) if not name.startswith("_")}
    for adapter in (find(np.zeros(1)), find(Tensor(1))):
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
    assert adapters.reduce(value) is None


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
    text = "sample 0 has torch.bfloat16, sample 1 has torch.int16; convert the samples to one dtype"
    with pytest.raises(MixedSamplesError, match=text):
        default_collate([tensor, integers])
    with pytest.raises(MixedSamplesError, match="cannot be merged"):
        merge([tensor, integers], [np.array([0]), np.array([1])])


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
    with pytest.raises(MixedSamplesError, match=r"sample 0 has torch.float32, sample 1 has torch.float64"):
        default_collate([weights, torch.ones(2, dtype=torch.float64)])
    with pytest.raises(RaggedSamplesError, match=r"sample 0 has \(2,\), sample 1 has \(3,\)"):
        default_collate([weights, torch.ones(3)])


def test_torch_tensors_are_taken_apart_into_their_memory(torch: Any) -> None:
    for tensor in (torch.arange(6.0).reshape(2, 3).T, torch.ones(2, 3, dtype=torch.bfloat16), torch.tensor(3)):
        rebuild, (array,) = adapters.reduce(tensor) or (None, (None,))
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
        assert adapters.reduce(tensor) is None


def test_sizes_of_tensors_become_arrays(torch: Any) -> None:
    _, size = default_collate([(torch.zeros(2, 3), torch.zeros(2, 3).shape)] * 2)
    assert [axis.tolist() for axis in size] == [[2, 2], [3, 3]]


def test_parameters_and_tensors_mix(torch: Any) -> None:
    batch = default_collate([torch.nn.Parameter(torch.ones(2), requires_grad=False), torch.zeros(2)])
    assert type(batch) is torch.Tensor
    assert batch.tolist() == [[1, 1], [0, 0]]


def test_without_a_gpu_nothing_is_pinned(torch: Any) -> None:
    assert adapters.can_pin() is torch.cuda.is_available()
    assert adapters.pin("text") == "text"


def test_torch_streams_are_recognised(torch: Any) -> None:
    class Stream(torch.utils.data.IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Any:
            return iter([1])

    assert adapters.is_iterable_dataset(Stream())
    assert not adapters.is_iterable_dataset([1])


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
        rebuild, (array,) = adapters.reduce(value) or (None, (None,))
        assert array.__array_interface__["data"][0] == value.unsafe_buffer_pointer()
        assert isinstance(rebuild(array), jax.Array)
        assert rebuild(array).dtype == value.dtype
    assert adapters.reduce(jax.numpy.asarray(1.0)) is None  # it is weakly typed
    assert adapters.reduce(jax.random.key(0)) is None


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
