"""Values of LMDB databases that the library wrote, held against what the library reads."""

from __future__ import annotations

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import DataLoader, LMDBDataset
from headrace.errors import ArgumentTypeError, CorruptDataError, FileChangedError, OutOfRangeError, StorageError
from headrace.testing import check_dataset, check_same

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Some lie in leaves and some in pages of their own.
RECORDS = {b"%04d" % number: bytes([number % 256]) * (number * 37 % 9000) for number in range(300)}


def write(path: Path, records: dict[bytes, bytes], *, subdir: bool = True, **options: Any) -> None:
    with lmdb.open(str(path), map_size=1 << 26, subdir=subdir, **options) as env, env.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)


def read(path: Path, *, subdir: bool = True) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(path), readonly=True, lock=False, subdir=subdir) as env, env.begin() as transaction:
        return list(transaction.cursor())


def pairs(dataset: LMDBDataset) -> list[tuple[bytes, bytes]]:
    return [(dataset.key(index), dataset[index]) for index in range(len(dataset))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "db", RECORDS)
    return tmp_path / "db"


def test_values_are_in_the_order_of_their_keys(folder: Path) -> None:
    dataset = LMDBDataset(folder)
    check_dataset(dataset, negative=True, picklable=True)
    assert pairs(dataset) == read(folder) == sorted(RECORDS.items())
    assert LMDBDataset(folder / "data.mdb")[7] == dataset[7]


def test_a_database_without_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.lmdb", RECORDS, subdir=False)
    assert pairs(LMDBDataset(tmp_path / "a.lmdb")) == read(tmp_path / "a.lmdb", subdir=False)


def test_several_databases_follow_one_another(tmp_path: Path) -> None:
    write(tmp_path / "1.lmdb", {b"b": b"1", b"d": b"2"})
    write(tmp_path / "2.lmdb", {b"a": b"3"})
    dataset = LMDBDataset(tmp_path / "*.lmdb")
    check_dataset(dataset, negative=True, picklable=True)
    assert pairs(dataset) == [(b"b", b"1"), (b"d", b"2"), (b"a", b"3")]
    assert pairs(LMDBDataset(tmp_path / "*.lmdb", keys=[b"a", b"d"])) == [(b"a", b"3"), (b"d", b"2")]


CHANGES = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=20) | st.integers(0, 400).map(lambda number: b"%d" % number),
        st.none() | st.sampled_from([0, 1, 100, 1000, 2000, 5000, 20_000]) | st.integers(0, 300),
    ),
    max_size=120,
)


@settings(max_examples=40, deadline=None)
@given(transactions=st.lists(CHANGES, max_size=4))
def test_any_database(
    tmp_path_factory: pytest.TempPathFactory, transactions: list[list[tuple[bytes, int | None]]]
) -> None:
    """After values were put, put again and deleted, so that pages were split, freed and used again."""
    path = tmp_path_factory.mktemp("any")
    with lmdb.open(str(path), map_size=1 << 26) as env:
        for number, changes in enumerate(transactions):
            with env.begin(write=True) as transaction:
                for key, size in changes:
                    if size is None:
                        transaction.delete(key)
                    else:
                        transaction.put(key, (b"%d" % number + key) * size)
    dataset = LMDBDataset(path)
    expected = read(path)
    assert pairs(dataset) == expected
    if expected:
        assert dataset.get_batch(np.arange(len(dataset))) == [value for _, value in expected]


def test_a_deep_tree(tmp_path: Path) -> None:
    records = {b"%0400d" % (number * 7919 % 20_011): b"%d" % number for number in range(20_000)}
    write(tmp_path / "db", records)
    with lmdb.open(str(tmp_path / "db"), readonly=True, lock=False) as env:
        assert env.stat()["depth"] >= 4
    dataset = LMDBDataset(tmp_path / "db")
    assert dataset.get_batch(np.arange(20_000)) == [value for _, value in sorted(records.items())]


def test_keys_that_are_given(folder: Path) -> None:
    keys = [b"0299", b"0000", b"0150", b"0000"]
    dataset = LMDBDataset(folder, keys=keys)
    check_dataset(dataset, negative=True, picklable=True)
    assert pairs(dataset) == [(key, RECORDS[key]) for key in keys]
    assert pairs(LMDBDataset(folder, keys=(key.decode() for key in keys))) == pairs(dataset)
    assert len(LMDBDataset(folder, keys=[])) == 0
    with pytest.raises(StorageError, match=r"no key b'x' in .*data\.mdb, which is that of sample 1; 2 of 3 keys are"):
        LMDBDataset(folder, keys=["0000", "x", "y"])


def test_decode(tmp_path: Path) -> None:
    samples = [{"x": np.arange(3), "label": number} for number in range(20)]
    write(tmp_path / "db", {b"%02d" % number: pickle.dumps(sample) for number, sample in enumerate(samples)})
    dataset = LMDBDataset(tmp_path / "db", decode="pickle")
    check_dataset(dataset, picklable=True)
    check_same(dataset[7], samples[7])
    assert LMDBDataset(tmp_path / "db")[7] == pickle.dumps(samples[7])
    assert LMDBDataset(tmp_path / "db", decode=len).get_batch(np.array([3, 4])).tolist() == [
        len(pickle.dumps(samples[3])),
        len(pickle.dumps(samples[4])),
    ]
    with pytest.raises(ArgumentTypeError, match="decode must be a function"):
        LMDBDataset(tmp_path / "db", decode="json")  # type: ignore[arg-type]


def test_what_cannot_be_decoded_is_named(folder: Path) -> None:
    with pytest.raises(pickle.UnpicklingError) as caught:
        LMDBDataset(folder, decode="pickle")[5]
    assert any("sample 5" in note and "data.mdb" in note and "b'0005'" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_workers_read_the_same(folder: Path, backend: Any) -> None:
    dataset = LMDBDataset(folder, keys=list(RECORDS)[::-1])
    expected = list(DataLoader(dataset, batch_size=32, shuffle=True, seed=1))
    with DataLoader(dataset, batch_size=32, shuffle=True, seed=1, num_workers=2, backend=backend) as loader:
        assert list(loader) == expected


def test_threads_and_a_fork_read_at_the_same_time(folder: Path) -> None:
    dataset = LMDBDataset(folder)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(dataset.__getitem__, range(300))) == [value for _, value in sorted(RECORDS.items())]
    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            os._exit(0 if dataset[299] == RECORDS[b"0299"] else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_the_library_may_have_it_open(folder: Path) -> None:
    with lmdb.open(str(folder)) as env, env.begin() as transaction:
        dataset = LMDBDataset(folder)
        assert dataset[3] == transaction.get(b"0003")


def test_a_resumed_epoch_goes_on(folder: Path) -> None:
    loader = DataLoader(LMDBDataset(folder), batch_size=32, shuffle=True, seed=0)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    rest = list(batches)
    other = DataLoader(LMDBDataset(folder), batch_size=32, shuffle=True, seed=0)
    other.load_state_dict(state)
    assert list(other) == rest


def test_it_is_small_to_pickle_and_closes(folder: Path) -> None:
    dataset = LMDBDataset(folder)
    dataset[0]
    assert len(pickle.dumps(dataset)) < 2000
    dataset.close()
    assert dataset[0] == RECORDS[b"0000"]


def test_an_empty_database(tmp_path: Path) -> None:
    write(tmp_path / "db", {})
    dataset = LMDBDataset(tmp_path / "db")
    assert len(dataset) == 0
    with pytest.raises(OutOfRangeError, match="Index 0 out of range for dataset of size 0"):
        dataset[0]


# -- bad input


def test_a_change_is_noticed(folder: Path) -> None:
    dataset = LMDBDataset(folder)
    dataset[0]
    write(folder, {b"0000": b"other"})
    with pytest.raises(FileChangedError, match=r"data\.mdb has changed"):
        dataset[0]
    assert LMDBDataset(folder)[0] == b"other"


def test_a_flipped_bit_is_noticed(folder: Path) -> None:
    LMDBDataset(folder)
    path = folder / "data.mdb"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[content.rindex(bytes([200]) * 500)] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CorruptDataError, match=r"sample \d+ is damaged: .*data\.mdb, \d+ bytes at \d+.*CRC32C"):
        list(DataLoader(LMDBDataset(folder), batch_size=32))
    list(DataLoader(LMDBDataset(folder, verify=False), batch_size=32))


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        LMDBDataset(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"no LMDB database in the folder .*, which has no data\.mdb"):
        LMDBDataset(tmp_path)
    for content in (b"", b"x", b"x" * 10_000, bytes(10_000)):
        (tmp_path / "data.mdb").write_bytes(content)
        with pytest.raises(CorruptDataError, match=r"data\.mdb is no LMDB file"):
            LMDBDataset(tmp_path)


def test_databases_without_numbers(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "named"), max_dbs=2) as env, env.begin(write=True) as transaction:
        transaction.put(b"x", b"1", db=env.open_db(b"train", transaction))
    with pytest.raises(StorageError, match=r"data\.mdb holds named databases"):
        LMDBDataset(tmp_path / "named")


def test_several_values_for_a_key(folder: Path) -> None:
    """The binding does not write them into the main database, so its flag is set by hand, in both metas."""
    with pytest.raises(StorageError, match=r"data\.mdb may hold several values for a key \(dupsort\)"):
        LMDBDataset(damaged(folder, [(92, 4), (4096 + 92, 4)]))


def damaged(folder: Path, flips: Iterable[tuple[int, int]], length: int | None = None) -> Path:
    """A copy of the database with some bytes changed."""
    path = folder.with_name("damaged")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    content = bytearray((folder / "data.mdb").read_bytes()[:length])
    for place, byte in flips:
        content[place % len(content)] = byte
    (path / "data.mdb").write_bytes(content)
    return path


@pytest.mark.parametrize("pages", [1, 2, 3, 10, 100])
def test_a_file_that_is_cut_short(folder: Path, pages: int) -> None:
    with pytest.raises(CorruptDataError, match=r"data\.mdb"):
        LMDBDataset(damaged(folder, [], pages * 4096))
    with pytest.raises(CorruptDataError, match=r"data\.mdb"):
        LMDBDataset(damaged(folder, [], pages * 4096 - 1))


def test_damage_gives_a_clean_error_or_records(tmp_path: Path) -> None:
    """In the structure of pages, which is all that a file says of itself."""
    folder = tmp_path / "db"
    write(folder, dict(list(RECORDS.items())[:60]))
    size = (folder / "data.mdb").stat().st_size
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        pages = rng.integers(0, size // 4096, 20)
        places = pages * 4096 + np.where(rng.random(20) < 0.7, rng.integers(0, 24, 20), rng.integers(0, 4096, 20))
        path = damaged(folder, zip(places.tolist(), rng.integers(0, 256, 20).tolist(), strict=True))
        try:
            dataset = LMDBDataset(path)
            dataset.get_batch(np.arange(len(dataset)))
        except StorageError:
            refused += 1
    assert refused > 100
