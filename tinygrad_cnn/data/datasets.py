"""torchvision.datasets' names, for scripts in which the import lines alone change."""

from .cifar import CIFAR10, CIFAR100
from .folder import ImageFolder
from .mnist import KMNIST, MNIST, FashionMNIST
from .vision import VisionDataset

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "FashionMNIST",
    "ImageFolder",
    "KMNIST",
    "MNIST",
    "VisionDataset",
]
