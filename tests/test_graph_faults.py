"""A backward that fails, or is interrupted, at any place changes no gradient (H127 to H129)."""

import gc
import signal
import threading

import numpy as np
import pytest

from tinygrad_cnn import Tensor, grad, no_grad, op
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.ops.conv import conv2d
from tinygrad_cnn.ops.elementwise import exp, relu
from tinygrad_cnn.ops.layout import cat
from tinygrad_cnn.ops.matmul import linear
from tinygrad_cnn.ops.pool import max_pool2d


@pytest.fixture(autouse=True)
def _ops_declared_here_are_forgotten():
    known = dict(registry)
    yield
    registry.clear()
    registry.update(known)


class Network:
    """Convolution, pooling, a branch, a shared weight and a linear layer: fourteen nodes above five leaves."""

    def __init__(self):
        draw = np.random.default_rng(0)
        shapes = {"x": (2, 2, 5, 6), "w": (3, 2, 2, 3), "b": (3,), "m": (2, 12), "c": (2,)}
        self.leaves = {name: Tensor(draw.normal(size=shape), requires_grad=True) for name, shape in shapes.items()}

    def nodes(self):
        """Every Tensor of a fresh graph, leaves first, loss last."""
        x, w, b, m, c = self.leaves.values()
        made = list(self.leaves.values())

        def keep(t):
            made.append(t)
            return t

        h = keep(conv2d(x, w, b))
        h = keep(relu(h))
        h = keep(max_pool2d(h, 2))
        h = keep(h.reshape(2, 12))
        left, right = keep(exp(h * 0.1)), keep(h * m[0])
        h = keep(left - right)
        y = keep(linear(h, m, c))
        z = keep(cat([y, y * c], 1))
        keep((z * z).mean())
        return made

    def bytes(self):
        return [None if t.grad is None else t.grad.array.tobytes() for t in self.leaves.values()]


def test_H127_an_exception_at_any_node_leaves_every_grad_and_the_next_backward_is_right():
    net = Network()
    want = [g.array.tobytes() for g in grad(net.nodes()[-1], list(net.leaves.values()))]
    first = net.nodes()[-1]
    first.backward()
    assert net.bytes() == want
    net.leaves["c"].grad = None
    before = net.bytes()
    count = len(net.nodes())
    for k in range(count):
        made = net.nodes()

        def fail(g):
            raise ArithmeticError("injected")

        hook = made[k].register_hook(fail)
        with pytest.raises(ArithmeticError, match="injected"):
            made[-1].backward()
        assert net.bytes() == before
        with pytest.raises((ArithmeticError, RuntimeError), match=r"injected|freed"):
            made[-1].backward()
        assert net.bytes() == before
        hook.remove()
        again = net.nodes()
        got = grad(again[-1], list(net.leaves.values()))
        assert [g.array.tobytes() for g in got] == want
    assert count == 15


def test_H127_with_retain_graph_the_graph_that_failed_can_be_used_again():
    net = Network()
    want = [g.array.tobytes() for g in grad(net.nodes()[-1], list(net.leaves.values()))]
    made = net.nodes()
    for t in made:

        def fail(g):
            raise ArithmeticError("injected")

        with t.register_hook(fail), pytest.raises(ArithmeticError):
            made[-1].backward(retain_graph=True)
        assert net.bytes() == [None] * 5
    made[-1].backward()
    assert net.bytes() == want


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError, SystemExit])
def test_H127_H129_an_exception_in_any_rule_leaves_every_grad(error):
    countdown = [0]

    @op
    def step(x, w, /):
        return x * w

    def rule(g, other):
        countdown[0] -= 1
        if countdown[0] == 0:
            raise error
        return g * other

    step.vjp(x=lambda g, w: rule(g, w), w=lambda g, x: rule(g, x))
    ws = [Tensor([1.0 + i], requires_grad=True, dtype=np.float64) for i in range(5)]

    def loss():
        y = ws[0]
        for w in ws:
            y = step(y, w)
        return y

    loss().backward()
    before = [w.grad.array.tobytes() for w in ws]
    for k in range(1, 11):
        countdown[0] = k
        with pytest.raises(error):
            loss().backward()
        assert [w.grad.array.tobytes() for w in ws] == before
    loss().backward()
    assert [w.grad.array.tobytes() for w in ws] == [np.array([2 * np.frombuffer(b)[0]]).tobytes() for b in before]


def test_H127_the_error_says_in_which_ops_gradient_it_happened():
    @op
    def broken(x, /):
        return x * 1.0

    broken.vjp(x=lambda g, x_shape: g.reshape(7))
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(ValueError, match="reshape") as caught:
        broken(x).sum().backward()
    assert caught.value.__notes__ == ["in the gradient of broken, whose output has shape (2, 3)"]


def test_H127_a_failing_forward_says_in_which_call_and_records_nothing():
    @op
    def picky(x, /, limit):
        raise ValueError("no")

    picky.vjp(x=lambda g: g)
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    with pytest.raises(ValueError, match=r"^no\n") as caught:
        picky(x, limit=3)
    assert caught.value.__notes__ == ["in picky(x: float32(2, 3), limit=3)"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")
def test_H129_an_interrupt_at_any_moment_leaves_all_gradients_or_none():
    xs = [Tensor(np.ones(2), requires_grad=True) for _ in range(40)]
    done = interrupted = 0

    def raise_interrupt(*_):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, raise_interrupt)
    delays = np.random.default_rng(0).uniform(2e-5, 1.5e-3, 300)
    gc.disable()  # an interrupt inside somebody's callback on collections would be reported, not raised
    try:
        for delay in delays:
            try:
                total = xs[0] * 0.0
                for x in xs:
                    total = total + x * 2.0
                signal.setitimer(signal.ITIMER_REAL, float(delay))
                total.sum().backward()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            grads = {None if x.grad is None else x.grad.array[0] for x in xs[1:]}
            assert len(grads) == 1
            done += grads != {None}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        gc.enable()
    for x in xs:
        x.grad = None
    sum((x * 1.0 for x in xs), start=xs[0] * 0.0).sum().backward()
    assert all(x.grad.tolist() == [1.0, 1.0] for x in xs)
    assert interrupted > 0


def test_H129_an_interrupt_in_the_forward_leaves_the_leaves_as_they_were():
    @op
    def stop(x, /):
        raise KeyboardInterrupt

    stop.vjp(x=lambda g: g)
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(KeyboardInterrupt):
        stop(x * 2.0)
    (x * 2.0).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_H127_a_failure_in_one_thread_does_not_keep_the_others_waiting():
    x = Tensor([1.0], requires_grad=True)
    y = x * 2.0
    y.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        y.backward()
    thread = threading.Thread(target=lambda: (x * 3.0).backward())
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert x.grad.tolist() == [3.0]


# Rules of users' ops that return something else (H128)


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (lambda g: None, TypeError, "wrong: its gradient rule for 'x' returned a NoneType; an array is needed"),
        (lambda g: [1.0, 2.0], TypeError, "wrong: its gradient rule for 'x' returned a list"),
        (lambda g: 1.0, TypeError, "wrong: its gradient rule for 'x' returned a float"),
        (lambda g: (g, g), TypeError, "wrong: its gradient rule for 'x' returned a tuple"),
        (lambda g: np.ones((2, 3), np.int64), TypeError, "wrong: its gradient rule for 'x' returned int64; float64 is"),
        (
            lambda g: np.ones((2, 3), bool),
            TypeError,
            "wrong: its gradient rule for 'x' returned bool; float64 is needed",
        ),
        (lambda g: np.ones((2, 3), complex), TypeError, "wrong: its gradient rule for 'x' returned complex128"),
        (lambda g: np.ones((3, 2)), ValueError, r"wrong: its gradient rule for 'x' returned shape \(3, 2\);.*\(2, 3\)"),
        (lambda g: np.ones(3), ValueError, r"wrong: its gradient rule for 'x' returned shape \(3,\);.*shape \(2, 3\)"),
        (lambda g: np.float64(1.0), ValueError, r"wrong: its gradient rule for 'x' returned shape \(\)"),
        (lambda g: np.ones((4, 2, 3)), ValueError, r"wrong: its gradient rule for 'x' returned shape \(4, 2, 3\)"),
    ],
)
def test_H128_a_rules_wrong_result_is_named_with_op_and_input(result, error, message):
    @op
    def wrong(y, x, /):
        return x * y

    wrong.vjp(y=lambda g, x: g * x, x=result)
    x, y = Tensor(np.ones((2, 3)), requires_grad=True), Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(error, match=message):
        wrong(y, x).sum().backward()
    assert x.grad is None
    assert y.grad is None


def test_H128_only_a_broadcasting_op_may_return_the_gradient_of_a_stretched_input():
    @op(broadcast=True)
    def scaled(x, y, /):
        return x * y

    scaled.vjp(x=lambda g, y: g * y, y=lambda g, x: g * x)
    x, y = Tensor(np.ones((2, 1)), requires_grad=True), Tensor(np.arange(3.0), requires_grad=True)
    scaled(x, y).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([[3.0], [3.0]], [2.0, 2.0, 2.0])

    @op(broadcast=True)
    def odd(x, y, /):
        return x * y

    odd.vjp(x=lambda g: np.ones((3, 1)), y=lambda g: np.ones(1))
    for wanted in (x, y):
        with pytest.raises(ValueError, match=r"odd: its gradient rule for '[xy]' returned shape \(\d,( 1)?\)"):
            grad(odd(x, y).sum(), wanted)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda g: g, "both: its joint rule must return 2 gradients, one per input, not ndarray"),
        (lambda g: (g,), "both: its joint rule must return 2 gradients, one per input, not 1"),
        (lambda g: (g, g, g), "both: its joint rule must return 2 gradients, one per input, not 3"),
        (lambda g: None, "both: its joint rule must return 2 gradients, one per input, not NoneType"),
        (lambda g: (g, None), "both: its gradient rule for 'y' returned a NoneType; an array is needed"),
    ],
)
def test_H128_a_joint_rule_returns_one_gradient_for_every_input(result, message):
    @op
    def both(x, y, /):
        return x * y

    both.vjp_all(result)
    x, y = Tensor([1.0], requires_grad=True), Tensor([2.0], requires_grad=True)
    with pytest.raises(TypeError, match=message):
        both(x, y).backward()
    assert x.grad is None


def test_H128_another_float_dtype_is_converted_to_the_inputs():
    @op
    def wide(x, /):
        return x * 2.0

    wide.vjp(x=lambda g: g.astype(np.float64) * 2.0)
    x = Tensor([1.0, 2.0], requires_grad=True)
    wide(x).sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (np.float32, [2.0, 2.0])


def test_a_training_step_after_a_failed_one_is_that_of_an_undisturbed_run():
    def train(disturb):
        net = Network()
        for step in range(6):
            made = net.nodes()
            if disturb and step in (1, 3):
                made[8].register_hook(lambda g: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    made[-1].backward()
                made = net.nodes()
            made[-1].backward()
            with no_grad():
                for p in net.leaves.values():
                    p -= 0.01 * p.grad
            for p in net.leaves.values():
                p.grad = None
        return [p.array.tobytes() for p in net.leaves.values()]

    assert train(disturb=True) == train(disturb=False)
