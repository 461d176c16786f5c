"""Train a small convolutional network in JAX on all devices that there are, each with its share of every batch.

    python examples/jax_cifar.py

Images are NumPy arrays until they are batches; `prefetch_to_device` makes them JAX arrays, divided among the devices,
while the step before is computed. With the folder of CIFAR-10's files as an argument it trains on these, else on images
of their shape that are drawn here. To see several devices on a CPU: XLA_FLAGS=--xla_force_host_platform_device_count=8.
"""

import sys
from typing import Any

import numpy as np

from headrace import CIFAR10, Compose, DataLoader, Normalize, RandomCrop, RandomHorizontalFlip, TensorDataset, ToFloat

try:
    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from headrace.jax import prefetch_to_device
except ImportError:
    print("This example needs JAX: install it with `pip install jax`.")
    raise SystemExit(0) from None

EPOCHS, BATCH_SIZE, LEARNING_RATE = 4, 64, 0.01

# ---- the data: images of 32x32x3 bytes, with stripes of ten widths unless there are CIFAR's


def stripes(count: int, seed: int) -> TensorDataset:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    waves = np.sin(2 * np.pi * (np.arange(32) / (3 + 1.5 * labels[:, None]) + rng.random((count, 1))))
    images = 128 + 60 * waves[:, None, :, None] + rng.normal(0, 20, (count, 32, 32, 3))
    return TensorDataset(images.clip(0, 255).astype(np.uint8), labels)


to_numbers = Compose([ToFloat(), Normalize(mean=0.5, std=0.25)])
augment = Compose([RandomCrop(32, padding=2), RandomHorizontalFlip(), to_numbers])
if len(sys.argv) > 1:
    data: Any = CIFAR10(sys.argv[1], train=True), CIFAR10(sys.argv[1], train=False)
else:
    data = stripes(1280, seed=0), stripes(256, seed=1)
training, test = data[0].map(augment, field=0), data[1].map(to_numbers, field=0)

# ---- the model: two convolutions, each halves the image, and a linear layer


def new_weights() -> list[Any]:
    one, two, three = jax.random.split(jax.random.key(0), 3)
    last = jax.random.normal(three, (16 * 64, 10)) * 0.02
    return [jax.random.normal(one, (4, 4, 3, 8)) * 0.15, jax.random.normal(two, (4, 4, 8, 16)) * 0.1, last]


def scores(weights: list[Any], x: Any) -> Any:
    for kernel in weights[:2]:
        layout = ("NHWC", "HWIO", "NHWC")
        x = jax.nn.relu(jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=layout))
    return x.reshape(len(x), -1) @ weights[2]


def loss(weights: list[Any], x: Any, y: Any) -> Any:
    return -jnp.mean(jax.nn.log_softmax(scores(weights, x))[jnp.arange(len(y)), y])


def step(weights: Any, moments: Any, x: Any, y: Any) -> Any:
    value, gradients = jax.value_and_grad(loss)(weights, x, y)
    moments = [(0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g) for (m, v), g in zip(moments, gradients, strict=True)]
    changed = [w - LEARNING_RATE * m / jnp.sqrt(v + 1e-8) for w, (m, v) in zip(weights, moments, strict=True)]
    return changed, moments, value


# ---- the loop: batches are divided among the devices, the weights are on each of them

mesh = Mesh(np.array(jax.devices()), ("data",))
divided, everywhere = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
loader = DataLoader(training, batch_size=BATCH_SIZE, shuffle=True, drop_last=True, seed=0)
weights = jax.device_put(new_weights(), everywhere)
moments = [(jnp.zeros_like(weight), jnp.zeros_like(weight)) for weight in weights]
train = jax.jit(step)
right = jax.jit(lambda weights, x, y: (scores(weights, x).argmax(axis=1) == y).sum())
for epoch in range(EPOCHS):
    for x, y in prefetch_to_device(loader, divided):
        weights, moments, value = train(weights, moments, x, y)
    batches = prefetch_to_device(DataLoader(test, batch_size=BATCH_SIZE, drop_last=True), divided)
    counts = [int(right(weights, x, y)) for x, y in batches]
    print(f"epoch {epoch}  loss {value:.3f}  test accuracy {sum(counts) / (len(counts) * BATCH_SIZE):.1%}")
print(f"each of {len(x.addressable_shards)} devices had {x.addressable_shards[0].data.shape} of a batch of {x.shape}")
