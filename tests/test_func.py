"""tinygrad_cnn.func: exact derivatives of functions, of any order, without a trace outside."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, func, nn
from tinygrad_cnn.testing import gradcheck

H = 1e-5


def drawn(seed: int, *shape: int) -> Tensor:
    return Tensor(np.random.default_rng(seed).uniform(0.3, 1.5, shape))


def close(ours, wanted, rtol=1e-10) -> None:
    np.testing.assert_allclose(ours.array if isinstance(ours, Tensor) else ours, wanted, rtol=rtol, atol=1e-12)


def near(ours, wanted) -> None:
    """Equal up to what a central difference of these functions may be off."""
    np.testing.assert_allclose(ours.array if isinstance(ours, Tensor) else ours, wanted, rtol=1e-5, atol=1e-6)


def wave(x: Tensor, w: Tensor) -> Tensor:
    """(2 3), (3 4) -> (2 4)"""
    return tg.sin(x @ w) * (x * x).sum(1, keepdim=True) + w[0]


def central(f, args, tangents) -> np.ndarray:
    def at(h):
        return f(*(Tensor(a.array + h * t.array) for a, t in zip(args, tangents, strict=True))).array

    return (at(H) - at(-H)) / (2 * H)


# Each transform against central differences, and against the others


@given(st.integers(0, 2**16))
@settings(max_examples=10)
def test_jvp_is_the_central_difference_and_vjp_its_transpose(seed):
    args = drawn(seed, 2, 3), drawn(seed + 1, 3, 4)
    tangents = drawn(seed + 2, 2, 3), drawn(seed + 3, 3, 4)
    out, moved = func.jvp(wave, args, tangents)
    close(out, wave(*args).array)
    near(moved, central(wave, args, tangents))
    same, pullback = func.vjp(wave, *args)
    close(same, out.array)
    for k in (4, 5):
        c = drawn(seed + k, 2, 4)
        found = pullback(c)
        assert isinstance(found, tuple)
        inner = sum((g.array * t.array).sum() for g, t in zip(found, tangents, strict=True))
        close(inner, (c.array * moved.array).sum())
    again, push = func.linearize(wave, *args)
    close(again, out.array)
    for _ in range(2):
        close(push(*tangents), moved.array)
    others = drawn(8, 2, 3), drawn(9, 3, 4)
    close(push(*others), func.jvp(wave, args, others)[1].array)


@pytest.mark.parametrize("argnums", [0, 1, -1, (0, 1), (1,), [1, 0], range(2)])
def test_jacobians_by_rows_and_by_columns_are_one(argnums):
    args = drawn(0, 2, 3), drawn(1, 3, 4)
    rows, columns = (j(wave, argnums)(*args) for j in (func.jacrev, func.jacfwd))
    several = not isinstance(argnums, int)
    assert isinstance(rows, tuple) == isinstance(columns, tuple) == several
    for k, r, c in zip(
        argnums if several else [argnums], rows if several else [rows], columns if several else [columns], strict=True
    ):
        assert r.shape == c.shape == (2, 4, *args[k].shape)
        close(r, c.array)
        t = [Tensor(np.zeros(a.shape)) for a in args]
        t[k] = drawn(7, *args[k].shape)
        close((r.array * t[k].array).sum((2, 3)), func.jvp(wave, args, t)[1].array)


def test_value_and_grad_gives_the_value_and_the_gradient_of_each_argument():
    args = drawn(0, 2, 3), drawn(1, 3, 4)
    (value, aux), (gx, gw) = func.value_and_grad(lambda x, w: (wave(x, w).sum(), x), (0, 1), has_aux=True)(*args)
    value_alone, g = func.value_and_grad(lambda x, *, w: wave(x, w).sum())(args[0], w=args[1])
    xs = [Tensor(a.array, requires_grad=True) for a in args]
    out = wave(*xs).sum()
    out.backward()
    for found in (value, value_alone):
        close(found, out.array)
    close(gx, xs[0].grad.array)
    close(g, xs[0].grad.array)
    close(gw, xs[1].grad.array)
    close(aux, args[0].array)
    gradient, aux = func.grad(lambda x: (x.sum(), "aux"), has_aux=True)(args[0])
    assert (gradient.array == 1).all()
    assert aux == "aux"


def test_the_hessian_is_that_of_the_calculus_book():
    x = drawn(0, 3)
    a = np.random.default_rng(1).standard_normal((3, 3))
    close(func.hessian(lambda x: (x * (Tensor(a) @ x)).sum())(x), a + a.T)
    close(func.hessian(lambda x: x.sum() ** 3)(x), np.full((3, 3), 6 * x.array.sum()))
    close(func.hessian(lambda x: x.exp())(x), np.einsum("ij,jk->ijk", np.eye(3), np.diag(np.exp(x.array))))


def net() -> nn.Sequential:
    g = np.random.default_rng(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 2, generator=g), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, 2, generator=g)
    ).double()


def cost_of(model):
    images, labels = Tensor(np.random.default_rng(1).standard_normal((4, 1, 3, 3))), Tensor([0, 1, 1, 0])
    return lambda params: nn.functional.cross_entropy(func.functional_call(model, params, images), labels)


def test_the_hessian_of_a_convolutional_net_is_that_of_central_differences():
    model = net()
    cost, params = cost_of(model), {k: p.detach() for k, p in model.named_parameters()}
    hessian = func.hessian(cost)(params)
    v = {k: drawn(i, *p.shape) for i, (k, p) in enumerate(params.items())}
    (product,) = func.hvp(cost, (params,), (v,))
    ahead, behind = (func.grad(cost)({k: Tensor(p.array + h * v[k].array) for k, p in params.items()}) for h in (H, -H))
    along = func.jvp(func.grad(cost), (params,), (v,))[1]
    for k, p in params.items():
        axes = {j: tuple(range(-params[j].ndim, 0)) for j in params}
        row = sum((hessian[k][j].array * v[j].array).sum(axes[j]) for j in params)
        assert hessian[k][k].shape == p.shape * 2
        for found in (product[k].array, along[k].array, (ahead[k].array - behind[k].array) / (2 * H)):
            np.testing.assert_allclose(row, found, rtol=1e-5, atol=1e-7)
            close(product[k], row)


def test_transforms_nest_to_any_order():
    def f(x):
        return tg.sin(x) * tg.exp(2.0 * x)

    # f = Im exp((2 + i) x), so its n-th derivative is Im (2 + i)^n exp((2 + i) x).
    x, derivative = Tensor(np.float64(0.3)), f
    for n in range(6):
        close(derivative(x), (complex(2, 1) ** n * np.exp(complex(2, 1) * 0.3)).imag)
        derivative = func.grad(derivative)
    close(func.jvp(func.grad(f), (x,), (Tensor(np.float64(1.0)),))[1], func.grad(func.grad(f))(x).array)
    close(func.jacfwd(func.jacfwd(f))(x), func.grad(func.grad(f))(x).array)
    close(func.grad(lambda x: func.jvp(f, (x,), (x,))[1])(x), (func.grad(f)(x) + x * func.grad(func.grad(f))(x)).array)
    x_df = lambda x: x * func.grad(f)(x * x)  # noqa: E731
    near(func.grad(lambda x: func.vjp(f, x * x)[1](x)[0])(x), central(x_df, [x], [Tensor(np.float64(1.0))]))


def test_a_derivative_by_one_variable_of_a_derivative_by_another():
    x, w = Tensor(np.float64(0.4)), Tensor(np.float64(1.7))
    mixed = func.grad(lambda w: func.grad(lambda x: tg.sin(x * w))(x))
    close(mixed(w), np.cos(0.68) - 0.68 * np.sin(0.68))
    # The inner derivative is by the inner x alone, though both are the same Tensor.
    close(func.grad(lambda x: x * func.grad(lambda y: x * y)(x))(x), 0.8)


def test_derivatives_may_be_checked_like_any_function():
    args = [drawn(0, 2, 3).array, drawn(1, 3, 4).array]
    gradcheck(lambda x, w: func.jacrev(wave)(x, w), args)
    gradcheck(lambda x, w: func.jvp(wave, (x, w), (x * x, tg.sin(w)))[1], args)
    gradcheck(lambda x, w: func.vjp(wave, x, w)[1](wave(x, w))[1], args)
    gradcheck(lambda x, w: func.hvp(lambda x: wave(x, w).sum(), (x,), (x * x,))[0], args)
    gradcheck(lambda x, w: func.linearize(wave, x, w)[1](x, w), args)
    gradcheck(lambda x, w: func.grad(lambda a: wave(a, w).sum(), has_aux=False)(x), args)


# Trees


def test_arguments_and_results_may_be_trees():
    def f(p, scale):
        return {"y": p["a"] * p["rest"][0] * scale, "z": [p["rest"][1].sum(), None]}

    p = {"a": drawn(0, 2), "rest": [drawn(1, 2), drawn(2, 3), None]}
    scale = drawn(3, 2)
    out, pullback = func.vjp(f, p, scale)
    assert out["z"][1] is None
    found, by_scale = pullback({"y": scale, "z": [Tensor(np.float64(2.0)), None]})
    close(found["a"], scale.array**2 * p["rest"][0].array)
    assert (found["rest"][1].array == 2.0).all()
    assert found["rest"][2] is None
    close(by_scale, scale.array * p["a"].array * p["rest"][0].array)
    jacobian = func.jacobian(f)(p, scale)
    assert jacobian["y"]["rest"][1].shape == (2, 3)
    assert not jacobian["y"]["rest"][1].array.any()
    close(jacobian["y"]["a"], np.diag(scale.array * p["rest"][0].array))
    moved = func.jvp(f, (p, scale), (p, scale))[1]
    close(moved["y"], 3 * out["y"].array)
    close(moved["z"][0], out["z"][0].array)


def test_named_tuples_and_ordered_dicts_keep_their_kind():
    from collections import OrderedDict, namedtuple

    Pair = namedtuple("Pair", "left right")
    found = func.grad(lambda p: (p.left * p.right["k"]).sum())(Pair(drawn(0, 2), OrderedDict(k=drawn(1, 2))))
    assert isinstance(found, Pair)
    assert type(found.right) is OrderedDict
    close(found.left, drawn(1, 2).array)


def test_what_is_ignored_has_derivative_0():
    x, w = drawn(0, 2), drawn(1, 3)
    gx, gw = func.grad(lambda x, w: x.sum(), (0, 1))(x, w)
    assert (gx.array == 1).all()
    assert gw.shape == (3,)
    assert not gw.array.any()
    constant = lambda x: Tensor(np.ones(3))  # noqa: E731
    assert not func.grad(lambda x: constant(x).sum())(x).array.any()
    for j in (func.jacrev, func.jacfwd, func.hessian):
        assert not j(constant)(x).array.any()
    assert func.hessian(constant)(x).shape == (3, 2, 2)
    assert not func.jvp(constant, (x,), (x,))[1].array.any()
    assert not func.hvp(lambda x: x.sum(), (x,), (x,))[0].array.any()
    assert func.jacrev(lambda x: x[:0])(x).shape == (0, 2)
    assert func.jacfwd(lambda x: x * 2.0)(Tensor(np.zeros(0))).shape == (0, 0)


def test_one_result_given_twice_counts_twice():
    x, c = drawn(0, 2), drawn(1, 2)

    def twice(x):
        y = x * x
        return y, y

    close(func.vjp(twice, x)[1]((c, c))[0], 4 * c.array * x.array)
    for moved in func.jvp(twice, (x,), (c,))[1]:
        close(moved, 2 * c.array * x.array)


def test_a_result_that_is_not_asked_sends_no_gradient():
    jacobian = func.jacrev(lambda x: (tg.sqrt(x), x * x))(Tensor(np.float64([0.0, 4.0])))
    close(jacobian[1], np.diag([0.0, 8.0]))  # the slope of sqrt is inf at 0, and 0 · inf is nan


# Purity


def test_nothing_outside_has_a_gradient_afterwards():
    x, w = Tensor(drawn(0, 2, 3).array, requires_grad=True), Tensor(drawn(1, 3, 4).array, requires_grad=True)
    x.grad = np.ones((2, 3))

    def f(x):
        return wave(x, w).sum()

    func.grad(f)(x)
    func.hessian(f)(x)
    func.jvp(f, (x,), (x,))
    func.vjp(f, x)[1](Tensor(np.float64(1.0)))
    func.hvp(f, (x,), (x,))
    assert (x.grad.array == 1).all()
    assert w.grad is None


def test_results_are_constants_unless_something_outside_requires_grad():
    x, w = drawn(0, 2, 3), drawn(1, 3, 4)
    results = [
        *func.value_and_grad(lambda x: wave(x, w).sum())(x),
        func.grad(lambda x: (wave(x, w).sum(), x * 2.0), has_aux=True)(x)[1],
        *func.jvp(wave, (x, w), (x, w)),
        func.vjp(wave, x, w)[0],
        *func.vjp(wave, x, w)[1](wave(x, w)),
        func.jacrev(wave)(x, w),
        func.jacfwd(wave)(x, w),
        func.hessian(lambda x: wave(x, w).sum())(x),
        *func.hvp(lambda x: wave(x, w).sum(), (x,), (x,)),
    ]
    assert not any(r.requires_grad for r in results)


def test_results_hang_in_the_graph_of_a_closure_that_requires_grad():
    x, w = drawn(0, 2, 3), Tensor(drawn(1, 3, 4).array, requires_grad=True)
    value, g = func.value_and_grad(lambda x: wave(x, w).sum())(x)
    assert value.requires_grad
    (g * g).sum().backward(retain_graph=True)
    found = w.grad.array.copy()
    t = drawn(5, 3, 4)

    def squares(w):
        g = func.grad(lambda x: wave(x, w).sum())(x)
        return (g * g).sum()

    near((found * t.array).sum(), central(squares, [w], [t]))
    value.backward()
    linear = func.grad(lambda x: (x * 3.0).sum() + w.sum())(x)
    assert not linear.requires_grad  # it does not depend on w


def test_a_transform_inside_leaves_nothing_that_requires_grad():
    x, w = drawn(0, 2), drawn(1, 2)
    by_w = func.grad(lambda w: func.grad(lambda t: (t * t * w).sum())(x).sum())(w)
    close(by_w, 2 * x.array)
    assert not by_w.requires_grad


def test_results_hang_in_the_graph_of_arguments_that_require_grad():
    x = Tensor(drawn(0, 3).array, requires_grad=True)
    h = x * 2.0
    func.grad(lambda h: (h**3).sum())(h).sum().backward()
    close(x.grad.array, 6 * h.array * 2)


def test_under_no_grad_results_are_constants_and_derivatives_as_ever():
    x = Tensor(drawn(0, 3).array, requires_grad=True)
    h = x * 2.0
    with tg.no_grad():
        value, g = func.value_and_grad(lambda h: (h**3).sum())(h)
        moved = func.jvp(lambda h: h**3, (h,), (h,))[1]
        hessian = func.hessian(lambda h: (h**3).sum())(h)
    assert not any(r.requires_grad for r in (value, g, moved, hessian))
    close(g, 3 * h.array**2)
    close(moved, 3 * h.array**3)
    close(hessian, np.diag(6 * h.array))
    h.sum().backward()  # its graph is untouched


def test_the_graph_outside_can_still_run_backward():
    w = Tensor(drawn(1, 3, 4).array, requires_grad=True)
    h = tg.exp(w)
    g, aux = func.grad(lambda x: ((x.exp()).sum(), x.exp() * h.sum()), has_aux=True)(drawn(0, 2))
    assert not g.requires_grad
    aux.sum().backward()
    assert w.grad is not None


def test_shared_values_of_the_result_and_its_companion_are_not_freed():
    w = Tensor(np.float64(2.0), requires_grad=True)

    def f(x):
        y = x.exp()
        return y.sum(), y * w

    _, aux = func.grad(f, has_aux=True)(drawn(0, 2))
    aux.sum().backward()
    close(w.grad.array, np.exp(drawn(0, 2).array).sum())


def test_a_finished_transform_leaves_no_graph_behind():
    gc.collect()
    gc.disable()
    try:
        refs = []

        def f(x):
            y = x.exp()
            refs.append((weakref.ref(y.node), weakref.ref(y.array)))
            return y.exp().sum()

        x = drawn(0, 3)
        func.value_and_grad(f)(x)
        func.hessian(f)(x)
        func.jvp(f, (x,), (x,))
        _, pullback = func.vjp(f, x)
        assert refs[-1][0]() is not None
        del pullback
        assert [ref() for pair in refs for ref in pair] == [None] * 2 * len(refs)
    finally:
        gc.enable()


def test_a_function_that_fails_leaves_the_mode_and_nothing_active():
    def fail(x):
        raise KeyError("gone")

    with tg.no_grad():
        with pytest.raises(KeyError):
            func.grad(fail)(drawn(0, 2))
        assert not tg.is_grad_enabled()
    close(func.grad(lambda x: x.sum())(drawn(0, 2)), np.ones(2))


# Errors


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: func.grad(3)(x), TypeError, "grad: f is a int; a function is needed"),
        (lambda x: func.grad(tg.sum)(x.long()), TypeError, r"grad: argument 0 holds int64 \(3,\); only float Tensors"),
        (lambda x: func.grad(tg.sum)(2.0), TypeError, "grad: argument 0 holds a float; only float Tensors have"),
        (lambda x: func.jacrev(tg.sum)([x, x.numpy()]), TypeError, "jacrev: argument 0 holds a ndarray"),
        (lambda x: func.grad(tg.exp)(x), ValueError, r"grad: f returned shape \(3,\); a number, of"),
        (lambda x: func.grad(lambda x: 1.0)(x), TypeError, "grad: f returned a float; a float Tensor"),
        (lambda x: func.grad(lambda x: x.argmax())(x), TypeError, r"grad: f returned int64 \(\); a float Tensor"),
        (lambda x: func.grad(tg.sum, has_aux=True)(x), TypeError, r"f returned float64 \(\); with has_aux it must"),
        (lambda x: func.grad(tg.sum, 1)(x), ValueError, "grad: argnums holds 1, but f was called with 1 arguments"),
        (lambda x: func.grad(tg.sum, -2)(x), ValueError, "grad: argnums holds -2, but f was called"),
        (lambda x: func.grad(tg.add, (0, -2))(x, x), ValueError, "grad: argnums names argument 0 twice"),
        (lambda x: func.grad(tg.sum, 1.0)(x), TypeError, r"grad: argnums holds 1\.0; integers are needed"),
        (lambda x: func.grad(tg.sum, True)(x), TypeError, "grad: argnums holds True; integers are needed"),
        (lambda x: func.vjp(lambda x: (x, x > 0), x), TypeError, r"vjp: f returned bool \(3,\); float Tensors are"),
        (lambda x: func.vjp(tg.exp, x)[1](x[:2]), ValueError, r"the cotangent holds float64 \(2,\) for float64 \(3"),
        (lambda x: func.vjp(tg.exp, x)[1](x.float()), ValueError, r"cotangent holds float32 \(3,\) for float64 \(3,"),
        (lambda x: func.vjp(tg.exp, x)[1](1.0), TypeError, r"cotangent holds a float; a Tensor of shape \(3,\)"),
        (lambda x: func.vjp(lambda x: (x, x), x)[1](x), ValueError, "the cotangent must have the form of the result"),
        (lambda x: func.vjp(lambda x: {"a": x}, x)[1]({"b": x}), ValueError, r"of \['a'\] here, a dict of \['b'\] t"),
        (lambda x: func.jvp(tg.exp, x, x), TypeError, r"jvp: primals is float64 \(3,\); a tuple is needed"),
        (lambda x: func.jvp(tg.exp, (x,), x), TypeError, "jvp: tangents is float64"),
        (lambda x: func.jvp(tg.exp, (x,), (x, x)), ValueError, "jvp: the tangents must have the form of the primals"),
        (lambda x: func.hvp(tg.sum, (x,), (x[:1],)), ValueError, r"hvp: the tangents holds float64 \(1,\) for"),
        (lambda x: func.hvp(tg.exp, (x,), (x,)), ValueError, r"grad: f returned shape \(3,\)"),
        (lambda x: func.linearize(tg.exp, x)[1](x, x), ValueError, "linearize: the tangents must have the form"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(drawn(0, 3))


# functional_call


def test_a_module_is_a_function_of_its_parameters():
    model, x = net(), Tensor(np.random.default_rng(2).standard_normal((2, 1, 3, 3)))
    params = {k: Tensor(p.array * 2, requires_grad=True) for k, p in model.named_parameters()}
    before = {k: (p, p.array.copy()) for k, p in model.named_parameters()}
    out = func.functional_call(model, params, x)
    out.sum().backward()
    assert all(p.grad is not None for p in params.values())
    for k, p in model.named_parameters():
        assert p is before[k][0]
        assert p.grad is None
        np.testing.assert_array_equal(p.array, before[k][1])
    other = net()
    other.load_state_dict(params)
    np.testing.assert_array_equal(out.array, other(x).array)
    half = func.functional_call(model, {"4.bias": Tensor(np.float64([10.0, 0.0]))}, (x,))
    np.testing.assert_allclose((half - model(x)).array, np.tile([10.0, 0.0] - model[4].bias.array, (2, 1)))


def test_buffers_that_are_given_move_instead_of_the_modules_own():
    layer, x = nn.BatchNorm2d(2), Tensor(np.random.default_rng(0).standard_normal((4, 2, 3, 3)).astype(np.float32))
    buffers = {k: Tensor(b.array) for k, b in layer.named_buffers()}
    func.functional_call(layer, (dict(layer.named_parameters()), buffers), x, strict=True)
    assert int(buffers["num_batches_tracked"].array) == 1
    assert buffers["running_mean"].array.any()
    assert int(layer.num_batches_tracked.array) == 0
    assert not layer.running_mean.array.any()


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight

    def forward(self, x, scale=1.0):
        if scale is None:
            raise KeyError("scale")
        return self.second(self.first(x)) * scale


def test_a_tensor_under_two_names_is_replaced_under_both():
    model, x, w = Tied(), Tensor(np.eye(2, dtype=np.float32)), Tensor(np.float32([[2, 0], [0, 3]]))
    zeros = {f"{k}.bias": Tensor(np.zeros(2, np.float32)) for k in ("first", "second")}
    for name in ("first.weight", "second.weight"):
        out = func.functional_call(model, {name: w, **zeros}, x, {"scale": 10.0})
        np.testing.assert_array_equal(out.array, [[40, 0], [0, 90]])
    both = {"first.weight": w, "second.weight": Tensor(np.eye(2, dtype=np.float32)), **zeros}
    np.testing.assert_array_equal(func.functional_call(model, both, x, tie_weights=False).array, [[2, 0], [0, 3]])
    with pytest.raises(ValueError, match=r"functional_call: first\.weight and second\.weight are one Tensor in Tied"):
        func.functional_call(model, both, x)
    with pytest.raises(KeyError):
        func.functional_call(model, {"first.weight": w}, x, {"scale": None})
    assert model.second.weight is model.first.weight
    assert isinstance(model.first.weight, nn.Parameter)


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ({"third.weight": 0}, {}, ValueError, r"Tied has no third\.weight; it has first\.weight, first\.bias"),
        ({"first.bias": (3,)}, {}, ValueError, r"first\.bias is given with shape \(3,\); \(2,\) is needed"),
        ({"first.bias": (2,)}, {"strict": True}, ValueError, r"first\.weight, second\.weight, second\.bias not given"),
        ({"first.bias": None}, {}, TypeError, r"functional_call: first\.bias is a NoneType; a Tensor is needed"),
        ([{"first.bias": (2,)}] * 2, {}, ValueError, r"first\.bias is given in two dicts"),
        ([("first.bias", 1)], {}, TypeError, "a tuple was given; a dict of name -> Tensor is needed, or several"),
    ],
)  # fmt: skip
def test_a_wrong_functional_call_is_refused_before_it_runs(given, options, error, message):
    def made(part):
        if not isinstance(part, dict):
            return part
        return {k: Tensor(np.zeros(v)) if v is not None else None for k, v in part.items()}

    ran = []
    model = Tied()
    model.forward = lambda x: ran.append(x)
    with pytest.raises(error, match=message):
        func.functional_call(model, made(given) if isinstance(given, dict) else [made(p) for p in given], 1, **options)
    assert not ran
    with pytest.raises(TypeError, match="functional_call: module is a int"):
        func.functional_call(3, {}, 1)
