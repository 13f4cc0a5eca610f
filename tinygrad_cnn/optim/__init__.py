"""Optimizers with PyTorch's names, default values and formulas; learning-rate schedules in `lr_scheduler`."""

from . import lr_scheduler
from .adam import Adam, AdamW, NAdam
from .adaptive import Adadelta, Adagrad, RMSprop
from .descent import SGD, Lion
from .optimizer import Optimizer

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "Lion", "NAdam", "Optimizer", "RMSprop", "SGD", "lr_scheduler"]
