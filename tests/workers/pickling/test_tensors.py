"""Tensors of torch and arrays of JAX between processes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from tests.workers.pickling.helpers import (
    Dump,
    apart,
    dumps,
    in_worker,
    there_and_back,
)

from headrace.errors import NotPicklableError
from headrace.testing import check_same
from headrace.workers.pickling.messages import load


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="its tensors travel")


@pytest.fixture
def jax() -> Any:
    return pytest.importorskip("jax", reason="its arrays travel")


@dumps
def test_torch_tensors_are_not_copied(torch: Any, dump: Dump) -> None:
    images = torch.arange(4096.0).reshape(2, 32, 8, 8)
    for tensor in (
        images,
        images.to(torch.bfloat16),
        images.to(torch.complex64),
        images.permute(3, 0, 1, 2),
        images.contiguous(memory_format=torch.channels_last),
    ):
        sent = dump({"x": tensor})
        assert [buffer.raw().nbytes for buffer in sent.buffers] == [tensor.nbytes]
        back = load(sent.payload, sent.buffers)["x"]
        assert back.data_ptr() == tensor.data_ptr()
        assert (back.dtype, back.stride()) == (tensor.dtype, tensor.stride())
        copied = there_and_back(tensor, dump)
        assert torch.equal(copied, tensor)
        assert copied.is_contiguous(memory_format=torch.channels_last) == tensor.is_contiguous(
            memory_format=torch.channels_last
        )


@dumps
def test_torch_views_and_small_tensors_travel(torch: Any, dump: Dump) -> None:
    rows = torch.arange(4096.0).reshape(64, 64)
    for tensor in (rows[:, ::2], rows[3, 1:4], torch.tensor(3), rows[:0], rows[:, :1].expand(64, 64)):
        back = there_and_back(tensor, dump)
        assert torch.equal(back, tensor)
        back += 1  # its memory is its own
    assert rows[3, 1] == 193
    assert apart(rows[:, ::2], dump) == [8192]


@dumps
def test_what_numpy_cannot_see_goes_torchs_way(torch: Any, dump: Dump) -> None:
    weights = torch.ones(2000, requires_grad=True)
    assert there_and_back(weights, dump).requires_grad
    parameter = torch.nn.Parameter(torch.ones(2000), requires_grad=False)
    assert type(there_and_back(parameter, dump)) is torch.nn.Parameter
    sparse = torch.eye(50).to_sparse()
    assert torch.equal(there_and_back(sparse, dump).to_dense(), torch.eye(50))
    named = torch.ones(3)
    named.origin = "camera 1"
    assert there_and_back(named, dump).origin == "camera 1"
    conjugate = torch.ones(3, dtype=torch.complex64).conj()
    assert torch.equal(there_and_back(conjugate, dump), conjugate)


FOREIGN = ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "complex32", "bits16", "uint4", "float4_e2m1fn_x2"]


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@dumps
@pytest.mark.parametrize("name", FOREIGN)
def test_dtypes_that_numpy_lacks(torch: Any, name: str, dump: Dump) -> None:
    dtype = getattr(torch, name, None)
    if dtype is None:
        pytest.skip("this torch has no such dtype")
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[dtype.itemsize]
    tensor = torch.arange(8192, dtype=torch.int32).to(integers).reshape(64, 128).view(dtype)
    for sent in (tensor, tensor.T, tensor[:, ::2], tensor[0, 0], tensor[:0]):
        back = there_and_back(sent, dump)
        assert (back.dtype, back.shape) == (dtype, sent.shape)
        assert torch.equal(back.view(integers), sent.view(integers))
    assert apart(tensor, dump) == [tensor.nbytes]


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@dumps
def test_such_tensors_keep_what_torch_knows_of_them(torch: Any, dump: Dump) -> None:
    weights = torch.ones(3).to(torch.float8_e5m2).requires_grad_()
    assert there_and_back(weights, dump).requires_grad
    numbers = torch.tensor([1 + 2j]).to(torch.complex32).conj()
    assert there_and_back(numbers, dump).to(torch.complex64).tolist() == [1 - 2j]


@dumps
def test_tensors_with_a_graph_are_refused(torch: Any, dump: Dump) -> None:
    weights = torch.ones(3, requires_grad=True)
    for tensor in (weights * 2, torch.nn.Parameter(torch.ones(3)).sum(), weights.to(torch.float8_e5m2)):
        with pytest.raises(
            NotPicklableError, match=r"\['x'\] .* a torch.Tensor .*was computed from others.*detach\(\)"
        ):
            dump({"x": tensor})
        assert there_and_back(tensor.detach(), dump).shape == tensor.shape


@dumps
def test_jax_arrays_lie_apart(jax: Any, dump: Dump) -> None:
    for dtype in ("float32", "int8", "bfloat16", "float8_e4m3fn"):
        value = jax.numpy.arange(8192).reshape(2, 4096).astype(dtype)
        assert apart((value,), dump) == [value.nbytes]
        (back,) = there_and_back((value,), dump)
        assert isinstance(back, jax.Array)
        check_same(back, value)


@dumps
def test_what_numpy_cannot_see_goes_jaxs_way(jax: Any, dump: Dump) -> None:
    assert there_and_back(jax.numpy.asarray(1.0), dump).weak_type
    assert not there_and_back(jax.numpy.asarray(np.float32(1)), dump).weak_type
    key = jax.random.key(3)
    assert (jax.random.key_data(there_and_back(key, dump)) == jax.random.key_data(key)).all()


def test_tensors_go_to_a_worker_and_back(torch: Any) -> None:
    back = in_worker(functools.partial(torch.stack, [torch.ones(2000), torch.zeros(2000)]))
    assert torch.equal(back, torch.stack([torch.ones(2000), torch.zeros(2000)]))
