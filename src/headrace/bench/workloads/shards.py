"""Many tar shards on a server that is a round trip away, shuffled, as from an object store.

Samples are 16 KB and a label, in shards of 4 MB; each request takes 20 ms until it is answered. All contenders have two
workers. headrace shuffles blocks among each other, webdataset and datasets have the buffers that their documentation
shows, of as many samples, and all mix shards. torch's dataset asks for each sample by its range, as one would over
plain files. The limit is to get all shards whole, two at a time, and to look at nothing. headrace's index of the shards
is built before.
"""

from __future__ import annotations

import io
import os
import tarfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import DataLoader, TarDataset
from headrace.bench.race import Contender, rival
from headrace.bench.results import rate
from headrace.bench.work import Race, missing, of_rivals
from headrace.bench.workloads.far_server import far_server

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

__all__ = ["works"]

_BATCH, _SIZE, _WORKERS = 64, 16_384, 2
_ROUND_TRIP = 20.0  # ms
_BUFFER, _BLOCK = 1024, 128  # samples that are shuffled among each other, in blocks of so many


def works(folder: Path, wanted: Collection[str], *, smoke: bool = False) -> Iterator[Race]:
    """Yield the epoch of all contenders.

    Args:
        folder: an empty one, for the shards.
        wanted: the names of the rivals that take part.
        smoke: with tiny sizes, to see that it runs.
    """
    shards, samples = (3, 32) if smoke else (32, 256)
    names = _write(folder, shards, samples)
    total = shards * samples
    makers: dict[str, Callable[..., Iterable[Contender]]] = {
        "headrace": _headrace,
        "webdataset": _webdataset,
        "hf": _hugging_face,
        "torch": partial(_torch, samples=samples),
        "numpy": _whole,
    }
    title = f"{total:,} samples of 16 KB in {shards} shards behind a round trip of {_ROUND_TRIP:g} ms, batch {_BATCH}"
    with _index_in(folder), far_server(folder, 1 if smoke else _ROUND_TRIP) as address:
        urls = [f"{address}{name}" for name in names]
        figures = {"samples/s": rate(total), "MB/s": rate(total * _SIZE / 1e6)}
        yield Race(title, of_rivals(makers, wanted, urls), figures, 1 if smoke else 5, tolerance=0.001)


def _write(folder: Path, shards: int, samples: int) -> list[str]:
    """Write the shards, and return their names."""
    rng = np.random.default_rng(0)
    names = [f"train-{number:04d}.tar" for number in range(shards)]
    for shard, name in enumerate(names):
        with tarfile.open(folder / name, "w") as archive:
            for number in range(shard * samples, (shard + 1) * samples):
                for ending, content in (("bin", rng.bytes(_SIZE)), ("cls", b"%d" % number)):
                    member = tarfile.TarInfo(f"{number:08d}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return names


@contextmanager
def _index_in(folder: Path) -> Iterator[None]:
    """Keep indexes of files far away in a folder that goes with the shards, not in the user's."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


def decoded(sample: Any) -> tuple[Any, int]:
    """Return the bytes of a sample as an array, and its label.

    Args:
        sample: a mapping with "bin" and "cls", or the two.
    """
    content, label = (sample["bin"], sample["cls"]) if isinstance(sample, dict) else sample
    return np.frombuffer(content, np.uint8), int(label)


def _headrace(urls: list[str]) -> list[Contender]:
    name = f"headrace, {_WORKERS} threads"
    if not rival("fsspec") or not rival("aiohttp"):
        return [Contender(name, None, "needs the extra remote")]
    dataset = TarDataset(urls, fields=["bin", "cls"]).map(decoded)
    blocks: dict[str, Any] = {"shuffle": "block", "block_size": _BLOCK, "window": _BUFFER // _BLOCK}
    threads: dict[str, Any] = {"num_workers": _WORKERS, "backend": "thread", "prefetch_factor": 4}
    loader: DataLoader[Any] = DataLoader(dataset, _BATCH, **blocks, **threads)
    return [Contender.over(name, lambda: loader)]


def _webdataset(urls: list[str]) -> list[Contender]:
    name = f"webdataset, {_WORKERS} processes"
    library: Any = rival("webdataset")
    if not library or not rival("torch"):
        return missing(name)
    dataset = library.WebDataset(urls, shardshuffle=len(urls)).shuffle(_BUFFER).to_tuple("bin", "cls").map(_plain)
    loader = library.WebLoader(dataset.batched(_BATCH), batch_size=None, num_workers=_WORKERS)
    return [Contender.over(name, lambda: loader)]


def _plain(sample: tuple[Any, Any]) -> tuple[Any, int]:
    """Undo what webdataset decodes by itself: nothing of bytes, and numbers to int."""
    return np.frombuffer(sample[0], np.uint8), int(sample[1])


def _hugging_face(urls: list[str]) -> list[Contender]:
    name = f"datasets streaming, {_WORKERS} processes"
    library, torch = rival("datasets"), rival("torch")
    if not library or not torch:
        return missing(name)
    stream = library.load_dataset("webdataset", data_files={"train": urls}, split="train", streaming=True)
    stream = stream.shuffle(seed=0, buffer_size=_BUFFER)
    loader = torch.utils.data.DataLoader(stream, _BATCH, num_workers=_WORKERS, collate_fn=_stack)
    return [Contender.over(name, lambda: loader)]


def _stack(samples: list[Any]) -> tuple[Any, Any]:
    images, labels = zip(*map(decoded, samples), strict=True)
    return np.stack(images), np.array(labels)


class _RangeSamples:
    """Samples that are asked for one by one: what lies where is known."""

    def __init__(self, urls: list[str], samples: int) -> None:
        self._urls, self._samples = urls, samples
        self._sample_bytes = 512 + _SIZE + 512 + 512

    def __len__(self) -> int:
        return len(self._urls) * self._samples

    def __getitem__(self, index: int) -> tuple[Any, int]:
        shard, number = divmod(index, self._samples)
        start = number * self._sample_bytes + 512
        asked = {"Range": f"bytes={start}-{start + _SIZE - 1}"}
        request = urllib.request.Request(self._urls[shard], headers=asked)  # noqa: S310 - of this machine
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return np.frombuffer(answer.read(), np.uint8), index


def _torch(urls: list[str], *, samples: int) -> list[Contender]:
    """Samples by their ranges, of a share of the shards: each waits for its round trip."""
    few = max(len(urls) // 8, 1)
    name = f"torch DataLoader, {_WORKERS} processes, {few * samples:,} samples"
    torch: Any = rival("torch")
    if not torch:
        return missing(name)
    dataset = _RangeSamples(urls[:few], samples)
    loader = torch.utils.data.DataLoader(dataset, _BATCH, shuffle=True, num_workers=_WORKERS, collate_fn=_stacked)

    def run() -> None:
        for _ in loader:
            pass

    return [Contender(name, run, share=few / len(urls))]


def _stacked(samples: list[tuple[Any, int]]) -> tuple[Any, Any]:
    images, labels = zip(*samples, strict=True)
    return np.stack(images), np.array(labels)


def _whole(urls: list[str]) -> list[Contender]:
    """All shards whole."""

    def fetch(url: str) -> int:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - of this machine
            return len(answer.read())

    def run() -> None:
        with ThreadPoolExecutor(_WORKERS) as threads:
            for _ in threads.map(fetch, urls):
                pass

    return [Contender(f"whole shards by HTTP, {_WORKERS} threads", run, limit=True)]
