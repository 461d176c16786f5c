"""Windows of token files, held against slices of the tokens that were written."""

from __future__ import annotations

import importlib.util
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, GPTDataset, TokenDataset, TokenDocuments
from headrace.errors import ArgumentError, ArgumentTypeError, CorruptDataError, FileChangedError, StorageError
from headrace.testing import check_dataset, check_same

_PLACE = importlib.util.spec_from_file_location("token_files_of_tests", Path(__file__).with_name("files.py"))
assert _PLACE is not None
assert _PLACE.loader is not None
files: Any = importlib.util.module_from_spec(_PLACE)
_PLACE.loader.exec_module(files)


def windows(tokens: Any, length: int, stride: int) -> list[tuple[Any, Any]]:
    starts = range(0, len(tokens) - length, stride)
    wide = np.asarray(tokens, np.int64)
    return [(wide[start : start + length], wide[start + 1 : start + length + 1]) for start in starts]


def samples_of(dataset: TokenDataset) -> list[Any]:
    return [dataset[index] for index in range(len(dataset))]


@pytest.mark.parametrize("dtype", ["|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<i8"])
def test_windows_are_slices(tmp_path: Path, dtype: str) -> None:
    tokens = np.random.default_rng(0).integers(0, 120, 1000).astype(dtype)
    path = files.write_plain(tmp_path / "a.bin", tokens, dtype)
    dataset = TokenDataset(path, 16, dtype)
    check_dataset(dataset, negative=True, picklable=True)
    check_same(samples_of(dataset), windows(tokens, 16, 16))
    assert dataset.lengths().tolist() == [16] * len(dataset)


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 12))
def test_strides(tmp_path_factory: pytest.TempPathFactory, count: int, length: int, stride: int) -> None:
    path = files.write_plain(tmp_path_factory.mktemp("strides") / "a.bin", range(count))
    expected = windows(range(count), length, stride)
    if not expected:
        with pytest.raises(ArgumentError, match=rf"no window of length={length}, which takes {length + 1} tokens"):
            TokenDataset(path, length, np.uint16, stride=stride)
        return
    dataset = TokenDataset(path, length, np.uint16, stride=stride)
    check_same(samples_of(dataset), expected)


def test_files_follow_each_other(tmp_path: Path) -> None:
    shards = [np.arange(start, start + 50) for start in (0, 100, 200)]
    for number, tokens in enumerate(shards):
        files.write_llmc(tmp_path / f"{number}.bin", tokens)
    dataset = TokenDataset(tmp_path / "*.bin", 8)
    check_dataset(dataset, picklable=True)
    expected = [window for tokens in shards for window in windows(tokens, 8, 8)]
    check_same(samples_of(dataset), expected)


def test_any_kind_of_file(tmp_path: Path) -> None:
    tokens = np.arange(1, 300)
    np.save(tmp_path / "numpy.npy", tokens.astype(np.uint16))
    paths = [
        files.write_megatron(tmp_path / "megatron", [tokens]),
        tmp_path / "megatron.idx",
        files.write_llmc(tmp_path / "gpt2.bin", tokens),
        files.write_llmc(tmp_path / "llama3.bin", tokens, 20240801, 7, "<u4"),
        tmp_path / "numpy.npy",
    ]
    for path in paths:
        check_same(samples_of(TokenDataset(path, 7)), windows(tokens, 7, 7), str(path))
    plain = files.write_plain(tmp_path / "olmo.npy", tokens, "<u4")
    check_same(samples_of(TokenDataset(plain, 7, np.uint32)), windows(tokens, 7, 7))


@pytest.mark.parametrize("bos_first", [True, False])
def test_windows_that_begin_with_documents(tmp_path: Path, bos_first: bool) -> None:
    documents = [document for document in files.random_documents() if len(document)]
    parts = [np.append([0], each) if bos_first else np.append(each, 0) for each in documents]
    path = files.write_plain(tmp_path / "a.bin", np.concatenate(parts))
    options = {"bos": 0} if bos_first else {"eos": 0}
    dataset = TokenDataset(path, 16, np.uint16, bos_align=True, stride=20, **options)
    check_dataset(dataset, picklable=True)
    tokens, starts = np.concatenate(parts), np.cumsum([0, *map(len, parts)])[:-1].tolist()
    expected, after = [], 0
    for start in starts:
        if start >= after and start + 16 < len(tokens):
            expected.append((tokens[start : start + 16], tokens[start + 1 : start + 17]))
            after = start + 20
    check_same(samples_of(dataset), expected)


@pytest.mark.parametrize(
    "options", [{"num_workers": 2, "backend": "process"}, {"num_workers": 2}, {"shuffle": "block"}]
)
def test_loaded_and_resumed(tmp_path: Path, options: dict[str, Any]) -> None:
    path = files.write_plain(tmp_path / "a.bin", np.random.default_rng(0).integers(0, 60_000, 4000))
    dataset = TokenDataset(path, 32, np.uint16)
    options = {"shuffle": True, "seed": 3, "batch_size": 8} | options
    with DataLoader(dataset, **options) as loader:
        found = [loader.batch(step, 0) for step in range(len(loader))]
        taken = iter(loader)
        check_same([next(taken) for _ in range(5)], found[:5])
        state = loader.state_dict()
    with DataLoader(dataset, **options) as again:
        again.load_state_dict(state)
        check_same([*again], found[5:])
    rows = np.concatenate([inputs for inputs, _ in found])
    expected = np.stack([inputs for inputs, _ in (dataset[index] for index in range(len(dataset)))])
    np.testing.assert_array_equal(np.unique(rows, axis=0), np.unique(expected, axis=0))


def test_a_batch_is_memory_of_its_own(tmp_path: Path) -> None:
    dataset = TokenDataset(files.write_plain(tmp_path / "a.bin", range(100)), 8, np.uint16)
    inputs, targets = dataset.get_batch(np.arange(3))
    inputs[:] = -1
    assert targets[0].tolist() == list(range(1, 9))
    assert dataset[0][0].tolist() == list(range(8))


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no dtype": ({}, ArgumentError, r"no header or index .*; give their dtype, as in dtype=np.uint16"),
    "floats": ({"dtype": np.float32}, ArgumentError, "must be one of integers up to int64"),
    "too wide": ({"dtype": np.uint64}, ArgumentError, "must be one of integers up to int64"),
    "no dtype at all": ({"dtype": "tokens"}, ArgumentTypeError, "dtype must be one of integers"),
    "length": (
        {"length": 0},
        ArgumentError,
        "length must be an integer from 1 to 4611686018427387903, but got length=0",
    ),
    "stride": ({"dtype": np.uint16, "stride": -1}, ArgumentError, "stride must be an integer from 1 to"),
    "eos": ({"dtype": np.uint8, "eos": 50256}, ArgumentError, r"eos is 50256, which tokens of uint8 cannot hold: they"),
    "eos that is none": ({"dtype": np.uint8, "eos": "<eos>"}, ArgumentTypeError, "eos must be a token, an integer"),
    "vocabulary": (
        {"dtype": np.uint16, "vocab_size": 100_277},
        ArgumentError,
        r"100276, which tokens of uint16 cannot",
    ),
    "documents": ({"dtype": np.uint16, "bos_align": True}, ArgumentError, "give the token that each ends with"),
    "both": ({"dtype": np.uint16, "bos_align": True, "eos": 1, "bos": 2}, ArgumentError, "give one of them"),
    "cut short": ({"dtype": np.uint32}, CorruptDataError, "is no whole number of uint32 tokens"),
}


@pytest.mark.parametrize(("options", "kind", "text"), REFUSED.values(), ids=REFUSED)
def test_arguments_are_refused(tmp_path: Path, options: dict[str, Any], kind: type[Exception], text: str) -> None:
    path = files.write_plain(tmp_path / "a.bin", range(99))
    with pytest.raises(kind, match=text):
        TokenDataset(path, **{"length": 8, **options})


def test_headers_are_held_against_the_file(tmp_path: Path) -> None:
    path = files.write_llmc(tmp_path / "a.bin", range(99))
    with pytest.raises(ArgumentError, match=r"dtype=uint32 was given, but .*a.bin has tokens of uint16; leave it out"):
        TokenDataset(path, 8, np.uint32)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CorruptDataError, match="has 99 tokens of uint16, its header says, which are 1222 bytes"):
        TokenDataset(path, 8)
    with pytest.raises(CorruptDataError, match=r"is of version 2 of llm.c's files"):
        TokenDataset(files.write_llmc(tmp_path / "b.bin", range(9), version=2), 8)
    with pytest.raises(StorageError, match="examples of an evaluation"):
        TokenDataset(files.write_llmc(tmp_path / "c.bin", range(9), magic=20240522), 8)
    np.save(tmp_path / "d.npy", np.zeros((3, 3), np.int32))
    with pytest.raises(StorageError, match=r"int32 of shape \(3, 3\), but integers of one dimension"):
        TokenDataset(tmp_path / "d.npy", 8)
    with pytest.raises(ArgumentError, match="files must have tokens of one dtype"):
        TokenDataset(
            [
                files.write_llmc(tmp_path / "e.bin", range(9)),
                files.write_llmc(tmp_path / "f.bin", range(9), 20240801, 7, "<u4"),
            ],
            4,
        )


@pytest.mark.parametrize("dtype", ["|u1", "|i1", "<u2", "<i2", "<i4"])
@pytest.mark.parametrize("read", [partial(TokenDataset, length=8), TokenDocuments, partial(GPTDataset, length=8)])
def test_a_dtype_that_cannot_hold_the_vocabulary(tmp_path: Path, dtype: str, read: Any) -> None:
    prefix = files.write_megatron(tmp_path / "a", [np.arange(100)], dtype)
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    assert len(read(prefix, vocab_size=most + 1)) > 0
    text = f"vocab_size - 1 is {most + 1}, which tokens of {np.dtype(dtype)} cannot hold: they are {least} to {most}"
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}; write the tokens with a wider dtype$"):
        read(prefix, vocab_size=most + 2)


def test_a_dtype_of_a_header_that_cannot_hold_the_vocabulary(tmp_path: Path) -> None:
    path = files.write_llmc(tmp_path / "a.bin", range(99))
    np.save(tmp_path / "b.npy", np.arange(99, dtype=np.uint16))
    for each in (path, tmp_path / "b.npy"):
        with pytest.raises(ArgumentError, match="vocab_size - 1 is 65536, which tokens of uint16 cannot hold"):
            TokenDataset(each, 8, vocab_size=65_537)


def test_a_token_outside_of_the_vocabulary(tmp_path: Path) -> None:
    dataset = TokenDataset(files.write_plain(tmp_path / "a.bin", range(100)), 8, np.uint16, vocab_size=50)
    assert dataset[0][1][-1] == 8
    with pytest.raises(
        CorruptDataError, match=r"sample 6 has the token 50, but vocab_size=50; the file is damaged, of"
    ):
        dataset.get_batch(np.array([1, 6, 2]))


def test_a_file_that_changes(tmp_path: Path) -> None:
    path = files.write_plain(tmp_path / "a.bin", range(100))
    dataset = TokenDataset(path, 8, np.uint16)
    files.write_plain(path, range(90))
    with pytest.raises(FileChangedError, match="has changed"):
        dataset[0]
