"""Peak memory of a training step of network M, of ours and every installed peer's, each in a process of its own.

    python benchmarks/memory.py [--threads 1] [--batch 64] [--compile] [--json FILE]

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

from peers import installed
from sides import compiled_training, limited, options, write

from tinygrad_cnn.bench import M, Side, machine, our_training, torch_training

COMPILED = ("JAX jit", "torch.compile")  # for one shape: the whole batch warms up, or the compiler is weighed
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

    whole = side(name, *M.batch(batch))
    small = whole if name in COMPILED else side(name, *M.batch(2))
    for _ in range(2):
        small.run()
    give_back()
    before = resident("VmRSS")
    for _ in range(3):
        whole.run()
    return {"before": before, "step": max(0, resident("VmHWM") - before)}


def side(name: str, x: Any, y: Any) -> Side:
    """The training step of one library, without importing another."""
    if name == "tinygrad_cnn":
        return our_training(M.build, x, y)
    for peer in installed():
        if peer.name == name:
            return peer.training(M, x, y)
    steps = compiled_training if name == "torch.compile" else torch_training
    return next(step for step in steps(M.build, x, y) if step.name == name)


def names(compiled: bool) -> list[str]:
    """The sides that can be measured here."""
    theirs = ["torch", "torch channels_last", *(["torch.compile"] if compiled else [])]
    return ["tinygrad_cnn", *(theirs if find_spec("torch") else []), *(peer.name for peer in installed())]


def measure(given: argparse.Namespace) -> dict[str, dict[str, int]]:
    """What each side's child process found."""
    found = {}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    size = ["--batch", str(given.batch), "--threads", str(given.threads)]
    for name in names(given.compile):
        command = [sys.executable, __file__, "--child", name, *size]
        found[name] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout)
    return found


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--child", help=argparse.SUPPRESS)


def main() -> None:
    given = options(__doc__, add)
    if given.child:
        with limited(given.threads, peers=given.child.startswith("torch")):
            print(json.dumps(child(given.child, given.batch)))
        return
    print(f"{machine()}\n\nM, training step, batch {given.batch}: MB, and ours over theirs")
    found = measure(given)
    ours = found["tinygrad_cnn"]["step"]
    over = {name: ours / size["step"] if size["step"] else None for name, size in found.items()}
    for name, size in found.items():
        ratio = "" if over[name] is None else f"{over[name]:.2f}"
        print(f"  {name:22}{size['step'] / 1e6:10.1f}{ratio:>8}   (before the step {size['before'] / 1e6:.1f})")
    figures = {"threads": given.threads, "batch": given.batch, "bytes": found, "ours_over_theirs": over}
    write(given.json, figures)


if __name__ == "__main__":
    main()
