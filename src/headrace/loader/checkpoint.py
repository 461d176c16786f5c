"""The position of a loader as plain JSON: a few integers, whatever the dataset's size."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from headrace.errors import StateError

__all__ = ["LoaderState", "name_kind"]

_VERSION, _FIRST_WRITTEN = 7, 3
# What the states of earlier versions did not have, and meant by that.
_NO_STREAM: dict[str, Any] = {"stream": None}
_NO_SHIFT: dict[str, Any] = {"shift": 0, "skip": [], **_NO_STREAM}
_NO_PLAN: dict[str, Any] = {"plan": None, **_NO_SHIFT}
_NO_STARTS = {"numbered": True, "epoch_length": None, "generator": None, "sampler": None, **_NO_PLAN}
_NO_BLOCKS = {"blocks": None, "window": None, **_NO_STARTS}
_SINCE: dict[int, dict[str, Any]] = {
    1: {"ahead": [], "readers": None, **_NO_BLOCKS},
    2: _NO_BLOCKS,
    3: _NO_STARTS,
    4: _NO_PLAN,
    5: _NO_SHIFT,
    6: _NO_STREAM,
    7: {},
}


@dataclass(frozen=True, slots=True)
class LoaderState:
    """The state of a loader: where it stands, and the arguments that this depends on.

    Attributes:
        epoch: the number of the epoch.
        step: all of its batches before this one have been handed out.
        ahead: the later ones that have been, too, where batches need not come in order.
        seed: the loader's seed; None if each epoch draws its own.
        epoch_seed: the seed that this epoch has drawn, where the loader has none.
        length: the number of samples; None for a stream or a sampler that does not say.
        global_batch_size: samples a step on all ranks; None where a batch_sampler decides.
        shuffle: whether the loader shuffles, or "block".
        drop_last: whether it leaves out an incomplete last batch.
        readers: how many workers take turns with whole streams of their own; None where the batches
            do not depend on the number of workers.
        blocks: samples a block, or a number that stands for blocks of different sizes; None where the
            loader shuffles no blocks.
        window: how many blocks are shuffled among each other; None where none are.
        sampler_epoch: the epoch that a user's sampler had been told, if it can be told.
        numbered: whether the epoch's number decides beside its seed, as it does where the loader has a seed, and
            did everywhere in states of earlier versions.
        epoch_length: the number of samples that the epoch's order was made for; None where that is `length`.
        generator: the state of the loader's generator, from which the seeds of later epochs come; None if it has none.
        sampler: what a user's sampler was when the epoch began; None if nothing of it is known.
        plan: a number that stands for weights, a mixture, or lengths, where the order depends on such.
        shift: so many samples of the epoch come before its first step, since it began with steps of another size.
        skip: the steps that are passed over, each as [epoch, step].
        stream: the states of a stream that has one of its own, by the number of its reader, as text; None if it has
            none.
    """

    epoch: int
    step: int
    ahead: list[int]
    seed: int | None
    epoch_seed: int | None
    length: int | None
    global_batch_size: int | None
    shuffle: bool | str
    drop_last: bool
    readers: int | None
    blocks: int | None
    window: int | None
    sampler_epoch: int | None = None
    numbered: bool = True
    epoch_length: int | None = None
    generator: dict[str, Any] | None = None
    sampler: dict[str, Any] | None = None
    plan: int | None = None
    shift: int = 0
    skip: list[list[int]] = field(default_factory=list)
    stream: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the state as a dict that `json.dumps` takes.

        One that holds nothing new is written as an earlier version, from 3 on, which earlier releases read, too.
        """
        state = asdict(self)
        for version, later in sorted(_SINCE.items()):
            if version >= _FIRST_WRITTEN and all(state[name] == value for name, value in later.items()):
                break
        return {"headrace": version, **{name: value for name, value in state.items() if name not in later}}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> LoaderState:
        """Read what `to_dict` gave, perhaps in another process or release.

        Raises:
            StateError: it is not the state of a loader, of a later version, or damaged.
        """
        names = {field.name for field in fields(cls)}
        if not hasattr(state, "keys") or "headrace" not in state:
            kind = name_kind(state)
            but = "" if kind == _UNKNOWN else f" but of {kind}; load it there, or begin without it"
            raise StateError(f"this is not the state of a headrace loader{but}: {state!r:.100}")
        if state["headrace"] not in _SINCE:
            raise StateError(
                f"the state has version {state['headrace']!r}; this release reads up to version {_VERSION}"
            )
        state = {**_SINCE[state["headrace"]], **state}
        if state.keys() - {"headrace"} != names:
            wrong = sorted(map(str, state.keys() - {"headrace"} ^ names))
            raise StateError(f"the state is damaged: missing or unknown keys {wrong}")
        values = {name: state[name] for name in names}
        for name, value in values.items():
            _check_value(name, value)
        return cls(**values)

    def differences(self, loader: Mapping[str, Any]) -> dict[str, tuple[str, Any, Any]]:
        """Return what decides on the batches and differs: by name what it is, what it was, and what it is now.

        Args:
            loader: the values of `length`, `seed`, `global_batch_size`, `shuffle`, `drop_last`, `readers`,
                `blocks`, `window` and `plan` in the loader that is to go on from this state.
        """
        both = {name: (what, getattr(self, name), loader[name]) for name, what in _IDENTITY.items()}
        return {name: (what, saved, present) for name, (what, saved, present) in both.items() if saved != present}

    def refuse(
        self,
        changed: Mapping[str, tuple[str, Any, Any]],
        *,
        allowed: Collection[str] = (),
        curable: Collection[str] = (),
    ) -> None:
        """Refuse a state of a loader that gives other batches.

        Args:
            changed: what `differences` gave.
            allowed: the names of what may differ.
            curable: the names of what might, if the state were loaded otherwise.

        Raises:
            StateError: with both values of what differs.
        """
        for name, (what, saved, present) in changed.items():
            if name not in allowed:
                remedy = _REMEDIES.get(name, "") if set(curable) >= changed.keys() else ""
                raise StateError(
                    f"the state belongs to another loader: {what} was {saved} and is {present} here; "
                    f"load it into a loader made with the same arguments{remedy}"
                )


_REMEDIES = {
    "length": ", or if it has grown with at='samples', strict=False",
    "global_batch_size": ", or with at='samples'",
}
_IDENTITY = {
    "length": "the dataset's length",
    "seed": "seed",
    "global_batch_size": "the samples a step (batch_size * world_size)",
    "shuffle": "shuffle",
    "drop_last": "drop_last",
    "readers": "the number of workers that read the stream",
    "blocks": "block_size (or what the dataset's blocks() says)",
    "window": "window",
    "plan": "the hash of weights, mixture, lengths or packed rows",
}
# By an entry that all of its states have, whose loader a state is.
_KINDS = {
    "headrace": "headrace.DataLoader",
    "snapshot": "headrace.torch.StatefulDataLoader",
    "_num_yielded": "torchdata's StatefulDataLoader",
    "_snapshot": "torchdata's StatefulDataLoader",
    "workers_state": "Grain's DataLoader",
    "next_index": "an iterator of Grain's",
    "sample_in_epoch": "Mosaic's StreamingDataLoader",
}
_UNKNOWN = "an unknown kind"
_NEVER_NONE = {"epoch", "step", "shift"}
_BOUNDED = {"epoch": 0, "step": 0, "shift": 0, "global_batch_size": 1}  # the least of what an int64 has to hold


def name_kind(state: object) -> str:
    """Return which kind of loader a state is of, for messages.

    >>> name_kind({"_num_yielded": 3})
    "torchdata's StatefulDataLoader"
    """
    entries = list(state) if isinstance(state, Mapping) else []
    return next((kind for entry, kind in _KINDS.items() if entry in entries), _UNKNOWN)


def _check_value(name: str, value: object) -> None:
    if name in ("generator", "sampler", "stream"):
        good = value is None or isinstance(value, dict)
    elif name in ("shuffle", "drop_last", "numbered"):
        good = isinstance(value, bool) or (name, value) == ("shuffle", "block")
    elif name == "ahead":
        good = isinstance(value, list) and all(_is_count(step) for step in value)
    elif name == "skip":
        good = isinstance(value, list) and all(_is_place(place) for place in value)
    elif value is None:
        good = name not in _NEVER_NONE
    elif name in _BOUNDED:
        good = isinstance(value, int) and _is_count(value) and _BOUNDED[name] <= value < 2**63
    else:
        good = _is_count(value)
    if not good:
        raise StateError(f"the state is damaged: {name} is {value!r}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_place(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))
