"""The choice of the number of workers of a conversion."""

from __future__ import annotations

from typing import Any

__all__ = ["useful_workers"]


def useful_workers(workers: Any, parts: int) -> Any:
    """Return how many of so many workers have something to do; none where all of the work is one part.

    >>> useful_workers(64, 3), useful_workers(64, 1), useful_workers(2, 100)
    (3, 0, 2)
    """
    if not isinstance(workers, int) or workers < 1:
        return workers  # the loader says what is wrong with it
    return min(workers, parts) if parts > 1 else 0
