"""Layer, group, instance, RMS and local response normalization and dropout of channels: closed forms and hard cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import nn
from tinygrad_cnn.backprop import grad
from tinygrad_cnn.graph import Tensor
from tinygrad_cnn.kernels import parallel
from tinygrad_cnn.kernels import standardize as kernels
from tinygrad_cnn.modes import no_grad
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.ops.standardize import standardize, standardize_input_grad
from tinygrad_cnn.shapes import ShapeError


def leaf(values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


def normal(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


@st.composite
def problems(draw):
    """x, g of its shape, and the axes of one mean, as one int or several."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    seed = draw(st.integers(0, 2**16))
    axis = axes[0] if len(axes) == 1 else tuple(i - len(shape) * (i % 2) for i in axes)
    return normal(*shape, seed=seed), normal(*shape, seed=seed + 1), axis


def closed_form(x, g, axis, eps, centred):
    mean = x.mean(axis, keepdims=True) if centred else 0.0
    r = 1 / np.sqrt(((x - mean) ** 2).mean(axis, keepdims=True) + eps)
    y = (x - mean) * r
    level = g.mean(axis, keepdims=True) if centred else 0.0
    return y, r * (g - level - y * (g * y).mean(axis, keepdims=True))


# The ops


@given(problems(), st.booleans(), st.sampled_from([1, 7, 2**15]))
def test_values_and_gradients_are_the_closed_form_whatever_the_blocks(problem, centred, block):
    x, g, axis = problem
    y, d = closed_form(x, g, axis, 0.1, centred)
    for layout in (x, np.asfortranarray(x), x[::-1].copy()[::-1]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels, "BLOCK", block)
            t = Tensor(layout, requires_grad=True)
            out = standardize(t, axis=axis, eps=0.1, centred=centred)
            (found,) = grad(out, [t], Tensor(g))
            plain = standardize_input_grad(g, layout, axis=axis, eps=0.1, centred=centred)
        np.testing.assert_allclose(out.numpy(), y, atol=1e-13)
        np.testing.assert_allclose(found.numpy(), d, atol=1e-12)
        np.testing.assert_allclose(plain, d, atol=1e-12)


@pytest.mark.parametrize("shape", [(64, 8, 4, 6, 9), (3, 50000), (40000, 3), (7, 2, 40000)])
def test_results_do_not_depend_on_the_number_of_threads(shape):
    x, g = normal(*shape).astype(np.float32), normal(*shape, seed=1).astype(np.float32)
    axis, before, found = tuple(range(min(2, len(shape) - 1), len(shape))), parallel.get_num_threads(), []
    try:
        for threads in (1, 3):
            parallel.set_num_threads(threads)
            t = Tensor(x, requires_grad=True)
            y = standardize(t, axis=axis)
            found.append((y.numpy(), *(d.numpy() for d in grad(y, [t], Tensor(g)))))
    finally:
        parallel.set_num_threads(before)
    for one, three in zip(*found, strict=True):
        np.testing.assert_array_equal(one, three)
    y, d = closed_form(x.astype(np.float64), g, axis, 1e-5, True)
    np.testing.assert_allclose(found[0][0], y, atol=2e-6)
    std = x.astype(np.float64).std(axis, keepdims=True)
    np.testing.assert_allclose(found[0][1] * std, d * std, atol=5e-6)


@given(st.sampled_from([1e3, 1e4, 3e5]), st.integers(2, 300), st.integers(0, 99))
def test_H115_a_large_mean_costs_no_digits_that_the_numbers_have(offset, n, seed):
    x = (offset + 10 * normal(2, n, seed=seed)).astype(np.float32)
    g = normal(2, n, seed=seed + 1).astype(np.float32)
    t = Tensor(x, requires_grad=True)
    y = standardize(t)
    (d,) = grad(y, [t], Tensor(g))
    exact = closed_form(x.astype(np.float64), g, -1, 1e-5, True)
    scale = 1 / x.astype(np.float64).std(-1, keepdims=True)
    np.testing.assert_allclose(y.numpy(), exact[0], atol=5e-6)
    assert np.abs((d.numpy() - exact[1]) / scale).max() < 5e-5


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 4)])
def test_nothing_is_normalised_to_nothing(shape):
    t, w = leaf(np.zeros(shape)), leaf(np.ones(shape[-1]))
    y = standardize(t, w)
    y.sum().backward()
    assert y.shape == t.grad.shape == shape
    np.testing.assert_array_equal(w.grad.numpy(), 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_sample_that_is_not_finite_is_nan_and_does_not_reach_the_others(value, dtype):
    x = normal(3, 20).astype(dtype)
    x[1, 2] = value
    y = F.layer_norm(x, 20)
    assert np.isnan(y).all(1).tolist() == np.isnan(y).any(1).tolist() == [False, True, False]
    np.testing.assert_array_equal(y[[0, 2]], F.layer_norm(x[[0, 2]], 20))


@pytest.mark.parametrize("f", [lambda x: F.layer_norm(x, 512), lambda x: F.rms_norm(x, (512,)), lambda x: F.group_norm(
    x.reshape((2, 4, 128)), 1).reshape((2, 512))])  # fmt: skip
def test_half_precision_is_normalised_in_float32(f):
    x = normal(2, 512) * 1000
    t = leaf(x, np.float16)
    y = f(t)
    (d,) = grad(y, [t], Tensor(np.ones((2, 512), np.float16)))
    assert y.dtype == d.dtype == np.float16
    np.testing.assert_allclose(y.numpy(), np.asarray(f(t.numpy().astype(np.float64))), atol=2e-3)


def test_local_response_norm_of_half_precision_does_not_overflow():
    x = np.full((1, 3, 1, 2), 300.0)
    t = leaf(x, np.float16)
    y = F.local_response_norm(t, 2, alpha=1.0)
    (d,) = grad(y, [t], Tensor(np.ones(x.shape, np.float16)))
    assert y.dtype == d.dtype == np.float16
    np.testing.assert_allclose(y.numpy(), F.local_response_norm(x, 2, alpha=1.0), rtol=2e-3)


# The functions


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 7))
def test_local_response_norm_is_a_loop_over_channels(n, c, size):
    x = normal(n, c, 2, 3, seed=size)
    expected = np.empty_like(x)
    for i in range(c):
        window = x[:, max(0, i - size // 2) : i + (size - 1) // 2 + 1]
        expected[:, i] = x[:, i] / (1.5 + 0.3 * (window**2).sum(1) / size) ** 0.6
    np.testing.assert_allclose(F.local_response_norm(x, size, 0.3, 0.6, 1.5), expected, rtol=1e-12)
    assert F.local_response_norm(x[:, :0], size).shape == (n, 0, 2, 3)


def test_a_group_of_every_channel_is_a_layer_and_a_group_of_one_an_instance():
    x = normal(3, 4, 2, 5)
    np.testing.assert_allclose(F.group_norm(x, 1), F.layer_norm(x, (4, 2, 5)), atol=1e-13)
    np.testing.assert_allclose(F.group_norm(x, 4), F.instance_norm(x), atol=1e-13)


def test_channels_last_memory_stays_channels_last():
    x = np.ascontiguousarray(normal(3, 6, 5, 8).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for f in (lambda x: F.group_norm(x, 2), F.instance_norm):
        y = f(x)
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous
        np.testing.assert_allclose(y, f(np.ascontiguousarray(x)), atol=1e-13)


def test_H117_values_alone_become_their_bias_with_gradient_0():
    x, w, b = leaf(normal(3, 1)), leaf([3.0]), leaf([0.5])
    y = F.layer_norm(x, 1, w, b)
    np.testing.assert_array_equal(y.numpy(), 0.5)
    for gradient in grad(y.sum(), [x, w]):
        np.testing.assert_array_equal(gradient.numpy(), 0)
    assert np.isnan(F.layer_norm(np.ones((2, 3)), 3, eps=0.0)).all()


@np.errstate(under="ignore")  # of the test's own arithmetic
def test_the_eps_of_rms_norm_is_that_of_the_dtype_unless_given():
    for dtype in (np.float16, np.float32, np.float64):
        x = np.full((1, 2), 1e-4, dtype)
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(F.rms_norm(x, 2), F.rms_norm(x, 2, eps=float(eps)))
    assert F.rms_norm(np.array([3, 4]), 2).dtype == np.float32


def test_instance_norm_moves_the_statistics_under_no_grad_and_leaves_them_if_it_raises_or_sees_nothing():
    x = normal(2, 3, 4)
    mean, var = Tensor(np.zeros(3)), Tensor(np.ones(3))
    for call, message in [
        (lambda: F.instance_norm(x, mean, var, np.ones(2)), r"weight has shape \(2,\), needs \(3,\), one number for"),
        (lambda: F.instance_norm(x, mean, Tensor(np.ones(4))), r"running_var has shape \(4,\), needs \(3,\)"),
        (lambda: F.instance_norm(x[:, :, :1], mean, var), "has 1 value per channel of a sample.*use larger images"),
        (lambda: F.instance_norm(x, mean, var, eps=-1.0), "instance_norm: eps is -1.0; a number of at least 0"),
        (lambda: F.instance_norm(x, mean, None), "one of running_mean and running_var is None"),
        (lambda: F.instance_norm(x[0], mean, var), r"input has shape \(3, 4\), needs \(n, channels, length, ...\)"),
        (lambda: F.instance_norm(x, use_input_stats=False), "without use_input_stats they are needed"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="instance_norm: momentum is None; a number is needed"):
        F.instance_norm(x, mean, var, momentum=None)
    F.instance_norm(x[:0], mean, var)
    np.testing.assert_array_equal([mean.numpy(), var.numpy()], [[0] * 3, [1] * 3])
    with no_grad():
        F.instance_norm(x, mean, var, momentum=1.0)
    np.testing.assert_allclose(mean.numpy(), x.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), x.var(2, ddof=1).mean(0), rtol=1e-12)


X = np.zeros((2, 6, 3))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: F.layer_norm(X, (6,)), ShapeError, r"layer_norm: the input has shape \(2, 6, 3\), needs \(..., 6\)"),
        (lambda: F.layer_norm(X, (1, 2, 6, 3)), ShapeError, r"needs \(..., 1, 2, 6, 3\), as normalized_shape"),
        (lambda: F.layer_norm(X, ()), ShapeError, r"normalized_shape is \(\), needs at least one length"),
        (lambda: F.layer_norm(X, "3"), TypeError, "layer_norm: normalized_shape is '3'"),
        (lambda: F.layer_norm(X, 3, np.ones(2)), ShapeError, r"weight has shape \(2,\), needs normalized_shape=\(3,\)"),
        (lambda: F.layer_norm(X, 3, None, np.ones(6)), ShapeError, r"bias has shape \(6,\), needs normalized_shape"),
        (lambda: F.layer_norm(X, 3, eps=np.nan), ValueError, "layer_norm: eps is nan; a number of at least 0 is"),
        (lambda: F.layer_norm([1.0], 1), TypeError, "layer_norm: the input is a list; a Tensor or ndarray is needed"),
        (lambda: F.layer_norm(X, 3, np.ones(3, np.float32)), TypeError, r"different dtypes .*x float64.*w float32"),
        (lambda: F.rms_norm(X, 3, eps=-1.0), ValueError, "rms_norm: eps is -1.0"),
        (lambda: F.group_norm(X, 4), ShapeError, r"has 6 channels, which num_groups=4 does not divide; use one of 1"),
        (lambda: F.group_norm(X, 0), ShapeError, "group_norm: num_groups is 0, needs at least 1"),
        (lambda: F.group_norm(X, 2, np.ones(2)), ShapeError, r"group_norm: weight has shape \(2,\), needs \(6,\)"),
        (lambda: F.group_norm(X[:1, :, :1], 6), ValueError, "1 value per group for num_groups=6.*use fewer groups"),
        (lambda: F.local_response_norm(X, 0), ShapeError, "local_response_norm: size is 0, needs at least 1"),
        (lambda: F.local_response_norm(X[0], 2), ShapeError, r"local_response_norm: the input has shape \(6, 3\)"),
        (lambda: nn.GroupNorm(4, 6), ShapeError, "GroupNorm: num_groups=4 does not divide num_channels=6"),
        (lambda: nn.GroupNorm(2, 4)(Tensor(X)), ShapeError, r"GroupNorm: x has shape \(2, 6, 3\); \(n, 4, ...\) is"),
        (lambda: nn.BatchNorm1d(4)(Tensor(X)), ShapeError, r"BatchNorm1d: .*; \(n, 4\) or \(n, 4, l\) is needed"),
        (lambda: nn.InstanceNorm2d(4)(Tensor(X)), ShapeError, r"\(n, 4, h, w\) or \(4, h, w\) is needed, as num_fea"),
        (lambda: nn.LayerNorm(0), ShapeError, "LayerNorm: normalized_shape is 0, needs at least 1"),
        (lambda: nn.LayerNorm(()), ShapeError, r"LayerNorm: normalized_shape is \(\), needs at least one length"),
        (lambda: nn.LayerNorm(3.0), TypeError, "LayerNorm: normalized_shape is 3.0 .* needs an int or several"),
        (lambda: nn.RMSNorm("ab"), TypeError, "RMSNorm: normalized_shape is 'ab' .* needs an int or several"),
        (lambda: nn.RMSNorm((2, "3")), TypeError, "RMSNorm: normalized_shape is '3'"),
        (lambda: nn.LayerNorm(3, dtype=np.int32), TypeError, "LayerNorm: dtype=.* parameters could not be trained"),
        (lambda: F.dropout2d(X), ShapeError, r"dropout2d: .*\(2, 6, 3\), needs \(n, c, h, w\); use unsqueeze\(0\) for"),
        (lambda: F.dropout1d(X[None]), ShapeError, r"dropout1d: .*needs \(n, c, l\) or \(c, l\)"),
        (lambda: F.dropout1d(X, 1.5), ValueError, "dropout1d: p is 1.5; a probability must lie between 0 and 1"),
        (lambda: F.dropout2d(np.ones((1, 1, 1, 1), int)), TypeError, "dropout2d: the input is int64; a float Tensor"),
        (lambda: F.alpha_dropout(X, -1.0), ValueError, "alpha_dropout: p is -1.0; a probability must lie"),
        (lambda: F.alpha_dropout([1.0], 0.5, True), TypeError, "alpha_dropout: the input is list; a float Tensor"),
        (lambda: F.softshrink(X, -1.0), ValueError, "softshrink: lambd is -1.0; a number of at least 0 is needed"),
        (lambda: F.hardshrink(X, np.nan), ValueError, "hardshrink: lambd is nan"),
        (lambda: nn.Softmax2d()(Tensor(X[0])), ShapeError, r"Softmax2d: x has shape \(6, 3\); \(n, c, h, w\) or"),
        (lambda: F.cosine_similarity(X, X[:, :2]), ShapeError, r"cosine_similarity: .*\(2, 6, 3\).*\(2, 2, 3\)"),
        (lambda: nn.AlphaDropout(2), ValueError, "AlphaDropout: p=2; a probability from 0 to 1 is needed"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("make", [nn.LayerNorm, nn.RMSNorm, lambda n: nn.GroupNorm(2, n)])
def test_reset_parameters_starts_again(make):
    norm = make(4)
    for p in norm.parameters():
        nn.init.constant_(p, 7.0)
    norm.reset_parameters()
    np.testing.assert_array_equal(norm.weight.numpy(), 1)
    assert getattr(norm, "bias", None) is None or not norm.bias.numpy().any()


@pytest.mark.parametrize("make", [nn.BatchNorm1d, nn.LayerNorm, lambda n, bias: nn.GroupNorm(2, n, bias=bias)])
def test_a_norm_without_bias_says_so(make):
    assert "bias" not in repr(make(4, bias=True))
    norm = make(4, bias=False)
    assert repr(norm).endswith(", bias=False)")
    assert [name for name, _ in norm.named_parameters()] == ["weight"]


# Dropout of channels


@pytest.mark.parametrize(
    ("f", "shape", "axes"), [(F.dropout1d, (90, 30, 4), (2,)), (F.dropout1d, (2000, 3), (1,)),
                             (F.dropout2d, (90, 30, 2, 3), (2, 3))],
)  # fmt: skip
def test_whole_channels_are_dropped_and_the_rest_is_scaled(f, shape, axes):
    x = leaf(np.ones(shape))
    y = f(x, 0.25, generator=np.random.default_rng(5))
    kept = y.numpy() != 0
    np.testing.assert_allclose(y.numpy()[kept], 1 / 0.75)
    np.testing.assert_array_equal(kept.all(axes), kept.any(axes))
    share, n = kept.mean(), kept.size // np.prod([shape[i] for i in axes])
    assert abs(share - 0.75) < 4 * np.sqrt(0.25 * 0.75 / n)
    (d,) = grad(y, [x], Tensor(np.full(shape, 3.0)))
    np.testing.assert_allclose(d.numpy(), 3.0 * y.numpy())
    np.testing.assert_array_equal(f(x, 0.25, generator=np.random.default_rng(5)).numpy(), y.numpy())
    assert f(x, 0.0) is f(x, 0.7, False) is x
    np.testing.assert_array_equal(f(x * np.inf, 1.0).numpy(), 0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_alpha_dropout_keeps_mean_0_and_variance_1(p):
    x = leaf(normal(200_000))
    y = F.alpha_dropout(x, p, True, generator=np.random.default_rng(3))
    assert abs(y.numpy().mean()) < 0.02
    assert abs(y.numpy().var() - 1) < 0.05
    a = ((1 - p) * (1 + p * 1.7580993408473766**2)) ** -0.5
    dropped = np.isclose(y.numpy(), -1.7580993408473766 * a * (1 - p), rtol=1e-12)
    assert abs(dropped.mean() - p) < 0.01
    (d,) = grad(y, [x], Tensor(np.ones(x.shape)))
    np.testing.assert_allclose(d.numpy(), np.where(dropped, 0, a))


def test_alpha_dropout_of_everything_is_0_and_outside_training_it_is_the_input():
    x = leaf([1.0, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(F.alpha_dropout(x, 1.0, True).numpy(), 0)
    assert F.alpha_dropout(x) is F.alpha_dropout(x, 0.0, True) is x
    assert F.alpha_dropout(x, 0.5, True).dtype == np.float32


@pytest.mark.parametrize("layer", [nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout])
def test_dropout_layers_draw_in_training_alone_and_change_in_place_if_asked(layer):
    x = Tensor(np.ones((4, 30, 2) + (3,) * (layer is nn.Dropout2d)))
    drop = layer(0.5, inplace=True, generator=np.random.default_rng(1))
    assert drop.eval()(x) is x
    y = drop.train()(x)
    assert y is x
    assert len(np.unique(x.numpy())) == 2
