"""exact_check and adjoint_check: rules proved with ==, for every op of the package that allows it."""

import importlib
import pkgutil
from fractions import Fraction

import numpy as np
import pytest

import tinygrad_cnn.ops
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.graph import Tensor
from tinygrad_cnn.ops.comparison import greater
from tinygrad_cnn.ops.conv import conv2d
from tinygrad_cnn.ops.elementwise import abs, clip, exp, maximum, mul, relu, square
from tinygrad_cnn.ops.joining import concatenate
from tinygrad_cnn.ops.pool import max_pool2d
from tinygrad_cnn.ops.reduce import amax, var
from tinygrad_cnn.primitive import op
from tinygrad_cnn.testing import Draw, GradientError, adjoint_check, exact_check
from tinygrad_cnn.testing.samples import sample

for module in pkgutil.walk_packages(tinygrad_cnn.ops.__path__, "tinygrad_cnn.ops."):
    importlib.import_module(module.name)

OURS = {name: op for name, op in registry.items() if op.forward.__module__.startswith("tinygrad_cnn.")}
WITH_RULES = {name: op for name, op in OURS.items() if op.joint or any(op.rules.values())}

# Why the others cannot be proved on fractions.
ROOT, POWER = "takes a root", "is an exponential, a logarithm or an angle of its input"
CURVED, FLOATS = "is rational, but neither piecewise linear nor quadratic", "asks NumPy for what floats alone have"
NOT_EXACT = {
    **dict.fromkeys(["std", "sqrt", "rsqrt", "standardize", "standardize_input_grad"], ROOT),
    **dict.fromkeys(["batch_norm_train", "batch_norm_weight_grad", "batch_norm_input_grad", "batch_norm_eval"], ROOT),
    **dict.fromkeys(["exp", "log", "sin", "cos", "sigmoid", "tanh", "logsumexp", "softmax", "log_softmax"], POWER),
    **dict.fromkeys(["log1p", "expm1", "log2", "log10", "exp2", "tan", "asin", "acos", "atan", "sinh", "cosh"], POWER),
    **dict.fromkeys(["cross_entropy_of_labels", "cross_entropy_of_probabilities", "divergence"], POWER),
    **dict.fromkeys(["divergence_of_logs", "binary_cross_entropy", "binary_cross_entropy_with_logits"], POWER),
    **dict.fromkeys(["normal_cdf", "elu", "celu", "softplus", "logsigmoid", "silu", "silu_gradient", "mish"], POWER),
    **dict.fromkeys(["glu", "gaussian", "gelu_erf", "gelu_gradient", "gelu_tanh", "pow"], POWER),
    **dict.fromkeys(["div", "reciprocal"], CURVED),
    **dict.fromkeys(["hardswish", "hardswish_gradient", "softsign", "nll_of_labels", "round"], FLOATS),
    "cast": "rounds, on purpose",
    "var": "has a rule with 2 / (n - 1) in it, a float",
}
EXACT = sorted(WITH_RULES.keys() - NOT_EXACT.keys())


def integers(name, seed):
    """A sample of an op on odd integers, without kinks: ten times the usual values."""
    arrays, params = sample(OURS[name], Draw.seeded(seed))
    return [a if a is None or a.dtype.kind != "f" else np.round(a * 10) for a in arrays], params


@pytest.mark.parametrize("name", EXACT)
def test_rules_of_polynomials_and_piecewise_linear_ops_are_proved_on_fractions(name):
    arrays, params = integers(name, 1)
    assert exact_check(OURS[name], *arrays, **params)


@pytest.mark.parametrize("name", sorted(NOT_EXACT))
def test_the_ops_that_are_said_to_be_beyond_fractions_are(name):
    arrays, params = sample(OURS[name], Draw.seeded(3))
    with pytest.raises((TypeError, ValueError), match="exact_check: "):
        exact_check(OURS[name], *arrays, **params)
