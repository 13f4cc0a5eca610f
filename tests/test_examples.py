"""Every example runs, says what it did, and complains of nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", f"import sys; sys.path[0] = {str(ROOT)!r}; import runpy; "
               f"runpy.run_path({str(path)!r}, run_name='__main__')"]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_there_are_examples():
    assert "add_an_op.py" in {path.name for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_cleanly_and_leaves_nothing_behind(path, tmp_path):
    process = run(path, tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.strip()
    assert list(tmp_path.iterdir()) == []


def test_the_new_op_is_proved_and_a_wrong_rule_is_refused(tmp_path):
    lines = run(ROOT / "examples" / "add_an_op.py", tmp_path).stdout.splitlines()
    assert lines == [
        "squareplus [0.5 1.  2. ]",  # (x + sqrt(x^2 + 4)) / 2 at -1.5, 0, 1.5
        "slope      [0.2 0.5 0.8]",
        "check_op: proved on 20 examples",
        "gradcheck: right behind conv2d, too",
        "check_op: refused a rule with b forgotten",
    ]


def test_the_digits_are_learned_and_a_second_start_finds_the_run_complete(tmp_path):
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "train_digits.py"), "made"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TINYGRAD_CNN_QUIET": "1"}
    first, second = (
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    *epochs, _, result = [line for line in first.splitlines() if "matplotlib" not in line]
    assert float(re.fullmatch(r"test accuracy (0\.\d+), macro F1 0\.\d+", result)[1]) > 0.9
    assert len(epochs) == 8
    assert second == "".join(line for line in first.splitlines(keepends=True) if not line.startswith("epoch "))
    files = {path.name for path in (tmp_path / "made").iterdir()} - {"curves.png", "confusion.png"}
    assert files == {"best.safetensors", "checkpoint.safetensors", "log.csv"}


def test_the_curvature_is_the_same_from_both_sides_and_checkpoints_change_no_bit(tmp_path):
    lines = run(ROOT / "examples" / "transforms.py", tmp_path).stdout.splitlines()
    curvature, second = re.findall(r"\d\.\d+", lines[0])
    assert curvature == second
    assert lines[1].endswith("from its whole Hessian (10, 10)")
    assert int(re.findall(r"(\d+)%", lines[2])[0]) < 75
    assert lines[3] == "the same gradients, bit for bit"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_how_to_run_it(path):
    assert f"python examples/{path.name}" in path.read_text(encoding="utf-8")
