"""tinygrad_cnn.autograd: functions with their own backward, backward of several Tensors, functional's spellings."""

import contextlib
import gc
import importlib.util
import itertools
import subprocess
import sys
import weakref

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, autograd, func
from tinygrad_cnn.autograd import Function, functional, once_differentiable
from tinygrad_cnn.declaration import registry


def drawn(seed: int, *shape: int, grad: bool = False) -> Tensor:
    return Tensor(np.random.default_rng(seed).uniform(0.3, 1.5, shape), requires_grad=grad)


class Exp(Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx, x):
        y = tg.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


class ScaledProduct(Function):
    """x · w · scale, with an argument that is no Tensor, one input saved and one by the other way of saving."""

    @staticmethod
    def forward(x, w, scale):
        return x * w * scale

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, w, ctx.scale = inputs
        ctx.save_for_backward(x, None, w)

    @staticmethod
    def backward(ctx, g):
        x, nothing, w = ctx.saved_tensors
        assert nothing is None
        return g * w * ctx.scale, g * x * ctx.scale, None


class SinCos(Function):
    """Several outputs of several dtypes, one of them an integer, one marked, one no Tensor."""

    @staticmethod
    def forward(ctx, x):
        s, c, marked = tg.sin(x), tg.cos(x).float()[:1], x * 2.0
        ctx.mark_non_differentiable(marked)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(s, x)
        return s, x.argmax(), c, "text", marked

    @staticmethod
    def backward(ctx, by_s, by_index, by_c, by_text, by_marked):
        s, x = ctx.saved_tensors
        assert by_text is None
        assert not by_index.array.any()
        assert not by_marked.array.any()
        assert (by_c.dtype, by_c.shape) == (np.float32, (1,))
        first = tg.cat([by_c.double(), tg.zeros(x.shape[0] - 1, dtype=np.float64)])
        return by_s * tg.cos(x) - first * s


def test_a_function_has_the_gradients_that_its_backward_gives():
    x, w = drawn(0, 2, 3, grad=True), drawn(1, 2, 3, grad=True)
    y = ScaledProduct.apply(Exp.apply(x), w, 3.0)
    np.testing.assert_array_equal(y.array, np.exp(x.array) * w.array * 3.0)
    g = drawn(2, 2, 3)
    y.backward(g)
    np.testing.assert_allclose(x.grad.array, g.array * 3 * np.exp(x.array) * w.array)
    np.testing.assert_allclose(w.grad.array, g.array * 3 * np.exp(x.array))


@pytest.mark.parametrize(
    ("f", "n"),
    [
        (Exp.apply, 1),
        (lambda x, w: ScaledProduct.apply(x, w, 0.5), 2),
        (lambda x: ScaledProduct.apply(x, x, 0.5), 1),
        (lambda x, w: ScaledProduct.apply(x, Tensor(np.float64([2.0, 3.0, 4.0])), 0.5) * w, 2),
        (lambda x: SinCos.apply(x)[0], 1),
    ],
)
def test_gradients_of_both_orders_are_central_differences(f, n):
    arrays = [drawn(k, 3).array for k in range(n)]
    assert autograd.gradcheck(f, arrays)
    assert autograd.gradgradcheck(f, arrays)


def test_each_of_several_outputs_has_its_gradient_of_any_order():
    def plain(x):
        return tg.sin(x), x.argmax(), tg.cos(x).float()[:1], "text", (x * 2.0).detach()

    def loss(f):
        def of(x):
            s, index, c, text, marked = f(x)
            assert (index.dtype, text, marked.requires_grad) == (np.int64, "text", False)
            return (s**3).sum() * (c.double() ** 2).sum() + (s * marked).sum()

        return of

    x = drawn(0, 3)
    for transform in (func.grad, func.hessian, lambda f: func.jacfwd(func.hessian(f))):
        ours, wanted = (transform(loss(f))(x).array for f in (SinCos.apply, plain))
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)
    leaf = drawn(0, 3, grad=True)
    SinCos.apply(leaf)[2].sum().backward()  # the other outputs receive zeros
    np.testing.assert_allclose(leaf.grad.array, [-np.sin(leaf.array[0]), 0, 0], rtol=1e-6)


def test_what_needs_no_gradient_is_not_recorded():
    seen = []

    class Note(Function):
        @staticmethod
        def forward(ctx, x, y):
            seen.append((ctx.needs_input_grad, tg.is_grad_enabled()))
            return x

        @staticmethod
        def backward(ctx, g):
            return g, None

    x, leaf = drawn(0, 2), drawn(0, 2, grad=True)
    assert not Note.apply(x, 3).requires_grad
    y = Note.apply(leaf, x)
    assert y.requires_grad
    assert y is not leaf
    with tg.no_grad():
        assert not Note.apply(leaf, x).requires_grad
    assert seen == [((False, False), False), ((True, False), False), ((False, False), False)]
    y.sum().backward()
    assert (leaf.grad.array == 1).all()


def test_backward_is_recorded_where_a_gradient_of_it_is_asked_for():
    seen = []

    class Note(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            seen.append(tg.is_grad_enabled())
            return g * 2.0

    x = Tensor([1.0], requires_grad=True)
    Note.apply(x).backward()
    tg.grad(Note.apply(x), [x])
    y = Note.apply(x)
    with tg.no_grad():
        tg.grad(y, [x], create_graph=True)
    assert seen == [False, False, True]


def test_none_from_backward_is_gradient_0():
    class First(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g, None

    x, y = drawn(0, 2, grad=True), drawn(1, 3, 2, grad=True)
    First.apply(x[None].expand(3, 2), y).sum().backward()
    assert (x.grad.array == 3).all()
    assert y.grad.shape == (3, 2)
    assert not y.grad.array.any()


def test_a_backward_with_numpy_inside_has_a_gradient_and_no_second_one():
    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x.numpy()
            return Tensor(ctx.x**3)

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return Tensor(3 * ctx.x**2 * g.numpy())

    x = drawn(0, 3, grad=True)
    assert autograd.gradcheck(Cube.apply, [x])
    Cube.apply(x).sum().backward()
    np.testing.assert_allclose(x.grad.array, 3 * x.array**2)
    (g,) = tg.grad(Cube.apply(x).sum(), [x], create_graph=True)
    np.testing.assert_allclose(g.array, 3 * x.array**2)
    with pytest.raises(RuntimeError, match="Cube: its backward is marked once_differentiable, so its gradient has no"):
        g.sum().backward()


def test_a_function_goes_through_transforms_and_checkpoints():
    def f(x, w):
        return ScaledProduct.apply(Exp.apply(x), w, 2.0).sum()

    def plain(x, w):
        return (tg.exp(x) * w * 2.0).sum()

    args = drawn(0, 3), drawn(1, 3)
    for wrapped in (f, lambda *a: tg.checkpoint(f, *a)):
        for transform in (func.grad, func.hessian, lambda f, n: func.jacfwd(func.grad(f, n), n)):
            for ours, wanted in zip(transform(wrapped, (0, 1))(*args), transform(plain, (0, 1))(*args), strict=True):
                pairs = zip(ours, wanted, strict=True) if isinstance(ours, tuple) else [(ours, wanted)]
                for a, b in pairs:
                    np.testing.assert_allclose(a.array, b.array, rtol=1e-12)


def test_a_functions_step_is_one_in_pictures_profiles_and_watches():
    x = drawn(0, 3, grad=True)
    registered = set(registry)
    with tg.watch(), tg.profile() as p:
        y = ScaledProduct.apply(Exp.apply(x), drawn(1, 3), 2.0)
    loss = y.sum()
    assert {row.name for row in p.rows} == {"Exp", "ScaledProduct"}
    assert y.node.watch.record.value is not None
    for view in ("ops", "memory", "grad", "cost"):
        text = loss.graph(view=view).text()
        assert "ScaledProduct" in text
        assert "Exp" in text
        loss.graph(view=view).svg()
    with tg.profile() as p:
        loss.backward()
    assert {"Exp", "ScaledProduct"} <= {row.name for row in p.rows if row.phase == "backward"}
    assert set(registry) == registered  # classes of one name do not meet


def test_backward_frees_what_a_function_saved():
    x = drawn(0, 3, grad=True)
    gc.collect()
    gc.disable()
    try:
        y = ScaledProduct.apply(x * 2.0, x * 3.0, 1.0)
        ((kept,),) = y.node.saved
        held = weakref.ref(kept)
        del kept
        loss = y.sum()
        loss.backward()
        assert held() is None
        with pytest.raises(RuntimeError, match="the graph below sum was freed"):
            loss.backward()
        y = Exp.apply(x)
        node = weakref.ref(y.node)
        del y
        assert node() is None  # saving its own output closes no cycle
        h = x * 2.0
        y, held = Exp.apply(h), weakref.ref(h.array)
        del h
        assert held() is None  # an input that is not saved is not kept
        assert y.requires_grad
    finally:
        gc.enable()


def test_a_saved_tensor_changed_in_place_is_named():
    x = drawn(0, 3, grad=True)
    y = Exp.apply(x)
    with tg.no_grad():
        y.add_(1.0)
    with pytest.raises(RuntimeError, match=r"Exp: a saved Tensor of shape \(3,\) was changed in place \(add_\)"):
        y.sum().backward()
    assert x.grad is None


def returning(*gradients):
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, k):
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            return gradients if len(gradients) != 1 else gradients[0]

    return Wrong.apply(Tensor([1.0, 2.0], requires_grad=True), 3)


@pytest.mark.parametrize(
    ("gradients", "error", "message"),
    [
        ((None,), RuntimeError, "Wrong: backward returned 1 gradients for 2 arguments; one for each is needed"),
        (
            (None, Tensor([1.0])),
            TypeError,
            "Wrong: backward returned a Tensor for argument 1; it is no Tensor, so None",
        ),
        (
            (np.ones(2), None),
            TypeError,
            "Wrong: backward returned a ndarray for argument 0; a Tensor or None is needed",
        ),
        ((Tensor([1.0]), None), ValueError, r"Wrong: its gradient rule for 'inputs\[0\]' returned shape \(1,\)"),
        ((Tensor([1, 2]), None), TypeError, "Wrong: its gradient rule for .* returned int64; float32 is needed"),
    ],
)
def test_a_wrong_backward_is_refused(gradients, error, message):
    y = returning(*gradients)
    with pytest.raises(error, match=message):
        y.sum().backward()


def test_wrong_functions_are_refused():
    class Empty(Function):
        pass

    class Half(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

    class Dirty(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)

    class Saves(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, 3)

    x = Tensor([1.0], requires_grad=True)
    with pytest.raises(NotImplementedError, match="there is no forward; define forward"):
        Empty.apply(x)
    with pytest.raises(NotImplementedError, match="there is no backward; define backward"):
        Half.apply(x).backward()
    with pytest.raises(RuntimeError, match="Dirty: mark_dirty: no gradient flows through a change in place; compute"):
        Dirty.apply(x)
    with pytest.raises(TypeError, match="save_for_backward: a int was given; Tensors or None are needed"):
        Saves.apply(x)
    with pytest.raises(RuntimeError, match="Half: it runs by its own apply"):
        Half.apply(x).node.plan.op.forward(x)


# backward of several Tensors


def test_backward_of_several_tensors_is_that_of_their_sum_at_once():
    x = drawn(0, 2, grad=True)
    calls = []
    h = Exp.apply(x)
    h.register_hook(lambda g: calls.append(0))
    autograd.backward([(h * 2.0).sum(), h * h], [None, np.float64([1.0, 3.0])])
    np.testing.assert_allclose(x.grad.array, 2 * h.array + 2 * np.float64([1, 3]) * h.array**2)
    assert calls == [0]
    y = (x * x).sum()
    autograd.backward(y, retain_graph=True, inputs=x)
    autograd.backward((y, y), inputs=[x])
    np.testing.assert_allclose(x.grad.array, 2 * h.array + 2 * np.float64([1, 3]) * h.array**2 + 6 * x.array)


def test_wrong_backwards_are_refused():
    x = drawn(0, 2, grad=True)
    with pytest.raises(RuntimeError, match="backward: create_graph=True would tie each leaf's grad"):
        autograd.backward(x.sum(), create_graph=True)
    with pytest.raises(ValueError, match="backward: 1 grad_tensors for 2 tensors; there must be one for each"):
        autograd.backward([x.sum(), x.sum()], [None])
    with pytest.raises(ValueError, match="backward: inputs is empty"):
        autograd.backward(x.sum(), inputs=[])
    with pytest.raises(RuntimeError, match=r"backward: tensors\[1\] \(shape \(2,\)\) does not require grad"):
        autograd.backward([x.sum(), x.detach()])
    with pytest.raises(RuntimeError, match="backward: only one-element Tensors can start without a gradient"):
        autograd.backward([x.sum(), x])
    assert x.grad is None


# autograd.functional


def quadratic(x, y):
    return (x * x * y).sum()


def test_functional_has_the_derivatives_of_func_in_pytorchs_form():
    x, y, v = drawn(0, 2), drawn(1, 2), drawn(2, 2)
    np.testing.assert_allclose(functional.jacobian(tg.exp, x).array, np.diag(np.exp(x.array)))
    by_x, by_y = functional.jacobian(lambda x, y: x * y, (x, y))
    np.testing.assert_allclose(by_x.array, np.diag(y.array))
    np.testing.assert_allclose(by_y.array, np.diag(x.array))
    (xx, xy), (yx, yy) = functional.hessian(quadratic, (x, y))
    np.testing.assert_allclose(xx.array, np.diag(2 * y.array))
    np.testing.assert_allclose(xy.array, yx.array)
    assert not yy.array.any()
    assert functional.hessian(lambda x: (x * x).sum().reshape(1, 1), x).shape == (2, 2)
    out, g = functional.vjp(tg.exp, x, v)
    np.testing.assert_allclose((out.array, g.array), (np.exp(x.array), v.array * np.exp(x.array)))
    _, (gx, gy) = functional.vjp(quadratic, (x, y))
    np.testing.assert_allclose((gx.array, gy.array), (2 * x.array * y.array, x.array**2))
    _, moved = functional.jvp(lambda x, y: x * y, (x, y), (v, v))
    np.testing.assert_allclose(moved.array, v.array * (x.array + y.array))
    assert functional.jvp(lambda t: t * x, Tensor(np.float64(2.0)))[1].array.tolist() == x.array.tolist()
    value, (hx, hy) = functional.hvp(quadratic, (x, y), (v, v))
    np.testing.assert_allclose(value.array, quadratic(x, y).array)
    np.testing.assert_allclose(hx.array, 2 * v.array * (x.array + y.array))
    np.testing.assert_allclose(hy.array, 2 * v.array * x.array)
    np.testing.assert_allclose(functional.vhp(lambda x: quadratic(x, y), x, v)[1].array, 2 * v.array * y.array)


def test_functional_gives_constants_unless_a_graph_is_asked_for():
    x, v = drawn(0, 2, grad=True), drawn(1, 2)
    for f in (functional.vjp, functional.jvp, functional.hvp, functional.jacobian, functional.hessian):
        for create in (False, True):
            vectors = (v,) if f in (functional.vjp, functional.jvp, functional.hvp) else ()
            target = (lambda x: (x**3).sum()) if f in (functional.hvp, functional.hessian) else tg.exp
            found = f(target, x, *vectors, create_graph=create)
            found = found if isinstance(found, tuple) else (found,)
            assert [y.requires_grad for y in found] == [create] * len(found)
    assert x.grad is None


def test_functional_refuses_what_is_no_number():
    x = drawn(0, 2)
    with pytest.raises(RuntimeError, match=r"hessian: func gave shape \(2,\); one number is needed, as of \.sum"):
        functional.hessian(tg.exp, x)
    with pytest.raises(RuntimeError, match="hvp: func gave a float; one number is needed"):
        functional.hvp(lambda x: 1.0, x, x)
    with pytest.raises(RuntimeError, match=r"vjp: v may be left out for one number, this is shape \(2,\); pass a v"):
        functional.vjp(tg.exp, x)
    with pytest.raises(RuntimeError, match="vjp: v may be left out for one number, this is a tuple"):
        functional.vjp(lambda x: (x, x), x)


def test_functional_names_itself_where_v_does_not_fit():
    x, y = drawn(0, 2), drawn(1, 2)
    for inputs, v, error in [
        ((x, y), x, "hvp: v must have the form of the inputs: the trees differ: a tuple of 2 here, a tuple of 1 there"),
        (x, drawn(2, 3), r"hvp: v holds float64 \(3,\) for float64 \(2,\) in the inputs; shape and dtype must be"),
        (x, 1.0, r"hvp: v holds a float; a Tensor of shape \(2,\) is needed"),
    ]:
        with pytest.raises((TypeError, ValueError), match=error):
            functional.hvp(lambda *xs: (xs[0] ** 3).sum(), inputs, v)


def test_autograd_has_the_checks_without_importing_them_first():
    program = (
        "import sys, tinygrad_cnn as tg; tg.autograd.Function; assert 'tinygrad_cnn.testing' not in sys.modules; "
        "assert tg.autograd.gradcheck is tg.testing.gradcheck; assert tg.autograd.gradgradcheck"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        autograd.no_such_name


def test_grad_takes_pytorchs_arguments():
    x, unused = Tensor([1.0, 2.0], requires_grad=True), Tensor([[3.0]], requires_grad=True)
    y = (x * x).sum()
    first, zeros = tg.autograd.grad(y, [x, unused], only_inputs=True, retain_graph=True, materialize_grads=True)
    assert (first.tolist(), zeros.tolist(), zeros.shape) == ([2, 4], [[0]], (1, 1))
    assert tg.autograd.grad(y, [x, unused], None, True, False, True, True)[1] is None
    for options in ({"only_inputs": False}, {"is_grads_batched": True}):
        with pytest.raises(ValueError, match=rf"grad: {next(iter(options))}=(True|False) is not there; leave it out"):
            tg.autograd.grad(y, x, **options)
    with pytest.raises(ValueError, match="materialize_grads=True with allow_unused=False"):
        tg.autograd.grad(y, x, allow_unused=False, materialize_grads=True)
    with pytest.raises(RuntimeError, match="do not depend on inputs"):
        tg.autograd.grad(y, unused)


def test_a_function_gives_the_same_whether_or_not_it_is_watched_and_gradients_flow():
    x, y = (np.random.default_rng(seed).standard_normal(3) for seed in range(2))
    found = []
    for gradient, watched in itertools.product((False, True), repeat=2):
        with tg.watch() if watched else contextlib.nullcontext():
            sine, index, cosine, text, marked = SinCos.apply(tg.Tensor(x, requires_grad=gradient))
            product = ScaledProduct.apply(tg.Tensor(x), tg.Tensor(y, requires_grad=gradient), 3.0)
        found.append([t.numpy() for t in (sine, index, cosine, marked, product)])
        assert text == "text"
        assert {t.requires_grad for t in (sine, cosine, product)} == {gradient}
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


class ExpAndDouble(Function):
    """Saves one of its two outputs."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y, x * 2

    @staticmethod
    def backward(ctx, g, h):
        (y,) = ctx.saved_tensors
        return g * y + 2 * h


@pytest.mark.parametrize("create", [True, False])
def test_a_change_of_one_output_is_noticed_if_it_was_saved_and_is_none_of_the_others(create):
    for k, factor in ((0, 10.0), (1, 10.0)):
        x = drawn(0, 2, 3, grad=True)
        outs = ExpAndDouble.apply(x)
        square = outs[1 - k] * outs[1 - k]
        with tg.no_grad():
            outs[k].mul_(factor)
        if k == 0:
            with pytest.raises(
                RuntimeError, match=r"^ExpAndDouble: a saved Tensor of shape \(2, 3\) was changed in place"
            ):
                tg.grad(sum(outs).sum(), x, create_graph=create)
        else:
            (d,) = tg.grad(square.sum() + outs[1].sum(), x, create_graph=create)
            np.testing.assert_allclose(d.detach().numpy(), 2 * np.exp(2 * x.detach().numpy()) + 2, rtol=1e-12)


def test_a_function_with_the_name_of_an_op_is_not_taken_for_it():
    class exp(Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g

    x = drawn(0, 2, 3, grad=True)
    with tg.watch(values=True):
        y = exp.apply(x)
    assert str(tg.explain(y, (1, 2))).startswith(f"{__name__}.exp: ")
    assert tg.explain(y, (1, 2)).value == (x.numpy() * x.numpy())[1, 2]
    with pytest.raises(TypeError, match=rf"^to_numpy: the op {__name__}\.exp has no template"):
        tg.to_numpy(y.sum(), None, {"x": x})
    if importlib.util.find_spec("onnx"):
        with pytest.raises(tg.onnx.OnnxError, match=rf"^export: {__name__}\.exp: it has no translation into ONNX"):
            tg.onnx.export(exp.apply, np.ones((2, 3), np.float32))


def test_a_picture_tells_where_no_grad_cuts_a_function():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with tg.watch():
        with tg.no_grad():
            y = Exp.apply(x)
        z = y * x
    (cut,) = z.node.constants[0][1].cuts
    assert (cut.op, cut.why, cut.sources) == ("Exp", "no_grad", (x.node,))
