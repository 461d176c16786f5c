"""Transforms of samples and of images, named and parameterised as torchvision's."""

from headrace.transforms.augment import TrivialAugmentWide
from headrace.transforms.base import ImageTransform, Transform
from headrace.transforms.choice import RandomApply, RandomChoice
from headrace.transforms.color import ColorJitter, Grayscale, RandomGrayscale
from headrace.transforms.compose import Compose
from headrace.transforms.decode import Decode, read_header
from headrace.transforms.erasing import RandomErasing
from headrace.transforms.geometry import CenterCrop, Pad, RandomCrop, RandomHorizontalFlip, RandomVerticalFlip
from headrace.transforms.mix import CutMix, MixUp
from headrace.transforms.pixels import Normalize, ToCHW, ToFloat
from headrace.transforms.resize import RandomResizedCrop, Resize

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "CutMix",
    "Decode",
    "Grayscale",
    "ImageTransform",
    "MixUp",
    "Normalize",
    "Pad",
    "RandomApply",
    "RandomChoice",
    "RandomCrop",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomVerticalFlip",
    "Resize",
    "ToCHW",
    "ToFloat",
    "Transform",
    "TrivialAugmentWide",
    "read_header",
]
