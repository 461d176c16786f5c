"""Ray actors as a backend: the arguments of a loader that they take, and how they are made of them."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.workers.backends import Backend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.workers.base import MakeWork, Pool, PoolOptions

__all__ = ["BACKEND"]


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
        from headrace.workers.ray.cluster import join_cluster
        from headrace.workers.ray.pool import RayPool  # Ray is imported with it

        join_cluster(given["ray_options"] or {}, options["workers"])
        restart = given["on_worker_death"] == "restart"
        return RayPool(make_work, **options, restart=restart, ray_options=given["ray_options"])


def _check_options(options: object) -> None:
    if options is None:
        return
    if not isinstance(options, dict):
        raise ArgumentTypeError(f"ray_options must be a dict or None, but got ray_options={options!r}")
    unknown = [name for name in options if name not in _ALLOWED]
    if unknown:
        raise ArgumentError(
            f"ray_options may have {', '.join(map(repr, _ALLOWED))}, but got {', '.join(map(repr, unknown))}"
        )
    if str(options.get("address")).startswith("ray://"):
        raise ArgumentError(
            f"ray_options asks for the address {options['address']!r}, that of a Ray Client, whose program is no "
            "process of the cluster; run the program on a node, by `ray job submit` for one, without an address"
        )
    for name, (fits, allowed) in _ALLOWED.items():
        value = options.get(name)
        if value is not None and not fits(value):
            raise ArgumentError(f"{name} in ray_options must be {allowed}, but got {value!r}")


def _is_address(value: object) -> bool:
    return isinstance(value, str) and (value in ("", "auto", "local") or value.rpartition(":")[2].isdigit())


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return 0 <= float(value) < float("inf")


def _are_amounts(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and name not in ("CPU", "GPU") and _is_amount(amount) for name, amount in value.items()
    )


def _are_labels(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair)


def _is_of_ray(value: object) -> bool:
    return type(value).__module__.startswith("ray.")


# What `ray_options` may say, the cluster and what Ray's own `options` of an actor are: how to tell it, and in words.
_ALLOWED: dict[str, tuple[Callable[[object], bool], str]] = {
    "address": (_is_address, "the host:port of a cluster, 'auto' or 'local'"),
    "num_cpus": (_is_amount, "a non-negative number of cores for each worker"),
    "resources": (
        _are_amounts,
        "a dict of names and non-negative amounts for each worker, without those of CPU and GPU",
    ),
    "label_selector": (_are_labels, "a dict of labels of nodes, {name: value} as str"),
    "scheduling_strategy": (
        lambda value: value in ("DEFAULT", "SPREAD") if isinstance(value, str) else _is_of_ray(value),
        "'DEFAULT', 'SPREAD' or an object of ray.util.scheduling_strategies",
    ),
    "runtime_env": (lambda value: isinstance(value, dict), "a dict or a ray.runtime_env.RuntimeEnv"),
}


BACKEND = _Ray()
