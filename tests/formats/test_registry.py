"""Formats and codecs are found by their names and files, those of other distributions too."""

from __future__ import annotations

import importlib
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace import Decode, open_dataset, write_dataset
from headrace.errors import ArgumentError, DecodeError
from headrace.formats import registry
from headrace.images.codecs import registry as codecs
from headrace.images.codecs.decode import read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOY = '''
    """A format of numbers, one a line, and a codec of images that are one grey."""
    import numpy as np
    from headrace import TensorDataset
    from headrace.formats.registry import FileFormat
    from headrace.images.codecs.registry import Codec

    def open_files(paths, *, fields=True):
        return TensorDataset(np.concatenate([np.loadtxt(path, ndmin=1) for path in paths]))

    def decode(data, mode, max_pixels):
        grey = np.full((data[4], data[5]), data[6], np.uint8)
        return np.repeat(grey[..., None], 3, axis=2) if mode == "RGB" else grey

    FORMATS = [FileFormat("toy", (".toy",), reader="headrace_toy:open_files")]
    CODECS = [Codec("TOY", rb"TOY!", "toy", decode, lambda data: (data[5], data[4]))]
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a distribution with a format and a codec of its own."""
    site = tmp_path / "site"
    info = site / "headrace_toy-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "headrace_toy.py").write_text(dedent(TOY), encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headrace-toy\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[headrace.formats]\ntoy = headrace_toy:FORMATS\n[headrace.codecs]\ntoy = headrace_toy:CODECS\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    registry.formats.cache_clear()
    codecs.codecs.cache_clear()
    yield
    monkeypatch.undo()
    sys.modules.pop("headrace_toy", None)
    registry.formats.cache_clear()
    codecs.codecs.cache_clear()


@pytest.mark.usefixtures("toy")
def test_a_format_of_another_distribution(tmp_path: Path) -> None:
    (tmp_path / "a.toy").write_text("1\n2\n", encoding="utf-8")
    (tmp_path / "b.toy").write_text("3\n", encoding="utf-8")
    dataset = open_dataset(tmp_path / "*.toy")
    assert [float(dataset[index][0]) for index in range(len(dataset))] == [1, 2, 3]
    assert ".toy" in registry.formats()["toy"].extensions
    with pytest.raises(ArgumentError, match="format must be one of tar, tfrecord, lmdb, parquet, npy, jsonl, but got"):
        write_dataset(np.arange(3), tmp_path / "c", format="toy")
    with pytest.raises(ArgumentError, match="can be read, but not written"):
        registry.find_format("toy").output()


@pytest.mark.usefixtures("toy")
def test_a_codec_of_another_distribution() -> None:
    file = b"TOY!" + bytes([2, 3, 7])
    assert Decode("L")(file).tolist() == [[7, 7, 7], [7, 7, 7]]
    assert read_header(file) == ("TOY", 3, 2)


def test_unknown_format_and_codec_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toy").write_text("1\n", encoding="utf-8")
    with pytest.raises(ArgumentError, match=r"cannot be told what .* is: names of files end in \.tar, "):
        open_dataset(tmp_path / "a.toy")
    with pytest.raises(DecodeError, match="known formats are JPEG, PNG, GIF, BMP, TIFF, PPM, WEBP, AVIF, JPEG 2000"):
        Decode()(b"TOY!" + bytes(3))


def test_each_format_names_what_there_is() -> None:
    for each in registry.formats().values():
        for reference in filter(None, (each.reader, each.writer, each.rescue)):
            assert callable(registry._load(reference))
        assert each.extensions
    assert registry.writable_formats() == ["tar", "tfrecord", "lmdb", "parquet", "npy", "jsonl"]


def test_two_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_PACKAGES", ("tar", "tar"))
    registry.formats.cache_clear()
    with pytest.raises(ArgumentError, match="two formats are called 'tar'"):
        registry.formats()
    registry.formats.cache_clear()
