"""Hooks of modules: when they run, what they may replace, and that a failing one is named."""

import copy
import gc
import pickle
from collections import namedtuple

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, no_grad
from tinygrad_cnn.nn import Conv2d, Dropout, Flatten, Identity, Linear, Module, ReLU, Sequential
from tinygrad_cnn.nn import hooks as hooks_file
from tinygrad_cnn.nn import module as module_file


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def leaf(*shape, seed=0):
    return Tensor(normal(*shape, seed=seed), requires_grad=True)


class Pair(Module):
    """Two inputs, two outputs and a number."""

    def forward(self, x, y, scale=1.0):
        return x * y * scale, 7, x.sum(dim=1) + y.sum(dim=1)


class Net(Module):
    def __init__(self, forward):
        super().__init__()
        self.function = forward

    def forward(self, *args):
        return self.function(*args)


class Fails(Module):
    def forward(self, x):
        raise ArithmeticError("on purpose")


def zeros_of(grads):
    return tuple(None if g is None else Tensor(np.zeros(g.shape, g.dtype)) for g in grads)


# Forward


def test_forward_hooks_run_in_order_around_the_forward():
    model, seen = Linear(3, 2, dtype=np.float64), []
    x = leaf(4, 3)
    model.register_forward_hook(lambda m, args, out: seen.append(("after", m, args[0] is x, out.shape)))
    model.register_forward_pre_hook(lambda m, args: seen.append(("before", m, args[0] is x)))
    model.register_forward_hook(lambda m, args, out: seen.append("first"), prepend=True)
    y = model(x)
    assert seen == [("before", model, True), "first", ("after", model, True, (4, 2))]
    assert y.shape == (4, 2)


def test_forward_hooks_replace_arguments_and_output():
    model = Pair()
    x, y = leaf(2, 3), leaf(2, 3, seed=1)
    model.register_forward_pre_hook(lambda m, args: (args[0] * 2, args[1]))
    model.register_forward_pre_hook(lambda m, args, kwargs: (args, {"scale": 5.0}), with_kwargs=True)
    model.register_forward_hook(lambda m, args, kwargs, out: (*out, kwargs["scale"]), with_kwargs=True)
    out = model(x, y, scale=3.0)
    assert np.allclose(out[0].array, 10 * x.array * y.array)
    assert out[3] == 5.0
    one = Identity()
    one.register_forward_pre_hook(lambda m, args: args[0] + 1)
    one.register_forward_hook(lambda m, args, out: out * 3)
    assert one(Tensor([1.0])).tolist() == [6.0]


def test_a_handle_takes_its_hook_out_again():
    model, seen = Identity(), []
    handle = model.register_forward_hook(lambda *_: seen.append(1))
    with model.register_forward_pre_hook(lambda *_: seen.append(2)):
        model(Tensor([1.0]))
    model(Tensor([1.0]))
    handle.remove()
    handle.remove()
    model(Tensor([1.0]))
    assert seen == [2, 1, 1]


def test_a_hook_that_is_always_called_sees_the_failure():
    model, seen = Fails(), []
    model.register_forward_hook(lambda m, args, out: seen.append("never"))
    model.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
    with pytest.raises(ArithmeticError, match="on purpose"):
        model(Tensor([1.0]))
    assert seen == [None]
    good = Identity()
    good.register_forward_hook(lambda m, args, out: seen.append("once"), always_call=True)
    good(Tensor([1.0]))
    assert seen == [None, "once"]


def test_a_failing_hook_that_is_always_called_does_not_hide_the_first_error():
    def second(*_):
        raise KeyError("another")

    model = Fails()
    model.register_forward_hook(second, always_call=True)
    with pytest.raises(ArithmeticError) as caught:
        model(Tensor([1.0]))
    assert any("second, which is always called, failed too: KeyError('another')" in n for n in caught.value.__notes__)


def test_a_hook_that_is_always_called_is_not_called_twice_when_a_later_one_fails():
    model, seen = Identity(), []
    model.register_forward_hook(lambda m, args, out: seen.append("once"), always_call=True)
    model.register_forward_hook(raises)
    with pytest.raises(ArithmeticError, match="in the hook"):
        model(Tensor([1.0]))
    assert seen == ["once"]


# Backward


def test_backward_hooks_see_the_gradients_of_inputs_and_outputs():
    model, seen = Sequential(Linear(3, 2, dtype=np.float64), ReLU()), []
    x, g = leaf(4, 3), normal(4, 2, seed=2)
    y = model(x)
    (plain,) = tg.grad(y, [x], g)
    model.register_full_backward_pre_hook(lambda m, grad_output: seen.append(("pre", m, grad_output)))
    model.register_full_backward_hook(lambda m, grad_input, grad_output: seen.append((m, grad_input, grad_output)))
    model(x).backward(g)
    (pre, whose, (early,)), (other, (grad_input,), (grad_output,)) = seen
    assert (pre, whose, other) == ("pre", model, model)
    assert np.array_equal(early.array, g)
    assert np.array_equal(grad_output.array, g)
    assert np.allclose(grad_input.array, plain.array)
    assert np.allclose(x.grad.array, plain.array)


def test_several_inputs_and_outputs_meet_in_one_call_of_the_hook():
    model, seen = Pair(), []
    x, y = leaf(2, 3), leaf(2, 3, seed=1)
    model.register_full_backward_hook(lambda m, grad_input, grad_output: seen.append((grad_input, grad_output)))
    out, seven, total = model(x, y)
    assert seven == 7
    a, b = normal(2, 3, seed=2), normal(2, seed=3)
    ((out * a).sum() + (total * b).sum() + (x * 100).sum()).backward()
    (((gx, gy), (g0, g1, g2)),) = seen
    assert g1 is None
    assert np.allclose(g0.array, a)
    assert np.allclose(g2.array, b)
    assert np.allclose(gx.array, a * y.array + b[:, None])  # through the module alone
    assert np.allclose(gy.array, a * x.array + b[:, None])
    assert np.allclose(x.grad.array, gx.array + 100)


def test_backward_hooks_replace_gradients_before_and_behind_the_module():
    model = Linear(3, 2, dtype=np.float64)
    x, g = leaf(4, 3), normal(4, 2, seed=2)
    with model.register_full_backward_pre_hook(lambda m, grads: (grads[0] * 2,)):
        model(x).backward(g)
    assert np.allclose(x.grad.array, 2 * g @ model.weight.array)
    assert np.allclose(model.weight.grad.array, 2 * g.T @ x.array)
    x.grad = model.weight.grad = None
    with model.register_full_backward_hook(lambda m, grad_input, grad_output: grad_input[0] * 3):
        model(x).backward(g)
    assert np.allclose(x.grad.array, 3 * g @ model.weight.array)
    assert np.allclose(model.weight.grad.array, g.T @ x.array)
    pair = Pair()
    pair.register_full_backward_hook(lambda m, grad_input, grad_output: zeros_of(grad_input))
    x, y = leaf(2, 3), leaf(2, 3, seed=1)
    pair(x, y)[0].sum().backward()
    assert not x.grad.array.any()
    assert not y.grad.array.any()


def test_without_an_input_that_requires_grad_the_hook_gets_the_outputs_gradients():
    model, seen = Linear(3, 2), []
    model.register_full_backward_hook(
        lambda m, grad_input, grad_output: seen.append((grad_input, grad_output[0].shape))
    )
    model(Tensor(normal(4, 3, dtype=np.float32))).sum().backward()
    assert seen == [((None,), (4, 2))]


def test_a_gradient_that_does_not_come_is_none_and_counts_as_zeros():
    model, seen = Pair(), []
    x, y = leaf(2, 3), Tensor(normal(2, 3, seed=1))
    model.register_full_backward_pre_hook(lambda m, grads: seen.append(grads))
    model.register_full_backward_hook(lambda m, grad_input, grad_output: seen.append(grad_input))
    for _ in range(2):
        out = model(x, y)
        out[2].sum().backward()
        assert seen[-2][:2] == (None, None)
        assert seen[-1][1] is None
        out = model(x, y)
        (out[0].sum() + out[2].sum()).backward()
        assert [g is None for g in seen[-2]] == [False, True, False]
    assert np.allclose(x.grad.array, 2 * (1 + y.array + 1))


def test_a_gradient_that_came_in_one_backward_is_none_again_in_the_next():
    model, seen = Pair(), []
    x, y = leaf(2, 3), leaf(2, 3, seed=1)
    model.register_full_backward_pre_hook(lambda m, grads: seen.append([g is None for g in grads]))
    out = model(x, y)
    (out[0].sum() + out[2].sum()).backward(retain_graph=True)
    out[2].sum().backward()
    assert seen == [[False, True, False], [True, True, False]]


def test_a_backward_that_starts_inside_the_module_calls_no_hook():
    class Keeps(Module):
        def forward(self, x):
            self.inner = x * 3
            return self.inner * 2

    model, seen, x = Keeps(), [], leaf(2)
    model.register_full_backward_hook(lambda *_: seen.append(1))
    y = model(x)
    model.inner.sum().backward(retain_graph=True)
    assert seen == []
    y.sum().backward(retain_graph=True)
    assert seen == [1]
    model.inner.sum().backward()
    assert seen == [1]
    assert x.grad.tolist() == [12.0, 12.0]


def test_outputs_of_different_dtypes_keep_theirs():
    model, seen = Net(lambda x: (x, x.float(), x.half())), []
    model.register_full_backward_hook(lambda m, grad_input, grad_output: seen.extend(g.dtype for g in grad_output))
    outputs = model(leaf(3))
    assert [y.dtype for y in outputs] == [np.float64, np.float32, np.float16]
    sum(y.double().sum() for y in outputs).backward()
    assert seen == [np.float64, np.float32, np.float16]


def test_a_module_called_twice_calls_its_hooks_for_each_call():
    model, seen = Linear(3, 3, dtype=np.float64), []
    model.register_full_backward_hook(lambda m, grad_input, grad_output: seen.append(grad_input[0].array.sum()))
    x = leaf(1, 3)
    model(model(x)).sum().backward()
    assert len(seen) == 2
    assert seen[-1] == pytest.approx(x.grad.array.sum())


def test_backward_hooks_keep_values_and_gradients_of_second_order():
    model = Sequential(Conv2d(1, 2, 3, dtype=np.float64), ReLU(), Flatten())
    x, g = leaf(2, 1, 5, 4), normal(2, 12, seed=3)

    def second():
        (first,) = tg.grad(model(x) ** 2, [x], g, create_graph=True)
        return [a.array for a in tg.grad((first**2).sum(), [x, *model.parameters()])]

    plain = second()
    for part in model.modules():
        part.register_full_backward_hook(lambda m, grad_input, grad_output: None)
    for ours, theirs in zip(second(), plain, strict=True):
        assert np.allclose(ours, theirs)


def test_no_gradient_means_no_backward_hook():
    model, seen = Linear(3, 2), []
    model.register_full_backward_hook(lambda *_: seen.append(1))
    with no_grad():
        assert not model(Tensor(normal(4, 3, dtype=np.float32))).requires_grad
    assert seen == []


def test_a_named_tuple_and_a_list_come_back_as_they_were():
    Two = namedtuple("Two", "a b")

    class Net(Module):
        def forward(self, x, kind):
            return kind(x * 2, 3) if kind is Two else [x * 2, 3]

    model, x = Net(), leaf(2)
    model.register_full_backward_pre_hook(lambda m, grads: None)
    assert model(x, Two).b == 3
    assert model(x, list)[1] == 3


def test_an_input_changed_in_place_inside_a_hooked_module_gives_the_same_gradients():
    model = Sequential(ReLU(inplace=True), Dropout(0.0, inplace=True), Linear(3, 2, dtype=np.float64))
    x = leaf(4, 3)
    plain = tg.grad((model(x * 1) ** 2).sum(), [x])[0]
    model.register_full_backward_hook(lambda *_: None)
    assert np.allclose(tg.grad((model(x * 1) ** 2).sum(), [x])[0].array, plain.array)


# Errors


def hooked(hook, kind, model=None):
    model = Sequential(Identity(), model or Linear(3, 2, dtype=np.float64))
    getattr(model[1], f"register_{kind}_hook")(hook)
    return model


def raises(*_):
    raise ArithmeticError("in the hook")


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("forward_pre", ["in the forward pre-hook raises", "in 1 (Linear)"]),
        ("forward", ["in the forward hook raises", "in 1 (Linear)"]),
        ("full_backward_pre", ["in the backward pre-hook raises of 1 (Linear)"]),
        ("full_backward", ["in the backward hook raises of 1 (Linear)"]),
    ],
)
def test_an_error_in_a_hook_names_the_hook_and_the_path_of_the_module(kind, note):
    model, x = hooked(raises, kind), leaf(4, 3)
    with pytest.raises(ArithmeticError, match="in the hook") as caught:
        model(x).sum().backward()
    assert caught.value.__notes__[: len(note)] == note
    assert x.grad is None
    assert model[1].weight.grad is None


@pytest.mark.parametrize(
    ("hook", "kind", "error", "message"),
    [
        (lambda m, a, k: 3, "forward_pre", TypeError, r"it returned a int; with with_kwargs=True None or a "),
        (lambda m, g: (), "full_backward_pre", ValueError, "it returned 0 gradients; 1 are needed"),
        (lambda m, g: (3,), "full_backward_pre", TypeError, "gradient 0 of those it returned is a int; a Tensor"),
        (lambda m, g: (None,), "full_backward_pre", TypeError, "gradient 0 of those it returned is None; a Tensor"),
        (lambda m, i, o: i[0].sum(), "full_backward", ValueError, r"is float64 \(\); float64 \(4, 3\) is needed"),
        (lambda m, i, o: i[0].float(), "full_backward", ValueError, r"is float32 \(4, 3\); float64 \(4, 3\)"),
    ],
)
def test_a_hook_that_returns_something_else_is_refused(hook, kind, error, message):
    model = Linear(3, 2, dtype=np.float64)
    options = {"with_kwargs": True} if "with_kwargs" in message else {}
    getattr(model, f"register_{kind}_hook")(hook, **options)
    with pytest.raises(error, match=message):
        model(leaf(4, 3)).sum().backward()


def test_a_gradient_where_none_flows_is_refused():
    model = Linear(3, 2)
    model.register_full_backward_hook(lambda m, grad_input, grad_output: grad_output)
    with pytest.raises(TypeError, match=r"gradient 0 of those it returned is float32 .*; None, as no gradient flows"):
        model(Tensor(normal(4, 3, dtype=np.float32))).sum().backward()


def test_backward_hooks_want_tensors_as_outputs():
    model = hooked(lambda *_: None, "full_backward", Net(lambda x: {"y": x}))
    with pytest.raises(TypeError, match=r"the output of 1 \(Net\) is a dict; a Tensor, or a tuple"):
        model(leaf(2))
    with no_grad():
        assert model(leaf(2))["y"].shape == (2,)
    for kind in ("forward_pre", "forward", "full_backward_pre", "full_backward"):
        with pytest.raises(TypeError, match=f"register_{kind}_hook: the hook is a int; a function is needed"):
            getattr(Identity(), f"register_{kind}_hook")(3)


# Copies and memory


def count(module, args):
    module.calls = getattr(module, "calls", 0) + 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_hooks_of_its_own(copied):
    model = Identity()
    handle = model.register_forward_pre_hook(count)
    other = copied(model)
    handle.remove()
    model(Tensor([1.0]))
    other(Tensor([1.0]))
    assert not hasattr(model, "calls")
    assert other.calls == 1


def test_a_module_from_another_process_runs_its_hooks(monkeypatch):
    model = Identity()
    model.register_forward_pre_hook(count)
    pickled = pickle.dumps(model)
    monkeypatch.setattr(module_file, "registered", [])
    monkeypatch.setattr(hooks_file, "registered", module_file.registered)
    Identity()(Tensor([1.0]))
    assert not module_file.registered
    other = pickle.loads(pickled)
    other(Tensor([1.0]))
    assert other.calls == 1


def test_H147_hooked_modules_leave_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        model = Sequential(Linear(3, 2), ReLU())
        model.register_full_backward_hook(lambda m, grad_input, grad_output: None)
        y = model(Tensor(normal(4, 3, dtype=np.float32), requires_grad=True))
        y.sum().backward()
        del model, y
        assert gc.collect() == 0
    finally:
        gc.enable()
