"""The randomness of a sample as a key of `jax.random`."""

from __future__ import annotations

import jax

from headrace.rng.draws import draw

__all__ = ["sample_key"]

_WORDS = {"threefry2x32": 2}  # of a key's 32-bit words; the other generators of JAX have keys of four


def sample_key() -> jax.Array:
    """Return a `jax.random` key of the sample being loaded, for a transform of your own.

    Each call gives an independent key, and the same one in every run with the same seed, on any number of workers: it
    follows from (seed, epoch, index, place in the chain), as `headrace.sample_rng()` does. In a `collate_fn` it belongs
    to the batch. Outside a loader it follows from Python's `random`.

    Returns:
        A typed key, shape (), of the generator that `jax_default_prng_impl` names.

    >>> import jax, random
    >>> random.seed(0)
    >>> one = jax.random.normal(sample_key())
    >>> random.seed(0)
    >>> bool(one == jax.random.normal(sample_key()))
    True
    """
    generator = jax.config.jax_default_prng_impl
    return jax.random.wrap_key_data(draw(1)[0, : _WORDS.get(generator, 4)], impl=generator)
