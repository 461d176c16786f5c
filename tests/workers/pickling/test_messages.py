"""What travels between processes: arrays without a copy, code that cannot be imported, errors with their story."""

from __future__ import annotations

import collections
import copy
import functools
import io
import json
import math
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from headrace.errors import NotPicklableError, WorkerError, WorkerTraceback
from headrace.testing import check_same
from headrace.workers.pickling.messages import PickledMessage, dump_error, dump_result, dump_work, load, load_error

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.fixture
def no_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)


# ---------------------------------------------------------------------- other processes

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


# ---------------------------------------------------------------------- arrays

_SCALARS = npst.scalar_dtypes() | npst.unicode_string_dtypes() | npst.byte_string_dtypes()
_RECORDS = npst.array_dtypes(npst.scalar_dtypes(), allow_subarrays=True)
_DTYPES = _SCALARS | _RECORDS.filter(lambda dtype: dtype.subdtype is None) | st.just(np.dtype("V2"))


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Any dtype and shape, and any order of the axes and direction in memory."""
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    dtype = draw(_DTYPES)
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind == "U":  # code points, not any bytes
        array = np.full(shape, draw(st.text(max_size=3)), dtype)
    else:
        array = np.frombuffer(draw(st.randoms()).randbytes(size) if size else b"", np.uint8)
        array = np.ndarray(shape, dtype, array.copy()) if size else np.empty(shape, dtype)
    array = array.transpose(draw(st.permutations(range(len(shape)))))
    steps: Any = [slice(None, None, draw(st.sampled_from([1, 1, -1, 2]))) for _ in shape]
    array = array[(..., *steps)]
    array.flags.writeable = draw(st.booleans())
    return array


def _containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(items, max_size=3)
        | st.tuples(items, items)
        | st.builds(Pair, items, items)
        | st.dictionaries(st.text(max_size=3) | st.integers(), items, max_size=3)
    )


_LEAVES = arrays() | st.integers() | st.floats() | st.text() | st.binary() | st.none()


@given(value=st.recursive(_LEAVES, _containers, max_leaves=6))
def test_any_structure_comes_back(value: Any) -> None:
    check_same(there_and_back(value), value)
    check_same(there_and_back(value, dump_work), value)


@given(array=arrays(), wide=st.booleans())
def test_arrays_keep_their_place_in_memory_and_their_flag(array: Any, wide: bool) -> None:
    if wide and array.ndim and array.size:
        array = np.concatenate([array] * 2000, array.ndim - 1)
    for dump in (dump_result, dump_work):
        back = there_and_back(array, dump)
        assert back.tobytes("A") == array.tobytes("A")
        assert back.flags.writeable == array.flags.writeable
        if array.flags.forc:
            assert back.flags.c_contiguous == array.flags.c_contiguous
            assert back.flags.f_contiguous == array.flags.f_contiguous


@pytest.mark.parametrize(
    "array",
    [
        LARGE,
        LARGE.T,
        LARGE.reshape(4, 8, 8, 8).transpose(0, 3, 1, 2),
        LARGE.reshape(1, 32, 1, 64).transpose(2, 3, 0, 1),
        LARGE.astype(">i2").T,
        np.arange(4096).astype("M8[s]"),
        np.zeros(1024, [("place", "i4", 2), ("time", "m8[ms]")]),
    ],
    ids=["C", "F", "axes", "ones", "big endian", "dates", "records"],
)
@dumps
def test_dense_arrays_are_not_copied(array: Any, dump: Dump) -> None:
    sent = dump((array, 1))
    assert [buffer.raw().nbytes for buffer in sent.buffers] == [array.nbytes]
    memory: Any = np.frombuffer(sent.buffers[0].raw(), np.uint8)
    assert address(memory) == address(array)
    back, _ = load(sent.payload, sent.buffers)
    assert (address(back), back.shape, steps(back)) == (address(array), array.shape, steps(array))
    assert back.dtype == array.dtype
    assert len(sent.payload) < 700


@pytest.mark.parametrize("array", [LARGE[:, ::-1], LARGE[:, ::2], np.broadcast_to(LARGE[:, :1], (32, 64))])
@dumps
def test_other_arrays_are_copied_once(array: Any, dump: Dump) -> None:
    assert apart(array, dump) == [array.nbytes]
    check_same(there_and_back(array, dump), array)
    assert there_and_back(array, dump).flags.writeable == array.flags.writeable


@dumps
def test_small_arrays_travel_in_the_pickle_and_stay_writable(dump: Dump) -> None:
    assert apart([np.zeros(1023, np.float32), np.arange(5)], dump) == []
    assert apart(np.zeros(1024, np.float32), dump) == [4096]
    small = np.arange(5)
    back = there_and_back(small, dump)
    back[0] = 7
    assert (small[0], back[0]) == (0, 7)
    small.flags.writeable = False
    assert not there_and_back(small, dump).flags.writeable


def test_a_batch_costs_few_bytes_beside_its_arrays() -> None:
    assert len(dump_result((LARGE, LARGE.copy(), LARGE.T)).payload) < 150


@dumps
def test_arrays_are_as_writable_as_their_memory(dump: Dump) -> None:
    sent = dump(LARGE)
    assert load(sent.payload, [bytearray(LARGE)]).flags.writeable
    assert not load(sent.payload, [bytes(LARGE)]).flags.writeable
    frozen = LARGE.copy()
    frozen.flags.writeable = False
    for array in (frozen, frozen[:, ::2]):
        assert not there_and_back(array, dump).flags.writeable


def test_memory_is_held_while_an_array_lies_in_it() -> None:
    sent = dump_result(LARGE)
    memory = bytearray(LARGE)
    array = load(sent.payload, [memory])
    with pytest.raises(BufferError):
        memory.clear()
    assert array[0, 1] == 1
    del array
    memory.clear()


@dumps
def test_one_array_met_twice_stays_one(dump: Dump) -> None:
    first, second = there_and_back([LARGE, LARGE], dump)
    assert first is second
    assert apart([LARGE, LARGE], dump) == [LARGE.nbytes]


@dumps
def test_arrays_that_are_more_than_memory_go_their_own_way(dump: Dump) -> None:
    objects = np.array([{"a": 1}, "b", None], object)
    assert there_and_back(objects, dump).tolist() == objects.tolist()
    masked = np.ma.masked_array([1, 2, 3], [True, False, False])
    assert there_and_back(masked, dump).tolist() == [None, 2, 3]
    named = np.zeros(3, [("x", "i4")]).view(np.recarray)
    assert type(there_and_back(named, dump)) is np.recarray
    words = np.array(["a", "bc"], np.dtypes.StringDType())
    assert there_and_back(words, dump).tolist() == ["a", "bc"]


def test_results_need_no_cloudpickle(no_cloudpickle: None) -> None:
    batch = {"x": LARGE, "y": Pair(["a"], np.float32(1))}
    check_same(there_and_back(batch), batch)


# ---------------------------------------------------------------------- memory-mapped files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", np.arange(40_000, dtype=np.int32).reshape(100, 400))
    return tmp_path / "rows.npy"


def views_of(rows: Any) -> dict[str, Any]:
    return {
        "all": rows,
        "plain": np.asarray(rows),
        "part": rows[3:90:4, 5:200],
        "backwards": np.asarray(rows)[::-1, ::-3],
        "turned": rows.T,
        "bytes": rows.view(np.uint8)[7],
        "row": np.asarray(rows)[9],
        "empty": rows[:0],
    }


@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("kind", views_of(np.zeros((100, 400), np.int32)))
def test_files_are_mapped_again(file: Path, mode: Any, kind: str) -> None:
    view = views_of(np.load(file, mmap_mode=mode))[kind]
    sent = dump_work(view)
    assert sent.buffers == []
    assert len(sent.payload) < 900
    back = load(sent.payload, [])
    check_same(back, view)
    assert type(back) is type(view)
    assert back.strides == view.strides
    assert back.flags.writeable == view.flags.writeable == (mode == "r+")
    if isinstance(view, np.memmap) and view.size:
        assert (back.filename, back.mode) == (view.filename, view.mode)
        again = dump_work(back)  # a worker may have workers
        check_same(load(again.payload, again.buffers), view)


def test_a_mapped_file_is_the_same_file(file: Path) -> None:
    rows = np.load(file, mmap_mode="r+")
    rows[2, 3] = -1
    work = functools.partial(np.asarray(rows).__getitem__, (slice(2, 3), slice(3, 5)))
    assert in_worker(work).tolist() == [[-1, 804]]
    there_and_back(rows, dump_work)[2, 4] = -2
    assert rows[2, 4] == -2


def test_new_files_are_mapped_again_not_emptied(tmp_path: Path) -> None:
    rows = np.memmap(tmp_path / "new", np.int64, "w+", 16, (600, 2), "F")
    rows[:] = np.arange(1200).reshape(600, 2)
    back = there_and_back(rows, dump_work)
    assert apart(rows, dump_work) == []
    assert (back.mode, back.offset, back.strides) == ("r+", 16, rows.strides)
    check_same(back, rows)
    rows.flags.writeable = False
    assert not there_and_back(rows, dump_work).flags.writeable


def test_files_are_written_before_they_are_mapped_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(np.memmap, "flush", lambda rows: flushed.append(rows.mode))
    for mode in ("r", "r+"):
        dump_work(list(np.load(file, mmap_mode=mode)))
    assert flushed == ["r+"]


def test_a_file_is_mapped_once_for_all_its_views(file: Path) -> None:
    rows = np.load(file, mmap_mode="r")
    sent = dump_work([rows, *rows, *np.asarray(rows)])
    assert sent.buffers == []
    back = load(sent.payload, [])
    assert len(back) == 201
    assert len({address(row) - address(back[0]) for row in back}) == 100
    assert [int(row[0]) for row in back[101:]] == list(range(0, 40_000, 400))


def test_private_changes_travel(file: Path) -> None:
    rows = np.load(file, mmap_mode="c")
    rows[0, 0] = 99
    assert apart(rows, dump_work) == [rows.nbytes]
    back = there_and_back(rows, dump_work)
    check_same(back, rows)
    assert type(back) is np.memmap
    assert back.filename is None


def test_deleted_files_travel_as_arrays(file: Path) -> None:
    rows = np.load(file, mmap_mode="r")
    file.unlink()
    assert apart(np.asarray(rows), dump_work) == [rows.nbytes]
    check_same(there_and_back(rows, dump_work), rows)
    file.write_bytes(b"too short")
    assert apart(rows, dump_work) == [rows.nbytes]


def test_a_file_that_vanishes_on_the_way_is_named(file: Path) -> None:
    sent = dump_work(np.load(file, mmap_mode="r"))
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"rows\.npy"):
        load(sent.payload, [])


def test_arrays_computed_from_mapped_ones_are_not_taken_for_them(file: Path) -> None:
    rows = np.load(file, mmap_mode="r")
    for array in (rows + 1, rows[[3, 5, 7]], rows.copy()):
        check_same(there_and_back(array, dump_work), array)
        assert apart(array, dump_work) == [array.nbytes]


def test_results_hold_copies_of_mapped_files(file: Path) -> None:
    rows = np.load(file, mmap_mode="r")[10:30]
    assert apart(rows) == [rows.nbytes]
    back = there_and_back(rows)
    check_same(back, rows)
    assert type(back) is np.memmap
    assert back.filename is None


# ---------------------------------------------------------------------- frameworks


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="its tensors travel")


@pytest.fixture
def jax() -> Any:
    return pytest.importorskip("jax", reason="its arrays travel")


@dumps
def test_torch_tensors_are_not_copied(torch: Any, dump: Dump) -> None:
    images = torch.arange(4096.0).reshape(2, 32, 8, 8)
    for tensor in (
        images,
        images.to(torch.bfloat16),
        images.to(torch.complex64),
        images.permute(3, 0, 1, 2),
        images.contiguous(memory_format=torch.channels_last),
    ):
        sent = dump({"x": tensor})
        assert [buffer.raw().nbytes for buffer in sent.buffers] == [tensor.nbytes]
        back = load(sent.payload, sent.buffers)["x"]
        assert back.data_ptr() == tensor.data_ptr()
        assert (back.dtype, back.stride()) == (tensor.dtype, tensor.stride())
        copied = there_and_back(tensor, dump)
        assert torch.equal(copied, tensor)
        assert copied.is_contiguous(memory_format=torch.channels_last) == tensor.is_contiguous(
            memory_format=torch.channels_last
        )


@dumps
def test_torch_views_and_small_tensors_travel(torch: Any, dump: Dump) -> None:
    rows = torch.arange(4096.0).reshape(64, 64)
    for tensor in (rows[:, ::2], rows[3, 1:4], torch.tensor(3), rows[:0], rows[:, :1].expand(64, 64)):
        back = there_and_back(tensor, dump)
        assert torch.equal(back, tensor)
        back += 1  # its memory is its own
    assert rows[3, 1] == 193
    assert apart(rows[:, ::2], dump) == [8192]


@dumps
def test_what_numpy_cannot_see_goes_torchs_way(torch: Any, dump: Dump) -> None:
    weights = torch.ones(2000, requires_grad=True)
    assert there_and_back(weights, dump).requires_grad
    parameter = torch.nn.Parameter(torch.ones(2000), requires_grad=False)
    assert type(there_and_back(parameter, dump)) is torch.nn.Parameter
    sparse = torch.eye(50).to_sparse()
    assert torch.equal(there_and_back(sparse, dump).to_dense(), torch.eye(50))
    named = torch.ones(3)
    named.origin = "camera 1"
    assert there_and_back(named, dump).origin == "camera 1"
    conjugate = torch.ones(3, dtype=torch.complex64).conj()
    assert torch.equal(there_and_back(conjugate, dump), conjugate)


FOREIGN = ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "complex32", "bits16", "uint4", "float4_e2m1fn_x2"]


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@dumps
@pytest.mark.parametrize("name", FOREIGN)
def test_dtypes_that_numpy_lacks(torch: Any, name: str, dump: Dump) -> None:
    dtype = getattr(torch, name, None)
    if dtype is None:
        pytest.skip("this torch has no such dtype")
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[dtype.itemsize]
    tensor = torch.arange(8192, dtype=torch.int32).to(integers).reshape(64, 128).view(dtype)
    for sent in (tensor, tensor.T, tensor[:, ::2], tensor[0, 0], tensor[:0]):
        back = there_and_back(sent, dump)
        assert (back.dtype, back.shape) == (dtype, sent.shape)
        assert torch.equal(back.view(integers), sent.view(integers))
    assert apart(tensor, dump) == [tensor.nbytes]


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@dumps
def test_such_tensors_keep_what_torch_knows_of_them(torch: Any, dump: Dump) -> None:
    weights = torch.ones(3).to(torch.float8_e5m2).requires_grad_()
    assert there_and_back(weights, dump).requires_grad
    numbers = torch.tensor([1 + 2j]).to(torch.complex32).conj()
    assert there_and_back(numbers, dump).to(torch.complex64).tolist() == [1 - 2j]


@dumps
def test_tensors_with_a_graph_are_refused(torch: Any, dump: Dump) -> None:
    weights = torch.ones(3, requires_grad=True)
    for tensor in (weights * 2, torch.nn.Parameter(torch.ones(3)).sum(), weights.to(torch.float8_e5m2)):
        with pytest.raises(
            NotPicklableError, match=r"\['x'\] .* a torch.Tensor .*was computed from others.*detach\(\)"
        ):
            dump({"x": tensor})
        assert there_and_back(tensor.detach(), dump).shape == tensor.shape


@dumps
def test_jax_arrays_lie_apart(jax: Any, dump: Dump) -> None:
    for dtype in ("float32", "int8", "bfloat16", "float8_e4m3fn"):
        value = jax.numpy.arange(8192).reshape(2, 4096).astype(dtype)
        assert apart((value,), dump) == [value.nbytes]
        (back,) = there_and_back((value,), dump)
        assert isinstance(back, jax.Array)
        check_same(back, value)


@dumps
def test_what_numpy_cannot_see_goes_jaxs_way(jax: Any, dump: Dump) -> None:
    assert there_and_back(jax.numpy.asarray(1.0), dump).weak_type
    assert not there_and_back(jax.numpy.asarray(np.float32(1)), dump).weak_type
    key = jax.random.key(3)
    assert (jax.random.key_data(there_and_back(key, dump)) == jax.random.key_data(key)).all()


def test_tensors_go_to_a_worker_and_back(torch: Any) -> None:
    back = in_worker(functools.partial(torch.stack, [torch.ones(2000), torch.zeros(2000)]))
    assert torch.equal(back, torch.stack([torch.ones(2000), torch.zeros(2000)]))


# ---------------------------------------------------------------------- what cannot be imported elsewhere

_MAIN = """
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


def test_code_of_a_script_works_in_a_worker_and_its_classes_come_back_as_themselves() -> None:
    pytest.importorskip("cloudpickle", reason="it sends code by value")
    lines = run(
        _MAIN
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
        + _MAIN
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


# ---------------------------------------------------------------------- what cannot travel


def refusal(value: Any, dump: Callable[[Any, str], Any] = dump_work, name: str = "dataset") -> str:
    with pytest.raises(NotPicklableError) as caught:
        dump(value, name)
    assert isinstance(caught.value.__cause__, Exception)
    return str(caught.value)


def test_the_culprit_is_named_with_its_holder_and_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a\nb\n")
    with (tmp_path / "lines").open() as file:
        text = refusal(Holder(_reader=Holder(_dataset=Lines(file))), name="work")
        with pytest.raises(TypeError) as caught:  # whose words are Python's
            pickle.dumps(file)
    assert text == (
        f"work._reader._dataset.file cannot be sent to a worker process: it is a _io.TextIOWrapper held by a {__name__}"
        f'.Lines ("{caught.value}"); open it in __getitem__ when it is first needed, '
        'leave it out in __getstate__, or use backend="thread"'
    )
    batch = {"meta": [Holder(lock=threading.Lock())]}
    assert refusal(batch, dump_result, "batch").startswith(
        "batch['meta'][0].lock cannot come back from a worker process: it is a _thread.lock held by a "
    )


def _with_closure(value: Any) -> Any:
    return lambda: value


def _with_default(value: Any) -> Any:
    def function(*, option: Any = value) -> Any:
        return option

    return function


class Slotted:
    __slots__ = ("other", "value")

    def __init__(self, value: Any) -> None:
        self.other, self.value = 1, value


class Stateful(Holder):
    def __getstate__(self) -> Any:
        return {**vars(self), "dropped": None}


class Sequence(list[Any]):
    pass


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda lock: lock, ""),
        (lambda lock: {"a": 1, "b": (2, [lock])}, "['b'][1][0]"),
        (lambda lock: Pair(1, lock), ".second"),
        (lambda lock: Holder(a=Slotted(lock)), ".a.value"),
        (lambda lock: Stateful(dropped=threading.Lock(), kept=lock), ".kept"),
        (lambda lock: Sequence([1, lock]), "[1]"),
        (lambda lock: collections.OrderedDict(x=lock), "['x']"),
        (lambda lock: collections.deque([1, 2, lock]), "[2]"),
        (lambda lock: functools.partial(max, 1, key=lock), ".keywords['key']"),
        (lambda lock: functools.partial(Lines(lock).__getitem__, 1), ".func.__self__.file"),
        (lambda lock: Lines(lock).__getitem__, ".__self__.file"),
        (lambda lock: np.array([[1, lock]], object), "[0, 1]"),
        (lambda lock: [None] * 100_000 + ["a", lock], "[100001]"),
    ],
)
@pytest.mark.parametrize("by_value", [True, False])
def test_the_path_leads_to_the_culprit(
    make: Callable[[Any], Any], path: str, by_value: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_value:
        pytest.importorskip("cloudpickle", reason="it sends code by value")
    else:
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
    text = refusal(make(threading.Lock()))
    assert text.startswith(f"dataset{path} cannot be sent to a worker process: it is a _thread.lock")


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (_with_closure, ".__closure__['value']"),
        (_with_default, ".__kwdefaults__['option']"),
        (lambda lock: type("Locked", (), {"lock": lock})(), ".__class__.lock"),
        (
            lambda lock: type("Locked", (), {"get": staticmethod(_with_closure(lock))}),
            ".get.__func__.__closure__['value']",
        ),
    ],
)
def test_the_path_leads_through_code(make: Callable[[Any], Any], path: str) -> None:
    pytest.importorskip("cloudpickle", reason="it sends code by value")
    assert refusal(make(threading.Lock())).startswith(f"dataset{path} cannot be sent")


def test_the_path_leads_through_globals() -> None:
    pytest.importorskip("cloudpickle", reason="it sends code by value")
    script = """
import threading
a_lock, lock, used = 1, threading.Lock(), threading.Lock()
def function(value):
    value.lock
    def inner():
        return used
    return inner
try:
    dump_work(function)
except TypeError as error:
    print(error)
"""
    assert run(script).startswith("work.__globals__['used'] cannot be sent to a worker process: it is a _thread.lock")


def test_innocent_friends_of_the_culprit_are_not_blamed() -> None:
    """They refer to the object that holds it."""
    dataset = Holder()
    dataset.transform = Holder(owner=dataset, owners=[dataset])  # type: ignore[attr-defined]
    dataset.file = threading.Lock()  # type: ignore[attr-defined]
    assert refusal(dataset).startswith("dataset.file cannot be sent")
    items: list[Any] = []
    items += [items, threading.Lock()]
    assert refusal(items).startswith("dataset[1] cannot be sent")


class Moody:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [KeyError("mood"), AssertionError(), RecursionError("deep"), NotPicklableError("no")])
@pytest.mark.parametrize("dump", [dump_work, dump_result])
def test_objects_that_raise_when_pickled_are_named(error: Exception, dump: Any) -> None:
    text = refusal({"x": [Moody(error)]}, dump)
    path = "dataset" if isinstance(error, RecursionError) else "dataset['x'][0]"
    assert text.startswith(f"{path} cannot ")
    assert str(error) in text


def test_nesting_that_is_too_deep_is_told_at_the_top() -> None:
    nest: list[Any] = []
    for _ in range(100_000):
        nest = [nest]
    for dump in (dump_work, dump_result):
        assert "recursion" in refusal(Holder(nest=nest), dump)
        assert refusal(Holder(nest=nest), dump).startswith("dataset cannot ")
    while nest:  # taken apart by hand, lest freeing it be too deep as well
        nest = nest[0]


def test_interrupts_pass_through() -> None:
    for dump in (dump_work, dump_result):
        with pytest.raises(KeyboardInterrupt):
            dump(Moody(KeyboardInterrupt()))


def test_open_files_of_text_are_refused_not_read(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a\n" * 10)
    with (tmp_path / "lines").open() as file:
        assert refusal(Lines(file)).startswith("dataset.file cannot be sent")
        assert file.tell() == 0
    assert there_and_back(io.StringIO("a"), dump_work).read() == "a"


# ---------------------------------------------------------------------- errors


def after(error: BaseException) -> Any:
    """The error as it comes out of a worker."""
    with pytest.raises(type(error)) as caught:
        raise error
    return load_error(dump_error(caught.value))


class Swapped(Exception):
    """Its arguments are not those of its constructor."""

    def __init__(self, path: str, line: int) -> None:
        super().__init__(f"{path}:{line}")
        self.path, self.line = path, line


class Prefixed(Exception):
    """Its constructor accepts its own argument, and makes another one of it."""

    def __init__(self, code: object) -> None:
        super().__init__(f"code {code}")


class NamedFile(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "is not there", path)
        self.path = path


class Parsed(Exception):
    """It says itself how it is made."""

    def __init__(self, text: str, *, place: int) -> None:
        super().__init__(f"{text} at {place}")
        self.text, self.place = text, place

    def __reduce__(self) -> Any:
        return functools.partial(Parsed, place=self.place), (self.text,)


class Counted(Exception):
    """It cannot be made again past its constructor, which leaves nothing behind in it."""

    def __new__(cls, *args: Any) -> Any:
        error = super().__new__(cls, *args)
        vars(error)["made_by_new"] = len(args)
        return error


class Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Several(ExceptionGroup[Exception]):
    def __new__(cls, errors: list[Exception]) -> Any:
        return super().__new__(cls, "several", errors)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad", 3, None),
        KeyError("label"),
        IndexError(),
        StopIteration(7),
        SystemExit(3),
        KeyboardInterrupt(),
        FileNotFoundError(2, "No such file", "a.npy"),
        OSError(18, "Invalid link", "a", None, "b"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        json.JSONDecodeError("Expecting value", "[1,", 3),
        subprocess.CalledProcessError(2, ["ls"], b"out", b"err"),
        ImportError("no torch", name="torch", path="/lib"),
        Swapped("a.txt", 3),
        Prefixed(7),
        NamedFile("b.npy"),
        Parsed("text", place=4),
        Counted(1, 2),
        Several([ValueError("a")]),
        NotPicklableError("tree"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_back_as_they_were(error: BaseException) -> None:
    error.add_note("sample 17")
    vars(error)["sample"] = LARGE
    text, attributes = str(error), dict(vars(error))
    back = after(error)
    assert type(back) is type(error)
    assert (str(back), repr(back.args)) == (text, repr(error.args))
    assert back.__notes__ == ["sample 17"]
    check_same(vars(back), attributes)
    for name in (
        "errno",
        "filename",
        "filename2",
        "strerror",
        "start",
        "object",
        "reason",
        "code",
        "value",
        "name",
        "doc",
    ):
        assert getattr(back, name, None) == getattr(error, name, None)
    assert back.__traceback__ is None
    assert back.__context__ is None


def test_the_traceback_is_the_cause() -> None:
    try:
        try:
            [][3]
        except IndexError as error:
            raise ValueError("sample 3") from error
    except ValueError as error:
        back = load_error(dump_error(error))
    assert isinstance(back.__cause__, WorkerTraceback)
    text = str(back.__cause__)
    assert text.startswith("in the worker:\n\nTraceback (most recent call last):")
    assert "IndexError: list index out of range" in text
    assert "direct cause" in text
    assert "ValueError: sample 3" in text
    assert "in test_the_traceback_is_the_cause" in text


def test_a_second_journey_keeps_the_story_of_the_first() -> None:
    first = after(Swapped("a.txt", 3))
    second = after(first)
    assert type(second) is Swapped
    assert (second.path, second.line) == ("a.txt", 3)
    text = str(second.__cause__)
    assert text.count("in the worker:") == 2
    assert text.count("Traceback (most recent call last):") == 2
    assert text.count("Swapped: a.txt:3") == 2


def test_attributes_that_cannot_travel_are_left_out_one_by_one() -> None:
    errors: list[Exception] = [ValueError("bad"), Swapped("a", 1), Parsed("b", place=2), ImportError("c", name="d")]
    for error in errors:
        vars(error).update(lock=threading.Lock(), sample=3, file=sys.stdin)
        back = after(error)
        assert type(back) is type(error)
        assert (str(back), vars(back)["sample"]) == (str(error), 3)
        assert not hasattr(back, "lock")


def test_arguments_that_cannot_travel_come_as_text() -> None:
    back = after(ValueError("bad", threading.Lock()))
    assert type(back) is ValueError
    assert back.args[0] == "bad"
    assert back.args[1].startswith("<unlocked _thread.lock")


def test_groups_come_with_their_members() -> None:
    members: list[Exception] = [Swapped("a", 1), ExceptionGroup("inner", [Prefixed(2), KeyError("c")])]
    back = after(ExceptionGroup("all", members))
    assert type(back) is ExceptionGroup
    first: Any
    first, inner = back.exceptions
    assert (type(first), first.args, first.line) == (Swapped, ("a:1",), 1)
    assert [type(error) for error in inner.exceptions] == [Prefixed, KeyError]
    assert inner.exceptions[0].args == ("code 2",)
    assert type(after(BaseExceptionGroup("stop", [KeyboardInterrupt()])).exceptions[0]) is KeyboardInterrupt


def test_errors_that_hold_each_other_come_to_an_end() -> None:
    one, two = ValueError("one"), KeyError("two")
    vars(one).update(other=two, me=one)
    vars(two).update(other=one)
    back = after(one)
    other = vars(back)["other"]
    assert (type(back), type(other)) == (ValueError, KeyError)
    assert str(vars(other)["other"]) == str(vars(back)["me"]) == "ValueError: one"
    deep: Exception = ValueError("leaf")
    for _ in range(12):  # each level tried more than once would be too many
        deep = ExceptionGroup("level", [deep, Swapped("a", 1)])
    back = after(deep)
    for _ in range(12):
        back = back.exceptions[0]
    assert str(back) == "leaf"


def test_classes_that_cannot_travel_leave_their_name_and_text(no_cloudpickle: None) -> None:
    class Local(Exception):
        pass

    class Note(str):
        __slots__ = ()

    error = Local("bad", 3)
    error.__notes__ = ["sample 17", 3, Note("local")]  # type: ignore[list-item]
    back = after(error)
    assert type(back) is WorkerError
    name = f"{__name__}.test_classes_that_cannot_travel_leave_their_name_and_text.<locals>.Local"
    assert str(back) == f"{name}: ('bad', 3)"
    assert back.__notes__ == ["sample 17"]
    assert "Local: ('bad', 3)" in str(back.__cause__)
    assert str(after(Local())) == name


def test_classes_that_are_not_here_leave_their_name_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dump_error(Swapped("a", 1))
    monkeypatch.delattr(sys.modules[__name__], "Swapped")
    back = load_error(data)
    assert type(back) is WorkerError
    assert str(back) == f"{__name__}.Swapped: a:1"
    assert isinstance(back.__cause__, WorkerTraceback)


def test_errors_of_local_classes_come_by_value() -> None:
    pytest.importorskip("cloudpickle", reason="it sends code by value")

    class Local(Exception):
        pass

    assert type(after(Local("bad"))) is Local


class Evil(Exception):
    hides = "__notes__"

    def __getattribute__(self, name: str) -> Any:
        if name == type(self).hides:
            raise ValueError("it is hidden")
        return super().__getattribute__(name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise ValueError("no parts")


class MoreEvil(Evil):
    hides = "__dict__"


def test_errors_of_every_sort_are_dumped() -> None:
    assert type(after(Speechless("x"))) is Speechless
    assert type(after(Evil("x"))) is Evil
    assert str(after(MoreEvil("x"))) == f"{__name__}.MoreEvil: it could not be sent: ValueError"
    noted = ValueError("x")
    noted.__notes__ = [3, "text"]  # type: ignore[list-item]
    assert after(noted).__notes__ == [3, "text"]

    class Text(str):
        __slots__ = ()

    class Odd(Exception):
        def __str__(self) -> str:
            return Text("odd")

    assert "odd" in str(after(Odd()))


@pytest.mark.parametrize(
    "data", [b"", b"junk", pickle.dumps(3), pickle.dumps((1, 2)), dump_error(ValueError("x"))[:-9]]
)
def test_what_cannot_be_read_is_an_error_too(data: bytes) -> None:
    back = load_error(data)
    assert type(back) is WorkerError
    assert str(back).startswith("the error of a worker could not be read: ")


@dumps
def test_errors_in_a_result_travel_as_others_do(dump: Dump) -> None:
    first: Any
    first, second = there_and_back([Swapped("a", 1), {"error": FileNotFoundError(2, "no", "b")}], dump)
    assert (type(first), first.line) == (Swapped, 1)
    assert second["error"].filename == "b"
    assert isinstance(first.__cause__, WorkerTraceback)


def test_errors_of_workers_that_end_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.npy") as caught:
        in_worker(functools.partial(np.load, tmp_path / "missing.npy"))
    assert "in <module>" in str(caught.value.__cause__)
    with pytest.raises(SystemExit) as stopped:
        in_worker(functools.partial(sys.exit, 4))
    assert stopped.value.code == 4


def test_copies_of_what_was_pickled_are_independent() -> None:
    sent = dump_result(Pair(LARGE, [1]))
    assert copy.copy(sent) == sent
    first, second = (load(sent.payload, [bytearray(LARGE)]) for _ in range(2))
    first.first[0] = -1
    assert second.first[0, 0] == 0


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
