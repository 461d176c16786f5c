from __future__ import annotations

import random
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, Dataset, IterableDataset
from headrace.errors import ArgumentError, ArgumentTypeError, HeadraceError

if TYPE_CHECKING:
    from collections.abc import Iterator


PYTHON_RANDOM = random.Random(0)  # noqa: S311 - a generator that users pass


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(10))


class Unsized:
    def __getitem__(self, index: int) -> int:
        return index


BATCH_SIZE = "batch_size must be a positive integer, or None for samples that are not batched, but got batch_size="
NUM_WORKERS = "num_workers must be a non-negative integer (0 loads in this process) or 'auto', but got num_workers="
TIMEOUT = "timeout must be a non-negative number of seconds, but got timeout="
PREFETCH = "prefetch_factor must be a positive integer or None, but got prefetch_factor="
RAM_BUDGET = "ram_budget must be a positive integer or None, but got ram_budget="
PREFETCH_BYTES = "prefetch_bytes must be a positive integer or None, but got prefetch_bytes="
ON_WORKER_DEATH = "on_worker_death must be one of 'raise', 'restart', but got on_worker_death="
CONTEXT = "multiprocessing_context must be one of 'fork', 'forkserver', 'spawn', but got multiprocessing_context="
SEED = "seed must be a non-negative integer or None, but got seed="
GENERATOR = "generator must be a numpy.random.Generator, a random.Random, a torch.Generator or None, got "
BACKEND = "backend must be one of 'auto', 'thread', 'process', 'ray', but got backend="
ON_ERROR = "on_error must be one of 'raise', 'skip', 'replace', but got on_error="
MAX_ERRORS = "max_errors must be a non-negative integer or None, but got max_errors="
BATCH_SAMPLER = (
    "batch_sampler is mutually exclusive with batch_size, shuffle, sampler and drop_last: it decides all four"
)
SEED_OF_STREAMS = (
    "an IterableDataset on several ranks needs a seed, so that what is random in it is alike on all of them; give all "
    "the same"
)
RANKS_OF_SAMPLERS = "world_size cannot divide a sampler of your own; let the sampler pick the rank's samples"
RANKS_SHUFFLE = (
    "shuffle=True on several ranks needs a seed, or each rank would draw an order of its own; give all the same"
)

VALUES: list[Any] = [
    *[({"batch_size": bad}, f"{BATCH_SIZE}{bad!r}") for bad in (0, -1, True, 2.5, "8", np.float64(2), (4,))],
    *[({"num_workers": bad}, f"{NUM_WORKERS}{bad!r}") for bad in (-1, True, 1.5, "2", "Auto", None)],
    *[({"timeout": bad}, f"{TIMEOUT}{bad!r}") for bad in (-1, float("nan"), True, "1", None)],
    *[({"prefetch_factor": bad}, f"{PREFETCH}{bad!r}") for bad in (0, -1, True, 1.5)],
    *[({"prefetch_bytes": bad}, f"{PREFETCH_BYTES}{bad!r}") for bad in (0, -1, True, 1.5)],
    *[({"on_worker_death": bad}, f"{ON_WORKER_DEATH}{bad!r}") for bad in ("skip", None)],
    *[({"num_workers": 1, "multiprocessing_context": bad}, f"{CONTEXT}{bad!r}") for bad in ("threads", "")],
    *[({"seed": bad}, f"{SEED}{bad!r}") for bad in (-1, True, 1.0, "0", np.True_)],
    *[({"backend": bad}, f"{BACKEND}{bad!r}") for bad in ("gpu", None, 1)],
    *[({"on_error": bad}, f"{ON_ERROR}{bad!r}") for bad in ("ignore", None, True)],
    *[
        (
            {"on_error": "skip", "max_errors": bad},
            f"max_errors must be a non-negative integer or None, but got max_errors={bad!r}",
        )
        for bad in (-1, 1.5, "3", True)
    ],
    (
        {"max_errors": 3},
        (
            "max_errors bounds the samples that are passed over, but got max_errors=3 with on_error='raise'; "
            "use on_error='skip' or 'replace'"
        ),
    ),
    *[({"num_workers": "auto", "ram_budget": bad}, f"{RAM_BUDGET}{bad!r}") for bad in (0, -1, True, 1.5, "2 GB")],
    (
        {"num_workers": 2, "ram_budget": 1},
        (
            "ram_budget bounds the workers that num_workers='auto' finds, but got ram_budget=1 with num_workers=2; use "
            "prefetch_bytes"
        ),
    ),
    (
        {"num_workers": "auto", "worker_init_fn": print},
        (
            "num_workers='auto' changes the number of workers, and what worker_init_fn makes for each could show in "
            "the batches; give a number, or leave worker_init_fn out"
        ),
    ),
    (
        {"num_workers": "auto", "multiprocessing_context": "fork"},
        (
            "num_workers='auto' starts workers while the program runs, and forks would copy what it has then; give a "
            "number, or leave multiprocessing_context='fork' out"
        ),
    ),
    pytest.param(
        {"num_workers": "auto", "backend": "ray"},
        (
            "num_workers='auto' finds the number of threads or processes of this machine, but got backend='ray'; give "
            "a number"
        ),
        marks=pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
    ),
    ({"shuffle": "yes"}, "shuffle must be True, False, None or \"block\", but got shuffle='yes'"),
    ({"shuffle": 1.0}, 'shuffle must be True, False, None or "block", but got shuffle=1.0'),
    ({"block_size": 4}, 'block_size needs shuffle="block", but got block_size=4 with shuffle=None'),
    ({"window": 4, "shuffle": True}, 'window needs shuffle="block", but got window=4 with shuffle=True'),
    *[
        ({name: value, "shuffle": "block"}, f"{name} must be a positive integer or None, but got {name}={value!r}")
        for name in ("block_size", "window")
        for value in (0, -1, 1.5, "4", True)
    ],
    ({"sampler": [1], "shuffle": "block"}, "sampler and shuffle are mutually exclusive: the sampler decides the order"),
    *[
        ({name: bad}, f"{name} must be True or False, but got {name}={bad!r}")
        for name in ("pin_memory", "drop_last", "persistent_workers", "in_order", "shard")
        for bad in (None, 1, "no")
    ],
    ({"world_size": 0, "rank": 0}, "world_size must be a positive integer or None, but got world_size=0"),
    ({"world_size": 2.0, "rank": 0}, "world_size must be a positive integer or None, but got world_size=2.0"),
    ({"world_size": 2, "rank": 2}, "rank must be an integer in [0, 1], but got rank=2"),
    ({"world_size": 2, "rank": -1}, "rank must be an integer in [0, 1], but got rank=-1"),
    ({"world_size": 2, "rank": True}, "rank must be an integer in [0, 1], but got rank=True"),
]
KINDS = [
    ({"pin_memory_device": 0}, "pin_memory_device must be a str, but got 0"),
    ({"collate_fn": 3}, "collate_fn must be a function or None, but got collate_fn=3"),
    ({"worker_init_fn": "f"}, "worker_init_fn must be a function or None, but got worker_init_fn='f'"),
    ({"sampler": 3}, "sampler must be an iterable or None, but got sampler=3"),
    ({"batch_sampler": 3}, "batch_sampler must be an iterable or None, but got batch_sampler=3"),
    (
        {"num_workers": 1, "multiprocessing_context": 3},
        "multiprocessing_context must be 'fork', 'forkserver', 'spawn', a context of multiprocessing or None, but ",
    ),
    ({"generator": 3}, GENERATOR + "3"),
    ({"generator": np.random.RandomState}, GENERATOR + "<class"),
]
EXCLUSIVE: list[Any] = [
    ({"sampler": [1], "shuffle": True}, "sampler and shuffle are mutually exclusive: the sampler decides the order"),
    *[
        ({"batch_sampler": [[1]], **more}, BATCH_SAMPLER)
        for more in ({"batch_size": 2}, {"batch_size": None}, {"shuffle": True}, {"sampler": [1]}, {"drop_last": True})
    ],
    (
        {"batch_size": None, "drop_last": True},
        "batch_size=None hands out single samples and is mutually exclusive with drop_last",
    ),
    (
        {"seed": 0, "generator": PYTHON_RANDOM},
        "seed and generator are mutually exclusive: each alone decides the epochs' seeds",
    ),
    (
        {"num_workers": 1, "multiprocessing_context": "fork", "backend": "thread"},
        "multiprocessing_context is for backend='process', but got multiprocessing_context='fork' with backend=",
    ),
    ({"shard": True}, "shard=True deals out an IterableDataset; the samples of other datasets are dealt out always"),
    ({"rank": 0}, "rank and world_size go together, but got rank=0, world_size=None"),
    ({"world_size": 2}, "rank and world_size go together, but got rank=None, world_size=2"),
    ({"rank": 0, "world_size": 2, "sampler": [1]}, RANKS_OF_SAMPLERS),
    ({"rank": 0, "world_size": 2, "batch_sampler": [[1]]}, RANKS_OF_SAMPLERS),
    (
        {"rank": 0, "world_size": 2, "batch_size": None},
        "world_size needs batches: batch_size=None hands out single samples",
    ),
    ({"rank": 0, "world_size": 2, "shuffle": True}, RANKS_SHUFFLE),
    *[
        ({name: value}, f"{name} needs num_workers > 0, but got {name}={value!r} with num_workers=0")
        for name, value in {
            "timeout": 1,
            "prefetch_factor": 2,
            "prefetch_bytes": 2,
            "persistent_workers": True,
            "multiprocessing_context": "fork",
        }.items()
    ],
]
STREAM = [
    (
        {"on_error": "replace"},
        "on_error='replace' draws another sample by its index, and an IterableDataset has none; use on_error='skip'",
    ),
    *[
        ({name: value}, f"an IterableDataset decides its own order, but got {name}={value!r}; leave {name} out")
        for name, value in (
            ("shuffle", True),
            ("sampler", [1]),
            ("sampler", []),
            ("sampler", np.array([1, 2])),
            ("batch_sampler", [[1]]),
        )
    ],
    (
        {"rank": 0, "world_size": 2},
        SEED_OF_STREAMS,
    ),
    (
        {"num_workers": "auto"},
        (
            "num_workers='auto' changes the number of workers, and the batches of an IterableDataset depend on it; "
            "give a number"
        ),
    ),
]


@pytest.mark.parametrize(("given", "text"), VALUES + EXCLUSIVE)
def test_wrong_values(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}"):
        DataLoader(range(10), **given)


@pytest.mark.parametrize(("given", "text"), KINDS)
def test_wrong_kinds(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"^{re.escape(text)}"):
        DataLoader(range(10), **given)


@pytest.mark.parametrize(("given", "text"), STREAM)
def test_what_a_stream_excludes(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        DataLoader(Stream(), **given)


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        (3, "dataset is a int without __len__ and __getitem__; a dataset is any object with both"),
        (None, "dataset is a NoneType without __len__ and __getitem__"),
        (len, "dataset is a builtin_function_or_method without __len__ and __getitem__"),
        (Unsized(), "dataset is a Unsized without __len__; a dataset is any object with both"),
        ((n for n in range(3)), "dataset is an iterator (generator), which can be gone through once; derive from"),
        (iter([1]), "dataset is an iterator (list_iterator), which can be gone through once"),
    ],
)
def test_wrong_dataset_is_refused(dataset: Any, text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"^{re.escape(text)}"):
        DataLoader(dataset)


def test_no_dataset_with_a_sampler() -> None:
    with pytest.raises(ArgumentTypeError, match=r"^dataset is a int without"):
        DataLoader(3, sampler=[1])


def test_sampler_needs_no_dataset_length() -> None:
    assert list(DataLoader(Unsized(), sampler=[3, 1], batch_size=None)) == [3, 1]


def test_a_set_is_a_stream() -> None:
    assert sorted(DataLoader({1, 2, 3}, batch_size=None)) == [1, 2, 3]


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": np.int64(4), "shuffle": np.True_, "seed": np.uint8(3)},
        {"batch_size": None, "shuffle": None},
        {"shuffle": "block"},
        {"on_error": "skip"},
        {"on_error": "replace", "max_errors": np.int64(0)},
        {"shuffle": "block", "block_size": np.int64(4), "window": 2},
        {"num_workers": np.int32(0), "timeout": 0.0, "prefetch_factor": None, "multiprocessing_context": None},
        {"generator": np.random.default_rng(0)},
        {"generator": PYTHON_RANDOM},
        {"seed": 2**200},
        {"rank": np.int64(0), "world_size": np.int64(1)},
        {"rank": 1, "world_size": 2, "shuffle": True, "generator": PYTHON_RANDOM},
        {"backend": "process", "in_order": False, "pin_memory_device": "cuda"},
        {"worker_init_fn": print},
        {
            "num_workers": "auto",
            "persistent_workers": True,
            "timeout": 60,
            "ram_budget": np.int64(1),
            "backend": "thread",
        },
        {"rank": 0, "world_size": 1, "shuffle": True},
        {"rank": 0, "world_size": 1, "sampler": [1, 2]},
        {"rank": 0, "world_size": 1, "batch_sampler": [[1, 2]]},
        {"rank": 0, "world_size": 1, "batch_size": None},
    ],
)
def test_right_values(given: dict[str, Any]) -> None:
    loader = DataLoader(range(10), **given)
    assert len(list(loader)) == len(loader)


def test_an_error_is_a_headrace_error_and_a_built_in_one() -> None:
    for kind in (HeadraceError, ValueError):
        with pytest.raises(kind, match=r"^batch_size must be"):
            DataLoader(range(10), 0)


def test_numpy_integers_become_python_ones() -> None:
    """They would come out in the state, which JSON has to take."""
    given: dict[str, Any] = {"seed": np.int64(3), "rank": np.int8(0), "world_size": np.int8(1)}
    loader = DataLoader(range(10), np.int64(4), **given)  # type: ignore[call-overload]
    assert [type(value) for value in (loader.batch_size, loader.seed, loader.rank, loader.world_size)] == [int] * 4


def test_dataset_may_be_anything_with_both_methods() -> None:
    class Own(Dataset[int]):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int, /) -> int:
            return index

    for dataset in ([0, 1], range(2), np.arange(2), {0: 0, 1: 1}, Own()):
        assert [batch.tolist() for batch in DataLoader(dataset, 2)] == [[0, 1]]
