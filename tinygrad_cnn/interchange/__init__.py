"""Files that other programs read too."""

from .safetensors import CheckpointError, load, save

__all__ = ["CheckpointError", "load", "save"]
