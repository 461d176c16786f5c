from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace.errors import StorageError
from headrace.io import safe_open
from headrace.io.safe_open import check_owner, is_planted, make_folder, open_own, open_regular, read_regular

pytestmark = pytest.mark.skipif(os.name != "posix", reason="users and modes are POSIX's")


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert read_regular(path, 3) == b"abc"
    with pytest.raises(StorageError, match="has more than 2 bytes"):
        read_regular(path, 2)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


@pytest.mark.parametrize("links", [False, True])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, links: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path, "a folder"), (tmp_path / "pipe", "a pipe"), ("/dev/zero", "a device")):
        before = len(list(Path("/dev/fd").iterdir()))
        with pytest.raises(StorageError, match=kind):
            open_regular(path, links=links)
        assert len(list(Path("/dev/fd").iterdir())) == before


def test_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "endless").symlink_to("/dev/zero")
    assert read_regular(tmp_path / "link", 3, links=True) == b"abc"
    with pytest.raises(StorageError, match=r"is a symbolic link to .*file, and is not followed"):
        read_regular(tmp_path / "link", 3)
    with pytest.raises(StorageError, match="a device"):
        read_regular(tmp_path / "endless", 3, links=True)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "file"
    os.close(open_own(path, os.O_RDWR | os.O_CREAT))
    assert path.stat().st_mode & 0o002 == 0
    (tmp_path / "second").hardlink_to(path)
    with pytest.raises(StorageError, match="has a second name"):
        open_own(path, os.O_RDWR)
    (tmp_path / "second").unlink()
    path.chmod(0o666)
    with pytest.raises(StorageError, match=r"can be written to by anybody; forbid it \(chmod o-w"):
        open_own(path, os.O_RDWR)


def test_a_folder_is_made_for_few(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        folder = make_folder(tmp_path / "a" / "b")
    finally:
        os.umask(old)
    assert [each.stat().st_mode & 0o777 for each in (folder, folder.parent)] == [0o775, 0o775]
    folder.chmod(0o777)
    with pytest.raises(StorageError, match=r"anybody may write to .*b, .*chmod o-w"):
        make_folder(folder)


@pytest.mark.parametrize("deep", [False, True])
def test_a_folder_that_another_user_put_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deep: bool) -> None:
    public = tmp_path / "public"
    folder = public / "cache" / "inner" if deep else public / "cache"
    folder.mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: 123_456)
    monkeypatch.setattr(safe_open, "_ROOT", 123_457)
    owner = public.stat().st_uid
    monkeypatch.setattr(safe_open, "_places", lambda _: [(public / "cache", public)])
    check_owner(folder)  # only some may write above it
    public.chmod(0o1777)
    with pytest.raises(StorageError, match=r"belongs to another user, and lies in .*public, where anybody may write"):
        check_owner(folder)
    assert is_planted(public / "cache", public)
    assert not is_planted(public / "cache", public, owner)


def test_all_places_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    places = list(safe_open._places(tmp_path / "link" / "inner"))
    assert (tmp_path / "link", tmp_path) in places
    assert (tmp_path / "real", tmp_path) in places
    assert (tmp_path / "real" / "inner", tmp_path / "real") in places
    assert all(path.parent == above for path, above in places)
