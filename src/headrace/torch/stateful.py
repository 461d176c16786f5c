"""The DataLoader that others save in their checkpoints, with the names that torchdata has given it."""

from __future__ import annotations

import base64
import io
import json
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import RandomSampler

from headrace.errors import ArgumentError, HeadraceWarning, StateError
from headrace.errors.notes import level_of_user
from headrace.loader.checkpoint import name_kind
from headrace.torch.dataloader import B_co, DataLoader
from headrace.torch.stateful_core import StatefulCore
from headrace.torch.stateful_sampling import StatefulRandomSampler

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Literal

    from numpy.typing import ArrayLike

    from headrace.loader.config import OnError, OnWorkerDeath, Shuffle
    from headrace.loader.order_arguments import BatchBy
    from headrace.sampling.ranks import Uneven

__all__ = ["StatefulDataLoader"]

_KIND = "headrace.torch.StatefulDataLoader"
_VERSION = 1
_NOT_PASSED_ON = {"self", "__class__", "snapshot_every_n_steps"}  # what the base's constructor takes is all the rest


class StatefulDataLoader(DataLoader[B_co]):
    """A DataLoader that goes on where its state was taken: torchdata's, with another import.

    Its state says which batches have been handed out, and has the states of a dataset, an iterator over it or a sampler
    that has the methods `state_dict` and `load_state_dict`. No sample is read again; of an IterableDataset without
    a state those before are read and passed over, with a warning. Where the dataset has indices and no state, any
    number of workers goes on from it, and any rank from that of rank 0.

    The state's entries are the same for every loader and at all times: "version", "loader", "position" and "snapshot",
    a number and three texts. So `torch.distributed.checkpoint` and `json` can save it as it is.

    All other arguments are those of `DataLoader`, by position or by name.

    Args:
        dataset: as torch takes it, or a dataset or stream of headrace's.
        batch_size: samples a batch; None hands out single samples.
        shuffle: a new random order in each epoch, by a generator that is seeded when the loader is made.
        snapshot_every_n_steps: after so many batches workers tell the state of an IterableDataset; those that came
            after it are loaded again to go on, and dropped.

    Raises:
        ValueError: a value is not allowed, or two exclude each other.
        TypeError: a value is of the wrong kind.

    >>> from headrace.torch import StatefulDataLoader
    >>> loader = StatefulDataLoader(range(8), batch_size=2)
    >>> batches = iter(loader)
    >>> next(batches)
    tensor([0, 1])
    >>> resumed = StatefulDataLoader(range(8), batch_size=2, num_workers=1)
    >>> resumed.load_state_dict(loader.state_dict())
    >>> [batch.tolist() for batch in resumed]
    [[2, 3], [4, 5], [6, 7]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: Shuffle | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Sequence[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], B_co] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        snapshot_every_n_steps: int | None = 1,
        seed: int | None = None,
        backend: str = "auto",
        rank: int | None = None,
        world_size: int | None = None,
        ranks: Literal["auto"] | None = None,
        device_mesh: Any = None,
        replication: int | None = None,
        uneven: Uneven = "even_split",
        on_error: OnError = "raise",
        on_worker_death: OnWorkerDeath = "raise",
        prefetch_bytes: int | None = None,
        shard: bool = False,
        block_size: int | None = None,
        window: int | None = None,
        max_errors: int | None = None,
        ray_options: dict[str, Any] | None = None,
        weights: ArrayLike | None = None,
        replacement: bool | None = None,
        batch_by: BatchBy = "samples",
        max_tokens: int | None = None,
        max_batch_size: int | None = None,
        boundaries: Sequence[int] | None = None,
        group_by_length: bool = False,
        sort_window: int | None = None,
        trace: str | os.PathLike[str] | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in _NOT_PASSED_ON}
        self.snapshot_every_n_steps = _check_every(snapshot_every_n_steps)
        super().__init__(**given)

    def _give_order(self) -> None:
        super()._give_order()
        if type(self.sampler) is RandomSampler:
            self._show(StatefulRandomSampler(self.dataset, self.generator))

    def _make_core(self, dataset: Any, arguments: dict[str, Any]) -> StatefulCore:
        every = self.snapshot_every_n_steps or 1
        return StatefulCore(dataset, streams=self._streams(), arguments=arguments, every=every)

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands: the batches that have been handed out are counted, nothing is loaded.

        Between epochs that is the start of the next one.

        Returns:
            A number and three texts, by the same names for every loader.
        """
        position, others = self._stateful_core().take()
        return {"version": _VERSION, "loader": _KIND, "position": json.dumps(position), "snapshot": _encode(others)}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], at: Literal["step", "samples"] = "step", *, strict: bool = True
    ) -> None:
        """Let the next iterator go on where the state was taken; an empty one changes nothing.

        Args:
            state_dict: what `state_dict` gave, on any rank.
            at: what its position counts: "step", or "samples" where the batch size or the ranks are others now.
            strict: refuse a dataset that has grown; see `headrace.DataLoader.load_state_dict`.

        Raises:
            StateError: it is of another kind of loader, or of one with another dataset length, seed or batch size.
        """
        if not state_dict:
            return
        _check_kind(state_dict)
        position, others = json.loads(state_dict["position"]), _decode(state_dict["snapshot"])
        self._core, self._iterator = None, None  # workers that have gone on are not those of the state
        self._stateful_core().put(position, others, at, strict=strict)
        self._tell_own_sampler(int(position["epoch"]))
        if self._streams() and position["step"] and "readers" not in others:
            warnings.warn(
                f"neither the dataset ({type(self.dataset).__name__}) nor its iterator has the methods state_dict and "
                f"load_state_dict, so it is read again up to step {position['step']}",
                HeadraceWarning,
                stacklevel=level_of_user(),
            )

    def _stateful_core(self) -> StatefulCore:
        core = self._core_loader()
        assert isinstance(core, StatefulCore)  # noqa: S101 - _make_core makes no other
        return core


def _check_every(steps: Any) -> int | None:
    if steps is None or (isinstance(steps, int) and not isinstance(steps, bool) and steps > 0):
        return steps
    raise ArgumentError(f"snapshot_every_n_steps={steps!r} is not allowed; give a positive integer, or None for 1")


def _check_kind(state: Mapping[str, Any]) -> None:
    found = name_kind(state)
    if found != _KIND:
        raise StateError(
            f"this is the state of {found}, and the loader is a {_KIND}; load it into a loader of the kind that gave it"
        )
    if state["version"] != _VERSION:
        raise StateError(f"the state has version {state['version']!r}; this release reads version {_VERSION}")


def _encode(others: dict[str, Any]) -> str:
    """Return what users' classes gave as a text, in a format that runs no code when it is read."""
    if not others:
        return ""
    written = io.BytesIO()
    torch.save(others, written)
    return base64.b64encode(written.getvalue()).decode("ascii")


def _decode(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        found: dict[str, Any] = torch.load(io.BytesIO(base64.b64decode(text)), weights_only=True)
    except Exception as error:
        raise StateError(
            f"the states of the dataset and the sampler cannot be read: {error}; let their state_dict() return "
            "numbers, texts, tensors, lists and dicts, or allow its classes by torch.serialization.add_safe_globals"
        ) from error
    return found
