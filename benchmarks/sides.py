"""What the benchmarks share: the sides beside ours and PyTorch's plain ones, the options, and the tables.

Timing, agreement and the networks are those of `python -m tinygrad_cnn bench` (tinygrad_cnn/bench.py).
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn.bench import (
    SCHEDULE,
    Network,
    Side,
    Timing,
    add_options,
    agree,
    alternate,
    limited,
    machine,
    our_model,
    our_training,
    rows,
    speeds,
    torch_models,
    torch_training,
    training_side,
)

Build = Callable[[Any], Any]


def options(doc: str, add: Callable[[argparse.ArgumentParser], None] | None = None) -> argparse.Namespace:
    """The command line of a benchmark. add: adds the options that are its own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, which takes minutes to start")
    if add:
        add(parser)
    given = parser.parse_args()
    if find_spec("jax") is not None:  # read when jax is imported
        flags = f"--xla_cpu_multi_thread_eigen={str(given.threads > 1).lower()}"
        os.environ.setdefault("XLA_FLAGS", f"{flags} intra_op_parallelism_threads={given.threads}")
    return given


class Report:
    """Collects the figures of a run: prints each table as it is measured, and writes all of them at the end."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.cases = given, {}
        print(f"{machine()}; {given.threads} thread{'s' if given.threads > 1 else ''}")

    def time(self, case: str, sides: Sequence[Side]) -> dict[str, float]:
        """Check that the sides agree, then time them; median seconds."""
        agree(sides)
        seconds = alternate(sides, Timing(self.given.warmup, self.given.rounds))
        self.cases[case] = {"seconds": seconds, "speed": speeds(seconds)}
        print(f"\n{case}")
        print("\n".join(rows(seconds)), flush=True)
        return seconds

    def summary(self) -> None:
        """The speed of ours in every case, one line each, where PyTorch is installed."""
        measured = {case: figures["speed"] for case, figures in self.cases.items() if figures["speed"]}
        if measured:
            print("\nours against the fastest PyTorch")
        for case, speed in measured.items():
            print(f"{speed['tinygrad_cnn']:8.2f}x  {case}")

    def write(self) -> None:
        """The figures as JSON, where they are wanted."""
        if self.given.json:
            about = {"machine": machine(), "threads": self.given.threads, "batch": self.given.batch}
            self.given.json.write_text(json.dumps({**about, "cases": self.cases}, indent=1) + "\n", encoding="utf-8")


def training_sides(build: Build, x: Any, y: Any, compiled: bool, network: Network | None = None) -> list[Side]:
    """The training step of every library that is installed. network: what JAX and MyGrad need to know of it."""
    sides = [our_training(build, x, y), *torch_training(build, x, y)]
    if compiled:
        sides += compiled_training(build, x, y)
    if network is not None:
        sides += [make(network, x, y) for name, make in PEERS.items() if find_spec(name) is not None]
    return sides


def compiled_training(build: Build, x: Any, y: Any) -> Iterator[Side]:
    """torch.compile of the channels-last model."""
    for name, model, images in torch_models(build, x):
        if "channels_last" in name:
            import torch

            optimizer = torch.optim.SGD(model.parameters(), **SCHEDULE)
            loss_of, labels = torch.nn.functional.cross_entropy, torch.from_numpy(y)
            yield training_side("torch.compile", torch.compile(model), optimizer, loss_of, images, labels)


def inference_sides(build: Build, x: Any, compiled: bool) -> list[Side]:
    """The logits of a batch without a graph."""
    model, images = our_model(build), tg.Tensor(x)
    model.eval()

    def ours() -> tg.Tensor:
        with tg.no_grad():
            return model(images)

    sides = [Side("tinygrad_cnn", ours, lambda: [ours().numpy()])]
    for name, theirs, tensor in torch_models(build, x):
        import torch

        theirs.eval()
        variants = {name: theirs}
        if compiled and "channels_last" in name:
            variants["torch.compile"] = torch.compile(theirs)
        for label, variant in variants.items():

            def run(variant: Any = variant, tensor: Any = tensor) -> Any:
                with torch.inference_mode():
                    return variant(tensor)

            sides.append(Side(label, run, lambda run=run: [run().numpy()]))
    return sides


def weights_of(network: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weight, bias) of each layer of our model, in order."""
    values = [np.array(p.numpy()) for p in our_model(network.build).parameters()]
    return list(zip(values[::2], values[1::2], strict=True))


def jax_training(network: Network, x: Any, y: Any) -> Side:
    import jax
    from jax import lax
    from jax import numpy as jnp

    def loss_of(params: Any, images: Any, labels: Any) -> Any:
        steps, z = iter(params), images
        for layer in network.layers:
            if layer == "M":
                z = lax.reduce_window(z, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
            else:
                w, b = next(steps)
                z = lax.conv_general_dilated(z, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + b
                z = jax.nn.relu(z)
        w, b = next(steps)
        scores = jax.nn.log_softmax(z.transpose(0, 3, 1, 2).reshape(len(labels), -1) @ w.T + b)
        return -jnp.take_along_axis(scores, labels[:, None], 1).mean()

    @jax.jit
    def update(params: Any, velocity: Any, images: Any, labels: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(params, images, labels)
        velocity = jax.tree.map(lambda v, g: SCHEDULE["momentum"] * v + g, velocity, gradients)
        return loss, jax.tree.map(lambda p, v: p - SCHEDULE["lr"] * v, params, velocity), velocity

    params = [(jnp.array(w.transpose(2, 3, 1, 0) if w.ndim == 4 else w), jnp.array(b)) for w, b in weights_of(network)]
    state = [params, jax.tree.map(jnp.zeros_like, params)]
    images, labels = jnp.array(x.transpose(0, 2, 3, 1)), jnp.array(y)

    def step() -> float:
        loss, *state[:] = update(*state, images, labels)
        jax.block_until_ready(state)
        return float(loss)

    return Side("JAX jit", step, lambda: [step() for _ in range(3)])


def mygrad_training(network: Network, x: Any, y: Any) -> Side:
    import mygrad as mg
    from mygrad.nnet.activations import relu
    from mygrad.nnet.layers import conv_nd, max_pool
    from mygrad.nnet.losses import softmax_crossentropy

    params = [(mg.tensor(w), mg.tensor(b)) for w, b in weights_of(network)]
    velocity = [np.zeros_like(p.data) for pair in params for p in pair]

    def step() -> float:
        steps, z = iter(params), x
        for layer in network.layers:
            if layer == "M":
                z = max_pool(z, (2, 2), 2)
            else:
                w, b = next(steps)
                z = relu(conv_nd(z, w, stride=1, padding=1) + b.reshape(1, -1, 1, 1))
        w, b = next(steps)
        loss = softmax_crossentropy(mg.matmul(z.reshape(len(y), -1), w.T) + b, y)
        loss.backward()
        for v, p in zip(velocity, [p for pair in params for p in pair], strict=True):
            v *= SCHEDULE["momentum"]
            v += p.grad
            p.data[...] -= SCHEDULE["lr"] * v
        return float(loss.item())

    return Side("MyGrad", step, lambda: [step() for _ in range(3)])


PEERS = {"jax": jax_training, "mygrad": mygrad_training}

__all__ = [
    "Report",
    "inference_sides",
    "limited",
    "options",
    "training_sides",
]
