"""How the time of a training step grows with threads, the batch, the number of pixels and the depth.

    python benchmarks/scaling.py [--batch 64] [--smallest 16] [--doublings 3] [--compile] [--json FILE]

Each line is a network of 3x3 convolutions with 16 filters and one pooling. One size doubles at a time, beginning with
--smallest; the exponent p of time ~ size^p is the slope of a straight line through the logarithms, and that of the last
doubling alone stands in brackets: 1 is linear, less means that fixed costs are spread. Threads: the speed of 2, 4, 8
and so on up to the CPUs against one. Ours and every installed peer's run in turn; JAX has the threads that it began
with, so it is left out where they change.
"""

import argparse
import os
from collections.abc import Iterator

import numpy as np
from sides import Report, limited, options, training_sides

from tinygrad_cnn.bench import Network

LINEAR = 0.1  # how far from 1 an exponent may be: the spread between runs


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


def verdict(p: float) -> str:
    """What an exponent says of the cost."""
    if p > 1 + LINEAR:
        return "more than linear"
    return "linear" if p >= 1 - LINEAR else "less than linear: fixed costs are spread"


def numbers_of_threads() -> list[int]:
    """1, 2, 4 and so on up to the CPUs, but 2 at least."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [1, 2, *(2**k for k in range(2, 11) if 2**k <= cpus)]


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
                sides = training_sides(network.build, x, y, given.compile, network)
                for name, value in report.time(case, sides).items():
                    times.setdefault(name, []).append(value)
        sizes = [size for size, _, _ in steps]
        grown[what] = {name: exponent(sizes, values) for name, values in times.items()}
        last[what] = {name: exponent(sizes[-2:], values[-2:]) for name, values in times.items()}
    threads: dict[int, dict[str, float]] = {}
    network = Network("threads", (3, 32, 32), (16, 16, "M", 32, 32, "M"))
    x, y = network.batch(given.batch)
    for n in numbers_of_threads():
        with limited(n):
            case = f"threads {n}: conv 16, 16, pool, conv 32, 32, pool, 32x32, batch {given.batch}"
            sides = training_sides(network.build, x, y, given.compile, network)
            threads[n] = report.time(case, [side for side in sides if not side.name.startswith("JAX")])
    against_one = {
        n: {name: threads[1][name] / t for name, t in times.items()} for n, times in threads.items() if n > 1
    }
    print("\nexponent of the time, and that of the last doubling")
    for what, values in grown.items():
        for name, p in values.items():
            print(f"  {what:8}{name:22}{p:6.2f} [{last[what][name]:.2f}]  {verdict(p)}")
    print("\nspeed against one thread")
    for n, ratios in against_one.items():
        for name, ratio in ratios.items():
            print(f"  {n:<8}{name:22}{ratio:6.2f}x")
    report.cases["exponents"], report.cases["exponents of the last doubling"] = grown, last
    report.cases["growth"] = {what: {name: verdict(p) for name, p in values.items()} for what, values in grown.items()}
    report.cases["speed against one thread"] = against_one
    report.write()


if __name__ == "__main__":
    main()
