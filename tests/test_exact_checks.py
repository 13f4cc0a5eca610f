"""exact_check and adjoint_check: rules proved with ==, for every op of the package that allows it."""

import importlib
import pkgutil
from fractions import Fraction

import numpy as np
import pytest
from test_ops import MULTILINEAR

import tinygrad_cnn.ops
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.graph import Tensor
from tinygrad_cnn.ops.conv import conv2d
from tinygrad_cnn.ops.elementwise import abs, clip, exp, maximum, mul, relu, square
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
    **dict.fromkeys(["std", "sqrt", "rsqrt", "standardize", "standardize_input_grad", "power_norm"], ROOT),
    **dict.fromkeys(["batch_norm_train", "batch_norm_weight_grad", "batch_norm_input_grad", "batch_norm_eval"], ROOT),
    **dict.fromkeys(["exp", "log", "sin", "cos", "sigmoid", "tanh", "logsumexp", "softmax", "log_softmax"], POWER),
    **dict.fromkeys(["log1p", "expm1", "log2", "log10", "exp2", "tan", "asin", "acos", "atan", "sinh", "cosh"], POWER),
    **dict.fromkeys(["asinh", "acosh", "atanh", "erf"], POWER),
    **dict.fromkeys(["cross_entropy_of_labels", "cross_entropy_of_probabilities", "divergence"], POWER),
    **dict.fromkeys(["divergence_of_logs", "binary_cross_entropy", "binary_cross_entropy_with_logits"], POWER),
    **dict.fromkeys(["elu", "celu", "softplus", "logsigmoid", "silu", "silu_gradient", "mish"], POWER),
    **dict.fromkeys(["glu", "gaussian", "gelu_erf", "gelu_gradient", "gelu_tanh", "pow"], POWER),
    **dict.fromkeys(["div", "reciprocal"], CURVED),
    **dict.fromkeys(["hardswish", "hardswish_gradient", "softsign", "nll_of_labels", "round"], FLOATS),
    "cast": "rounds, on purpose",
    "var": "has a rule with 2 / (n - 1) in it, a float",
}
EXACT = sorted(WITH_RULES.keys() - NOT_EXACT.keys())


def quarters(name, seed):
    """A sample of an op on odd quarters, a bit more in each array: clear of each other and of kinks at integers."""
    arrays, params = sample(OURS[name], Draw.seeded(seed))
    odd = [
        a if a is None or a.dtype.kind != "f" else np.round(a * 10) // 2 * 2 + 1 + k / 8 for k, a in enumerate(arrays)
    ]
    return [a if a is None or a.dtype.kind != "f" else a / 4 for a in odd], params


@pytest.mark.parametrize("name", EXACT)
def test_rules_of_polynomials_and_piecewise_linear_ops_are_proved_on_fractions(name):
    arrays, params = quarters(name, 1)
    assert exact_check(OURS[name], *arrays, **params)


@pytest.mark.parametrize("name", sorted(NOT_EXACT))
def test_the_ops_that_are_said_to_be_beyond_fractions_are(name):
    """On one of some samples at least: a norm takes no root for p = 1."""
    refused = []
    for seed in range(5):
        arrays, params = sample(OURS[name], Draw.seeded(seed))
        try:
            exact_check(OURS[name], *arrays, **params)
        except (TypeError, ValueError) as error:
            refused.append(str(error))
    assert refused
    assert all(text.startswith("exact_check: ") for text in refused)


@pytest.mark.parametrize("name", MULTILINEAR)
def test_the_adjoint_identity_holds_to_the_last_bit(name):
    for seed in range(2):
        arrays, params = sample(OURS[name], Draw.seeded(seed))
        assert adjoint_check(
            OURS[name],
            *(a if a is None or a.dtype.kind != "f" else np.round(a * 10) for a in arrays),
            seed=seed,
            **params,
        )


X = np.array([[1, -2, 3], [4, 5, -6]])
IMAGE, KERNEL = np.arange(12).reshape(1, 1, 3, 4), np.array([[[[1, -2], [3, 5]]]])


def test_the_documented_calls_pass():
    assert exact_check(conv2d, IMAGE, KERNEL, stride=2)
    assert adjoint_check(conv2d, IMAGE, KERNEL, stride=2)


def test_fractions_floats_tensors_and_missing_inputs_are_taken():
    assert exact_check(mul, np.array([Fraction(1, 3)]), np.array([0.1]))
    assert exact_check(relu, Tensor(np.array([1.0, -2.0])))
    assert exact_check(conv2d, IMAGE, KERNEL, None, padding=1)
    assert exact_check(conv2d, IMAGE, KERNEL, np.array([7]), padding=1)
    assert exact_check(mul, np.array([[1], [2]]), np.array([3, 4, 5]))  # a broadcast


def test_a_factor_that_no_tolerance_would_notice_is_found(made):
    def tripled(x, /):
        return x * 3

    assert exact_check(made(tripled, x=lambda g: g * 3), X)
    off = made(tripled, x=lambda g: g * (3 + 2.0**-40))
    with pytest.raises(
        GradientError, match=r"exact_check: tripled\(x: object\(2, 3\)\): the rule gives .* for x\[0, 0\]; .*-?\d"
    ):
        exact_check(off, X)


def test_a_wrong_rule_is_shown_with_both_fractions_and_the_cotangent(made):
    def halved(x, /):
        return x / 2

    with pytest.raises(
        GradientError, match=r"the rule gives (-?\d) for x\[0\]; the derivative is -?\d/?2?, for the cotangent \[-?\d"
    ):
        exact_check(made(halved, x=lambda g: g), np.array([3]))


def test_a_gradient_of_another_shape_is_refused(made):
    def doubled(x, /):
        return x * 2

    with pytest.raises(GradientError, match=r"the gradient of x has shape \(3,\), needs \(2, 3\)"):
        exact_check(made(doubled, x=lambda g: g[0] * 2), X)


def relu_rule(at_zero):
    return lambda g, x: g * np.where(x > 0, 1, np.where(x == 0, at_zero, 0))


class TestKinks:
    def test_every_convention_between_the_sides_is_right(self, made):
        def kinked(x, /):
            return np.maximum(x, 0)

        for at_zero in (0, 0.5, 1):
            assert exact_check(made(kinked, x=relu_rule(at_zero)), np.array([0, 1, -1]))

    @pytest.mark.parametrize("at_zero", [1.0625, -0.0625])
    def test_nothing_outside_is(self, made, at_zero):
        def kinked(x, /):
            return np.maximum(x, 0)

        with pytest.raises(GradientError, match=r"for x\[0\]; at this kink it is from -?\d to -?\d, for the cotangent"):
            exact_check(made(kinked, x=relu_rule(at_zero)), np.array([0, 1, -1]))

    def test_our_conventions_are(self):
        assert exact_check(relu, np.array([0, 1, -1]))
        assert exact_check(abs, np.array([0, 1, -1]))
        assert exact_check(maximum, np.array([1, 2]), np.array([1, 3]))
        assert exact_check(amax, np.array([1, 2, 2]))
        assert exact_check(clip, np.array([0, 1, 2]), min=0.0, max=2.0)
        for ties in ("first", "last", "split"):
            assert exact_check(max_pool2d, np.ones((1, 1, 4, 4), int), kernel_size=2, ties=ties)


class TestRefusals:
    def test_an_op_that_leaves_the_fractions(self):
        with pytest.raises(
            TypeError, match=r"exact_check: exp does not stay within the fractions \(.*\); use gradcheck"
        ):
            exact_check(exp, X)

    def test_an_op_that_rounds(self):
        with pytest.raises(TypeError, match=r"does not stay within the fractions: it gives 0\.3333"):
            exact_check(registry["cast"], np.array([Fraction(1, 3)]), dtype=np.dtype(np.float64))

    def test_a_rule_that_rounds(self):
        with pytest.raises(ValueError, match="the rule of var for x rounds: a number like 1 / 3 is a float"):
            exact_check(var, np.array([[1, 2, 4, 9]]))
        assert exact_check(var, np.array([[1, 2, 4, 9, 3]]))  # 2 / 4 does not

    def test_a_cubic(self, made):
        def cubed(x, /):
            return x * x * x

        wrong = made(cubed, x=lambda g, x: g * x * x * 3)
        with pytest.raises(ValueError, match=r"cubed is neither piecewise linear nor quadratic in x\[0, 0\]"):
            exact_check(wrong, X)
        assert exact_check(square, X)

    def test_an_op_without_gradients(self):
        for check in (exact_check, adjoint_check):
            with pytest.raises(TypeError, match=f"{check.__name__}: no input of floored has a gradient"):
                check(self.floored(), X)

    def floored(self):
        registry.pop("floored", None)

        @op
        def floored(x, /):
            return x // 1

        floored.vjp(x=None)
        del registry["floored"]
        return floored

    def test_numbers_that_are_no_fractions(self):
        with pytest.raises(TypeError, match=r"exact_check: np.float64\(nan\) at \[1\] is no fraction"):
            exact_check(relu, np.array([1.0, np.nan]))
        with pytest.raises(TypeError, match=r"at \[0\] is no fraction; integers, finite floats and Fractions are"):
            exact_check(relu, np.array([np.inf]))

    def test_numbers_that_are_no_integers(self):
        with pytest.raises(ValueError, match="adjoint_check: input 0 holds numbers that are no integers up to 1048576"):
            adjoint_check(relu, np.array([0.5]))

    @pytest.mark.parametrize("curved", [relu, square, registry["floor"], registry["div"]])
    def test_an_op_that_is_not_linear(self, curved):
        arrays = [X] * len(curved.op.inputs if hasattr(curved, "op") else curved.inputs)
        with pytest.raises(ValueError, match=r"adjoint_check: \w+ is not linear in \w, or rounds"):
            adjoint_check(curved, *arrays)


def test_a_rule_that_is_not_the_adjoint_is_shown_with_both_products(made):
    def shifted(x, /):
        return np.roll(x, 1)

    assert adjoint_check(made(shifted, x=lambda g: np.roll(g, -1) if isinstance(g, np.ndarray) else g), X)
    with pytest.raises(
        GradientError, match=r"<f\(y\), c> is -?\d+, but <y, rule\(c\)> is -?\d+: the rule for x is not"
    ):
        adjoint_check(made(shifted, x=lambda g: np.roll(g, 1)), X)
