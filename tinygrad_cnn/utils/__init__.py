"""`data` and `checkpoint` where PyTorch has them, for scripts in which the import lines alone change.

The same objects as in `tinygrad_cnn.data` and `tinygrad_cnn.func`.
"""

from . import checkpoint, data

__all__ = ["checkpoint", "data"]
