"""Megatron's order, held against the tables that Megatron made, and against samples laid end to end."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, GPTDataset
from headrace.errors import ArgumentError, CorruptDataError
from headrace.formats.tokens.megatron_order import gpt_order
from headrace.testing import check_dataset, check_same

_PLACE = importlib.util.spec_from_file_location("token_files_of_tests", Path(__file__).with_name("files.py"))
assert _PLACE is not None
assert _PLACE.loader is not None
files: Any = importlib.util.module_from_spec(_PLACE)
_PLACE.loader.exec_module(files)
DATA = Path(__file__).with_name("data")
GOLDEN = json.loads((DATA / "gpt_order.json").read_text(encoding="utf-8"))
LENGTHS = np.array([5, 1, 17, 33, 2, 8, 64, 3, 21, 10])


@pytest.mark.parametrize("samples", GOLDEN)
def test_the_order_is_megatrons(samples: str) -> None:
    order = gpt_order(LENGTHS, 16, samples=None if samples == "None" else int(samples))
    golden = GOLDEN[samples]
    assert order.documents.tolist() == golden["document_index"]
    assert order.bounds.tolist() == golden["sample_index"]
    assert order.samples.tolist() == golden["shuffle_index"]


@pytest.mark.parametrize("samples", GOLDEN)
def test_the_samples_are_megatrons(samples: str) -> None:
    dataset = GPTDataset(DATA / "text_u16", 16, None if samples == "None" else int(samples))
    tokens, labels = dataset[0]
    assert tokens.tolist() == GOLDEN[samples]["tokens0"]
    assert labels.tolist() == GOLDEN[samples]["labels0"]
    check_dataset(dataset, negative=True, picklable=True)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(1, 20), st.integers(1, 30), st.integers(0, 9))
def test_samples_lie_end_to_end(lengths: list[int], length: int, samples: int, seed: int) -> None:
    if not sum(lengths):
        return
    order = gpt_order(np.array(lengths), length, samples=samples, seed=seed)
    assert len(order.samples) >= samples
    assert sorted(order.samples.tolist()) == list(range(len(order.samples)))
    ends = np.cumsum(np.array(lengths)[order.documents])
    stream = (ends - np.array(lengths)[order.documents])[order.bounds[:, 0]] + order.bounds[:, 1]
    np.testing.assert_array_equal(stream, np.arange(len(stream)) * length)


@pytest.mark.parametrize("split", [(0.0, 1.0), (0.25, 0.75)])
def test_samples_are_pieces_of_sequences(tmp_path: Path, split: tuple[float, float]) -> None:
    documents = files.random_documents()
    dataset = GPTDataset(files.write_megatron(tmp_path / "a", documents), 16, 100, split=split, seed=5)
    check_dataset(dataset, picklable=True)
    first, last = (round(part * len(documents)) for part in split)
    order = gpt_order(np.array([*map(len, documents[first:last])]), 16, first=first, samples=100, seed=5)
    stream = np.concatenate([documents[number] for number in order.documents])
    for index, number in enumerate(order.samples.tolist()):
        tokens, labels = dataset[index]
        np.testing.assert_array_equal(tokens, stream[number * 16 : number * 16 + 16])
        np.testing.assert_array_equal(labels, stream[number * 16 + 1 : number * 16 + 17])
    with DataLoader(dataset, 16, num_workers=2) as loader:
        check_same([*loader], [*DataLoader(dataset, 16)])


def test_what_is_refused(tmp_path: Path) -> None:
    prefix = files.write_megatron(tmp_path / "a", [np.arange(9), np.arange(100, 130)])
    with pytest.raises(ArgumentError, match="a sample of length=64 takes 65 tokens, but there are 39"):
        GPTDataset(prefix, 64)
    with pytest.raises(ArgumentError, match=r"split must be two fractions .* got split=\(0.5, 0.2\)"):
        GPTDataset(prefix, 8, split=(0.5, 0.2))
    with pytest.raises(ArgumentError, match="has none of the 2 sequences"):
        GPTDataset(prefix, 8, split=(0.0, 0.1))
    with pytest.raises(ArgumentError, match="samples must be an integer from 1 to"):
        GPTDataset(prefix, 8, 0)
    for seed in (None, -1, 2**32, 1.5, True):
        with pytest.raises(
            ArgumentError, match=r"seed must be an integer from 0 to 2\*\*32 - 1, as Megatron's, but got"
        ):
            GPTDataset(prefix, 8, seed=seed)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"take headrace\.TokenDataset"):
        GPTDataset(files.write_llmc(tmp_path / "b.bin", range(99)), 8)
    dataset = GPTDataset(prefix, 4, vocab_size=100)
    bad = next(index for index in range(len(dataset)) if dataset_has(prefix, index))
    with pytest.raises(CorruptDataError, match=rf"sample {bad} has the token 1\d\d, but vocab_size=100"):
        dataset[bad]


def dataset_has(prefix: Path, index: int) -> bool:
    return bool(max(map(np.max, GPTDataset(prefix, 4)[index])) >= 100)
