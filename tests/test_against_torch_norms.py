"""Every normalization and dropout gives PyTorch's values, gradients and second gradients, on generated problems."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

from torch_problems import (  # noqa: E402
    OURS,
    THEIRS,
    agree,
    agree_on_running_statistics,
    fails,
    grid,
    modules_agree,
    seeds,
    values,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


SHAPES = [(2, 4), (3, 4, 2), (1, 6, 2, 3), (2, 4, 3, 1), (2, 6, 1, 3, 2)]


@st.composite
def samples(draw: Any, shapes: Any = tuple(SHAPES)) -> Any:
    """x (n c ...), and for each channel a weight, a bias, a running mean and a running variance."""
    shape, seed = draw(st.sampled_from(shapes)), draw(seeds)
    x = grid(seed, *shape) + np.arange(np.prod(shape)).reshape(shape) % 5 / 8  # no two neighbours are always equal
    return x, *(grid(seed + i, shape[1], low=low) for i, low in enumerate([0.25, -3.0, -3.0, 0.25]))


@given(problem=samples(), axes=st.integers(1, 2), given_parts=st.sampled_from(["", "w", "wb"]))
def test_layer_norm(problem: Any, axes: int, given_parts: str) -> None:
    x = problem[0]
    shape = x.shape[-min(axes, x.ndim - 1) :]
    weights = [grid(k, *shape) for k in range(len(given_parts))]
    agree(lambda m, x, *weights: m.F.layer_norm(x, shape, *weights, eps=0.01), x, *weights, tolerance=1e-9)


@given(problem=samples(), axes=st.integers(1, 2), weighted=st.booleans(), eps=st.sampled_from([None, 0.01]))
def test_rms_norm(problem: Any, axes: int, weighted: bool, eps: Any) -> None:
    x = problem[0] + 0.03125
    shape = x.shape[-min(axes, x.ndim - 1) :]
    weights = [grid(1, *shape)] * weighted
    agree(
        lambda m, x, *weights: m.F.rms_norm(x, shape, *weights, eps=eps),
        x,
        *weights,
        tolerance=1e-9,
        float32=eps is not None,
    )


@given(problem=samples(), groups=st.sampled_from([1, 2]), given_parts=st.integers(0, 2))
def test_group_norm(problem: Any, groups: int, given_parts: int) -> None:
    x, *weights = problem
    agree(
        lambda m, x, *weights: m.F.group_norm(x, groups, *weights, eps=0.01),
        x,
        *weights[:given_parts],
        tolerance=1e-9,
    )


@given(problem=samples(SHAPES[1:]), momentum=st.sampled_from([0.1, 1.0]), by_sample=st.booleans(), affine=st.booleans())
def test_instance_norm_moves_the_running_statistics_too(
    problem: Any, momentum: float, by_sample: bool, affine: bool
) -> None:
    x, w, b, mean, var = problem
    agree_on_running_statistics(
        lambda m, x, *rest: m.F.instance_norm(x, *rest, use_input_stats=by_sample, momentum=momentum, eps=0.01),
        x,
        mean,
        var,
        *([w, b] if affine else []),
    )
    agree(lambda m, x: m.F.instance_norm(x, eps=0.01), x, order=1, tolerance=1e-9)


@given(problem=samples(SHAPES[1:]), size=st.integers(1, 7))
def test_local_response_norm(problem: Any, size: int) -> None:
    agree(lambda m, x: m.F.local_response_norm(x, size), problem[0])
    agree(lambda m, x: m.F.local_response_norm(x, size, alpha=0.3, beta=0.6, k=1.5), problem[0])


X, IMAGE, ROW = grid(3, 3, 4, 6, 5), grid(4, 4, 3, 5), grid(5, 2, 4, 5)
LAYERS: dict[str, Any] = {
    "BatchNorm1d": (lambda nn: nn.BatchNorm1d(4), ROW),
    "BatchNorm1d of rows": (lambda nn: nn.BatchNorm1d(4, momentum=None), ROW[:, :, 0]),
    "BatchNorm1d in evaluation": (lambda nn: nn.BatchNorm1d(4, affine=False).eval(), ROW),
    "InstanceNorm1d": (lambda nn: nn.InstanceNorm1d(4, affine=True, track_running_stats=True), ROW),
    "InstanceNorm1d of one": (lambda nn: nn.InstanceNorm1d(4, momentum=0.3, track_running_stats=True), ROW[0]),
    "InstanceNorm2d": (lambda nn: nn.InstanceNorm2d(4), X),
    "InstanceNorm2d without momentum": (lambda nn: nn.InstanceNorm2d(4, 0.1, None, True, True), X),
    "InstanceNorm2d of one": (lambda nn: nn.InstanceNorm2d(4, affine=True), IMAGE),
    "InstanceNorm2d in evaluation": (lambda nn: nn.InstanceNorm2d(4, track_running_stats=True).eval(), X),
    "InstanceNorm2d untracked in evaluation": (lambda nn: nn.InstanceNorm2d(4).eval(), X),
    "LayerNorm": (lambda nn: nn.LayerNorm(5), X),
    "LayerNorm of two axes": (lambda nn: nn.LayerNorm((6, 5), 0.1, bias=False), X),
    "LayerNorm alone": (lambda nn: nn.LayerNorm([5], elementwise_affine=False), X),
    "GroupNorm": (lambda nn: nn.GroupNorm(2, 4), X),
    "GroupNorm alone": (lambda nn: nn.GroupNorm(4, 4, 0.1, affine=False), X),
    "RMSNorm": (lambda nn: nn.RMSNorm(5), X),
    "RMSNorm alone": (lambda nn: nn.RMSNorm([6, 5], 0.1, False), X),
    "LocalResponseNorm": (lambda nn: nn.LocalResponseNorm(3, 0.2, 0.5, 2.0), X),
    "Dropout1d in evaluation": (lambda nn: nn.Dropout1d(0.3).eval(), ROW),
    "Dropout2d in evaluation": (lambda nn: nn.Dropout2d(0.3).eval(), X),
    "AlphaDropout in evaluation": (lambda nn: nn.AlphaDropout(0.3, True).eval(), X),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_shown_as_there_and_takes_its_state_dict(name: str) -> None:
    make, x = LAYERS[name]
    ours, theirs = (re.sub(", bias=(True|False)", "", repr(make(m.nn))) for m in (OURS, THEIRS))  # 2.13 shows it always
    assert ours == theirs
    modules_agree(lambda m: make(m.nn), x, tolerance=1e-9)


SMALL: dict[str, Any] = {
    "Threshold": lambda nn: nn.Threshold(0.5, -2.0),
    "Hardshrink": lambda nn: nn.Hardshrink(),
    "Softshrink": lambda nn: nn.Softshrink(0.25),
    "Tanhshrink": lambda nn: nn.Tanhshrink(),
    "Softmin": lambda nn: nn.Softmin(dim=1),
    "Softmax2d": lambda nn: nn.Softmax2d(),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_layers_are_shown_and_compute_as_there(name: str) -> None:
    make = SMALL[name]
    assert repr(make(OURS.nn)) == repr(make(THEIRS.nn))
    modules_agree(lambda m: make(m.nn), X)
    modules_agree(lambda m: make(m.nn), IMAGE)
    if "Soft" not in name or name == "Softshrink":
        agree(lambda m, x: make(m.nn)(x), np.array([np.nan, np.inf, -np.inf, 0.5, -0.5, 0.25, 0.0]), order=0)


@given(problem=samples(), p=st.sampled_from([1, 2.0, 3, np.inf]), dim=st.sampled_from([0, 1, -1]))
def test_normalize_and_cosine_similarity(problem: Any, p: float, dim: int) -> None:
    x = problem[0] + 0.03125
    y = grid(7, *x.shape[1:]) + 0.0625
    agree(lambda m, x: m.F.normalize(x, p, dim), x, order=1 if p == np.inf else 2, tolerance=1e-8)
    agree(lambda m, x, y: m.F.cosine_similarity(x, y, dim), x, y, order=1, tolerance=1e-8)
    agree(lambda m, x: m.F.normalize(x * 0.0, 2.0, dim), x, order=0)


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda m, x: m.F.group_norm(x, 3), X),
        (lambda m, x: m.F.group_norm(x, 4), X[:1, :, :1, :1]),
        (lambda m, x: m.F.instance_norm(x), X[:, :, :1, :1]),
        (lambda m, x: m.F.instance_norm(x, use_input_stats=False), X),
        (lambda m, x: m.F.layer_norm(x, (6,)), X),
        (lambda m, x: m.F.local_response_norm(x, 2), X[0, 0]),
        (lambda m, x: m.nn.GroupNorm(3, 4)(x), X),
        (lambda m, x: m.nn.BatchNorm1d(4)(x), X),
        (lambda m, x: m.nn.InstanceNorm2d(4)(x), ROW[0]),
        (lambda m, x: m.F.alpha_dropout(x, 1.5, True), X),
        (lambda m, x: m.F.dropout2d(x, -0.1), X),
    ],
)
def test_both_refuse(f: Any, x: Any) -> None:
    fails(f, x)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 2, 1)])
def test_H117_a_single_value_becomes_its_bias(shape: Any) -> None:
    x, w, b = grid(0, *shape), grid(1, 1), grid(2, 1)
    agree(lambda m, x, w, b: m.F.layer_norm(x, (1,), w, b), x, w, b)


def test_a_large_offset_costs_no_digits_that_the_numbers_have() -> None:
    x = 1e4 + np.arange(60, dtype=np.float32).reshape(3, 20) ** 2 / 1024
    exact = values(THEIRS.F.layer_norm(THEIRS.constant(x.astype(np.float64)), (20,)))
    theirs = values(THEIRS.F.layer_norm(THEIRS.constant(x), (20,)))
    ours = values(OURS.F.layer_norm(OURS.constant(x), (20,)))
    assert np.abs(ours - exact).max() < 1e-6 < np.abs(theirs - exact).max()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8, 1.0])
def test_alpha_dropout_takes_the_same_two_lines_as_there(p: float) -> None:
    x = np.full(64, 0.75)
    found = []
    for m in (OURS, THEIRS):
        m.manual_seed(0)
        y = np.concatenate([values(m.F.alpha_dropout(m.constant(v), p, True)) for v in (x, -2 * x)])
        found.append(np.unique(y.round(9)))
    np.testing.assert_allclose(*found, atol=2e-9)
    assert len(found[0]) == (1 if p == 1 else 3)
