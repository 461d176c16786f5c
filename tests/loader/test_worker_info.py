"""Headrace's and torch's functions say the same of the worker that code runs in; no sample is lost or doubled."""

from __future__ import annotations

import gc
import io
import re
import tarfile
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from headrace import DataLoader, Dataset, IterableDataset, TarStream, get_worker_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

COUNT = 24


# ------------------------------------------------------------------ streams, each of which divides itself


class Recipe(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        return iter(range(COUNT) if info is None else range(info.id, COUNT, info.num_workers))


class InAThread(Recipe):
    """Reads ahead in a thread of its own, which asks."""

    def __iter__(self) -> Iterator[int]:
        found: list[int] = []
        thread = Thread(target=lambda: found.extend(super(InAThread, self).__iter__()))
        thread.start()
        thread.join()
        return iter(found)


def headraces(folder: Path) -> Any:
    return Recipe()


def in_a_thread(folder: Path) -> Any:
    return InAThread()


def write_tars(folder: Path) -> list[str]:
    paths = [folder / f"{shard}.tar" for shard in range(4)]
    for shard, path in enumerate(paths):
        with tarfile.open(path, "w") as archive:
            for number in range(shard, COUNT, len(paths)):
                member = tarfile.TarInfo(f"{number:04}.cls")
                content = str(number).encode()
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return [str(path) for path in paths]


def tars(folder: Path) -> Any:
    return TarStream(write_tars(folder), decode={"cls": int})


def of_torch(folder: Path) -> Any:
    data = pytest.importorskip("torch.utils.data")

    class Theirs(data.IterableDataset):  # type: ignore[misc,name-defined]
        def __iter__(self) -> Iterator[int]:
            info = data.get_worker_info()
            return iter(range(COUNT) if info is None else range(info.id, COUNT, info.num_workers))

    return Theirs()


def of_hugging_face(folder: Path, form: str | None = None) -> Any:
    pytest.importorskip("torch")
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"cls": list(range(COUNT))}).to_iterable_dataset(num_shards=4)
    return rows if form is None else rows.with_format(form)


def of_hugging_face_as_tensors(folder: Path) -> Any:
    return of_hugging_face(folder, "torch")


def of_webdataset(folder: Path) -> Any:
    pytest.importorskip("torch")
    webdataset = pytest.importorskip("webdataset")
    return webdataset.WebDataset(write_tars(folder), shardshuffle=False).decode()


STREAMS = [headraces, in_a_thread, tars, of_torch, of_hugging_face, of_hugging_face_as_tensors, of_webdataset]
BACKENDS: dict[str, dict[str, Any]] = {
    "inline": {},
    "thread": {"num_workers": 3, "backend": "thread"},
    "process": {"num_workers": 2, "backend": "process"},
    "fork": {"num_workers": 3, "multiprocessing_context": "fork"},
}


def numbers(batches: Any) -> list[int]:
    return [int(number) for batch in batches for number in (batch["cls"] if isinstance(batch, dict) else batch)]


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # WebDataset's
@pytest.mark.parametrize("shard", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("make", STREAMS)
def test_each_sample_comes_once(make: Callable[[Path], Any], backend: str, shard: bool, tmp_path: Path) -> None:
    stream = make(tmp_path)
    expected = numbers(DataLoader(stream, 2))
    options = BACKENDS[backend]
    with DataLoader(stream, 2, shard=shard, persistent_workers="num_workers" in options, **options) as loader:
        for _ in range(2):
            found = numbers(loader)
            assert sorted(found) == list(range(COUNT))
            if shard or backend in ("inline", "thread"):
                assert found == expected
    gc.collect()  # here, since WebDataset leaves files open


# ------------------------------------------------------------------ what code in a worker hears


class Asks(Dataset[Any]):
    """Gives what headrace and torch say of the worker, in the thread that reads and in another one."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int, /) -> Any:
        import torch.utils.data  # not before: a clean interpreter hears of torch here

        def ask() -> list[Any]:
            infos = get_worker_info(), torch.utils.data.get_worker_info()
            return [None if info is None else (info.id, info.num_workers, info.dataset is self) for info in infos]

        beside: list[Any] = []
        thread = Thread(target=lambda: beside.extend(ask()))
        thread.start()
        thread.join()
        return [*ask(), *beside]


@pytest.mark.parametrize("backend", BACKENDS)
def test_torch_and_headrace_worker_info_agree(backend: str) -> None:
    pytest.importorskip("torch")
    told = [sample for batch in DataLoader(Asks(), 2, collate_fn=list, **BACKENDS[backend]) for sample in batch]
    count = BACKENDS[backend].get("num_workers")
    if backend == "inline":
        assert told == [[None] * 4] * 8
    elif backend == "thread":  # torch knows of processes only
        assert all(sample[0] is not None and sample[0][1:] == (count, True) for sample in told)
        assert [sample[1:] for sample in told] == [[None] * 3] * 8
    else:
        assert all(sample == [sample[0]] * 4 and sample[0][1:] == (count, True) for sample in told)


@pytest.mark.parametrize("first", ["import torch", "frameworks.rebuild('torch', np.zeros(1))"])
def test_worker_info_of_torch_when_torch_is_imported_in_the_worker(run_script: Callable[..., Any], first: str) -> None:
    pytest.importorskip("torch")
    script = f"""
        import sys
        import numpy as np
        from headrace import DataLoader, IterableDataset, frameworks

        class Late(IterableDataset):
            def __iter__(self):
                assert "torch" not in sys.modules
                {first}
                from torch.utils.data import get_worker_info
                info = get_worker_info()
                return iter(range(12) if info is None else range(info.id, 12, info.num_workers))

        for shard in (False, True):
            loader = DataLoader(Late(), 3, num_workers=2, backend="process", shard=shard)
            print(sorted(int(number) for batch in loader for number in batch))
    """
    assert run_script(script).output() == f"{list(range(12))}\n" * 2


def test_streams_of_hugging_face_where_torch_is_not(run_script: Callable[..., Any]) -> None:
    """They have nobody to ask for their share, so they are read once or refused."""
    pytest.importorskip("datasets")
    script = """
        import os
        os.environ["USE_TORCH"] = "0"  # theirs
        import datasets
        from headrace import DataLoader
        stream = datasets.Dataset.from_dict({"n": list(range(12))}).to_iterable_dataset(num_shards=2)
        processes = {"num_workers": 2, "backend": "process"}
        threads = {"num_workers": 2, "backend": "thread"}
        for options in ({}, threads, processes | {"shard": True}, processes | {"num_workers": 1}):
            print(sorted(int(n) for batch in DataLoader(stream, 3, **options) for n in batch["n"]) == list(range(12)))
        try:
            DataLoader(stream, 3, **processes)
        except ValueError as error:
            print(error)
    """
    *right, refusal = run_script(script).output().splitlines()
    assert right == ["True"] * 4
    assert re.match("a stream of Hugging Face divides itself .* use shard=True or backend='thread'$", refusal)


@pytest.mark.parametrize("make", [headraces, tars])
def test_in_a_worker_of_torchs_own_loader(make: Callable[[Path], Any], tmp_path: Path) -> None:
    data = pytest.importorskip("torch.utils.data")
    stream = make(tmp_path)

    class Wrapped(data.IterableDataset):  # type: ignore[misc,name-defined]
        def __iter__(self) -> Iterator[Any]:
            info = get_worker_info()
            assert info is not None
            assert (info.num_workers, info.dataset) == (2, self)
            return (sample["cls"] if isinstance(sample, dict) else sample for sample in stream)

    loader = data.DataLoader(Wrapped(), 2, num_workers=2, multiprocessing_context="fork")
    assert sorted(numbers(loader)) == list(range(COUNT))


@pytest.mark.parametrize("shard", [False, True])
@pytest.mark.parametrize("backend", ["thread", "process", "fork"])
def test_a_worker_init_fn_that_divides_the_stream(backend: str, shard: bool) -> None:
    """As torch's documentation has it. Where one stream is dealt out it has no worker to ask for, and says so."""
    data = pytest.importorskip("torch.utils.data")

    class Range(data.IterableDataset):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.start, self.end = 0, COUNT

        def __iter__(self) -> Iterator[int]:
            return iter(range(self.start, self.end))

    def divide(worker: int) -> None:
        info = data.get_worker_info()
        share = -(-(info.dataset.end - info.dataset.start) // info.num_workers)
        info.dataset.start += info.id * share
        info.dataset.end = min(info.dataset.start + share, info.dataset.end)

    loader = DataLoader(Range(), 2, shard=shard, worker_init_fn=divide, **BACKENDS[backend])
    if shard or backend == "thread":
        with pytest.raises(AttributeError, match="NoneType") as caught:
            list(loader)
        assert any("the stream is dealt out" in note for note in caught.value.__notes__)
    else:
        assert sorted(numbers(loader)) == list(range(COUNT))


def test_a_worker_init_fn_that_asks_torch_in_a_thread() -> None:
    data = pytest.importorskip("torch.utils.data")

    def begin(worker: int) -> None:
        data.get_worker_info().dataset.begun = True

    loader = DataLoader(Asks(), 2, num_workers=1, backend="thread", worker_init_fn=begin)
    with pytest.raises(AttributeError, match="NoneType") as caught:
        list(loader)
    assert any("backend='process'" in note for note in caught.value.__notes__)


class Nested(Dataset[Any]):
    """Reads a stream with forked workers of its own, in a worker thread."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int, /) -> Any:
        with DataLoader(Recipe(), 4, num_workers=2, multiprocessing_context="fork") as inner:
            return sorted(numbers(inner))


def test_worker_processes_of_a_worker_thread() -> None:
    loader = DataLoader(Nested(), None, num_workers=1, backend="thread", collate_fn=list)
    assert list(loader) == [list(range(COUNT))] * 2
