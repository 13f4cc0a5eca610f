"""What the benchmarks share: the options, the tables and files of figures, and the sides of a network.

Timing, agreement and the networks are those of `python -m tinygrad_cnn bench` (tinygrad_cnn/bench.py); JAX's and
MyGrad's sides are in peers.py.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from peers import installed

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


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """The command line that every benchmark has: its docstring is the help, and --json names a file."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser


def write(file: Path | None, figures: dict[str, Any]) -> None:
    """The machine and the figures as JSON, where a file is named."""
    if file:
        file.write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n", encoding="utf-8")


def options(doc: str | None, add: Callable[[argparse.ArgumentParser], None] | None = None) -> argparse.Namespace:
    """The command line of a benchmark of networks or layers. add: adds the options that are its own."""
    parser = parser_of(doc)
    add_options(parser)
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
            own = (f"{value:8.2f}x" for name, value in speed.items() if name.startswith("tinygrad_cnn"))
            print("".join(own) + f"  {case}")

    def write(self) -> None:
        """The figures as JSON, where they are wanted."""
        write(self.given.json, {"threads": self.given.threads, "batch": self.given.batch, "cases": self.cases})


def training_sides(build: Build, x: Any, y: Any, compiled: bool, network: Network | None = None) -> list[Side]:
    """The training step of every library that is installed. network: what JAX and MyGrad need to know of it."""
    sides = [our_training(build, x, y), *torch_training(build, x, y)]
    if compiled:
        sides += compiled_training(build, x, y)
    if network is not None:
        sides += [peer.training(network, x, y) for peer in installed()]
    return sides


def compiled_training(build: Build, x: Any, y: Any) -> Iterator[Side]:
    """torch.compile of the channels-last model."""
    for name, model, images in torch_models(build, x):
        if "channels_last" in name:
            import torch

            optimizer = torch.optim.SGD(model.parameters(), **SCHEDULE)
            loss_of, labels = torch.nn.functional.cross_entropy, torch.from_numpy(y)
            yield training_side("torch.compile", torch.compile(model), optimizer, loss_of, images, labels)


def inference_sides(network: Network, x: Any, compiled: bool) -> list[Side]:
    """The logits of a batch without a graph, by every library that is installed."""
    model, images = our_model(network.build), tg.Tensor(x)
    model.eval()

    def ours() -> tg.Tensor:
        with tg.no_grad():
            return model(images)

    sides = [Side("tinygrad_cnn", ours, lambda: [ours().numpy()])]
    for name, theirs, tensor in torch_models(network.build, x):
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
    return sides + [peer.inference(network, x) for peer in installed()]


__all__ = [
    "Report",
    "inference_sides",
    "limited",
    "options",
    "parser_of",
    "training_sides",
    "write",
]
