"""Train a small convolutional network in PyTorch: a script for torch's DataLoader, with one import changed.

    python examples/torch_cifar.py

The second import of torch's would be `from torch.utils.data import DataLoader, Dataset`. Everything else is what torch
takes, and the batches are those of torch's loader, bit by bit. The images are drawn here, in CIFAR-10's shape.
"""

try:
    import torch
    from torch import nn

    from headrace.torch import DataLoader, Dataset, random_split
except ImportError:
    print("This example needs PyTorch: install it with `pip install torch`.")
    raise SystemExit(0) from None

EPOCHS, BATCH_SIZE = 4, 32


class Stripes(Dataset):  # type: ignore[misc] # torch's classes are Any to a type checker without torch
    """Noisy images of 3x32x32 bytes, with stripes of ten widths, augmented as they are read."""

    def __init__(self, count: int) -> None:
        self.labels = torch.randint(0, 10, (count,))
        waves = torch.sin(2 * torch.pi * (torch.arange(32) / (3 + 1.5 * self.labels[:, None]) + torch.rand(count, 1)))
        images = 128 + 60 * waves[:, None, None, :] + 20 * torch.randn(count, 3, 32, 32)
        self.images = images.clamp(0, 255).to(torch.uint8)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = self.images[index]
        if torch.rand(()) < 0.5:
            image = image.flip(2)
        return image.float() / 127.5 - 1, self.labels[index]


torch.manual_seed(0)
training, test = random_split(Stripes(896), [768, 128])
training_loader = DataLoader(training, batch_size=BATCH_SIZE, shuffle=True, num_workers=2, persistent_workers=True)
test_loader = DataLoader(test, batch_size=256)

model = nn.Sequential(
    *(nn.Conv2d(3, 8, 4, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 4, stride=2), nn.ReLU()),
    *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 10)),
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(EPOCHS):
    for images, labels in training_loader:
        optimizer.zero_grad()
        loss = loss_fn(model(images), labels)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = sum((model(images).argmax(dim=1) == labels).sum().item() for images, labels in test_loader)
    print(f"epoch {epoch}  loss {loss.item():.3f}  test accuracy {right / len(test):.1%}")
