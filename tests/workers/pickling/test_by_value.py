"""Code and classes that another process cannot import are sent by value."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.workers.pickling.helpers import (
    LARGE,
    MAIN,
    Holder,
    apart,
    run,
    there_and_back,
)

from headrace.errors import NotPicklableError
from headrace.testing import check_same
from headrace.workers.pickling.messages import dump_result, dump_work

if TYPE_CHECKING:
    from pathlib import Path


def test_code_of_a_script_works_in_a_worker_and_its_classes_come_back_as_themselves() -> None:
    pytest.importorskip("cloudpickle", reason="it sends code by value")
    lines = run(
        MAIN
        + """
local = lambda rows: halve(rows)[::-1]
work = Dataset(local).batch
sent = dump_work(work)
print([buffer.raw().nbytes for buffer in sent.buffers])
del sent
method = Batch.__init__
batch = in_worker(work)
print(type(batch) is Batch, batch.kind is Kind.CAT, batch.images[0], Batch.__init__ is method)
try:
    in_worker(Dataset(halve).fail)
except BadImage as error:
    print(type(error) is BadImage, error, error.path, "in fail" in str(error.__cause__))
"""
    ).splitlines()
    assert lines[0] == "[48000]"
    assert lines[1] == "True True 2999.5 True"  # the class here is untouched by the copy of it there
    assert lines[2] == "True 7.jpg: truncated 7.jpg True"


def test_results_of_such_classes_carry_no_code() -> None:
    pytest.importorskip("cloudpickle", reason="it sends code by value")
    script = """
class Size:
    def __init__(self, value):
        self.value = value

def measure():
    import sys
    from headrace.workers.pickling.messages import dump_result
    sys.modules["cloudpickle"] = None
    return Size(len(dump_result(Size(1)).payload))

print(in_worker(measure).value < 200)
"""
    assert run(script) == "True"


def test_a_class_that_is_gone_is_named() -> None:
    pytest.importorskip("cloudpickle", reason="it sends code by value")
    script = """
import gc
from headrace.workers.pickling.messages import dump_result
def make():
    class Old: pass
    return Old
Old = make()
sent = dump_work(Old())
value = load(sent.payload, sent.buffers)
result = dump_result(value)
import cloudpickle
del Old, value, sent
gc.collect()
try:
    load(result.payload, [])
except Exception as error:
    print(type(error).__name__, error)
"""
    assert run(script).startswith("WorkerError a worker sent a make.<locals>.Old, but the class")


def test_results_of_classes_made_in_the_worker_come_by_value() -> None:
    pytest.importorskip("cloudpickle", reason="it sends code by value")
    made = there_and_back(_local_class()(LARGE))
    assert type(made).__name__ == "Local"
    check_same(made.value, LARGE)
    assert apart([_local_class()(LARGE), lambda: LARGE]) == [LARGE.nbytes]
    assert there_and_back([lambda: LARGE.sum()])[0]() == LARGE.sum()


def _local_class() -> Any:
    class Local:
        def __init__(self, value: Any) -> None:
            self.value = value

    return Local


def test_code_without_cloudpickle_is_refused_with_the_remedy(no_cloudpickle: None) -> None:
    remedy = r"which a worker process cannot import; pip install 'headrace\[processes\]', or move it to a module$"
    with pytest.raises(
        NotPicklableError, match=r"^work\.fn: test_code_\S*<lambda> is defined in \S+ \(or loc.*" + remedy
    ):
        dump_work(Holder(fn=lambda: 1))
    with pytest.raises(
        NotPicklableError, match=r"^dataset\[0\]\.__class__: _local_class.<locals>.Local is .*" + remedy
    ):
        dump_work([_local_class()(1)], "dataset")
    with pytest.raises(NotPicklableError, match=r"^batch\[0\]: .*which the main process cannot import"):
        dump_result([lambda: 1])


def test_an_old_cloudpickle_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would send a dataclass without its fields, and batches would lack them."""
    cloudpickle = pytest.importorskip("cloudpickle")
    monkeypatch.setattr(cloudpickle, "__version__", "2.2.1")
    with pytest.raises(NotPicklableError, match=r"pip install 'headrace\[processes\]'"):
        dump_work(lambda: 1)


def test_a_script_without_cloudpickle_is_refused_too() -> None:
    """Pickle would send its names, which mean nothing in the worker."""
    script = (
        "sys.modules['cloudpickle'] = None"
        + MAIN
        + """
for work in (halve, Dataset(None), [Kind.CAT], Batch):
    try:
        dump_work(work)
    except TypeError as error:
        print(str(error)[:58])
"""
    )
    assert [line.split(" is defined in __main__")[0] for line in run(script).splitlines()] == [
        "work: halve",
        "work.__class__: Dataset",
        "work[0].__class__: Kind",
        "work: Batch",
    ]


def test_the_main_script_of_a_process_of_multiprocessing(tmp_path: Path) -> None:
    """It goes by another name there, and a rank of a distributed training is such a process."""
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing\n"
        "from headrace import DataLoader, Dataset\n"
        "class Squares(Dataset):\n"
        "    def __len__(self):\n"
        "        return 4\n"
        "    def __getitem__(self, index):\n"
        "        return index**2\n"
        "def train():\n"
        "    print([batch.tolist() for batch in DataLoader(Squares(), 2, num_workers=1, backend='process')])\n"
        "if __name__ == '__main__':\n"
        "    rank = multiprocessing.get_context('spawn').Process(target=train)\n"
        "    rank.start()\n"
        "    rank.join()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "[[0, 1], [4, 9]]\n"


def test_threads_of_a_child_process_send_the_main_script_at_the_same_time() -> None:
    """`multiprocessing` calls the script otherwise in its processes, where two loaders may begin at once."""
    pytest.importorskip("cloudpickle", reason="it sends code by value")
    lines = run(
        MAIN
        + """
import sys
from concurrent.futures import ThreadPoolExecutor
sys.modules["__mp_main__"] = sys.modules["__main__"]
halve.__module__ = "__mp_main__"
met = threading.Barrier(2)

class Meeting:
    def __reduce__(self):
        met.wait(30)
        return str, ()

with ThreadPoolExecutor(2) as threads:
    sent = list(threads.map(lambda _: dump_work((Meeting(), halve)), range(2)))
print(len(sent), b"SCALE" in sent[0].payload)
"""
    ).splitlines()
    assert lines == ["2 True"]
