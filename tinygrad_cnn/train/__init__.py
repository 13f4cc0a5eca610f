"""Training: a loop to read, what is called at the end of its epochs, and files from which it goes on bit for bit."""

from .callbacks import BestModel, CSVLog, EarlyStopping, JSONLines, Progress, Run, StopTraining
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .history import History
from .loop import evaluate, fit

__all__ = [
    "BestModel",
    "CSVLog",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "JSONLines",
    "Progress",
    "Run",
    "StopTraining",
    "evaluate",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
]
