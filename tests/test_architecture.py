"""Imports point one way, and each foreign library has one room."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import headrace
from headrace.frameworks import adapter_modules

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(headrace.__file__).parent

# From the ground up: a part imports from the lines above its own only, also for types and late. Parts that share a line
# do not know each other. Few modules stand elsewhere than the rest of their folder; the root is `headrace/__init__.py`.
LAYERS = [
    ["errors", "insight.columns"],
    ["kernels", "plugins", "insight.clock"],
    ["rng", "batch.arena"],
    ["io"],
    ["frameworks", "batch.capabilities"],
    ["sampling", "batch"],
    ["pipeline.reading"],
    ["datasets.shared_list"],
    ["datasets.sent_list"],
    ["workers"],
    ["images"],
    ["transforms"],
    ["pipeline", "formats.shard_bounds", "formats.index", "cache.fingerprint"],
    ["formats.arrow.columns"],
    ["formats.arrow.conversion"],
    ["formats.arrow.memory"],
    ["datasets"],
    ["cache"],
    ["formats"],
    ["insight.totals"],
    ["insight.loader_clock"],
    [
        "insight.timeline",
        "insight.trace",
        "insight.model",
        "insight.prometheus",
        "insight.table",
        "insight.units",
        "insight.pictures",
    ],
    ["insight.verdict", "insight.views", "insight.explanation"],
    ["insight.stats"],
    ["insight.snapshot"],
    ["loader"],
    ["convert", "torch", "jax", "insight"],
    ["ray"],
    ["(root)"],
    ["bench"],
    ["insight.memory", "insight.profile"],
    ["insight.report", "insight.tune", "insight.uncached", "insight.dry_run", "insight.order_quality"],
    ["insight.plan"],
    ["testing", "cli"],
    ["__main__"],
]
# Names of other libraries that a face offers as its own.
THEIRS = {"DataLoader"}
LAYER = {part: number for number, parts in enumerate(LAYERS) for part in parts}

# Who may know of what is foreign; anything else needs a line here and a word in the design.
ROOMS = {
    "ctypes": {"headrace.kernels.native", "headrace.workers.processes.orphans"},
    "PIL": {"headrace.cli", "headrace.frameworks.pillow", "headrace.images.codecs.pillow", "headrace.convert.png"},
    "simplejpeg": {"headrace.images.codecs.jpeg"},
    "ml_dtypes": {"headrace.transforms.pixels"},
    "rich": {"headrace.cli"},
    "matplotlib": {"headrace.cli"},
    "argparse": {
        "headrace.cli.main",
        "headrace.cli.parser",
        "headrace.cli.file_commands",
        "headrace.cli.loader_commands",
    },
    "pyarrow": {
        "headrace.formats.arrow.reader",
        "headrace.formats.arrow.choice",
        "headrace.formats.arrow.columns",
        "headrace.formats.arrow.conversion",
        "headrace.formats.arrow.memory",
        "headrace.formats.arrow.writer",
    },
    "accelerate": {"headrace.torch.accelerated", "headrace.torch.skipping"},
    "fsspec": {"headrace.io.remote_connection"},
    "zstandard": {"headrace.io.zstd"},
    "h5py": {"headrace.formats.hdf5"},
    "zarr": {"headrace.formats.zarr"},
    "array_record": {"headrace.formats.arrayrecord"},
    "lance": {"headrace.formats.lance"},
    "cloudpickle": {"headrace.workers.pickling.by_value"},
    "multiprocessing": {"headrace.workers"},
    "lmdb": {"headrace.formats.lmdb.writer"},
    "ray": {"headrace.workers.ray", "headrace.ray"},
    "msgpack": {"headrace.formats.lmdb.msgpack"},
    "mmap": {"headrace.workers", "headrace.io", "headrace.cache.folder"},
    "socket": {"headrace.workers"},
} | {library: {adapter, f"headrace.{library}"} for library, adapter in adapter_modules().items()}


class Import(NamedTuple):
    importer: str
    imported: str
    late: bool  # inside of a function
    typed: bool  # for types alone
    line: int


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def parsed(path: Path) -> ast.Module:
    """The tree of a file.

    Python before 3.11.8 fails where a finalizer or another thread parses something meanwhile (python/cpython#106905).
    """
    text = path.read_text(encoding="utf-8")
    for _ in range(3):
        with suppress(SystemError):
            return ast.parse(text)
    return ast.parse(text)


def walk(
    node: ast.AST, *, late: bool = False, typed: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    """The import statements, each with whether it stands in a function, and whether it is for types alone."""
    for_types = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    for child in ast.iter_child_nodes(node):
        inner = typed or (for_types and isinstance(node, ast.If) and child in node.body)
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, late, inner
        else:
            yield from walk(child, late=late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef), typed=inner)


def targets(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules that a statement imports: `from package import module` means the module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, "imports are absolute"
    assert node.module is not None
    inner = {f"{node.module}.{alias.name}" for alias in node.names}
    return sorted(inner & sources().keys() | ({node.module} if inner - sources().keys() else set()))


@cache
def imports() -> list[Import]:
    return [
        Import(name, target, late, typed, node.lineno)
        for name, path in sources().items()
        for node, late, typed in walk(parsed(path))
        for target in targets(node)
    ]


def part_of(module: str) -> str:
    """The part that a module belongs to: the longest of those that are listed, else the folder or file it lies in."""
    _, _, inner = module.partition(".")
    words = inner.split(".")
    known = (".".join(words[:count]) for count in range(len(words), 0, -1))
    return next((part for part in known if part in LAYER), words[0] or "(root)")


def inside() -> list[Import]:
    """The imports of the package's own modules."""
    return [found for found in imports() if found.imported.split(".")[0] == "headrace"]


def test_every_part_has_its_layer() -> None:
    assert {part_of(module) for module in sources()} == set(LAYER)


@pytest.mark.parametrize("part", LAYER)
def test_imports_point_one_way(part: str) -> None:
    for found in inside():
        importer, imported = part_of(found.importer), part_of(found.imported)
        if importer == part != imported:
            assert LAYER[imported] < LAYER[importer], f"{found.importer}, line {found.line}, imports {found.imported}"


def test_no_circles() -> None:
    """Not between any two modules, and neither by what is imported for types nor late."""
    edges: dict[str, set[str]] = {module: set() for module in sources()}
    for found in inside():
        if found.imported != found.importer and not found.importer.startswith("headrace.__"):
            edges[found.importer].add(found.imported)
    done: set[str] = set()
    while ready := [module for module in edges if module not in done and edges[module] <= done]:
        done.update(ready)
    assert not edges.keys() - done, "these import each other"


@pytest.mark.parametrize("library", ROOMS)
def test_each_library_has_its_room(library: str) -> None:
    allowed = ROOMS[library]
    for found in imports():
        if found.imported.split(".")[0] == library and not found.typed:
            at_home = any(found.importer == room or found.importer.startswith(f"{room}.") for room in allowed)
            assert at_home, f"{found.importer}, line {found.line}, imports {found.imported}"


def test_no_other_library() -> None:
    known = {"headrace", "numpy", *ROOMS, *sys.stdlib_module_names}
    assert {found.imported.split(".")[0] for found in imports() if not found.typed} <= known


def test_frameworks_are_imported_late() -> None:
    """By nobody at load, their faces aside: only where a value of theirs has been met."""
    for found in inside():
        if part_of(found.importer) in ("torch", "jax"):
            continue
        assert part_of(found.imported) not in ("torch", "jax"), f"{found.importer}, line {found.line}"
        if found.imported in adapter_modules().values():
            assert found.late, f"{found.importer}, line {found.line}"


def test_the_command_line_is_imported_late() -> None:
    for found in inside():
        if part_of(found.imported) == "cli" and part_of(found.importer) not in ("cli", "__main__"):
            assert found.late, f"{found.importer}, line {found.line}"


def test_importing_headrace_imports_numpy_and_the_standard_library() -> None:
    program = (
        "import sys; before = set(sys.modules); from headrace import *; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["headrace", "numpy"]


def test_the_reader_of_imports_reads() -> None:
    """A test that finds nothing forbidden must be able to find it."""
    source = (
        "from typing import TYPE_CHECKING\n"
        "import headrace.rng.keys\n"
        "if TYPE_CHECKING:\n    import torch\nelse:\n    import jax\n"
        "try:\n    import rich\nexcept ImportError:\n    pass\n"
        "class A:\n    import ctypes\n    def f(self):\n        from headrace import datasets, DataLoader\n"
    )
    found = [(target, late, typed) for node, late, typed in walk(ast.parse(source)) for target in targets(node)]
    assert found == [
        ("typing", False, False),
        ("headrace.rng.keys", False, False),
        ("torch", False, True),
        ("jax", False, False),
        ("rich", False, False),
        ("ctypes", False, False),
        ("headrace", True, False),
        ("headrace.datasets", True, False),
    ]


def definitions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    for name, path in sources().items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield name, node


def test_no_class_name_occurs_twice() -> None:
    """A reader who meets a name knows which class is meant; an underscore makes no other name.

    What a face offers has the other library's names, and it alone.
    """
    classes = [(module, node.name) for module, node in definitions() if isinstance(node, ast.ClassDef)]
    offered = {(module, name) for module, name in classes if name in THEIRS and part_of(module) in ("torch", "jax")}
    found = Counter(name.lstrip("_") for module, name in classes if (module, name) not in offered)
    assert [name for name, count in found.items() if count > 1] == []


def test_docstrings_ask_nothing() -> None:
    """They say what is done, or name the thing."""
    question = re.compile(r"(What|Where|Which|How|Who|Whoever)\b")
    asking = [f"{name}, {node.name}" for name, node in definitions() if question.match(ast.get_docstring(node) or "")]
    modules = [name for name, path in sources().items() if question.match(ast.get_docstring(parsed(path)) or "")]
    assert asking + modules == []
