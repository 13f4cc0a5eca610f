"""Modules and layers under PyTorch's names; `functional`, `init` and `utils` beside them, networks in `models`."""

from . import functional, init, models, utils
from .containers import Identity, ModuleList, Sequential
from .layers import BatchNorm2d, Conv2d, ConvTranspose2d, Linear
from .losses import CrossEntropyLoss, MSELoss, NLLLoss
from .module import Module, Parameter, UninitializedParameter
from .stateless import AvgPool2d, Dropout, Flatten, LogSoftmax, MaxPool2d, ReLU, Sigmoid, Softmax, Tanh

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "UninitializedParameter",
    "functional",
    "init",
    "models",
    "utils",
]
