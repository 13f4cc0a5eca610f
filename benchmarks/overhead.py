"""What one recorded operation costs: microseconds per op, forward and backward, of a chain of small ops.

    python benchmarks/overhead.py [--warmup 30] [--rounds 15] [--json FILE]

The chain is 200 elementwise ops on three elements, so that the time is the engine's and not the arithmetic's. Ours
and every installed peer run in turn in one process, one thread each, and must agree in both gradients to 1e-3; the
ratio of medians is what counts. JAX is not compiled here: its jit would make one op of the chain.
"""

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from sides import limited, parser_of, write

import tinygrad_cnn as tg
from tinygrad_cnn.bench import Side, Timing, add_timing, agree, alternate, machine

LENGTH = 200
REPEATS = 20  # chains per timed run, which then takes some 20 ms
X, W = np.array([0.5, 0.6, 0.7], np.float32), np.array([0.9, 1.1, 1.2], np.float32)

Step = Callable[[], list[Any]]  # forward and backward; the gradients of x and w


def chain(x: Any, w: Any, relu: Callable[[Any], Any], tanh: Callable[[Any], Any]) -> Any:
    """LENGTH ops, eight kinds of step: two Tensors, a Tensor and a number, and functions of one Tensor."""
    for _ in range(LENGTH // 8):
        x = x * w
        x = x + w
        x = tanh(x)
        x = x * 1.5
        x = x - w
        x = relu(x)
        x = x + 0.5
        x = x / w
    return x


def ours() -> Step:
    x, w = (tg.Tensor(array, requires_grad=True) for array in (X, W))

    def step() -> list[Any]:
        x.grad = w.grad = None
        chain(x, w, tg.relu, tg.tanh).sum().backward()
        return [x.grad, w.grad]

    return step


def torch_peer() -> Step:
    import torch

    x, w = (torch.tensor(array, requires_grad=True) for array in (X, W))

    def step() -> list[Any]:
        x.grad = w.grad = None
        chain(x, w, torch.relu, torch.tanh).sum().backward()
        return [x.grad, w.grad]

    return step


def jax_peer() -> Step:
    import jax

    x, w = jax.numpy.array(X), jax.numpy.array(W)

    def total(x: Any, w: Any) -> Any:
        return chain(x, w, jax.nn.relu, jax.numpy.tanh).sum()

    return lambda: jax.block_until_ready(jax.grad(total, (0, 1))(x, w))


def mygrad_peer() -> Step:
    import mygrad

    x, w = mygrad.tensor(X), mygrad.tensor(W)

    def step() -> list[Any]:
        chain(x, w, mygrad.nnet.activations.relu, mygrad.tanh).sum().backward()
        return [x.grad, w.grad]

    return step


PEERS: dict[str, tuple[str, Callable[[], Step]]] = {
    "tinygrad_cnn": ("tinygrad_cnn", ours),
    "torch": ("torch", torch_peer),
    "JAX": ("jax", jax_peer),
    "MyGrad": ("mygrad", mygrad_peer),
}


def repeated(step: Step) -> Callable[[], None]:
    def run() -> None:
        for _ in range(REPEATS):
            step()

    return run


def measure(timing: Timing) -> dict[str, float]:
    """Median microseconds per op of every library that is installed."""
    if find_spec("jax") is not None:  # read when jax is imported
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    with limited(1):
        steps = {name: make() for name, (module, make) in PEERS.items() if find_spec(module) is not None}
        sides = [
            Side(name, repeated(step), lambda step=step: [np.array(value.tolist()) for value in step()])
            for name, step in steps.items()
        ]
        agree(sides)
        return {name: value / REPEATS / LENGTH * 1e6 for name, value in alternate(sides, timing).items()}


def main() -> None:
    parser = parser_of(__doc__)
    add_timing(parser)
    parser.set_defaults(rounds=15)
    given = parser.parse_args()
    print(f"{machine()}; 1 thread\n\nmicroseconds per op, forward and backward, and ours over theirs", flush=True)
    medians = measure(Timing(given.warmup, given.rounds))
    ratios = {name: medians["tinygrad_cnn"] / value for name, value in medians.items()}
    for name, value in medians.items():
        print(f"  {name:22}{value:10.2f}{ratios[name]:8.2f}")
    write(given.json, {"microseconds_per_op": medians, "ours_over_theirs": ratios})


if __name__ == "__main__":
    main()
