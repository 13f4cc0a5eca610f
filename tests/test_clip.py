"""nn.utils: gradients clipped by norm or value, and parameters as one vector."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn import Tensor, grad
from tinygrad_cnn.nn import Linear, Parameter
from tinygrad_cnn.nn.utils import clip_grad_norm_, clip_grad_value_, parameters_to_vector, vector_to_parameters

SHAPES = [(2, 3), (), (0, 2), (4,)]


def with_gradients(seed=0, dtype=np.float64, scale=1.0):
    rng = np.random.default_rng(seed)
    params = [Parameter(np.zeros(shape, dtype)) for shape in SHAPES]
    for p in params:
        p.grad = (scale * rng.normal(size=p.shape)).astype(dtype)
    return [*params, Parameter(np.zeros(2, dtype))]  # the last one without a gradient


def entries(params):
    return np.concatenate([p.grad.array.ravel() for p in params if p.grad is not None])


@given(seed=st.integers(0, 100), most=st.floats(0, 10), p=st.sampled_from([1, 1.5, 2, 3, math.inf]))
@np.errstate(under="ignore")  # of the test's own arithmetic
def test_the_norm_is_that_of_one_long_vector_and_at_most_max_norm_afterwards(seed, most, p):
    params = with_gradients(seed)
    memories = [q.grad.array for q in params[:-1]]
    before = entries(params)
    norm = clip_grad_norm_(iter(params), most, p)
    assert isinstance(norm, Tensor)
    assert norm.item() == pytest.approx(np.linalg.norm(before, p))
    scale = min(1.0, most / (np.linalg.norm(before, p) + 1e-6))
    assert np.allclose(entries(params), scale * before, rtol=1e-12, atol=0)
    if scale == 1:
        assert np.array_equal(entries(params), before)
    assert all(q.grad.array is memory for q, memory in zip(params, memories, strict=False))
    assert params[-1].grad is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_keep_their_dtype_and_large_ones_do_not_overflow(dtype):
    large = np.finfo(dtype).max / 4
    params = with_gradients(dtype=dtype)
    for p in params[:-1]:
        p.grad = np.full(p.shape, large, dtype)
    norm = clip_grad_norm_(params, 1.0)
    assert norm.dtype == dtype
    assert norm.item() == pytest.approx(float(large) * math.sqrt(11), rel=1e-3)
    assert np.allclose(entries(params), 1 / math.sqrt(11), rtol=1e-2, atol=1e-4)
    assert all(p.grad.dtype == dtype for p in params[:-1])


def test_the_norm_of_several_dtypes_has_the_wider_one():
    a, b = Parameter(np.zeros(1, np.float32)), Parameter(np.zeros(1, np.float64))
    a.grad, b.grad = np.float32([3]), np.array([4.0])
    norm = clip_grad_norm_([a, b], 1.0)
    assert (norm.dtype, norm.item()) == (np.float64, 5.0)
    assert (a.grad.dtype, b.grad.dtype) == (np.float32, np.float64)
    assert [a.grad.item(), b.grad.item()] == pytest.approx([0.6, 0.8], rel=1e-5)


@pytest.mark.parametrize(
    ("values", "norm", "after"),
    [
        ([3.0, math.inf], math.inf, [0.0, math.nan]),
        ([3.0, math.nan], math.nan, [math.nan, math.nan]),
        ([0.0, 0.0], 0.0, [0.0, 0.0]),
    ],
)
def test_H133_norms_that_are_not_finite_or_0(values, norm, after):
    p = Parameter([0.0, 0.0])
    p.grad = np.float32(values)
    with np.errstate(all="raise"):
        assert clip_grad_norm_(p, 1.0).numpy() == pytest.approx(norm, nan_ok=True)
    assert p.grad.numpy() == pytest.approx(after, nan_ok=True)
    if not math.isfinite(norm):
        p.grad = np.float32(values)
        with pytest.raises(RuntimeError, match=f"the norm of order 2 of the gradients is {norm}; nothing was changed"):
            clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
        assert p.grad.numpy() == pytest.approx(values, nan_ok=True)


def test_H133_without_gradients_the_norm_is_0():
    for params in ([], [Parameter([1.0])], Parameter([1.0])):
        norm = clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
        assert (norm.item(), norm.dtype, norm.shape) == (0.0, np.float32, ())
        clip_grad_value_(params, 1.0)


def test_a_generator_that_ran_out_is_warned_of():
    parameters = Linear(1, 1).parameters()
    list(parameters)
    with pytest.warns(UserWarning, match="clip_grad_norm_: the generator of parameters is empty, so nothing is done"):
        clip_grad_norm_(parameters, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip_grad_norm_(iter([]), 1.0)


def test_a_parameter_that_occurs_twice_counts_once():
    p = Parameter([0.0, 0.0])
    p.grad = np.float32([3, 4])
    assert clip_grad_norm_([p, p], 1.0).item() == 5.0
    assert p.grad.numpy() == pytest.approx([0.6, 0.8])


@given(
    values=hnp.arrays(np.float32, 5, elements=st.floats(-100, 100, width=32)), most=st.sampled_from([0, 0.5, 7, 1e300])
)
def test_entries_are_brought_between_the_values(values, most):
    p = Parameter(np.zeros(5, np.float32))
    p.grad = values
    memory = p.grad.array
    clip_grad_value_([p], most)
    assert p.grad.array is memory
    assert np.array_equal(memory, [min(max(v, -most), most) for v in values.tolist()])
    p.grad = np.float32([math.nan, math.inf, -math.inf, 0, 1])
    clip_grad_value_(p, 0.5)
    assert np.array_equal(p.grad.numpy(), np.float32([math.nan, 0.5, -0.5, 0, 0.5]), equal_nan=True)


def test_clipping_between_forward_and_backward_is_noticed():
    for clip in (clip_grad_norm_, clip_grad_value_):
        p = Parameter([3.0])
        p.grad = np.float32([5])
        loss = (Parameter([1.0]) * p.grad).sum()
        clip(p, 1.0)
        with pytest.raises(RuntimeError, match=rf"changed in place \({clip.__name__}\)"):
            loss.backward()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: clip_grad_norm_([p], -1.0), ValueError, "clip_grad_norm_: max_norm=-1.0; a number >= 0 is needed"),
        (lambda p: clip_grad_norm_([p], math.nan), ValueError, "max_norm=nan"),
        (lambda p: clip_grad_norm_([p], "1"), TypeError, "max_norm='1'; a number is needed"),
        (lambda p: clip_grad_norm_([p], 1.0, math.nan), ValueError, "norm_type=nan; a number is needed, math.inf"),
        (lambda p: clip_grad_value_([p], -0.1), ValueError, "clip_grad_value_: clip_value=-0.1"),
        (lambda p: clip_grad_norm_(Linear(1, 1), 1.0), TypeError, "parameters is a Linear; .* model.parameters"),
        (lambda p: clip_grad_norm_(None, 1.0), TypeError, "parameters is a NoneType"),
        (lambda p: clip_grad_norm_({"w": p}, 1.0), TypeError, "parameters is a dict"),
        (lambda p: clip_grad_norm_(Linear(1, 1).named_parameters(), 1.0), TypeError, "without the names"),
        (lambda p: clip_grad_value_([p, np.ones(1)], 1.0), TypeError, "parameter 1 is a ndarray; a Tensor is needed"),
        (lambda p: vector_to_parameters(Tensor([1.0]), [p]), ValueError, r"shape \(1,\), .* have 2 entries; \(2,\)"),
        (lambda p: vector_to_parameters(Tensor([[1.0, 2.0]]), [p]), ValueError, r"the shape \(1, 2\)"),
        (lambda p: vector_to_parameters([1.0, 2.0], [p]), TypeError, "vec is a list; a Tensor is needed"),
        (lambda p: vector_to_parameters(np.ones(2), [p]), TypeError, "vec is float64, parameter 0 is float32"),
    ],
)
def test_what_cannot_be_clipped_or_copied_is_refused(call, error, message):
    p = Parameter([1.0, 2.0])
    p.grad = np.float32([3, 4])
    with pytest.raises(error, match=message):
        call(p)
    assert (p.array.tolist(), p.grad.array.tolist()) == ([1, 2], [3, 4])


def test_memory_that_cannot_be_written_is_noticed_before_any_is():
    p, q = Parameter([1.0]), Parameter([1.0])
    p.grad, q.grad = np.float32([3]), np.float32([4])
    q.grad.array.flags.writeable = False
    for clip in (clip_grad_norm_, clip_grad_value_):
        with pytest.raises(RuntimeError, match=r"a gradient of shape \(1,\) is read-only"):
            clip([p, q], 1.0)
    assert p.grad.array.tolist() == [3]
    q.array.flags.writeable = False
    with pytest.raises(RuntimeError, match=r"parameter 1 of shape \(1,\) is read-only"):
        vector_to_parameters(Tensor([5.0, 6.0]), [p, q])
    assert p.array.tolist() == [1]


def test_parameters_become_a_vector_and_come_back():
    model = Linear(3, 2)
    vector = parameters_to_vector(model.parameters())
    assert vector.shape == (8,)
    (g,) = grad((vector * vector).sum(), [model.weight])
    assert np.allclose(g.numpy(), 2 * model.weight.numpy())
    memory = model.weight.array
    vector_to_parameters(vector.detach() * 2, model.parameters())
    assert model.weight.array is memory
    assert np.array_equal(parameters_to_vector(model.parameters()).numpy(), 2 * vector.numpy())
    loss = (model.weight * model.weight).sum()
    vector_to_parameters(vector.detach(), model.parameters())
    with pytest.raises(RuntimeError, match=r"changed in place \(vector_to_parameters\)"):
        loss.backward()
