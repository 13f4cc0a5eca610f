"""tinygrad_cnn: a small autograd engine for convolutional networks, to read, check, see and use."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from . import data, inplace, nn, optim, protocols  # noqa: F401  (they hand the Tensor its methods)
from .backprop import grad
from .diagram import draw
from .graph import Tensor, from_numpy
from .interchange import CheckpointError, load, save
from .kernels.conv import conv_algorithm
from .kernels.parallel import get_num_threads, set_num_threads
from .modes import enable_grad, is_grad_enabled, no_grad
from .ops.arrange import (
    chunk,
    masked_fill,
    movedim,
    pixel_shuffle,
    pixel_unshuffle,
    repeat,
    roll,
    split,
    tile,
    unbind,
    unflatten,
)
from .ops.conv import conv2d, conv2d_input_grad, conv2d_weight_grad, conv_transpose2d
from .ops.convert import clone, to
from .ops.dropout import dropout
from .ops.einsum import einsum, outer, tensordot
from .ops.elementwise import (
    abs,
    add,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    clamp,
    clip,
    cos,
    div,
    equal,
    exp,
    greater,
    greater_equal,
    isfinite,
    isnan,
    less,
    less_equal,
    log,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    mul,
    neg,
    not_equal,
    pow,
    relu,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    sub,
    tanh,
    where,
)
from .ops.index import getitem, take_along_axis
from .ops.layout import (
    broadcast_to,
    cast,
    cat,
    concat,
    expand,
    flatten,
    flip,
    pad,
    permute,
    reshape,
    squeeze,
    stack,
    sum_to,
    transpose,
    unsqueeze,
)
from .ops.loss import cross_entropy, mse_loss, nll_loss
from .ops.magnitude import norm, std
from .ops.matmul import linear, matmul
from .ops.norm import batch_norm
from .ops.order import argsort, sort, topk
from .ops.pool import avg_pool2d, max_pool2d, sum_pool2d
from .ops.reduce import amax, amin, argmax, argmin, logsumexp, max, mean, min, sum, var
from .ops.scan import cumprod, cumsum, prod
from .ops.scatter import gather, index_add, index_select, scatter, scatter_add
from .ops.softmax import log_softmax, softmax
from .primitive import op
from .profiling import profile
from .random import default_generator, manual_seed
from .records import watch
from .shapes import ShapeError

if TYPE_CHECKING:
    from . import testing

__version__ = "0.1.0"
__all__ = [
    "CheckpointError",
    "ShapeError",
    "Tensor",
    "abs",
    "add",
    "amax",
    "amin",
    "argmax",
    "argmin",
    "argsort",
    "avg_pool2d",
    "batch_norm",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "broadcast_to",
    "cast",
    "cat",
    "chunk",
    "clamp",
    "clip",
    "clone",
    "concat",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "conv_algorithm",
    "conv_transpose2d",
    "cos",
    "cross_entropy",
    "cumprod",
    "cumsum",
    "data",
    "default_generator",
    "div",
    "draw",
    "dropout",
    "einsum",
    "enable_grad",
    "equal",
    "exp",
    "expand",
    "flatten",
    "flip",
    "from_numpy",
    "gather",
    "get_num_threads",
    "getitem",
    "grad",
    "greater",
    "greater_equal",
    "index_add",
    "index_select",
    "is_grad_enabled",
    "isfinite",
    "isnan",
    "less",
    "less_equal",
    "linear",
    "load",
    "log",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "manual_seed",
    "masked_fill",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "movedim",
    "mse_loss",
    "mul",
    "neg",
    "nll_loss",
    "nn",
    "no_grad",
    "norm",
    "not_equal",
    "op",
    "optim",
    "outer",
    "pad",
    "permute",
    "pixel_shuffle",
    "pixel_unshuffle",
    "pow",
    "prod",
    "profile",
    "relu",
    "repeat",
    "reshape",
    "roll",
    "save",
    "scatter",
    "scatter_add",
    "set_num_threads",
    "sigmoid",
    "sign",
    "sin",
    "softmax",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "sub",
    "sum",
    "sum_pool2d",
    "sum_to",
    "take_along_axis",
    "tanh",
    "tensordot",
    "testing",
    "tile",
    "to",
    "topk",
    "transpose",
    "unbind",
    "unflatten",
    "unsqueeze",
    "var",
    "watch",
    "where",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> ModuleType:
        """`tinygrad_cnn.testing`, imported when first asked for."""
        if name == "testing":
            return importlib.import_module(".testing", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
