"""Train a small convolutional network in PyTorch, then look again at the batch that it found hardest.

    python examples/train_torch.py

Torch tensors go in, so torch tensors come out. Any batch of any epoch can be asked for by its number, so a spike in
the loss is no riddle: `loader.batch(step, epoch)` is the very batch behind it, augmentation included.
"""

import numpy as np

from headrace import Compose, DataLoader, Normalize, RandomCrop, RandomHorizontalFlip, TensorDataset, ToFloat

try:
    import torch
    from torch import nn
except ImportError:
    print("This example needs PyTorch: install it with `pip install torch`.")
    raise SystemExit(0) from None

# ---- the data: noisy images with stripes of four widths, 16x16 bytes each

rng = np.random.default_rng(0)
labels = rng.integers(0, 4, 3000)
widths = np.array([3, 4, 6, 9])[labels]
waves = np.sin(2 * np.pi * (np.arange(16) / widths[:, None] + rng.random((3000, 1))))
images = (128 + 40 * waves[:, None, :] + rng.normal(0, 50, (3000, 16, 16))).clip(0, 255).astype(np.uint8)
x_all, y_all = torch.from_numpy(images[:, None]), torch.from_numpy(labels)

to_numbers = Compose([ToFloat(), Normalize(mean=0.5, std=0.2)])
augment = Compose([RandomCrop(16, padding=2), RandomHorizontalFlip(), to_numbers])
training = TensorDataset(x_all[:2500], y_all[:2500]).map(augment, field=0)
test = TensorDataset(x_all[2500:], y_all[2500:]).map(to_numbers, field=0)

# ---- the model

torch.manual_seed(0)
model = nn.Sequential(
    *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Flatten(), nn.Linear(256, 4)),
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
loss_fn = nn.CrossEntropyLoss()

# ---- the loop

loader = DataLoader(training, batch_size=50, shuffle=True, seed=0)
worst = (0.0, 0, 0)  # loss, epoch, step
for epoch in range(4):
    losses = []
    for step, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if epoch > 0:  # in the first one every batch is hard
            worst = max(worst, (loss.item(), epoch, step))
    with torch.no_grad():
        right = sum((model(x).argmax(dim=1) == y).sum().item() for x, y in DataLoader(test, batch_size=500))
    print(f"epoch {epoch}  loss {np.mean(losses):.3f}  test accuracy {right / len(test):.1%}")

# ---- the batch behind the spike

loss, epoch, step = worst
x, y = loader.batch(step, epoch)
print(f"hardest batch: epoch {epoch}, step {step}, loss {loss:.3f}")
print(f"it is {type(x).__module__}.{type(x).__name__} {tuple(x.shape)} with {torch.bincount(y, minlength=4).tolist()}")
print(f"waiting for data took {loader.stats().wait_share:.0%} of the time")
