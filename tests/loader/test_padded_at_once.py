"""Padded batches, and packed rows, of sequences that are read end to end, held against those of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import ArrowDataset, DataLoader, Dataset, PadCollate, ParquetDataset, TokenDocuments, pad_collate
from headrace.testing import check_same

if TYPE_CHECKING:
    from pathlib import Path

PADDERS: dict[str, Any] = {
    "plain": pad_collate,
    "labels": PadCollate({"labels": -100}, return_lengths=True, mask=True),
    "left": PadCollate(padding_value=1, side="left", max_length=7, pad_to_multiple_of=4),
}


class OneByOne(Dataset[Any]):
    """Samples of another dataset, which it reads as anyone's code does."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int, /) -> Any:
        return self.dataset[index]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the batches of a loader were padded at once."""
    found: list[bool] = []

    def pad_ragged(rules: PadCollate, batch: Any) -> Any:
        padded = original(rules, batch)
        found.append(padded is not None)
        return padded

    original = PadCollate.pad_ragged
    monkeypatch.setattr(PadCollate, "pad_ragged", pad_ragged)
    return found


def documents(folder: Path) -> TokenDocuments:
    rng = np.random.default_rng(0)
    for name in ("a.bin", "b.bin"):
        parts = [np.append(rng.integers(1, 99, length), 0) for length in rng.integers(0, 12, 20)]
        np.concatenate(parts).astype(np.uint16).tofile(folder / name)
    return TokenDocuments(folder / "*.bin", np.uint16, eos=0)


def table(**columns: Any) -> Any:
    pa = pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    lists = [rng.integers(1, 99, length).tolist() for length in rng.integers(0, 12, 40)]
    return pa.table(
        {
            "input_ids": pa.array(lists, pa.list_(pa.int32())),
            "labels": pa.array(lists, pa.list_(pa.int64())),
            "scores": pa.array([[0.5, index] for index in range(40)], pa.list_(pa.float32(), 2)),
            "number": np.arange(40),
            "text": [str(index) for index in range(40)],
            **columns,
        }
    )


@pytest.mark.parametrize("name", PADDERS)
def test_documents(name: str, tmp_path: Path, reads: list[bool]) -> None:
    dataset = documents(tmp_path)
    for chosen in (dataset, dataset.subset(range(1, 40, 3))):
        loader = DataLoader(chosen, 3, collate_fn=PADDERS[name], shuffle=True, seed=0)
        samples = DataLoader(OneByOne(chosen), 3, collate_fn=PADDERS[name], shuffle=True, seed=0)
        check_same(list(loader), list(samples))
    assert reads
    assert all(reads)


@pytest.mark.parametrize("name", PADDERS)
@pytest.mark.parametrize("kind", ["memory", "parquet"])
def test_columns(name: str, kind: str, tmp_path: Path, reads: list[bool]) -> None:
    dataset: Any = ArrowDataset(table())
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(table(), tmp_path / "x.parquet", row_group_size=7)
        dataset = ParquetDataset(tmp_path / "x.parquet")
    loader = DataLoader(dataset, 3, collate_fn=PADDERS[name], shuffle=True, seed=0)
    check_same(list(loader), list(DataLoader(OneByOne(dataset), 3, collate_fn=PADDERS[name], shuffle=True, seed=0)))
    assert reads
    assert all(reads)


@pytest.mark.parametrize(
    "column",
    [
        [[[1.0] * (index % 3)] * (index % 2) for index in range(40)],  # lists of lists
        [{"a": index} for index in range(40)],
    ],
)
def test_columns_of_which_samples_are_needed(column: list[Any], reads: list[bool]) -> None:
    dataset = ArrowDataset(table(more=column))
    loader = DataLoader(dataset.subset(range(0, 40, 2)), 4, collate_fn=pad_collate)
    check_same(list(loader), list(DataLoader(OneByOne(dataset.subset(range(0, 40, 2))), 4, collate_fn=pad_collate)))
    assert not any(reads)


def test_own_code_is_not_bypassed(tmp_path: Path, reads: list[bool]) -> None:
    class Doubled(TokenDocuments):
        def __getitem__(self, index: int, /) -> Any:
            return 2 * super().__getitem__(index)

    class Padder(PadCollate):
        def __call__(self, samples: Any) -> Any:
            return super().__call__(samples) + 1

    plain = documents(tmp_path)
    doubled = Doubled(tmp_path / "*.bin", np.uint16, eos=0)
    check_same(
        DataLoader(doubled, 5, collate_fn=pad_collate).batch(0),
        2 * DataLoader(plain, 5, collate_fn=pad_collate).batch(0),
    )
    reads.clear()
    mapped = plain.map(lambda tokens: tokens + 1)
    check_same(DataLoader(mapped, 1, collate_fn=pad_collate).batch(3)[0], plain[3] + 1)
    check_same(DataLoader(plain, 1, collate_fn=Padder()).batch(3)[0], plain[3] + 1)
    assert not reads


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_in_workers(backend: Any, tmp_path: Path) -> None:
    dataset = documents(tmp_path)
    alone = list(DataLoader(dataset, 3, collate_fn=pad_collate, shuffle=True, seed=0))
    with DataLoader(dataset, 3, collate_fn=pad_collate, shuffle=True, seed=0, num_workers=2, backend=backend) as loader:
        check_same(list(loader), alone)


def test_a_null_is_named() -> None:
    column = [[1]] * 3 + [None] + [[2]] * 36
    loader = DataLoader(ArrowDataset(table(more=column)), 8, collate_fn=pad_collate)
    with pytest.raises(TypeError, match="sample"):
        loader.batch(0)


@pytest.mark.parametrize("style", ["hf", "torchtitan", "megatron", "grain", "maxtext", "torchtune"])
def test_packed_rows(style: Any, tmp_path: Path) -> None:
    columns = table()
    wide = ArrowDataset(columns, ["input_ids", "labels"])
    narrow = ArrowDataset(columns.select(["input_ids"]))
    for dataset in (wide, narrow, documents(tmp_path)):
        chosen: Any = dataset
        for more in ({}, {"bos": 3}, {"strategy": "wrapped"}):
            found, expected = (each.pack_sequences(24, style=style, **more) for each in (chosen, OneByOne(chosen)))
            check_same(
                list(DataLoader(found, 4, shuffle=True, seed=0)), list(DataLoader(expected, 4, shuffle=True, seed=0))
            )
