"""Exceptions whose own methods fail: they come in the place of their batch, and neither end a worker nor the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from headrace import DataLoader, Dataset, IterableDataset
from headrace.errors import HeadraceWarning
from headrace.errors.notes import add_note, text_of
from headrace.workers.pickling.messages import dump_error, load_error

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

POOLS: dict[str, dict[str, Any]] = {
    "inline": {},
    "thread": {"num_workers": 1, "backend": "thread"},
    "process": {"num_workers": 1, "backend": "process"},
    **{name: {"num_workers": 1, "multiprocessing_context": name} for name in ("fork", "forkserver", "spawn")},
}


class ExitingText(Exception):
    def __str__(self) -> str:
        raise SystemExit("text")


class InterruptingText(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class ExitingRepr(Exception):
    def __repr__(self) -> str:
        raise SystemExit("repr")


class InterruptingReduce(Exception):
    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


class ExitingReduceEx(Exception):
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise SystemExit("reduce")


class ExitingState(Exception):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.kept = 1

    def __setstate__(self, state: Any) -> None:
        raise SystemExit("state")


class ExitingValue:
    def __repr__(self) -> str:
        raise SystemExit("repr of a value")

    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


class HoldingOne(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text, ExitingValue())
        self.value = ExitingValue()


class OtherNotes(Exception):
    __notes__: Any = ("not", "a list")


class NoAttributes(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


@dataclass(frozen=True)
class Frozen(Exception):
    text: str


HOSTILE: list[type[Exception]] = [
    ExitingText,
    InterruptingText,
    ExitingRepr,
    InterruptingReduce,
    ExitingReduceEx,
    ExitingState,
    HoldingOne,
    OtherNotes,
    NoAttributes,
    Frozen,
]


class Failing(Dataset[int]):
    """Two samples of each kind of error, of which the first raises it."""

    def __len__(self) -> int:
        return 2 * len(HOSTILE)

    def __getitem__(self, index: int, /) -> int:
        if index % 2 == 0:
            raise HOSTILE[index // 2]("x")
        return index


class FailingAtOnce(Failing):
    def __getitems__(self, indices: list[int]) -> list[int]:
        return [self[index] for index in indices]


class FailingStream(IterableDataset[int]):
    """Goes on after each error, as a generator cannot."""

    def __iter__(self) -> Iterator[int]:
        samples = Failing()
        return map(samples.__getitem__, range(len(samples)))


def walk(batches: Any) -> list[Any]:
    """Return what comes one after the other: a batch, or the name of an error."""
    found: list[Any] = []
    for _ in range(3 * len(HOSTILE)):  # an error that comes again and again is not waited out
        try:
            found.append(next(batches).tolist())
        except StopIteration:
            break
        except BaseException as error:
            found.append(type(error).__name__)
    return found


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("dataset", [Failing(), FailingAtOnce(), FailingStream()], ids=["one", "many", "stream"])
def test_hostile_error_is_raised_and_iteration_goes_on(dataset: Any, pool: str) -> None:
    expected = [part for number, kind in enumerate(HOSTILE) for part in (kind.__name__, [2 * number + 1])]
    assert walk(iter(DataLoader(dataset, 1, **POOLS[pool]))) == expected


@pytest.mark.parametrize("pool", ["inline", "thread", "process"])
def test_hostile_error_can_be_skipped(pool: str) -> None:
    loader = DataLoader(Failing(), 2, on_error="skip", **POOLS[pool])
    with pytest.warns(HeadraceWarning, match=r"its text raised SystemExit"):
        assert walk(iter(loader)) == [[number] for number in range(1, 2 * len(HOSTILE), 2)]
    assert [bad.error for bad in loader.bad_samples] == [kind.__name__ for kind in HOSTILE]


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_error_travels_from_a_worker(kind: type[Exception]) -> None:
    """With its class where that is to be had, and in any case with a cause that holds its traceback."""
    with pytest.raises(kind) as caught:
        Failing()[2 * HOSTILE.index(kind)]
    add_note(caught.value, "a note")
    sent = load_error(dump_error(caught.value))
    assert type(sent) is kind
    assert kind.__name__ in str(sent.__cause__)
    assert kind is OtherNotes or vars(sent)["__notes__"] == ["a note"]


def test_text_of_an_error() -> None:
    assert text_of(KeyError("label")) == "'label'"
    assert text_of(ExitingText()) == "(its text raised SystemExit)"
    assert text_of(InterruptingText()) == "(its text raised KeyboardInterrupt)"
