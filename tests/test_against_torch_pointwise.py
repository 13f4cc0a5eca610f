"""Activations and losses that work element by element: PyTorch's values, gradients and second gradients.

The values of generated problems are multiples of 1/16, so that kinks and ties are met all the time.
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

import torch_problems as problems  # noqa: E402
from torch_problems import OURS, THEIRS, a, agree, derivatives, fails, grid, modules_agree, seeds, values  # noqa: E402

inf, nan = math.inf, math.nan
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


pytestmark = pytest.mark.usefixtures("one_torch_thread")


# Activations: the call, and how many derivatives PyTorch has

ACTIVATIONS: dict[str, tuple[Any, int]] = {
    "leaky_relu": (lambda F, x: F.leaky_relu(x), 2),
    "leaky_relu of another slope": (lambda F, x: F.leaky_relu(x, -0.3), 2),
    "elu": (lambda F, x: F.elu(x), 2),
    "elu of another alpha": (lambda F, x: F.elu(x, 1.75), 2),
    "selu": (lambda F, x: F.selu(x), 2),
    "celu": (lambda F, x: F.celu(x), 2),
    "celu of another alpha": (lambda F, x: F.celu(x, 0.5), 2),
    "gelu": (lambda F, x: F.gelu(x), 2),
    "gelu by tanh": (lambda F, x: F.gelu(x, approximate="tanh"), 2),
    "silu": (lambda F, x: F.silu(x), 2),
    "mish": (lambda F, x: F.mish(x), 2),
    "softplus": (lambda F, x: F.softplus(x), 2),
    "softplus of another beta": (lambda F, x: F.softplus(x, 1.5, 2.2), 2),
    "softsign": (lambda F, x: F.softsign(x), 2),
    "hardtanh": (lambda F, x: F.hardtanh(x), 2),
    "hardtanh of other bounds": (lambda F, x: F.hardtanh(x, -0.5, 1.25), 2),
    "relu6": (lambda F, x: F.relu6(x * 3), 2),
    "hardsigmoid": (lambda F, x: F.hardsigmoid(x), 1),  # its 1/6 is a single-precision number there
    "hardswish": (lambda F, x: F.hardswish(x), 2),
    "logsigmoid": (lambda F, x: F.logsigmoid(x), 2),
}


TOLERANCES = {"hardsigmoid": 1e-7}


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(x=problems.arrays(min_side=0, low=-4.0, high=4.0))
def test_activation(name: str, x: Any) -> None:
    f, order = ACTIVATIONS[name]
    agree(lambda m, x: f(m.F, x), x, order=order, tolerance=TOLERANCES.get(name, 1e-10))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_far_from_0(name: str) -> None:
    f, order = ACTIVATIONS[name]
    order = 1 if name == "mish" else order  # its second derivative at 800 is nan there
    x = a(-1e4, -800, -100, -50, -25, -12, 12, 19, 21, 25, 50, 100, 800, 1e4)
    agree(lambda m, x: f(m.F, x), x, order=order)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_in_an_activation(name: str) -> None:
    agree(lambda m, x: ACTIVATIONS[name][0](m.F, x), a(nan, 1), order=0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_in_half_precision(name: str) -> None:
    x = np.concatenate([grid(0, 40, low=-8, high=8), a(-60000, -300, 300, 60000)])
    f = lambda m, x: ACTIVATIONS[name][0](m.F, x)  # noqa: E731
    ours = derivatives(OURS, f, [x.astype(np.float16)], 1)
    theirs = derivatives(THEIRS, f, [x], 1)
    assert [r.dtype for r in ours] == [np.float16, np.float16]
    for mine, reference in zip(ours, theirs, strict=True):
        with np.errstate(over="ignore"):
            reference = reference.astype(np.float16)
        np.testing.assert_allclose(mine.astype(float), reference.astype(float), rtol=6e-3, atol=6e-3)


@given(x=problems.arrays(min_dims=1, min_side=0), seed=seeds, per_channel=st.booleans())
def test_prelu_with_one_weight_or_one_for_each_channel(x: Any, seed: int, per_channel: bool) -> None:
    channels = x.shape[1] if x.ndim > 1 and per_channel and x.shape[1] else 1
    agree(lambda m, x, w: m.F.prelu(x, w), x, grid(seed, channels), order=1)
    agree(lambda m, x, w: m.F.prelu(x, w), x + 1 / 32, grid(seed, channels))  # at 0 its second gradient is another's
    if x.ndim > 1 and x.shape[1]:
        agree(lambda m, x, w: m.prelu(x, w), x, grid(seed, channels), order=1)


@given(x=problems.arrays(min_dims=1, max_dims=3), data=st.data())
def test_glu(x: Any, data: Any) -> None:
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    x = np.concatenate([x, x[::-1] * 0.5 + 0.25], dim)
    agree(lambda m, x: m.F.glu(x, dim), x)
    agree(lambda m, x: m.F.glu(x, dim=dim), x, order=1)


@given(x=problems.arrays(min_side=0))
def test_gaussian_is_the_composition(x: Any) -> None:
    agree(lambda m, x: m.F.gaussian(x) if m is OURS else (-(x**2)).exp(), x)


def test_where_pytorch_gives_nan_the_limits_are_right() -> None:
    x = a(-inf, inf)
    for name, limits, slopes in [
        ("silu", [0, inf], [0, 1]),
        ("mish", [0, inf], [0, 1]),
        ("gelu", [0, inf], [0, 1]),
        ("hardswish", [0, inf], [0, 1]),
        ("softsign", [-1, 1], [0, 0]),
    ]:
        leaf = OURS.leaf(x)
        y = getattr(OURS.F, name)(leaf)
        y.sum().backward() if np.isfinite(limits).all() else y.backward(OURS.constant(a(1, 1)))
        np.testing.assert_array_equal(values(y), limits, name)
        np.testing.assert_array_equal(values(leaf.grad), slopes, name)
        assert np.isnan(values(getattr(THEIRS.F, name)(THEIRS.constant(x)))).any(), name


INPLACE = ["leaky_relu", "elu", "selu", "celu", "silu", "mish", "hardtanh", "relu6", "hardsigmoid", "hardswish"]


@pytest.mark.parametrize("name", INPLACE)
def test_inplace_makes_the_input_the_result(name: str) -> None:
    def f(m: Any, x: Any) -> Any:
        y = x * 2
        assert getattr(m.F, name)(y, inplace=True) is y
        return y + 1

    agree(f, grid(0, 3, 4), order=1, tolerance=TOLERANCES.get(name, 1e-10))
    with pytest.raises(RuntimeError, match=f"{name}: a leaf that requires grad"):
        getattr(OURS.F, name)(OURS.leaf(a(1, 2)), inplace=True)


# Losses


@given(x=problems.arrays(min_side=0), seed=seeds, reduction=REDUCTIONS)
def test_distances(x: Any, seed: int, reduction: str) -> None:
    y = grid(seed, *x.shape)
    agree(lambda m, x, y: m.F.l1_loss(x, y, reduction=reduction), x, y)
    for beta in (1.0, 0.5, 0.0):
        agree(
            lambda m, x, y, b=beta: m.F.smooth_l1_loss(x, y, reduction=reduction, beta=b), x, y, order=2 if beta else 1
        )
    for delta in (1.0, 0.75):
        agree(lambda m, x, y, d=delta: m.F.huber_loss(x, y, reduction, d), x, y)
    agree(lambda m, x, y: m.F.huber_loss(x, y, reduction=reduction, delta=0.5), x, y, order=1)


@given(x=problems.arrays(min_side=0), seed=seeds)
def test_half_squared_error_is_half_of_mse(x: Any, seed: int) -> None:
    y = grid(seed, *x.shape)
    for reduction in ("mean", "none", "sum"):
        agree(lambda m, x, y, r=reduction: _half(m, x, y, reduction=r), x, y)
    agree(lambda m, x, y: _half(m, x, y), x, y)


def _half(m: Any, x: Any, y: Any, reduction: str = "sum") -> Any:
    return m.F.half_squared_error(x, y, reduction) if m is OURS else m.F.mse_loss(x, y, reduction=reduction) / 2


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@given(
    x=problems.arrays(min_dims=1, min_side=0),
    seed=seeds,
    reduction=st.sampled_from(["mean", "sum", "none", "batchmean"]),
)
def test_kl_div(x: Any, seed: int, reduction: str) -> None:
    logs = grid(seed, *x.shape)
    agree(lambda m, x, y: m.F.kl_div(x, y, reduction=reduction), x, np.abs(logs) + 0.0625)
    agree(lambda m, x, y: m.F.kl_div(x, y, reduction=reduction, log_target=True), x, logs)


def test_kl_div_counts_0_for_a_probability_of_0() -> None:
    agree(lambda m, x, y: m.F.kl_div(x, y, reduction="none"), a(-1, -2), a(0, 1), order=0)


def _weights(data: Any, shape: Any) -> Any:
    options = [None, shape, shape[-1:], (1,) * len(shape)]
    chosen = data.draw(st.sampled_from(options))
    return None if chosen is None else grid(data.draw(seeds), *chosen, low=0.25, high=2)


@given(x=problems.arrays(low=0.0625, high=0.9375), reduction=REDUCTIONS, data=st.data())
def test_binary_cross_entropy(x: Any, reduction: str, data: Any) -> None:
    y, weight = grid(data.draw(seeds), *x.shape, low=0, high=1), _weights(data, x.shape)

    def loss(m: Any, x: Any, y: Any) -> Any:
        w = None if weight is None else m.constant(weight.astype(values(x).dtype))
        return m.F.binary_cross_entropy(x, y, w, reduction=reduction)

    agree(loss, x, y, tolerance=1e-9)  # second derivatives of up to 500 cancel


def test_H107_binary_cross_entropy_of_certain_probabilities() -> None:
    x, y = a(0, 1, 0, 1, 0.5), a(0, 1, 1, 0, 0.5)
    agree(
        lambda m, x: m.F.binary_cross_entropy(x, m.constant(y), reduction="none"),
        x,
        order=1,
        tolerance=1e-8,
        float32=False,
    )
    agree(lambda m, x: m.F.binary_cross_entropy(x, m.constant(y)), x, order=1, tolerance=1e-8, float32=False)
    for wrong in (-0.25, 1.25):
        assert fails(lambda m, x: m.F.binary_cross_entropy(x, x), a(0.5, wrong))[0] is ValueError


@given(x=problems.arrays(), reduction=REDUCTIONS, data=st.data())
def test_binary_cross_entropy_with_logits(x: Any, reduction: str, data: Any) -> None:
    y = grid(data.draw(seeds), *x.shape, low=0, high=1)
    weight, pos_weight = _weights(data, x.shape), _weights(data, x.shape)

    def loss(m: Any, x: Any, y: Any) -> Any:
        w, p = (None if v is None else m.constant(v.astype(values(x).dtype)) for v in (weight, pos_weight))
        return m.F.binary_cross_entropy_with_logits(x, y, w, reduction=reduction, pos_weight=p)

    agree(loss, x, y)


def test_H108_binary_cross_entropy_of_huge_logits() -> None:
    x, y = a(1e4, -1e4, 1e4, -1e4, 50, -50), a(0, 1, 1, 0, 0, 1)
    agree(lambda m, x, y: m.F.binary_cross_entropy_with_logits(x, y, reduction="none"), x, y)


@given(x=problems.arrays(min_side=0), seed=seeds, reduction=REDUCTIONS, margin=st.sampled_from([1.0, 0.5]))
def test_hinge_embedding_loss(x: Any, seed: int, reduction: str, margin: float) -> None:
    y = np.random.default_rng(seed).choice([-1, 1], x.shape)
    agree(lambda m, x, y: m.F.hinge_embedding_loss(x, y, margin, reduction=reduction), x, y, order=1)


def test_what_pytorch_refuses_is_refused() -> None:
    x = a([1, 2, 3], [4, 5, 6])
    for f in (
        lambda m, x: m.F.glu(x, 1),
        lambda m, x: m.F.glu(x[0, 0]),
        lambda m, x: m.F.prelu(x, m.constant(a(1, 2))),
        lambda m, x: m.F.prelu(x, x),
        lambda m, x: m.F.hardtanh(x, 1.0, -1.0),
        lambda m, x: m.F.gelu(x, approximate="tan"),
        lambda m, x: m.F.huber_loss(x, x, delta=0.0),
        lambda m, x: m.F.smooth_l1_loss(x, x, beta=-1.0),
        lambda m, x: m.F.l1_loss(x, x, reduction="average"),
        lambda m, x: m.F.kl_div(x, x, reduction="average"),
        lambda m, x: m.F.binary_cross_entropy(x / 8, m.constant(a(0.5, 0.5))),
        lambda m, x: m.F.binary_cross_entropy_with_logits(x, m.constant(a(0.5, 0.5))),
    ):
        assert issubclass(fails(f, x)[0], ValueError)
    assert issubclass(fails(lambda m, x: m.F.celu(x, 0.0), x)[0], ValueError)


# Modules

MODULES: dict[str, Any] = {
    "LeakyReLU": lambda nn: nn.LeakyReLU(0.2),
    "LeakyReLU in place": lambda nn: nn.LeakyReLU(inplace=True),
    "PReLU": lambda nn: nn.PReLU(),
    "PReLU of channels": lambda nn: nn.PReLU(4, 0.5),
    "ELU": lambda nn: nn.ELU(1.5),
    "ELU in place": lambda nn: nn.ELU(inplace=True),
    "SELU": lambda nn: nn.SELU(),
    "SELU in place": lambda nn: nn.SELU(True),
    "CELU": lambda nn: nn.CELU(0.5),
    "CELU in place": lambda nn: nn.CELU(0.5, True),
    "GELU": lambda nn: nn.GELU(),
    "GELU by tanh": lambda nn: nn.GELU("tanh"),
    "SiLU": lambda nn: nn.SiLU(),
    "SiLU in place": lambda nn: nn.SiLU(inplace=True),
    "Mish": lambda nn: nn.Mish(),
    "Mish in place": lambda nn: nn.Mish(inplace=True),
    "Softplus": lambda nn: nn.Softplus(),
    "Softplus of another beta": lambda nn: nn.Softplus(2, 1.5),
    "Softsign": lambda nn: nn.Softsign(),
    "LogSigmoid": lambda nn: nn.LogSigmoid(),
    "Hardtanh": lambda nn: nn.Hardtanh(),
    "Hardtanh in place": lambda nn: nn.Hardtanh(-2.0, 0.5, inplace=True),
    "ReLU6": lambda nn: nn.ReLU6(),
    "ReLU6 in place": lambda nn: nn.ReLU6(inplace=True),
    "Hardsigmoid": lambda nn: nn.Hardsigmoid(),
    "Hardswish": lambda nn: nn.Hardswish(),
    "Hardswish in place": lambda nn: nn.Hardswish(inplace=True),
    "GLU": lambda nn: nn.GLU(),
    "GLU of axis 1": lambda nn: nn.GLU(1),
    "BCELoss": lambda nn: nn.BCELoss(),
    "BCEWithLogitsLoss": lambda nn: nn.BCEWithLogitsLoss(reduction="sum"),
    "L1Loss": lambda nn: nn.L1Loss(),
    "SmoothL1Loss": lambda nn: nn.SmoothL1Loss(beta=0.5),
    "HuberLoss": lambda nn: nn.HuberLoss("sum", 0.5),
    "KLDivLoss": lambda nn: nn.KLDivLoss(reduction="batchmean", log_target=True),
    "HingeEmbeddingLoss": lambda nn: nn.HingeEmbeddingLoss(0.5, reduction="none"),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_shown_and_computes_as_there(name: str) -> None:
    make, x, y = MODULES[name], grid(0, 3, 4), grid(1, 3, 4, low=0.0625, high=0.9375)
    assert repr(make(OURS.nn)) == repr(make(THEIRS.nn))
    assert list(make(OURS.nn).state_dict()) == list(make(THEIRS.nn).state_dict())
    if name == "HingeEmbeddingLoss":
        agree(lambda m, x: make(m.nn)(x, m.constant(np.where(y > 0.5, 1, -1))), x, order=1)
    elif "Loss" in name:
        agree(lambda m, x, y: make(m.nn)(x, y), y[::-1].copy(), y, order=1)
    elif "place" in name:
        agree(lambda m, x: make(m.nn)(x * 1), x, order=1)
    else:
        modules_agree(lambda m: make(m.nn), x, order=1, tolerance=TOLERANCES.get(name.lower(), 1e-10))


def test_weights_of_losses_are_buffers_as_there() -> None:
    w, p = a(1, 2, 0.5), a(3, 1, 2)
    x, y = grid(0, 2, 3, low=0.0625, high=0.9375), grid(1, 2, 3, low=0, high=1)
    for make in (
        lambda m: m.nn.BCELoss(m.constant(w)),
        lambda m: m.nn.BCEWithLogitsLoss(m.constant(w), pos_weight=m.constant(p)),
        lambda m: m.nn.BCEWithLogitsLoss(pos_weight=m.constant(p)),
    ):
        assert list(make(OURS).state_dict()) == list(make(THEIRS).state_dict())
        agree(lambda m, x, y, make=make: make(m)(x, y), x, y, float32=False)
