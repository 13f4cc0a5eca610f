"""What the graph keeps: values that stay what they were, memory that nothing else shares, and nothing for too long."""

import contextlib
import gc
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest
from test_graph import leaf, numbers

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, grad, no_grad
from tinygrad_cnn.ops.conv import conv2d
from tinygrad_cnn.ops.elementwise import exp, relu, where
from tinygrad_cnn.ops.layout import cat, expand, flip, pad, permute
from tinygrad_cnn.ops.pool import max_pool2d

# Changes in place between forward and backward (H120 to H123)

WRITES = {
    "add_": lambda t: t.add_(1.0),
    "sub_": lambda t: t.sub_(1.0),
    "mul_": lambda t: t.mul_(3.0),
    "div_": lambda t: t.div_(3.0),
    "pow_": lambda t: t.pow_(2.0),
    "copy_": lambda t: t.copy_(np.full(t.shape, 5.0)),
    "fill_": lambda t: t.fill_(5.0),
    "zero_": lambda t: t.zero_(),
    "clamp_": lambda t: t.clamp_(-0.1, 0.1),
    r"x\[i\] = v": lambda t: t.__setitem__(0, 7.0),
    r"x \+= ...": lambda t: t.__iadd__(1.0),
    r"x -= ...": lambda t: t.__isub__(1.0),
    r"x \*= ...": lambda t: t.__imul__(3.0),
    r"x /= ...": lambda t: t.__itruediv__(3.0),
    r"x \*\*= ...": lambda t: t.__ipow__(2.0),
}
ROUTES = {
    "the Tensor itself": lambda t: t,
    "its data": lambda t: t.data,
    "its detach()": lambda t: t.detach(),
    "a view of it": lambda t: t[1:],
    "a reshape of its data": lambda t: t.data.reshape(-1),
    "a transpose of its detach()": lambda t: t.detach().T,
    "a view of a view": lambda t: t.reshape(-1, 1)[1:].data[0:1],
}


@pytest.mark.parametrize("by", WRITES)
@pytest.mark.parametrize("route", ROUTES)
def test_H120_H122_every_way_to_change_a_kept_value_is_named_at_backward(by, route):
    x = leaf(3)
    h = x * 2.0
    for kept, out in ((x, x * x), (h, h * h), (Tensor(numbers(3)), None)):
        y = x * kept if out is None else out
        with no_grad():
            WRITES[by](ROUTES[route](kept))
        with pytest.raises(RuntimeError, match=rf"mul: its input '[xy]' of shape \(3,\) was changed in place \({by}\)"):
            y.sum().backward()
        assert x.grad is None


def test_H120_an_output_that_is_kept_is_watched_too():
    x = leaf(3)
    y = exp(x)
    y.data.mul_(2.0)
    with pytest.raises(RuntimeError, match=r"exp: its output of shape \(3,\) was changed in place \(mul_\)"):
        y.sum().backward()


def test_H45_H120_a_view_and_its_parent_are_one_memory():
    c = Tensor(numbers(4))
    x = leaf(2)
    y = x * c[1:3]
    c[2] = 9.0
    with pytest.raises(RuntimeError, match=r"mul: its input 'y' of shape \(2,\) was changed in place \(x\[i\] = v\)"):
        y.sum().backward()
    part = c[1:3]
    y = x * c.detach()[1:3]
    part.mul_(2.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.reshape(3, 2),
        lambda t: t.T,
        lambda t: permute(t, (1, 0)),
        lambda t: expand(t, 4, 2, 3),
        lambda t: t[:, ::-1],
        lambda t: t.squeeze(),
    ],
)
def test_H120_a_view_made_by_any_op_is_watched(view):
    x = leaf(2, 3)
    v = view(x)
    y = (v * v).sum()
    with no_grad():
        x.mul_(2.0)
    with pytest.raises(RuntimeError, match=r"mul: its input .* changed in place"):
        y.backward()


def test_H120_the_second_derivative_is_guarded_too():
    x = leaf(3)
    (first,) = grad((x * x * x).sum(), x, create_graph=True)
    with no_grad():
        x.add_(1.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        grad(first.sum(), x)


def test_H122_an_optimizers_update_between_forward_and_backward_is_named():
    x, w = Tensor(numbers(2, 3)), leaf(3, seed=1)
    y = (x * w * w).sum()
    y.backward(retain_graph=True)
    with no_grad():
        w -= 0.1 * w.grad
    with pytest.raises(RuntimeError, match=r"mul: its input 'y' of shape \(3,\) was changed in place \(x -= \.\.\.\)"):
        y.backward()
    fresh = leaf(3, seed=1)
    z = (x * fresh * fresh).sum()
    fresh.data -= 0.1 * numbers(3)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()


def test_H122_data_given_anew_leaves_older_graphs_with_the_old_array():
    x = Tensor(np.array([2.0, 3.0]), requires_grad=True)
    y = (x * x).sum()
    x.data = np.array([10.0, 10.0])
    y.backward()
    assert x.grad.tolist() == [4.0, 6.0]
    assert (x * x).tolist() == [100.0, 100.0]


def test_H122_numpy_and_asarray_are_read_only():
    x = leaf(2)
    for array in (x.numpy(), x.detach().numpy(), np.asarray(x.detach())):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5.0
    assert np.array(x.numpy()).flags.writeable


@pytest.mark.parametrize("by", WRITES)
def test_H123_a_leaf_that_requires_grad_is_not_changed_while_recording(by):
    x = leaf(3)
    before = x.array.copy()
    with pytest.raises(RuntimeError, match=rf"{by}: a leaf that requires grad \(shape \(3,\)\) .*no_grad"):
        WRITES[by](x)
    np.testing.assert_array_equal(x.array, before)


def test_a_result_added_to_while_recording_becomes_a_new_tensor():
    x = leaf(3)
    h = old = x * x
    h += x
    h *= x
    assert h is not old
    (h.sum() + old.sum()).backward()
    np.testing.assert_allclose(x.grad.array, 3 * x.array**2 + 4 * x.array, rtol=1e-13)


def test_both_ways_of_writing_an_update_train():
    x = leaf(3)
    start = x.array.copy()
    (x * x).sum().backward()
    x.data -= 0.1 * x.grad
    with no_grad():
        x -= 0.1 * x.grad
    np.testing.assert_allclose(x.array, start - 0.2 * 2 * start, rtol=1e-14)
    assert x.requires_grad
    assert x.is_leaf
    x.grad = None
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad.array, 2 * x.array)


# No false alarms


def test_a_value_that_no_rule_needs_may_change():
    x, y, m = leaf(3), leaf(3, seed=1), Tensor(numbers(3, seed=2))
    outs = [x + y, x - y, x * m, (x * 2.0).sum(), cat([x, y]), x / m]
    with no_grad():
        x.add_(1.0)
        y.mul_(2.0)
    for out in outs:
        out.sum().backward()
    np.testing.assert_allclose(x.grad.array, [1 + 1 + v + 2 + 1 + 1 / v for v in m.array], rtol=1e-14)


def test_an_input_of_which_only_the_shape_is_kept_may_change():
    x = leaf(2, 3)
    outs = [x.sum(), x.mean(1).sum(), expand(x.reshape(1, 6), 4, 6).sum(), pad(x, ((1, 0), (0, 1))).sum()]
    outs += [x[:, [0, 0]].sum(), flip(x, 1).sum(), max_pool2d(x.reshape(1, 1, 2, 3), 2).sum()]
    with no_grad():
        x.zero_()
    for out in outs:
        out.backward()
    assert x.grad is not None


def test_changes_before_the_forward_and_after_the_backward_are_no_matter():
    x = leaf(3)
    with no_grad():
        x.mul_(2.0)
    y = (x * x).sum()
    Tensor(np.ones(2)).zero_()
    y.backward()
    np.testing.assert_array_equal(x.grad.array, 2 * x.array)
    with no_grad():
        x.mul_(2.0)
    (x * x).sum().backward()


def test_other_memory_may_change_at_any_time():
    x, other = leaf(3), leaf(3, seed=1)
    y = (x * x).sum()
    copy = x.clone()
    with no_grad():
        other.add_(1.0)
        copy.detach().mul_(5.0)
    Tensor(x).zero_()
    np.array(x.numpy())[:] = 0
    y.backward()
    np.testing.assert_array_equal(x.grad.array, 2 * x.array)


def test_the_gradient_may_change_in_place():
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    x.grad.mul_(0.5)
    x.grad.data.zero_()
    y.backward()
    np.testing.assert_array_equal(x.grad.array, 2 * x.array)


def test_memory_that_was_freed_and_handed_out_again_is_not_taken_for_the_old():
    x = leaf(3)
    for _ in range(200):
        scratch = Tensor(np.ones(3))
        scratch.add_(1.0)
        del scratch
        y = x * Tensor(np.ones(3))
        y.sum().backward()
    assert x.grad.tolist() == [200.0] * 3


# Arrays that the caller goes on writing to (H121)


def _spoilt(array):
    array[...] = 77 if array.dtype.kind == "f" else ~array if array.dtype == bool else 0


@pytest.mark.parametrize(
    ("array", "use"),
    [
        (numbers(3, seed=5), lambda x, a: x * a),
        (numbers(3, seed=5), lambda x, a: a * x),
        (numbers(3, seed=5), lambda x, a: a / x),
        (numbers(3, seed=5).astype(np.float32), lambda x, a: x * a),
        (numbers(3, seed=5)[::-1], lambda x, a: x * a),
        (np.array([1, 2, 3]), lambda x, a: x * a),
        (numbers(3, 3, seed=5), lambda x, a: x @ a),
        (np.array([2, 0, 2]), lambda x, a: x[a]),
        (np.array([2, 0, 2]), lambda x, a: x.reshape(1, 3)[0:1, a]),
        (np.array([2, 0, 2]), lambda x, a: x[Tensor(a)]),
        (np.array([True, False, True]), lambda x, a: x[a]),
        (np.array([True, False, True]), lambda x, a: where(a, x * 2.0, x * 3.0)),
        (np.array([2, 1, 3]), lambda x, a: x**a),
    ],
)
def test_H121_an_array_changed_after_the_forward_changes_no_gradient(array, use):
    x = leaf(3)
    want = grad(use(x, array.copy()).sum(), x)[0].array
    mine = array.copy()
    y = use(x, mine)
    _spoilt(mine)
    np.testing.assert_array_equal(grad(y.sum(), x)[0].array, want)


def test_H121_the_array_a_leaf_was_made_from_is_not_its_memory():
    a = np.array([1.0, 1.0])
    x = Tensor(a, requires_grad=True)
    y = (x * x).sum()
    a[0] = 100
    y.backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_H121_an_array_that_cannot_change_is_not_copied():
    m = numbers(3)
    m.flags.writeable = False
    x = leaf(3)
    assert (x * m).node.saved[0][0] is m
    assert (x * m[:2].base[::-1]).node.saved[0][0].base is None


def test_H121_from_numpy_shares_and_a_leaf_made_of_it_does_not():
    a = np.array([1.0, 2.0])
    shared = tg.from_numpy(a)
    a[0] = 5.0
    assert shared.tolist() == [5.0, 2.0]
    part = shared[1:]
    for x in (shared, part):
        x.requires_grad_()
    a[:] = 9.0
    assert (shared.tolist(), part.tolist()) == ([5.0, 2.0], [2.0])
    shared.data.zero_()
    assert a.tolist() == [9.0, 9.0]
    for wrong in ([1.0], np.ones(2, ">f8"), np.array(["a"]), np.ones(2, complex)):
        with pytest.raises(TypeError, match="from_numpy"):
            tg.from_numpy(wrong)


# Nothing is shared, nothing is written to (H149, H150)


def _pieces():
    x, w, b = leaf(2, 2, 5, 6), leaf(3, 2, 2, 3, seed=1), leaf(3, seed=2)
    s = leaf(2, 3, 4, 4, seed=3)
    y = conv2d(x, w, b) + s
    return [x, w, b, s], y, relu(y) * 2.0 + s - s.reshape(2, 3, 4, 4) + cat([s[:1], s[1:]])


def test_H149_no_gradient_shares_memory_with_anything():
    leaves, y, out = _pieces()
    y.retain_grad()
    out.retain_grad()
    g = numbers(*out.shape, seed=9)
    out.backward(g)
    arrays = [t.array for t in leaves] + [t.grad.array for t in [*leaves, y, out]] + [y.array, out.array, g]
    for i, a in enumerate(arrays):
        assert not any(np.shares_memory(a, b) for b in arrays[:i])
    assert all(t.grad.array.flags.writeable for t in leaves)


@pytest.mark.parametrize(
    "use",
    [
        lambda x, y: x + y,
        lambda x, y: x.reshape(3, 2) + y.reshape(3, 2),
        lambda x, y: x.T + y.T,
        lambda x, y: cat([x, y]),
        lambda x, y: x + x + y,
        lambda x, y: expand(x, 4, 2, 3) + y,
    ],
)
def test_H149_ops_that_pass_their_gradient_on_share_none(use):
    x, y = leaf(2, 3), leaf(2, 3, seed=1)
    out = use(x, y)
    g = Tensor(numbers(*out.shape, seed=5))
    before = g.array.copy()
    out.backward(g)
    x.grad.zero_()
    np.testing.assert_array_equal(g.array, before)
    assert (y.grad.array != 0).all()
    for got in (grad(use(x, y), [x, y], g), grad(use(x, y), [x, x], g)):
        got[0].zero_()
        np.testing.assert_array_equal(g.array, before)
        assert (got[1].array != 0).all()


def test_H149_what_a_hook_returns_is_not_the_gradients_memory():
    x, mine = leaf(2), Tensor(np.array([5.0, 6.0]))
    x.register_hook(lambda g: mine)
    (x * x + x).sum().backward()
    assert x.grad.tolist() == [5.0, 6.0]
    x.grad.zero_()
    assert mine.tolist() == [5.0, 6.0]


def test_H149_a_gradient_seen_by_a_hook_is_the_hooks_to_keep():
    x, seen = leaf(2), []
    h = x * 1.0
    h.register_hook(lambda g: seen.append(g))
    (h + h).sum().backward()
    x.grad.zero_()
    assert seen[0].tolist() == [2.0, 2.0]


def test_H150_inputs_and_cotangent_keep_their_bytes():
    leaves, y, out = _pieces()
    g = numbers(*out.shape, seed=9)
    arrays = [t.array for t in leaves] + [y.array, out.array, g]
    before = [a.tobytes() for a in arrays]
    out.backward(g, retain_graph=True)
    out.backward(Tensor(g), retain_graph=True)
    grad(out, leaves, Tensor(g), create_graph=True)
    assert [a.tobytes() for a in arrays] == before


def test_H150_a_read_only_cotangent_will_do():
    x = leaf(2, 3)
    g = np.broadcast_to(np.array([1.0, 2.0, 3.0]), (2, 3))
    (x + x * 2.0 + x).backward(g)
    np.testing.assert_array_equal(x.grad.array, 4 * g)


# Reference cycles and lifetime (H147, H148)


def _everything():
    """One step of all that a graph can do."""
    x, w = leaf(1, 2, 5, 6), leaf(3, 2, 2, 3, seed=1)
    h = relu(conv2d(x, w))
    h.retain_grad()
    with h.register_hook(lambda g: g * 2.0):
        y = (max_pool2d(h, 2) ** 2.0).mean()
    y.backward(retain_graph=True)
    (first,) = grad(y, w, create_graph=True)
    (first * first).sum().backward()
    with no_grad():
        w -= 0.1 * w.grad
    for refused in (y.backward, lambda: x @ w):
        with contextlib.suppress(RuntimeError, ValueError):
            refused()
            raise AssertionError("this should have been refused")


@pytest.fixture
def _without_collector():
    _everything()
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_without_collector")
def test_H147_no_step_leaves_a_reference_cycle():
    _everything()
    assert gc.collect() == 0


@pytest.mark.usefixtures("_without_collector")
def test_H147_ten_thousand_steps_leave_no_object_behind():
    x, w = Tensor(numbers(4)), leaf(4, seed=1)

    def step():
        y = exp(x * w).sum()
        y.backward()
        with no_grad():
            w.sub_(1e-6 * w.grad)
        w.grad = None

    pages = Path("/proc/self/statm")  # the size in memory, where the system tells it

    def resident():
        return int(pages.read_text().split()[1]) * 4096 if pages.exists() else 0

    for _ in range(100):
        step()
    objects, size = len(gc.get_objects()), resident()
    for _ in range(10_000):
        step()
    assert len(gc.get_objects()) <= objects + 5
    assert resident() - size < 4 << 20
    assert gc.collect() == 0


@pytest.mark.usefixtures("_without_collector")
def test_H147_dropping_the_loss_frees_the_graph_though_the_leaves_live():
    x = leaf(1000)
    h = exp(x)
    kept, node = weakref.ref(h.array), weakref.ref(h.node)
    y = (h * h).sum()
    del h
    assert kept() is not None
    del y
    assert kept() is None
    assert node() is None


@pytest.mark.usefixtures("_without_collector")
def test_H148_backward_frees_the_kept_values_as_it_goes():
    alive = []
    x = leaf(100)
    y, kept = x, []
    for _ in range(10):
        y = exp(y * 0.1)
        y.register_hook(lambda g: alive.append(sum(r() is not None for r in kept)))
        kept.append(weakref.ref(y.array))
    y = y.sum()
    assert sum(r() is not None for r in kept) == 10
    y.backward()
    assert alive == list(range(10, 0, -1))
    assert sum(r() is not None for r in kept) == 0
    assert y.node is not None
    assert len(y.node.parents) == 1


def test_H148_backward_needs_room_for_a_few_gradients_only():
    x = leaf(1 << 16)
    size = x.array.nbytes
    tracemalloc.start()
    try:
        y = x
        for _ in range(40):
            y = exp(y * 0.1)
        y = y.sum()
        forward = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        y.backward()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert forward > 40 * size
    assert peak < forward + 5 * size
    assert after < 3 * size


def test_H148_a_failed_backward_keeps_no_gradient_alive():
    x = leaf(100)
    h = x * 2.0
    seen = []

    def fail(g):
        seen.append(weakref.ref(g.array))
        raise ValueError("stop")

    h.register_hook(fail)
    with pytest.raises(ValueError, match="stop"):
        h.sum().backward()
    gc.collect()
    assert seen[0]() is None


def test_the_skeleton_keeps_parameters_by_dtype_and_shape_only():
    x = leaf(5)
    index = np.array([0, 2, 2])
    y = x[index]
    y.sum().backward()
    assert y.node.saved is None
    assert y.node.params == {"index": "int64(3,)"}


def _changed(operation):
    def change(x, y):
        if operation == "+":
            x += y
        elif operation == "/":
            x /= y
        elif operation == "[]":
            x[:] = y
        else:
            getattr(x, operation)(y)

    return change


@pytest.mark.parametrize(
    ("by", "x", "y", "error", "message"),
    [
        ("+", np.ones(2), np.ones((3, 2)), tg.ShapeError, r"x \+= .*\(3, 2\).*memory of shape \(2,\) cannot grow"),
        ("+", np.ones(2), np.ones(3), tg.ShapeError, r"x \+= .*do not broadcast"),
        ("mul_", np.ones(1), np.ones(2), tg.ShapeError, r"mul_: .*cannot grow"),
        ("copy_", np.ones(2), np.ones((3, 2)), tg.ShapeError, r"copy_: .*cannot grow"),
        (
            "copy_",
            np.ones(3),
            np.zeros((1, 3)),
            tg.ShapeError,
            r"copy_: .*\(1, 3\).*memory of shape \(3,\) cannot grow",
        ),
        ("clamp_", np.ones(2), np.zeros((3, 2)), tg.ShapeError, r"clip: .*\(3, 2\)"),
        ("[]", np.ones(2), np.ones(3), tg.ShapeError, r"x\[i\] = v: v has shape \(3,\).* \(2,\)"),
        ("/", np.array([4, 2]), 2, TypeError, r"x /= .*does not fit into a int64 Tensor; .*\.float\(\)"),
        ("+", np.ones(2, np.uint8), 300, OverflowError, r"x \+= .*300 does not fit into a uint8 Tensor"),
        ("fill_", np.ones(2, np.uint8), -1, OverflowError, r"fill_: -1 does not fit into a uint8 Tensor"),
    ],
)
def test_H123_a_change_that_does_not_fit_is_refused_and_changes_nothing(by, x, y, error, message):
    tensor = Tensor(x)
    with pytest.raises(error, match=message):
        _changed(by)(tensor, y)
    np.testing.assert_array_equal(tensor.numpy(), x, strict=True)
