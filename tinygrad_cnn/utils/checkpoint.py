"""torch.utils.checkpoint's names: see tinygrad_cnn.func."""

from ..func import checkpoint, checkpoint_sequential

__all__ = ["checkpoint", "checkpoint_sequential"]
