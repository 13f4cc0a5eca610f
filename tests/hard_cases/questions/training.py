"""Norms, dropout, optimizers: H111 to H119, H130 to H135."""

import contextlib
from typing import Any

import numpy as np
from libraries import Library, a, values

from hard_cases.asking import Question, better, drawn, once, plain, refused

inf, nan = np.inf, np.nan

X = a([1, 2, 3], [0, 1, -1])


def _leaf(m: Library, x: Any) -> Any:
    return x.requires_grad_()


def _running(m: Library, x: Any, training: bool = True) -> Any:
    """The running statistics that began at 0 and 1, after x."""
    mean, var = m.constant(a(0)), m.constant(a(1))
    m.F.batch_norm(x, mean, var, training=training, momentum=0.1)
    return mean, var


def _running_without_grad(m: Library, x: Any) -> Any:
    with m.no_grad():
        return _running(m, x)


def _cumulative(m: Library, x: Any) -> Any:
    norm = m.nn.BatchNorm1d(1, momentum=None)
    norm(x[:2])
    norm(x * x)
    return norm.running_mean, norm.running_var, norm.num_batches_tracked


def _stepped(name: str, **options: Any) -> Any:
    """The parameter after two steps with the same gradient."""

    def ask(m: Library, x: Any, g: Any) -> Any:
        p = m.nn.Parameter(x.detach())
        optimizer = getattr(m.optim, name)([p], **options)
        for _ in range(2):
            p.grad = g.detach()
            optimizer.step()
        return p

    return ask


def _unmoved(name: str, **options: Any) -> Any:
    """The parameter after a step without a gradient, and how many have a state."""

    def ask(m: Library, x: Any) -> Any:
        p = m.nn.Parameter(x.detach())
        optimizer = getattr(m.optim, name)([p], **options)
        optimizer.step()
        return p, len(optimizer.state_dict()["state"])

    return ask


def _clipped(m: Library, g: Any, **options: Any) -> Any:
    """The norm that is returned, and the gradient afterwards."""
    p = m.nn.Parameter(m.constant(a(0, 0)))
    p.grad = g.detach()
    return m.nn.utils.clip_grad_norm_([p], 1.0, **options), p.grad


def _loaded(weight: tuple[int, ...], bias: tuple[int, ...]) -> Any:
    """Whether the weight of a layer is that of the state afterwards."""

    def ask(m: Library, _: Any) -> Any:
        layer = m.nn.Linear(2, 1)
        state = {"weight": m.constant(np.full(weight, 9, np.float32)), "bias": m.constant(np.zeros(bias, np.float32))}
        with contextlib.suppress(Exception):
            layer.load_state_dict(state)
        return bool((values(layer.weight) == 9).all())

    return ask


QUESTIONS: dict[str, Question] = {
    **once(
        {
            "H112 no variance": (
                lambda m, x, w, b: m.F.batch_norm(x, None, None, w, b, training=True),
                np.full((3, 2, 2), 5.0),
                a(2, 3),
                a(-1, 1),
            ),
            "H114 evaluation with a running variance of 0": (
                lambda m, x: m.F.batch_norm(x, m.constant(a(0)), m.constant(a(0))),
                np.ones((1, 1, 1, 1)),
            ),
            "H117 layer_norm of one value": (lambda m, x, b: m.F.layer_norm(x, (1,), None, b), a([3], [nan]), a(2)),
            "H117 group_norm of single values": (lambda m, x: m.F.group_norm(x, 3), drawn(0, 2, 3)),
            "H118 p 0": (lambda m, x: m.F.dropout(x, 0.0), a(1, inf)),
            "H118 p 1": (lambda m, x: m.F.dropout(x, 1.0), a(1, 2)),
            "H119 evaluation": (lambda m, x: m.F.dropout(x, 0.5, training=False), a(1, 2)),
        }
    ),
    **plain(
        {
            "H113 statistics of 0 and 2": (_running, a([0], [2])),
            "H113 statistics of images": (_running, drawn(0, 3, 1, 2, 2)),
            "H114 momentum None averages over the batches": (_cumulative, a([1], [2], [3], [4]).astype(np.float32)),
            "H114 no images leave the statistics": (_running, np.zeros((0, 1, 2, 2))),
            "H116 evaluation leaves the statistics": (lambda m, x: _running(m, x, training=False), a([0], [2])),
            "H116 training under no_grad moves them": (_running_without_grad, a([0], [2])),
            "H130 SGD with a nan": (_stepped("SGD", lr=0.1), a(1, 1), a(nan, 1)),
            "H130 SGD with momentum and a nan": (_stepped("SGD", lr=0.1, momentum=0.9), a(1, 1), a(nan, 1)),
            "H130 Adam with a nan": (_stepped("Adam", lr=0.1), a(1, 1), a(nan, 1)),
            "H130 AdamW with a nan": (_stepped("AdamW", lr=0.1), a(1, 1), a(1, nan)),
            "H130 RMSprop with a nan": (_stepped("RMSprop", lr=0.1), a(1, 1), a(1, nan)),
            "H132 SGD without a gradient": (_unmoved("SGD", lr=0.1, weight_decay=0.5), a(1, 2)),
            "H132 Adam without a gradient": (_unmoved("Adam", lr=0.1, weight_decay=0.5), a(1, 2)),
            "H133 a gradient with inf": (_clipped, a(3, inf)),
            "H133 a gradient with nan": (_clipped, a(3, nan)),
            "H133 a gradient of zeros": (_clipped, a(0, 0)),
            "H133 no gradients": (lambda m: m.nn.utils.clip_grad_norm_([], 1.0),),
            "H135 a state that fits": (_loaded((1, 2), (1,)), np.zeros(0)),
        }
    ),
    **refused(
        {
            "H111 one value per channel": (
                ValueError,
                lambda m, x: m.F.batch_norm(x, None, None, training=True),
                a([1, 2]),
            ),
            "H112 eps 0": (ValueError, lambda m, x: m.F.batch_norm(x, None, None, training=True, eps=0.0), X),
            "H117 channels that the groups do not divide": (
                ValueError,
                lambda m, x: m.F.group_norm(x, 2),
                np.ones((2, 3)),
            ),
            "H118 p > 1": (ValueError, lambda m, x: m.F.dropout(x, 1.1), X),
            "H118 p < 0": (ValueError, lambda m, x: m.F.dropout(x, -0.1), X),
            "H118 p nan": (ValueError, lambda m, x: m.F.dropout(x, nan), X),
            "H118 Dropout of p 1.5": (ValueError, lambda m: m.nn.Dropout(1.5)),
            "H131 a negative lr": (ValueError, lambda m, x: m.optim.SGD([_leaf(m, x)], lr=-1.0), X),
            "H131 nesterov alone": (ValueError, lambda m, x: m.optim.SGD([_leaf(m, x)], lr=1.0, nesterov=True), X),
            "H131 a beta of 1": (ValueError, lambda m, x: m.optim.Adam([_leaf(m, x)], betas=(1.0, 0.9)), X),
            "H131 a negative eps": (ValueError, lambda m, x: m.optim.AdamW([_leaf(m, x)], eps=-1.0), X),
            "H131 no parameters": (ValueError, lambda m, x: m.optim.Adam([]), X),
            "H131 a negative weight_decay": (
                ValueError,
                lambda m, x: m.optim.Adam([_leaf(m, x)], weight_decay=-1.0),
                X,
            ),
            "H131 a negative momentum": (ValueError, lambda m, x: m.optim.SGD([_leaf(m, x)], lr=1.0, momentum=-1.0), X),
            "H131 a parameter of two groups": (
                ValueError,
                lambda m, x: m.optim.SGD([{"params": [x]}, {"params": [x]}], lr=1.0),
                X,
            ),
            "H131 a result for a parameter": (ValueError, lambda m, x: m.optim.SGD([x * 2], lr=1.0), X),
            "H133 error_if_nonfinite": (RuntimeError, lambda m, x: _clipped(m, x, error_if_nonfinite=True), a(1, nan)),
        }
    ),
    **better(
        {
            "H115 a large mean in single precision": (
                [((np.arange(4.0) - 1.5) / np.sqrt(1.25 + 1e-5))[:, None].astype(np.float32)],
                lambda m, x: m.F.batch_norm(x, None, None, training=True),
                (1e4 + np.arange(4.0, dtype=np.float32))[:, None],
            ),
            "H118 p 1 of inf and nan": ([a(0, 0, 0)], lambda m, x: m.F.dropout(x, 1.0), a(inf, nan, 1)),
            "H135 a state in which one part does not fit": ([np.array(False)], _loaded((1, 2), (3,)), np.zeros(0)),
        }
    ),
}
