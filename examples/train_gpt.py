"""Train a small GPT on tokens in a file, stop in the middle of an epoch, and go on with the same losses.

    python examples/train_gpt.py

The text is made here: sums of two digits, written out. Its characters are the tokens, which go to a file of uint16 as
nanoGPT's preparation writes them. `TokenDataset` gives windows of it, inputs and targets, and the loader's state is a
few integers: a run that was stopped sees the very batches that it would have seen.
"""

import tempfile
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from headrace import DataLoader, TokenDataset

try:
    import torch
    from torch import nn
except ImportError:
    print("This example needs PyTorch: install it with `pip install torch`.")
    raise SystemExit(0) from None

LENGTH, BATCH_SIZE, WIDTH, HEADS, LAYERS, STEPS = 32, 32, 64, 4, 2, 300

# ---- the data: a text, and its characters as numbers in a file

rng = np.random.default_rng(0)
text = "".join(f"{a}+{b}={a + b};" for a, b in rng.integers(0, 10, (20_000, 2)))
letters = sorted(set(text))
folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "train.bin")
np.array([letters.index(letter) for letter in text], np.uint16).tofile(path)
windows = TokenDataset(path, LENGTH, np.uint16, vocab_size=len(letters))

# ---- the model: torch's own blocks of attention, each of which sees no token that comes later


def new_run() -> tuple[Any, Any, DataLoader[Any]]:
    torch.manual_seed(0)
    sizes: Any = {"dropout": 0, "activation": "gelu", "batch_first": True, "norm_first": True}
    block = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, **sizes)
    parts: Any = {
        "tokens": nn.Embedding(len(letters), WIDTH),
        "places": nn.Embedding(LENGTH, WIDTH),
        "blocks": nn.TransformerEncoder(block, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False),
        "scores": nn.Linear(WIDTH, len(letters)),
    }
    model = nn.ModuleDict(parts)
    loader = DataLoader(windows, BATCH_SIZE, shuffle=True, seed=1, drop_last=True)
    return model, torch.optim.AdamW(model.parameters(), lr=3e-3), loader


def scores(model: Any, tokens: Any) -> Any:
    x = model["tokens"](tokens) + model["places"].weight[: tokens.shape[1]]
    mask = nn.Transformer.generate_square_subsequent_mask(len(x[0]))
    return model["scores"](model["blocks"](x, mask, is_causal=True))


# ---- training, saved after two thirds, then done again from there


def train(model: Any, optimizer: Any, batches: Any, steps: range) -> list[float]:
    losses = []
    for _ in steps:
        inputs, targets = map(torch.from_numpy, next(batches))
        loss = nn.functional.cross_entropy(scores(model, inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += [loss.item()]
    print(f"step {steps.stop}, loss {np.mean(losses[-50:]):.3f}")
    return losses


run = model, optimizer, loader = new_run()
batches = chain.from_iterable(iter(loader) for _ in range(STEPS))
train(model, optimizer, batches, range(200))
torch.save([part.state_dict() for part in run], Path(folder.name, "checkpoint.pt"))
losses = train(model, optimizer, batches, range(200, STEPS))

run = model, optimizer, loader = new_run()
for part, state in zip(run, torch.load(Path(folder.name, "checkpoint.pt")), strict=True):
    part.load_state_dict(state)
again = train(model, optimizer, chain.from_iterable(iter(loader) for _ in range(STEPS)), range(200, STEPS))
print(f"same losses as without the stop: {losses == again}")

# ---- what it has learnt

line = "1+1=2;7+5="
while not line.endswith(";"):
    tokens = torch.tensor([[letters.index(letter) for letter in line[-LENGTH:]]])
    line += letters[int(scores(model, tokens)[0, -1].argmax())]
print(line)
folder.cleanup()
