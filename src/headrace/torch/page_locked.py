"""Page-locked memory for batches: a GPU copies from it by itself, while the program goes on."""

from __future__ import annotations

import os
import warnings
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from headrace.batch.arena import Arena
from headrace.errors import HeadraceWarning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PageLockedArena"]

_PORTABLE = 1  # cudaHostRegisterPortable: for every GPU of the process


class PageLockedArena(Arena):
    """Buffers in page-locked memory, which is locked once and leased again and again.

    Who copies from a batch in it asynchronously has to keep the batch until the copy is done: then its lease ends.
    Memory of this process is torch's own, which a fork of the process does not share; that of worker processes is
    registered with CUDA as it comes, and given back before it is unmapped.

    Args:
        device: the GPU that copies.
    """

    leased_from = 1 << 16  # smaller arrays torch copies to its own page-locked memory in a moment

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._refused = False

    def _new_buffer(self, nbytes: int) -> NDArray[np.uint8]:
        with torch.cuda.device(self._device):
            memory: NDArray[np.uint8] = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True).numpy()
        return memory

    def adopt(self, memory: NDArray[np.uint8]) -> None:
        """Lock the pages of memory that other processes write to."""
        if self._refused:
            return
        address: int = memory.__array_interface__["data"][0]
        with torch.cuda.device(self._device):
            error = torch.cuda.cudart().cudaHostRegister(address, memory.nbytes, _PORTABLE)
        if int(error) == 0:
            weakref.finalize(memory, _unregister, self._device, address, os.getpid()).atexit = False
            return
        self._refused = True
        _forget_error(self._device)
        warnings.warn(
            f"memory of worker processes cannot be page-locked ({error}), so batches are copied once more on their way "
            "to the GPU",
            HeadraceWarning,
            stacklevel=2,
        )


def _unregister(device: torch.device, address: int, home: int) -> None:
    """Unlock the pages at an address, whose memory is about to be unmapped."""
    if os.getpid() == home:  # CUDA does not survive a fork
        with torch.cuda.device(device):
            torch.cuda.cudart().cudaHostUnregister(address)


def _forget_error(device: Any) -> None:
    """Take CUDA's last error, which has been dealt with, from where the next kernel would be blamed for it."""
    with suppress(RuntimeError):
        torch.ones(1, device=device)
