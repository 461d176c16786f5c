"""Plans against what real runs count, and against the log of the server that files lie on."""

from __future__ import annotations

import io
import json
import pickle
import sys
import tarfile
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.formats.shards_of_items import lit_item, lit_rows, mds_rows, table, write_litdata, write_mds

import headrace as hr
from headrace.bench.workloads.far_server import _FarServer, _Handler
from headrace.cli.main import main
from headrace.errors import ArgumentError
from headrace.formats.tfrecord.framing import frame
from headrace.insight.plan import make_plan
from headrace.io.chunks import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from headrace.insight.plan import RunPlan

pytest.importorskip("aiohttp")
COUNT = 150
RNG = np.random.default_rng(0)
SIZES = RNG.integers(1, 30_000, COUNT)
TEXTS = [RNG.bytes(int(size)) for size in SIZES]
ROWS = RNG.integers(0, 9, (COUNT, 64, 400), np.uint8)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """The address of the folder, and of all requests for bytes the file and how many were asked for."""
    log: list[tuple[str, int]] = []

    class Handler(_Handler):
        folder, seconds = tmp_path, 0.0

        def do_GET(self) -> None:
            if "Range" in self.headers:
                start, stop = self.headers["Range"].removeprefix("bytes=").split("-")
                log.append((self.path, int(stop) + 1 - int(start)))
            super().do_GET()

    with _FarServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", log
        server.shutdown()
        thread.join()


# ---------------------------------------------------------------------- datasets, of a folder or an address of it


def tar(folder: Path, at: str, **options: Any) -> Any:
    for shard, some in enumerate(np.array_split(np.arange(COUNT), 2)):
        with tarfile.open(folder / f"{shard}.tar", "w") as archive:
            for number in some.tolist():
                for name, content in (("txt", TEXTS[number]), ("cls", b"%d" % (number % 3))):
                    member = tarfile.TarInfo(f"{number:03}.{name}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return hr.TarDataset([f"{at}{shard}.tar" for shard in range(2)], **options)


def labels_of_tar(folder: Path, at: str) -> Any:
    return tar(folder, at, fields=["cls"])


def tar_sample_by_sample(folder: Path, at: str) -> Any:
    return tar(folder, at).map(len)


def tfrecord(folder: Path, at: str) -> Any:
    for shard in range(3):
        (folder / f"{shard}.tfrecord").write_bytes(b"".join(map(frame, TEXTS[shard::3])))
    return hr.TFRecordDataset([f"{at}{shard}.tfrecord" for shard in range(3)])


def npy(folder: Path, at: str) -> Any:
    for shard, some in enumerate(np.array_split(ROWS, 2)):
        np.save(folder / f"{shard}.npy", some)
    return hr.NpyDataset([f"{at}{shard}.npy" for shard in range(2)])


def mds(folder: Path, at: str) -> Any:
    write_mds(folder, mds_rows(COUNT), 70)
    return hr.MDSDataset(at.rstrip("/"), ["number", "text"])


def columns_of_mds(folder: Path, at: str) -> Any:
    write_mds(folder, mds_rows(COUNT), 70)
    return hr.MDSDataset(at.rstrip("/"), ["number", "row"])


def litdata(folder: Path, at: str) -> Any:
    items = list(map(lit_item, lit_rows(COUNT)))
    parts = [items[:70], items[70:]]
    chunks = {f"chunk-0-{number}.bin": table(part) for number, part in enumerate(parts)}
    write_litdata(folder, chunks, list(map(len, parts)))
    return hr.LitDataDataset(at.rstrip("/")).map(lambda sample: sample["id"])


def pixels(folder: Path, at: str) -> Any:
    np.save(folder / "a.npy", ROWS[..., np.newaxis])
    return hr.NpyDataset(f"{at}a.npy").map(hr.ToFloat())


def scattered(folder: Path, at: str) -> Any:
    np.save(folder / "f.npy", np.asfortranarray(ROWS[:, 0]))
    return hr.NpyDataset(f"{at}f.npy")


def some_rows_twice(folder: Path, at: str) -> Any:
    dataset = npy(folder, at)
    return dataset.subset(np.arange(0, COUNT, 2)) + dataset.subset(np.arange(40))


def rows_by_a_function(folder: Path, at: str) -> Any:
    return npy(folder, at).map(lambda row: row.astype(np.int64).sum())


def mixture(folder: Path, at: str) -> Any:
    first = npy(folder, at)
    return hr.mix([first, first.subset(np.arange(40)).map(np.negative)], weights=[1, 2])


def side_by_side(folder: Path, at: str) -> Any:
    return hr.StackDataset(npy(folder, at), tfrecord(folder, at))


def tokens(folder: Path, at: str) -> Any:
    np.arange(COUNT * 8000 + 1, dtype=np.uint16).tofile(folder / "a.bin")
    return hr.TokenDataset(f"{at}a.bin", 8000, np.uint16)


def packed_documents(folder: Path, at: str) -> Any:
    text = np.concatenate([[*range(1, 2 + 300 * (number % 7)), 0] for number in range(COUNT)]).astype(np.uint16)
    text.tofile(folder / "b.bin")
    return hr.TokenDocuments(f"{at}b.bin", np.uint16, eos=0).pack_sequences(2000)


def files(folder: Path, at: str) -> Any:
    for number, text in enumerate(TEXTS):
        (folder / f"{number:03}.txt").write_bytes(text)
    return hr.FilesDataset([f"{at}{number:03}.txt" for number in range(COUNT)])


def images(folder: Path, at: str) -> Any:
    for number, row in enumerate(ROWS):
        (folder / f"{number:03}.pgm").write_bytes(b"P5 400 64 255 " + row.tobytes())
    paths = [f"{at}{number:03}.pgm" for number in range(COUNT)]
    return hr.ImageDataset(paths, np.arange(COUNT) % 10, hr.RandomCrop(32), hr.Decode("L"))


def cached_rows(folder: Path, at: str) -> Any:
    return npy(folder, at).cache()


def cached_records(folder: Path, at: str) -> Any:
    return tfrecord(folder, at).map(len).cache()


def cached_pixels(folder: Path, at: str) -> Any:
    np.save(folder / "a.npy", ROWS[..., np.newaxis])
    return hr.NpyDataset(f"{at}a.npy").cache().map(hr.ToFloat())


def cached_in_part(folder: Path, at: str) -> Any:
    first, second = npy(folder, at), tfrecord(folder, at).map(len)
    return first.map(lambda row: int(row.sum())).cache() + second


MAKERS = [tar, labels_of_tar, tar_sample_by_sample, tfrecord, npy, pixels, scattered, some_rows_twice]
MAKERS += [rows_by_a_function, mixture, side_by_side, tokens, packed_documents, files, images]
MAKERS += [mds, columns_of_mds, litdata]
CACHED = [cached_rows, cached_records, cached_pixels, cached_in_part]
ORDERS: list[dict[str, Any]] = [{}, {"shuffle": True}, {"shuffle": "block", "block_size": 7, "window": 3}]
PROCESSES: dict[str, Any] = {"num_workers": 2, "backend": "process"}


def list_of(samples: list[Any]) -> list[Any]:
    return samples


@contextmanager
def rise_of_counters(loader: Any) -> Iterator[dict[str, int]]:
    risen: dict[str, int] = {}
    before = loader.stats().counters
    yield risen
    after = loader.stats().counters
    changed = {name: count - before.get(name, 0) for name, count in after.items() if name != "cache_bytes"}
    risen.update({name: count for name, count in changed.items() if count})


def check(dataset: Any, options: dict[str, Any], epochs: int = 2) -> RunPlan:
    """Hold a plan to what a loader counts in each epoch; the dataset may have been read before."""

    def make() -> Any:
        collate = list_of if isinstance(dataset, hr.TarDataset) else None
        return hr.DataLoader(dataset, 8, seed=0, collate_fn=collate, **options)

    planned = make_plan([make()], epochs=epochs)
    with make() as loader:
        for epoch in planned.epochs:
            with rise_of_counters(loader) as risen:
                steps = sum(1 for _ in loader)
            assert epoch.counters == risen
            assert epoch.counters["bytes_read"] == sum(use.bytes_read for use in epoch.files)
            assert not epoch.timing
    assert planned.ranks[0].steps == steps == len(loader)
    assert planned.ranks[0].samples == len(dataset)
    return planned


# ---------------------------------------------------------------------- counters of real runs


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("make", MAKERS)
def test_local_files(make: Callable[[Path, str], Any], order: dict[str, Any], tmp_path: Path) -> None:
    planned = check(make(tmp_path, f"{tmp_path}/"), order)
    assert set(planned.epochs[0].counters) == {"bytes_read"}
    assert all(use.bytes_moved >= use.bytes_read or use.bytes_moved % 4096 == 0 for use in planned.epochs[0].files)


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("make", [*MAKERS, *CACHED])
def test_files_far_away(
    make: Callable[[Path, str], Any],
    order: dict[str, Any],
    tmp_path: Path,
    served: tuple[str, list[tuple[str, int]]],
) -> None:
    at, log = served
    dataset = make(tmp_path, at)
    planned = make_plan([hr.DataLoader(dataset, 8, seed=0, **order)])
    loader = hr.DataLoader(dataset, 8, seed=0, collate_fn=list_of if make is tar else None, **order)
    log.clear()
    with rise_of_counters(loader) as risen:
        for _ in loader:
            pass
    assert planned.epochs[0].counters == risen
    asked, moved = Counter(path for path, _ in log), Counter[str]()
    for path, size in log:
        moved[path] += size
    for use in planned.epochs[0].files:
        names = asked.keys() if use.path.endswith("/*") else {use.path.removeprefix(at[:-1])}
        assert use.requests == sum(asked[name] for name in names)
        assert use.bytes_moved == sum(moved[name] for name in names)
    assert sum(use.requests for use in planned.epochs[0].files) == len(log)


@pytest.mark.usefixtures("by_value")
@pytest.mark.parametrize("order", ORDERS[1:], ids=str)
@pytest.mark.parametrize("make", [npy, tar_sample_by_sample, packed_documents, cached_in_part])
def test_files_far_away_in_worker_processes(
    make: Callable[[Path, str], Any],
    order: dict[str, Any],
    tmp_path: Path,
    served: tuple[str, list[tuple[str, int]]],
) -> None:
    check(make(tmp_path, served[0]), order | PROCESSES)


def test_local_files_in_worker_processes(tmp_path: Path) -> None:
    check(npy(tmp_path, f"{tmp_path}/"), {"shuffle": True} | PROCESSES)
    check(tfrecord(tmp_path, f"{tmp_path}/"), {"shuffle": True, "persistent_workers": True} | PROCESSES)


@pytest.mark.usefixtures("by_value")
def test_workers_that_stay_keep_what_they_fetched(tmp_path: Path, served: tuple[str, list[tuple[str, int]]]) -> None:
    planned = check(npy(tmp_path, served[0]), {"shuffle": True, "persistent_workers": True} | PROCESSES)
    first, second = (epoch.counters["remote_requests"] for epoch in planned.epochs)
    assert second < first


@pytest.mark.parametrize("make", CACHED)
def test_cached_samples(make: Callable[[Path, str], Any], tmp_path: Path) -> None:
    dataset = make(tmp_path, f"{tmp_path}/")
    planned = make_plan([hr.DataLoader(dataset, 8, shuffle=True, seed=0)], epochs=2)
    cached = 2 * COUNT if make is cached_in_part else COUNT
    assert planned.ranks[0].samples == cached
    with hr.DataLoader(dataset, 8, shuffle=True, seed=0) as loader:
        for epoch in planned.epochs:
            with rise_of_counters(loader) as risen:
                assert sum(1 for _ in loader) == planned.ranks[0].steps
            assert epoch.counters == risen
    assert planned.epochs[0].counters["cache_misses"] == planned.epochs[1].counters["cache_hits"] == COUNT


def test_a_folder_of_cached_samples_is_planned_from_what_it_has(tmp_path: Path) -> None:
    dataset = npy(tmp_path, f"{tmp_path}/")
    for _ in range(2):
        cached = dataset.cache(tmp_path / "cache")
        planned = make_plan([hr.DataLoader(cached, 8, seed=0)])
        assert cached.stats().misses == 0  # nothing was read through it
        with hr.DataLoader(cached, 8, seed=0) as loader:
            for _ in zip(range(10), loader, strict=False):
                pass
        with_rest = make_plan([hr.DataLoader(cached, 8, seed=0)])
        hits, misses = (planned.epochs[0].counters.get(name, 0) for name in ("cache_hits", "cache_misses"))
        assert hits + misses == COUNT
        assert with_rest.epochs[0].counters["cache_hits"] == 80


def test_a_cache_that_is_full(tmp_path: Path) -> None:
    cached = npy(tmp_path, f"{tmp_path}/").cache(limit=20 * ROWS[0].nbytes)
    planned = make_plan([hr.DataLoader(cached, 8, seed=0)], epochs=2)
    assert not planned.is_exact
    assert list(planned.epochs[0].timing) == ["samples for which the cache may have no room"]


def test_chunks_on_the_disk(tmp_path: Path, served: tuple[str, list[tuple[str, int]]]) -> None:
    at, log = served
    (tmp_path / "chunks").mkdir()
    with hr.RemoteOptions(cache_dir=str(tmp_path / "chunks")):
        dataset = npy(tmp_path, at)
    log.clear()
    for epoch in range(2):
        planned = make_plan([hr.DataLoader(dataset, 8, shuffle=True, seed=epoch)])
        assert planned.memory.batch is None
        assert not log or epoch
        loader = hr.DataLoader(dataset, 8, shuffle=True, seed=epoch)
        with rise_of_counters(loader) as risen:
            for _ in loader:
                pass
        assert planned.epochs[0].counters == risen
        dataset = pickle.loads(pickle.dumps(dataset))  # as another process has it
    sizes = [(tmp_path / f"{shard}.npy").stat().st_size for shard in range(2)]
    assert sum(size for _, size in log) == sum(sizes) - 2 * CHUNK  # the first ones came with the headers
    assert planned.epochs[0].counters["chunk_hits"] > 0
    assert "chunk_misses" not in planned.epochs[0].counters


def test_several_processes_may_fetch_a_chunk_at_once(tmp_path: Path, served: tuple[str, list[tuple[str, int]]]) -> None:
    with hr.RemoteOptions(cache_dir=str(tmp_path / "chunks")):
        dataset = npy(tmp_path, served[0])
    planned = make_plan([hr.DataLoader(dataset, 8, shuffle=True, seed=0, **PROCESSES)])
    assert list(planned.epochs[0].timing) == ["chunks that another process may still be fetching"]
    assert len(list((tmp_path / "chunks").glob("*/*"))) == 2  # of the headers


@pytest.mark.parametrize(("cache_bytes", "exact"), [(1 << 28, True), (60_000, False)])
def test_row_groups(cache_bytes: int, exact: bool, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"x": np.arange(5000), "y": np.random.default_rng(0).normal(size=5000)})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=500, compression="none", use_dictionary=False)
    dataset = hr.ParquetDataset(tmp_path / "a.parquet", cache_bytes=cache_bytes)
    orders: list[dict[str, Any]] = [{}, {"shuffle": "block", "window": 2}]
    for order in orders:
        planned = make_plan([hr.DataLoader(dataset, 50, seed=0, **order)])
        loader = hr.DataLoader(hr.ParquetDataset(tmp_path / "a.parquet", cache_bytes=cache_bytes), 50, seed=0, **order)
        with rise_of_counters(loader) as risen:
            assert len(list(loader)) == 100
        assert planned.epochs[0].counters == risen == {"row_groups_decoded": 10}
        assert planned.is_exact == exact


def test_chunks_of_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=ROWS[:, 0], chunks=(16, 400), compression="gzip")
        file.create_dataset("y", data=np.arange(COUNT))
    for cache_bytes in (1 << 20, 3 * 16 * 400):
        for order in ORDERS:
            dataset = hr.HDF5Dataset(tmp_path / "a.h5", cache_bytes=cache_bytes)
            planned = make_plan([hr.DataLoader(dataset, 8, seed=0, **order)], epochs=2)
            again = hr.HDF5Dataset(tmp_path / "a.h5", cache_bytes=cache_bytes)
            with hr.DataLoader(again, 8, seed=0, **order) as loader:
                for epoch in planned.epochs:
                    with rise_of_counters(loader) as risen:
                        assert len(list(loader)) == len(loader)
                    assert epoch.counters == risen
            assert planned.is_exact


@pytest.mark.usefixtures("by_value")
def test_two_processes_that_begin_a_cache(tmp_path: Path, served: tuple[str, list[tuple[str, int]]]) -> None:
    cached = cached_rows(tmp_path, served[0])
    (epoch,) = make_plan([hr.DataLoader(cached, 8, shuffle=True, seed=0, **PROCESSES)]).epochs
    assert epoch.timing == {"requests for a first sample, of a cache that another process may have begun": 1}
    with hr.DataLoader(cached, 8, shuffle=True, seed=0, **PROCESSES) as loader, rise_of_counters(loader) as risen:
        assert sum(1 for _ in loader) == len(loader)
    assert 0 <= risen.pop("remote_requests") - epoch.counters["remote_requests"] <= 1
    assert risen.items() <= epoch.counters.items() | {("remote_bytes", risen["remote_bytes"])}


def test_what_follows_from_which_worker_is_first_is_said(
    tmp_path: Path, served: tuple[str, list[tuple[str, int]]]
) -> None:
    far = make_plan([hr.DataLoader(npy(tmp_path, served[0]), 8, num_workers=2, backend="thread")])
    assert list(far.epochs[0].timing) == ["samples whose early fetch another thread may not have begun"]
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=ROWS[:, 0], chunks=(16, 400))
    packed = make_plan([hr.DataLoader(hr.HDF5Dataset(tmp_path / "a.h5"), 8, shuffle=True, seed=0, **PROCESSES)])
    assert list(packed.epochs[0].timing) == ["pieces that one worker or the other decodes, as they do not take turns"]
    assert packed.ranks[0].workers is None


# ---------------------------------------------------------------------- ranks, sizes, and what is refused


@pytest.mark.parametrize("uneven", ["even_split", "drop", "repeat"])
def test_ranks(uneven: Any, tmp_path: Path, served: tuple[str, list[tuple[str, int]]]) -> None:
    dataset = npy(tmp_path, served[0])

    def loader(rank: int) -> Any:
        alone = pickle.loads(pickle.dumps(dataset))  # as the process of the rank has it
        return hr.DataLoader(alone, 8, shuffle=True, seed=0, rank=rank, world_size=4, uneven=uneven)

    planned = make_plan([loader(rank) for rank in range(4)])
    assert [each.rank for each in planned.ranks] == [0, 1, 2, 3]
    for expected, counters in zip(planned.ranks, planned.epochs[0].ranks, strict=True):
        alone = loader(expected.rank)
        with rise_of_counters(alone) as risen:
            sizes = [len(batch) for batch in alone]
        assert counters == risen
        assert (expected.steps, expected.samples) == (len(sizes), sum(sizes))
        assert (expected.smallest, expected.largest, expected.workers) == (min(sizes), max(sizes), (sum(sizes),))
    assert planned.epochs[0].counters["bytes_read"] == sum(each.samples for each in planned.ranks) * ROWS[0].nbytes


def test_steps_and_processes() -> None:
    rows = hr.TensorDataset(np.zeros((100, 250), np.float32))
    planned = make_plan([hr.DataLoader(rows, 8, num_workers=2, worker_init_fn=list_of, backend="process")], steps=3)  # type: ignore[arg-type]
    assert (planned.ranks[0].steps, planned.ranks[0].samples) == (3, 24)
    assert planned.backend == "process"
    assert planned.memory.held == 5 * 8000


class Thirds:
    """A sampler that has no length."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(0, COUNT, 3))


def test_samplers(tmp_path: Path) -> None:
    rows = npy(tmp_path, f"{tmp_path}/")
    found = make_plan([hr.DataLoader(rows, 4, sampler=Thirds(), seed=0)])
    assert (found.ranks[0].steps, found.ranks[0].samples, found.ranks[0].smallest) == (13, 50, 2)
    assert found.epochs[0].counters == {"bytes_read": 50 * ROWS[0].nbytes}
    found = make_plan([hr.DataLoader(rows, batch_sampler=[[1, 2], [3]], seed=0)])
    assert (found.batch_size, found.ranks[0].samples, found.ranks[0].largest) == (None, 3, 2)
    with pytest.raises(ArgumentError, match="keys such as 'a', but only indices"):
        make_plan([hr.DataLoader({"a": 1}, 1, sampler=["a"], seed=0)])


def test_planning_leaves_no_trace(tmp_path: Path, served: tuple[str, list[tuple[str, int]]]) -> None:
    at, log = served
    dataset = cached_rows(tmp_path, at)
    loader = hr.DataLoader(dataset, 8, shuffle=True, seed=0)
    log.clear()
    planned = make_plan([loader], epochs=3)
    assert sum(size for _, size in log) < planned.epochs[0].counters["remote_bytes"] / 3  # one batch, and a sample
    assert dataset.stats() == hr.TensorDataset(np.zeros(1)).cache(limit=dataset.stats().limit).stats()
    assert loader.state_dict() == hr.DataLoader(dataset, 8, shuffle=True, seed=0).state_dict()
    assert make_plan([loader], epochs=3) == planned


def test_what_cannot_be_planned() -> None:
    class Stream(hr.IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            yield 1

    with pytest.raises(ArgumentError, match="a stream's samples are not known"):
        make_plan([hr.DataLoader(Stream(), 8)])
    mistakes: list[dict[str, Any]] = [{"epochs": 0}, {"steps": 0}]
    for wrong in mistakes:
        with pytest.raises(ArgumentError, match="must be a positive integer"):
            make_plan([hr.DataLoader(range(8), 8)], **wrong)


# ---------------------------------------------------------------------- the command


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    np.save(tmp_path / "a.npy", ROWS)
    lines = [
        "import numpy as np",
        "from headrace import DataLoader, NpyDataset, TensorDataset",
        "rows = NpyDataset('a.npy')",
        "cached = rows.cache()",
        "loader = DataLoader(rows, 10, shuffle=True, seed=5, num_workers=2, backend='thread')",
        "table = TensorDataset(np.zeros((1000, 4)), np.arange(1000) // 100)",
    ]
    (tmp_path / "planned_data.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "planned_data", raising=False)
    return "planned_data"


def test_the_command(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", f"{module}:cached", "--epochs", "2", "--ranks", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("150 samples for 3 ranks without workers, batch size 32, shuffle=True\n")
    lines = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert lines["epoch 0"][2:] == ["3.8", "MB", "0", "150"]
    assert lines["epoch 1"][2:5] == ["0", "B", "150"] or int(lines["epoch 1"][-1]) > 0  # a rank has its own cache
    assert f"{ROWS.nbytes / 1e6:.1f} MB a batch" not in out
    order = ["--shuffle", "block", "--block-size", "10", "--window", "2"]
    assert main(["plan", f"{module}:loader", "--json", *order]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["workers"], found["backend"], found["batch_size"], found["exact"]) == (2, "thread", 10, True)
    assert found["epochs"][0]["counters"] == {"bytes_read": ROWS.nbytes}
    assert found["memory"]["batch"] == 10 * ROWS[0].nbytes


def test_classes_of_the_command(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", f"{module}:table", "--shuffle", "no"]) == 0
    out = capsys.readouterr().out
    assert "nothing is read from files" in out
    assert "87.5% of a batch would have to be of other classes" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere:rows"],
        ["planned_data:rows", "--ranks", "0"],
        ["planned_data:rows", "--epochs", "0"],
        ["planned_data:rows", "--shuffle", "well"],
        ["planned_data:rows", "--workers", "-1"],
        ["planned_data:table", "--ranks", "5000"],
        ["planned_data:rows", "--block-size", "4"],
    ],
)
@pytest.mark.usefixtures("module")
def test_mistakes(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == 1
