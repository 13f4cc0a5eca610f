"""What a second process brings to a training step, what its all-reduces cost, and what more processes would bring.

    python benchmarks/mpi.py [--ranks 2] [--batch 128] [--warmup 5] [--rounds 15] [--only TEXT]
                             [--json FILE]

Needs the extra mpi. One start of mpiexec does all: in turn, rank 0 alone makes a step with the whole batch while the
others sleep, and with its part of the batch alone, and then all make one together; each rank has one thread. The ratio
of medians is what counts; that of the fastest steps, at best, is less disturbed on a busy machine. The share of the
all-reduces includes the wait for the slower rank. The model on paper takes the step of one rank as fixed costs and a
cost per image, an all-reduce of s bytes as ceil(log2 N) times the latency and 2 (N - 1) / N s bytes at the bandwidth
that were measured here, and gives every rank a core of its own.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sides import parser_of, write

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.bench import SCHEDULE, M, S, add_timing, machine, our_model
from tinygrad_cnn.digits_net import DigitsNet
from tinygrad_cnn.distributed import DataParallel, Group, init

ON_PAPER = (1, 2, 4, 8, 16)
SIZES = (1, 2**12, 2**16, 2**20)  # numbers of 8 bytes


class Timed(Group):
    """A group that counts its calls and adds up the seconds that they take."""

    seconds = 0.0
    calls = 0

    def add(self, values: Any) -> None:
        began = time.perf_counter()
        super().add(values)
        self.seconds += time.perf_counter() - began
        self.calls += 1

    def gather(self, values: Any) -> Any:
        began = time.perf_counter()
        found = super().gather(values)
        self.seconds += time.perf_counter() - began
        self.calls += 1
        return found


def networks(only: str) -> dict[str, tuple[Any, tuple[int, int, int]]]:
    """name -> (the model, the shape of an image), where the name holds `only`."""
    found = {
        "the main job's network, 8x8": (DigitsNet(np.random.default_rng(0)), (1, 8, 8)),
        "S, 28x28": (our_model(S.build), S.image),
        "M, 32x32": (our_model(M.build), M.image),
    }
    return {name: case for name, case in found.items() if only in name}


def sleep_until(request: Any) -> None:
    """Wait for a call of MPI without keeping a core busy, as MPI's own waiting does."""
    while not request.Test():
        time.sleep(1e-4)


def seconds_of(step: Any) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def time_network(group: Timed, net: Any, image: tuple[int, int, int], given: argparse.Namespace) -> dict[str, Any]:
    """Median seconds of a step with the whole batch alone, with a part alone, and with all parts together."""
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.normal(size=(given.batch, *image)).astype(np.float32))
    y = tg.Tensor(rng.integers(0, 10, given.batch))
    n = given.batch // group.size
    part = slice(group.rank * n, group.rank * n + n)
    mine, labels = tg.Tensor(x.numpy()[part]), tg.Tensor(y.numpy()[part])
    model = DataParallel(net, group)
    optimizer = optim.SGD(net.parameters(), **SCHEDULE)

    def alone(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    def together() -> None:
        optimizer.zero_grad()
        model.backward(nn.functional.cross_entropy(model(mine), labels), n)
        optimizer.step()

    found: dict[str, list[float]] = {"alone": [], "part": [], "together": [], "reducing": []}
    for k in range(given.warmup + given.rounds):
        if group.rank == 0:
            times = {"alone": seconds_of(lambda: alone(x, y)), "part": seconds_of(lambda: alone(mine, labels))}
        sleep_until(group.comm.Ibarrier())
        group.barrier()  # all are awake
        group.seconds, group.calls = 0.0, 0
        took = seconds_of(together)
        if group.rank == 0 and k >= given.warmup:
            for name, value in {**times, "together": took, "reducing": group.seconds}.items():
                found[name].append(value)
        model.synchronize()
    bytes_sent = sum(p.array.nbytes for p in net.parameters())
    if group.rank:
        return {}
    medians = {name: statistics.median(values) for name, values in found.items()}
    best = min(found["alone"]) / min(found["together"])
    return {**medians, "at best": best, "calls": group.calls, "bytes": bytes_sent}


def time_reduce(group: Group, rounds: int) -> dict[int, float]:
    """Median seconds of an all-reduce by its bytes."""
    found = {}
    for n in SIZES:
        values, times = np.zeros(n), []
        for _ in range(5 * rounds):
            group.barrier()
            times.append(seconds_of(lambda values=values: group.add(values)))
        found[8 * n] = statistics.median(times)
    return found


def measure(given: argparse.Namespace) -> None:
    """What each process does; rank 0 writes what was found."""
    comm = init().comm
    if comm is None:
        raise SystemExit("benchmarks/mpi.py: this is the only process; leave --worker out")
    group = Timed(comm)
    reduce = time_reduce(group, given.rounds)
    cases = {name: time_network(group, net, image, given) for name, (net, image) in networks(given.only).items()}
    if group.rank == 0:
        given.worker.write_text(json.dumps({"all-reduce": reduce, "cases": cases}), encoding="utf-8")


def on_paper(case: dict[str, Any], found: dict[str, float], ranks: int, batch: int) -> dict[int, dict[str, float]]:
    """Seconds of a step by the number of ranks: computing, all-reducing, both; from what `ranks` of them measured."""
    small, large = min(found, key=int), max(found, key=int)
    hops = math.ceil(math.log2(ranks))
    latency = found[small] / hops
    per_byte = max(found[large] - found[small], 0.0) / int(large) / (2 * (ranks - 1) / ranks)
    # Between nothing and all of the step grows with the images, whatever disturbed the times.
    per_image = min(max(case["alone"] - case["part"], 0.0) / (batch - batch // ranks), case["alone"] / batch)
    fixed = case["alone"] - per_image * batch
    table = {}
    for n in ON_PAPER:
        computing = fixed + per_image * batch / n
        reducing = case["calls"] * math.ceil(math.log2(n)) * latency + 2 * (n - 1) / n * case["bytes"] * per_byte
        table[n] = {"computing": computing, "reducing": reducing, "step": computing + reducing}
    return table


def start(given: argparse.Namespace) -> dict[str, Any] | str:
    """What the processes found, or why there are none."""
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None or find_spec("mpi4py") is None:
        return "not measured: mpi4py or mpiexec is not installed; pip install 'tinygrad_cnn[mpi]'"
    root = str(Path(tg.__file__).resolve().parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        command = [
            mpiexec,
            "-n",
            str(given.ranks),
            sys.executable,
            str(Path(__file__).resolve()),
            "--worker",
            str(file),
        ]
        for name in ("batch", "warmup", "rounds", "only"):
            command += [f"--{name}", str(getattr(given, name))]
        subprocess.run(command, check=True, env={**environment, "TINYGRAD_CNN_QUIET": "1"})
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def main() -> None:
    parser = parser_of(__doc__)
    add_timing(parser)
    parser.set_defaults(warmup=5, rounds=15)
    parser.add_argument("--ranks", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="images per step, of all ranks (%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="the networks whose name holds this text")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ranks < 2 or given.batch % given.ranks:
        parser.error(f"--ranks {given.ranks} --batch {given.batch}: at least 2 ranks and a multiple of them are needed")
    if given.worker:
        measure(given)
        return
    print(f"{machine()}; {given.ranks} ranks of one thread, batch {given.batch}")
    found = start(given)
    if isinstance(found, str):
        print(found)
        write(given.json, {"cases": {}, "said": found})
        return
    print(
        f"\n{'step of':30}{'1 rank':>11}{f'{given.ranks} ranks':>11}{'faster':>9}{'at best':>9}"
        f"{'reducing':>10}{'calls':>7}{'bytes':>11}"
    )
    for name, case in found["cases"].items():
        case["faster"] = case["alone"] / case["together"]
        case["share"] = case["reducing"] / case["together"]
        case["on paper"] = on_paper(case, found["all-reduce"], given.ranks, given.batch)
        print(
            f"{name:30}{case['alone'] * 1e3:8.2f} ms{case['together'] * 1e3:8.2f} ms{case['faster']:8.2f}x"
            f"{case['at best']:8.2f}x{case['share']:10.0%}{case['calls']:7}{case['bytes']:11,}"
        )
    print("\nall-reduce  " + "  ".join(f"{int(n):,} bytes {t * 1e6:.0f} us" for n, t in found["all-reduce"].items()))
    print("\non paper, ranks with a core each")
    print(f"{'step of':30}{'ranks':>6}{'computing':>13}{'reducing':>12}{'faster':>9}")
    for name, case in found["cases"].items():
        for n, row in case["on paper"].items():
            print(
                f"{name:30}{n:6}{row['computing'] * 1e3:10.2f} ms{row['reducing'] * 1e3:9.3f} ms"
                f"{case['on paper'][1]['step'] / row['step']:8.2f}x"
            )
    write(given.json, {"ranks": given.ranks, "batch": given.batch, **found})


if __name__ == "__main__":
    main()
