"""Which of the project's targets for speed and memory are met on this machine, as a Markdown table.

    python benchmarks/targets.py [--only "step S|import"] [--compile] [--json FILE]

Every figure comes from child processes with one number of threads each: mostly another benchmark, to which --batch,
--warmup, --rounds and --compile are handed on. "x" is our speed over that of the fastest PyTorch variant of the same
run; memory and the time of an op are ours over PyTorch's least. NumPy only: with TINYGRAD_CNN_NUMBA=0. What compiling
takes is how much longer the main job runs with an empty folder for compiled kernels than with the full one. All of it
takes about ten minutes on a machine that must have nothing else to do: two busy threads of PyTorch on less than two
free cores lose to anything.
"""

import argparse
import functools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from sides import parser_of, write

from tinygrad_cnn.bench import add_options, machine

HERE = Path(__file__).resolve().parent
IMPORTS = 9  # new processes to take the median of
IMPORT = """
import sys, time
start = time.perf_counter()
import tinygrad_cnn
seconds = time.perf_counter() - start
(tinygrad_cnn.Tensor([1.0], requires_grad=True) * 2).backward()
print(seconds, int("numba" in sys.modules))
"""

Measure = Callable[[argparse.Namespace], float]


class Missing(Exception):
    """What a figure needs and this machine has not."""


class Target(NamedTuple):
    """must: in "x" the least that it may be, in other units the most; None where the figure is only reported.

    unit: "x", "s", "of PyTorch's", or "?" for a question, the answer to which is 0 or 1.
    """

    what: str
    must: float | None
    unit: str
    measure: Measure


def child(*command: str, numba: bool = True, **environment: str) -> tuple[float, str, str]:
    """(seconds, output, complaints) of a Python process without the environment's settings for this package."""
    if numba and find_spec("numba") is None:
        raise Missing("numba is not installed")
    own = ("TINYGRAD_CNN_", "PYTHONDONTWRITEBYTECODE")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    clean |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    clean |= environment if numba else {**environment, "TINYGRAD_CNN_NUMBA": "0"}
    start = time.perf_counter()
    process = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=clean)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{process.stderr}")
    return time.perf_counter() - start, process.stdout, process.stderr


def figures(given: argparse.Namespace, numba: bool, script: str, *arguments: str) -> Any:
    """What a benchmark writes as JSON."""
    if find_spec("torch") is None:
        raise Missing("PyTorch is not installed")
    arguments += ("--warmup", str(given.warmup), "--rounds", str(given.rounds))
    if script != "overhead.py":
        arguments += ("--batch", str(given.batch), *(["--compile"] if given.compile else []))
    return json.loads(file_of(numba, script, *arguments))


@functools.cache
def file_of(numba: bool, script: str, *arguments: str) -> str:
    """The file that a benchmark writes; each is run once."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "figures.json")
        child(str(HERE / script), *arguments, "--json", str(file), numba=numba)
        return file.read_text(encoding="utf-8")


def step(network: str, threads: int, numba: bool = True) -> Measure:
    """The speed of a training step."""

    def measure(given: argparse.Namespace) -> float:
        found = figures(given, numba, "train_step.py", "--networks", network, "--threads", str(threads))
        return float(next(iter(found["cases"].values()))["speed"]["tinygrad_cnn"])

    return measure


def inference(case: int, numba: bool = True) -> Measure:
    """The speed of the logits of M: case 0 is the batch, -1 one image."""

    def measure(given: argparse.Namespace) -> float:
        cases = list(figures(given, numba, "inference.py")["cases"].values())
        return float(cases[case]["speed"]["tinygrad_cnn"])

    return measure


def over_torch(script: str, numba: bool = True) -> Measure:
    """Ours over the least of PyTorch's."""

    def measure(given: argparse.Namespace) -> float:
        ratios = figures(given, numba, script)["ours_over_theirs"]
        return max(float(ratio or "inf") for name, ratio in ratios.items() if name.startswith("torch"))

    return measure


@functools.cache
def imports(numba: bool) -> tuple[float, float]:
    """(median seconds of the import, NumPy's among them; 1 if numba came before the first kernel)."""
    with tempfile.TemporaryDirectory() as folder:  # for the bytecode, which the first of them writes
        runs = [child("-c", IMPORT, numba=numba, PYTHONPYCACHEPREFIX=folder)[1].split() for _ in range(1 + IMPORTS)]
    return statistics.median(float(seconds) for seconds, _ in runs[1:]), max(float(came) for _, came in runs)


@functools.cache
def first_run() -> tuple[float, float]:
    """(seconds that the main job takes longer with an empty folder of kernels; 1 if it says that it compiles)."""
    with tempfile.TemporaryDirectory() as folder:
        job = ("-m", "tinygrad_cnn", "--epochs", "1", "--out", f"{folder}/out")
        first, second = (child(*job, NUMBA_CACHE_DIR=f"{folder}/kernels") for _ in range(2))
    return first[0] - second[0], float("compiling kernels" in first[2])


TARGETS = (
    Target("training step S, 1 thread", 2.0, "x", step("S", 1)),
    Target("training step S, 2 threads", 2.0, "x", step("S", 2)),
    Target("training step M, 1 thread", 2.0, "x", step("M", 1)),
    Target("training step M, 2 threads", 2.0, "x", step("M", 2)),
    Target("training step ResNet-20, 1 thread", 1.5, "x", step("ResNet-20", 1)),
    Target("training step ResNet-20, 2 threads", 1.2, "x", step("ResNet-20", 2)),
    Target("inference M, a batch, 1 thread", 2.0, "x", inference(0)),
    Target("inference M, one image, 1 thread", 1.0, "x", inference(-1)),
    Target("peak memory of the step of M", 1.0, "of PyTorch's", over_torch("memory.py")),
    Target("time of a small op", 0.9, "of PyTorch's", over_torch("overhead.py")),
    Target("import", 0.2, "s", lambda given: imports(True)[0]),
    Target("numba imported before the first kernel", 0.0, "?", lambda given: imports(True)[1]),
    Target("compiling in the first run of the main job", 10.0, "s", lambda given: first_run()[0]),
    Target("compiling said on the screen", 1.0, "?", lambda given: first_run()[1]),
    Target("NumPy only, training step S, 1 thread", 0.6, "x", step("S", 1, False)),
    Target("NumPy only, training step S, 2 threads", 0.6, "x", step("S", 2, False)),
    Target("NumPy only, training step M, 1 thread", 0.9, "x", step("M", 1, False)),
    Target("NumPy only, training step M, 2 threads", 0.7, "x", step("M", 2, False)),
    Target("NumPy only, training step ResNet-20, 1 thread", None, "x", step("ResNet-20", 1, False)),
    Target("NumPy only, training step ResNet-20, 2 threads", None, "x", step("ResNet-20", 2, False)),
    Target("NumPy only, inference M, a batch, 1 thread", None, "x", inference(0, False)),
    Target("NumPy only, inference M, one image, 1 thread", None, "x", inference(-1, False)),
    Target("NumPy only, peak memory of the step of M", 1.0, "of PyTorch's", over_torch("memory.py", False)),
    Target("NumPy only, time of a small op", 0.9, "of PyTorch's", over_torch("overhead.py", False)),
    Target("NumPy only, import", 0.2, "s", lambda given: imports(False)[0]),
)


def shown(value: float | None, unit: str) -> str:
    """A figure with its unit."""
    if value is None:
        return ""
    if unit == "?":
        return "yes" if value else "no"
    return f"{value:.2f}{'' if unit == 'x' else ' '}{unit}"


def bound(target: Target) -> str:
    """What must hold, with its sign."""
    sign = {"x": "≥ ", "?": ""}.get(target.unit, "≤ ")
    return "" if target.must is None else sign + shown(target.must, target.unit)


def verdict(target: Target, value: float) -> str:
    """Whether the target is met, else by how much of it it is missed."""
    if target.must is None:
        return "no target"
    if target.unit == "?":
        return "met" if value == target.must else "missed"
    short = target.must - value if target.unit == "x" else value - target.must
    return "met" if short <= 0 else f"missed by {short / target.must:.0%}"


def main() -> None:
    parser = parser_of(__doc__)
    add_options(parser, threads=False)
    parser.add_argument("--only", default="", help="the targets that this regular expression is found in")
    parser.add_argument("--compile", action="store_true", help="torch.compile is a rival too")
    given = parser.parse_args()
    load = f"; load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    print(
        f"{machine()}; batch {given.batch}{load}\n\n| what | must | measured | |\n| --- | --- | --- | --- |", flush=True
    )
    found = []
    for target in (target for target in TARGETS if re.search(given.only, target.what)):
        try:
            value: float | None = target.measure(given)
            said = verdict(target, value)
        except Missing as error:
            value, said = None, f"not measured: {error}"
        print(f"| {target.what} | {bound(target)} | {shown(value, target.unit)} | {said} |", flush=True)
        found.append({"what": target.what, "must": target.must, "unit": target.unit, "measured": value, "said": said})
    write(given.json, {"batch": given.batch, "targets": found})


if __name__ == "__main__":
    main()
