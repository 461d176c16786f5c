"""A loader that Hugging Face's accelerate keeps as it is: on its device, and known to its gradient state."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError
from headrace.torch.iterator import LoaderIterator

if TYPE_CHECKING:
    from headrace.loader.iterator import BatchIterator
    from headrace.torch.core import CoreLoader

__all__ = ["AcceleratedIterator", "is_kept"]


def is_kept(loader: Any) -> bool:
    """Return whether accelerate is to keep a loader, in place of one of torch's over its batch sampler.

    It may where nothing is left to divide: in a single process, and where the loader has this rank's share.

    Raises:
        ArgumentError: it has the share of a DistributedSampler, of which accelerate would take shares again; or its
            batches are of different sizes, and accelerate would divide them.
    """
    module: Any = sys.modules.get("accelerate.state")
    if module is None or loader.batch_sampler is None:  # also of a stream, which accelerate deals out
        return False
    if loader.world_size is None:
        alone = bool(module.PartialState().num_processes == 1)
        if loader.batch_by == "tokens" and not alone:
            raise ArgumentError(
                "accelerate would divide batches that batch_by='tokens' has made; give the loader rank= and world_size="
            )
        return alone
    if loader.seed is None and loader.world_size > 1:
        raise ArgumentError(
            "accelerate would divide the samples of a rank again; give the loader a seed beside rank and world_size, "
            "or leave these to accelerate"
        )
    return True


class AcceleratedIterator(LoaderIterator):
    """The batches of an epoch on accelerate's device, which is told of the last one.

    Args:
        loader: the face, which is a subclass of torch's.
        core: the core loader behind it.
        batches: the core's batches to hand out; None for those of the next epoch.
    """

    _told = False

    def __init__(self, loader: Any, core: CoreLoader, batches: BatchIterator[Any] | None = None) -> None:
        self._loader = loader
        super().__init__(loader, core, batches)

    def _next_batch(self) -> Any:
        from accelerate.state import PartialState
        from accelerate.utils import send_to_device

        if not self._told:
            self._tell(begins=True)
        try:
            batch = super()._next_batch()
        except BaseException:
            self._tell(begins=False)
            raise
        self._loader.end_of_dataloader = self.is_at_end()
        device = PartialState().device
        return batch if device.type == "cpu" else send_to_device(batch, device, non_blocking=True)

    def _tell(self, *, begins: bool) -> None:
        """Let accelerate's gradient state look at this loader, or no longer."""
        from accelerate.state import GradientState

        loader, self._told = self._loader, begins
        if not begins:
            GradientState()._remove_dataloader(loader)
            return
        loader.end_of_dataloader = False
        loader.remainder = self._core.remainder if (loader.world_size or 1) > 1 else 0  # of one process all is kept
        GradientState()._add_dataloader(loader)

    def __del__(self) -> None:
        """Let accelerate forget the loader of an epoch that was left."""
        if self._told:
            self._tell(begins=False)
