"""Stop a PyTorch training in the midst of an epoch and go on exactly: weights, order and dropout as if it had not been.

    python examples/torch_resume.py

One import is changed: `StatefulDataLoader` comes from headrace.torch. Its state goes into the checkpoint with those of
the model and the optimizer, and another number of workers may go on from it.
"""

import io
from typing import Any

try:
    import torch
    from torch import nn
except ImportError:
    print("This example needs PyTorch: install it with `pip install torch`.")
    raise SystemExit(0) from None

from headrace.torch import StatefulDataLoader, TensorDataset

generator = torch.Generator().manual_seed(0)
x_all = torch.randn(1000, 8, generator=generator)
y_all = (x_all[:, :4].sum(1) > x_all[:, 4:].sum(1)).long()
dataset = TensorDataset(x_all, y_all)


def train(*, epochs: int, stop_at: int | None = None, checkpoint: Any = None, num_workers: int = 0) -> Any:
    """Train from the start or from a checkpoint, and return the model, or a checkpoint where it is stopped."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = StatefulDataLoader(dataset, batch_size=50, shuffle=True, num_workers=num_workers)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "loader": loader}
    epoch = step = 0
    if checkpoint is not None:
        saved = torch.load(io.BytesIO(checkpoint), weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        epoch, step = saved["epoch"], saved["step"]
        torch.set_rng_state(saved["rng"])
    while epoch < epochs:
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step == stop_at:
                file = io.BytesIO()
                states = {name: part.state_dict() for name, part in parts.items()}
                torch.save({**states, "epoch": epoch, "step": step, "rng": torch.get_rng_state()}, file)
                return file.getvalue()
        epoch += 1
    right = (model.eval()(x_all).argmax(1) == y_all).float().mean()
    print(f"{step} steps  accuracy {right:.1%}")
    return model


whole = train(epochs=4)
checkpoint = train(epochs=4, stop_at=47)
print(f"stopped at step 47 of 80, in the midst of epoch 2, with a checkpoint of {len(checkpoint)} bytes")
resumed = train(epochs=4, checkpoint=checkpoint, num_workers=1)
same = all(map(torch.equal, whole.state_dict().values(), resumed.state_dict().values()))
print(f"same weights as without the stop: {same}")
