"""Functions in place: `x.exp_()` is `x = x.exp()` in x's own memory, and is refused where a gradient would be lost."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import no_grad

NAMES = [
    "abs",
    "ceil",
    "cos",
    "exp",
    "expm1",
    "floor",
    "log",
    "log1p",
    "neg",
    "reciprocal",
    "relu",
    "round",
    "rsqrt",
    "sigmoid",
    "sin",
    "sqrt",
    "square",
    "tanh",
    "trunc",
]
OF_INTEGERS = {"abs", "ceil", "floor", "neg", "relu", "round", "square", "trunc"}


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 99), dtype=st.sampled_from([np.float16, np.float32, np.float64]))
def test_a_function_in_place_is_the_function(name: str, seed: int, dtype: Any) -> None:
    array = np.random.default_rng(seed).standard_normal((2, 3, 4)).astype(dtype)
    whole = tg.from_numpy(array)
    x = whole[:, 1:, ::-2]  # a view: the memory around it stays
    expected, around = getattr(x.clone(), name)().numpy(), array[:, :1].copy()
    assert getattr(x, f"{name}_")() is x
    assert x.dtype == dtype
    np.testing.assert_array_equal(array[:, 1:, ::-2], expected)
    np.testing.assert_array_equal(array[:, :1], around)


@pytest.mark.parametrize("name", NAMES)
def test_a_function_in_place_is_refused_where_a_gradient_would_be_lost(name: str) -> None:
    x = tg.tensor([0.25, 0.5], requires_grad=True)
    remedy = re.escape(f"x = x.{name}()")
    with pytest.raises(RuntimeError, match=f"{name}_: a leaf that requires grad .* {remedy}"):
        getattr(x, f"{name}_")()
    h = x * 1
    with pytest.raises(RuntimeError, match=f"{name}_: a Tensor in a recorded computation .* {remedy}"):
        getattr(h, f"{name}_")()
    with no_grad():
        expected = getattr(x, name)().numpy()
        np.testing.assert_array_equal(getattr(x, f"{name}_")().numpy(), expected)
    assert x.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_integers_stay_integers_or_are_refused(name: str) -> None:
    x = tg.tensor([1, -2, 3])
    if name in OF_INTEGERS:
        assert getattr(x, f"{name}_")().tolist() == getattr(tg.tensor([1, -2, 3]), name)().tolist()
        assert x.dtype == np.int64
    else:
        with pytest.raises(TypeError, match=f"{name}_: float32 values do not fit into a int64 Tensor"):
            getattr(x, f"{name}_")()
        assert x.tolist() == [1, -2, 3]


def test_a_graph_that_needs_the_old_values_says_so() -> None:
    w, x = tg.tensor([2.0], requires_grad=True), tg.tensor([3.0])
    y = w * x
    x.exp_()
    with pytest.raises(RuntimeError, match="exp_"):
        y.backward()


def test_scatter_writes_ones_as_scripts_do_for_classes() -> None:
    labels = tg.tensor([2, 0, 1])
    assert tg.zeros(3, 4).scatter_(1, labels.unsqueeze(1), 1).tolist() == tg.nn.functional.one_hot(labels, 4).tolist()
    x = tg.zeros(2, 3)
    index, src = tg.tensor([[0, 1, 1]]), tg.tensor([[1.0, 2.0, 3.0]])
    expected = x.scatter(0, index, src).tolist()
    assert x.scatter_(0, index, src) is x
    assert x.tolist() == expected
    leaf = tg.zeros(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"scatter_: a leaf that requires grad .* x = x.scatter\(dim, index, src\)"):
        leaf.scatter_(0, index, src)
    with pytest.raises(RuntimeError, match="scatter_: a Tensor in a recorded computation"):
        x.scatter_(0, index, leaf[:1] * 2)
    with pytest.raises(IndexError):
        x.scatter_(0, tg.tensor([[2, 0, 0]]), 5.0)
    assert x.tolist() == expected


@pytest.mark.parametrize("names", [("absolute", "abs"), ("multiply", "mul"), ("negative", "neg"), ("subtract", "sub")])
def test_an_op_may_have_two_names(names: tuple[str, str]) -> None:
    second, first = names
    assert getattr(tg, second) is getattr(tg, first)
    assert getattr(tg.Tensor, second) is getattr(tg.Tensor, first)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_a_softmax_in_another_dtype_is_computed_in_it(name: str) -> None:
    x = tg.tensor(np.linspace(-9, 9, 12, dtype=np.float32).reshape(3, 4), requires_grad=True)
    function = getattr(tg.nn.functional, name)
    y = function(x, dim=1, dtype=tg.float64)
    np.testing.assert_array_equal(y.numpy(), function(x.double(), dim=1).numpy())
    (y * y).sum().backward()
    assert (y.dtype, x.grad.dtype) == (np.float64, np.float32)
    assert function(tg.tensor([[1, 2]]), dim=1, dtype="float32").dtype == np.float32
