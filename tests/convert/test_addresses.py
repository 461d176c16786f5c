"""What is written to addresses is what is written to disks, and is there when all of it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.convert.conftest import NAMES, digits

from headrace import RemoteOptions, open_dataset
from headrace.convert import write_dataset
from headrace.errors import ArgumentError, DestinationExistsError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

fsspec = pytest.importorskip("fsspec")
FIELDS = ["image", "label"]
QUICK = RemoteOptions(retries=2, timeout=5)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty store; what is not yet there is kept in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    system.store.clear()
    with QUICK:
        yield system
    system.store.clear()


def content(system: Any, below: str) -> dict[str, bytes]:
    return {path.removeprefix(below): system.cat_file(path) for path in sorted(system.find("/"))}


@pytest.mark.parametrize("limits", [{}, {"shard_samples": 130}], ids=["one", "several"])
def test_the_bytes_are_those_of_a_disk(form: str, limits: dict[str, Any], tmp_path: Path, store: Any) -> None:
    (tmp_path / "here").mkdir()
    write_dataset(digits(), tmp_path / "here" / NAMES[form], fields=FIELDS, **limits)
    written = write_dataset(digits(), f"memory://there/{NAMES[form]}", fields=FIELDS, **limits)
    here = {str(path.relative_to(tmp_path / "here")): path.read_bytes() for path in files(tmp_path / "here")}
    assert content(store, "/there/") == here
    assert written.paths[0].startswith("memory://there/a")
    assert not list((tmp_path / "cache" / "headrace" / "writing").iterdir())


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_written_can_be_read() -> None:
    write_dataset(digits(), "memory://there/a.tfrecord", fields=FIELDS)
    assert open_dataset("memory://there/a.tfrecord")[7]["label"] == 7


def test_nothing_is_replaced_unasked(store: Any) -> None:
    write_dataset(digits(), "memory://there/a.tar", fields=FIELDS)
    before = content(store, "/there/")
    with pytest.raises(DestinationExistsError, match="exists; choose another path, or overwrite it"):
        write_dataset(digits(10), "memory://there/a.tar", fields=FIELDS)
    assert content(store, "/there/") == before


def test_what_is_replaced_leaves_nothing_behind(store: Any) -> None:
    address = "memory://there/a.tfrecord"
    write_dataset(digits(), address, fields=FIELDS, shard_samples=100)
    write_dataset(digits(), address, fields=FIELDS, shard_samples=200, overwrite=True)
    assert sorted(store.find("/there")) == ["/there/a-00000.tfrecord", "/there/a-00001.tfrecord"]


@pytest.mark.parametrize("method", ["put_file", "mv"])
@pytest.mark.parametrize("failing", range(1, 4))
def test_a_store_that_fails_for_good_is_gone_on_with(
    method: str, failing: int, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any of its calls; until the last file is there, none has its name that was not whole."""
    calls = 0
    kind = type(store)
    real = getattr(kind, method)

    def fails(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= failing:
            raise OSError("the store is away")
        return real(self, *args, **options)

    monkeypatch.setattr(kind, method, fails)
    monkeypatch.setattr("headrace.io.retry._FIRST_PAUSE", 0.001)
    with pytest.raises(StorageError, match="the store is away"):
        write_dataset(digits(), "memory://there/a.tar", fields=FIELDS, shard_samples=100)
    if method == "put_file":
        assert not [name for name in store.find("/there") if ".writing" not in name]
    monkeypatch.setattr(kind, method, real)
    written = write_dataset(digits(), "memory://there/a.tar", fields=FIELDS, shard_samples=100, resume=True)
    resumed = content(store, "/there/")
    write_dataset(digits(), "memory://whole/a.tar", fields=FIELDS, shard_samples=100)
    assert {f"/whole/{name}": data for name, data in resumed.items()} == {
        name: data for name, data in content(store, "").items() if name.startswith("/whole/")
    }
    assert len(written.paths) == 3


def test_a_request_that_fails_once_is_made_again(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, real, failures = type(store), type(store).put_file, iter([True, False])

    def fails_once(self: Any, *args: Any, **options: Any) -> Any:
        if next(failures, False):
            raise OSError("try again")
        return real(self, *args, **options)

    monkeypatch.setattr(kind, "put_file", fails_once)
    write_dataset(digits(), "memory://there/a.tar", fields=FIELDS)
    assert len(open_dataset("memory://there/a.tar")) == 300


def test_what_came_cut_is_sent_again(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, real, cuts = type(store), type(store).put_file, iter([True])

    def cut(self: Any, path: str, address: str, **options: Any) -> Any:
        if next(cuts, False):
            self.pipe_file(address, Path(path).read_bytes()[:100])
        else:
            real(self, path, address, **options)

    monkeypatch.setattr(kind, "put_file", cut)
    write_dataset(digits(), "memory://there/a.tar", fields=FIELDS)
    assert len(open_dataset("memory://there/a.tar")) == 300


def test_addresses_that_can_only_be_read() -> None:
    with pytest.raises(ArgumentError, match="can be read, but not written"):
        write_dataset(digits(), "https://example.org/a.tar")
