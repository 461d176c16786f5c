"""Values to pickle, and a clean interpreter to unpickle them in, which tests of pickling share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from headrace.errors import NotPicklableError
from headrace.workers.pickling.messages import PickledMessage, dump_result, dump_work, load

Dump = Callable[[Any], PickledMessage]
LARGE = np.arange(2048, dtype=np.float32).reshape(32, 64)


class Pair(NamedTuple):
    first: Any
    second: Any


class Lines:
    """A dataset that opens its file too early."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return self.file.readline()


class Holder:
    def __init__(self, **items: Any) -> None:
        vars(self).update(items)


def there_and_back(value: Any, dump: Dump = dump_result) -> Any:
    """The value, with its buffers in other memory, as between processes."""
    sent = dump(value)
    return load(sent.payload, [bytearray(buffer.raw()) for buffer in sent.buffers])


def apart(value: Any, dump: Dump = dump_result) -> list[int]:
    return [buffer.raw().nbytes for buffer in dump(value).buffers]


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def steps(array: Any) -> list[int]:
    """The strides that count."""
    return [stride for stride, size in zip(array.strides, array.shape, strict=True) if size > 1]


dumps = pytest.mark.parametrize("dump", [dump_result, dump_work])


_WORKER = """
import pickle, sys
from headrace.workers.pickling.messages import dump_error, dump_result, load
try:
    work = load(*pickle.load(sys.stdin.buffer))
    sent = dump_result(work())
    answer = True, (sent.payload, [bytearray(buffer.raw()) for buffer in sent.buffers])
except BaseException as error:
    answer = False, dump_error(error)
sys.stdout.buffer.write(pickle.dumps(answer))
"""

_PARENT = f"""
import pickle, subprocess, sys
from headrace.workers.pickling.messages import dump_work, load, load_error
def in_worker(work):
    sent = dump_work(work)
    data = pickle.dumps((sent.payload, [bytearray(buffer.raw()) for buffer in sent.buffers]))
    done = subprocess.run([sys.executable, "-c", {_WORKER!r}], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    fine, answer = pickle.loads(done.stdout)
    if fine:
        return load(*answer)
    raise load_error(answer)
"""


def in_worker(work: Callable[[], Any]) -> Any:
    """What the work gives in a clean interpreter."""
    room: dict[str, Any] = {}
    exec(_PARENT, room)  # noqa: S102 - the same lines serve scripts
    return room["in_worker"](work)


def run(script: str) -> str:
    """What a script prints that is `__main__`, as a user's is, and may call `in_worker`."""
    done = subprocess.run([sys.executable, "-c", _PARENT + script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


MAIN = """
import dataclasses, enum, threading
import numpy as np

class Kind(enum.Enum):
    CAT = 1

@dataclasses.dataclass
class Batch:
    images: np.ndarray
    kind: Kind

class BadImage(ValueError):
    def __init__(self, path, reason):
        super().__init__(f"{path}: {reason}")
        self.path = path

class Dataset:
    rows = np.arange(6000.0)

    def __init__(self, fn):
        self.fn = fn

    def batch(self):
        return Batch(self.fn(self.rows), Kind.CAT)

    def fail(self):
        raise BadImage("7.jpg", "truncated")

def halve(rows):
    return rows / SCALE

SCALE = 2
"""


def refusal(value: Any, dump: Callable[[Any, str], Any] = dump_work, name: str = "dataset") -> str:
    with pytest.raises(NotPicklableError) as caught:
        dump(value, name)
    assert isinstance(caught.value.__cause__, Exception)
    return str(caught.value)
