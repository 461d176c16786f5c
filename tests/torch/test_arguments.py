"""Arguments: torch's order, checks and texts; what torch refuses late is refused at once."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.torch.oracle import ours, theirs  # noqa: E402

DATA = list(range(10))


class Stream(theirs.IterableDataset):
    def __iter__(self) -> Any:
        return iter(DATA)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("negative workers", {"num_workers": -1}),
    ("negative timeout", {"timeout": -1}),
    ("prefetch without workers", {"prefetch_factor": 2}),
    ("negative prefetch", {"prefetch_factor": -1, "num_workers": 1}),
    ("persistent without workers", {"persistent_workers": True}),
    ("context without workers", {"multiprocessing_context": "fork"}),
    ("no start method", {"multiprocessing_context": "bad", "num_workers": 1}),
    ("no context", {"multiprocessing_context": 3, "num_workers": 1}),
    ("shuffled stream", {"dataset": Stream(), "shuffle": True}),
    ("stream with a sampler", {"dataset": Stream(), "sampler": [1]}),
    ("stream with a batch sampler", {"dataset": Stream(), "batch_sampler": [[1]]}),
    ("sampler and shuffle", {"sampler": [1], "shuffle": True}),
    ("sampler, shuffle and batch sampler", {"sampler": [1], "shuffle": True, "batch_sampler": [[1]]}),
    ("batch sampler and size", {"batch_sampler": [[1]], "batch_size": 2}),
    ("batch sampler and drop_last", {"batch_sampler": [[1]], "drop_last": True}),
    ("single samples and drop_last", {"batch_size": None, "drop_last": True}),
    ("batch size 0", {"batch_size": 0}),
    ("batch size True", {"batch_size": True}),
    ("batch size of a float", {"batch_size": 2.0}),
    ("drop_last of a number", {"drop_last": 1}),
    ("nothing to shuffle", {"dataset": [], "shuffle": True}),
    ("two mistakes", {"num_workers": -1, "timeout": -1, "batch_size": 0}),
]


@pytest.mark.parametrize("arguments", [case for _, case in REFUSED], ids=[name for name, _ in REFUSED])
def test_refusals_have_torchs_type_and_text(arguments: dict[str, Any]) -> None:
    arguments = {"dataset": DATA, **arguments}
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever torch says
        theirs.DataLoader(**arguments)
    with pytest.raises(type(expected.value)) as found:
        ours.DataLoader(**arguments)
    assert str(found.value) == str(expected.value)


def test_what_torch_refuses_late_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="timeout needs num_workers > 0"):
        ours.DataLoader(DATA, timeout=1)
    with pytest.raises(ValueError, match="prefetch_factor must be a positive integer"):
        ours.DataLoader(DATA, num_workers=1, prefetch_factor=0)
    with pytest.raises(TypeError, match="list_iterator without __len__ and __getitem__"):
        ours.DataLoader(iter(DATA))


def test_torchs_arguments_come_first_in_its_order() -> None:
    expected = list(inspect.signature(theirs.DataLoader.__init__).parameters.values())
    found = list(inspect.signature(ours.DataLoader.__init__).parameters.values())
    assert [(each.name, each.kind, each.default) for each in found[: len(expected)]] == [
        (each.name, each.kind, each.default) for each in expected
    ]
    assert all(each.kind is each.KEYWORD_ONLY for each in found[len(expected) :])
    with pytest.raises(TypeError):
        ours.DataLoader(*[DATA, 2, *[None] * 12])


def test_empty_in_order_has_no_batches() -> None:
    assert list(ours.DataLoader([])) == []


def test_attributes_are_named_as_the_arguments_and_are_those_of_torch() -> None:
    arguments: dict[str, Any] = {"batch_size": 3, "num_workers": 1, "timeout": 5, "in_order": False, "drop_last": True}
    expected, found = theirs.DataLoader(DATA, **arguments), ours.DataLoader(DATA, **arguments)
    public = {name: value for name, value in vars(expected).items() if not name.startswith("_")}
    for name, value in public.items():
        if name not in ("sampler", "batch_sampler"):
            assert getattr(found, name) == value, name
        else:
            assert type(getattr(found, name)) is type(value)
    names = inspect.signature(ours.DataLoader.__init__).parameters.keys() - {
        "self",
        "shuffle",
        "multiprocessing_context",
    }
    assert names <= vars(found).keys()
    assert found.prefetch_factor == 2
    assert found.collate_fn is theirs.default_collate is ours.default_collate
    assert ours.DataLoader(DATA, batch_size=None).collate_fn is theirs.default_convert
    assert ours.DataLoader(DATA, num_workers=1, multiprocessing_context="fork").multiprocessing_context.Process
    assert isinstance(found, theirs.DataLoader)
    assert ours.DataLoader[int] is not None


@pytest.mark.parametrize(
    "name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"]
)
def test_what_torch_lets_nobody_set(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} attribute should not be set after DataLoader is initialized"):
        setattr(ours.DataLoader(DATA), name, None)


def test_what_torch_lets_everybody_set() -> None:
    loader = ours.DataLoader(DATA, batch_size=5)
    loader.own_name = 1
    loader.collate_fn = sum
    assert list(loader) == [10, 35]
    loader.num_workers, loader.prefetch_factor, loader.worker_init_fn = 1, 1, print
    assert list(loader) == [10, 35]
    loader.num_workers = 0
    loader.generator = torch.Generator()
    loader.batch_sampler.sampler = range(5, 0, -1)
    assert list(loader) == [15]


def test_a_replaced_batch_sampler_is_honoured() -> None:
    for seed in (None, 1):
        loader = ours.DataLoader(DATA, batch_size=5, seed=seed)
        assert len(list(loader)) == 2
        object.__setattr__(loader, "batch_sampler", [[1, 2], [3]])
        assert [batch.tolist() for batch in loader] == [[1, 2], [3]]


def test_a_loader_can_be_pickled() -> None:
    loader = pickle.loads(pickle.dumps(ours.DataLoader(DATA, batch_size=5, shuffle=True, seed=1)))
    assert [batch.tolist() for batch in loader] == [
        batch.tolist() for batch in ours.DataLoader(DATA, batch_size=5, shuffle=True, seed=1)
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_workers": 0},
        {"num_workers": 2},
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 2, "backend": "thread"},
        {"num_workers": 2, "seed": 1},
    ],
)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))])
@pytest.mark.parametrize("kind", ["DataLoader", "StatefulDataLoader"])
def test_a_loader_that_has_been_used_can_be_copied(kind: str, copied: Any, arguments: dict[str, Any]) -> None:
    loader = getattr(ours, kind)(DATA, batch_size=5, **arguments)
    expected = [batch.tolist() for batch in loader]
    assert [batch.tolist() for batch in copied(loader)] == expected


def test_too_many_workers_are_warned_of_as_by_torch() -> None:
    texts = []
    for module in (theirs, ours):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module.DataLoader(DATA, num_workers=1000)
        texts.append([(str(each.message), each.category) for each in caught])
    assert texts[0] == texts[1]
    assert len(texts[0]) == 1


def test_pinning_without_an_accelerator_is_warned_of_as_by_torch() -> None:
    if torch.accelerator.is_available():
        pytest.skip("there is an accelerator")
    with pytest.warns(UserWarning, match="'pin_memory' argument is set as true but no accelerator is found") as caught:
        assert len(list(ours.DataLoader(DATA, pin_memory=True))) == 10
    assert caught[0].filename == __file__


def test_all_public_names_of_torch_are_there() -> None:
    pipes = {
        name
        for name in theirs.__all__
        if "Pipe" in name or name.startswith(("_", "functional", "guaranteed", "runtime"))
    }
    pipes |= {"argument_validation", "non_deterministic", "DataChunk"}
    assert set(theirs.__all__) - pipes <= set(ours.__all__)
