"""Datasets, batches and augmentation: arrays in, Tensors out."""

from .digits import digits
from .loader import DataLoader, Dataset, TensorDataset, default_collate
from .transforms import random_shift

__all__ = ["DataLoader", "Dataset", "TensorDataset", "default_collate", "digits", "random_shift"]
