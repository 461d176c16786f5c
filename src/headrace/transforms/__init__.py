"""How a sample changes: transforms of images, named and parameterised as torchvision's."""

from headrace.transforms.base import Compose, ImageTransform, Transform
from headrace.transforms.geometry import CenterCrop, Pad, RandomCrop, RandomHorizontalFlip, RandomVerticalFlip
from headrace.transforms.pixels import Normalize, ToCHW, ToFloat

__all__ = [
    "CenterCrop",
    "Compose",
    "ImageTransform",
    "Normalize",
    "Pad",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "ToCHW",
    "ToFloat",
    "Transform",
]
