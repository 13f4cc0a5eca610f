"""Peak memory of a training step of network M, of ours and of PyTorch's, each in a child process of its own.

    python benchmarks/memory.py [--threads 1] [--batch 64] [--json FILE]

Measured is resident memory as the system counts it, because PyTorch's arrays are not known to tracemalloc. A child
makes its model, takes steps on two images, so that libraries are loaded and kernels compiled, gives free memory back,
and takes three steps on the whole batch: the step's memory is how far the peak rises above what was resident before.
On Linux the peak is reset before the steps (VmHWM, because ru_maxrss begins with that of the parent process); elsewhere
it is ru_maxrss.
"""

import argparse
import contextlib
import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sides import limited, options

from tinygrad_cnn.bench import M, machine, our_training, torch_training

SIDES = ("tinygrad_cnn", "torch", "torch channels_last")
STATUS = Path("/proc/self/status")


def resident(field: str) -> int:
    """Bytes in memory, "VmRSS" now or "VmHWM" at the peak; the peak for both where the system says no more."""
    if not STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith(field))


def give_back() -> None:
    """Return free memory to the system and forget the peak so far, where that can be done."""
    gc.collect()
    if STATUS.exists():
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
        if trim:
            trim(0)
        with contextlib.suppress(OSError):  # without the right to, the peak is that since the start of the process
            Path("/proc/self/clear_refs").write_text("5")


def child(name: str, batch: int) -> dict[str, int]:
    """Bytes before the steps, and how far the peak rises above them."""

    def side(n: int) -> Any:
        x, y = M.batch(n)
        if name == "tinygrad_cnn":
            return our_training(M.build, x, y)
        return next(side for side in torch_training(M.build, x, y) if side.name == name)

    small, whole = side(2), side(batch)
    for _ in range(2):
        small.run()
    give_back()
    before = resident("VmRSS")
    for _ in range(3):
        whole.run()
    return {"before": before, "step": max(0, resident("VmHWM") - before)}


def measure(batch: int, threads: int) -> dict[str, dict[str, int]]:
    """What each side's child process found."""
    found = {}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for name in SIDES:
        if name.startswith("torch") and find_spec("torch") is None:
            continue
        command = [sys.executable, __file__, "--child", name, "--batch", str(batch), "--threads", str(threads)]
        found[name] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout)
    return found


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)


def main() -> None:
    given = options(__doc__, add)
    if given.child:
        with limited(given.threads, peers=given.child != "tinygrad_cnn"):
            print(json.dumps(child(given.child, given.batch)))
        return
    print(f"{machine()}\n\nM, training step, batch {given.batch}: MB, and ours over theirs")
    found = measure(given.batch, given.threads)
    ours = found["tinygrad_cnn"]["step"]
    for name, size in found.items():
        over = ours / size["step"] if size["step"] else float("nan")
        print(f"  {name:22}{size['step'] / 1e6:10.1f}{over:8.2f}   (before the step {size['before'] / 1e6:.1f})")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "batch": given.batch, "bytes": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
