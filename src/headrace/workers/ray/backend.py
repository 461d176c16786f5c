"""Ray actors as a backend: the arguments of a loader that they take, and how they are made of them."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.workers.backends import Backend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.workers.base import MakeWork, Pool, PoolOptions

__all__ = ["BACKEND"]

# What `ray_options` may say: the cluster, and what Ray's own `options` of an actor are.
_OPTIONS = ("address", "num_cpus", "resources", "label_selector", "scheduling_strategy", "runtime_env")


class _Ray(Backend):
    """Actors of a Ray cluster."""

    name = "ray"
    separate = True
    options = ("ray_options",)

    def is_available(self) -> bool:
        return False  # it is never chosen, only asked for

    def check(self, given: Mapping[str, Any]) -> None:
        _check_options(given["ray_options"])
        if find_spec("ray") is None:
            raise ArgumentError("backend='ray' needs Ray, which is not there: pip install 'headrace[ray]'")

    def find_rank(self) -> tuple[str, int, int] | None:
        """Return the rank of a worker of Ray Train, which has imported it."""
        train: Any = sys.modules.get("ray.train")
        if train is None:
            return None
        try:
            context = train.get_context()
            rank, size = context.get_world_rank(), context.get_world_size()
        except Exception:  # outside of a worker, which Ray says in several ways
            return None
        return None if rank is None or size is None else ("Ray Train", rank, size)

    def make_pool(
        self, make_work: MakeWork[Any, Any], options: PoolOptions, given: Mapping[str, Any]
    ) -> Pool[Any, Any]:
        from headrace.workers.ray.pool import RayPool  # Ray is imported with it

        restart = given["on_worker_death"] == "restart"
        return RayPool(make_work, **options, restart=restart, ray_options=given["ray_options"])


def _check_options(options: object) -> None:
    if options is None:
        return
    if not isinstance(options, dict):
        raise ArgumentTypeError(f"ray_options must be a dict or None, but got ray_options={options!r}")
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown:
        raise ArgumentError(
            f"ray_options may have {', '.join(map(repr, _OPTIONS))}, but got {', '.join(map(repr, unknown))}"
        )
    _check_cpus(options.get("num_cpus"))


def _check_cpus(num_cpus: object) -> None:
    if num_cpus is None:
        return
    if isinstance(num_cpus, bool) or not isinstance(num_cpus, int | float) or not num_cpus >= 0:
        raise ArgumentError(
            f"num_cpus in ray_options must be a non-negative number of cores for each worker, but got {num_cpus!r}"
        )


BACKEND = _Ray()
