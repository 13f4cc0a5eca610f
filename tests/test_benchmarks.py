"""Every benchmark runs and prints what it measured; no number is judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TINY = {
    "diagrams.py": ["--sizes", "13,26", "--kept", "3", "--rounds", "1"],
    "inference.py": ["--batch", "2", "--warmup", "1", "--rounds", "1"],
    "layers.py": ["--scale", "64", "--warmup", "0", "--rounds", "1"],
    "memory.py": ["--batch", "4"],
    "overhead.py": ["--rounds", "1"],
    "scaling.py": ["--batch", "2", "--smallest", "2", "--doublings", "1", "--warmup", "0", "--rounds", "1"],
    "train_step.py": ["--batch", "2", "--warmup", "0", "--rounds", "1"],
}
SHARED = {"sides.py"}


def run(name: str, *arguments: str) -> str:
    """What the benchmark prints; it must end well and say nothing on stderr, whatever peers are installed."""
    path = str(ROOT / "benchmarks" / name)
    folders = [str(ROOT), str(ROOT / "benchmarks")]
    program = f"import sys; sys.path[:1] = {folders!r}; sys.argv = {[path, *arguments]!r}; import runpy; "
    program += f"runpy.run_path({path!r}, run_name='__main__')"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def test_there_is_a_tiny_run_of_every_benchmark():
    assert {path.name for path in (ROOT / "benchmarks").glob("*.py")} == set(TINY) | SHARED


@pytest.mark.parametrize("name", sorted(TINY))
def test_a_benchmark_says_how_to_run_it(name):
    assert f"python benchmarks/{name}" in (ROOT / "benchmarks" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(TINY))
def test_a_benchmark_runs(name):
    assert run(name, *TINY[name]).strip()


def test_the_diagrams_benchmark_times_every_renderer_and_weighs_the_skeleton():
    printed = json.loads(run("diagrams.py", "--json", *TINY["diagrams.py"]))
    own = ["build the drawing", "layout and SVG", "DOT", "text", "Mermaid", "Model Explorer"]
    for name in own:
        assert set(printed["seconds"][name]) == {"13", "26"}
        assert min(printed["seconds"][name].values()) > 0
    assert {"PNG of the SVG", "DOT, dot -Tsvg"} <= set(printed["seconds"])
    assert len(printed["skeleton"]) == 3
