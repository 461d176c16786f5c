"""Train a small network in NumPy, stop in the middle of an epoch, and go on as if nothing had happened.

    python examples/train_numpy.py

The images are stripes, and the four classes are how wide they are. Mirroring an image or shifting it by a few pixels
changes no stripe's width, so the loader does both at random, anew in each epoch. All of that randomness follows from
the loader's seed, the epoch and the image's index. So the whole position of a training run is a few integers: the run
that was stopped and the run that was not end with the same weights, bit for bit.
"""

import json
from itertools import chain, islice
from typing import Any

import numpy as np

from headrace import Compose, DataLoader, Normalize, RandomCrop, RandomHorizontalFlip, TensorDataset, ToFloat

EPOCHS, BATCH_SIZE, LEARNING_RATE, HIDDEN = 6, 50, 0.05, 64

# ---- the data: 5000 noisy images of 16x16 bytes, of which 1000 are held back

rng = np.random.default_rng(0)
labels = rng.integers(0, 4, 5000)
widths = np.array([3, 4, 6, 9])[labels]
waves = np.sin(2 * np.pi * (np.arange(16) / widths[:, None] + rng.random((5000, 1))))
images = (128 + 40 * waves[:, None, :] + rng.normal(0, 100, (5000, 16, 16))).clip(0, 255).astype(np.uint8)

to_numbers = Compose([ToFloat(), Normalize(mean=0.5, std=0.2)])
augment = Compose([RandomCrop(16, padding=2), RandomHorizontalFlip(), to_numbers])
training = TensorDataset(images[:4000], labels[:4000]).map(augment, field=0)
test = TensorDataset(images[4000:], labels[4000:]).map(to_numbers, field=0)


def new_loader() -> DataLoader[Any]:
    return DataLoader(training, batch_size=BATCH_SIZE, shuffle=True, seed=1)


# ---- the network: 256 pixels -> 64 features -> 4 scores, and its gradient written out


def new_weights() -> list[Any]:
    start = np.random.default_rng(2)
    return [start.normal(0, 0.06, (256, HIDDEN)), np.zeros(HIDDEN), start.normal(0, 0.12, (HIDDEN, 4)), np.zeros(4)]


def scores(weights: list[Any], x: Any) -> tuple[Any, Any]:
    hidden = np.maximum(x.reshape(len(x), -1) @ weights[0] + weights[1], 0)
    return hidden, hidden @ weights[2] + weights[3]


def learn(weights: list[Any], x: Any, y: Any) -> float:
    hidden, out = scores(weights, x)
    p = np.exp(out - out.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[range(len(y)), y]).mean()
    p[range(len(y)), y] -= 1  # now the gradient of the scores, times the batch size
    back = (p @ weights[2].T) * (hidden > 0)
    gradients = x.reshape(len(x), -1).T @ back, back.sum(axis=0), hidden.T @ p, p.sum(axis=0)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight -= LEARNING_RATE / len(y) * gradient
    return float(loss)


# ---- one run without a stop

weights, loader = new_weights(), new_loader()
for epoch in range(EPOCHS):
    losses = [learn(weights, x, y) for x, y in loader]
    right = sum((scores(weights, x)[1].argmax(axis=1) == y).sum() for x, y in DataLoader(test, batch_size=500))
    print(f"epoch {epoch}  loss {np.mean(losses):.3f}  test accuracy {right / len(test):.1%}")

# ---- the same run, stopped in the middle of epoch 2 and continued by another loader

stopped, loader = new_weights(), new_loader()
batches = chain.from_iterable(loader for _ in range(EPOCHS))
for x, y in islice(batches, 190):
    learn(stopped, x, y)
saved = json.dumps(loader.state_dict())  # and the weights, were this another process
print(f"stopped at {saved}")

loader = new_loader()
loader.load_state_dict(json.loads(saved))
for _ in range(2, EPOCHS):
    for x, y in loader:  # first the rest of epoch 2, then the others
        learn(stopped, x, y)
print(f"same weights as without the stop: {all(map(np.array_equal, weights, stopped))}")
