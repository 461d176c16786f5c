"""Padded batches, held against those of torch and transformers."""

from __future__ import annotations

import re
import sys
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, PadCollate, frameworks, pad_collate
from headrace.errors import ArgumentError, ArgumentTypeError, MixedSamplesError, RaggedSamplesError
from headrace.testing import check_same


class Point(NamedTuple):
    ids: Any
    score: Any


def sequences(lengths: list[int], dtype: str = "i8", tail: tuple[int, ...] = ()) -> list[Any]:
    return [1 + np.arange(length * 3 if tail else length).astype(dtype).reshape(length, *tail) for length in lengths]


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=8),
    st.sampled_from(["u1", "i2", "f4", "i8"]),
    st.sampled_from(["right", "left"]),
    st.integers(1, 9),
    st.none() | st.integers(1, 25),
)
def test_like_rows_that_are_filled(lengths: list[int], dtype: str, side: Any, multiple: int, most: int | None) -> None:
    samples = sequences(lengths, dtype)
    cut = [sample[:most] for sample in samples]
    width = -(-max(map(len, cut)) // multiple) * multiple
    expected = np.full((len(cut), width), 7, dtype)
    for row, sample in zip(expected, cut, strict=True):
        row[width - len(sample) if side == "left" else 0 :][: len(sample)] = sample
    pad = PadCollate(padding_value=7, side=side, pad_to_multiple_of=multiple, max_length=most, return_lengths=True)
    batch, found = pad(samples)
    np.testing.assert_array_equal(batch, expected)
    assert batch.dtype == expected.dtype
    assert found.tolist() == [len(sample) for sample in cut]


def test_arrays_whose_columns_lie_end_to_end() -> None:
    samples = sequences([3, 1, 4], "f4", (3,))
    turned = [np.asfortranarray(sample) for sample in samples]
    check_same(pad_collate(turned), pad_collate(samples))
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(np.ascontiguousarray(sample.T)).T for sample in samples]  # as mel spectrograms are
    check_same(pad_collate(tensors).numpy(), pad_collate(samples))


@pytest.mark.parametrize("tail", [(), (3,)])
def test_numbers_in_another_byte_order(tail: tuple[int, ...]) -> None:
    samples = sequences([3, 1], "i4", tail)
    other = np.dtype("i4").newbyteorder()
    check_same(pad_collate([sample.astype(other) for sample in samples]), pad_collate(samples))


@pytest.mark.parametrize("tail", [(), (3,)])
@pytest.mark.parametrize("side", ["right", "left"])
def test_like_torch(side: Any, tail: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(sample) for sample in sequences([3, 1, 4, 1, 5], "f4", tail)]
    expected = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=-1, padding_side=side)
    batch = PadCollate(padding_value=-1, side=side)(tensors)
    assert type(batch) is torch.Tensor
    assert batch.dtype == expected.dtype
    assert torch.equal(batch, expected)


def test_tensors_promote_as_torch_has_it() -> None:
    torch = pytest.importorskip("torch")
    mixed = [torch.tensor([1.5, 2.5]), torch.tensor([3]), torch.tensor([], dtype=torch.float16)]
    batch = pad_collate(mixed)
    assert batch.tolist() == [[1.5, 2.5], [3, 0], [0, 0]]
    assert batch.dtype == torch.cat(mixed).dtype == torch.float32
    wide = [torch.tensor([1, 2], dtype=torch.uint8), torch.tensor([-3], dtype=torch.int16)]
    assert pad_collate(wide).tolist() == [[1, 2], [-3, 0]]
    assert pad_collate(wide).dtype == torch.int16


@pytest.mark.parametrize("side", ["right", "left"])
def test_tensors_that_are_no_plain_ones(side: Any) -> None:
    torch = pytest.importorskip("torch")
    apart = [torch.arange(10)[::2], torch.arange(6)[1:3], torch.arange(0)]
    rows = torch.ones(2, 3), torch.zeros(1, 3), torch.ones(0, 3)
    for tensors in (apart, rows, apart[::-1], rows[::-1]):
        expected = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_side=side)
        assert torch.equal(PadCollate(side=side)(list(tensors)), expected)
    with pytest.raises(MixedSamplesError, match="cannot be padded"):
        pad_collate([torch.ones(1, requires_grad=True), torch.ones(2)])
    with pytest.raises(RaggedSamplesError, match="differs in shape"):
        pad_collate([torch.ones(2), torch.ones(2, 3)])


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float32", "float16", "complex64"])
@pytest.mark.parametrize("exchanges", [False, True])
def test_tensors_where_they_lie(dtype: str, exchanges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    adapter = frameworks.find(torch.zeros(1))
    if not exchanges:  # as older versions of torch
        monkeypatch.setattr(adapter, "_EXCHANGE", None)
    tensors = [torch.arange(1, 1 + length).to(getattr(torch, dtype)) for length in (3, 0, 4, 1)]
    views = [tensors[2][1:3], tensors[2][::2], tensors[0]]
    for values in (tensors, views, [tensors[1]] * 2):
        expected = torch.nn.utils.rnn.pad_sequence(values, batch_first=True)
        batch, lengths = PadCollate(return_lengths=True)(values)
        assert torch.equal(batch, expected)
        assert batch.dtype == expected.dtype
        assert lengths.tolist() == [len(value) for value in values]


def test_tensors_that_are_not_what_lies_in_their_memory() -> None:
    torch = pytest.importorskip("torch")
    parts = torch.tensor([1 + 2j, 3 - 4j]).conj()
    negated = [parts[:1].imag, parts[1:].imag]
    assert negated[0].is_neg()
    assert PadCollate()(negated).tolist() == [[-2.0], [4.0]]
    conjugated = [parts[:1], parts]
    assert PadCollate()(conjugated).tolist() == [[1 - 2j, 0], [1 - 2j, 3 + 4j]]
    mixed = [torch.tensor([1, 2]), torch.tensor([1.5])]
    assert PadCollate()(mixed).tolist() == [[1.0, 2.0], [1.5, 0.0]]
    with pytest.raises(ArgumentError, match="cannot hold the padding value -100"):
        PadCollate(padding_value=-100)([torch.zeros(2, dtype=torch.uint8), torch.zeros(1, dtype=torch.uint8)])


@pytest.mark.parametrize("kind", ["sparse", "meta"])
def test_tensors_without_memory_here(kind: str) -> None:
    torch = pytest.importorskip("torch")
    other = torch.tensor([1, 0]).to_sparse() if kind == "sparse" else torch.empty(2, dtype=torch.int64, device="meta")
    dense = torch.tensor([1, 2, 3])
    for values in ([dense, other], [other, dense]):
        with pytest.raises(MixedSamplesError, match="NumPy does not see their memory"):
            PadCollate()(values)
    assert PadCollate()([dense, torch.tensor([True])]).tolist() == [[1, 2, 3], [1, 0, 0]]


def test_objects_are_referred_to() -> None:
    values = [object() for _ in range(5)]
    counts = list(map(sys.getrefcount, values))
    batch = PadCollate(padding_value=None)([np.array(values[:3], object), np.array(values[3:], object)])
    assert batch.tolist() == [values[:3], [*values[3:], None]]
    assert list(map(sys.getrefcount, values)) == [count + 1 for count in counts]
    del batch
    assert list(map(sys.getrefcount, values)) == counts


def test_like_transformers() -> None:
    torch = pytest.importorskip("torch")
    tokenization = pytest.importorskip("transformers.data.data_collator")
    base = pytest.importorskip("transformers.tokenization_utils_base")

    class Tokenizer:
        """As much of a tokenizer as its padding needs."""

        padding_side, pad_token_id, pad_token_type_id, pad_token = "right", 9, 0, "<pad>"
        model_input_names = ("input_ids", "attention_mask")
        deprecation_warnings: ClassVar[dict[str, bool]] = {}
        pad = base.PreTrainedTokenizerBase.pad
        _pad = base.PreTrainedTokenizerBase._pad
        _get_padding_truncation_strategies = base.PreTrainedTokenizerBase._get_padding_truncation_strategies

    samples = [{"input_ids": ids, "labels": ids} for ids in ([5, 6, 7], [8], [1, 2, 3, 4, 5])]
    theirs = tokenization.DataCollatorForTokenClassification(Tokenizer(), pad_to_multiple_of=8)
    expected = theirs([dict(sample) for sample in samples])
    ours = PadCollate({"labels": -100, "input_ids": 9}, pad_to_multiple_of=8, mask=True)(samples)
    for name in ("input_ids", "labels", "attention_mask"):
        assert torch.equal(torch.from_numpy(ours[name]), expected[name]), name


def test_fields_keep_their_containers_and_kinds() -> None:
    samples = [{"ids": [1, 2], "pair": (np.ones(1), "a")}, {"ids": [3], "pair": (np.ones(3), "b")}]
    batch = PadCollate(mask=True, return_lengths=True)(samples)
    expected = {
        "ids": np.array([[1, 2], [3, 0]]),
        "pair": (np.array([[1.0, 0, 0], [1, 1, 1]]), ["a", "b"]),
        "lengths": np.array([2, 1]),
        "attention_mask": np.array([[1, 1], [1, 0]]),
    }
    check_same(batch, expected)
    points = PadCollate({"score": 9.0})([Point([1], np.zeros(1)), Point([2, 3], np.zeros(2))])
    check_same(points, Point(np.array([[1, 0], [2, 3]]), np.array([[0.0, 9], [0, 0]])))


def test_images_are_no_sequences_unless_named() -> None:
    samples = [{"image": np.zeros((2, 3)), "ids": np.arange(length)} for length in (1, 2)]
    assert PadCollate(pad_to_multiple_of=4)(samples)["image"].shape == (2, 2, 3)
    assert PadCollate({"image": 1}, pad_to_multiple_of=4)(samples)["image"].shape == (2, 4, 3)


def test_boxed_arrays_stay_boxed() -> None:
    class Box:
        def __init__(self, data: Any) -> None:
            self.data = np.asarray(data)

    batch = PadCollate(return_lengths=True)([Box([1, 2]), Box([3])])
    assert type(batch[0]) is type(batch[1]) is Box
    assert batch[0].data.tolist() == [[1, 2], [3, 0]]


def test_dtypes_promote_and_lists_may_be_empty() -> None:
    batch = pad_collate([np.array([1], np.int16), np.array([0.5, 2], np.float32)])
    assert batch.dtype == np.float32
    assert pad_collate([[2**63, 1], [True]]).dtype == np.float64  # NumPy has no integers for both
    empty = pad_collate([{"ids": []}, {"ids": [3]}])["ids"]
    assert empty.dtype == np.int64
    assert empty.tolist() == [[0], [3]]
    assert pad_collate([[], []]).shape == (2, 0)


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_in_workers(backend: Any) -> None:
    samples = sequences([3, 1, 4, 1, 5, 9, 2, 6])
    alone = list(DataLoader(samples, 3, collate_fn=pad_collate, shuffle=True, seed=0))
    with DataLoader(samples, 3, collate_fn=pad_collate, shuffle=True, seed=0, num_workers=2, backend=backend) as loader:
        check_same(list(loader), alone)


def test_the_error_for_ragged_samples_names_it() -> None:
    for samples in (sequences([2, 3]), [[1, 2], [1]]):
        with pytest.raises(RaggedSamplesError, match=r"or pass a collate_fn: headrace\.pad_collate pads sequences"):
            next(iter(DataLoader(samples, 2)))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"fields": ["labels"]}, ArgumentTypeError, "fields must be a dict of padding values by field"),
        ({"side": "top"}, ArgumentError, "side must be 'right' or 'left', but got side='top'"),
        ({"max_length": 0}, ArgumentError, "max_length must be a positive integer or None, but got max_length=0"),
        ({"pad_to_multiple_of": True}, ArgumentError, "pad_to_multiple_of must be a positive integer or None"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        PadCollate(**arguments)


def test_batches_that_are_refused() -> None:
    tokens = [{"ids": sample} for sample in sequences([2, 3], "u2")]
    with pytest.raises(ArgumentError, match="which cannot hold the padding value None"):
        PadCollate({"ids": None})(tokens)
    with pytest.raises(
        ArgumentError, match=r"field sample\['ids'\] is of uint16, which cannot hold the padding value -1"
    ):
        PadCollate({"ids": -100})(tokens)
    with pytest.raises(ArgumentError, match=r"cannot hold the padding value 0\.5"):
        PadCollate(padding_value=0.5)(tokens)
    with pytest.raises(RaggedSamplesError, match=r"differs in shape: sample 0 has \(3,\), sample 1 has \(2,\)"):
        pad_collate([np.zeros((1, 3)), np.zeros((2, 2))])
    with pytest.raises(MixedSamplesError, match="differs in dtype"):
        pad_collate([np.zeros(1), np.array(["a", "b"])])
    with pytest.raises(ArgumentError, match="no sequence in the samples"):
        PadCollate(mask=True)([1, 2])
    with pytest.raises(ArgumentError, match="needs at least one"):
        pad_collate([])
