"""Datasets, batches and augmentation: arrays in, Tensors out."""

from . import datasets, transforms
from .cifar import CIFAR10, CIFAR100
from .collate import default_collate
from .dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from .digits import Digits, digits
from .errors import DatasetError
from .folder import ImageFolder
from .idx import read_idx
from .loader import DataLoader
from .mnist import KMNIST, MNIST, FashionMNIST
from .pictures import read_image
from .samplers import BatchSampler, RandomSampler, Sampler, SequentialSampler, WeightedRandomSampler
from .synthetic import SyntheticImages, synthetic
from .transforms import random_shift
from .vision import VisionDataset

__all__ = [
    "BatchSampler",
    "CIFAR10",
    "CIFAR100",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DatasetError",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "KMNIST",
    "MNIST",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SyntheticImages",
    "TensorDataset",
    "VisionDataset",
    "WeightedRandomSampler",
    "datasets",
    "default_collate",
    "digits",
    "random_shift",
    "random_split",
    "read_idx",
    "read_image",
    "synthetic",
    "transforms",
]
