"""Products and convolutions cost, forward and backward, what PyTorch's FLOP counter says.

It counts nothing else, and no bias.
"""

from math import prod
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is the reference of this file")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import tinygrad_cnn as tg  # noqa: E402
from tinygrad_cnn.declaration import registry  # noqa: E402
from tinygrad_cnn.flops import flops_of  # noqa: E402
from tinygrad_cnn.testing import Draw  # noqa: E402
from tinygrad_cnn.testing.samples import sample  # noqa: E402

COUNTED = ["conv2d", "conv_transpose2d", "linear", "matmul", "conv2d_input_grad", "conv2d_weight_grad"]
SEEDS = range(20)


def steps(root: Any) -> set[Any]:
    """The Nodes that lead to a Tensor, without the leaves."""
    seen, stack = set(), [root.node]
    while stack:
        node = stack.pop()
        if node.plan is not None and node not in seen:
            seen.add(node)
            stack.extend(node.parents)
    return seen


def ours(f: Any, arrays: Any) -> tuple[int, int]:
    """(FLOPs of the recorded forward, those of the recorded backward) in the ops that PyTorch counts."""
    leaves = [tg.Tensor(a, requires_grad=True) for a in arrays]
    out = f(tg, *leaves)
    forward = steps(out)
    g = tg.Tensor(np.ones(out.shape), requires_grad=True)
    both = set().union(*map(steps, tg.grad(out, leaves, g, create_graph=True)))
    counts = [sum(flops_of(n) or 0 for n in nodes if n.plan.op.name in COUNTED) for nodes in (forward, both - forward)]
    return counts[0], counts[1]


def theirs(f: Any, arrays: Any) -> tuple[int, int]:
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    with FlopCounterMode(display=False) as forward:
        out = f(torch, *leaves)
    with FlopCounterMode(display=False) as backward:
        out.backward(torch.ones_like(out))
    return forward.get_total_flops(), backward.get_total_flops()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_convolutions(name: str, seed: int) -> None:
    arrays, params = sample(registry[name], Draw.seeded(seed))
    options = {key: value for key, value in params.items() if key != "padding" or name == "conv_transpose2d"}
    found = ours(f := lambda m, *a: getattr(m.nn.functional, name)(*a, **options), arrays)
    forward, backward = theirs(f, arrays)
    bias = found[0] - forward
    assert bias == (prod(f(tg, *map(tg.Tensor, arrays)).shape) if len(arrays) == 3 else 0)
    # With output_padding our rule computes a row more than x has, and drops it.
    assert found[1] == 2 * forward or (any(params.get("output_padding", ())) and found[1] > 2 * forward)
    # PyTorch counts the weight's gradient as if there were one group.
    assert backward == 2 * forward or params["groups"] > 1


@pytest.mark.parametrize("seed", SEEDS)
def test_linear(seed: int) -> None:
    (x, w, *_), _ = sample(registry["linear"], Draw.seeded(seed))
    assert ours(f := lambda m, x, w: m.nn.functional.linear(x, w), [x, w]) == theirs(f, [x, w])


@pytest.mark.parametrize(
    ("x", "y"),
    [((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((2, 0), (0, 3))],
)
def test_products_of_matrices(x: Any, y: Any) -> None:  # those of vectors PyTorch leaves out
    arrays = [np.ones(x), np.ones(y)]
    assert ours(f := lambda m, x, y: x @ y, arrays) == theirs(f, arrays)
