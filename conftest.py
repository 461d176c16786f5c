"""What every test and every example in a docstring may rely on."""

import os
import re
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import settings
from tests.ray_cluster import cluster

from headrace.frameworks import adapter_modules

__all__ = ["by_value", "cluster", "interruptible"]

# Tests run beside each other. A framework that takes all cores for each of them, and waits for its threads in a
# loop, takes ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# On a GPU each process would take most of its memory; and where arrays lie there, nothing can be seen of the host's.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# How long an input takes on a busy machine says nothing of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# `pytest -m quick`: files of every folder that take a moment together. Times are not guessed: `pytest --durations=0`
# tells them. The rest starts processes, draws many examples or compares with other libraries.
_QUICK = """
    batch/test_rows batch/test_scatter batch/test_tree cache/test_unbatch cli/test_digits cli/test_main
    convert/test_refusals
    datasets/test_base datasets/test_map datasets/test_split formats/test_registry
    formats/lmdb/test_dataset formats/npy/test_dataset formats/tar/test_dataset formats/tfrecord/test_dataset
    frameworks/test_late fuzz/test_records golden/test_golden images/test_layout io/test_paths io/test_source
    kernels/test_crc32c kernels/test_gather kernels/test_philox loader/test_checkpoint loader/test_config
    loader/test_dataloader loader/test_function pipeline/test_hints pipeline/test_reading rng/test_keys
    sampling/test_plan sampling/test_samplers test_architecture test_errors test_public testing/test_datasets
    transforms/test_base transforms/test_erasing workers/test_in_flight
    bench/test_results insight/test_memory jax/test_placement ray/test_divide
    torch/test_arguments workers/pickling/test_diagnosis workers/processes/test_interrupts
"""
_QUICK_FILES = [Path(__file__).parent / "tests" / f"{name}.py" for name in _QUICK.split()]

# What `--frameworks` looks for in a file: the frameworks and the libraries whose datasets and tables are read.
_FRAMEWORKS = re.compile(
    r'torch|jax|importorskip\("(?:array_record|datasets|h5py|lance|pandas|polars|ray|webdataset|zarr|zstandard)'
)

# The files that know a framework cannot be imported, nor their examples run, where that is missing.
_MISSING = [name for name in adapter_modules() if find_spec(name) is None]
collect_ignore = [f"src/{adapter_modules()[name].replace('.', '/')}.py" for name in _MISSING]
collect_ignore += [f"src/headrace/{name}" for name in _MISSING]
if "torch" in _MISSING:
    collect_ignore += ["tests/torch/oracle.py"]  # no file of tests, which skip where torch is missing
for _library, _format in {"h5py": "hdf5", "zarr": "zarr", "array_record": "arrayrecord", "lance": "lance"}.items():
    if find_spec(_library) is None:
        collect_ignore += [f"src/headrace/formats/{_format}"]
if find_spec("ray") is None:
    collect_ignore += ["src/headrace/workers/ray", "src/headrace/ray"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a second run, in company of the frameworks, leave out what they cannot change."""
    parser.addoption(
        "--frameworks", action="store_true", help="run only the files that name a framework: no other imports one"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file that names no framework, if asked to."""
    if not config.getoption("frameworks") or collection_path.suffix != ".py":
        return None
    return None if _FRAMEWORKS.search(collection_path.read_text(encoding="utf-8")) else True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run tests that are named one by one in this process: workers would take longer to start than they to run."""
    return 0 if config.args and all("::" in argument for argument in config.args) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the quick files; refuse names with an address, which differ among the processes that share the tests."""
    for item in items:
        if item.path in _QUICK_FILES:
            item.add_marker("quick")
        if re.search(r"0x[0-9a-f]{8}", item.nodeid):
            raise pytest.UsageError(f"{item.nodeid} is called otherwise in every process; give its parameters ids")


def pytest_report_header() -> str:
    """Say which frameworks the tests do without."""
    return f"frameworks not installed, so not tested: {', '.join(_MISSING) or 'none'}"


@pytest.fixture(autouse=True)
def _numpy_in_doctests(doctest_namespace: dict[str, Any]) -> None:
    """Examples say `np` without importing it, as NumPy's own do."""
    doctest_namespace["np"] = np


@pytest.fixture
def quick_files() -> list[Path]:
    """Return the files of `pytest -m quick`."""
    return _QUICK_FILES


@pytest.fixture
def by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """Send the datasets of a test file to workers as code: pytest may have imported it in a way that they cannot."""
    cloudpickle.register_pickle_by_value(request.module)
    yield
    cloudpickle.unregister_pickle_by_value(request.module)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt here and in programs that a test starts, as it does in a terminal.

    In the background it may be ignored, which programs inherit.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
