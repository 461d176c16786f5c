"""Names of files that belong to others, and of the folder for what can be made anew."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

__all__ = ["cache_folder", "file_name", "short_digest"]

_LONGEST_NAME = 100  # bytes of a name that is part of another one


def file_name(name: str, digest: str, ending: str = "") -> str:
    """Return the name of a file that belongs to another: its name, cut to what file systems take, and a digest."""
    return f"{os.fsencode(name)[:_LONGEST_NAME].decode(errors='ignore')}.{digest}{ending}"


def cache_folder(name: str) -> Path:
    """Return the folder of that name for what can be made anew: in `headrace`, below $XDG_CACHE_HOME or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace" / name


def short_digest(text: str) -> str:
    """Return a text as 16 characters that are others for any other text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
