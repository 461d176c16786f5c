"""Train on two processes with DistributedDataParallel; a checkpoint of rank 0 alone restores both.

    python examples/torch_ddp.py

With a `seed` the ranks are parts of one order, so two of them see the same samples in each step as one of twice the
batch size does. `torchrun` starts them in earnest; here the program does.
"""

import os
import socket
from typing import Any

try:
    import torch
    from torch import distributed, multiprocessing, nn
except ImportError:
    print("This example needs PyTorch: install it with `pip install torch`.")
    raise SystemExit(0) from None

from headrace.torch import StatefulDataLoader, TensorDataset

generator = torch.Generator().manual_seed(0)
x_all = torch.randn(1024, 8, generator=generator)
y_all = (x_all[:, :4].sum(1) > x_all[:, 4:].sum(1)).long()


def train(rank: int, world_size: int, port: int) -> None:
    """Train a copy of the model on this rank's share; after a while go on from the state of rank 0."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=world_size)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(parallel.parameters(), lr=3e-3)
    samples = TensorDataset(x_all, y_all, torch.arange(len(x_all)))

    def make_loader() -> StatefulDataLoader[Any]:
        return StatefulDataLoader(samples, 32, shuffle=True, seed=0, rank=rank, world_size=world_size)

    loader, steps = make_loader(), 0
    for epoch in range(3):
        seen = torch.zeros(len(x_all))
        for x, y, numbers in loader:
            nn.functional.cross_entropy(parallel(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            seen[numbers] += 1
            steps += 1
        distributed.all_reduce(seen)
        if rank == 0:
            right = (model(x_all).argmax(1) == y_all).float().mean()
            once = bool((seen == 1).all())
            print(f"epoch {epoch}  {steps} steps  each sample once: {once}  accuracy {right:.1%}")

    batches = iter(loader)
    next(batches)
    states = [loader.state_dict() if rank == 0 else {}]
    distributed.broadcast_object_list(states)
    resumed = make_loader()
    resumed.load_state_dict(states[0])
    same = torch.tensor(all(torch.equal(a[2], b[2]) for a, b in zip(batches, resumed, strict=True)))
    distributed.all_reduce(same, distributed.ReduceOp.MIN)
    if rank == 0:
        print(f"all ranks go on from the state of rank 0: {bool(same)}")
    del parallel  # before the group that it talks through
    distributed.barrier()  # or one is gone while another still talks
    distributed.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(train, args=(2, port), nprocs=2)
