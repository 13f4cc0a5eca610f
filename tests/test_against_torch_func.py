"""func, autograd.Function, autograd.functional and checkpoint give what PyTorch's give, on generated programs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

from torch.utils import checkpoint as checkpoints  # noqa: E402
from torch_problems import BOTH, OURS, THEIRS, values  # noqa: E402

import tinygrad_cnn as tg  # noqa: E402

# PyTorch's own jvp calls it.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

STEPS = [
    lambda m, x, w: m.sin(x) * w,
    lambda m, x, w: x @ w.T,
    lambda m, x, w: m.exp(x * 0.3) + w,
    lambda m, x, w: m.tanh(x) - x * x,
    lambda m, x, w: m.softmax(x, -1) * 2.0,
    lambda m, x, w: m.sigmoid(x + w),
]
programs = st.lists(st.integers(0, len(STEPS) - 1), min_size=1, max_size=4)
seeds = st.integers(0, 2**16)


def program(m: Any, kinds: list[int]) -> Any:
    def f(x: Any, w: Any) -> Any:
        for kind in kinds:
            x = STEPS[kind](m, x, w)
        return x

    return f


def numbers(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape)


def flat(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [a for key in sorted(tree) for a in flat(tree[key])]
    return [a for part in tree for a in flat(part)] if isinstance(tree, (tuple, list)) else [values(tree)]


def agree(run: Any) -> None:
    ours, theirs = (flat(run(m)) for m in BOTH)
    assert [a.shape for a in ours] == [a.shape for a in theirs]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@given(programs, seeds)
@settings(max_examples=20)
def test_every_transform_gives_what_torch_func_gives(kinds: list[int], seed: int) -> None:
    arrays = numbers(seed, 3, 3), numbers(seed + 1, 3, 3)

    def run(m: Any) -> Any:
        f, args = program(m, kinds), tuple(map(m.constant, arrays))
        v = tuple(map(m.constant, (numbers(seed + 2, 3, 3), numbers(seed + 3, 3, 3))))

        def loss(x: Any, w: Any) -> Any:
            return (f(x, w) ** 2).sum()

        out, pullback = m.func.vjp(f, *args)
        found = [out, pullback(v[0]), m.func.jvp(f, args, v)]
        found += [m.func.grad(loss, 1)(*args)]
        found += [m.func.jacrev(f, (0, 1))(*args), m.func.jacfwd(f, 1)(*args), m.func.hessian(loss, (0, 1))(*args)]
        return [*found, m.func.jvp(m.func.grad(loss), args, v)]

    agree(run)
    f = program(OURS, kinds)
    args = tuple(map(OURS.constant, arrays))
    v = (OURS.constant(numbers(seed + 2, 3, 3)), OURS.constant(numbers(seed + 3, 3, 3)))
    ours = tg.func.hvp(lambda x, w: (f(x, w) ** 2).sum(), args, v)
    g = program(THEIRS, kinds)
    theirs = torch.autograd.functional.hvp(
        lambda x, w: (g(x, w) ** 2).sum(),
        tuple(map(THEIRS.constant, arrays)),
        tuple(torch.tensor(values(t)) for t in v),
    )[1]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(values(a), values(b), rtol=1e-9, atol=1e-11)


def test_trees_has_aux_and_argnums_are_read_alike() -> None:
    def run(m: Any) -> Any:
        p = {"w": m.constant(numbers(0, 2, 3)), "b": [m.constant(numbers(1, 2))]}
        x = m.constant(numbers(2, 3))

        def f(p: Any, x: Any) -> Any:
            y = m.tanh(p["w"] @ x + p["b"][0])
            return y.sum(), {"y": y}

        def several(p: Any, x: Any) -> Any:
            y, aux = f(p, x)
            return {"sum": y, "y": aux["y"]}, y * 2.0

        both = m.func.grad_and_value if m is THEIRS else m.func.value_and_grad
        first = both(f, has_aux=True)(p, x)
        gradient, (value, aux) = first if m is THEIRS else (first[1], first[0])
        out, pullback, more = m.func.vjp(several, p, x, has_aux=True)
        found = [gradient, value, aux, m.func.grad(f, (1,), has_aux=True)(p, x), m.func.grad(f, -1, has_aux=True)(p, x)]
        found += [out, more, pullback(out), m.func.jacrev(several, has_aux=True)(p, x)]
        return [*found, m.func.jvp(several, (p, x), (p, x), has_aux=True)]

    agree(run)


def test_functional_call_is_read_alike() -> None:
    def run(m: Any) -> Any:
        net = (
            m.nn.Sequential(m.nn.Conv2d(2, 3, 2), m.nn.BatchNorm2d(3), m.nn.Flatten(), m.nn.Linear(12, 2))
            .double()
            .eval()
        )
        shapes = {k: tuple(p.shape) for k, p in net.named_parameters()}
        params = {k: m.constant(numbers(i, *shape)) for i, (k, shape) in enumerate(shapes.items())}
        x = m.constant(numbers(9, 4, 2, 3, 3))

        def loss(params: Any) -> Any:
            return (m.func.functional_call(net, params, (x,)) ** 2).sum()

        return [m.func.grad(loss)(params), loss(params)]

    agree(run)


@given(programs, seeds)
@settings(max_examples=10)
def test_a_function_with_its_own_backward_is_written_alike(kinds: list[int], seed: int) -> None:
    def run(m: Any) -> Any:
        function = m.autograd.Function
        once = m.autograd.once_differentiable if m is OURS else torch.autograd.function.once_differentiable

        class Mixed(function):
            @staticmethod
            def forward(ctx: Any, x: Any, w: Any, k: float) -> Any:
                y = m.exp(x * k)
                ctx.save_for_backward(x, y, w)
                ctx.k = k
                return y * w, y

            @staticmethod
            def backward(ctx: Any, a: Any, b: Any) -> Any:
                _, y, w = ctx.saved_tensors
                return (a * w + b) * y * ctx.k, a * y, None

        class Once(function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            @once
            def backward(ctx: Any, g: Any) -> Any:
                (x,) = ctx.saved_tensors
                return g * x * 2.0

        x, w = m.leaf(numbers(seed, 3, 3)), m.leaf(numbers(seed + 1, 3, 3))
        a, b = Mixed.apply(program(m, kinds)(x, w), w, 0.7)
        first = m.grad((a * b * b).sum(), [x, w], create_graph=True)
        second = m.grad(sum((g * g).sum() for g in first), [x, w], retain_graph=True)
        m.autograd.backward([Once.apply(a).sum(), b], [None, m.constant(numbers(seed + 2, 3, 3))])
        return [a, b, *first, *second, x.grad, w.grad]

    agree(run)


@given(programs, seeds)
@settings(max_examples=10)
def test_autograd_functional_is_read_alike(kinds: list[int], seed: int) -> None:
    def run(m: Any) -> Any:
        f, args = program(m, kinds), tuple(m.constant(numbers(seed + k, 2, 2)) for k in range(2))
        v, F = tuple(m.constant(numbers(seed + k, 2, 2)) for k in (2, 3)), m.autograd.functional

        def loss(x: Any, w: Any) -> Any:
            return (f(x, w) ** 2).sum()

        one = lambda x: loss(x, x)  # noqa: E731
        found = [F.jacobian(f, args), F.hessian(loss, args), F.hessian(one, args[0]), F.vjp(f, args, v[0])]
        found += [F.vjp(loss, args), F.jvp(f, args, v), F.hvp(loss, args, v), F.vhp(loss, args, v)]
        return [*found, F.hvp(one, args[0], v[0]), F.vjp(one, args[0])]

    agree(run)


@given(programs, seeds, st.integers(1, 3))
@settings(max_examples=10)
def test_checkpoints_are_read_alike(kinds: list[int], seed: int, segments: int) -> None:
    def run(m: Any) -> Any:
        checkpoint = m.checkpoint if m is OURS else checkpoints.checkpoint
        sequential = m.checkpoint_sequential if m is OURS else checkpoints.checkpoint_sequential
        x, w = m.leaf(numbers(seed, 3, 3)), m.leaf(numbers(seed + 1, 3, 3))
        y = checkpoint(program(m, kinds), x, w, use_reentrant=False, preserve_rng_state=True)
        steps = [lambda h, k=k: STEPS[k](m, h, w) for k in (*kinds, 0, 3)]
        y = sequential(steps, segments, y, use_reentrant=False)
        first = m.grad((y * y).sum(), [x, w], create_graph=True)
        sum((g * g).sum() for g in first).backward()
        return [y, *first, x.grad, w.grad]

    agree(run)


def test_modes_are_read_alike() -> None:
    def run(m: Any) -> list[bool]:
        x, seen = m.leaf(numbers(0, 2)), []

        def note() -> None:
            seen.append((x * 2.0).requires_grad)

        with m.inference_mode():
            note()
        m.inference_mode()(note)()
        with m.set_grad_enabled(False):
            note()
            with m.set_grad_enabled(True):
                note()
            note()
        m.set_grad_enabled(False)
        note()
        m.set_grad_enabled(True)
        m.set_grad_enabled(False)(note)()
        note()
        return seen

    assert run(OURS) == run(THEIRS)
