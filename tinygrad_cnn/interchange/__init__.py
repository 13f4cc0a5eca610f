"""Files that other programs read too."""

from .errors import CheckpointError
from .safetensors import load, save

__all__ = ["CheckpointError", "load", "save"]
