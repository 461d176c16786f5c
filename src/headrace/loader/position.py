"""The position of a loader: taking and loading its state, and ways to another place."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from headrace import frameworks
from headrace.errors import ArgumentError, HeadraceWarning, OutOfRangeError, StateError
from headrace.errors.notes import level_of_user
from headrace.loader.config import check_count
from headrace.loader.cursor import StartPoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.loader.checkpoint import LoaderState
    from headrace.loader.cursor import Epochs
    from headrace.loader.order import SampleOrder
    from headrace.sampling.ranks import Shares
    from headrace.sampling.samplers import GivenSampling, Sampling

__all__ = ["check_places", "check_step", "go_on", "identity", "samples_seen", "state_at"]


class Positioned(Protocol):
    """A loader as far as it has a position."""

    seed: int | None
    generator: Any
    batch_size: int | None
    batch_sampler: Any
    world_size: int
    shuffle: Any
    drop_last: bool
    window: int | None
    _streams: bool
    _order: SampleOrder
    _given_sampling: GivenSampling | None
    _epochs: Epochs

    def _length(self) -> int | None: ...
    def _readers(self) -> int | None: ...
    def _sampling(self, length: int | None, shift: int = 0) -> Sampling: ...
    def _steps(self, length: int | None, shift: int = 0) -> int: ...
    def _stream_state(self, at: StartPoint) -> dict[str, Any] | None: ...
    def _load_stream_state(self, state: dict[str, Any] | None) -> None: ...


def identity(loader: Positioned) -> dict[str, Any]:
    """Return the arguments that a state and the loader that goes on from it must have in common."""
    size = (loader.batch_size or 1) * loader.world_size
    computed = not loader._streams and loader._given_sampling is None
    return {
        "length": loader._length(),
        "seed": loader.seed,
        "global_batch_size": None if loader.batch_sampler is not None else size,
        "shuffle": loader.shuffle,
        "drop_last": loader.drop_last,
        "readers": loader._readers(),
        "blocks": loader._order.blocks_identity(),
        "window": loader.window,
        "plan": loader._order.identity() if computed else None,
    }


def state_at(loader: Positioned, at: StartPoint) -> LoaderState:
    """Return the state of a loader that stands at a place."""
    from headrace.loader.checkpoint import LoaderState  # when it is asked for

    arguments = identity(loader)
    sampler = at.sampler
    if sampler is None and loader._given_sampling is not None and not at.step and not at.ahead:
        sampler = loader._given_sampling.present()  # the pass that begins next
    step, shift = _samples_before(loader, at)
    return LoaderState(
        epoch=at.number,
        step=step,
        ahead=sorted(at.ahead),
        epoch_seed=at.seed if loader.seed is None else None,
        numbered=at.numbered,
        epoch_length=None if at.length == arguments["length"] else at.length,
        generator=None if loader.generator is None else frameworks.generator_state(loader.generator),
        sampler=sampler,
        sampler_epoch=loader._order.sampler_epoch(),
        shift=shift,
        skip=sorted(map(list, loader._epochs.skipped)),
        stream=loader._stream_state(at),
        **arguments,
    )


def _samples_before(loader: Positioned, at: StartPoint) -> tuple[int, int]:
    """Return the step and shift that say how many samples come before a place, for any number of ranks."""
    if loader.world_size == 1 or not at.step or at.length is None:
        return at.step, at.shift
    shares = loader._sampling(at.length, at.shift).shares
    if shares is None or shares.start(at.step) <= at.shift + at.step * shares.global_batch_size:
        return at.step, at.shift
    return divmod(shares.start(at.step), shares.global_batch_size)  # fewer samples than ranks have joined a step


def go_on(loader: Positioned, state: Mapping[str, Any], at: str, *, strict: bool) -> None:
    """Let the next iterator of a loader go on where a state was taken; see `DataLoader.load_state_dict`."""
    if at not in ("step", "samples"):
        raise ArgumentError(f"at must be 'step' or 'samples', but got at={at!r}")
    from headrace.loader.checkpoint import LoaderState  # when it is given

    saved = LoaderState.from_dict(state)
    changed = saved.differences(identity(loader))
    allowed = _may_change(loader, saved, strict=strict) if at == "samples" else frozenset()
    saved.refuse(changed, allowed=allowed, curable=_may_change(loader, saved, strict=False) if changed else ())
    length = saved.length if saved.epoch_length is None else saved.epoch_length
    step, shift = _place(loader, saved, length)
    if loader.generator is not None:
        frameworks.restore_generator(loader.generator, saved.generator)
    if loader._given_sampling is not None:
        loader._given_sampling.restore(saved.sampler)
    ahead = frozenset(saved.ahead)
    length = length if step or shift or ahead else saved.epoch_length  # an epoch that begins takes what there is
    start = StartPoint(saved.epoch, saved.epoch_seed, saved.numbered, step, ahead, length, saved.sampler, shift)
    loader._epochs.resume(start)
    loader._load_stream_state(saved.stream)
    loader._epochs.skipped = _kept_skips(loader, saved)
    if saved.sampler_epoch is not None:
        loader._order.tell_sampler(saved.sampler_epoch)
    if changed and not strict:
        said = "; ".join(f"{what} was {before} and is {now} here" for what, before, now in changed.values())
        warnings.warn(f"the loader goes on from the state of another one: {said}", HeadraceWarning, level_of_user())


def _may_change(loader: Positioned, saved: LoaderState, *, strict: bool) -> frozenset[str]:
    """Return the arguments that may be others where a position counts in samples."""
    if loader._streams or loader.batch_sampler is not None or not loader._order.is_of_samples():
        return frozenset()
    grown = not strict and saved.length is not None and (loader._length() or 0) > saved.length
    return frozenset({"global_batch_size", "length", "blocks"} if grown else {"global_batch_size"})


def _place(loader: Positioned, saved: LoaderState, length: int | None) -> tuple[int, int]:
    """Return the step, and the shift of all steps, at which a loader goes on.

    Raises:
        StateError: the state is damaged, or the loader's batches cannot go on there.
    """
    size = (loader.batch_size or 1) * loader.world_size
    saved_size = saved.global_batch_size or size
    position = saved.step * saved_size + saved.shift
    sampling = None if length is None else loader._sampling(length)
    shares = None if sampling is None else sampling.shares
    if size != saved_size:
        _check_regroups(loader, saved, position, size)
        position = position if shares is None else min(position, shares.length)
    step, shift = (saved.step, saved.shift) if size == saved_size else divmod(position, size)
    if sampling is None:
        return step, shift
    most = sampling.steps() if shares is None else -(-(shares.length - saved.shift) // saved_size)
    ahead = [step + 1 for step in saved.ahead if [saved.epoch, step] not in saved.skip]
    last = max([saved.step, *ahead])
    if last > most:
        raise StateError(f"the state is damaged: step {last} of an epoch of {most} steps")
    if shares is None:
        return step, shift
    left = shares.length - step * size - shift
    if 0 < left < shares.world_size and shares.uneven == "even_split" and not shares.drop_last:
        raise StateError(
            f"{left} samples are left of epoch {saved.epoch}, fewer than the {shares.world_size} ranks, so they cannot "
            f"be split; go on with no more ranks than that, or with uneven='pad' or 'repeat', or 'drop' to leave them"
        )
    if left > 0 or (not shift and step == shares.steps):
        return step, shift
    return divmod(shares.length, size)  # the epoch is over, for any number of ranks


def _check_regroups(loader: Positioned, saved: LoaderState, position: int, size: int) -> None:
    """Refuse a state whose batches do not fit in with steps of another size."""
    skips = _kept_skips(loader, saved)
    if saved.ahead or skips:
        what = "steps are skipped" if skips else "batches were handed out before their turn (in_order=False)"
        raise StateError(
            f"the state counts steps of {saved.global_batch_size} samples and {what}, but here a step has {size}; go "
            "on with the same batch_size * world_size to the end of the epoch"
        )
    if loader._given_sampling is not None and position % size:
        raise StateError(
            f"{position} samples have been handed out, which are no whole batches of {size}, as a sampler gives them; "
            "take a batch_size that divides their number"
        )


def _kept_skips(loader: Positioned, saved: LoaderState) -> set[tuple[int, int]]:
    """Return the steps that are passed over, without those of epochs before that had steps of another size."""
    size = (loader.batch_size or 1) * loader.world_size
    same = saved.global_batch_size in (None, size)
    return {(epoch, step) for epoch, step in saved.skip if same or epoch >= saved.epoch}


def check_step(loader: Positioned, step: int, length: int | None) -> int:
    """Return the step where an iterator is to begin.

    Raises:
        ArgumentError: it is no count.
        OutOfRangeError: the epoch has not so many steps.
    """
    step = check_count("step", step)
    if length is not None and step > loader._steps(length):
        raise OutOfRangeError(f"there is no step {step} in an epoch of {loader._steps(length)} steps")
    return step


def check_places(places: Any) -> set[tuple[int, int]]:
    """Return the epochs and steps of places.

    Raises:
        ArgumentError: they are no pairs of counts.
    """
    if not isinstance(places, Iterable):
        raise ArgumentError(f"steps must be pairs (epoch, step), as in {{(0, 7)}}, but got {places!r}")
    return set(map(_check_place, places))


def _check_place(place: Any) -> tuple[int, int]:
    if not isinstance(place, tuple | list) or len(place) != 2:
        raise ArgumentError(f"steps must be pairs (epoch, step), as in {{(0, 7)}}, but got {place!r}")
    return check_count("epoch", place[0]), check_count("step", place[1])


def samples_seen(loader: Positioned, shares: Shares, at: StartPoint) -> int:
    """Return how many samples all ranks have been given since the first epoch, up to a place."""
    whole = replace(shares, shift=0)
    skipped = loader._epochs.skipped
    steps = whole.steps  # of which some that are skipped may be none
    passed = sum(whole.count(step) for epoch, step in skipped if step < steps and (epoch, step) < (at.number, at.step))
    ahead = sum(shares.count(step) for step in at.ahead if (at.number, step) not in skipped)
    return at.number * whole.seen(steps) + shares.seen(at.step) + ahead - passed
