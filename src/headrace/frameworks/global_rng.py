"""Random generators of Python, NumPy and torch: as sources of seeds, and the global ones to be seeded."""

from __future__ import annotations

import random
import sys
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentTypeError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = [
    "check_generator",
    "draw_seed",
    "generator_state",
    "global_states",
    "is_generator",
    "kept_globals",
    "preview_seed",
    "private_globals",
    "reseeded_globals",
    "restore_generator",
    "restore_globals",
    "seed_globals",
]

_BITS = 63  # fits an int64 everywhere, JSON readers included


def check_generator(generator: object) -> None:
    """Refuse what `draw_seed` cannot draw from.

    Raises:
        ArgumentTypeError: the generator is of another kind.
    """
    if not (generator is None or isinstance(generator, random.Random | np.random.Generator) or _is_torch(generator)):
        raise ArgumentTypeError(
            f"generator must be a numpy.random.Generator, a random.Random, a torch.Generator or None, got {generator!r}"
        )


def is_generator(value: object) -> bool:
    """Return whether the value is a random generator whose state `generator_state` knows."""
    return isinstance(value, random.Random | np.random.Generator | np.random.RandomState) or _is_torch(value)


def draw_seed(generator: object = None, *, of_torch: bool = False) -> int:
    """Return a seed below 2**63 drawn from the generator, or from the program's own for None.

    Args:
        generator: any that `check_generator` takes.
        of_torch: the program's own is torch's global generator, not Python's `random`.

    Raises:
        ArgumentTypeError: the generator is of another kind.

    >>> draw_seed(np.random.default_rng(0)) == draw_seed(np.random.default_rng(0))
    True
    """
    check_generator(generator)
    if generator is None and not of_torch:
        return random.getrandbits(_BITS)
    if isinstance(generator, random.Random):
        return generator.getrandbits(_BITS)
    if isinstance(generator, np.random.Generator):
        return int(generator.integers(2**_BITS))
    from headrace.frameworks import torch

    return torch.draw_seed(generator)


def preview_seed(generator: object = None, *, of_torch: bool = False) -> int:
    """Return the seed that `draw_seed` would draw, and draw nothing.

    >>> preview_seed() == preview_seed() == draw_seed()
    True
    """
    get, put = _state_of(generator, of_torch=of_torch)
    state = get()
    try:
        return draw_seed(generator, of_torch=of_torch)
    finally:
        put(state)


def _state_of(generator: object, *, of_torch: bool) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    """Return two functions: one gets the state of a generator, the other sets it."""
    if generator is not None:
        return lambda: generator_state(generator), lambda state: restore_generator(generator, state)
    if not of_torch:
        return random.getstate, random.setstate
    from headrace.frameworks import torch

    return torch.state, torch.restore


def generator_state(generator: Any) -> dict[str, Any] | None:
    """Return the state of a generator as a dict that `json.dumps` takes; None for one that has none.

    >>> rng = random.Random(0)
    >>> state, first = generator_state(rng), rng.random()
    >>> restore_generator(rng, state)
    >>> rng.random() == first
    True
    """
    if isinstance(generator, random.SystemRandom):
        return None
    if isinstance(generator, random.Random):
        _, words, gauss = generator.getstate()
        return {
            "kind": "random",
            "words": b2a_base64(np.array(words, "<u4").tobytes(), newline=False).decode(),
            "gauss": gauss,
        }
    if isinstance(generator, np.random.Generator):
        return {"kind": "numpy", "state": _listed(generator.bit_generator.state)}
    if isinstance(generator, np.random.RandomState):
        return {"kind": "numpy", "state": _listed(generator.get_state(legacy=False))}
    from headrace.frameworks import torch

    return {"kind": "torch", "state": b2a_base64(torch.state(generator), newline=False).decode()}


def restore_generator(generator: Any, state: dict[str, Any] | None) -> None:
    """Let a generator go on from what `generator_state` gave, perhaps in another process.

    Raises:
        StateError: it is not the state of a generator of this kind.
    """
    if state is None:
        return
    try:
        if isinstance(generator, random.Random):
            words = np.frombuffer(a2b_base64(state["words"]), "<u4").tolist()
            generator.setstate((generator.VERSION, tuple(words), state["gauss"]))
        elif isinstance(generator, np.random.Generator):
            generator.bit_generator.state = _arrayed(state["state"])
        elif isinstance(generator, np.random.RandomState):
            generator.set_state(_arrayed(state["state"]))
        else:
            from headrace.frameworks import torch

            torch.restore(a2b_base64(state["state"]), generator)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
        raise StateError(
            f"the state of a random generator does not fit the {type(generator).__name__} here ({error}); use a "
            "generator of the same kind as when the state was taken"
        ) from error


def _listed(state: Any) -> Any:
    """Return a state of NumPy's with lists in place of arrays."""
    if isinstance(state, dict):
        return {name: _listed(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state


def _arrayed(state: Any) -> Any:
    """Return the same with arrays again."""
    if isinstance(state, dict):
        return {name: _arrayed(value) for name, value in state.items()}
    return np.array(state, np.uint64) if isinstance(state, list) else state


def seed_globals(seed: int, *, devices: bool = True) -> None:
    """Seed the generators that a process shares: `random`, `numpy.random` and, if it is in use, torch's.

    Args:
        seed: a non-negative integer.
        devices: seed those of GPUs, too.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the legacy generator is what is meant
    if sys.modules.get("torch") is not None:
        from headrace.frameworks import torch

        torch.seed(seed % 2**_BITS, devices=devices)


def global_states() -> tuple[Any, ...]:
    """Return the states of these generators: equal before and after what has not drawn from them.

    >>> before = global_states()
    >>> global_states() == before, random.random() < 1, global_states() == before
    (True, True, False)
    """
    name, key, *rest = np.random.get_state()  # noqa: NPY002
    return random.getstate(), (name, np.asarray(key).tobytes(), *rest), _torch_state()


def restore_globals(states: tuple[Any, ...]) -> None:
    """Let the generators go on where `global_states` found them."""
    of_random, (name, key, *rest), torch_state = states
    random.setstate(of_random)
    np.random.set_state((name, np.frombuffer(key, np.uint32), *rest))  # noqa: NPY002
    _restore_torch(torch_state)


class kept_globals:  # noqa: N801 - a context manager reads like a function
    """After this, the global generators go on where they were before it.

    NumPy's has another bit generator meanwhile: to exchange it takes no time, to set the state of one does.

    >>> before = global_states()
    >>> with kept_globals():
    ...     drawn = random.random(), np.random.random()
    >>> global_states() == before
    True
    """

    __slots__ = ("_bits", "_numpy", "_random", "_spare", "_torch")

    def __init__(self) -> None:
        self._spare: np.random.MT19937 | None = None

    def __enter__(self) -> None:
        self._keep()
        np.random.set_state(self._numpy)  # noqa: NPY002

    def _keep(self) -> None:
        self._random = random.getstate()
        self._torch = _torch_state()
        self._bits: Any = np.random.get_bit_generator()  # type: ignore[attr-defined]
        self._numpy: Any = self._numpy_state()
        if self._spare is None:
            self._spare = np.random.MT19937(0)
        np.random.set_bit_generator(self._spare)  # type: ignore[attr-defined]

    def _numpy_state(self) -> Any:
        return np.random.get_state(legacy=False)  # noqa: NPY002 - with a normal number drawn in advance

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        random.setstate(self._random)
        _restore_torch(self._torch)
        np.random.set_bit_generator(self._bits)  # type: ignore[attr-defined]
        if self._numpy.get("has_gauss"):
            np.random.set_state(self._numpy)  # noqa: NPY002


class reseeded_globals(kept_globals):  # noqa: N801 - a context manager reads like a function
    """The same for code that begins by seeding them, time and again: what they would give before is not said.

    To ask NumPy's for its state takes longer than all else, so that is not done where it is as it was left.

    >>> before = global_states()
    >>> with reseeded_globals():
    ...     seed_globals(7, devices=False)
    >>> global_states() == before
    True
    """

    __slots__ = ("_left", "_words")

    def __init__(self) -> None:
        super().__init__()
        self._words: NDArray[np.uint32] | None = None
        self._left: tuple[Any, bytes] | None = None  # NumPy's bit generator, and its words, without a normal number

    def __enter__(self) -> None:
        self._keep()

    def _numpy_state(self) -> Any:
        if self._left is not None and self._words is not None and self._left == (self._bits, self._words.tobytes()):
            return {}
        return super()._numpy_state()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._left is None or self._left[0] is not self._bits:
            self._words = _words_of(self._bits)
        known = self._words is not None and not self._numpy.get("has_gauss")
        self._left = (self._bits, self._words.tobytes()) if self._words is not None and known else None


class _WordsAt:
    """Words at an address, for `numpy.asarray`."""

    def __init__(self, address: int, count: int) -> None:
        self.__array_interface__ = {"data": (address, True), "shape": (count,), "typestr": "<u4", "version": 3}


def _words_of(bits: Any) -> NDArray[np.uint32] | None:
    """Return the memory of NumPy's Mersenne Twister, to see whether it has changed; None for other bit generators."""
    if type(bits) is not np.random.MT19937:
        return None
    state = bits.state["state"]
    words: NDArray[np.uint32] = np.asarray(_WordsAt(bits.ctypes.state_address, len(state["key"]) + 1))
    return words if np.array_equal(words, np.append(state["key"], np.uint32(state["pos"]))) else None


class private_globals(kept_globals):  # noqa: N801 - a context manager reads like a function
    """The same for code that is left and entered again: its global generators go on where it left them.

    Args:
        seed: a non-negative integer that they begin with.
        states: what `global_states` gave, to begin with in place of a seed; without either they begin as they are.

    >>> private = private_globals(7)
    >>> with private:
    ...     first = random.random()
    >>> with private:
    ...     first == random.random()
    False
    """

    __slots__ = ("_own", "_seed", "_states")

    def __init__(self, seed: int | None = None, *, states: tuple[Any, ...] | None = None) -> None:
        super().__init__()
        self._seed = seed
        self._states = states
        self._own: tuple[Any, Any] | None = None  # of `random` and torch; NumPy's is the spare one

    def __enter__(self) -> None:
        self._keep()
        if self._own is not None:
            of_random, of_torch = self._own
            random.setstate(of_random)
            _restore_torch(of_torch)
        elif self._states is not None:
            restore_globals(self._states)
        elif self._seed is not None:
            seed_globals(self._seed, devices=False)  # those of GPUs are the training loop's, and could not be put back
        else:
            np.random.set_state(self._numpy)  # noqa: NPY002

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._own = random.getstate(), _torch_state()
        super().__exit__(kind, error, trace)


def _torch_state() -> bytes | None:
    """Return the state of torch's global generator; None where torch is not in use."""
    if sys.modules.get("torch") is None:
        return None
    from headrace.frameworks import torch

    return torch.state()


def _restore_torch(state: bytes | None) -> None:
    if state is not None:
        from headrace.frameworks import torch

        torch.restore(state)


def _is_torch(generator: object) -> bool:
    if sys.modules.get("torch") is None:
        return False
    from headrace.frameworks import torch

    return torch.is_generator(generator)
