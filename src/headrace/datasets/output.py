"""The framework whose arrays the samples of image datasets are."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace import frameworks
from headrace.errors import ArgumentError
from headrace.transforms.base import Transform

__all__ = ["ToTorch", "converter"]


def converter(output: object) -> ToTorch | None:
    """Return what makes arrays of a framework of NumPy's; None for NumPy itself.

    Raises:
        ArgumentError: output is neither "numpy" nor "torch", or torch is not there.

    >>> converter("numpy") is None
    True
    """
    if output not in ("numpy", "torch"):
        raise ArgumentError(f"output must be 'numpy' or 'torch', but got output={output!r}")
    if output == "numpy":
        return None
    try:
        frameworks.rebuild("torch", np.zeros(0, np.uint8))
    except ImportError as error:
        raise ArgumentError("output='torch' needs PyTorch, which is not there: pip install torch") from error
    return ToTorch()


class ToTorch(Transform):
    """Turn arrays into torch tensors in the same memory; all else stays."""

    @property
    def releases_gil(self) -> bool:
        """Whether `apply_batch` leaves other threads the GIL for most of its time: it takes none."""
        return True

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    def __call__(self, sample: Any) -> Any:
        """Return an array as a tensor."""
        if type(sample) is not np.ndarray:
            return sample
        backwards = any(stride < 0 for stride in sample.strides)  # which torch does not know
        return frameworks.rebuild("torch", np.ascontiguousarray(sample) if backwards else sample)

    def apply_batch(self, batch: Any) -> Any:
        """Return a batch as a tensor."""
        return self(batch)

    def layout_after(self, layout: str | None) -> str | None:
        """Return where the channels of images are: as before."""
        return layout
