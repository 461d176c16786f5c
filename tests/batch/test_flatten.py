"""Batches in one row, held against transformers' own collator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace import DataLoader, FlattenCollate, TensorDataset
from headrace.errors import ArgumentError
from headrace.testing import check_same

OPTIONS = [
    {},
    {"return_position_ids": False},
    {"return_flash_attn_kwargs": True, "return_seq_idx": True},
    {"separator_id": 7},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("labelled", [False, True])
def test_like_transformers(options: dict[str, Any], labelled: bool) -> None:
    transformers = pytest.importorskip("transformers")
    samples: list[dict[str, Any]] = [{"input_ids": list(range(10 * n, 11 * n))} for n in (4, 1, 3)]
    if labelled:
        samples = [{**sample, "labels": [-token for token in sample["input_ids"]]} for sample in samples]
    expected = transformers.DataCollatorWithFlattening(return_tensors="np", **options)(samples)
    found = FlattenCollate(**options)(samples)
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
        assert np.asarray(found[name]).dtype == np.asarray(value).dtype, name


def test_tensors_and_other_fields() -> None:
    torch = pytest.importorskip("torch")
    samples = [{"input_ids": torch.arange(n), "loss_mask": torch.ones(n)} for n in (2, 0, 3)]
    batch = FlattenCollate(return_flash_attn_kwargs=True)(samples)
    assert {type(value) for value in batch.values()} == {torch.Tensor, int}
    assert batch["cu_seq_lens_q"].tolist() == [0, 2, 5]
    assert batch["loss_mask"].shape == (1, 5)


def test_packed_rows_are_taken_apart() -> None:
    data = TensorDataset(np.arange(12).reshape(4, 3)).map(lambda sample: {"input_ids": sample[0]})
    packed = data.pack_sequences(7, strategy="first_fit")
    collate = FlattenCollate(return_flash_attn_kwargs=True)
    batch = next(iter(DataLoader(packed, 2, collate_fn=collate)))
    check_same(batch["cu_seq_lens_q"], np.array([0, 3, 6, 7, 10, 13, 14], np.int32))
    assert batch["max_length_q"] == 3


def test_samples_without_tokens() -> None:
    with pytest.raises(ArgumentError, match="needs samples with a field 'input_ids', got"):
        FlattenCollate()([{"tokens": [1]}])
