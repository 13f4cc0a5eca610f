"""Long runs: memory, unreachable objects, the same bits in every process, and threads over shared weights.

python -m tests.reliability.long_run STEPS     # one run; prints what it measured as JSON
"""

import gc
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import optim
from tinygrad_cnn.data import DataLoader, TensorDataset
from tinygrad_cnn.nn import functional as F

from .checks import Check, Row
from .training import Net

ROOT = Path(__file__).resolve().parent.parent.parent


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not tell."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 0


def train(steps: int, warm_up: int) -> dict[str, Any]:
    """Steps of a small network without the garbage collector: the growth in bytes, what was unreachable, the bits.

    What is counted begins after the warm-up, when every cache and free list has its size.
    """
    rng = np.random.default_rng(0)
    data = TensorDataset(rng.normal(size=(64, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 64))
    tg.manual_seed(0)
    model = Net()
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    loader = DataLoader(data, 16, shuffle=True, seed=1)
    gc.disable()
    done, before, objects = 0, 0, 0
    while done < steps + warm_up:
        for x, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(F.dropout(model(x), 0.1), labels).backward()
            optimizer.step()
            done += 1
            if done == warm_up:
                gc.collect()  # what compiling left
                before, objects = resident(), len(gc.get_objects())
            if done == steps + warm_up:
                break
    after, more = resident(), len(gc.get_objects()) - objects
    bits = hashlib.sha256(b"".join(value.numpy().tobytes() for value in model.state_dict().values()))
    return {"growth": after - before, "objects": more, "unreachable": gc.collect(), "bits": bits.hexdigest()}


def in_a_process(steps: int, warm_up: int, **environment: str) -> dict[str, Any]:
    """`train` in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TINYGRAD_CNN_")}
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.reliability.long_run", str(steps), str(warm_up)],
        cwd=ROOT, env={**clean, "TINYGRAD_CNN_QUIET": "1", **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if process.returncode:
        raise RuntimeError(f"the run ended with {process.returncode}: {process.stderr}")
    return dict(json.loads(process.stdout))


def ten_thousand_steps(thorough: bool) -> Row:
    """Memory stays, nothing is unreachable, and hash seeds and threads do not change a bit."""
    check = Check("training without the garbage collector, in 2 processes")
    steps, warm_up = (10_000, 500) if thorough else (150, 150)
    one = in_a_process(steps, warm_up, PYTHONHASHSEED="1", TINYGRAD_CNN_THREADS="1")
    two = in_a_process(steps, warm_up, PYTHONHASHSEED="2", TINYGRAD_CNN_THREADS="4")
    for name, run in (("1 thread", one), ("4 threads", two)):
        check.that(run["growth"] < 1 << 20, f"{name}: memory grew by {run['growth']} bytes in {steps} steps")
        check.that(run["unreachable"] == 0, f"{name}: {run['unreachable']} objects were unreachable")
        check.that(run["objects"] < 50, f"{name}: {run['objects']} objects more than before")
    check.that(one["bits"] == two["bits"], "hash seed 1 and 1 thread, hash seed 2 and 4 threads give other weights")
    growth = max(one["growth"], two["growth"]) / 1024
    return check.row(f"{steps} steps, +{growth:.0f} KiB, {one['unreachable'] + two['unreachable']} unreachable")


def threads_over_shared_weights(thorough: bool) -> Row:
    """Python threads, each with its graphs, over the same weights: the gradients of one thread, bit for bit."""
    check = Check("threads over shared weights")
    model = Net()
    model.eval()
    weights = list(model.parameters())
    rng = np.random.default_rng(5)
    jobs = [(rng.normal(size=(9, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 9)) for _ in range(32)]

    def gradient(job: int) -> list[bytes]:
        images, labels = jobs[job]
        found = tg.grad(F.cross_entropy(model(tg.Tensor(images)), labels), weights)
        return [g.numpy().tobytes() for g in found]

    alone = [gradient(job) for job in range(32)]
    rounds = 20 if thorough else 2
    for count in (8, 32) if thorough else (8,):
        with ThreadPoolExecutor(count) as pool:
            for number in range(rounds):
                wrong = [job for job, g in enumerate(pool.map(gradient, range(32))) if g != alone[job]]
                check.that(not wrong, f"{count} threads, round {number}: other gradients in jobs {wrong}")
    check.that(all(p.grad is None for p in weights), "a .grad was set by tg.grad")
    return check.row(f"32 graphs, {rounds} rounds, {'8 and 32' if thorough else '8'} threads")


SCENARIOS = [ten_thousand_steps, threads_over_shared_weights]

if __name__ == "__main__":
    print(json.dumps(train(int(sys.argv[1]), int(sys.argv[2]))))
