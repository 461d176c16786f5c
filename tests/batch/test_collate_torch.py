"""Batches of torch tensors are what `torch.stack` makes of them, in memory of their own or in a lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import default_collate
from headrace.batch.arena import Arena, use_arena
from headrace.errors import MixedSamplesError, RaggedSamplesError

if TYPE_CHECKING:
    from collections.abc import Callable

torch: Any = pytest.importorskip("torch", reason="its tensors are collated")
adapter: Any = pytest.importorskip("headrace.frameworks.torch")


def images(shape: tuple[int, ...], count: int = 4, dtype: str = "float32") -> list[Any]:
    made = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=made).mul(9).to(getattr(torch, dtype)) for _ in range(count)]


SAMPLES: dict[str, Callable[[], list[Any]]] = {
    "rows": lambda: images((5,)),
    "numbers": lambda: images(()),
    "none": lambda: images((0, 3)),
    "of one": lambda: images((5,), count=1),
    "as Pillow has them": lambda: [image.permute(2, 0, 1) for image in images((5, 6, 3))],
    "transposed": lambda: [image.T for image in images((5, 6))],
    "of every other column": lambda: [image[:, ::2] for image in images((5, 6))],
    "expanded": lambda: [image.expand(4, 6) for image in images((1, 6))],
    "channels_last": lambda: [image.contiguous(memory_format=torch.channels_last) for image in images((2, 3, 5, 5))],
    "conjugate": lambda: [image.conj() for image in images((3,), dtype="complex64")],
    "negative": lambda: [image.conj().imag for image in images((3,), dtype="complex64")],
    "of two dtypes": lambda: [*images((3,), 2), *images((3,), 2, "float64")],
    "that record gradients": lambda: [image.requires_grad_() for image in images((3,))],
    "of which one records gradients": lambda: [*images((3,)), *(image.requires_grad_() for image in images((3,)))],
    "integers": lambda: images((), dtype="int64"),
    "integers, transposed": lambda: [image.T for image in images((5, 6), dtype="int16")],
    "integers, transposed after the first": lambda: [
        image.T if number else image for number, image in enumerate(images((6, 6), dtype="int16"))
    ],
    "integers, one column": lambda: [image[:, :1] for image in images((5, 6), dtype="uint8")],
    "integers, rows of others": lambda: [image[2] for image in images((5, 6), dtype="int32")],
    "integers, expanded": lambda: [image.expand(4, 6) for image in images((1, 6), dtype="int64")],
    "integers, channels_last": lambda: [
        image.contiguous(memory_format=torch.channels_last) for image in images((2, 3, 5, 5), dtype="uint8")
    ],
    "integers of two dtypes": lambda: [*images((3,), 2, "int64"), *images((3,), 2, "int32")],
    "integers and floats": lambda: [*images((3,), 2, "int64"), *images((3,), 2)],
    "many integers": lambda: images((1 << 14,), dtype="int64"),
    **{
        dtype: lambda dtype=dtype: images((3, 2), dtype=dtype)  # type: ignore[misc]
        for dtype in ("bool", "uint8", "int64", "float16", "bfloat16", "float64", "complex64", "float8_e4m3fn")
    },
}


@pytest.mark.parametrize("leased", [False, True], ids=["own memory", "leased"])
@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_tensors_collate_as_torch_stacks_them(
    make: Callable[[], list[Any]], leased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = make()
    expected = torch.stack(samples)
    monkeypatch.setattr(Arena, "leased_from", 1)
    with use_arena(Arena() if leased else None):
        batch = default_collate(samples)
        fields = default_collate([(sample, {"x": sample}) for sample in samples])
    for found in (batch, fields[0], fields[1]["x"]):
        assert type(found) is torch.Tensor
        assert found.dtype == expected.dtype
        assert found.requires_grad == expected.requires_grad
        assert found.stride() == expected.stride() or not found.numel()
        wide = torch.complex128 if found.dtype.is_complex else torch.float64
        assert torch.equal(found.detach().to(wide), expected.detach().to(wide))


@pytest.mark.parametrize("exchanges", [True, False], ids=["torch lends them", "an older torch"])
def test_integers_that_make_no_batch(exchanges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchanges:
        monkeypatch.setattr(adapter, "_EXCHANGE", None)
        adapter._integer_dtype.cache_clear()
        monkeypatch.setattr(adapter, "_integer_dtype", adapter._integer_dtype.__wrapped__)
    plain = torch.arange(3)
    assert default_collate([plain, plain]).tolist() == [[0, 1, 2]] * 2
    for other in (torch.arange(4), torch.arange(6).reshape(2, 3), torch.tensor(1)):
        with pytest.raises(RaggedSamplesError, match="differs in shape"):
            default_collate([plain, other])
        with pytest.raises(RaggedSamplesError, match="differs in shape"):
            default_collate([other, plain])
    with pytest.raises(MixedSamplesError):
        default_collate([plain, torch.arange(3, device="meta")])
    with pytest.raises(MixedSamplesError):
        default_collate([plain, 3])


def test_large_batches_lie_in_leased_memory() -> None:
    arena = Arena()
    with use_arena(arena):
        batch = default_collate(images((1 << 12,), count=128))
    assert len(arena.leases) == 1
    del batch
    assert (len(arena.leases), arena.free) == (0, 1)


@pytest.mark.parametrize("size", [3, 1 << 16])
def test_plain_tensors_beside_others(size: int) -> None:
    plain, learned = torch.arange(size).float(), torch.nn.Parameter(torch.ones(size), requires_grad=False)
    with use_arena(Arena()):
        batch = default_collate([plain, learned])
    assert type(batch) is torch.Tensor
    assert torch.equal(batch, torch.stack([plain, learned]))
    for other in (np.zeros(size, np.float32), "text", 1.5, None):
        with use_arena(Arena()), pytest.raises(MixedSamplesError):
            default_collate([plain, other])
