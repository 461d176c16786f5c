"""A small convolutional network in NumPy, with its training, in one readable file.

A convolution is a `Dense` layer that looks at every patch of the image, so four kinds of layer are enough::

    (n, 8, 8, 1)  -> Patches -> Dense -> ReLU    16 features of every 3x3 patch
    (n, 6, 6, 16) -> Patches -> Dense -> ReLU    32 features of every 3x3 patch of those
    (n, 4, 4, 32) -> Patches -> Dense -> ReLU    32 features again, each of which has seen 7x7 pixels
    (n, 2, 2, 32) -> Flatten -> Dense            one score a digit

Every layer answers two questions. `forward`: what comes out? `backward`: given how the loss changes with what
came out, how does it change with what went in, and with the layer's own parameters? Going through the layers
forwards and then backwards gives the gradient of the loss, and `Adam` follows it downhill.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Labels = NDArray[np.integer[Any]]

__all__ = [
    "Adam",
    "Dense",
    "Flatten",
    "Network",
    "Parameter",
    "Patches",
    "ReLU",
    "cross_entropy",
    "digits_network",
]


@dataclass
class Parameter:
    """Numbers that are learned, and how the loss changes with each of them."""

    value: Floats
    grad: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.grad = np.zeros_like(self.value)


class _Layer(Protocol):
    """One step of a network. `backward` refers to the latest `forward`, whose input the layer remembers."""

    @property
    def parameters(self) -> Sequence[Parameter]:
        """The parameters that the layer learns."""
        ...

    def forward(self, x: Floats) -> Floats:
        """Return the layer's output for input `x`."""
        ...

    def backward(self, grad: Floats) -> Floats:
        """Take the loss's gradient by the output, store it by the parameters, return it by the input."""
        ...


class Dense:
    """A weighted sum of the last axis: `x @ weight + bias`.

    Args:
        inputs: length of the last axis that goes in.
        outputs: length of the last axis that comes out.
        rng: where the first weights come from, scaled for ReLU (He et al. 2015, https://arxiv.org/abs/1502.01852).

    """

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator) -> None:
        scale = np.float32(math.sqrt(2 / inputs))
        self.weight = Parameter(scale * rng.standard_normal((inputs, outputs), dtype=np.float32))
        self.bias = Parameter(np.zeros(outputs, dtype=np.float32))
        self.parameters = (self.weight, self.bias)

    # Every image is a small product of its own. The linear algebra library would spread a large one over
    # several threads, which on a busy machine wait for each other for longer than they compute.

    def forward(self, x: Floats) -> Floats:
        """Return the weighted sums, one for each output."""
        self._shape = x.shape
        self._rows = x.reshape(len(x), -1, x.shape[-1])
        sums = self._rows @ self.weight.value + self.bias.value
        return sums.reshape(*x.shape[:-1], -1)

    def backward(self, grad: Floats) -> Floats:
        """Store the gradient by weight and bias, and return it by the input."""
        rows = grad.reshape(len(grad), -1, grad.shape[-1])
        self.weight.grad = (self._rows.transpose(0, 2, 1) @ rows).sum(axis=0)
        self.bias.grad = rows.sum(axis=(0, 1))
        return (rows @ self.weight.value.T).reshape(self._shape)


class Patches:
    """Every square patch of an image, each laid out as one row. A `Dense` layer behind it is a convolution.

    From shape (n, h, w, c) to (n, h - size + 1, w - size + 1, size * size * c): nothing is padded.

    Args:
        size: rows and columns of a patch.

    """

    parameters = ()

    def __init__(self, size: int) -> None:
        self.size = size

    def forward(self, x: Floats) -> Floats:
        """Return the patches. Neighbours overlap, so most pixels are in several of them."""
        self._shape = x.shape
        patches = sliding_window_view(x, (self.size, self.size), axis=(1, 2))
        patches = patches.transpose(0, 1, 2, 4, 5, 3)  # channels last, so that copies run along memory
        return patches.reshape(*patches.shape[:3], -1)

    def backward(self, grad: Floats) -> Floats:
        """Return for every pixel the sum of the gradients by the patches it is in."""
        images, height, width, _ = grad.shape
        by_place = grad.reshape(images, height, width, self.size, self.size, -1)
        total = np.zeros(self._shape, dtype=grad.dtype)
        for row in range(self.size):
            for column in range(self.size):
                total[:, row : row + height, column : column + width] += by_place[:, :, :, row, column]
        return total


class ReLU:
    """Keeps what is positive and turns the rest into 0."""

    parameters = ()

    def forward(self, x: Floats) -> Floats:
        """Return the positive part."""
        self._positive = x > 0
        return x * self._positive

    def backward(self, grad: Floats) -> Floats:
        """Return the gradient where the input was positive, else 0."""
        return grad * self._positive


class Flatten:
    """Lays each image out as one row: (n, ...) -> (n, values)."""

    parameters = ()

    def forward(self, x: Floats) -> Floats:
        """Return the rows."""
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, grad: Floats) -> Floats:
        """Return the gradient in the shape of the images."""
        return grad.reshape(self._shape)


def cross_entropy(scores: Floats, labels: Labels) -> tuple[float, Floats]:
    """Return how surprised the scores are by the labels, and the gradient by the scores.

    Args:
        scores: shape (n, classes); their softmax is the probability given to each class.
        labels: the right class of each row, shape (n,).

    Returns:
        The mean of -log(probability given to the right class), and its gradient, shaped as the scores.

    Examples:
        >>> loss, grad = cross_entropy(np.zeros((1, 2)), np.array([0]))
        >>> round(loss, 4), grad.tolist()
        (0.6931, [[-0.5, 0.5]])

    """
    rows = np.arange(len(labels))
    shifted = scores - scores.max(axis=1, keepdims=True)  # the same softmax, and exp cannot overflow
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    grad = np.exp(log_probability)
    grad[rows, labels] -= 1
    return -float(log_probability[rows, labels].mean()), grad / len(labels)


class Network:
    """Layers, one behind the other.

    Args:
        layers: in the order in which images go through them.

    """

    def __init__(self, layers: Sequence[_Layer]) -> None:
        self.layers = tuple(layers)
        self.parameters = tuple(parameter for layer in self.layers for parameter in layer.parameters)

    def scores(self, images: Floats) -> Floats:
        """Return one score a class for each image."""
        x = images
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def loss(self, images: Floats, labels: Labels) -> float:
        """Return the mean cross-entropy of a batch, and leave its gradient in every parameter's `grad`."""
        loss, grad = cross_entropy(self.scores(images), labels)
        for layer in reversed(self.layers):
            grad = layer.backward(grad)
        return loss

    def predict(self, images: Floats) -> NDArray[np.intp]:
        """Return the class with the highest score for each image."""
        best: NDArray[np.intp] = self.scores(images).argmax(axis=1)
        return best


class Adam:
    """Gradient descent with a step size of its own for every number, and cosine decay of the rate to 0.

    The method is Adam: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.

    Args:
        parameters: what to learn.
        steps: how many steps the training has, for the decay.
        rate: the learning rate of the first step.

    """

    def __init__(self, parameters: Sequence[Parameter], steps: int, rate: float = 3e-3) -> None:
        self._parameters = parameters
        self._steps = steps
        self._rate = rate
        self._step = 0
        self._mean = [np.zeros_like(parameter.value) for parameter in parameters]
        self._square = [np.zeros_like(parameter.value) for parameter in parameters]

    def step(self, *, keep_mean: float = 0.9, keep_square: float = 0.99) -> None:
        """Move every parameter a little against its gradient.

        Args:
            keep_mean: how much of the running mean of the gradient survives a step.
            keep_square: how much of the running mean of its square does.

        """
        rate = self._rate * (1 + math.cos(math.pi * self._step / self._steps)) / 2
        self._step += 1
        # Both running means start at 0; dividing by what they have seen so far corrects that.
        mean_seen = 1 - keep_mean**self._step
        square_seen = 1 - keep_square**self._step
        for parameter, mean, square in zip(self._parameters, self._mean, self._square, strict=True):
            mean += (1 - keep_mean) * (parameter.grad - mean)
            square += (1 - keep_square) * (parameter.grad**2 - square)
            parameter.value -= rate / mean_seen * mean / (np.sqrt(square / square_seen) + 1e-8)


def digits_network(seed: int) -> Network:
    """Return the untrained network for images of shape (n, 8, 8, 1) and ten classes.

    Args:
        seed: the first weights follow from it, so one seed is one network.

    Examples:
        >>> digits_network(seed=0).scores(np.zeros((5, 8, 8, 1), dtype=np.float32)).shape
        (5, 10)

    """
    rng = np.random.default_rng(seed)
    return Network(
        [
            *(Patches(3), Dense(3 * 3, 16, rng), ReLU()),
            *(Patches(3), Dense(3 * 3 * 16, 32, rng), ReLU()),
            *(Patches(3), Dense(3 * 3 * 32, 32, rng), ReLU()),
            *(Flatten(), Dense(2 * 2 * 32, 10, rng)),
        ]
    )
