"""Counting what is read from files: the counters that datasets of files give to the loader."""

from __future__ import annotations

from threading import Lock

__all__ = ["ReadCounts"]


class ReadCounts:
    """Totals of the bytes and requests with which a dataset reads its files, in this process. They only rise.

    It pickles as an empty one, since another process counts for itself.

    >>> counts = ReadCounts()
    >>> counts.add(bytes_read=100)
    >>> counts.add(remote_requests=1, remote_bytes=160)
    >>> counts.totals()
    {'bytes_read': 100, 'remote_requests': 1, 'remote_bytes': 160}
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._bytes_read = 0
        self._others: dict[str, int] = {}

    def __reduce__(self) -> tuple[type[ReadCounts], tuple[()]]:
        return ReadCounts, ()

    def add(self, bytes_read: int = 0, **others: int) -> None:
        """Add to the totals.

        Args:
            bytes_read: bytes of samples, as they lie in files.
            others: of files far away `remote_requests` for ranges and the `remote_bytes` that came; of a folder of
                their chunks `chunk_hits` and `chunk_misses`.
        """
        with self._lock:
            self._bytes_read += bytes_read
            for name, count in others.items():
                self._others[name] = self._others.get(name, 0) + count

    def totals(self) -> dict[str, int]:
        """Return the totals by name: `bytes_read`, and those of the others that were met."""
        with self._lock:
            return {"bytes_read": self._bytes_read, **self._others}
