"""Packed rows: their fields, held against those of Grain and transformers, and what is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import ColumnDataset, DataLoader, Dataset, ParquetDataset, mix, sample_rng
from headrace.errors import ArgumentError, DatasetChangedError, StateError
from headrace.testing import check_dataset, check_same

if TYPE_CHECKING:
    from pathlib import Path

STYLES = ["hf", "torchtitan", "megatron", "grain", "maxtext", "torchtune"]


class Sequences(Dataset[Any]):
    """Sequences whose tokens tell which they are."""

    def __init__(self, *lengths: int, labelled: bool = False) -> None:
        self.sizes = lengths
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.sizes)

    def lengths(self) -> Any:
        return np.array(self.sizes, np.int64)

    def __getitem__(self, index: int, /) -> Any:
        tokens = 100 * (index + 1) + np.arange(self.sizes[index])
        if not self.labelled:
            return {"input_ids": tokens}
        return {"input_ids": tokens, "labels": -tokens, "loss_mask": np.ones(len(tokens), np.uint8)}


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=40),
    st.sampled_from(STYLES),
    st.sampled_from(["best_fit", "first_fit", "best_fit_split", "wrapped"]),
    st.none() | st.just(7),
    st.booleans(),
)
def test_keeps_the_rules(lengths: list[int], style: str, strategy: str, bos: int | None, labelled: bool) -> None:
    packed = Sequences(*lengths, labelled=labelled).pack_sequences(
        24, style=style, strategy=strategy, bos=bos, window=11
    )
    check_dataset(packed, negative=len(packed) > 0)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_items_of_several_numbers(style: str, order: Any) -> None:
    shapes = [(length, 3) for length in (4, 1, 6)]
    boxes = [np.arange(length * width).reshape(length, width) + 100 * length for length, width in shapes]
    samples = [{"input_ids": box[:, 0], "first": box[:, 0], "box": np.asarray(box, order=order)} for box in boxes]
    for bos in (None, 7):
        row = ListDataset(samples).pack_sequences(8, style=style, bos=bos)[0]
        fields = row[0] if isinstance(row, tuple) else row
        assert fields["box"].shape == (8, 3)
        check_same(fields["box"][:, 0], fields["first"])
        assert (fields["box"][:, 1] == fields["first"] + (fields["first"] > 0)).all()


def test_items_that_are_refused() -> None:
    wide = ListDataset([{"input_ids": np.zeros((2, 3), np.int64)}])
    with pytest.raises(ArgumentError, match=r"'input_ids' of sequence 0 has shape \(2, 3\), but it must have one"):
        wide.pack_sequences(8)[0]
    mixed = ListDataset([{"input_ids": [1], "box": np.zeros((1, 3))}, {"input_ids": [2], "box": np.zeros((1, 4))}])
    text = "field 'box' of sequence 1 has shape (1, 4), but it must have items of shape (3,), as in sequence 0"
    with pytest.raises(ArgumentError, match=re.escape(text)):
        mixed.pack_sequences(8)[0]


def test_fields_of_transformers() -> None:
    row = Sequences(3, 2, labelled=True).pack_sequences(7, strategy="first_fit")[0]
    check_same(
        row,
        {
            "input_ids": np.array([100, 101, 102, 200, 201, 0, 0]),
            "labels": np.array([-100, -101, -102, -100, -201, -100, -100]),
            "position_ids": np.array([0, 1, 2, 0, 1, 0, 0]),
            "loss_mask": np.array([1, 1, 1, 1, 1, 0, 0], np.uint8),
        },
    )


def test_like_the_collator_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    samples = [{"input_ids": list(range(10 * n, 10 * n + n))} for n in (4, 3, 5)]
    expected = transformers.DataCollatorWithFlattening(return_tensors="np")(samples)
    packed = ColumnDataset({"input_ids": [sample["input_ids"] for sample in samples]}).pack_sequences(
        12, strategy="first_fit"
    )
    batch = next(iter(DataLoader(packed)))
    for name, value in batch.items():
        np.testing.assert_array_equal(value, expected[name])


def test_fields_of_torchtitan() -> None:
    row = Sequences(3, 4).pack_sequences(7, strategy="first_fit", style="torchtitan")[0]
    inputs = {"input": np.array([100, 101, 200, 201, 202, 0, 0]), "positions": np.array([0, 1, 0, 1, 2, 0, 0])}
    check_same(row, (inputs, np.array([101, 102, 201, 202, 203, -100, -100])))


def test_fields_of_megatron() -> None:
    row = Sequences(3, 4).pack_sequences(7, strategy="first_fit", style="megatron")[0]
    check_same(
        row,
        {
            "tokens": np.array([100, 101, 200, 201, 202, 0, 0]),
            "labels": np.array([101, 102, 201, 202, 203, -100, -100]),
            "loss_mask": np.array([1, 1, 1, 1, 1, 0, 0], np.float32),
            "position_ids": np.array([0, 1, 0, 1, 2, 3, 4]),
            "cu_seqlens": np.array([0, 2, 7, 7, 7, 7, 7, 7], np.int32),
            "max_seqlen": np.int32(5),
        },
    )


def test_fields_of_torchtune() -> None:
    packed = Sequences(3, 4, 8).pack_sequences(7, strategy="first_fit", style="torchtune", padding_value=9)
    check_same(
        packed[0],
        {
            "tokens": np.array([100, 101, 200, 201, 202, 9, 9]),
            "labels": np.array([101, 102, 201, 202, 203, -100, -100]),
            "input_pos": np.array([0, 1, 0, 1, 2, 3, 4]),
            "seq_lens": np.array([2, 3, 2]),
        },
    )
    assert packed[1]["seq_lens"].tolist() == [7, 0, 0]


def test_fields_of_maxtext() -> None:
    row = Sequences(3, 2).pack_sequences(7, strategy="first_fit", style="maxtext")[0]
    check_same(
        row,
        {
            "inputs": np.array([100, 101, 102, 200, 201, 0, 0]),
            "targets": np.array([101, 102, 200, 201, 0, 0, 0]),
            "inputs_segmentation": np.array([1, 1, 1, 2, 2, 0, 0], np.int32),
            "targets_segmentation": np.array([1, 1, 2, 2, 0, 0, 0], np.int32),
            "inputs_position": np.array([0, 1, 2, 0, 1, 0, 0], np.int32),
            "targets_position": np.array([0, 1, 2, 0, 1, 0, 0], np.int32),
        },
    )


def test_like_grain() -> None:
    grain = pytest.importorskip("grain.python")
    packing = pytest.importorskip("grain._src.python.dataset.transformations.packing")
    lengths = np.random.default_rng(0).integers(1, 17, 60).tolist()
    parent = grain.MapDataset.source([{"tokens": 100 + np.arange(length)} for length in lengths]).to_iter_dataset()
    theirs = packing.FirstFitPackIterDataset(
        parent, length_struct={"tokens": 16}, num_packing_bins=60, shuffle_bins=False
    )
    samples = [{"tokens": 100 + np.arange(length)} for length in lengths]
    ours = ListDataset(samples).pack_sequences(16, strategy="first_fit", style="grain")
    rows = list(theirs)
    assert len(rows) == len(ours)
    for number, row in enumerate(rows):
        assert list(row) == list(ours[number])
        for name, value in row.items():
            np.testing.assert_array_equal(ours[number][name], value)
            assert name == "tokens" or ours[number][name].dtype == value.dtype


class ListDataset(Dataset[Any]):
    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Any:
        return self.samples[index]


@pytest.mark.parametrize("arguments", [{"shuffle": True}, {"shuffle": "block", "window": 1}, {}])
@pytest.mark.parametrize("workers", [{"backend": "thread"}, {"backend": "process"}])
def test_same_in_workers_and_resumed(arguments: Any, workers: Any) -> None:
    lengths = np.random.default_rng(1).integers(1, 60, 300)
    tokens = [list(range(length)) for length in lengths.tolist()]
    mixed = mix({"a": ColumnDataset({"input_ids": tokens}), "b": ColumnDataset({"input_ids": tokens[::-1]})}, [2, 1])
    packed = mixed.pack_sequences(64, style="megatron", window=50)
    alone = DataLoader(packed, 4, seed=3, **arguments)
    expected = [*alone, *alone]
    with DataLoader(packed, 4, seed=3, num_workers=2, **workers, **arguments) as loader:
        found = [*loader]
        loader.load_state_dict({**loader.state_dict(), "epoch": 1, "step": 3})
        found += [*expected[len(alone) : len(alone) + 3], *loader]
    check_same(found, expected)


def test_a_state_of_other_rows_is_refused() -> None:
    loaders = [
        DataLoader(Sequences(*[3, 5] * 20).pack_sequences(8, strategy=strategy), 2, seed=0)
        for strategy in ("best_fit", "first_fit")
    ]
    assert len(loaders[0]) == len(loaders[1])
    with pytest.raises(StateError, match="the hash of weights, mixture, lengths or packed rows was"):
        loaders[1].load_state_dict(loaders[0].state_dict())


def test_draws_follow_the_sequence() -> None:
    class Drawing(Sequences):
        def __getitem__(self, index: int, /) -> Any:
            return sample_rng().integers(1, 2**40, self.sizes[index])

    packed = Drawing(*[3] * 40).pack_sequences(8, bos=0)
    batches = [batch["input_ids"] for batch in DataLoader(packed, 3, shuffle=True, seed=1)]
    drawn = np.concatenate(batches).reshape(-1)
    assert len(np.unique(drawn[drawn > 0])) == 120
    single = DataLoader(packed, batch_size=None, shuffle=True, seed=1)
    np.testing.assert_array_equal(np.stack([row["input_ids"] for row in single]), np.concatenate(batches))


def test_tensors_stay_tensors() -> None:
    torch = pytest.importorskip("torch")
    samples = [{"input_ids": torch.arange(length, dtype=torch.int32)} for length in (3, 4, 2)]
    batch = next(iter(DataLoader(ListDataset(samples).pack_sequences(6), 2)))
    assert {type(value) for value in batch.values()} == {torch.Tensor}
    assert batch["input_ids"].dtype == torch.int64


def test_samples_that_are_sequences() -> None:
    for samples in ([np.arange(3), np.arange(2)], [[0, 1, 2], [0, 1]]):
        row = ListDataset(samples).pack_sequences(6, strategy="first_fit")[0]
        assert row["input_ids"].tolist() == [0, 1, 2, 0, 1, 0]
    pairs = ListDataset([([1, 2, 3], "a"), ([4], "b")]).pack_sequences(4, strategy="first_fit", field=0)
    assert pairs[0]["input_ids"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"length": 0}, "length must be an integer from 1 to 16777215, but got length=0"),
        (
            {"strategy": "worst"},
            "strategy must be one of 'best_fit', 'first_fit', 'best_fit_split', 'wrapped', but got",
        ),
        ({"style": "pt"}, "style must be one of 'hf', 'torchtitan', 'megatron', 'grain', 'maxtext', 'torchtune', but"),
        ({"overflow": "wrap"}, "overflow must be one of 'truncate', 'split', 'drop', 'error', but got overflow='wrap'"),
        ({"overflow": "error"}, "sequence 1 has 9 items, more than a row of 8"),
        ({"window": 2.5}, "window must be an integer from 1 to"),
        ({"lengths": [1]}, "pack_sequences got lengths = [1]; it must be an array of 2 integers"),
        (
            {"strategy": "wrapped", "max_sequences": 2},
            "whatever number of sequences that takes, but got max_sequences=2",
        ),
        ({"bos": "a"}, "bos must be an integer from -9223372036854775808 to 9223372036854775807, but got bos='a'"),
        ({"bos": 1.5}, "bos must be an integer from"),
        ({"bos": 2**63}, "bos must be an integer from"),
        ({"padding_value": None}, "padding_value must be an integer from"),
        ({"padding_value": 0.5}, "padding_value must be an integer from"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(text)):
        Sequences(3, 9).pack_sequences(**{"length": 8, **arguments})


def test_samples_that_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"fields \['a', 'b'\], none of which is called 'input_ids' or 'tokens'"):
        ListDataset([{"a": [1], "b": [2]}]).pack_sequences(8)
    texts = ListDataset([{"input_ids": [1, 2], "text": "ab"}, {"input_ids": [1], "text": "a"}])
    with pytest.raises(ArgumentError, match="field 'text' of sequence 0 is 'ab', but a field beside 2 tokens must be"):
        texts.pack_sequences(8)[0]
    for bad, what in (([0.5, 1.5], "values of float64"), (["a", "b"], "values of <U1"), ([[1, 2], [3]], "is no array")):
        with pytest.raises(ArgumentError, match=rf"field 'input_ids' has .*{what}"):
            ListDataset([{"input_ids": bad}]).pack_sequences(8)[0]
    with pytest.raises(ArgumentError, match=r"has a value 9223372036854775808, but tokens .* below 2\*\*63"):
        ListDataset([np.array([2**63], np.uint64)]).pack_sequences(8)[0]
    changed = ListDataset([[1, 2, 3], [4]])
    packed = changed.pack_sequences(8)
    changed.samples[0] = [1]
    with pytest.raises(DatasetChangedError, match="sequence 0 has 1 items, but had at least 3 when the rows were"):
        packed[0]
    with pytest.raises(DatasetChangedError, match="sequence 1 has 0 items, but had at least 1 when the rows were"):
        ListDataset([[1], []]).pack_sequences(8, lengths=[1, 1])[0]
    with pytest.raises(ArgumentError, match="a mixture without an end has more sequences than can be measured"):
        mix([ListDataset([[1, 2]]), ListDataset([[3]])], [1, 1], stop="never").pack_sequences(8)


def test_values_of_list_columns_that_are_no_tokens(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for values in ([[0.5], [1.5]], [[2**63], [1]]):
        kind = arrow.list_(arrow.uint64()) if values[0][0] > 1 else None
        parquet.write_table(arrow.table({"input_ids": arrow.array(values, kind)}), tmp_path / "a.parquet")
        with pytest.raises(ArgumentError, match="but tokens and their labels must be integers"):
            ParquetDataset(tmp_path / "a.parquet").pack_sequences(4)[0]
