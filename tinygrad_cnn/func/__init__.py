"""Functions of functions of Tensors, under JAX's names; checkpoints."""

from .checkpointing import checkpoint, checkpoint_sequential

__all__ = ["checkpoint", "checkpoint_sequential"]
