"""A TinyTorch training loop with one changed import.

    python examples/train_tinytorch.py

TinyTorch's tensors are boxes around an ndarray. The loader takes such boxes and hands out batches in the same boxes.
A small Tensor with gradients stands here for TinyTorch's own, so that this file needs nothing but NumPy.
"""

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from headrace import DataLoader, TensorDataset  # was: from tinytorch.core.dataloader import DataLoader, TensorDataset

# ---- a tensor: an array in a box, which knows what it was made of


class Tensor:
    def __init__(self, data: Any, *sources: tuple["Tensor", Callable[[Any], Any]]) -> None:
        self.data = np.asarray(data, np.float32)
        self.shape = self.data.shape
        self.grad = np.zeros(self.shape, np.float32)
        self.sources = sources  # each with its gradient, given that of this tensor

    def backward(self, grad: Any = 1.0) -> None:
        self.grad += grad
        for source, backward in self.sources:
            source.backward(backward(grad))


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out = x.data @ weight.data + bias.data
    return Tensor(out, (x, lambda g: g @ weight.data.T), (weight, lambda g: x.data.T @ g), (bias, lambda g: g.sum(0)))


def relu(x: Tensor) -> Tensor:
    return Tensor(np.maximum(x.data, 0), (x, lambda g: g * (x.data > 0)))


def loss_fn(predictions: Tensor, labels: Tensor) -> Tensor:
    p = np.exp(predictions.data - predictions.data.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    truth = np.eye(p.shape[1])[labels.data.astype(int)]
    return Tensor(-(truth * np.log(p)).sum(axis=1).mean(), (predictions, lambda g: g * (p - truth) / len(p)))


class SGD:
    def __init__(self, parameters: list[Tensor], rate: float) -> None:
        self.parameters, self.rate = parameters, rate

    def step(self) -> None:
        for parameter in self.parameters:
            parameter.data -= self.rate * parameter.grad
            parameter.grad[...] = 0


# ---- two spirals, one a class, and a network with one hidden layer

rng = np.random.default_rng(0)
turn, y_train = rng.random(1000) * 4, rng.integers(0, 2, 1000)
angle = turn + np.pi * y_train
X_train = np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1) / 2 + rng.normal(0, 0.05, (1000, 2))

w1, b1, w2, b2 = (Tensor(rng.normal(0, 0.7, shape)) for shape in ((2, 32), 32, (32, 2), 2))


def model(x: Tensor) -> Tensor:
    return linear(relu(linear(x, w1, b1)), w2, b2)


# ---- TinyTorch's loop, word for word

random.seed(0)  # decides the order of the samples
optimizer = SGD([w1, b1, w2, b2], rate=0.3)
dataset = TensorDataset(Tensor(X_train), Tensor(y_train))
train_loader = DataLoader(dataset, batch_size=32, shuffle=True)

for epoch in range(30):
    right, losses = 0, []
    for batch_features, batch_labels in train_loader:
        predictions = model(batch_features)
        loss = loss_fn(predictions, batch_labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.data))
        right += int((predictions.data.argmax(axis=1) == batch_labels.data).sum())
    if epoch % 10 == 9:
        print(f"epoch {epoch}  loss {np.mean(losses):.3f}  accuracy {right / len(dataset):.1%}")
print(f"a batch is a pair of {type(batch_features).__name__}s: {batch_features.shape}, {batch_labels.shape}")
