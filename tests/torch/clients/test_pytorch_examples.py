"""The loops of pytorch/examples, cut down: each with torch's import and with headrace's trains to the same loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.torch.clients.processes import run_on_ranks  # noqa: E402
from tests.torch.oracle import ours, theirs  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("by_value")


class Digits(theirs.Dataset):
    """Pictures as torchvision's MNIST gives them: made of an array by a transform that may draw."""

    def __init__(self, length: int = 40, transform: Callable[[Any], Any] | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        self.data = torch.randint(256, (length, 8, 8), dtype=torch.uint8, generator=generator)
        self.targets = torch.arange(length) % 10
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = self.data[index].numpy()
        return self.transform(image) if self.transform else image, int(self.targets[index])


def to_tensor(image: Any) -> Any:
    return torch.from_numpy(image).float().div(255).unsqueeze(0)


def noisy(image: Any) -> Any:
    return to_tensor(image) + 0.1 * torch.randn(1, 8, 8)


def train(model: Any, loader: Any, loss_of: Callable[[Any, Any], Any]) -> list[float]:
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    losses = []
    model.train()
    for batch in loader:
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def mnist(module: Any) -> list[Any]:
    """`mnist/main.py`: keyword dicts for both loaders, dropout, an evaluation over the whole set."""
    train_kwargs = {"batch_size": 8, "num_workers": 1, "pin_memory": False, "shuffle": True}
    train_loader = module.DataLoader(Digits(transform=noisy), **train_kwargs)
    test_loader = module.DataLoader(Digits(transform=to_tensor), batch_size=16)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.25), nn.Linear(64, 10))
    found: list[Any] = []
    for _ in range(2):
        found += train(model, train_loader, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))
        model.eval()
        correct = 0
        with torch.no_grad():
            for data, target in test_loader:
                correct += model(data).argmax(dim=1, keepdim=True).eq(target.view_as(target)).sum().item()
        found += [correct / len(test_loader.dataset), len(train_loader)]
    return found


def imagenet(module: Any) -> list[Any]:
    """`imagenet/main.py`: a sampler or a shuffle, `sampler=None` by name, a Subset after a distributed validation."""
    train_dataset, val_dataset = Digits(transform=to_tensor), Digits(19, transform=to_tensor)
    train_sampler = module.DistributedSampler(train_dataset, num_replicas=2, rank=1)
    val_sampler = module.DistributedSampler(val_dataset, num_replicas=2, rank=1, shuffle=False, drop_last=True)
    train_loader = module.DataLoader(
        train_dataset,
        batch_size=4,
        shuffle=(train_sampler is None),
        num_workers=2,
        pin_memory=False,
        sampler=train_sampler,
    )
    val_loader = module.DataLoader(val_dataset, batch_size=4, shuffle=False, num_workers=0, sampler=val_sampler)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    found: list[Any] = []
    for epoch in range(2):
        train_sampler.set_epoch(epoch)
        found += train(model, train_loader, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))
    seen = [target for _, batch in val_loader for target in batch.tolist()]
    if len(val_loader.sampler) * 2 < len(val_loader.dataset):
        rest = module.Subset(val_loader.dataset, range(len(val_loader.sampler) * 2, len(val_loader.dataset)))
        seen += [target for _, batch in module.DataLoader(rest, batch_size=4, shuffle=False) for target in batch]
    return [*found, *map(int, seen)]


def word_language_model(module: Any) -> list[Any]:
    """`word_language_model/main.py`, whose batches are rows of a long text: windows of it as a dataset."""
    text = torch.arange(101) % 17
    windows = module.TensorDataset(text[:-1].view(-1, 10), text[1:].view(-1, 10))
    loader = module.DataLoader(windows, batch_size=5, drop_last=True)
    model = nn.Sequential(nn.Embedding(17, 8), nn.Dropout(0.2), nn.Linear(8, 17))
    found: list[Any] = []
    for _ in range(2):
        found += train(
            model, loader, lambda model, batch: F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())
        )
    return found


class Pairs(theirs.Dataset):
    """Pairs of pictures of the same class and of different ones, as `siamese_network/main.py` draws them."""

    def __init__(self) -> None:
        self.digits = Digits()
        self.of_class = {label: np.flatnonzero(self.digits.targets == label) for label in range(10)}

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> tuple[Any, Any, Any]:
        label = int(self.digits.targets[index])
        other = label if index % 2 else (label + int(torch.randint(1, 10, ()))) % 10
        match = int(np.random.choice(self.of_class[other]))
        images = (to_tensor(self.digits.data[at].numpy()) for at in (index, match))
        return (*images, torch.tensor(float(other == label)))


def siamese_network(module: Any) -> list[Any]:
    loader = module.DataLoader(Pairs(), shuffle=True, batch_size=10, num_workers=1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))

    def loss_of(model: Any, batch: Any) -> Any:
        one, two, targets = batch
        return F.binary_cross_entropy_with_logits(-(model(one) - model(two)).square().sum(1), targets)

    return train(model, loader, loss_of) + train(model, loader, loss_of)


def vae(module: Any) -> list[Any]:
    """`vae/main.py`: noise from the program's generator between the batches, and `enumerate` with labels unused."""
    loader = module.DataLoader(Digits(transform=to_tensor), batch_size=16, shuffle=True)
    model = nn.Linear(64, 64)
    losses: list[float] = []
    for _ in range(2):
        for _, (data, _) in enumerate(loader):
            flat = data.view(-1, 64)
            loss = F.mse_loss(model(flat) + torch.randn_like(flat), flat)
            loss.backward()
            losses.append(loss.item())
    return losses


def dcgan(module: Any) -> list[Any]:
    """`dcgan/main.py`: pairs of which only the first is used, `enumerate(loader, 0)`, sizes of the last batch."""
    loader = module.DataLoader(Digits(transform=to_tensor), batch_size=16, shuffle=True, num_workers=2)
    return [data[0].size(0) for _ in range(2) for _, data in enumerate(loader, 0)]


def super_resolution(module: Any) -> list[Any]:
    """`super_resolution/main.py`: two sets with a transform for what goes in and one for what is to come out."""

    class Pairs(module.Dataset):
        def __init__(self, digits: Digits) -> None:
            self.digits = digits

        def __getitem__(self, index: int) -> Any:
            image = to_tensor(self.digits.data[index].numpy())
            return image[:, ::2, ::2], image.clone()

        def __len__(self) -> int:
            return len(self.digits)

    training = module.DataLoader(dataset=Pairs(Digits()), num_workers=2, batch_size=8, shuffle=True)
    testing = module.DataLoader(dataset=Pairs(Digits(9)), num_workers=2, batch_size=4, shuffle=False)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2))
    found = train(model, training, lambda model, batch: F.mse_loss(model(batch[0]), batch[1]))
    for batch in testing:
        found.append(F.mse_loss(model(batch[0]), batch[1]).item() / len(testing))
    return found


def mnist_forward_forward(module: Any) -> list[Any]:
    """`mnist_forward_forward/main.py`: one batch of all samples, taken by `next(iter(loader))`."""
    kwargs: dict[str, Any] = {"batch_size": 40}
    kwargs.update({"num_workers": 1, "pin_memory": True, "shuffle": True})
    x, y = next(iter(module.DataLoader(Digits(transform=to_tensor), **kwargs)))
    positive = x.flatten(1).clone()
    positive[range(len(y)), y] = x.max()
    shuffled = y[torch.randperm(len(y))]
    return [positive.sum().item(), shuffled.tolist()]


def min_gpt(module: Any) -> list[Any]:
    """`distributed/minGPT-ddp/mingpt/trainer.py`: a split, and the same loader for both parts with a sampler."""
    text = torch.arange(120) % 17
    windows = module.TensorDataset(text[:-1].unfold(0, 8, 8), text[1:].unfold(0, 8, 8))
    lengths = [int(len(windows) * 0.8), len(windows) - int(len(windows) * 0.8)]
    found: list[Any] = []
    model = nn.Sequential(nn.Embedding(17, 8), nn.Linear(8, 17))
    for part in module.random_split(windows, lengths):
        sampler = module.DistributedSampler(part, num_replicas=2, rank=0)
        loader = module.DataLoader(part, batch_size=4, pin_memory=True, shuffle=False, num_workers=1, sampler=sampler)
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            found += train(
                model, loader, lambda model, batch: F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())
            )
    return found


def language_translation(module: Any) -> list[Any]:
    """`language_translation/main.py`: a stream of pairs of sentences, padded by a `collate_fn`."""

    class Sentences(module.IterableDataset):
        def __iter__(self) -> Any:
            return (("a b c"[: 1 + 2 * (at % 3)], "d e"[: 1 + 2 * (at % 2)]) for at in range(10))

    def collate(batch: Any) -> Any:
        sides: Any = ([], [])
        for pair in batch:
            for side, sentence in zip(sides, pair, strict=True):
                side.append(torch.tensor([ord(word) for word in sentence.split()]))
        return tuple(nn.utils.rnn.pad_sequence(side, padding_value=1) for side in sides)

    loader = module.DataLoader(Sentences(), batch_size=4, collate_fn=collate)
    return [(source.tolist(), target.tolist()) for source, target in loader]


def mnist_hogwild(module: Any) -> list[Any]:
    """`mnist_hogwild/train.py`: each of several trainers has a loader of its own, and a seed."""
    found: list[Any] = []
    for rank in range(2):
        torch.manual_seed(1 + rank)
        loader = module.DataLoader(Digits(transform=noisy), batch_size=8, shuffle=True)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        for _ in range(2):
            found += train(model, loader, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))
    return found


LOOPS = [mnist, imagenet, word_language_model, siamese_network, vae, dcgan, super_resolution, mnist_forward_forward]
LOOPS += [min_gpt, language_translation, mnist_hogwild]


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator")
@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_an_example_runs_with_the_import_changed(loop: Callable[[Any], list[Any]]) -> None:
    found = []
    for module in (theirs, ours):
        torch.manual_seed(1)
        np.random.seed(1)
        found.append([*loop(module), float(torch.rand(()))])
    assert found[0] == found[1]


def ddp_on_rank(rank: int, world_size: int) -> list[Any]:
    """`distributed/ddp-tutorial-series/multigpu.py`: a DistributedSampler that asks the process group."""
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world_size)
    found = []
    for module in (theirs, ours):
        dataset = Digits(transform=to_tensor)
        loader = module.DataLoader(
            dataset, batch_size=4, pin_memory=False, shuffle=False, sampler=module.DistributedSampler(dataset)
        )
        torch.manual_seed(1)
        model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
        losses = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            losses += train(model, loader, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))
        found.append(losses)
        del model  # before the group that it talks through, without which its end can hang
    torch.distributed.destroy_process_group()
    return found


def test_ddp_runs_with_the_import_changed() -> None:
    for theirs_losses, ours_losses in run_on_ranks(ddp_on_rank, 2):
        assert theirs_losses == ours_losses
