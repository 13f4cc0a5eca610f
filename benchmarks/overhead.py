"""What one recorded operation costs: microseconds per op, forward and backward, of a chain of small ops.

    python benchmarks/overhead.py [--json] [--rounds 15]

The chain is 200 elementwise ops on three elements, so that the time is the engine's and not the arithmetic's. Ours
and every installed peer run in turn in one process, one thread each; the ratio of medians is what counts.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import threadpoolctl

import tinygrad_cnn as tg

LENGTH = 200


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


def ours() -> Callable[[], None]:
    w = tg.Tensor(np.array([0.9, 1.1, 1.2], np.float32), requires_grad=True)
    x = tg.Tensor(np.array([0.5, 0.6, 0.7], np.float32), requires_grad=True)

    def step() -> None:
        x.grad = w.grad = None
        chain(x, w, tg.relu, tg.tanh).sum().backward()

    return step


def torch_peer() -> Callable[[], None]:
    import torch

    torch.set_num_threads(1)
    w = torch.tensor([0.9, 1.1, 1.2], requires_grad=True)
    x = torch.tensor([0.5, 0.6, 0.7], requires_grad=True)

    def step() -> None:
        x.grad = w.grad = None
        chain(x, w, torch.relu, torch.tanh).sum().backward()

    return step


def mygrad_peer() -> Callable[[], None]:
    import mygrad as mg

    w, x = mg.tensor([0.9, 1.1, 1.2], dtype=np.float32), mg.tensor([0.5, 0.6, 0.7], dtype=np.float32)

    def step() -> None:
        chain(x, w, mg.nnet.activations.relu, mg.tanh).sum().backward()

    return step


PEERS: dict[str, Callable[[], Callable[[], None]]] = {
    "tinygrad_cnn": ours,
    "torch": torch_peer,
    "mygrad": mygrad_peer,
}


def measure(rounds: int, repeats: int = 20) -> dict[str, float]:
    """Median microseconds per op for every library that is installed, measured in turn."""
    steps = {}
    for name, make in PEERS.items():
        try:
            steps[name] = make()
        except ImportError:
            print(f"{name}: not installed, left out")
    times: dict[str, list[float]] = {name: [] for name in steps}
    with threadpoolctl.threadpool_limits(1):
        for round_ in range(rounds + 3):
            for name, step in steps.items():
                start = time.perf_counter()
                for _ in range(repeats):
                    step()
                elapsed = time.perf_counter() - start
                if round_ >= 3:  # the first rounds warm up
                    times[name].append(elapsed / repeats / LENGTH * 1e6)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=15, help="rounds to take the median of")
    options = parser.parse_args()
    medians = measure(options.rounds)
    ratios = {name: medians["tinygrad_cnn"] / value for name, value in medians.items()}
    if options.json:
        print(json.dumps({"microseconds_per_op": medians, "ours_over_theirs": ratios}))
        return
    for name, value in medians.items():
        print(f"{name:14} {value:6.2f} us per op, forward and backward   ours / theirs = {ratios[name]:.2f}")


if __name__ == "__main__":
    main()
