"""Graphs, state, threads: H120 to H129, H140 to H153."""

import contextlib
import copy
import threading
from typing import Any

import numpy as np
from libraries import Library, a

from hard_cases.asking import Question, better, once, plain, refused, twice


def _repeated(f: Any, x: Any, times: int) -> Any:
    for _ in range(times):
        x = f(x)
    return x


def _function(m: Library, backward: Any) -> Any:
    """x * 2 with a backward of its own."""

    class Double(m.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return backward(g)

    return Double


def _backward_twice(m: Library, x: Any) -> Any:
    y = x * x
    y.retain_grad()
    loss = (y * 3).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    return x.grad, y.grad


def _mode_of_another_thread(m: Library) -> Any:
    seen = []
    with m.no_grad():
        thread = threading.Thread(target=lambda: seen.append(m.is_grad_enabled()))
        thread.start()
        thread.join()
        return [*seen, m.is_grad_enabled()]


def _mode_after_an_exception(m: Library) -> Any:
    with contextlib.suppress(KeyError), m.no_grad():
        raise KeyError
    return m.is_grad_enabled()


def _memory_in_common(m: Library, x: Any, y: Any) -> Any:
    (x + y).sum().backward()
    return np.shares_memory(x.grad.numpy(), y.grad.numpy()), x.grad, y.grad


def _cotangent_afterwards(m: Library, x: Any, g: Any) -> Any:
    g = g.detach()
    (x + x).backward(g)
    return g, x.grad


def _change_what_is_kept(m: Library, x: Any) -> Any:
    kept = x * 1
    loss = (kept * kept).sum()
    kept.detach().add_(1)
    return m.grad(loss, x)


def _edit_behind_from_numpy(m: Library) -> Any:
    array = a(1, 1)
    x = m.from_numpy(array).requires_grad_()
    loss = (x * x).sum()
    array[0] = 100.0
    return m.grad(loss, x)


def _tensor_of_an_edited_array(m: Library) -> Any:
    array = a(1, 2)
    x = m.tensor(array)
    array[0] = 100.0
    return x


def _edit_data(m: Library, x: Any) -> Any:
    loss = (x * x).sum()
    x.data[0] = 100.0
    return m.grad(loss, x)


def _boom(m: Library, x: Any, y: Any) -> Any:
    """What the exception says, and both gradients after it."""

    def raising(g: Any) -> Any:
        raise ValueError("boom")

    loss = (_function(m, raising).apply(x) + y * 3).sum()
    try:
        loss.backward()
    except ValueError as error:
        return str(error), x.grad, y.grad
    return "no exception"


QUESTIONS: dict[str, Question] = {
    **twice(
        {
            "H143 a diamond": (lambda m, x: (x * 2) * (x + 1) + x, a(1, 2)),
            "H143 a shared part": (lambda m, x: (y := x * x) * y + y.sum(), a(1, 2)),
        }
    ),
    **once(
        {
            "H142 sixty doublings": (lambda m, x: _repeated(lambda y: y + y, x, 60), a(1)),
        }
    ),
    **plain(
        {
            "H124 retained, backward twice": (_backward_twice, a(1, 2)),
            "H126 backward of a leaf": (lambda m, x: [x.backward(), x.grad], np.float64(3)),
            "H140 a chain of ten thousand": (lambda m, x: m.grad(_repeated(lambda y: y + 1, x, 10_000).sum(), x), a(1)),
            "H141 two thousand children": (lambda m, x: m.grad(sum((x * i for i in range(2000)), x), x), np.float64(1)),
            "H143 several results and an unused one": (
                lambda m, x: [x * 3, *m.grad([(x * 3).sum(), (x * x).sum()], x)],
                a(1, 2),
            ),
            "H143 an unused input": (lambda m, x, y: m.grad(x.sum(), [x, y], allow_unused=True), a(1, 2), a(3)),
            "H144 another thread's mode": (_mode_of_another_thread,),
            "H144 an exception out of no_grad": (_mode_after_an_exception,),
            "H144 detach": (lambda m, x: m.grad((x * x.detach()).sum(), x), a(2, 3)),
            "H121 tensor() copies": (_tensor_of_an_edited_array,),
            "H149 no memory in common": (_memory_in_common, a(1, 2), a(3, 4)),
            "H150 the cotangent stays": (_cotangent_afterwards, a(1, 2), a(3, 4)),
            "H151 a copied leaf": (lambda m, x: [(y := copy.deepcopy(x)), y.requires_grad, y is x], a(1, 2)),
        }
    ),
    **refused(
        {
            "H120 a kept value is changed": (RuntimeError, _change_what_is_kept, a(1, 2)),
            "H123 a leaf is changed": (RuntimeError, lambda m, x: x.add_(1), a(1, 2)),
            "H124 backward twice": (
                RuntimeError,
                lambda m, x: [(y := (x * x).sum()).backward(), y.backward()],
                a(1, 2),
            ),
            "H125 a result of two numbers": (RuntimeError, lambda m, x: (x * 2).backward(), a(1, 2)),
            "H125 a cotangent of another shape": (
                ValueError,
                lambda m, x: (x * 2).backward(m.constant(a(1, 2, 3))),
                a(1, 2),
            ),
            "H125 nothing requires a gradient": (RuntimeError, lambda m, x: x.detach().sum().backward(), a(1, 2)),
            "H128 a gradient of another shape": (
                ValueError,
                lambda m, x: _function(m, lambda g: g[:1]).apply(x).sum().backward(),
                a(1, 2),
            ),
            "H128 two gradients for one input": (
                RuntimeError,
                lambda m, x: _function(m, lambda g: (g, g)).apply(x).sum().backward(),
                a(1, 2),
            ),
            "H151 a copied result": (RuntimeError, lambda m, x: copy.deepcopy(x * 2), a(1, 2)),
        }
    ),
    **better(
        {
            "H121 the array behind from_numpy is edited": ([a(2, 2)], _edit_behind_from_numpy),
            "H122 data is edited": (RuntimeError, _edit_data, a(1, 1)),
            "H122 numpy() of what requires a gradient": (
                [np.array(False)],
                lambda m, x: x.numpy().flags.writeable,
                a(1, 2),
            ),
            "H127 an exception half-way through backward": (["boom", "None", "None"], _boom, a(3), a(2)),
        }
    ),
}
