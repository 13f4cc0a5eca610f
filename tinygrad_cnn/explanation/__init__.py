"""The arithmetic behind one number of a result or of a gradient, and a convolution written as a matrix.

`rules.py` is the table of explainers; each file beside it fills in its ops, written as loops from the definition.
"""

from . import adaptive, along, classes, losses, moving, norms, pointwise, products, reductions, windows  # noqa: F401  (they fill in the table)
from .asking import explain, explain_grad
from .calls import UnknownValue
from .explanation import Explanation
from .matrix import ConvMatrix, conv2d_matrix
from .table import Factor, Term

__all__ = ["ConvMatrix", "Explanation", "Factor", "Term", "UnknownValue", "conv2d_matrix", "explain", "explain_grad"]
