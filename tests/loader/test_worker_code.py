"""Code of a script works in worker processes whatever decorates it, and its tracebacks name its files and lines."""

from __future__ import annotations

import functools
import linecache
import threading
from typing import TYPE_CHECKING, Any

import pytest

from headrace import DataLoader
from headrace.errors import NotPicklableError
from headrace.workers.pickling.messages import dump_work, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.loader.conftest import Script

    RunScript = Callable[..., Script]

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

DECORATED = """
    import functools
    from headrace import DataLoader, Dataset

    @functools.lru_cache(maxsize=8)
    def load(number):
        return number * 10

    @functools.cache
    def factorial(number):
        return number * factorial(number - 1) if number else 1

    @functools.singledispatch
    def depth(value):
        return 0

    @depth.register
    def _(value: list):
        return 1 + max(map(depth, value))

    class Mine(Dataset):
        @functools.singledispatchmethod
        def twice(self, value):
            return 2 * value

        @twice.register
        def _(self, value: str):
            return value + value

        @functools.cached_property
        def table(self):
            return [3, 4]

        @functools.cache
        def __len__(self):
            return 2

        @functools.lru_cache
        def __getitem__(self, index):
            return load(index), factorial(4), depth([[1]]), self.twice("a"), self.table[index], self.one()

        @staticmethod
        @functools.cache
        def one():
            return 1

        kept = functools.partialmethod(one)

    for _ in range(2):
        loader = DataLoader(Mine(), num_workers=1, backend="process", collate_fn=list, batch_size=2)
        print(*loader, load.cache_info().currsize, load.__name__)
"""


def test_what_functools_makes_of_functions(run_script: RunScript) -> None:
    line = "[(0, 24, 2, 'aa', 3, 1), (10, 24, 2, 'aa', 4, 1)] 0 load\n"
    assert run_script(DECORATED).output() == 2 * line


def there_and_back(work: Any) -> Any:
    sent = dump_work(work)
    return load(sent.payload, sent.buffers)


def test_attributes_of_what_functools_makes() -> None:
    @functools.lru_cache(maxsize=3, typed=True)
    def cached(value: int) -> int:
        """Say it."""
        return value

    cached.note = "mine"  # type: ignore[attr-defined]
    back = there_and_back(cached)
    assert back is not cached
    assert (back(1), back.cache_parameters(), back.note) == (1, {"maxsize": 3, "typed": True}, "mine")
    assert (back.__name__, back.__doc__) == ("cached", "Say it.")


def test_what_can_be_imported_goes_by_name() -> None:
    assert there_and_back(functools.singledispatch) is functools.singledispatch
    assert there_and_back(linecache.getline) is linecache.getline
    import fnmatch

    assert there_and_back(fnmatch._compile_pattern) is fnmatch._compile_pattern  # type: ignore[attr-defined]


def test_the_culprit_in_what_functools_makes() -> None:
    lock = threading.Lock()

    @functools.cache
    def cached() -> Any:
        return lock

    @functools.singledispatch
    def dispatched(value: Any) -> Any:
        return lock

    class Lazy:
        @functools.cached_property
        def late(self) -> Any:
            return lock

    for work, path in (
        (cached, r"work\.__wrapped__\.__closure__\['lock'\]"),
        (dispatched, r"work\.registry\[object\]\.__closure__\['lock'\]"),
        (Lazy(), r"work\.__class__\.late\.func\.__closure__\['lock'\]"),
    ):
        with pytest.raises(NotPicklableError, match=f"^{path} cannot be sent"):
            dump_work(work)


@pytest.mark.parametrize("decorator", ["functools.cache", "functools.lru_cache(maxsize=8)"])
def test_without_cloudpickle_they_are_refused_as_functions_are(decorator: str, run_script: RunScript) -> None:
    script = run_script(
        f"""
        import functools, sys
        sys.modules["cloudpickle"] = None
        from headrace import DataLoader

        @{decorator}
        def collate(samples):
            return samples

        try:
            list(DataLoader([0], num_workers=1, backend="process", collate_fn=collate))
        except TypeError as error:
            print(error)
        """
    )
    assert "collate is defined in __main__ (or locally), which a worker process cannot import; pip" in script.output()


FAILING = """
    from headrace import DataLoader, Dataset

    class Failing(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return [{"a": 1}["b"] for _ in range(2)]  # the bug

    try:
        list(DataLoader(Failing(), num_workers=1, backend="process"))
    except KeyError as error:
        print(error.__cause__)
"""


def test_tracebacks_name_the_script_and_its_lines(run_script: RunScript) -> None:
    script = run_script(FAILING)
    text = script.output()
    assert f'File "{script.folder / "script.py"}", line 9, in __getitem__' in text
    assert text.count("# the bug") >= 1
    assert "dynamic" not in text


def test_tracebacks_show_lines_that_are_in_no_file(by_value: None) -> None:
    """As those of a notebook's cells."""
    source = "def fail(samples):\n    raise ValueError(samples)  # in a cell\n"
    name = "<cell 1 of a test>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    room: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), room)  # noqa: S102
    try:
        with pytest.raises(ValueError, match="0") as caught:
            list(DataLoader([0], num_workers=1, backend="process", collate_fn=room["fail"]))
    finally:
        del linecache.cache[name]
    assert f'File "{name}", line 2, in fail\n    raise ValueError(samples)  # in a cell' in str(caught.value.__cause__)
