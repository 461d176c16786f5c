"""Whether contenders do the same work: the samples of an epoch, their labels and the mean of their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["Digest", "compare", "digest_of"]

_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / the golden ratio, as in Steele et al. 2014, SplitMix
_SHIFT = np.uint64(29)


@dataclass(frozen=True)
class Digest:
    """An epoch in three numbers, none of which depends on the order of samples.

    Args:
        samples: how many there are.
        labels: a sum of hashes of the last field: equal for the same multiset of labels.
        mean: of all values of the first field.
    """

    samples: int
    labels: int
    mean: float


def digest_of(batches: Iterable[Any]) -> Digest:
    """Return the digest of an epoch.

    Args:
        batches: sequences of fields, arrays or tensors of as many rows; the last one holds integers.

    >>> x, y = np.ones((4, 2)), np.arange(4)
    >>> digest_of([(x, y)]) == digest_of([(x[:1], y[3:]), (x[1:], y[:3])])
    True
    """
    samples, labels, total, size = 0, 0, 0.0, 0
    for batch in batches:
        values, numbers = _array(batch[0]), _array(batch[-1])
        samples += len(numbers)
        labels += int(_hashes(numbers).sum(dtype=np.uint64))
        total += float(values.sum(dtype=np.float64))
        size += values.size
    return Digest(samples, labels % 2**64, total / max(size, 1))


def _array(field: Any) -> NDArray[Any]:
    return field if isinstance(field, np.ndarray) else np.asarray(field)


def _hashes(numbers: NDArray[Any]) -> NDArray[np.uint64]:
    mixed = (numbers.astype(np.int64).view(np.uint64) + np.uint64(1)) * _MIX
    return (mixed ^ (mixed >> _SHIFT)) * _MIX


def compare(digests: Mapping[str, Digest], tolerance: float = 0) -> tuple[str, str]:
    """Say what is the same for all, and who does other work.

    Args:
        digests: of each contender; the first one is what the others are held against.
        tolerance: of the mean, in parts of it, or of 1 where it is smaller: where draws differ, so do means.

    Returns:
        What is the same, and what differs; each may be empty.

    >>> compare({"a": Digest(10, 1, 0.5), "b": Digest(10, 1, 0.505)}, tolerance=0.02)
    ('10 samples, their labels, the mean of their values (0.5) within 2%', '')
    >>> compare({"a": Digest(10, 1, 0.5), "b": Digest(10, 2, 0.5)})[1]
    'b has other labels'
    """
    if len(digests) < 2:
        return "", ""
    (_, first), *others = digests.items()
    wrong = [f"{other} has {what}" for other, found in others for what in _differs(first, found, tolerance)]
    if wrong:
        return "", "; ".join(wrong)
    within = f" within {tolerance:.0%}" if tolerance else ""
    return f"{first.samples:,} samples, their labels, the mean of their values ({first.mean:.6g}){within}", ""


def _differs(first: Digest, found: Digest, tolerance: float) -> Iterable[str]:
    if found.samples != first.samples:
        yield f"{found.samples:,} samples, not {first.samples:,}"
    elif found.labels != first.labels:
        yield "other labels"
    allowed = max(tolerance, 1e-5) * max(abs(first.mean), 1)
    if abs(found.mean - first.mean) > allowed:
        yield f"a mean of {found.mean:.6g}, not {first.mean:.6g}"
