"""Loaders that derive from torch's as others' do: each pattern with headrace's as its base gives the same batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from tests.torch.oracle import assert_same, ours, theirs  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BASES = (theirs.DataLoader, ours.DataLoader)
pytestmark = pytest.mark.usefixtures("by_value")


class Collater:
    """Makes one object of the samples, as PyTorch Geometric makes a large graph of small ones."""

    def __init__(self, follow: list[str]) -> None:
        self.follow = follow

    def __call__(self, samples: list[int]) -> dict[str, Any]:
        return {"x": torch.tensor(samples), "follow": self.follow}


def geometric(base: Any) -> Any:
    """Sets attributes before the constructor of the base, and gives it a collate_fn of its own."""

    class Loader(base):
        def __init__(self, dataset: Any, batch_size: int = 1, shuffle: bool = False, **kwargs: Any) -> None:
            kwargs.pop("collate_fn", None)
            self.follow_batch = ["x"]
            super().__init__(dataset, batch_size, shuffle, collate_fn=Collater(self.follow_batch), **kwargs)

    return Loader(range(10), 3, shuffle=True)


def neighbours(base: Any) -> Any:
    """Changes each batch in `_get_iterator`, and replaces `worker_init_fn` for a while, as its NodeLoader does."""

    class Changed:
        def __init__(self, iterator: Any, change: Callable[[Any], Any]) -> None:
            self.iterator, self.change = iterator, change

        def __iter__(self) -> Iterator[Any]:
            return self

        def __len__(self) -> int:
            return len(self.iterator)

        def _reset(self, loader: Any, first_iter: bool = False) -> None:
            self.iterator._reset(loader, first_iter)

        def __next__(self) -> Any:
            return self.change(next(self.iterator))

    class Loader(base):
        def __init__(self, nodes: Any, **kwargs: Any) -> None:
            self.nodes = nodes
            super().__init__(range(len(nodes)), collate_fn=self.collate_nodes, **kwargs)

        def collate_nodes(self, indices: list[int]) -> Any:
            return self.nodes[indices]

        def _get_iterator(self) -> Any:
            return Changed(super()._get_iterator(), lambda batch: batch * 2)

        def __call__(self, indices: list[int]) -> Any:
            return self.collate_nodes(indices)

    loader = Loader(torch.arange(10.0), batch_size=4, shuffle=True)
    before, loader.worker_init_fn = loader.worker_init_fn, lambda worker: None
    loader.worker_init_fn = before
    return loader


def medical(base: Any) -> Any:
    """Passes all by name and a `worker_init_fn` of its own, as MONAI's does."""

    class Loader(base):
        def __init__(self, dataset: Any, num_workers: int = 0, **kwargs: Any) -> None:
            kwargs.setdefault("worker_init_fn", abs)
            super().__init__(dataset=dataset, num_workers=num_workers, **kwargs)

    return Loader(list(range(10)), num_workers=2, batch_size=4, shuffle=True)


def medical_in_a_thread(base: Any) -> Any:
    """Wraps `super().__iter__()` in a generator."""

    class Loader(base):
        def __iter__(self) -> Iterator[Any]:
            for batch in super().__iter__():
                for _ in range(2):
                    yield batch

    return Loader(list(range(10)), batch_size=4)


class Repeating:
    """A batch sampler without end."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from iter(self.sampler)


def infinite(base: Any) -> Any:
    """One iterator for all epochs over a batch sampler put in past `__setattr__`, as ultralytics has it."""

    class Loader(base):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            object.__setattr__(self, "batch_sampler", Repeating(self.batch_sampler))
            self.iterator = super().__iter__()

        def __len__(self) -> int:
            return len(self.batch_sampler.sampler)

        def __iter__(self) -> Iterator[Any]:
            for _ in range(len(self)):
                yield next(self.iterator)

        def reset(self) -> None:
            self.iterator = self._get_iterator()

    return Loader(list(range(10)), batch_size=4, shuffle=True)


def multi_epoch(base: Any) -> Any:
    """Replaces the samplers while torch's guard is off, as timm's MultiEpochsDataLoader does."""

    class Loader(base):
        sampler: Any
        batch_sampler: Any

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._DataLoader__initialized = False
            if self.batch_sampler is None:
                self.sampler = Repeating(self.sampler)
            else:
                self.batch_sampler = Repeating(self.batch_sampler)
            self._DataLoader__initialized = True
            self.iterator = super().__iter__()

        def __len__(self) -> int:
            return len(self.sampler) if self.batch_sampler is None else len(self.batch_sampler.sampler)

        def __iter__(self) -> Iterator[Any]:
            for _ in range(len(self)):
                yield next(self.iterator)

    return Loader(list(range(10)), batch_size=4, shuffle=True)


PATTERNS = [geometric, neighbours, medical, medical_in_a_thread, infinite, multi_epoch]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
def test_a_derived_loader_gives_the_same_batches(pattern: Callable[[Any], Any]) -> None:
    found = []
    for base in BASES:
        torch.manual_seed(2)
        loader = pattern(base)
        found.append([len(loader), *(list(loader) for _ in range(2))])
    assert_same(*found)


def test_an_infinite_loader_is_reset() -> None:
    """And its workers are looked at, as ultralytics' `close` does."""
    loader = infinite(ours.DataLoader)
    list(loader)
    loader.reset()
    assert len(list(loader)) == 3
    assert not hasattr(loader.iterator, "_workers")
    loader.iterator._shutdown_workers()


def prefetching(loader: Any) -> list[Any]:
    """The recipe of timm's PrefetchLoader: uint8 images collated by a function of its own, normalised afterwards."""
    mean, std = torch.tensor([127.5]).view(1, 1, 1, 1), torch.tensor([64.0]).view(1, 1, 1, 1)
    found = [loader.sampler.__class__.__name__, len(loader), len(loader.dataset)]
    for images, target in loader:
        found.append((images.to(torch.float32).sub_(mean).div_(std), target.to("cpu")))
    return found


def fast_collate(batch: list[Any]) -> tuple[Any, Any]:
    """As timm's: arrays of images into one uint8 tensor, targets into int64."""
    targets = torch.tensor([each[1] for each in batch], dtype=torch.int64)
    tensor = torch.zeros((len(batch), *batch[0][0].shape), dtype=torch.uint8)
    for at, (image, _) in enumerate(batch):
        tensor[at] += torch.from_numpy(image)
    return tensor, targets


def check_worker(worker_id: int) -> None:
    """As timm's worker_init_fn asserts."""
    info = torch.utils.data.get_worker_info()
    assert info.id == worker_id


class Photos:
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return torch.full((1, 4, 4), index, dtype=torch.uint8).numpy(), index


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_recipe_of_timm(num_workers: int) -> None:
    found = []
    for base in BASES:
        torch.manual_seed(2)
        loader = base(
            Photos(),
            batch_size=4,
            shuffle=True,
            num_workers=num_workers,
            sampler=None,
            collate_fn=fast_collate,
            pin_memory=False,
            drop_last=True,
            worker_init_fn=check_worker,
            persistent_workers=bool(num_workers),
        )
        found.append(prefetching(loader))
    assert_same(*found)


def test_timms_own_loader_takes_headraces() -> None:
    loaders: Any = pytest.importorskip("timm.data.loader")
    loader = ours.DataLoader(Photos(), batch_size=5, collate_fn=fast_collate)
    wrapped = loaders.PrefetchLoader(loader, mean=(0.5,), std=(0.25,), channels=1, device=torch.device("cpu"))
    assert [target.tolist() for _, target in wrapped] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert len(wrapped) == 2
