"""AugMix: an image mixed with some chains of operations on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.errors import ArgumentError
from headrace.rng.draws import draw
from headrace.transforms.augment import AutomaticAugmentation, check_count, ranges
from headrace.transforms.augment_operations import Range
from headrace.transforms.chance import is_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.transforms.augment import Plan
    from headrace.transforms.warping import Sampling

__all__ = ["AugMix"]

_SEVERITIES = 10
_DEEPEST = 3
_FULL: dict[str, Range] = {
    **ranges(shear=0.3, translate=(1 / 3, "each"), rotate=30, mix=0.9, bits=4),
    "Posterize": Range(4, 0),
}
del _FULL["Identity"]
_OTHERS = ("Brightness", "Color", "Contrast", "Sharpness")  # which the paper leaves out, since test images have them


class _MixedChains(NamedTuple):
    """The chains of operations of an image, and their shares.

    Attributes:
        kept: the share of the image itself.
        shares: those of the chains.
        chains: the chains.
    """

    kept: float
    shares: list[float]
    chains: list[Plan]


class AugMix(AutomaticAugmentation):
    """Mix the image with what some short chains of operations make of it.

    Args:
        severity: how many of the ten magnitudes of an operation are chosen from, 1 ... 10.
        mixture_width: how many chains there are.
        chain_depth: how many operations each has; -1, or 0, for 1 to 3 at random.
        alpha: the shares of the chains are drawn from a Dirichlet distribution of this parameter, and how much
            of the image is kept from Beta(alpha, alpha).
        all_ops: whether brightness, colour, contrast and sharpness are among the operations.
        interpolation: "nearest" or "bilinear"; see TrivialAugmentWide.
        fill: the value of pixels that come from outside the image: one number, or one a channel; None for 0.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: an argument is not allowed; when called, the images have none of 1, 3 and 4 channels, or
            fill does not fit them.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.AugMix, and computes as it does on tensors; Hendrycks et al., "AugMix: A
    Simple Data Processing Method to Improve Robustness and Uncertainty", ICLR 2020. Floats lie in 0 ... 1, bytes are
    rounded down. The last one of four channels is alpha, which is moved with the others and else stays.

    >>> AugMix()(np.zeros((32, 32, 3), np.uint8)).shape
    (32, 32, 3)
    """

    def __init__(
        self,
        severity: int = 3,
        mixture_width: int = 3,
        chain_depth: int = -1,
        alpha: float = 1.0,
        all_ops: bool = True,  # noqa: FBT001, FBT002 - torchvision's order
        interpolation: Any = "bilinear",
        fill: float | Sequence[float] | None = None,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(interpolation, fill, layout)
        self.severity = check_count("severity", severity, 1, _SEVERITIES)
        self.mixture_width = check_count("mixture_width", mixture_width, 1)
        self.chain_depth = check_count("chain_depth", chain_depth, -1)
        if not is_number(alpha) or not 0 < alpha < np.inf:
            raise ArgumentError(f"alpha must be a positive number, but got alpha={alpha!r}")
        self.alpha = float(alpha)
        self.all_ops = bool(all_ops)

    def plans(self, count: int, extent: tuple[int, int]) -> Sequence[_MixedChains]:
        """Return the mixture of each image."""
        keys = np.ascontiguousarray(draw(count)).view(np.uint64)
        return [self._mixture(np.random.Generator(np.random.Philox(key=key)), extent) for key in keys]

    def noted(self, plan: _MixedChains) -> dict[str, Any]:
        """Return what is noted of a mixture."""
        chains = [super(AugMix, self).noted(chain)["operations"] for chain in plan.chains]
        return {"kept": plan.kept, "shares": plan.shares, "chains": chains}

    def augment(self, image: NDArray[Any], plan: _MixedChains, sampling: Sampling) -> NDArray[Any]:
        """Return the mixture of an image, as planes."""
        dtype = np.result_type(image.dtype, np.float32)
        mixed: NDArray[Any] = image * dtype.type(plan.kept)
        for share, chain in zip(plan.shares, plan.chains, strict=True):
            mixed += super().augment(image, chain, sampling) * dtype.type(share)
        out: NDArray[Any] = mixed.astype(image.dtype)
        return out

    def _mixture(self, rng: np.random.Generator, extent: tuple[int, int]) -> _MixedChains:
        kept = float(rng.beta(self.alpha, self.alpha))
        shares = (1 - kept) * rng.dirichlet([self.alpha] * self.mixture_width)
        return _MixedChains(kept, shares.tolist(), [self._chain(rng, extent) for _ in shares])

    def _chain(self, rng: np.random.Generator, extent: tuple[int, int]) -> Plan:
        depth = self.chain_depth if self.chain_depth > 0 else int(rng.integers(1, _DEEPEST + 1))
        names = [name for name in _FULL if self.all_ops or name not in _OTHERS]
        chosen = [names[number] for number in rng.integers(len(names), size=depth).tolist()]
        places = (rng.integers(self.severity, size=depth) / (_SEVERITIES - 1)).tolist()
        signs = rng.integers(2**32, size=depth).tolist()
        steps = zip(chosen, places, signs, strict=True)
        return [(name, _FULL[name].magnitude(place, sign, extent)) for name, place, sign in steps]
