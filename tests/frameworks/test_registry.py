"""A framework that is registered from outside is recognised, batched, sent to workers and kept in caches."""

from __future__ import annotations

import importlib
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.errors import ArgumentError
from headrace.frameworks import registry

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.frameworks import Framework

LIBRARY = '''
    """A library with arrays of its own."""
    import numpy as np

    class Cell:
        def __init__(self, memory, unit="m"):
            self.memory, self.unit = np.asarray(memory), unit
            self.shape = self.memory.shape
        def __reduce__(self):
            raise AssertionError("the adapter pickles it")
'''

ADAPTER = '''
    """The adapter of its arrays."""
    import numpy as np
    from toy_arrays import Cell

    def owns(value): return isinstance(value, Cell)
    def own_all(values): return all(map(owns, values))
    def rebuilds(kind): return kind is Cell
    def explain(value): return ""
    def to_numpy(value): return value.memory
    def from_numpy(array, like): return Cell(array)
    def from_numbers(array): return Cell(array)
    def stack(values): return Cell(np.stack([value.memory for value in values]))
    def row(value, index): return Cell(value.memory[index])
    def take(value, indices): return Cell(value.memory[indices])
    def memory(value): return value.memory
    def rebuild(array): return Cell(array)
    def reduce(value): return rebuild, (value.memory,)
'''

PROGRAM = """
    import sys
    import numpy as np
    from headrace import DataLoader, MapDataset, TensorDataset, frameworks

    frameworks.register("toy_arrays", "toy_adapter")
    assert "toy_adapter" not in sys.modules
    import toy_arrays

    class Cells:
        def __len__(self):
            return 6
        def __getitem__(self, index):
            return toy_arrays.Cell(np.full(3, index)), index

    for dataset in (Cells(), TensorDataset(toy_arrays.Cell(np.arange(6)[:, None].repeat(3, 1)), np.arange(6))):
        for options in ({}, {"backend": "thread"}, {"backend": "process"}):
            with DataLoader(dataset, 2, num_workers=2 if options else 0, **options) as loader:
                batches = list(loader)
            assert {type(batch[0]) for batch in batches} == {toy_arrays.Cell}, batches
            assert [batch[0].memory[:, 2].tolist() for batch in batches] == [[0, 1], [2, 3], [4, 5]]
    cached = MapDataset(Cells(), tuple).cache("kept")
    for _ in range(2):
        found = [cached[index][0] for index in range(6)]
        assert {type(cell) for cell in found} == {toy_arrays.Cell}
        assert [cell.memory.tolist() for cell in found] == [[index] * 3 for index in range(6)]
    print("same")
"""


def test_program_uses_a_registered_framework(tmp_path: Path) -> None:
    (tmp_path / "toy_arrays.py").write_text(dedent(LIBRARY), encoding="utf-8")
    (tmp_path / "toy_adapter.py").write_text(dedent(ADAPTER), encoding="utf-8")
    (tmp_path / "program.py").write_text(dedent(PROGRAM), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "same\n", done.stderr


def test_second_adapter_of_a_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_adapters", dict(registry._adapters))
    registry.register("other", "other_adapter")
    registry.register("other", "other_adapter")
    with pytest.raises(ArgumentError, match=r"arrays of 'torch' have an adapter already, headrace\.frameworks\.torch"):
        registry.register("torch", "other_adapter")


@pytest.mark.parametrize("name", registry.adapter_modules())
def test_own_frameworks_have_every_function(name: str) -> None:
    library: Any = pytest.importorskip(name)
    found: Framework | None = registry.framework_named(name)
    assert found is importlib.import_module(f"headrace.frameworks.{name}")
    wanted = {name for face in (registry.Adapter, registry.Framework) for name in vars(face) if name[0] != "_"}
    assert all(callable(getattr(found, function)) for function in wanted)
    array = library.ones(3) if name == "torch" else library.numpy.ones(3)
    memory = found.memory(array)
    assert memory is not None
    np.testing.assert_array_equal(found.rebuild(memory), np.ones(3))
    assert found.owns(array)
