"""Transforms of samples and of images, named and parameterised as torchvision's."""

from headrace.transforms.affine import RandomAffine, RandomPerspective, RandomRotation
from headrace.transforms.augment import RandAugment, TrivialAugmentWide
from headrace.transforms.augmix import AugMix
from headrace.transforms.auto_augment import AutoAugment, AutoAugmentPolicy
from headrace.transforms.base import ImageTransform, Transform
from headrace.transforms.blur import GaussianBlur
from headrace.transforms.choice import RandomApply, RandomChoice, RandomOrder
from headrace.transforms.color import ColorJitter, Grayscale, RandomGrayscale
from headrace.transforms.compose import Compose
from headrace.transforms.conversions import PILToTensor, ToDtype, ToImage, ToTensor
from headrace.transforms.crops import CenterCrop, RandomCrop
from headrace.transforms.decode import Decode, read_header
from headrace.transforms.elastic import ElasticTransform
from headrace.transforms.erasing import RandomErasing
from headrace.transforms.flips import RandomHorizontalFlip, RandomVerticalFlip
from headrace.transforms.function import Lambda
from headrace.transforms.mix import CutMix, MixUp
from headrace.transforms.multi_crop import FiveCrop, TenCrop
from headrace.transforms.pad import Pad
from headrace.transforms.pixels import Normalize, ToCHW, ToFloat
from headrace.transforms.resize import RandomResizedCrop, Resize
from headrace.transforms.tone import (
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomEqualize,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)

__all__ = [
    "AugMix",
    "AutoAugment",
    "AutoAugmentPolicy",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "CutMix",
    "Decode",
    "ElasticTransform",
    "FiveCrop",
    "GaussianBlur",
    "Grayscale",
    "ImageTransform",
    "Lambda",
    "MixUp",
    "Normalize",
    "PILToTensor",
    "Pad",
    "RandAugment",
    "RandomAdjustSharpness",
    "RandomAffine",
    "RandomApply",
    "RandomAutocontrast",
    "RandomChoice",
    "RandomCrop",
    "RandomEqualize",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomInvert",
    "RandomOrder",
    "RandomPerspective",
    "RandomPosterize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSolarize",
    "RandomVerticalFlip",
    "Resize",
    "TenCrop",
    "ToCHW",
    "ToDtype",
    "ToFloat",
    "ToImage",
    "ToTensor",
    "Transform",
    "TrivialAugmentWide",
    "read_header",
]
