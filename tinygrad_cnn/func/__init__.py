"""Functions of functions of Tensors under JAX's names, modules as functions of their parameters, and checkpoints."""

from .calls import functional_call
from .checkpointing import checkpoint, checkpoint_sequential
from .jacobians import hessian, hvp, jacfwd, jacobian, jacrev
from .transforms import grad, jvp, linearize, value_and_grad, vjp

__all__ = [
    "checkpoint",
    "checkpoint_sequential",
    "functional_call",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "linearize",
    "value_and_grad",
    "vjp",
]
