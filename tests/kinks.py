"""Right answers where central differences cannot decide: at kinks, ties, poles and zeros.

One row is an op, its inputs and parameters, a cotangent, and the gradient of each input (None: not checked).
"""

from typing import Any, NamedTuple

import numpy as np

from tinygrad_cnn.backprop import grad
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.graph import Tensor

nan, inf = np.nan, np.inf


class Kink(NamedTuple):
    id: str
    op: str
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    g: Any
    gradients: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.id}-{self.op}"


def _images(*rows: Any) -> Any:
    return [[list(rows)]]


_ONES = _images([1, 1, 1], [1, 1, 1], [1, 1, 1])
_QUARTERS = _images([1, 2], [3, 4])
_POOL = {"kernel_size": 2, "stride": 1}

KINKS = [
    Kink("H1", "relu", ([-1.0, 0.0, 2.0],), {}, [3, 5, 7], ([0, 0, 7],)),
    Kink("H3", "relu", ([-1.0, -2.0, 2.0],), {}, [inf, nan, 7], ([0, 0, 7],)),
    Kink("H2", "relu", ([nan, inf, -inf],), {}, [3, 5, 7], ([0, 5, 0],)),
    Kink("H1", "leaky_relu", ([-1.0, 0.0, 2.0],), {"negative_slope": 0.5}, [3, 5, inf], ([1.5, 2.5, inf],)),
    Kink("H1", "parametric_relu", ([-1.0, 0.0, 2.0], [0.5, 0.5, 0.5]), {}, [3, 5, 7], ([1.5, 2.5, 7], [-3, 0, 0])),
    Kink("H1", "elu", ([0.0, 2.0],), {"alpha": 2.0, "scale": 3.0}, [3, 5], ([18, 15],)),
    Kink("H1", "celu", ([0.0, 2.0],), {}, [3, 5], ([3, 5],)),
    Kink("H1", "softplus", ([0.0, 1.0],), {"threshold": 0.0}, [4, 6], ([2, 6],)),
    Kink("H3", "hardtanh", ([-2.0, -1.0, 0.5, 1.0, 2.0],), {}, [inf, 2, 3, 4, nan], ([0, 0, 3, 0, 0],)),
    Kink("H3", "hardsigmoid", ([-4.0, -3.0, 0.5, 3.0],), {}, [inf, 6, 12, 18], ([0, 0, 2, 0],)),
    Kink("H1", "hardswish", ([-4.0, -3.0, 0.0, 3.0, 4.0],), {}, [1, 2, 4, 5, 6], ([0, 0, 2, 5, 6],)),
    Kink("H3", "hardswish", ([-4.0, -3.0, 4.0],), {}, [inf, nan, 6], ([0, 0, 6],)),
    Kink(
        "H1",
        "hardswish_gradient",
        ([2.0, 4.0, 6.0, 8.0, 10.0], [-4.0, -3.0, 0.0, 3.0, 4.0]),
        {},
        [1, 2, 4, 5, 6],
        ([0, 0, 2, 5, 6], [0, 0, 8, 0, 0]),
    ),
    Kink("limit", "silu_gradient", ([1.0, 1.0], [-inf, inf]), {}, [3, 5], ([0, 5], [0, 0])),
    Kink("limit", "gelu_gradient", ([1.0, 1.0], [-inf, inf]), {}, [3, 5], ([0, 5], [0, 0])),
    Kink("limit", "silu", ([-inf, inf],), {}, [3, 5], ([0, 5],)),
    Kink("limit", "mish", ([-inf, inf],), {}, [3, 5], ([0, 5],)),
    Kink("limit", "gelu_erf", ([-inf, inf],), {}, [3, 5], ([0, 5],)),
    Kink("limit", "gelu_tanh", ([-inf, inf],), {}, [3, 5], ([0, 5],)),
    Kink("limit", "gaussian", ([-inf, inf],), {}, [3, 5], ([0, 0],)),
    Kink("limit", "elu", ([-inf, 1000.0],), {}, [3, 5], ([0, 5],)),
    Kink("limit", "celu", ([-inf, 1000.0],), {}, [3, 5], ([0, 5],)),
    Kink("limit", "softsign", ([-inf, inf],), {}, [3, 5], ([0, 0],)),
    Kink("limit", "logsigmoid", ([-inf, inf],), {}, [3, 5], ([3, 0],)),
    Kink("limit", "softplus", ([-inf, inf],), {}, [3, 5], ([0, 5],)),
    Kink(
        "clamped",
        "binary_cross_entropy",
        ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0]),
        {"reduction": "none"},
        [3, 5, 7],
        ([-3e12, 5e12, 0], [300, -500, 700]),
    ),
    Kink("H35", "l1_loss", (np.zeros(0), np.zeros(0)), {}, 2, (np.zeros(0), np.zeros(0))),
    Kink("H4", "l1_loss", ([1.0, 2.0], [1.0, 3.0]), {"reduction": "none"}, [3, 5], ([0, -5], [0, 5])),
    Kink(
        "H4",
        "hinge_embedding_loss",
        ([1.0, 1.0, 2.0],),
        {"target": np.array([-1, 1, -1]), "reduction": "none"},
        [3, 5, 7],
        ([-3, 5, 0],),
    ),
    Kink("beta-0", "smooth_l1_loss", ([1.0, 1.0], [0.0, 1.0]), {"beta": 0.0, "reduction": "sum"}, 3, ([3, 0], [-3, 0])),
    Kink("H4", "abs", ([-2.0, 0.0, 3.0],), {}, [3, 5, 7], ([-3, 0, 7],)),
    Kink("chosen", "abs", ([-2.0, 0.0, 3.0],), {"at_zero": 1.0}, [3, 5, 7], ([-3, 5, 7],)),
    Kink("chosen", "abs", ([-2.0, 0.0, 3.0],), {"at_zero": -1.0}, [3, 5, 7], ([-3, -5, 7],)),
    Kink("chosen", "maximum", ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]), {"ties": "first"}, [3, 5, 7], ([3, 0, 7], [0, 5, 0])),
    Kink("chosen", "maximum", ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]), {"ties": "last"}, [3, 5, 7], ([0, 0, 7], [3, 5, 0])),
    Kink("chosen", "minimum", ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]), {"ties": "first"}, [3, 5, 7], ([3, 5, 0], [0, 0, 7])),
    Kink("chosen", "minimum", ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]), {"ties": "last"}, [3, 5, 7], ([0, 5, 0], [3, 0, 7])),
    Kink(
        "chosen",
        "clip",
        ([-1.0, 0.0, 1.0, 2.0, 3.0],),
        {"min": 0.0, "max": 2.0, "at_bounds": 0.5},
        [1, 2, 4, 6, 8],
        ([0, 1, 4, 3, 0],),
    ),
    Kink("chosen", "clip", ([0.0, 1.0],), {"min": 0.0, "at_bounds": 0.0}, [2, 4], ([0, 4],)),
    Kink(
        "chosen",
        "amax",
        ([[1.0, 4.0, 4.0], [2.0, 1.0, 2.0]],),
        {"axis": 1, "ties": "first"},
        [6, 5],
        ([[0, 6, 0], [5, 0, 0]],),
    ),
    Kink(
        "chosen",
        "amax",
        ([[1.0, 4.0, 4.0], [1.0, 4.0, 0.0]],),
        {"axis": 0, "ties": "last"},
        [2, 3, 4],
        ([[0, 0, 4], [2, 3, 0]],),
    ),
    Kink(
        "chosen",
        "amin",
        ([[1.0, 1.0, 4.0], [2.0, 1.0, 1.0]],),
        {"axis": None, "ties": "last"},
        6,
        ([[0, 0, 0], [0, 0, 6]],),
    ),
    Kink(
        "chosen",
        "amax",
        (np.ones((2, 3, 2)),),
        {"axis": 0, "ties": "last"},
        [[1, 2], [3, 4], [5, 6]],
        ([np.zeros((3, 2)), [[1, 2], [3, 4], [5, 6]]],),
    ),
    Kink(
        "chosen",
        "amin",
        (np.ones((2, 3, 2)),),
        {"axis": (0, 2), "ties": "first"},
        [1, 2, 3],
        ([[[1, 0], [2, 0], [3, 0]], np.zeros((3, 2))],),
    ),
    Kink(
        "chosen",
        "amax",
        ([[[1.0, 2.0], [2.0, 0.0], [1.0, 0.0]]],),
        {"axis": (1, 2), "ties": "last"},
        [6],
        ([[[0, 0], [6, 0], [0, 0]]],),
    ),
    Kink("chosen", "clip", ([0.0, 1.0, 2.0],), {"max": 1.0, "at_bounds": 0.5}, [2, 4, 6], ([2, 2, 0],)),
    Kink(
        "chosen",
        "amax",
        ([[[1.0, 2.0], [3.0, 3.0], [0.0, 5.0]], [[1.0, 1.0], [3.0, 4.0], [0.0, 5.0]]],),
        {"axis": 0, "ties": "first"},
        [[1, 2], [3, 4], [5, 6]],
        ([[[1, 2], [3, 0], [5, 6]], [[0, 0], [0, 4], [0, 0]]],),
    ),
    Kink(
        "chosen",
        "amax",
        ([[[1.0, 2.0], [3.0, 3.0], [0.0, 5.0]], [[1.0, 1.0], [3.0, 4.0], [0.0, 5.0]]],),
        {"axis": 0, "ties": "last"},
        [[1, 2], [3, 4], [5, 6]],
        ([[[0, 2], [0, 0], [0, 0]], [[1, 0], [3, 4], [5, 6]]],),
    ),
    Kink("chosen", "clip", ([0.0, 1.0, 2.0],), {"min": 1.0, "at_bounds": 0.5}, [2, 4, 6], ([0, 2, 6],)),
    Kink("chosen", "power_norm", ([0.0, 0.0],), {"axis": None, "at_zero": nan}, 2, ([nan, nan],)),
    Kink(
        "chosen",
        "power_norm",
        ([[0.0, 0.0], [3.0, 4.0]],),
        {"axis": 1, "at_zero": nan},
        [2, 5],
        ([[nan, nan], [3, 4]],),
    ),
    Kink("H5", "maximum", ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]), {}, [3, 5, 7], ([1.5, 0, 7], [1.5, 5, 0])),
    Kink("H5", "minimum", ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]), {}, [3, 5, 7], ([1.5, 5, 0], [1.5, 0, 7])),
    Kink("H6", "amax", ([[1.0, 4.0, 4.0], [2.0, 1.0, 0.0]],), {"axis": 1}, [6, 5], ([[0, 3, 3], [5, 0, 0]],)),
    Kink("H6", "amin", ([[1.0, 1.0, 4.0], [2.0, 1.0, 0.0]],), {"axis": None}, 6, ([[0, 0, 0], [0, 0, 6]],)),
    Kink("H6", "amin", ([[1.0, 1.0, 4.0], [2.0, 1.0, 1.0]],), {"axis": None}, 6, ([[1.5, 1.5, 0], [0, 1.5, 1.5]],)),
    Kink("H6", "amax", ([[1.0, nan, 4.0], [nan, nan, 0.0]],), {"axis": 1}, [6, 5], ([[0, 6, 0], [2.5, 2.5, 0]],)),
    Kink("H7", "max_pool2d", (_ONES,), _POOL, _QUARTERS, (_images([1, 2, 0], [3, 4, 0], [0, 0, 0]),)),
    Kink(
        "H7", "max_pool2d", (_ONES,), {**_POOL, "ties": "last"}, _QUARTERS, (_images([0, 0, 0], [0, 1, 2], [0, 3, 4]),)
    ),
    Kink(
        "H7",
        "max_pool2d",
        (_ONES,),
        {**_POOL, "ties": "split"},
        _images([4, 8], [12, 16]),
        (_images([1, 3, 2], [4, 10, 6], [3, 7, 4]),),
    ),
    Kink(
        "H81",
        "max_pool2d",
        (_images([-inf, -inf], [-inf, -inf]),),
        {"kernel_size": 2, "stride": 2, "padding": 1},
        _QUARTERS,
        (_images([1, 2], [3, 4]),),
    ),
    Kink(
        "H82", "max_pool2d", (_images([1, 9], [nan, 3]),), {"kernel_size": 2}, _images([5]), (_images([0, 0], [5, 0]),)
    ),
    Kink("H8", "clip", ([-1.0, 0.0, 1.0, 2.0, 3.0],), {"min": 0.0, "max": 2.0}, [1, 2, 3, 4, 5], ([0, 2, 3, 4, 0],)),
    Kink("H8", "clip", ([-1.0, 0.0, 1.0],), {"min": 0.0}, [inf, 2, 3], ([0, 2, 3],)),
    Kink("H8", "clip", ([0.0, 1.0, 2.0],), {"max": 1.0}, [1, 2, inf], ([1, 2, 0],)),
    Kink("H10", "sqrt", ([0.0, 4.0],), {}, [1, 8], ([inf, 2],)),
    Kink("H12", "pow", ([0.0, 0.0, 3.0], [0.0, 2.0, 0.0]), {}, [3, 5, 7], ([0, 0, 0], [0, 0, 7 * np.log(3.0)])),
    Kink("H12", "pow", ([0.0, 2.0], 0), {}, [3, 5], ([0, 0], None)),
    Kink("H12", "pow", ([0.0, 2.0], 2), {}, [3, 5], ([0, 20], None)),
    Kink("H12", "pow", ([0.0, -2.0], 1), {}, [3, 5], ([3, 5], None)),
    Kink("H12", "pow", ([0.0, -2.0], 3), {}, [3, 5], ([0, 60], None)),
    Kink("no-slope", "sign", ([1.5, -2.0],), {}, [inf, nan], ([0, 0],)),
    Kink("no-slope", "floor", ([1.5, -2.0],), {}, [inf, nan], ([0, 0],)),
    Kink("no-slope", "ceil", ([1.5, -2.0],), {}, [inf, nan], ([0, 0],)),
    Kink("no-slope", "trunc", ([1.5, -2.0],), {}, [inf, nan], ([0, 0],)),
    Kink("no-slope", "round", ([1.5, -2.0],), {}, [inf, nan], ([0, 0],)),
    Kink("no-slope", "floor_divide", ([1.5, -2.0], [0.7, 0.7]), {}, [inf, nan], ([0, 0], [0, 0])),
    Kink("H14", "sign", ([-2.0, 0.0, 3.0],), {}, [3, 5, 7], ([0, 0, 0],)),
    Kink("H16", "mul", ([inf, 2.0], [0.0, 3.0]), {}, [3, 5], ([0, 15], [inf, 10])),
    Kink("H40", "var", ([[1.0], [2.0]],), {"axis": 1, "correction": 0}, [3, 5], ([[0], [0]],)),
    Kink("H40", "var", ([[1.0], [2.0]],), {"axis": 1}, [3, 5], ([[nan], [nan]],)),
    Kink("H37", "logsumexp", ([[-inf, -inf], [-inf, 1.0]],), {"axis": 1}, [3, 5], ([[nan, nan], [0, 5]],)),
    Kink("masked", "mask", ([inf, nan, 1.0],), {"keep": np.array([False, False, True])}, [nan, inf, 3], ([0, 0, 3],)),
    Kink("H44", "getitem", ([1.0, 2.0, 3.0],), {"index": np.array([1, 1, 0, -2])}, [1, 2, 4, 8], ([4, 11, 0],)),
    Kink(
        "branch", "select", ([nan, 2.0], [3.0, inf]), {"condition": np.array([False, True])}, [3, 5], ([0, 5], [3, 0])
    ),
    Kink("zeros", "prod", ([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0]],), {"axis": 1}, [5, 7], ([[30, 0, 0], [0, 0, 0]],)),
    Kink("zeros", "cumprod", ([2.0, 0.0, 3.0],), {"axis": 0}, [5, 7, 11], ([5, 80, 0],)),
    Kink("H34", "prod", (np.zeros((0, 3)),), {"axis": 0}, [1, 2, 3], (np.zeros((0, 3)),)),
    Kink("flat", "std", ([[2.0, 2.0], [1.0, 3.0]],), {"axis": 1, "correction": 0}, [3, 4], ([[0, 0], [-2, 2]],)),
    Kink("zero", "power_norm", ([[0.0, 0.0], [-3.0, 4.0]],), {"axis": 1}, [5, 5], ([[0, 0], [-3, 4]],)),
    Kink("zero", "power_norm", ([[0.0, 0.0], [0.0, -2.0]],), {"axis": 1, "p": 0.5}, [5, 5], ([[0, 0], [0, -5]],)),
    Kink("vanished", "power_norm", ([1e-200, -2e-200],), {"p": 3}, 5, ([0, 0],)),  # the norm, not x
    Kink("zero", "power_norm", ([0.0, 2.0**-16],), {"p": 66}, 0, ([0, 0],)),  # 1 / norm^65 is inf
    Kink("zero", "power_norm", ([[0.0, 0.0], [0.0, -2.0]],), {"axis": 1, "p": 1}, [5, 5], ([[0, 0], [0, -5]],)),
    Kink("H12", "pow", (2, [1.0, 3.0]), {}, [3, 5], (None, [6 * np.log(2.0), 40 * np.log(2.0)])),
    Kink("H12", "pow", (0, [1.0, 3.0]), {}, [3, 5], (None, [0, 0])),
    Kink("H12", "pow", ([0.0, inf], [-1.0, 0.0]), {}, [3, 5], ([-inf, 0], [-inf, inf])),
    Kink("H34", "sum", (np.zeros((0, 3)),), {"axis": 0}, [1, 2, 3], (np.zeros((0, 3)),)),
    Kink("H35", "mean", (np.zeros((0, 3)),), {"axis": 0}, [1, 2, 3], (np.zeros((0, 3)),)),
    Kink("H35", "squared_error", (np.zeros(0), np.zeros(0)), {}, 2, (np.zeros(0), np.zeros(0))),
    Kink("H40", "var", ([1.0, 2.0],), {"correction": 3}, 2, ([-inf, inf],)),
    Kink(
        "H98",
        "cross_entropy_of_labels",
        ([[nan, 1.0], [2.0, 2.0]],),
        {"labels": np.array([-100, 0])},
        4,
        ([[0, 0], [-2, 2]],),
    ),
    Kink(
        "H114",
        "batch_norm_train",
        (np.zeros((0, 2)), [1, 2], [3, 4]),
        {},
        np.zeros((0, 2)),
        (np.zeros((0, 2)), [0, 0], [0, 0]),
    ),
    Kink(
        "no-channels", "batch_norm_train", (np.zeros((2, 0)), [], []), {}, np.zeros((2, 0)), (np.zeros((2, 0)), [], [])
    ),
    Kink(
        "H114",
        "batch_norm_input_grad",
        (np.zeros((0, 2)), np.zeros((0, 2)), [1, 2]),
        {},
        np.zeros((0, 2)),
        (np.zeros((0, 2)), np.zeros((0, 2)), [0, 0]),
    ),
    Kink(
        "no-channels",
        "batch_norm_input_grad",
        (np.zeros((2, 0)), np.zeros((2, 0)), []),
        {},
        np.zeros((2, 0)),
        (np.zeros((2, 0)), np.zeros((2, 0)), []),
    ),
]


class SecondKink(NamedTuple):
    """As Kink, but the gradients are those of <1, the sum of all first gradients>."""

    id: str
    op: str
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    g: Any
    gradients: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.id}-{self.op}"


# x y^(x-1) with a hole at x = 0, which must not turn the gradients around it into nan; kinks and limits.
SECOND_KINKS = [
    SecondKink("H12", "pow", ([0.0, 2.0], [2.0, 2.0]), {}, [3, 5], ([6, 10 + 5 * (2 + 4 * np.log(2.0))], None)),
    SecondKink("H12", "pow", ([0.0, 3.0], [0.0, 0.0]), {}, [3, 5], ([0, 5 / 3], None)),
    SecondKink("H1", "parametric_relu", ([0.0, 2.0], [0.5, 0.5]), {}, [3, 5], ([0, 0], [3, 0])),
    SecondKink("H1", "elu", ([0.0, 1000.0],), {"alpha": 2.0}, [3, 5], ([0, 0],)),
    SecondKink("H1", "celu", ([0.0, 1000.0],), {"alpha": 2.0}, [3, 5], ([0, 0],)),
    SecondKink("H4", "huber_loss", ([1.0, 3.0], [2.0, 1.0]), {"reduction": "sum"}, 3, ([0, 0], [0, 0])),
    SecondKink("limit", "silu", ([-inf, inf],), {}, [3, 5], ([0, 0],)),
    SecondKink("limit", "gelu_erf", ([-inf, inf],), {}, [3, 5], ([0, 0],)),
    SecondKink("zeros", "prod", ([0.0, 2.0, 0.0],), {}, 3, ([6, 0, 6],)),
    SecondKink("zeros", "cumprod", ([0.0, 2.0, 0.0],), {"axis": 0}, [0, 0, 3], ([6, 0, 6],)),
    SecondKink("zero", "power_norm", ([0.0, 2.0, 0.0],), {}, 3, ([1.5, 0, 1.5],)),
    SecondKink("zero", "power_norm", ([0.0, 2.0, 0.0],), {"p": 1.5}, 3, ([0, 0, 0],)),
    SecondKink("flat", "std", ([2.0, 2.0],), {}, 3, ([0, 0],)),
]


def second_gradients_at(kink: SecondKink) -> list[Any]:
    """The gradient of the summed gradients by every input, as an array."""
    leaves = [Tensor(np.array(x, np.float64), requires_grad=True) for x in kink.inputs]
    out = registry[kink.op].apply(*leaves, **kink.params)
    first = grad(out, leaves, Tensor(np.array(kink.g, np.float64)), create_graph=True)
    total = first[0].sum()
    for g in first[1:]:
        total = total + g.sum()
    return [g.numpy() for g in grad(total, leaves)]


def gradients_at(kink: Kink) -> list[Any]:
    """The gradient of every input, as an array; None for an input that is a plain number."""
    leaves = [x if isinstance(x, int) else Tensor(np.array(x, np.float64), requires_grad=True) for x in kink.inputs]
    out = registry[kink.op].apply(*leaves, **kink.params)
    out.backward(Tensor(np.array(kink.g, np.float64)))
    return [x.grad.numpy() if isinstance(x, Tensor) else None for x in leaves]
