"""Lets torchvision be imported where its operators, of which no test needs one, are compiled for another torch."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

__all__ = ["import_torchvision"]


def import_torchvision() -> None:
    """Import torchvision, if it and torch are there."""
    if find_spec("torch") is None or find_spec("torchvision") is None:
        return
    try:
        import_module("torchvision")
    except RuntimeError:
        import torch

        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_module("torchvision")
