"""The engine: what a graph is, what backward and grad do with it, and how ops are declared."""

import copy
import gc
import hashlib
import inspect
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, grad, no_grad, op
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.ops.conv import conv2d
from tinygrad_cnn.ops.elementwise import array_of, exp, relu
from tinygrad_cnn.ops.layout import cat, stack
from tinygrad_cnn.ops.pool import max_pool2d

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _ops_declared_here_are_forgotten():
    known = dict(registry)
    yield
    registry.clear()
    registry.update(known)


def numbers(*shape, seed=0):
    """Values between -1 and 1, none near 0."""
    values = np.random.default_rng(seed).uniform(0.2, 1.0, shape)
    return values * np.random.default_rng(seed + 1).choice([-1.0, 1.0], shape)


def leaf(*shape, seed=0, dtype=np.float64):
    return Tensor(numbers(*shape, seed=seed).astype(dtype), requires_grad=True)


def run_python(code, *flags, **environment):
    """The standard output of `code` in a fresh interpreter that must say nothing on standard error."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# Gradients of graphs


def test_a_chain_of_products_has_the_product_of_the_derivatives():
    x, g = leaf(2, 3), numbers(2, 3, seed=5)
    ((x * 3.0).exp() * x).backward(g)
    e = np.exp(x.array * 3)
    np.testing.assert_allclose(x.grad.array, g * e * (3 * x.array + 1), rtol=1e-14)


@given(data=st.data())
def test_a_random_graph_with_sharing_and_broadcasting_has_the_gradient_of_its_differences(data):
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    shapes = [(2, 3), (3,), (2, 1), (), (1, 3)]
    leaves = [Tensor(draw.uniform(0.5, 1.5, s), requires_grad=True) for s in shapes]
    steps = data.draw(
        st.lists(st.tuples(st.sampled_from("+-*/s"), st.integers(0, 99), st.integers(0, 99)), max_size=12)
    )

    def compute(values):
        values = list(values)
        for kind, i, j in steps:
            x, y = values[i % len(values)], values[j % len(values)]
            match kind:
                case "+":
                    z = x + y
                case "-":
                    z = x - y * 0.3
                case "*":
                    z = x * y * 0.5
                case "/":
                    z = x / (y * y + 1.0)
                case _:
                    z = x.sum() * 0.1 if isinstance(x, Tensor) else np.sum(x) * 0.1
            values.append(z)
        total = values[0] * 0.0
        for k, value in enumerate(values):
            total = total + value * (1.0 / (k + 1))
        return total

    out = compute(leaves)
    c = draw.normal(size=out.shape)
    out.backward(c)
    arrays = [x.array for x in leaves]
    u = [draw.normal(size=a.shape) for a in arrays]
    h = 6e-6
    up, down = (compute([a + s * h * v for a, v in zip(arrays, u, strict=True)]) for s in (1, -1))
    got = sum(np.sum(x.grad.array * v) for x, v in zip(leaves, u, strict=True))
    assert all(x.grad.shape == x.shape and x.grad.dtype == x.dtype for x in leaves)
    size = sum(np.abs(v).max() for v in (up, down, c)) * 10
    assert np.sum(c * (up - down)) / (2 * h) == pytest.approx(got, abs=50 * 4e-11 * (1 + size))


def test_H142_doubling_sixty_times_visits_each_node_once():
    x = Tensor([1.0], requires_grad=True, dtype=np.float64)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert (y.array[0], x.grad.array[0]) == (2.0**60, 2.0**60)


def test_H143_every_rule_of_a_diamond_runs_once():
    calls = []

    @op
    def passed(x, /, name):
        return x * 1.0

    def rule(g, name):
        calls.append(name)
        return g

    passed.vjp(x=rule)
    x = leaf(3)
    a = passed(x, "a")
    b, c = passed(a, "b"), passed(a, "c")
    d = passed(b * c, "d")
    unused = passed(a, "unused")
    (d + d * b).sum().backward()
    assert sorted(calls) == ["a", "b", "c", "d"]
    assert unused.grad is None
    np.testing.assert_allclose(x.grad.array, 2 * x.array + 3 * x.array**2, rtol=1e-14)


def test_H143_an_input_that_is_not_used_has_no_gradient():
    x, y = leaf(2), leaf(2, seed=1)
    x.sum().backward()
    assert y.grad is None
    assert grad(x.sum(), [x, y], allow_unused=True)[1] is None
    with pytest.raises(
        RuntimeError, match=r"grad: the outputs do not depend on inputs \[1\] \(of 2\); pass allow_unused"
    ):
        grad(x.sum(), [x, y])


def test_an_operand_used_twice_collects_both_gradients():
    x = leaf(3)
    (x * x - x).backward(np.ones(3))
    np.testing.assert_allclose(x.grad.array, 2 * x.array - 1, rtol=1e-14)


def test_H126_backward_on_a_leaf_gives_the_cotangent():
    x = Tensor([4.0], requires_grad=True)
    x.backward()
    assert x.grad.tolist() == [1.0]
    y, g = leaf(2), np.array([3.0, 4.0])
    y.backward(g)
    assert y.grad.tolist() == [3.0, 4.0]
    assert not np.shares_memory(y.grad.array, g)


def test_only_what_requires_grad_is_recorded():
    x, c = leaf(2), Tensor(numbers(2, seed=3))
    assert not (c * c).requires_grad
    assert (c * c).is_leaf
    y = x * c
    assert y.requires_grad
    assert not y.is_leaf
    assert len(y.node.parents) == 1
    assert not (x > c).requires_grad
    assert not x.detach().requires_grad


def test_gradients_come_back_in_each_inputs_dtype_and_shape():
    x, y, z = leaf(3, 1, dtype=np.float32), leaf(2, 1, 4), Tensor(np.float16(2.0), requires_grad=True)
    out = x * y + z
    out.backward(numbers(2, 3, 4))
    assert [(t.grad.dtype, t.grad.shape) for t in (x, y, z)] == [
        (np.float32, (3, 1)),
        (np.float64, (2, 1, 4)),
        (np.float16, ()),
    ]


def test_gradients_accumulate_over_backwards_of_different_graphs():
    x = leaf(2)
    for _ in range(3):
        (x * 2.0).sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


# Great depth and width


def test_H140_a_million_steps_run_forward_backward_and_are_deleted():
    x = Tensor([1.0, -2.0], requires_grad=True)
    y = x
    for _ in range(10**6):
        y = y + 1.0
    assert repr(y).startswith("Tensor([")
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    del y
    assert gc.collect() < 1000


def test_H140_a_deep_graph_that_never_ran_backward_is_deleted_without_recursion():
    x = Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(10**5):
        y = relu(y) * 1.0
    del y
    assert x.grad is None


def test_H140_a_deep_graph_differentiates_twice():
    x = Tensor([1.0], requires_grad=True, dtype=np.float64)
    y = x
    for _ in range(3000):
        y = y * 1.001
    (first,) = grad(y * y, x, create_graph=True)
    (second,) = grad(first, x)
    assert second.item() == pytest.approx(2 * 1.001**6000, rel=1e-10)


def test_H140_H151_a_deep_graph_is_not_copied_but_its_leaf_is():
    y = x = Tensor([1.0], requires_grad=True)
    for _ in range(10**5):
        y = y + 1.0
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(y)
    with pytest.raises(RuntimeError, match="pickle"):
        pickle.dumps(y)
    assert copy.deepcopy(x).tolist() == [1.0]


def test_H141_a_node_with_a_hundred_thousand_children():
    x = Tensor([1.0], requires_grad=True, dtype=np.float64)
    children = [x * float(i) for i in range(10**5)]
    cat(children).sum().backward()
    assert x.grad.item() == sum(range(10**5))


def test_H141_a_long_sum_adds_in_a_fixed_order():
    values = np.random.default_rng(3).normal(size=2000).astype(np.float32)

    def gradient():
        x = Tensor([1.0], requires_grad=True)
        total = x * 0.0
        for v in values:
            total = total + x * float(v)
        total.backward()
        return x.grad.array.tobytes()

    assert len({gradient() for _ in range(3)}) == 1


# retain_graph, retain_grad


def test_H124_a_second_backward_is_an_error_that_says_so():
    x = leaf(2)
    y = (x * x).sum()
    y.backward()
    first = x.grad.array.copy()
    with pytest.raises(RuntimeError, match=r"backward: the graph below sum was freed .* pass retain_graph=True"):
        y.backward()
    np.testing.assert_array_equal(x.grad.array, first)


def test_H124_with_retain_graph_leaves_accumulate_and_intermediates_do_not_count_twice():
    x = Tensor([2.0], requires_grad=True)
    h = x * 3.0
    y = h * h
    y.backward(retain_graph=True)
    assert x.grad.item() == 36.0
    y.backward(retain_graph=True)
    assert x.grad.item() == 72.0
    y.backward()
    assert x.grad.item() == 108.0
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()


def test_H124_backward_twice_gives_the_same_bits():
    x, w = leaf(1, 2, 5, 6, dtype=np.float32), leaf(3, 2, 2, 3, seed=1, dtype=np.float32)
    y = exp(max_pool2d(relu(conv2d(x, w)), 2)).mean()
    one, two = grad(y, [x, w], retain_graph=True), grad(y, [x, w])
    assert [a.array.tobytes() for a in one] == [b.array.tobytes() for b in two]


def test_two_losses_on_one_trunk_need_retain_graph_only_for_the_trunk():
    x = leaf(2)
    trunk = x * x
    a, b = trunk.sum(), (trunk * 2.0).sum()
    a.backward()
    with pytest.raises(RuntimeError, match="freed"):
        b.backward()


def test_the_graph_below_a_target_is_neither_read_nor_freed():
    x = Tensor([1.0, -3.0], requires_grad=True)
    h = x * x
    (g,) = grad((h * h).sum(), h)
    assert g.tolist() == [2.0, 18.0]
    h.sum().backward()
    assert x.grad.tolist() == [2.0, -6.0]
    (g,) = grad((h * 3.0).sum(), h)  # x * x is freed now, and not needed
    assert g.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="the graph below mul was freed"):
        grad((h * 3.0).sum(), [h, x])


def test_retain_grad_keeps_the_gradient_of_an_intermediate():
    x = leaf(2)
    h, other = x * 2.0, x * 3.0
    h.retain_grad()
    (h * h + other).sum().backward()
    np.testing.assert_array_equal(h.grad.array, 2 * h.array)
    assert other.grad is None
    with pytest.raises(RuntimeError, match="retain_grad: this Tensor does not require grad"):
        Tensor([1.0]).retain_grad()


def test_a_retained_gradient_accumulates_like_a_leafs():
    x = leaf(2)
    h = x * 2.0
    h.retain_grad()
    y = (h * h).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(h.grad.array, 4 * h.array)


# Hooks


def test_a_hook_sees_the_sum_of_the_gradients_once_and_may_replace_it():
    x, seen = leaf(2), []
    h = x * 2.0
    h.register_hook(lambda g: seen.append(g.tolist()))
    h.register_hook(lambda g: g * 10.0)
    (h + h * 3.0).sum().backward()
    assert seen == [[4.0, 4.0]]
    assert x.grad.tolist() == [80.0, 80.0]


def test_hooks_run_in_order_on_a_leaf_before_it_accumulates():
    x = leaf(2)
    x.register_hook(lambda g: g + 1.0)
    x.register_hook(lambda g: g * 2.0)
    for times in (1, 2):
        (x * 3.0).sum().backward()
        assert x.grad.tolist() == [8.0 * times] * 2


def test_a_removed_hook_is_not_called_and_removing_twice_is_harmless():
    x, seen = leaf(2), []
    handle = x.register_hook(seen.append)
    handle.remove()
    handle.remove()
    with x.register_hook(seen.append):
        x.sum().backward()
    x.sum().backward()
    assert len(seen) == 1


def test_a_hook_may_remove_itself():
    x, seen = leaf(2), []

    def once(g):
        seen.append(g)
        handle.remove()

    handle = x.register_hook(once)
    x.sum().backward()
    x.sum().backward()
    assert len(seen) == 1


def test_a_hook_that_writes_into_what_it_sees_changes_no_gradient():
    x = leaf(2)
    h = x * 2.0

    def spoil(g):
        g.zero_()

    h.register_hook(spoil)
    h.retain_grad()
    h.sum().backward()
    assert (h.grad.tolist(), x.grad.tolist()) == ([1.0, 1.0], [2.0, 2.0])


@pytest.mark.parametrize("where", ["leaf", "intermediate"])
@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (Tensor(np.ones(3)), ValueError, r"hook \S*bad: it returned shape \(3,\) for a gradient of shape \(2,\)"),
        (Tensor(np.ones(2, np.float32)), TypeError, r"hook \S*bad: it returned float32 for a float64 gradient"),
        (np.ones(2), TypeError, r"hook \S*bad: it returned a ndarray; a Tensor or None is needed"),
        (1.0, TypeError, r"hook \S*bad: it returned a float; a Tensor or None is needed"),
    ],
)
def test_H128_a_hook_that_returns_something_else_is_named(where, result, error, message):
    x = leaf(2)
    h = x * x

    def bad(g):
        return result

    (x if where == "leaf" else h).register_hook(bad)
    with pytest.raises(error, match=message):
        h.sum().backward()
    assert x.grad is None


def test_hooks_act_inside_grad_with_create_graph():
    x = leaf(2)
    h = x * x
    h.register_hook(lambda g: g * 5.0)
    (first,) = grad((h * x).sum(), x, create_graph=True)
    np.testing.assert_allclose(
        first.array, 11 * x.array**2, rtol=1e-14
    )  # 5*2x*x from the hooked path, x*x from the other
    h.node.watch.hooks.clear()
    (second,) = grad(first.sum(), x)
    np.testing.assert_allclose(second.array, 22 * x.array, rtol=1e-14)


def test_a_hook_needs_a_graph():
    with pytest.raises(RuntimeError, match="register_hook: this Tensor does not require grad"):
        Tensor([1.0]).register_hook(print)


# grad()


def test_grad_leaves_every_grad_alone():
    x, y = leaf(2), leaf(2, seed=1)
    got = grad((x * y).sum(), [x, y])
    assert x.grad is None
    assert y.grad is None
    np.testing.assert_array_equal(got[0].array, y.array)
    np.testing.assert_array_equal(got[1].array, x.array)
    assert isinstance(got, tuple)


def test_grad_of_several_outputs_is_the_sum_weighted_by_grad_outputs():
    x = leaf(3)
    a, b = x * x, x * 3.0
    c, d = numbers(3, seed=7), numbers(3, seed=9)
    (got,) = grad([a, b], x, [c, Tensor(d)])
    np.testing.assert_allclose(got.array, c * 2 * x.array + d * 3, rtol=1e-15)
    (twice,) = grad([x * 2.0, (x * 3.0).sum()], x, [c, None])
    np.testing.assert_allclose(twice.array, 2 * c + 3, rtol=1e-15)


def test_the_same_output_twice_counts_twice():
    x = leaf(3)
    y = x * x
    c, d = numbers(3, seed=7), numbers(3, seed=9)
    (got,) = grad([y, y], x, [c, d])
    np.testing.assert_allclose(got.array, (c + d) * 2 * x.array, rtol=1e-15)


def test_the_same_input_twice_gives_equal_gradients_in_separate_memory():
    x = leaf(3)
    a, b = grad((x * x).sum(), [x, x])
    np.testing.assert_array_equal(a.array, b.array)
    assert not np.shares_memory(a.array, b.array)


def test_an_input_may_be_an_intermediate_or_the_output_itself():
    x = leaf(3)
    h = x * 2.0
    y = (h * h).sum()
    dh, dx, dy = grad(y, [h, x, y])
    np.testing.assert_array_equal(dh.array, 2 * h.array)
    np.testing.assert_array_equal(dx.array, 4 * h.array)
    assert dy.item() == 1.0


def test_grad_visits_only_the_way_to_its_inputs():
    @op
    def closed(x, /):
        return x * 1.0

    def refuse(g):
        raise AssertionError("nobody asked for this")

    closed.vjp(x=refuse)
    x, y = leaf(2), leaf(2, seed=1)
    (got,) = grad((closed(x) * y).sum(), y)
    np.testing.assert_array_equal(got.array, x.array)


def test_the_gradient_of_a_gradient_is_the_second_derivative():
    x = leaf(3)
    (first,) = grad((x * x * x).sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x, create_graph=True)
    (third,) = grad(second.sum(), x)
    np.testing.assert_allclose(first.array, 3 * x.array**2, rtol=1e-14)
    np.testing.assert_allclose(second.array, 6 * x.array, rtol=1e-14)
    assert third.tolist() == [6.0, 6.0, 6.0]
    assert not third.requires_grad


def test_a_penalty_on_the_gradient_trains():
    x, w = Tensor(numbers(4)), leaf(4, seed=1)
    (g,) = grad(exp(x * w).sum(), w, create_graph=True)
    (g * g).sum().backward()
    np.testing.assert_allclose(w.grad.array, 2 * x.array**3 * np.exp(2 * x.array * w.array), rtol=1e-13)


def test_create_graph_records_even_inside_no_grad():
    x = leaf(3)
    y = (x * x).sum()
    with no_grad():
        (first,) = grad(y, x, create_graph=True)
        assert not tg.is_grad_enabled()
    assert first.requires_grad
    assert grad(first.sum(), x)[0].tolist() == [2.0, 2.0, 2.0]


def test_the_gradient_depends_on_its_cotangent():
    x, c = leaf(3), leaf(3, seed=1)
    (first,) = grad(x * x, x, c, create_graph=True)
    (dc,) = grad(first.sum(), c)
    np.testing.assert_array_equal(dc.array, 2 * x.array)


def test_create_graph_keeps_the_graph_and_retain_graph_false_is_overruled():
    x = leaf(3)
    y = (x * x).sum()
    grad(y, x, create_graph=True)
    grad(y, x, retain_graph=False, create_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad.array, 2 * x.array)


def test_backward_refuses_create_graph_and_prints_the_call_to_make():
    x = leaf(2)
    y = (x * x).sum()
    with pytest.raises(
        RuntimeError, match=r"backward: create_graph=True .*grad\(loss, parameters, create_graph=True\)"
    ):
        y.backward(create_graph=True)
    y.backward()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: grad(x * x, x), RuntimeError, r"grad: only one-element Tensors .* shape \(2,\); reduce it first"),
        (
            lambda x: grad(x * x, x, np.ones(3)),
            ValueError,
            r"grad: a gradient of shape \(3,\) .* output of shape \(2,\)",
        ),
        (lambda x: grad(x * x, x, np.ones((1, 2))), ValueError, r"grad: a gradient of shape \(1, 2\)"),
        (
            lambda x: grad(x * x, x, np.ones(2, int)),
            TypeError,
            r"grad: a int64 gradient was given for a float64 output",
        ),
        (lambda x: grad([x, x], x, np.ones(2)), ValueError, r"grad: one gradient for 2 outputs"),
        (lambda x: grad([x, x], x, [np.ones(2)]), ValueError, r"grad: 1 grad_outputs for 2 outputs"),
        (lambda x: grad(np.ones(1), x), TypeError, r"grad: outputs\[0\] is a float64|grad: outputs\[0\] is a ndarray"),
        (lambda x: grad(x.sum(), [x, 3.0]), TypeError, r"grad: inputs\[1\] is a float; a Tensor is needed"),
        (
            lambda x: grad(x.sum(), Tensor([1.0])),
            RuntimeError,
            r"grad: inputs\[0\] \(shape \(1,\)\) does not require grad",
        ),
        (lambda x: grad(x.detach().sum(), x), RuntimeError, r"grad: outputs\[0\] \(shape \(\)\) does not require grad"),
        (lambda x: (x * x).backward(), RuntimeError, r"backward: only one-element Tensors"),
        (lambda x: (x * x).backward(np.ones((2, 1))), ValueError, r"backward: a gradient of shape \(2, 1\)"),
        (lambda x: (x * x).backward(np.ones(2, bool)), TypeError, r"backward: a bool gradient"),
        (
            lambda x: x.detach().sum().backward(),
            RuntimeError,
            r"backward: this Tensor has no graph.*requires_grad=True",
        ),
        (lambda x: x.sum().backward(inputs=[]), ValueError, r"backward: inputs is empty"),
        (lambda x: x.sum().backward(inputs=[1]), TypeError, r"backward: inputs\[0\] is a int"),
        (
            lambda x: x.sum().backward(inputs=Tensor([1.0])),
            RuntimeError,
            r"backward: inputs\[0\] .* does not require grad",
        ),
    ],
)
def test_H125_what_cannot_be_differentiated_is_said(call, error, message):
    x = leaf(2)
    with pytest.raises(error, match=message):
        call(x)
    assert x.grad is None


def test_H125_one_element_of_any_rank_needs_no_cotangent():
    for shape in [(), (1,), (1, 1, 1)]:
        x = leaf(*shape)
        (x * 2.0).backward()
        assert (x.grad.shape, x.grad.array.item()) == (shape, 2.0)


def test_H125_a_float_cotangent_of_another_precision_is_converted():
    x = leaf(2, dtype=np.float32)
    (x * 2.0).backward(np.array([1.5, 2.5]))
    assert (x.grad.dtype, x.grad.tolist()) == (np.float32, [3.0, 5.0])


def test_backward_into_inputs_alone():
    x, y = leaf(2), leaf(2, seed=1)
    h = x * y
    h.sum().backward(inputs=[y], retain_graph=True)
    assert x.grad is None
    np.testing.assert_array_equal(y.grad.array, x.array)
    h.sum().backward(inputs=x)
    np.testing.assert_array_equal(x.grad.array, y.array)


# Leaves


def test_a_leaf_starts_and_stops_collecting():
    x = Tensor([1.0, 2.0])
    assert x.requires_grad_() is x
    x.sum().backward()
    x.requires_grad = False
    assert (x.requires_grad, x.grad, x.node) == (False, None, None)
    y = leaf(2) * 2.0
    assert y.requires_grad_() is y
    with pytest.raises(RuntimeError, match=r"requires_grad_\(False\): this Tensor is the result of mul; use detach"):
        y.requires_grad_(False)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_H27_integers_and_booleans_collect_no_gradient(dtype):
    with pytest.raises(TypeError, match=rf"requires_grad: a {np.dtype(dtype)} Tensor has no gradient"):
        Tensor(np.ones(2, dtype), requires_grad=True)
    x = Tensor(np.ones(2, dtype))
    with pytest.raises(TypeError, match="float"):
        x.requires_grad_()
    assert not x.requires_grad


def test_a_gradient_can_be_set_in_its_tensors_shape_and_dtype():
    x = leaf(2)
    x.grad = np.array([1.0, 2.0])
    x.sum().backward()
    assert x.grad.tolist() == [2.0, 3.0]
    for wrong in (np.ones(3), np.ones(2, np.float32)):
        with pytest.raises(ValueError, match=r"grad: a gradient of float\d\d \(\d,\) was given .* float64 \(2,\)"):
            x.grad = wrong
    with pytest.raises(RuntimeError, match="does not require grad"):
        Tensor([1.0]).grad = np.ones(1, np.float32)


def test_the_repr_says_where_a_tensor_comes_from():
    x = leaf(2, dtype=np.float32)
    assert "requires_grad=True" in repr(x)
    assert "from mul" in repr(x * 2.0)
    assert "requires_grad" not in repr(x.detach())
    assert "dtype=float64" in repr(Tensor(np.ones(1)))
    assert "shape=(0, 3)" in repr(Tensor(np.ones((0, 3))))


def test_H151_a_leaf_is_copied_with_its_gradient_and_shares_nothing():
    x = leaf(3)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert y.requires_grad
    assert y.is_leaf
    np.testing.assert_array_equal(y.array, x.array)
    np.testing.assert_array_equal(y.grad.array, x.grad.array)
    assert not np.shares_memory(y.array, x.array)
    assert not np.shares_memory(y.grad.array, x.grad.array)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, 2 * x.array)


def test_H151_a_leaf_shared_in_a_structure_is_copied_once():
    x = leaf(2)
    a, b = copy.deepcopy([x, x])
    assert a is b
    assert a is not x


def test_H151_a_leaf_is_pickled_and_a_result_is_not():
    x = leaf(3, dtype=np.float32)
    y = pickle.loads(pickle.dumps(x))
    assert (y.requires_grad, y.dtype, y.tolist()) == (True, np.float32, x.tolist())
    constant = pickle.loads(pickle.dumps(x.detach()))
    assert not constant.requires_grad
    for verb, run in (("deepcopy", copy.deepcopy), ("pickle", pickle.dumps), ("pickle", copy.copy)):
        with pytest.raises(
            RuntimeError, match=rf"{verb}: this Tensor is the result of mul and hangs in a graph.*detach"
        ):
            run(x * 2.0)


# Declaring ops


def test_a_misspelt_name_in_a_rule_fails_at_the_declaration():
    @op(residual="winners")
    def pick(x, y=None, /, axis=0):
        return x, None

    with pytest.raises(
        TypeError,
        match=r"pick: a gradient rule asks for 'axes'; it can have x, y, x_shape, y_shape, out, winners, axis$",
    ):
        pick.vjp(x=lambda g, axes: g, y=None)
    with pytest.raises(TypeError, match=r"pick: a gradient rule asks for 'needs'; it can have .*"):
        pick.vjp(x=lambda g, needs: g, y=None)
    with pytest.raises(TypeError, match=r"pick: a gradient rule asks for 'z_shape'; it can have .*, axis, needs$"):
        pick.vjp_all(lambda g, z_shape: (g, None))


@pytest.mark.parametrize("rules", [{}, {"x": None}, {"x": None, "z": None}, {"x": None, "y": None, "z": None}])
def test_every_input_needs_a_rule_or_none(rules):
    @op
    def pair(x, y, /):
        return x + y

    with pytest.raises(TypeError, match=r"pair: rules for \[.*\], but the inputs are \['x', 'y'\]"):
        pair.vjp(**rules)


def test_an_op_without_rules_is_no_constant():
    @op
    def bare(x, /):
        return x * 2.0

    np.testing.assert_array_equal(bare(np.ones(2)), [2.0, 2.0])
    assert bare(Tensor([1.0])).tolist() == [2.0]
    with pytest.raises(TypeError, match=r"bare has no gradient rules; declare them with bare\.vjp"):
        bare(leaf(2))
    with no_grad():
        assert not bare(leaf(2)).requires_grad


def test_a_name_is_registered_once():
    @op
    def only(x, /):
        return x

    with pytest.raises(TypeError, match="op 'only' is registered already"):

        @op
        def only(x, /):
            return x


def test_one_declaration_gives_function_method_operator_and_reflection():
    @op(operator="lshift", method=True, broadcast=True)
    def ratio(x, y, /):
        """x over y."""
        return x / y

    ratio.vjp(x=lambda g, y: g / y, y=lambda g, out, y: -g * out / y)
    try:
        x = leaf(2)
        y = (6.0 << x) + (x << 2.0) + x.ratio(3.0) + ratio(x, x)
        y.sum().backward()
        np.testing.assert_allclose(x.grad.array, -6 / x.array**2 + 0.5 + 1 / 3, rtol=1e-14)
        assert ratio.__doc__ == "x over y."
        assert ratio.__name__ == "ratio"
        assert registry["ratio"].apply is ratio
    finally:
        del Tensor.ratio, Tensor.__lshift__, Tensor.__rlshift__


def test_parameters_go_by_position_or_name_and_take_their_defaults():
    @op
    def scaled(x, /, by, shift=0.0):
        return x * by + shift

    scaled.vjp(x=lambda g, by: g * by)
    x = leaf(2)
    for y in (
        scaled(x, 3.0),
        scaled(x, by=3.0),
        scaled(x, 3.0, 0.0),
        scaled(x, 3.0, shift=0.0),
        scaled(x, shift=0.0, by=3.0),
    ):
        np.testing.assert_array_equal(y.array, x.array * 3)
        assert grad(y.sum(), x)[0].tolist() == [3.0, 3.0]
    for call, message in [
        (lambda: scaled(x), "scaled needs its parameter 'by'"),
        (lambda: scaled(), r"scaled needs \['x'\]; 0 of them were given"),
        (lambda: scaled(x, 1.0, 2.0, 3.0), r"scaled takes \['x', 'by', 'shift'\]; 4 arguments were given"),
        (lambda: scaled(x, 1.0, by=2.0), r"scaled: \['by'\] given twice, by position and by name"),
        (lambda: scaled(x, 1.0, bias=2.0), "scaled has no parameter 'bias'; it takes"),
        (
            lambda: scaled(x, Tensor([1.0], requires_grad=True)),
            "scaled: its parameter 'by' is a Tensor that requires grad",
        ),
        (lambda: scaled("text", 1.0), "scaled: its input 'x' is a str; pass a Tensor, an ndarray or a number"),
    ]:
        with pytest.raises(TypeError, match=message):
            call()


def test_a_tensor_without_gradient_in_a_parameters_place_is_its_array():
    @op
    def shifted(x, /, by):
        assert type(by) is np.ndarray
        return x + by

    shifted.vjp(x=lambda g: g)
    assert shifted(leaf(2), Tensor(np.ones(2))).requires_grad


def test_dim_and_keepdim_are_axis_and_keepdims():
    x = leaf(2, 3)
    assert x.sum(dim=1, keepdim=True).shape == x.sum(axis=1, keepdims=True).shape == (2, 1)
    with pytest.raises(TypeError, match="sum: dim and axis are the same parameter; give one"):
        x.sum(dim=1, axis=1)


def test_an_input_that_may_be_left_out_gets_no_rule_call():
    @op
    def affine(x, w, b=None, /):
        return x * w if b is None else x * w + b

    affine.vjp(x=lambda g, w: g * w, w=lambda g, x: g * x, b=lambda g: g)
    x, w, b = leaf(2), leaf(2, seed=1), leaf(2, seed=2)
    for args in [(x, w), (x, w, None), (x, w, b), (x.detach(), w, b), (x.detach(), w.array, b)]:
        given = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
        got = grad(affine(*args).sum(), given)
        want = {id(x): w.array, id(w): x.array, id(b): np.ones(2)}
        for tensor, g in zip(given, got, strict=True):
            np.testing.assert_array_equal(g.array, want[id(tensor)])


def test_a_variadic_op_knows_how_many_inputs_each_call_had():
    leaf, constant = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    for xs in ([leaf], [leaf, constant], [leaf, constant, constant], [leaf]):
        node = cat(xs).node
        assert node.plan.n_inputs == len(xs)
        assert len(node.saved[0][0]) == len(xs)


def test_a_variadic_op_gives_each_input_its_gradient():
    @op
    def total(*xs, weight=1.0):
        return sum(xs) * weight

    def rule(g, xs, xs_shape, needs, weight):
        assert [np.shape(x) for x in xs] == xs_shape
        return [g * weight if needed else None for needed in needs]

    total.vjp_all(rule)
    xs = [leaf(2), Tensor(np.ones(2)), leaf(2, seed=1), leaf(2, seed=2)]
    out = total(*xs, weight=3.0)
    assert all(g.tolist() == [3.0, 3.0] for g in grad(out.sum(), [xs[0], xs[2], xs[3]]))
    with pytest.raises(TypeError, match=r"total: rules for \['xs'\]"):
        total.vjp(xs=lambda g: g)


def test_a_residual_is_seen_by_the_rule_and_by_who_asks_for_it():
    @op(residual="kept")
    def positive(x, /):
        kept = x > 0
        return x * kept, kept

    positive.vjp(x=lambda g, kept: g * kept)
    x = leaf(5)
    y, kept = positive.with_residual(x)
    np.testing.assert_array_equal(kept, x.array > 0)
    assert isinstance(positive(x), Tensor)
    np.testing.assert_array_equal(grad(y.sum(), x)[0].array, kept)
    assert isinstance(positive(x.array), np.ndarray)


def test_a_joint_rule_is_told_which_gradients_are_needed():
    told = []

    @op
    def times(x, y, /):
        return x * y

    def rule(g, x, y, needs):
        told.append(needs)
        return (g * y if needs[0] else None), (g * x if needs[1] else None)

    times.vjp_all(rule)
    x, y = leaf(2), leaf(2, seed=1)
    times(x, y.detach()).sum().backward()
    times(x.detach(), y).sum().backward()
    (first,) = grad(times(x, y).sum(), x, create_graph=True)
    np.testing.assert_array_equal(grad(first.sum(), y)[0].array, np.ones(2))
    np.testing.assert_array_equal(x.grad.array, y.array)
    np.testing.assert_array_equal(y.grad.array, x.array)
    assert told[:2] == [(True, False), (False, True)]


def test_a_rule_that_is_none_stops_the_gradient():
    @op
    def gate(x, y, /):
        return x * y

    gate.vjp(x=lambda g, y: g * y, y=None)
    x, y = leaf(2), leaf(2, seed=1)
    out = gate(x, y)
    assert len(out.node.parents) == 1
    assert not gate(x.detach(), y).requires_grad
    with pytest.raises(RuntimeError, match="do not depend"):
        grad(out.sum(), y)


def test_a_rule_that_leaves_the_graph_is_refused_where_its_derivative_would_be_lost():
    @op
    def cubed(x, /):
        return x * x * x

    cubed.vjp(x=lambda g, x: array_of(g) * array_of(x) ** 2 * 3.0)
    x = leaf(2)
    np.testing.assert_allclose(grad(cubed(x).sum(), x)[0].array, 3 * x.array**2, rtol=1e-14)
    with pytest.raises(RuntimeError, match=r"cubed: its gradient rule for 'x' left the graph .* ops and operators"):
        grad(cubed(x).sum(), x, create_graph=True)


def test_ops_on_arrays_give_arrays_and_on_tensors_tensors_of_the_same_values():
    x = numbers(2, 3)
    for f in (exp, relu, lambda a: tg.ops.reduce.sum(a, 1), lambda a: tg.ops.layout.flip(a, 0)):
        plain, recorded = f(x), f(leaf(2, 3))
        assert type(plain) is np.ndarray
        np.testing.assert_array_equal(plain, recorded.array)


def test_every_op_in_the_registry_has_a_docstring_and_rules():
    for name, declaration in registry.items():
        assert inspect.getdoc(declaration.forward), name
        assert declaration.rules or declaration.joint, name


# Threads, processes, determinism


def _train(seed, steps=6):
    draw = np.random.default_rng(seed)
    w = Tensor(draw.normal(size=(3, 2, 2, 3)).astype(np.float32), requires_grad=True)
    x = Tensor(draw.normal(size=(4, 2, 6, 7)).astype(np.float32))
    for _ in range(steps):
        loss = (max_pool2d(relu(conv2d(x, w)), 2) * x[:, :1, :2, :2]).mean()
        w.grad = None
        loss.backward()
        with no_grad():
            w -= 0.1 * w.grad
    return w.array.tobytes()


def in_threads(functions):
    results, failures = [None] * len(functions), []
    ready = threading.Barrier(len(functions))

    def call(i, f):
        try:
            ready.wait()
            results[i] = f()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(i, f)) for i, f in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    return results


def test_H145_graphs_in_eight_threads_give_the_bits_of_one_thread():
    alone = [_train(seed) for seed in range(8)]
    assert in_threads([lambda seed=seed: _train(seed) for seed in range(8)]) == alone


def test_H145_threads_may_share_weights_that_they_only_read():
    w, xs = leaf(3, 3), [numbers(3, 3, seed=10 + i) for i in range(8)]

    def gradient(x):
        return grad((exp(w * x) @ w).sum(), w)[0].array.tobytes()

    alone = [gradient(x) for x in xs]
    assert in_threads([lambda x=x: gradient(x) for x in xs]) == alone


def test_H146_backward_from_several_threads_into_one_leaf_loses_nothing():
    x, rounds = Tensor(np.zeros(2), requires_grad=True), 300
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def add_up():
            for _ in range(rounds):
                (x * 1.0).sum().backward()

        in_threads([add_up] * 4)
    finally:
        sys.setswitchinterval(interval)
    assert x.grad.tolist() == [4.0 * rounds] * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_H152_a_forked_child_uses_the_graph_and_the_parent_keeps_its_own():
    out = run_python(
        """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of a fork beside threads
import numpy as np
from tinygrad_cnn import Tensor, memory
x = Tensor([1.0, 2.0], requires_grad=True)
y = (x * x).sum()
held = threading.Event(); done = threading.Event()
def hold():
    with memory.lock:
        held.set(); done.wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    y.backward()
    os._exit(0 if x.grad.tolist() == [2.0, 4.0] else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
done.set()
assert x.grad is None
y.backward()
print(x.grad.tolist())
"""
    )
    assert out == "[2.0, 4.0]\n"


def test_H152_the_interpreter_ends_quietly_with_a_live_graph():
    assert (
        run_python(
            """
import sys, builtins
import numpy as np
import tinygrad_cnn as tg
x = tg.Tensor(np.ones(3), requires_grad=True)
c = tg.Tensor(np.ones(3)).add_(1.0)
y = x * c
for _ in range(10**5):
    y = y + x
x.register_hook(print)
h = y * y
h.retain_grad()
with tg.no_grad():
    x.mul_(2.0)
kept = tg.from_numpy(np.ones(2))
loop = [y]; loop.append(loop)
sys.keep, builtins.keep = (x, y, h, c, kept), loop
""",
            "-X",
            "dev",
        )
        == ""
    )


def test_H153_two_processes_with_different_hash_seeds_compute_the_same_bits():
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import hashlib, test_graph
print(hashlib.sha256(test_graph._train(3)).hexdigest())
"""
    seeds = ("0", "1", "12345")
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    assert len({run_python(code, PYTHONHASHSEED=seed, **threads) for seed in seeds}) == 1


def test_H153_the_same_seed_trains_to_the_same_bits():
    assert hashlib.sha256(_train(5)).digest() == hashlib.sha256(_train(5)).digest()
    assert _train(5) != _train(6)


def test_stack_of_a_shared_tensor_adds_its_gradients():
    x, g = leaf(3), numbers(2, 3, seed=4)
    stack([x, x]).backward(g)
    np.testing.assert_array_equal(x.grad.array, g[0] + g[1])
