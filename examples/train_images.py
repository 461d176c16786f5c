"""Train from a tar archive of JPEGs: a folder of images is written once, and read in any order from then on.

    python examples/train_images.py

The photos show stripes that lie, lean or stand. Writing copies the JPEG files as they are, and a label beside each. An
index says where each of them lies, so a shuffled epoch needs neither unpacked files nor a buffer of samples, and two
workers decode ahead of the training loop.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from headrace import (
    Compose,
    DataLoader,
    Decode,
    ImageFolder,
    RandomResizedCrop,
    Resize,
    TarDataset,
    ToFloat,
    write_dataset,
)

try:
    from PIL import Image
except ImportError:
    print("This example needs Pillow: install it with `pip install 'headrace[images]'`.")
    raise SystemExit(0) from None

# How quickly stripes change downwards and to the right.
CLASSES = {"leaning": (1, 1), "lying": (1, 0), "standing": (0, 1)}
SIDE, EPOCHS, BATCH_SIZE, LEARNING_RATE = 16, 4, 30, 0.5

# ---- a folder for each class, with 200 JPEGs of 96x64 pixels

rng = np.random.default_rng(0)
rows, columns = np.mgrid[:64, :96]


def photo(down: int, right: int) -> Any:
    wave = np.sin(2 * np.pi * ((rows * down + columns * right) / rng.uniform(16, 24) + rng.random()))
    pixels = 128 + 40 * wave[..., None] + rng.normal(0, 60, (64, 96, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


scratch = TemporaryDirectory()
folder = Path(scratch.name)
for name, direction in CLASSES.items():
    (folder / "photos" / name).mkdir(parents=True)
    for number in range(200):
        photo(*direction).save(folder / "photos" / name / f"{number:03d}.jpg")

# ---- the archive, and what is read from it: every fifth photo is held back

photos = ImageFolder(folder / "photos")
written = write_dataset(photos, folder / "photos.tar")
print(f"wrote {written.samples} photos of {', '.join(photos.classes)}: {written.bytes / 1e6:.1f} MB")

samples = TarDataset(folder / "photos.tar", decode={"cls": int}, fields=["jpg", "cls"])
held_back = np.arange(len(samples)) % 5 == 0
augment = Compose([Decode(), RandomResizedCrop(SIDE, scale=(0.5, 1)), ToFloat()])
training = samples.subset(np.flatnonzero(~held_back)).map(augment, field="jpg")
test = samples.subset(np.flatnonzero(held_back)).map(Compose([Decode(), Resize((SIDE, SIDE)), ToFloat()]), field="jpg")

# ---- the model: how strong each frequency is, and a score for each class from that


def strengths(images: Any) -> Any:
    return np.log1p(np.abs(np.fft.rfft2(images.mean(axis=-1)))).reshape(len(images), -1)


def probabilities(weights: Any, images: Any) -> Any:
    scores = strengths(images) @ weights
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


# ---- the loop

weights = np.zeros((SIDE * (SIDE // 2 + 1), len(CLASSES)))
loader = DataLoader(training, BATCH_SIZE, shuffle=True, seed=0, num_workers=2)
for epoch in range(EPOCHS):
    losses = []
    for batch in loader:
        wrong = probabilities(weights, batch["jpg"]) - np.eye(len(CLASSES))[batch["cls"]]
        losses.append(-np.log(1 - np.abs(wrong).sum(axis=1) / 2).mean())
        weights -= LEARNING_RATE / BATCH_SIZE * strengths(batch["jpg"]).T @ wrong
    right = sum((probabilities(weights, b["jpg"]).argmax(axis=1) == b["cls"]).sum() for b in DataLoader(test, 60))
    print(f"epoch {epoch}  loss {np.mean(losses):.3f}  test accuracy {right / len(test):.1%}")

# ---- one batch again, as it was

batch = loader.batch(step=3, epoch=1)
print(f"batch 3 of epoch 1 is {batch['jpg'].dtype} {batch['jpg'].shape}, of classes {batch['cls'].tolist()}")
scratch.cleanup()
