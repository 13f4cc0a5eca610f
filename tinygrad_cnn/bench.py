"""How fast a training step is here, beside PyTorch where it is installed: `python -m tinygrad_cnn bench`.

All sides run in one process in turn, from the same weights on the same images, and what they compute must agree before
anything is timed. Only ratios mean something: the speed is that of the fastest PyTorch variant of the same run = 1.
"""

import argparse
import contextlib
import io
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import threadpoolctl

import tinygrad_cnn as tg

from . import nn, optim
from .kernels import compiled

TOLERANCE = 1e-3  # of the largest value: float32 algorithms differ by about 1e-5, other computations by much more
SETTLE = 0.01  # seconds that a side runs untimed before its turn: another library's threads still spin for 5 ms
WARM = 60.0  # seconds after which a side is warm, whatever --warmup says: MyGrad takes 24 s for one step of M
SCHEDULE: dict[str, Any] = {"lr": 0.01, "momentum": 0.9}


class Disagreement(RuntimeError):
    """Two sides that are to be timed against each other do not compute the same."""


class Side(NamedTuple):
    """A library at one piece of work. run: the work. result: arrays or numbers, in which the sides must agree."""

    name: str
    run: Callable[[], Any]
    result: Callable[[], Sequence[Any]]


class Timing(NamedTuple):
    """How often sides run. warmup: untimed runs of each before the rounds, or as many as begin within WARM."""

    warmup: int
    rounds: int


def agree(sides: Sequence[Side]) -> None:
    """Run each side. Raises Disagreement unless all results are those of the first, to TOLERANCE of the largest."""
    first, *others = [(side.name, [np.asarray(value, np.float64) for value in side.result()]) for side in sides]
    for name, values in others:
        for k, (ours, theirs) in enumerate(zip(first[1], values, strict=True)):
            if ours.shape != theirs.shape:
                raise Disagreement(
                    f"result {k} has shape {ours.shape} by {first[0]} and {theirs.shape} by {name}; "
                    "different computations are not timed"
                )
            worst, size = float(abs(ours - theirs).max(initial=0.0)), float(abs(ours).max(initial=0.0))
            if not worst <= TOLERANCE * size:
                raise Disagreement(
                    f"result {k} differs by {worst:.3g} between {first[0]} and {name}, where the largest value is "
                    f"{size:.3g} and {TOLERANCE} of it is allowed; different computations are not timed"
                )


def alternate(sides: Sequence[Side], timing: Timing) -> dict[str, float]:
    """Median seconds of each side, which run in turn; a side's turn begins with untimed runs."""
    for side in sides:
        began = time.perf_counter()
        for _ in range(timing.warmup):
            if time.perf_counter() - began < WARM:
                side.run()
    times: dict[str, list[float]] = {side.name: [] for side in sides}
    for k in range(timing.rounds):
        for side in (*sides[k % len(sides) :], *sides[: k % len(sides)]):
            began = time.perf_counter()
            side.run()
            while time.perf_counter() - began < SETTLE:
                side.run()
            start = time.perf_counter()
            side.run()
            times[side.name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def speeds(seconds: dict[str, float]) -> dict[str, float]:
    """How many times as fast as the fastest PyTorch variant each side is; nothing without PyTorch."""
    fastest = min((value for name, value in seconds.items() if name.startswith("torch")), default=None)
    return {} if fastest is None else {name: fastest / value for name, value in seconds.items()}


@contextlib.contextmanager
def limited(threads: int, peers: bool = True) -> Iterator[None]:
    """Everything in the process on so many threads: BLAS, this package's own and, with `peers`, PyTorch's."""
    if peers and find_spec("torch") is not None:
        import torch

        torch.set_num_threads(threads)
    if own := getattr(tg, "set_num_threads", None):
        own(threads)
    with threadpoolctl.threadpool_limits(threads):
        yield


@dataclass(frozen=True)
class Network:
    """3x3 convolutions with relu and 2x2 poolings, then one linear layer to 10 classes.

    layers: the filters of each convolution, "M" for a pooling. image: channels, height and width.
    """

    name: str
    image: tuple[int, int, int]
    layers: tuple[int | str, ...]

    def build(self, layers: Any) -> Any:
        """The network of the layers of a library: our `nn`, or `torch.nn`, which has the same names."""
        c, h, w = self.image
        steps = []
        for layer in self.layers:
            if isinstance(layer, str):
                steps.append(layers.MaxPool2d(2))
                h, w = h // 2, w // 2
            else:
                steps += [layers.Conv2d(c, layer, 3, padding=1), layers.ReLU()]
                c = layer
        return layers.Sequential(*steps, layers.Flatten(), layers.Linear(c * h * w, 10))

    def batch(self, n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Images and labels, always the same."""
        generator = np.random.default_rng(0)
        return generator.normal(size=(n, *self.image)).astype(np.float32), generator.integers(0, 10, n)


S = Network("S", (1, 28, 28), (8, "M", 16, "M"))
M = Network("M", (3, 32, 32), (32, 32, "M", 64, 64, "M", 128, 128, "M"))


def our_model(build: Callable[[Any], Any]) -> Any:
    """What `build` makes of our layers, with weights that are always the same."""
    tg.manual_seed(0)
    return build(nn)


def training_side(name: str, model: Any, optimizer: Any, loss_of: Callable[[Any, Any], Any], x: Any, y: Any) -> Side:
    """A training step: forward, loss, backward, SGD with momentum. Its result is the loss of the first three."""

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return Side(name, step, lambda: [step() for _ in range(3)])


def our_training(build: Callable[[Any], Any], x: Any, y: Any) -> Side:
    """This package's training step of the network that `build` makes of a library's layers."""
    model = our_model(build)
    optimizer = optim.SGD(model.parameters(), **SCHEDULE)
    return training_side("tinygrad_cnn", model, optimizer, nn.functional.cross_entropy, tg.Tensor(x), tg.Tensor(y))


def torch_models(build: Callable[[Any], Any], x: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name, model, images) of PyTorch's variants, with our weights; none where it is not installed."""
    if find_spec("torch") is None:
        return
    import torch

    weights = {name: torch.from_numpy(np.array(t.numpy())) for name, t in our_model(build).state_dict().items()}
    for name, layout in (("torch", torch.contiguous_format), ("torch channels_last", torch.channels_last)):
        model = build(torch.nn)
        model.load_state_dict(weights, strict=False)  # where PyTorch's BatchNorm counts batches
        yield name, model.to(memory_format=layout), torch.from_numpy(x).contiguous(memory_format=layout)


def torch_training(build: Callable[[Any], Any], x: Any, y: Any) -> Iterator[Side]:
    """The same training step by each of PyTorch's variants."""
    for name, model, images in torch_models(build, x):
        import torch

        optimizer = torch.optim.SGD(model.parameters(), **SCHEDULE)
        yield training_side(name, model, optimizer, torch.nn.functional.cross_entropy, images, torch.from_numpy(y))


def machine() -> str:
    """The processor and the versions, for the head of a table."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    versions = [f"Python {platform.python_version()}", f"NumPy {np.__version__}", f"tinygrad_cnn {tg.__version__}"]
    if compiled.available():
        import numba

        versions.append(f"numba {numba.__version__}")
    else:
        versions.append("without numba")
    if find_spec("torch") is not None:
        import torch

        versions.append(f"PyTorch {torch.__version__}")
    return f"{processor}; {', '.join(versions)}"


def rows(seconds: dict[str, float]) -> list[str]:
    """One line a side: milliseconds, and the speed where PyTorch is among the sides."""
    relative = speeds(seconds)
    return [
        f"  {name:28}{value * 1e3:10.3f} ms" + (f"{relative[name]:8.2f}x" if relative else "")
        for name, value in seconds.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m tinygrad_cnn bench`: 0 when done, 1 if the sides disagree, 130 when interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad_cnn bench",
        description="Time a training step of two networks here, beside PyTorch where it is installed.",
        epilog="examples:\n  python -m tinygrad_cnn bench\n  python -m tinygrad_cnn bench --threads 2 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document in the place of tables")
    options = parser.parse_args(arguments)
    try:
        networks = _time_all(options, io.StringIO() if options.json else sys.stdout)
    except Disagreement as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps({"machine": machine(), "threads": options.threads, "networks": networks}, indent=1))
    return 0


def _time_all(options: argparse.Namespace, tables: TextIO) -> list[dict[str, Any]]:
    """Time both networks and print their tables; the numbers of each."""
    print(machine(), file=tables)
    what = f"milliseconds per step{', and the speed over that of the fastest PyTorch' if find_spec('torch') else ''}"
    print(what, file=tables)
    found: list[dict[str, Any]] = []
    with limited(options.threads):
        for network in (S, M):
            x, y = network.batch(options.batch)
            sides = [our_training(network.build, x, y), *torch_training(network.build, x, y)]
            agree(sides)
            seconds = alternate(sides, Timing(options.warmup, options.rounds))
            print(f"\n{title(network, options.batch, options.threads)}", file=tables)
            print("\n".join(rows(seconds)), file=tables, flush=True)
            relative = speeds(seconds)
            each = [{"name": name, "seconds": s, "speed": relative.get(name)} for name, s in seconds.items()]
            found.append({"network": title(network, options.batch, options.threads), "sides": each})
    if not compiled.available():
        print(f"\n{without_numba()}", file=tables)
    if find_spec("torch") is None:
        print("\nPyTorch is not installed: nothing to compare with", file=tables)
    return found


def without_numba() -> str:
    """What is missing where no loop is compiled, and what to do."""
    if find_spec("numba") is None:
        return "numba is not installed: pip install 'tinygrad_cnn[fast]' compiles the kernels, which are then faster"
    return "numba is refused by TINYGRAD_CNN_NUMBA: without that, the kernels are compiled and faster"


def title(network: Network, batch: int, threads: int) -> str:
    """What is timed, in one line."""
    c, h, w = network.image
    shown = ", ".join("pool" if layer == "M" else f"conv {layer}" for layer in network.layers)
    return (
        f"{network.name}: {h}x{w}x{c}, {shown}, fc; training step, batch {batch}, {threads} thread"
        f"{'s' if threads > 1 else ''}"
    )


def add_options(parser: argparse.ArgumentParser, threads: bool = True) -> None:
    """The options of every table of times. threads: whether their number is one of them."""
    if threads:
        parser.add_argument("--threads", type=_above_zero, default=1, help="of every side (%(default)s)")
    parser.add_argument("--batch", type=_above_zero, default=64, help="images per step (%(default)s)")
    add_timing(parser)


def add_timing(parser: argparse.ArgumentParser) -> None:
    """How often each side runs."""
    parser.add_argument("--warmup", type=_whole, default=30, help="untimed steps of each side (%(default)s)")
    parser.add_argument("--rounds", type=_above_zero, default=9, help="rounds to take the median of (%(default)s)")


def _whole(text: str, least: int = 0) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
    return int(text)


def _above_zero(text: str) -> int:
    return _whole(text, 1)
