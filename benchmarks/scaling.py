"""How the time of a training step grows with threads, the batch, the number of pixels and the depth.

    python benchmarks/scaling.py [--batch 64] [--smallest 16] [--doublings 3] [--json FILE]

Each line is a network of 3x3 convolutions with 16 filters and one pooling. One size doubles at a time, beginning with
--smallest; the exponent p of time ~ size^p is the slope of a straight line through the logarithms, and that of the last
doubling alone stands in brackets: 1 is linear, less means that fixed costs are spread. Threads: the speed of two
threads against one. Ours and PyTorch's run in turn.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from sides import Report, limited, options, training_sides

from tinygrad_cnn.bench import Network


def networks(smallest: int, doublings: int) -> Iterator[tuple[str, list[tuple[int, int, Network]]]]:
    """(what grows, [(its size, batch, network)])."""
    sizes = [smallest << k for k in range(doublings + 1)]

    def network(side: int, depth: int) -> Network:
        return Network(f"{depth} x conv 16", (3, side, side), (*[16] * depth, "M"))

    yield "batch", [(n, n, network(16, 4)) for n in sizes]
    yield "pixels", [(side * side, smallest, network(side, 4)) for side in sizes]
    yield "depth", [(depth, smallest, network(16, depth)) for depth in sizes]


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """p of the power law seconds ~ size^p that fits best in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]) if len(sizes) > 1 else float("nan")


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--smallest", type=int, default=16, help="the first of the sizes (%(default)s)")
    parser.add_argument("--doublings", type=int, default=3, help="how often it doubles (%(default)s)")


def main() -> None:
    given = options(__doc__, add)
    report = Report(given)
    grown: dict[str, dict[str, float]] = {}
    last: dict[str, dict[str, float]] = {}
    for what, steps in networks(given.smallest, given.doublings):
        times: dict[str, list[float]] = {}
        with limited(given.threads):
            for size, batch, network in steps:
                x, y = network.batch(batch)
                case = f"{what} {size}: {network.name}, {network.image[1]}x{network.image[2]}, batch {batch}"
                for name, value in report.time(case, training_sides(network.build, x, y, False)).items():
                    times.setdefault(name, []).append(value)
        sizes = [size for size, _, _ in steps]
        grown[what] = {name: exponent(sizes, values) for name, values in times.items()}
        last[what] = {name: exponent(sizes[-2:], values[-2:]) for name, values in times.items()}
    threads: dict[str, list[float]] = {}
    network = Network("threads", (3, 32, 32), (16, 16, "M", 32, 32, "M"))
    x, y = network.batch(given.batch)
    for n in (1, 2):
        with limited(n):
            case = f"threads {n}: conv 16, 16, pool, conv 32, 32, pool, 32x32, batch {given.batch}"
            for name, value in report.time(case, training_sides(network.build, x, y, False)).items():
                threads.setdefault(name, []).append(value)
    print("\nexponent of the time (1 is linear), and that of the last doubling")
    for what, values in grown.items():
        shown = (f"{name} {value:.2f} [{last[what][name]:.2f}]   " for name, value in values.items())
        print(f"  {what:10}" + "".join(shown))
    print("two threads against one")
    print(" " * 12 + "".join(f"{name} {one / two:.2f}x   " for name, (one, two) in threads.items()))
    report.cases["exponents"], report.cases["exponents of the last doubling"] = grown, last
    report.cases["two threads against one"] = {name: one / two for name, (one, two) in threads.items()}
    report.write()


if __name__ == "__main__":
    main()
