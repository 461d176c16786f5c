"""tf.train.Example and SequenceExample, as TensorFlow 2.21 wrote them."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, TFRecordDataset, open_dataset
from headrace.errors import ArgumentError, ArgumentTypeError, CorruptDataError, RaggedSamplesError, StorageError
from headrace.formats.tfrecord.example import encode, make_feature
from headrace.formats.tfrecord.framing import frame
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from pathlib import Path

# tf.io.TFRecordWriter: two Examples, of which the first is
#   image=[b"\x00\xffpixels"], label=[3], box=[0.5, -1.25], tags=[b"a", b"", "café"], big=[-1, 2**63 - 1, -2**63],
#   none without values, empty=[] of integers
# and the second
#   image=[b""], label=[-7], box=[1e30, 0.1], tags=[], big=[], none=[1], empty=[]
# then a SequenceExample with id=9, name=b"seq", and of steps frames=b"one", b"two" and scores=[1, 2], [3, 4], []
BY_TENSORFLOW = zlib.decompress(
    base64.b85decode(
        "c-mEv%}T>i5QX!1YkQ0pMpOv?1r)@E4<LwH3Hlaky$yk+Nt1weWwE&M0R)$B-T4Lz?xeaE6xZ&B3a;w3NknHgckY=p-^`Vg$Mr{lh)Wfl&>O"
        "x-wzZ1oQ5kBPoc794F~`cNOC|wTHrQj2J4{2!FwRa$vlPrj_@V1bGBMVSV!tbc6m^KeZODLxr9;(Gh0%`Mk`ye!$XqX_I!vf86o{tVdbqi;zn"
        "+tVb3^Q$Ax16798dYn@%VYrc^V9M|8vZg90oKtT`cF<Ee8AkU6OS<$b?H}=A4Fm?6>{(pdc8&-o9XkCusgrF0EmfJKa#y6a@5CcIXgGsI(HUr"
        "9_yN**Q<L;|N=*q|GSd-!&8$?C}K^r+hgMR~%@h+`n(1{{VdnYN-"
    )
)
BOUNDS = (np.float32, (2,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a.tfrecord").write_bytes(BY_TENSORFLOW)
    return tmp_path / "a.tfrecord"


def test_single_values(path: Path) -> None:
    dataset = TFRecordDataset(path, features={"label": np.int64, "image": bytes, "box": BOUNDS}).subset([0, 1])
    assert dataset[0]["image"] == b"\x00\xffpixels"
    assert dataset[0]["label"] == 3
    assert type(dataset[0]["label"]) is np.int64
    assert list(dataset[0]) == ["label", "image", "box"]
    (batch,) = DataLoader(dataset, batch_size=2)
    assert batch["image"] == [b"\x00\xffpixels", b""]
    assert batch["label"].tolist() == [3, -7]
    np.testing.assert_array_equal(batch["box"], np.array([[0.5, -1.25], [1e30, 0.1]], np.float32))
    check_dataset(dataset, negative=True, picklable=True)


def test_any_number_of_values(path: Path) -> None:
    features = {"tags": (str, None), "big": (np.int64, None), "none": (int, None), "empty": (float, None)}
    dataset = TFRecordDataset(path, features=features)
    assert dataset[0]["tags"] == ["a", "", "café"]
    assert dataset[1]["tags"] == []
    assert dataset[0]["big"].tolist() == [-1, 2**63 - 1, -(2**63)]
    assert [dataset[0]["none"].tolist(), dataset[1]["none"].tolist()] == [[], [1]]
    assert dataset[1]["empty"].dtype == np.float64
    with pytest.raises(RaggedSamplesError, match=r"differs in \w+: sample 0 has .*3.*, sample 1 has .*0"):
        dataset.get_batch(np.array([0, 1]))
    assert dataset.get_batch(np.array([0, 0]))["big"].shape == (2, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.bool_, int])
def test_other_dtypes(path: Path, dtype: Any) -> None:
    found = TFRecordDataset(path, features={"label": dtype}).get_batch(np.array([0]))["label"]
    assert found.dtype == np.dtype(dtype)
    assert found.tolist() == [np.array(3).astype(dtype)]


def test_all_features_of_all_records(path: Path) -> None:
    dataset = TFRecordDataset(path, features="all")
    names = ["big", "box", "empty", "id", "image", "label", "name", "none", "tags"]
    for index in range(3):
        assert sorted(dataset[index]) == sorted([*names, "frames", "scores"])
    sample = dataset[0]
    assert sample["tags"] == [b"a", b"", "café".encode()]
    assert sample["box"].tolist() == [0.5, -1.25]
    assert sample["label"] == 3
    assert (sample["id"], dataset[2]["id"], dataset[2]["label"]) == (None, 9, None)
    assert [dataset[index]["none"].tolist() for index in range(3)] == [[], [1], []]
    assert sample["empty"].dtype == np.int64
    assert [len(dataset[index]["scores"]) for index in range(3)] == [0, 0, 3]


def test_features_of_all_shards(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(frame(encode({"x": np.zeros(0, np.float32)})))
    (tmp_path / "b.tfrecord").write_bytes(frame(encode({"x": np.ones(2, np.float32), "y": b"y"})))
    dataset = TFRecordDataset(f"{tmp_path}/*.tfrecord", features="all")
    assert [dataset[index]["x"].tolist() for index in (0, 1)] == [[], [1, 1]]
    assert [dataset[index]["y"] for index in (0, 1)] == [None, b"y"]
    assert open_dataset(tmp_path)[0].keys() == {"x", "y"}


def test_as_many_numbers_in_all_records_are_an_array(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(frame(encode({"x": [1, 2, 3]})) * 4)
    dataset = TFRecordDataset(tmp_path / "a.tfrecord", features="all")
    np.testing.assert_array_equal(dataset.get_batch(np.arange(3))["x"], [[1, 2, 3]] * 3)


def test_a_feature_of_several_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(frame(encode({"x": 1})) + frame(encode({"x": 0.5})))
    for read in (open_dataset, lambda path: TFRecordDataset(path, features="all")):
        with pytest.raises(StorageError, match=r"a\.tfrecord: feature 'x' is floats and integers, each in some"):
            read(tmp_path / "a.tfrecord")
    assert isinstance(open_dataset(tmp_path / "a.tfrecord", fields=False)[0], bytes)


def test_one_damaged_record_does_not_hide_the_features(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(frame(encode({"x": 1})) * 300 + frame(b"\xff") * 2)
    dataset = open_dataset(tmp_path / "a.tfrecord")
    assert dataset[299] == {"x": 1}
    with pytest.raises(CorruptDataError, match="sample 300: "):
        dataset[300]
    (tmp_path / "b.tfrecord").write_bytes(frame(encode({"x": 1})) + frame(b"\xff") * 300)
    assert open_dataset(tmp_path / "b.tfrecord")[0] == encode({"x": 1})


def test_sequences(path: Path) -> None:
    dataset = TFRecordDataset(
        path, features={"id": int, "name": str}, steps={"frames": bytes, "scores": (np.float32, None), "absent": int}
    )
    sample = dataset[2]
    assert (sample["id"], sample["name"], sample["frames"]) == (9, "seq", [b"one", b"two"])
    assert [scores.tolist() for scores in sample["scores"]] == [[1, 2], [3, 4], []]
    assert sample["absent"].shape == (0,)
    assert dataset.get_batch(np.array([2, 2]))["frames"] == [[b"one", b"one"], [b"two", b"two"]]
    with pytest.raises(
        StorageError, match=r"sample 2: .*, in step 2, has 0 floats in 'scores', but 2 floats are needed"
    ):
        TFRecordDataset(path, steps={"scores": (np.float32, 2)})[2]
    third = path.with_name("b.tfrecord")
    third.write_bytes(
        BY_TENSORFLOW[-(len(BY_TENSORFLOW) - TFRecordDataset(path)._files.table(0, "records")[2][0] + 12) :]
    )
    assert sorted(TFRecordDataset(third, features="all")[0]) == ["frames", "id", "name", "scores"]


def test_decoded_fields(path: Path) -> None:
    dataset = TFRecordDataset(
        path, {"image": len, "box": np.sum}, features={"image": bytes, "label": int, "box": BOUNDS}
    )
    check_dataset(dataset.subset([0, 1]), negative=True, picklable=True)
    assert dataset.get_batch(np.array([1, 0]))["image"].tolist() == [0, 8]
    assert not dataset.releases_gil()
    with pytest.raises(TypeError) as caught:
        TFRecordDataset(path, {"label": len}, features={"label": int})[1]
    assert f"while decoding 'label' of sample 1: {path}, 114 bytes at 180," in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("features", "index", "message"),
    [
        ({"label": float}, 0, r"sample 0: .*a\.tfrecord, \d+ bytes at 12, has 1 integers in 'label', but 1 floats are"),
        (
            {"label": bytes},
            1,
            r"sample 1: .* has 1 integers in 'label', but 1 bytes are needed; give the dtype and shape",
        ),
        ({"labels": int}, 0, r"sample 0: .* has no such feature in 'labels', but 1 integers are needed"),
        ({"box": np.float32}, 0, r"has 2 floats in 'box', but 1 floats are needed; .* with the shape None"),
        ({"none": int}, 0, r"has no such feature in 'none'"),
        ({"empty": int}, 0, r"has 0 integers in 'empty', but 1 integers are needed"),
        ({"box": (int, None)}, 0, r"has 2 floats in 'box', but any number of integers are needed"),
    ],
)
def test_features_that_are_others(path: Path, features: dict[str, Any], index: int, message: str) -> None:
    dataset = TFRecordDataset(path, features=features)
    with pytest.raises(StorageError, match=message):
        dataset[index]
    with pytest.raises(StorageError, match=message):
        dataset.get_batch(np.array([index, index]))


def test_records_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(frame(encode({"label": 1})) + frame(b"no example"))
    for dataset in (TFRecordDataset(path, features={"label": int}), TFRecordDataset(path, features="all")):
        with pytest.raises(
            CorruptDataError, match=r"sample 1: .*a\.tfrecord, 10 bytes at 46, is no tf\.train\.Example"
        ):
            dataset[1]
    with pytest.raises(CorruptDataError, match=r"is no tf\.train\."):
        TFRecordDataset(path, steps={"label": int})[1]
    path.write_bytes(frame(b"no example"))
    with pytest.raises(CorruptDataError, match=r"the first record is no tf\.train\.Example"):
        TFRecordDataset(path, features="all")
    path.write_bytes(b"")
    with pytest.raises(StorageError, match=r"there are no records in .*: give the features by name"):
        TFRecordDataset(path, features="all")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(frame(encode({"text": [b"a", b"b"]})) + frame(encode({"text": [b"a", b"\xff"]})))
    dataset = TFRecordDataset(path, features={"text": (str, 2)})
    assert dataset[0] == {"text": ["a", "b"]}
    with pytest.raises(StorageError, match=r"sample 1: .* has 'text' in other bytes than UTF-8: .*; take it as bytes"):
        dataset.get_batch(np.array([0, 1]))


def test_arguments_are_checked(path: Path) -> None:
    for wrong in ("image", object, (bytes, "3"), (np.int64, (-1,)), np.complex64, (1, 2, 3)):
        with pytest.raises(ArgumentTypeError, match=r"feature is|the shape of a feature"):
            TFRecordDataset(path, features={"image": wrong})
    with pytest.raises(ArgumentTypeError, match="decode must be a dict of functions by field"):
        TFRecordDataset(path, len, features={"image": bytes})
    with pytest.raises(ArgumentError, match="of the same name 'id'"):
        TFRecordDataset(path, features={"id": int}, steps={"id": int})


VALUES = st.one_of(
    st.binary(),
    st.text(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(width=32, allow_nan=False),
    st.lists(st.binary(), min_size=1),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2),
    st.booleans(),
)


@given(st.dictionaries(st.text(), VALUES))
def test_reads_what_it_encodes(sample: dict[str, Any]) -> None:
    from headrace.formats.tfrecord.example_reader import ExampleReader
    from headrace.formats.tfrecord.summary import FeatureNotes, Summary
    from headrace.io.source import Packed

    record = encode(sample)
    notes = FeatureNotes()
    notes.add(np.frombuffer(record, np.uint8), np.array([0]), np.array([len(record)]))
    features, steps = Summary([notes.tables()], 1).infer()
    assert steps == {}
    assert features.keys() == sample.keys()
    packed = Packed(np.frombuffer(record, np.uint8), np.array([0, len(record)]))
    for name, (found,) in ExampleReader(features).read(packed, str).items():
        value = sample[name]
        expected = value.encode() if isinstance(value, str) else value
        if isinstance(expected, list) and len(expected) == 1:
            (expected,) = expected
        assert (found.tolist() if isinstance(found, np.ndarray) else found) == expected


def test_what_has_no_encoding() -> None:
    for wrong in (None, 1j, 2**64, {"a": 1}, [b"a", 1]):
        with pytest.raises((ArgumentTypeError, OverflowError, TypeError)):
            encode({"x": wrong})


def test_what_a_feature_may_be() -> None:
    assert make_feature(bytes).shape == ()
    assert make_feature((np.float32, 3)).shape == (3,)
    assert make_feature((str, None)).is_text
