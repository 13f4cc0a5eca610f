"""Running commands, in a process of their own or in this one, and what they are run on."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_cnn.__main__ import main

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
JOB = [sys.executable, "-W", "error", "-m", "tinygrad_cnn"]
MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
TINY = ["train", "--limit", "60", "--batch-size", "16"]

NET = """
from tinygrad_cnn import nn
from tinygrad_cnn.data import digits

digits("test")[0][0]

class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(None, num_classes)
        )
        print("made")

    def forward(self, x):
        return self.body(x)

class Fragile(Net):
    def forward(self, x):
        if x.shape[-1] > 5:
            raise RuntimeError("too wide")
        return self.body(x)

def of_three(**options):
    return nn.Sequential(nn.Flatten(), nn.Linear(None, 3))

def refuses():
    raise RuntimeError("not today")

def silent():
    return 3

class NoTensor(Net):
    def forward(self, x):
        return 3

class Constant(Net):
    def forward(self, x):
        return self.body(x).detach()

class Tired(Net):
    def forward(self, x):
        if self.training:
            raise RuntimeError("no more")
        return self.body(x)

class Normed(Net):
    def __init__(self):
        super().__init__(10, 3)
        self.norm = nn.BatchNorm1d(10)

    def forward(self, x):
        return self.norm(self.body(x))

made = Net(10, 1)
"""


def run(*arguments: object, cwd: Path | None = None):
    return subprocess.run([*JOB, *map(str, arguments)], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command in this process."""
    code = main(list(map(str, arguments)))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def usage(capsys, *arguments: object) -> str:
    """What a command says to arguments that it refuses with exit code 2."""
    with pytest.raises(SystemExit) as exit:
        main(list(map(str, arguments)))
    printed = capsys.readouterr()
    assert (exit.value.code, printed.out) == (2, "")
    return printed.err.splitlines()[-1]


def figures(folder: Path) -> dict:
    """metrics.json without times."""
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    del found["seconds"], found["seconds_in_all"]
    for logs in found["history"]:
        del logs["seconds"]
    return found


def pictures(root: Path, classes: dict[str, int], size: tuple[int, int] = (8, 8), seed: int = 0) -> None:
    """Image folders of random grey pictures, whose brightness tells the class."""
    generator = np.random.default_rng(seed)
    for k, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            np.save(root / name / f"{i}.npy", generator.integers(90 * k, 90 * k + 60, size).astype(np.uint8))
