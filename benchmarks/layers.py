"""Single layers: the forward pass without a graph, and forward with both gradients, for a table of shapes.

    python benchmarks/layers.py [--threads 1] [--only 3x3] [--json FILE]

The outputs and the gradients of ours and of PyTorch must agree to 1e-3 of the largest before anything is timed. The
gradient that arrives is given, not computed. The speed is relative to the fastest PyTorch variant of the run.
"""

import argparse
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from sides import Report, limited, options

import tinygrad_cnn as tg
from tinygrad_cnn.bench import Side


class Case(NamedTuple):
    """A convolution, or a pooling where filters is 0, of images (n c size size). n: with --batch 64."""

    name: str
    n: int
    c: int
    size: int
    filters: int
    kernel: int
    options: dict[str, Any]


CASES = (
    Case("conv 3x3", 64, 3, 32, 32, 3, {"padding": 1}),
    Case("conv 3x3", 64, 8, 14, 16, 3, {"padding": 1}),
    Case("conv 3x3", 64, 16, 32, 16, 3, {"padding": 1}),
    Case("conv 3x3", 64, 32, 32, 32, 3, {"padding": 1}),
    Case("conv 3x3", 64, 64, 16, 64, 3, {"padding": 1}),
    Case("conv 3x3", 64, 128, 8, 128, 3, {"padding": 1}),
    Case("conv 3x3", 16, 64, 56, 64, 3, {"padding": 1}),
    Case("conv 3x3 stride 2", 64, 32, 32, 64, 3, {"padding": 1, "stride": 2}),
    Case("conv 3x3 depthwise", 64, 64, 32, 64, 3, {"padding": 1, "groups": 64}),
    Case("conv 1x1", 64, 64, 16, 128, 1, {}),
    Case("conv 5x5", 64, 6, 14, 16, 5, {}),
    Case("max pool 2x2", 64, 32, 32, 0, 2, {}),
    Case("max pool 3x3 stride 2", 64, 32, 32, 0, 3, {"stride": 2, "padding": 1}),
    Case("mean pool 2x2", 64, 32, 32, 0, 2, {}),
)


def sides(case: Case) -> tuple[list[Side], list[Side]]:
    """(forward, forward with gradients) by every library."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(case.n, case.c, case.size, case.size)).astype(np.float32)
    inputs = [x]
    if case.filters:
        w_shape = (case.filters, case.c // case.options.get("groups", 1), case.kernel, case.kernel)
        inputs += [generator.normal(size=shape).astype(np.float32) for shape in (w_shape, (case.filters,))]
    forward, both = [], []
    for name, make, layer, quiet in libraries(case):
        one, two = of_one_library(name, [make(array) for array in inputs], layer, quiet, make)
        forward.append(one)
        both.append(two)
    return forward, both


def of_one_library(
    name: str, inputs: list[Any], layer: Callable[..., Any], quiet: Callable[[], Any], make: Callable[[Any], Any]
) -> tuple[Side, Side]:
    for tensor in inputs:
        tensor.requires_grad_(True)

    def forward() -> Any:
        with quiet():
            return layer(*inputs)

    g = make(np.random.default_rng(1).normal(size=tuple(forward().shape)).astype(np.float32))

    def both() -> list[Any]:
        for tensor in inputs:
            tensor.grad = None
        layer(*inputs).backward(g)
        return [tensor.grad for tensor in inputs]

    return (
        Side(name, forward, lambda: [forward().numpy()]),
        Side(name, both, lambda: [tensor.numpy() for tensor in both()]),
    )


def libraries(case: Case) -> Iterator[tuple[str, Callable[[Any], Any], Callable[..., Any], Callable[[], Any]]]:
    """(name, what makes a tensor of an array, the layer, the context without a graph) of each."""
    pool = "avg_pool2d" if case.name.startswith("mean") else "max_pool2d"
    yield "tinygrad_cnn", tg.Tensor, layer_of(case, tg.conv2d, getattr(tg, pool)), tg.no_grad
    if find_spec("torch") is None:
        return
    import torch

    def channels_last(array: Any) -> Any:
        tensor = torch.from_numpy(array)
        return tensor.contiguous(memory_format=torch.channels_last) if array.ndim == 4 else tensor

    functional = torch.nn.functional
    layer = layer_of(case, functional.conv2d, getattr(functional, pool))
    yield "torch", torch.tensor, layer, torch.inference_mode
    yield "torch channels_last", channels_last, layer, torch.inference_mode


def layer_of(case: Case, conv: Callable[..., Any], pool: Callable[..., Any]) -> Callable[..., Any]:
    if case.filters:
        return lambda x, w, b: conv(x, w, b, **case.options)
    return lambda x: pool(x, case.kernel, **case.options)


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", help="the cases whose name contains this")


def main() -> None:
    given = options(__doc__, add)
    report = Report(given)
    with limited(given.threads):
        for case in (case for case in CASES if given.only in case.name):
            case = case._replace(n=max(1, case.n * given.batch // 64))
            forward, both = sides(case)
            shape = f"{case.name}, {case.n}x{case.c}x{case.size}x{case.size}"
            shape += f" -> {case.filters}" if case.filters else ""
            report.time(f"{shape}, forward", forward)
            report.time(f"{shape}, forward and gradients", both)
    report.summary()
    report.write()


if __name__ == "__main__":
    main()
