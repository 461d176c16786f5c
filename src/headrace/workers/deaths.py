"""The deaths of workers: which are accidents, after which others go on, and which come again."""

from __future__ import annotations

__all__ = ["Deaths"]


class Deaths:
    """The deaths of the workers of a pool, counted by their causes.

    Attributes:
        most: so many that one task causes, or that one worker dies with no result of any in between, are no accident.
            Workers that die once each are one: all of a machine do when it fails.

    >>> deaths = Deaths()
    >>> [deaths.add(worker, task=7) for worker in (0, 1, 0)]
    [False, False, True]
    >>> [deaths.add(worker, task=None) for worker in (0, 1, 2, 0)]
    [False, False, False, False]
    """

    most = 3

    def __init__(self) -> None:
        self._of_tasks: dict[int, int] = {}
        self._between_tasks: dict[int, int] = {}

    def add(self, worker: int, task: int | None) -> bool:
        """Count a death, and return whether it is one that would come again.

        Args:
            worker: the number of the worker.
            task: that of the task that it was at; None for a death between tasks, or at the start.
        """
        counts, cause = (self._between_tasks, worker) if task is None else (self._of_tasks, task)
        counts[cause] = counts.get(cause, 0) + 1
        return counts[cause] >= self.most

    def forget_those_between_tasks(self) -> None:
        """Take note of a result: workers can do something."""
        self._between_tasks.clear()
