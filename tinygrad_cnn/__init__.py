"""tinygrad_cnn: a small autograd engine for convolutional networks, to read, check, see and use."""

import warnings

from . import inplace, protocols  # noqa: F401  (they hand the Tensor its methods)
from .backprop import grad
from .graph import Tensor, from_numpy, op
from .modes import enable_grad, is_grad_enabled, no_grad
from .ops import conv, convert, elementwise, index, layout, matmul, pool, reduce  # noqa: F401
from .ops.elementwise import relu, tanh

__version__ = "0.1.0"
__all__ = ["Tensor", "enable_grad", "from_numpy", "grad", "is_grad_enabled", "no_grad", "op", "relu", "tanh"]

# 1/0 is inf and log(-1) is nan here, as in every framework: what our own modules compute warns nobody.
warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"tinygrad_cnn\.")
