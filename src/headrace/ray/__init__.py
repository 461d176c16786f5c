"""headrace for Ray Data: datasets as its sources.

`DataLoader(..., backend="ray")` needs none of this: workers that are Ray actors are part of every loader.
"""

from headrace.ray.read import read

__all__ = ["read"]
