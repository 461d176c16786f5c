"""Rows of tables, held against what pyarrow itself makes of them."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import (
    ArrowDataset,
    Compose,
    DataLoader,
    Decode,
    MapDataset,
    ParquetDataset,
    RandomHorizontalFlip,
    RandomResizedCrop,
    ToCHW,
    ToFloat,
)
from headrace.errors import (
    ArgumentError,
    ArgumentTypeError,
    CollateError,
    CorruptDataError,
    FileChangedError,
    HeadraceWarning,
    MixedSamplesError,
    RaggedSamplesError,
    StorageError,
)
from headrace.formats.arrow import reader
from headrace.formats.shard_bounds import ShardBounds
from headrace.testing import check_dataset, check_same

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

N = 23
NUMBERS = np.arange(N)
TENSORS = np.arange(N * 6, dtype=np.float32).reshape(N, 2, 3)

# Arrow's array, and the rows that a dataset must make of it.
COLUMNS: dict[str, tuple[Any, list[Any]]] = {
    "int8": (pa.array(NUMBERS, pa.int8()), list(NUMBERS.astype(np.int8))),
    "uint64": (pa.array(NUMBERS, pa.uint64()), list(NUMBERS.astype(np.uint64))),
    "float32": (pa.array(NUMBERS / 2, pa.float32()), list((NUMBERS / 2).astype(np.float32))),
    "half": (pa.array((NUMBERS / 2).astype(np.float16)), list((NUMBERS / 2).astype(np.float16))),
    "bool": (pa.array(NUMBERS % 3 == 0), list(NUMBERS % 3 == 0)),
    "date": (pa.array(NUMBERS.astype("M8[D]")), list(NUMBERS.astype("M8[D]"))),
    "timestamp": (pa.array(NUMBERS, pa.timestamp("us", "UTC")), list(NUMBERS.astype("M8[us]"))),
    "duration": (pa.array(NUMBERS, pa.duration("ms")), list(NUMBERS.astype("m8[ms]"))),
    "string": (pa.array([f"ä{n}" for n in NUMBERS]), [f"ä{n}" for n in NUMBERS]),
    "large string": (pa.array([f"{n}" for n in NUMBERS], pa.large_string()), [f"{n}" for n in NUMBERS]),
    "string view": (pa.array([f"{n}" for n in NUMBERS], pa.string_view()), [f"{n}" for n in NUMBERS]),
    "binary": (pa.array([bytes(n) for n in NUMBERS]), [bytes(n) for n in NUMBERS]),
    "large binary": (pa.array([bytes(n) for n in NUMBERS], pa.large_binary()), [bytes(n) for n in NUMBERS]),
    "fixed-size binary": (pa.array([b"%03d" % n for n in NUMBERS], pa.binary(3)), [b"%03d" % n for n in NUMBERS]),
    "dictionary": (pa.array([f"{n % 3}" for n in NUMBERS]).dictionary_encode(), [f"{n % 3}" for n in NUMBERS]),
    "fixed-size list": (pa.FixedSizeListArray.from_arrays(TENSORS.ravel(), 6), list(TENSORS.reshape(N, 6))),
    "nested fixed-size list": (
        pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(TENSORS.ravel(), 3), 2),
        list(TENSORS),
    ),
    "tensor": (pa.FixedShapeTensorArray.from_numpy_ndarray(TENSORS), list(TENSORS)),
    "list of one length": (
        pa.array([[n, n + 1] for n in NUMBERS], pa.list_(pa.int32())),
        list(np.stack([NUMBERS, NUMBERS + 1], 1).astype(np.int32)),
    ),
    "list of lists of a size": (
        pa.array([[[n, 1], [2, 3]] for n in NUMBERS], pa.large_list(pa.list_(pa.int64(), 2))),
        [np.array([[n, 1], [2, 3]]) for n in NUMBERS],
    ),
    "struct": (
        pa.array([{"bytes": bytes(n), "size": n} for n in range(N)]),
        [{"bytes": bytes(n), "size": np.int64(n)} for n in range(N)],
    ),
}


@pytest.mark.parametrize(("array", "rows"), COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("chunks", [[N], [10, 0, 13]])
def test_columns(array: Any, rows: list[Any], chunks: list[int]) -> None:
    """In one piece or several, which are parts of larger arrays."""
    starts = np.cumsum([0, *chunks[:-1]]).tolist()
    pieces = [array.slice(start, count) for start, count in zip(starts, chunks, strict=True)]
    table = pa.table({"x": pa.chunked_array(pieces, array.type), "number": NUMBERS})
    dataset = ArrowDataset(table)
    check_dataset(dataset, negative=True, picklable=True)
    assert len(dataset) == N
    check_same([dataset[index]["x"] for index in range(N)], rows)


@pytest.mark.parametrize(("array", "rows"), COLUMNS.values(), ids=COLUMNS)
def test_columns_with_nulls(array: Any, rows: list[Any]) -> None:
    """They are None in samples, an error in batches, and do not change the type of the others."""
    nulls = pa.nulls(1, array.type)
    dataset = ArrowDataset(pa.table({"x": pa.concat_arrays([array[:4], nulls, array[4:]])}))
    found = [dataset[index]["x"] for index in range(N + 1)]
    if isinstance(rows[0], dict):
        assert found.pop(4) in (None, dict.fromkeys(rows[0]))
    else:
        assert found.pop(4) is None
    check_same(found, rows)
    check_same(dataset.get_batch(np.array([3, 5])), ArrowDataset(pa.table({"x": array})).get_batch(np.array([3, 4])))
    with pytest.raises(MixedSamplesError, match=r"column 'x(\.bytes)?' is null in sample 4, and a batch has no nulls"):
        dataset.get_batch(np.array([0, 4]))
    with pytest.raises(CollateError) as caught:
        list(DataLoader(dataset, batch_size=6))
    assert any("step 0" in note for note in caught.value.__notes__)


def test_lists_that_differ_in_length() -> None:
    dataset = ArrowDataset(pa.table({"x": pa.array([[1], [2, 3], [4, 5]])}))
    check_same(dataset[1]["x"], np.array([2, 3]))
    assert dataset.get_batch(np.array([2, 1]))["x"].tolist() == [[4, 5], [2, 3]]
    with pytest.raises(RaggedSamplesError, match=r"\['x'\] differs in shape: sample 0 has \(1,\), sample 2 has \(2,\)"):
        dataset.get_batch(np.array([0, 2]))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([decimal.Decimal("1.5")], None),
        ([dt.time(1)], None),
        ([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        ([[None, 1]], None),
        ([[{"a": [1, None]}]], None),
        ([["a", "b"]], None),
    ],
)
def test_what_is_left_to_pyarrow(values: list[Any], kind: Any) -> None:
    array = pa.array(values, kind)
    dataset = ArrowDataset(pa.table({"x": array}))
    assert dataset[0] == {"x": array[0].as_py()}


def test_a_null_in_a_struct_is_one_of_its_fields() -> None:
    table = pa.table({"image": pa.array([{"bytes": b"a", "path": None}, {"bytes": b"b", "path": "b.jpg"}])})
    dataset = ArrowDataset(table)
    assert dataset[0] == {"image": {"bytes": b"a", "path": None}}
    with pytest.raises(MixedSamplesError, match=r"column 'image\.path' is null in sample 0"):
        dataset.get_batch(np.array([1, 0]))
    chosen = ArrowDataset(table, columns=["image.bytes"])
    check_same(chosen.get_batch(np.array([1, 0])), {"image.bytes": [b"b", b"a"]})


def test_invalid_utf8_is_named() -> None:
    array = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff\xfe"]).buffers())
    dataset = ArrowDataset(pa.table({"x": array}))
    assert dataset[0] == {"x": "ok"}
    with pytest.raises(CorruptDataError, match=r"column 'x' should be text, but in sample 1 it is not UTF-8"):
        dataset.get_batch(np.array([0, 1]))


def sample_table(length: int = 100) -> Any:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "content": [rng.bytes(n % 7) for n in range(length)],
            "vector": pa.FixedSizeListArray.from_arrays(rng.normal(size=length * 4), 4),
            "label": np.arange(length),
            "text": [f"row {n}" for n in range(length)],
        }
    )


def write_ipc(path: Path, table: Any, *, stream: bool = False, compression: Any = None, rows: int = 30) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)


FILES: dict[str, Any] = {
    "Parquet": lambda path, table: pq.write_table(table, path, row_group_size=30),
    "Parquet with checksums": lambda path, table: pq.write_table(
        table, path, row_group_size=30, write_page_checksum=True, compression="zstd"
    ),
    "Arrow file": write_ipc,
    "Arrow stream": lambda path, table: write_ipc(path, table, stream=True),
    "compressed Arrow file": lambda path, table: write_ipc(path, table, compression="zstd"),
    "Feather": lambda path, table: pyarrow.feather.write_feather(table, str(path)),
}


def opened(path: Any, name: str, **options: Any) -> Any:
    return (ParquetDataset if "Parquet" in name else ArrowDataset)(path, **options)


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path: Path, name: str) -> None:
    table = sample_table()
    FILES[name](tmp_path / "a.bin", table)
    dataset = opened(tmp_path / "a.bin", name)
    check_dataset(dataset, negative=True, picklable=True)
    assert dataset.column_names == table.column_names
    indices = np.random.default_rng(1).permutation(100)
    check_same(dataset.get_batch(indices), ArrowDataset(table).get_batch(indices))
    expected = table.take(indices).to_pydict()
    found = dataset.get_batch(indices)
    assert {key: value if isinstance(value, list) else value.tolist() for key, value in found.items()} == expected
    assert len(pickle.dumps(dataset)) < 4000


@pytest.mark.parametrize("name", FILES)
def test_several_files_and_chosen_columns(tmp_path: Path, name: str) -> None:
    table = sample_table()
    for number, rows in enumerate([slice(0, 60), slice(60, 60), slice(60, 100)]):
        FILES[name](tmp_path / f"{number}.bin", table[rows])
    dataset = opened(tmp_path / "*.bin", name, columns=["text", "label"])
    check_dataset(dataset, negative=True, picklable=True)
    assert dataset[60] == {"text": "row 60", "label": 60}
    assert list(dataset[0]) == ["text", "label"]
    assert dataset.get_batch(np.array([99, 0, 60]))["text"] == ["row 99", "row 0", "row 60"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_rows(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / "a.bin", sample_table(0))
    dataset = opened(tmp_path / "a.bin", name)
    check_dataset(dataset)
    assert len(dataset) == 0
    assert {name: len(field) for name, field in dataset.get_batch(np.array([], np.int64)).items()} == {
        "content": 0,
        "vector": 0,
        "label": 0,
        "text": 0,
    }


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("backend", ["thread", "process"])
def test_workers_read_the_same(tmp_path: Path, name: str, backend: Any) -> None:
    FILES[name](tmp_path / "a.bin", sample_table())
    dataset = opened(tmp_path / "a.bin", name)
    expected = list(DataLoader(dataset, batch_size=9, shuffle=True, seed=1))
    with DataLoader(dataset, batch_size=9, shuffle=True, seed=1, num_workers=2, backend=backend) as loader:
        check_same(list(loader), expected)


@pytest.mark.parametrize("name", FILES)
def test_a_resumed_epoch_goes_on(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / "a.bin", sample_table())
    loader = DataLoader(opened(tmp_path / "a.bin", name), batch_size=16, shuffle=True, seed=0)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    rest = list(batches)
    other = DataLoader(opened(tmp_path / "a.bin", name), batch_size=16, shuffle=True, seed=0)
    other.load_state_dict(state)
    check_same(list(other), rest)


@pytest.mark.parametrize("name", FILES)
def test_threads_share_what_was_decoded(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / "a.bin", sample_table())
    dataset = opened(tmp_path / "a.bin", name)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda index: dataset[index]["text"], list(range(100)) * 10))
    assert found == [f"row {index}" for index in range(100)] * 10
    if isinstance(dataset, ParquetDataset):
        assert dataset.counters() == {"row_groups_decoded": 4}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("name", FILES)
def test_a_forked_process_opens_anew(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / "a.bin", sample_table())
    dataset = opened(tmp_path / "a.bin", name, cache_bytes=0)
    dataset[0]
    child = os.fork()
    if not child:
        os._exit(0 if [dataset[index]["label"] for index in range(100)] == list(range(100)) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert dataset[99]["label"] == 99


def test_row_groups_are_blocks(tmp_path: Path) -> None:
    pq.write_table(sample_table(), tmp_path / "a.parquet", row_group_size=30)
    pq.write_table(sample_table()[:0], tmp_path / "b.parquet")
    pq.write_table(sample_table(10), tmp_path / "c.parquet")
    dataset = ParquetDataset(tmp_path / "*.parquet")
    assert dataset.blocks().tolist() == [0, 30, 60, 90, 100, 110]


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    pq.write_table(sample_table(), tmp_path / "a.parquet", row_group_size=10)
    whole, small = ParquetDataset(tmp_path / "a.parquet"), ParquetDataset(tmp_path / "a.parquet", cache_bytes=1000)
    for dataset in (whole, small):
        for _ in range(2):
            check_same(list(DataLoader(dataset, batch_size=10)), list(DataLoader(ArrowDataset(sample_table()), 10)))
    assert whole.counters()["row_groups_decoded"] == 10
    assert small.counters()["row_groups_decoded"] == 20
    small.will_need(np.arange(100))  # only asks for pages of the file


def test_rows_are_located_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(sample_table(), tmp_path / "a.parquet", row_group_size=10)
    located, locate = [], ShardBounds.locate

    def counting(self: ShardBounds, indices: Any) -> Any:
        located.append(len(indices))
        return locate(self, indices)

    monkeypatch.setattr(ShardBounds, "locate", counting)
    dataset = ParquetDataset(tmp_path / "a.parquet")
    list(DataLoader(dataset, 10, shuffle="block"))
    assert located == [10] * 10
    monkeypatch.setattr(dataset, "reads_ahead", lambda: True)  # as where the disk was waited for
    list(DataLoader(dataset, 10, shuffle="block"))
    assert sum(located) == 100 + 100 + 90


def test_full_shuffle_of_row_groups_warns(tmp_path: Path) -> None:
    pq.write_table(sample_table(80_000).select(["label"]), tmp_path / "a.parquet", row_group_size=20_000)
    dataset = ParquetDataset(tmp_path / "a.parquet", cache_bytes=0)
    text = r"64 row groups were decoded for 64 samples.*cache_bytes=0 holds 1 of 4; read with shuffle='block'"
    loader = DataLoader(dataset, batch_size=1, sampler=[number * 20_000 % 80_000 for number in range(80)])
    with pytest.warns(HeadraceWarning, match=text) as warned:
        list(loader)
    assert len(warned) == 1


def test_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,size,weight\nant,1,0.5\nbee,2,1.5\n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text("name\tsize\ncat\t3\n", encoding="utf-8")
    dataset = ArrowDataset(tmp_path / "a.csv")
    check_dataset(dataset, negative=True, picklable=True)
    check_same(
        dataset.get_batch(np.array([1, 0])),
        {"name": ["bee", "ant"], "size": np.array([2, 1]), "weight": np.array([1.5, 0.5])},
    )
    both = ArrowDataset([tmp_path / "a.csv", tmp_path / "b.tsv"], columns=["name", "size"])
    assert both[2] == {"name": "cat", "size": 3}
    (tmp_path / "c.csv").write_text("name,size\nant,1\nbee\n", encoding="utf-8")
    with pytest.raises(
        CorruptDataError, match=r"c\.csv cannot be read as what it should be.*Expected 2 columns, got 1"
    ):
        ArrowDataset(tmp_path / "c.csv")
    (tmp_path / "d.csv").write_text("name,size\nant,1\nbee,\n", encoding="utf-8")
    with pytest.raises(MixedSamplesError, match="column 'size' is null in sample 1"):
        ArrowDataset(tmp_path / "d.csv").get_batch(np.array([0, 1]))


def test_a_batch_of_records() -> None:
    (batch,) = sample_table(5).to_batches()
    assert ArrowDataset(batch)[4]["text"] == "row 4"


def test_images_in_a_column_are_decoded_at_once(tmp_path: Path) -> None:
    images = [b"P6 2 2 255 " + bytes([n] * 12) for n in range(6)]
    pq.write_table(pa.table({"image": images, "label": range(6)}), tmp_path / "a.parquet")
    dataset = ParquetDataset(tmp_path / "a.parquet").map(Decode(), field="image")
    batch = next(iter(DataLoader(dataset, batch_size=6)))
    assert batch["image"].shape == (6, 2, 2, 3)
    assert batch["image"][:, 0, 0, 0].tolist() == batch["label"].tolist()


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_a_pipeline_of_encoded_images(tmp_path: Path, backend: Any) -> None:
    """Decoded and augmented in workers, with the draws that the same images have elsewhere."""
    rng = np.random.default_rng(0)
    images = [b"P6 24 20 255 " + rng.bytes(24 * 20 * 3) for _ in range(40)]
    table = pa.table({"image": [{"bytes": image, "path": None} for image in images], "label": range(40)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    augment = Compose([Decode(), RandomResizedCrop(8), RandomHorizontalFlip(), ToFloat(), ToCHW()])
    dataset = ParquetDataset(tmp_path / "a.parquet", columns=["image.bytes", "label"]).map(augment, "image.bytes")
    plain = MapDataset(
        [{"image.bytes": image, "label": label} for label, image in enumerate(images)], augment, "image.bytes"
    )
    options: dict[str, Any] = {"batch_size": 8, "shuffle": True, "seed": 5}
    with DataLoader(dataset, num_workers=2, backend=backend, **options) as loader:
        for batch, expected in zip(loader, DataLoader(plain, **options), strict=True):
            assert batch["image.bytes"].shape == (8, 3, 8, 8)
            check_same(batch["image.bytes"], expected["image.bytes"])
            assert batch["label"].tolist() == expected["label"].tolist()


def test_columns_that_are_not_chosen_do_not_travel() -> None:
    table = pa.table({"x": np.arange(10), "large": [bytes(10_000)] * 10})
    assert len(pickle.dumps(ArrowDataset(table, columns=["x"]))) < 5000


# -- bad input


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    pq.write_table(sample_table(), tmp_path / "a.parquet")
    write_ipc(tmp_path / "a.arrow", sample_table())
    for make in (
        lambda columns: ParquetDataset(tmp_path / "a.parquet", columns),
        lambda columns: ArrowDataset(tmp_path / "a.arrow", columns),
        lambda columns: ArrowDataset(sample_table(), columns),
    ):
        with pytest.raises(ArgumentError, match=r"has no column 'x'; it has \['content', 'vector', 'label', 'text'\]"):
            make(["label", "x"])
        with pytest.raises(ArgumentError, match=r"has no column 'text\.x'"):
            make(["text.x"])
        with pytest.raises(ArgumentError, match="at least one column is needed"):
            make([])
        with pytest.raises(ArgumentError, match=r"the columns \['label'\] are there twice"):
            make(["label", "label"])
        with pytest.raises(
            ArgumentTypeError, match="columns must be a list of names, or None for all, but got 'label'"
        ):
            make("label")


def test_files_of_other_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1], "y": ["a"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [1.5], "y": ["a"]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "c.parquet")
    with pytest.raises(ArgumentError, match=r"'x' is double in .*b\.parquet and int64 in .*a\.parquet"):
        ParquetDataset([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    with pytest.raises(ArgumentError, match=r"c\.parquet has no columns \['y'\], which .*a\.parquet has"):
        ParquetDataset([tmp_path / "a.parquet", tmp_path / "c.parquet"])
    assert len(ParquetDataset([tmp_path / "a.parquet", tmp_path / "c.parquet"], columns=["x"])) == 2


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [0, 3, 50, 0.5, -1])
def test_a_file_that_is_cut_short(tmp_path: Path, name: str, length: float) -> None:
    path = tmp_path / "a.bin"
    FILES[name](path, sample_table())
    content = path.read_bytes()
    cut = int(length * len(content)) if 0 < length < 1 else int(length) % (len(content) + 1)
    if "stream" in name and length == -1:
        pytest.skip("the last byte of a stream is one of padding")
    path.write_bytes(content[: cut if length >= 0 else -1])
    with pytest.raises(CorruptDataError, match=r"a\.bin"):
        opened(path, name)[0]


@pytest.mark.parametrize("name", FILES)
def test_file_of_another_format_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.bin").write_bytes(b"something else, and long enough for a footer" * 10)
    with pytest.raises(CorruptDataError, match=r"a\.bin cannot be read as what it should be"):
        opened(tmp_path / "a.bin", name)
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "absent.bin", name)


def test_a_bit_that_flips_in_a_page_with_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"x": [b"needle" * 10 for _ in range(50)]})
    pq.write_table(
        table,
        path,
        write_page_checksum=True,
        compression="none",
        use_dictionary=False,
        row_group_size=25,
        write_statistics=False,
    )
    content = bytearray(path.read_bytes())
    content[content.rindex(b"needle")] ^= 1
    path.write_bytes(content)
    dataset = ParquetDataset(path)
    assert dataset[0] == {"x": b"needle" * 10}
    with pytest.raises(CorruptDataError, match=r"a\.parquet, row group 1 cannot be read.*CRC"):
        list(DataLoader(dataset, batch_size=10))


@given(st.data())
def test_bytes_that_change_give_an_error_or_a_batch(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Of a mapped file, in which nothing but its structure is checked."""
    name = data.draw(st.sampled_from(["Arrow file", "Arrow stream"]))
    path = tmp_path_factory.mktemp("flipped") / "a.bin"
    FILES[name](path, sample_table(20))
    content = bytearray(path.read_bytes())
    for _ in range(3):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        dataset = ArrowDataset(path)
        dataset.get_batch(np.arange(len(dataset)))
    except (StorageError, CollateError, ArgumentError):
        pass


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_changes(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / "a.bin", sample_table())
    dataset = opened(tmp_path / "a.bin", name)
    dataset[0]
    (tmp_path / "a.bin").write_bytes(b"cut")
    with pytest.raises(FileChangedError, match=r"a\.bin has changed"):
        list(DataLoader(dataset, batch_size=10))


@pytest.mark.parametrize("size", [-1, 1.5, True, "1 GB"])
def test_a_cache_of_no_size(tmp_path: Path, size: Any) -> None:
    pq.write_table(sample_table(), tmp_path / "a.parquet")
    with pytest.raises(ArgumentError, match="cache_bytes must be a number of bytes, 0 or more, but got"):
        ParquetDataset(tmp_path / "a.parquet", cache_bytes=size)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(sample_table(), tmp_path / "a.parquet")
    monkeypatch.delitem(sys.modules, "headrace.formats.arrow.reader", raising=False)
    monkeypatch.delattr("headrace.formats.arrow.reader", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'headrace\[arrow\]'"):
        ParquetDataset(tmp_path / "a.parquet")


def test_nested_lists_of_one_shape_are_arrays() -> None:
    kinds = [pa.list_(pa.list_(pa.int32())), pa.large_list(pa.list_view(pa.int32())), pa.list_(pa.list_(pa.int32(), 2))]
    for kind in kinds:
        values = [[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 10], [11, 12]]]
        dataset = ArrowDataset(
            pa.table({"x": pa.chunked_array([pa.array(values[:1], kind), pa.array(values[1:], kind)])})
        )
        batch = dataset.get_batch(np.array([2, 0, 1]))["x"]
        assert batch.dtype == np.int32
        np.testing.assert_array_equal(batch, [values[2], values[0], values[1]])
        np.testing.assert_array_equal(dataset[1]["x"], values[1])
        check_dataset(dataset, picklable=True)


def test_views_of_lists_in_any_order() -> None:
    views = pa.ListViewArray.from_arrays(
        pa.array([3, 0, 1], pa.int32()), pa.array([2, 2, 2], pa.int32()), pa.array(range(5))
    )
    batch = ArrowDataset(pa.table({"x": views})).get_batch(np.arange(3))["x"]
    assert batch.tolist() == [[3, 4], [0, 1], [1, 2]]


def test_nested_lists_of_other_shapes() -> None:
    kind = pa.list_(pa.list_(pa.float32()))
    table = pa.table({"x": pa.array([[[1], [2, 3]], [], [[4]], [[1, 2]], None, [[]]], kind)})
    dataset = ArrowDataset(table)
    first = dataset[0]["x"]
    assert [item.tolist() for item in first] == [[1], [2, 3]]
    assert [dataset[index]["x"].shape for index in (1, 2, 3, 5)] == [(0, 0), (1, 1), (1, 2), (1, 0)]
    assert dataset[4]["x"] is None
    assert dataset.get_batch(np.array([1, 1]))["x"].shape == (2, 0, 0)
    with pytest.raises(RaggedSamplesError, match="sample 2 has"):
        dataset.get_batch(np.array([2, 3]))
    deep = pa.array([[[[1, 2]], [[3, 4]]]] * 2, pa.list_(pa.list_(pa.list_(pa.int8()))))
    assert ArrowDataset(pa.table({"x": deep})).get_batch(np.arange(2))["x"].shape == (2, 2, 1, 2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.string(), pa.large_string()),
        (pa.string(), pa.string_view()),
        (pa.string(), pa.dictionary(pa.int8(), pa.large_string())),
        (pa.binary(), pa.large_binary()),
        (pa.list_(pa.field("item", pa.int64())), pa.large_list(pa.field("element", pa.int64(), nullable=False))),
        (pa.list_(pa.int64()), pa.list_view(pa.int64())),
        (pa.struct({"a": pa.string(), "b": pa.int8()}), pa.struct({"b": pa.int8(), "a": pa.large_string()})),
    ],
)
def test_shards_that_differ_in_names_only(one: Any, other: Any, tmp_path: Path) -> None:
    values = {"s": "x", "b": b"x", "l": [1, 2]}
    value = {"a": "x", "b": 3} if pa.types.is_struct(one) else values[str(one)[0]]
    for name, kind in (("a", one), ("b", other)):
        with pa.ipc.new_file(tmp_path / f"{name}.arrow", pa.schema({"x": kind})) as writer:
            writer.write_table(
                pa.table({"x": pa.array([value], kind if kind != other or "dict" not in str(kind) else one)}).cast(
                    pa.schema({"x": kind})
                )
            )
    dataset = ArrowDataset([tmp_path / "a.arrow", tmp_path / "b.arrow"])
    batch = dataset.get_batch(np.array([0, 1]))["x"]
    for index in range(2):
        np.testing.assert_equal(dataset[index]["x"], np.array(value) if isinstance(value, list) else value)
    assert len(batch) == 2


def test_shards_of_other_types_are_refused(tmp_path: Path) -> None:
    for name, values in (("a", [1]), ("b", ["x"])):
        pq.write_table(pa.table({"x": values}), tmp_path / f"{name}.parquet")
    with pytest.raises(ArgumentError, match=r"'x' is string in .* and int64 in"):
        ParquetDataset(tmp_path / "*.parquet")


def _stream(count: int) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"x": np.arange(count)})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    return bytes(sink.getvalue().to_pybytes())


def test_a_stream_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    whole, path = _stream(10), tmp_path / "a.arrows"
    path.write_bytes(whole)
    assert len(ArrowDataset(path)) == 10
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptDataError):
            ArrowDataset(path)


def test_bytes_after_a_stream_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.arrows").write_bytes(_stream(5) + _stream(5))
    with pytest.raises(CorruptDataError, match="goes on behind the end of its stream"):
        ArrowDataset(tmp_path / "a.arrows")


@pytest.mark.filterwarnings("ignore:Feather V1")
def test_formats_that_are_not_read_are_named(tmp_path: Path) -> None:
    feather = pytest.importorskip("pyarrow.feather")
    feather.write_feather(pa.table({"x": [1]}), tmp_path / "a.feather", version=1)
    with pytest.raises(StorageError, match="is Feather of version 1"):
        ArrowDataset(tmp_path / "a.feather")
    content = b"PARE" + bytes(50) + b"PARE"
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(StorageError, match=r"is encrypted|cannot be read"):
        ParquetDataset(tmp_path / "a.parquet")


def test_loader_error_names_the_remedy_for_nulls() -> None:
    dataset = ArrowDataset(pa.table({"age": [1, 2, None, 4], "x": [1, 2, 3, 4]}))
    with pytest.raises(MixedSamplesError, match=r"column 'age' is null in sample 2, .*columns=.*fill_null"):
        next(iter(DataLoader(dataset, batch_size=4)))


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_batches_from_the_same_row_groups_and_from_others_hold_their_rows(tmp_path: Path, cache_bytes: int) -> None:
    numbers = np.arange(1000)
    texts = [f"row {number}" * (number % 3) for number in numbers.tolist()]
    table = pa.table({"number": numbers, "text": texts, "inner": [{"twice": 2 * n} for n in numbers.tolist()]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    dataset = ParquetDataset(tmp_path / "a.parquet", cache_bytes=cache_bytes)
    random = np.random.default_rng(0)
    for low, high in [(0, 300), (0, 300), (200, 500), (400, 450), (410, 420), (0, 1000), (0, 1000)]:
        indices = random.integers(low, high, 64)
        batch = pickle.loads(pickle.dumps(dataset)).get_batch(indices) if low == 400 else dataset.get_batch(indices)
        np.testing.assert_array_equal(batch["number"], indices)
        np.testing.assert_array_equal(batch["inner"]["twice"], 2 * indices)
        assert batch["text"] == [texts[index] for index in indices.tolist()]
    held = 0 if dataset._last is None else len(dataset._last[0])
    assert held <= len(dataset._recent)


@pytest.mark.parametrize(("nbytes", "pieces"), [(1, {40}), (100, range(2, 40)), (1 << 20, {1})])
def test_row_groups_decoded_in_pieces_hold_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nbytes: int, pieces: Container[int]
) -> None:
    texts = [None if number == 50 else "x" * (number % 5) for number in range(100)]
    content = [bytes([number]) * number for number in range(100)]
    table = pa.table({"number": np.arange(100), "text": texts, "content": content, "half": np.arange(100) / 2})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=40)
    dataset = ParquetDataset(tmp_path / "x.parquet")
    file: Any = dataset._tables[0]
    monkeypatch.setattr(reader, "_PIECE", nbytes)
    assert len(file.read(0)[0].pieces) in pieces
    assert [dataset[number] for number in range(100)] == table.to_pylist()
    for indices in (np.arange(40, 50), np.arange(38, 43), np.random.default_rng(0).permutation(50)):
        batch = dataset.get_batch(indices)
        expected = table.take(indices).to_pydict()
        assert batch["text"] == expected["text"]
        assert batch["content"] == expected["content"]
        assert batch["number"].tolist() == expected["number"]
        assert batch["half"].tolist() == expected["half"]
    with pytest.raises(MixedSamplesError, match="'text' is null in sample 50"):
        dataset.get_batch(np.arange(45, 55))


def test_lists_are_decoded_with_their_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"list": [[1, 2], [3, None]] * 20}), tmp_path / "x.parquet")
    monkeypatch.setattr(reader, "_PIECE", 1)
    file: Any = ParquetDataset(tmp_path / "x.parquet")._tables[0]
    assert len(file.read(0)[0].pieces) == 1


def test_pieces_of_other_lengths_than_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"number": np.arange(40)}), tmp_path / "x.parquet")
    dataset = ParquetDataset(tmp_path / "x.parquet")
    monkeypatch.setattr(reader, "_PIECE", 16)
    iterate = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda file, rows, *args, **kwargs: iterate(file, 3, *args, **kwargs)
    )
    assert dataset.get_batch(np.arange(40))["number"].tolist() == list(range(40))
