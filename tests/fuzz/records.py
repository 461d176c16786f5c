"""Damaged files, many of them: TFRecord, tar, LMDB, .npy, tf.train.Example, indexes and caches.

    python tests/fuzz/records.py [--count 100000] [--seed 0] [--sanitize] [KIND ...]

Each input is a good one with a few bytes changed, taken out, doubled or put in. What reads it must give an error of
headrace, or what is right: records of a TFRecord file are those that were written, an index that is wrong is not
believed, and the native kernels say the same as the reference. No input may take longer than a few seconds.
With --sanitize the kernels are built with
AddressSanitizer and UndefinedBehaviorSanitizer, which end the program at the first byte that is read out of bounds.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import warnings
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import TarDataset, TarStream, TFRecordDataset, kernels
from headrace.errors import HeadraceError
from headrace.formats.index import index_paths
from headrace.formats.tfrecord.example import encode
from headrace.formats.tfrecord.framing import frame
from headrace.kernels import native, reference
from headrace.kernels.scans import FeatureScan, TarScan

sys.path.insert(0, str(Path(__file__).parent))

from stores import Stores  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.kernels import Kernels

NATIVE = Path(__file__).parents[2] / "native"
RECORDS = [b"", b"a", b"headrace" * 9, bytes(range(256)) * 3]
FEATURES: dict[str, Any] = {"image": bytes(50), "label": 7, "box": np.arange(4, dtype=np.float32), "tags": [b"a", b"b"]}
ASKED = {"image": bytes, "label": int, "box": (np.float32, 4), "tags": (str, None)}


class Damage:
    """Makes bad inputs of good ones."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, good: bytes) -> bytes:
        content = bytearray(good)
        for _ in range(int(self._rng.integers(1, 4))):
            at, length = int(self._rng.integers(0, len(content) + 1)), int(self._rng.geometric(0.2))
            self._change(content, at, length)
        return bytes(content)

    def _change(self, content: bytearray, at: int, length: int) -> None:
        kind = int(self._rng.integers(0, 7))
        if kind == 0 and at < len(content):
            content[at] ^= 1 << int(self._rng.integers(0, 8))
        elif kind == 1 and at < len(content):
            content[at] = int(self._rng.choice([0, 1, 0x20, 0x30, 0x37, 0x7F, 0x80, 0xFF]))
        elif kind == 2:
            del content[at:]
        elif kind == 3:
            del content[at : at + length]
        elif kind == 4:
            content[at:at] = self._rng.bytes(length)
        elif kind == 5:
            content[at:at] = content[at : at + length * 64]
        else:
            content[at : at + length] = self._rng.bytes(length)


def archive(form: int) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as tar:
        for number in range(4):
            for ending in ("jpg", "cls"):
                member = tarfile.TarInfo(f"{'folder/' * 20 * (form != tarfile.USTAR_FORMAT)}größe{number}.{ending}")
                member.size = 300 * number
                tar.addfile(member, io.BytesIO(bytes(member.size)))
    return content.getvalue()


class Fuzz:
    """What is done with each input.

    Args:
        folder: an empty one, for files.
        checked: the kernels that are held against the reference.
    """

    def __init__(self, folder: Path, checked: Kernels) -> None:
        self._folder = folder
        self._checked = checked
        self._number = 0
        self.errors = 0
        self.slowest = 0.0
        self._stores: Stores | None = None

    def tfrecord(self, damage: Damage) -> None:
        data = damage(b"".join(map(frame, RECORDS)))
        content = np.frombuffer(data, np.uint8)
        self._same(lambda each: [_listed(each.scan_tfrecord(content, 0, 3))])
        path = self._write(data, ".tfrecord")
        dataset = self._attempt(lambda: TFRecordDataset(path))
        if dataset is not None:
            for index in range(len(dataset)):
                record = self._attempt(lambda index=index: dataset[index])  # type: ignore[misc]
                assert record is None or record in RECORDS, f"{record!r} was never written"

    def tar(self, damage: Damage) -> None:
        form = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)[self._number % 3]
        data = damage(ARCHIVES[form])
        content = np.frombuffer(data, np.uint8)
        self._same(lambda each: _scanned(each, content))
        path = self._write(data, ".tar")
        dataset = self._attempt(lambda: TarDataset(path))
        if dataset is not None:
            self._attempt(lambda: dataset.get_batch(np.arange(len(dataset))))
            for index in range(len(dataset)):
                self._attempt(lambda index=index: dataset[index])  # type: ignore[misc]
        self._attempt(lambda: list(TarStream(path)))

    def index(self, damage: Damage) -> None:
        path = self._write(b"".join(map(frame, RECORDS)), ".tfrecord")
        TFRecordDataset(path)
        kept = index_paths(str(path))[0]
        kept.write_bytes(damage(kept.read_bytes()))
        dataset = TFRecordDataset(path)
        assert dataset.get_batch(np.arange(len(dataset))) == RECORDS

    def example(self, damage: Damage) -> None:
        records = [damage(encode(FEATURES)), encode(FEATURES)]
        content, bounds = np.frombuffer(b"".join(records), np.uint8), np.cumsum([0, *map(len, records)])
        names = [name.encode() for name in FEATURES]
        self._same(lambda each: _parsed(each, content, bounds, names))
        path = self._write(b"".join(map(frame, records)), ".tfrecord")
        for features in (ASKED, "all"):
            dataset = self._attempt(lambda features=features: TFRecordDataset(path, features=features))  # type: ignore[misc]
            if dataset is not None:
                self._attempt(lambda dataset=dataset: dataset.get_batch(np.array([0, 1])))  # type: ignore[misc]
                self._attempt(lambda dataset=dataset: dataset[0])  # type: ignore[misc]
        self._attempt(lambda: TFRecordDataset(path, steps={"image": bytes})[0])

    def store(self, kind: str, seed: int) -> None:
        if self._stores is None:
            self._stores = Stores(self._folder, self._attempt)
        getattr(self._stores, kind)(np.random.default_rng(seed))

    def run(self, count: int, seed: int, kinds: Sequence[str]) -> None:
        """Try `count` inputs, of each kind in turn."""
        for self._number in range(count):
            kind, own = kinds[self._number % len(kinds)], seed + self._number
            start = perf_counter()
            try:
                if kind in OWN:
                    getattr(self, kind)(Damage(own))
                else:
                    self.store(kind, own)
            except BaseException as error:
                error.add_note(f"with --seed {own} {kind}")
                raise
            seconds = perf_counter() - start
            assert seconds < MOST_SECONDS, f"{kind} of seed {own} took {seconds:.1f} s"
            self.slowest = max(self.slowest, seconds)

    def _write(self, data: bytes, ending: str) -> Path:
        path = self._folder / f"input{ending}"
        for kept in index_paths(str(path))[:1]:
            kept.unlink(missing_ok=True)
        path.write_bytes(data)
        return path

    def _attempt(self, read: Callable[[], Any]) -> Any:
        """What is read; None with an error of headrace, the only kind that is allowed."""
        try:
            return read()
        except HeadraceError as error:
            self.errors += bool(str(error))
            return None

    def _same(self, say: Callable[[Kernels], Any]) -> None:
        expected, found = say(reference), say(self._checked)
        assert found == expected, f"the kernels say {found}, but the reference {expected}"


def _listed(found: tuple[Any, ...]) -> list[Any]:
    return [part.tolist() if isinstance(part, np.ndarray) else part for part in found]


def _scanned(each: Kernels, content: Any) -> Any:
    scan, said = TarScan(3, 10_000), []
    while True:
        ended = each.scan_tar(content, scan)
        members = scan.take()
        said.append((ended, scan.position, scan.skipped, scan.endings(), members.key_texts(), *_listed(members[:2])))
        if ended != 1 or not said[-1][5]:
            return said


def _parsed(each: Kernels, content: Any, bounds: Any, names: list[bytes]) -> Any:
    spans, bad = each.find_features(content, bounds, names)
    scan = FeatureScan()
    ended = each.note_features(content, bounds[:-1], np.diff(bounds), scan)
    said: list[Any] = [bad, ended, scan.records, scan.table[: scan.names].tolist()]
    if bad < 0:
        said.append(spans.tolist())
        for place in range(len(names)):
            for kind in (1, 2, 3):
                of_kind = spans[:, place] * (spans[:, place, 2:3] == kind)
                values, wrong = each.read_features(content, of_kind, kind)
                said.append((wrong, b"" if wrong >= 0 else values.tobytes()))
    return said


OWN = ("tfrecord", "tar", "index", "example")
STORES = ("lmdb", "npy", "sidecar", "cache")
MOST_SECONDS = 20.0  # on a busy machine, under sanitizers
ARCHIVES = {form: archive(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)}


def fuzz(count: int, seed: int, checked: Kernels | None = None, kinds: Sequence[str] = OWN) -> Fuzz:
    """Try `count` inputs; return what is known of them.

    Args:
        count: how many.
        seed: of the damages.
        checked: the kernels to use; by default those in use.
        kinds: of the files.
    """
    active = kernels.active
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a tar may have been cut is said by a warning
        tried = Fuzz(Path(folder), active() if checked is None else checked)
        try:
            if checked is not None:
                kernels.active = lambda: checked  # type: ignore[assignment]
            tried.run(count, seed, kinds)
        finally:
            kernels.active = active
    return tried


def peak_memory() -> int:
    """The most memory that this process had so far, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def build_sanitized(folder: str) -> Path:
    """The kernels with sanitizers in them."""
    library = Path(folder) / native.LIBRARY
    flags = ["-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fPIC", "-shared"]
    sources = [os.fspath(path) for path in sorted(NATIVE.glob("*/*.c"))]
    folders = [f"-I{each}" for each in sorted(NATIVE.iterdir())]
    subprocess.run([os.environ.get("CC", "cc"), *flags, *folders, "-o", library, *sources], check=True)
    return library


def run_sanitized(arguments: list[str]) -> int:
    """Run this program again, with the sanitizers in it from the start on."""
    with tempfile.TemporaryDirectory() as folder:
        library = build_sanitized(folder)
        compiler = os.environ.get("CC", "cc")
        found = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        environment = {
            **os.environ,
            "LD_PRELOAD": found.stdout.strip(),
            "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter itself leaves memory to the system at its end
            "PYTHONMALLOC": "malloc",  # so that each object has its own guarded memory
        }
        command = [sys.executable, __file__, *arguments, "--library", os.fspath(library)]
        return subprocess.run(command, env=environment, check=False).returncode


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="damaged files, many of them")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--library", type=Path)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(OWN + STORES)}; by default all")
    options = parser.parse_args()
    if options.sanitize:
        return run_sanitized(["--count", str(options.count), "--seed", str(options.seed), *options.kinds])
    checked = None if options.library is None else native.NativeKernels(options.library)
    start = perf_counter()
    tried = fuzz(options.count, options.seed, checked, options.kinds or OWN + STORES)
    print(  # noqa: T201
        f"{options.count} inputs, {tried.errors} clean errors, nothing else, in {perf_counter() - start:.0f} s; the "
        f"slowest took {tried.slowest:.2f} s, the most memory was {peak_memory() >> 20} MiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
