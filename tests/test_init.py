"""Initial values beside the plain ones: truncated, identity, orthogonal and sparse."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import Tensor
from tinygrad_cnn.nn import Conv2d, Parameter, init
from tinygrad_cnn.nn import functional as F


def rng(seed=0):
    return np.random.default_rng(seed)


def blank(*shape, dtype=np.float64):
    return Parameter(np.full(shape, np.nan, dtype))


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 3), st.floats(0.5, 2), st.integers(0, 99))
def test_an_orthogonal_weight_has_orthonormal_rows_or_columns(o, i, k, gain, seed):
    w = init.orthogonal_(blank(o, i, k), gain, rng(seed)).array.reshape(o, i * k)
    product = w @ w.T if o <= i * k else w.T @ w
    assert np.allclose(product, gain**2 * np.eye(min(o, i * k)), atol=1e-12)


def test_orthogonal_matrices_are_drawn_evenly():
    drawn = np.stack([init.orthogonal_(blank(2, 2), generator=rng(seed)).array for seed in range(800)])
    for entry in drawn.reshape(800, 4).T:  # cos of an even angle: mean 0, mean square 1/2
        assert abs(entry.mean()) < 5 * math.sqrt(0.5 / 800)
        assert abs((entry**2).mean() - 0.5) < 5 * math.sqrt(1 / 8 / 800)
    assert abs((np.linalg.det(drawn) > 0).mean() - 0.5) < 5 * 0.5 / math.sqrt(800)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"), [(0.0, 1.0, -2.0, 2.0), (1.0, 2.0, 0.5, 9.0), (0.0, 0.02, -2.0, 2.0)]
)
def test_truncated_normal_values_have_the_moments_of_their_distribution(mean, std, a, b):
    x = init.trunc_normal_(blank(200, 100), mean, std, a, b, rng(1)).array
    assert x.min() >= a
    assert x.max() <= b
    low, high = (a - mean) / std, (b - mean) / std
    density = [math.exp(-(t**2) / 2) / math.sqrt(2 * math.pi) for t in (low, high)]
    share = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    shift = (density[0] - density[1]) / share
    variance = 1 + (low * density[0] - high * density[1]) / share - shift**2
    assert abs(x.mean() - mean - std * shift) < 5 * std / math.sqrt(x.size)
    assert abs(x.std() / (std * math.sqrt(variance)) - 1) < 5 / math.sqrt(x.size)
    assert np.array_equal(x, init.trunc_normal_(blank(200, 100), mean, std, a, b, rng(1)).array)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2))
def test_dirac_leaves_the_channels_of_each_group_as_they_are(each, i, kh, kw, groups):
    kh, kw = 2 * kh - 1, 2 * kw - 1
    w = init.dirac_(blank(each * groups, i, kh, kw), groups)
    x = rng().normal(size=(2, i * groups, 6, 5))
    y = F.conv2d(Tensor(x), w, padding=(kh // 2, kw // 2), groups=groups).array
    for group in range(groups):
        for channel in range(each):
            expected = x[:, group * i + channel] if channel < i else np.zeros((2, 6, 5))
            assert np.array_equal(y[:, group * each + channel], expected)


def test_eye_is_the_identity_as_far_as_it_goes():
    assert init.eye_(blank(2, 3)).array.tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(("sparsity", "zeros"), [(0.0, 0), (0.11, 2), (0.5, 5), (1.0, 10)])
def test_sparse_puts_the_same_number_of_zeros_into_each_column(sparsity, zeros):
    x = init.sparse_(blank(10, 400), sparsity, 0.3, rng(2)).array
    assert ((x == 0).sum(0) == zeros).all()
    if 0 < zeros < 10:
        rows = (x == 0).sum(1) / 400
        assert abs(rows - zeros / 10).max() < 5 * math.sqrt(0.25 / 400)
    if zeros < 10:
        assert abs(x[x != 0].std() / 0.3 - 1) < 5 / math.sqrt(x.size)


def test_values_are_written_in_place_in_the_dtype_of_the_tensor():
    for fill in (init.orthogonal_, init.trunc_normal_, init.dirac_):
        w = blank(3, 2, 3, dtype=np.float32)
        memory = w.array
        assert fill(w) is w
        assert w.array is memory
        assert w.dtype == np.float32
        assert np.isfinite(w.array).all()
    layer = Conv2d(2, 3, 3)
    assert init.orthogonal_(layer.weight) is layer.weight
    assert init.orthogonal_(blank(0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: init.trunc_normal_(blank(2), std=0.0), "trunc_normal_: std=0.0; it must be positive"),
        (lambda: init.trunc_normal_(blank(2), a=2.0, b=2.0), "a=2.0, b=2.0; a < b is needed"),
        (lambda: init.trunc_normal_(blank(2), a=5.0, b=6.0), r"from a=5.0 to b=6.0 there is 3e-07 of N\(0.0, 1.0\^2\)"),
        (lambda: init.eye_(blank(2)), r"eye_: a tensor of shape \(2,\); two axes are needed"),
        (lambda: init.dirac_(blank(2, 2)), r"dirac_: a tensor of shape \(2, 2\); \(out in \*kernel\)"),
        (lambda: init.dirac_(blank(4, 2, 1), 3), "groups=3 for 4 output channels; a divisor of them is needed"),
        (lambda: init.dirac_(blank(4, 2, 1), 0), "groups=0 for 4 output channels"),
        (lambda: init.orthogonal_(blank(2)), r"orthogonal_: a tensor of shape \(2,\); at least two axes"),
        (lambda: init.sparse_(blank(2), 0.1), r"sparse_: a tensor of shape \(2,\); two axes are needed"),
        (lambda: init.sparse_(blank(2, 2), 1.5), "sparse_: sparsity=1.5; a share from 0 to 1 is needed"),
        (lambda: init.sparse_(blank(2, 2), 0.5, -1.0), "sparse_: std=-1.0; it must not be negative"),
    ],
)
def test_init_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
