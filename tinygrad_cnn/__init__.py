"""tinygrad_cnn: a small autograd engine for convolutional networks, to read, check, see and use."""

from .backprop import grad
from .graph import Tensor, from_numpy, op
from .modes import enable_grad, is_grad_enabled, no_grad
from .ops import elementwise, index, layout, matmul, reduce  # noqa: F401

__version__ = "0.1.0"
__all__ = ["Tensor", "enable_grad", "from_numpy", "grad", "is_grad_enabled", "no_grad", "op"]
