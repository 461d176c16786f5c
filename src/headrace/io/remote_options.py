"""Options for reading files of other machines."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["RemoteOptions"]


@dataclass(frozen=True, eq=False)
class RemoteOptions:
    """Options for reading files at addresses such as `s3://bucket/name`.

    They count for the datasets that are made while the context is open, and travel with them.

    Args:
        storage_options: what fsspec is given for the file system: credentials, endpoints and the like.
        retries: how often a request that failed is made again, after pauses that grow and are random.
        timeout: how long reading may take with all of its retries, in seconds.
        concurrency: how many requests are made at the same time.
        cache_dir: a folder of this machine for what was read, shared by all processes; None for none.
        cache_limit: how large that may become, in bytes; what was used least recently is deleted.

    Raises:
        ArgumentError: a number is negative, or there is a cache_limit and no cache_dir.

    >>> with RemoteOptions(retries=2, timeout=20):
    ...     RemoteOptions.current().retries
    2
    """

    storage_options: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 5
    timeout: float = 60.0
    concurrency: int = 8
    cache_dir: str | None = None
    cache_limit: int | None = None

    _open: ClassVar[ContextVar[tuple[RemoteOptions, ...]]] = ContextVar("headrace_remote_options", default=())

    def __post_init__(self) -> None:
        for name, least in (("retries", 0), ("timeout", 0), ("concurrency", 1), ("cache_limit", 0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ArgumentError(f"{name} must be at least {least}, but got {name}={value!r}")
        if self.cache_dir is not None:
            absolute = os.path.abspath(self.cache_dir)  # noqa: PTH100 - no link is to be resolved
            object.__setattr__(self, "cache_dir", absolute)
        if self.cache_limit is not None and self.cache_dir is None:
            raise ArgumentError("cache_limit bounds a cache_dir, but there is none; give both or neither")

    @staticmethod
    def current() -> RemoteOptions:
        """Return the options of the innermost context, or the default."""
        return (RemoteOptions._open.get() or (_DEFAULT,))[-1]

    def __enter__(self) -> Self:
        self._open.set((*self._open.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.set(self._open.get()[:-1])


_DEFAULT = RemoteOptions()
