"""What `torch.autograd` has, under its names: gradients, functions with their own backward, and checks of both."""

import importlib
from typing import TYPE_CHECKING, Any

from ..modes import enable_grad, inference_mode, no_grad, set_grad_enabled
from . import functional
from .function import Function, FunctionCtx, once_differentiable
from .roots import backward, grad

if TYPE_CHECKING:
    from ..testing import gradcheck, gradgradcheck

__all__ = [
    "Function",
    "FunctionCtx",
    "backward",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """gradcheck and gradgradcheck of `tinygrad_cnn.testing`, which is imported when first asked for."""
        if name in ("gradcheck", "gradgradcheck"):
            return getattr(importlib.import_module("..testing", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
