"""Single layers: the forward pass without a graph, and forward with both gradients, for a table of shapes.

    python benchmarks/layers.py [--threads 1] [--only 3x3] [--json FILE]

Ours and every installed peer's, where it has the layer; the outputs and the gradients must agree to 1e-3 of the largest
before anything is timed. The gradient that arrives is given, not computed. The speed is relative to the fastest PyTorch
variant of the run. Ours and PyTorch's are timed on planes and on channels-last memory, which images have in a network.
"""

import argparse
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from peers import gradient_of, installed
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


def sides(case: Case, compiled: bool) -> tuple[list[Side], list[Side]]:
    """(forward, forward with gradients) by every library."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(case.n, case.c, case.size, case.size)).astype(np.float32)
    inputs = [x]
    if case.filters:
        w_shape = (case.filters, case.c // case.options.get("groups", 1), case.kernel, case.kernel)
        inputs += [generator.normal(size=shape).astype(np.float32) for shape in (w_shape, (case.filters,))]
    forward, both = [], []
    for name, make, layer, quiet in libraries(case, compiled):
        one, two = of_one_library(name, [make(array) for array in inputs], layer, quiet, make)
        forward.append(one)
        both.append(two)
    for peer in installed():
        if pair := peer.layer(case, inputs):
            forward.append(pair[0])
            both.append(pair[1])
    return forward, both


def of_one_library(
    name: str, inputs: list[Any], layer: Callable[..., Any], quiet: Callable[[], Any], make: Callable[[Any], Any]
) -> tuple[Side, Side]:
    for tensor in inputs:
        tensor.requires_grad_(True)

    def forward() -> Any:
        with quiet():
            return layer(*inputs)

    g = make(gradient_of(tuple(forward().shape)))

    def both() -> list[Any]:
        for tensor in inputs:
            tensor.grad = None
        layer(*inputs).backward(g)
        return [tensor.grad for tensor in inputs]

    return (
        Side(name, forward, lambda: [forward().numpy()]),
        Side(name, both, lambda: [tensor.numpy() for tensor in both()]),
    )


def libraries(
    case: Case, compiled: bool
) -> Iterator[tuple[str, Callable[[Any], Any], Callable[..., Any], Callable[[], Any]]]:
    """(name, what makes a tensor of an array, the layer, the context without a graph) of ours and PyTorch's."""
    pool = "avg_pool2d" if case.name.startswith("mean") else "max_pool2d"
    own = layer_of(case, tg.conv2d, getattr(tg, pool))
    yield "tinygrad_cnn", tg.Tensor, own, tg.no_grad
    yield "tinygrad_cnn channels_last", our_channels_last, own, tg.no_grad
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
    if compiled:
        yield "torch.compile", channels_last, torch.compile(layer), torch.inference_mode


def our_channels_last(array: Any) -> tg.Tensor:
    """A Tensor whose images lie in memory as they do inside a network: the channels of a pixel side by side."""
    if array.ndim < 4:
        return tg.Tensor(array)
    return tg.Tensor(array.transpose(0, 2, 3, 1)).permute(0, 3, 1, 2)


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
            forward, both = sides(case, given.compile)
            shape = f"{case.name}, {case.n}x{case.c}x{case.size}x{case.size}"
            shape += f" -> {case.filters}" if case.filters else ""
            report.time(f"{shape}, forward", forward)
            report.time(f"{shape}, forward and gradients", both)
    report.summary()
    report.write()


if __name__ == "__main__":
    main()
