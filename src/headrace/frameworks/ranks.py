"""The ranks that frameworks have set up in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.frameworks.registry import is_in_use

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ranks_in_use"]


def ranks_in_use() -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield what torch and JAX say: who says it, and the rank and world size. Neither is imported for it."""
    if is_in_use("torch"):
        from headrace.frameworks import torch

        ranks = torch.process_group_rank()
        if ranks is not None:
            yield "torch's process group", ranks
    if is_in_use("jax"):
        from headrace.frameworks import jax

        ranks = jax.distributed_rank()
        if ranks is not None:
            yield "jax.distributed", ranks
