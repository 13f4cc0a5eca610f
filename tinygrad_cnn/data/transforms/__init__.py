"""Changes to images, under torchvision's names: images (c h w) or batches (n c h w), arrays or Tensors.

    train = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), ToTensor(), Normalize(mean, std)])

Each image of a batch has its own draws. A new array comes out; its dtype is that of what went in, except for ToTensor.
"""

from .base import Compose, Lambda, RandomTransform, Transform
from .crops import CenterCrop, Pad, RandomCrop
from .erasing import Cutout, RandomErasing
from .flips import RandomHorizontalFlip, RandomVerticalFlip
from .rotation import RandomRotation
from .shift import RandomShift, random_shift
from .sizes import Resize
from .values import Normalize, ToTensor

__all__ = [
    "CenterCrop",
    "Compose",
    "Cutout",
    "Lambda",
    "Normalize",
    "Pad",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomShift",
    "RandomTransform",
    "RandomVerticalFlip",
    "Resize",
    "ToTensor",
    "Transform",
    "random_shift",
]
