"""Every benchmark runs and prints what it measured; no number is judged here."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TINY = {
    "diagrams.py": ["--sizes", "13,26", "--kept", "3", "--rounds", "1"],
    "inference.py": ["--batch", "2", "--warmup", "1", "--rounds", "1"],
    "layers.py": ["--batch", "1", "--warmup", "0", "--rounds", "1"],
    "memory.py": ["--batch", "4"],
    "overhead.py": ["--rounds", "1"],
    "scaling.py": ["--batch", "2", "--smallest", "2", "--doublings", "1", "--warmup", "0", "--rounds", "1"],
    "train_step.py": ["--batch", "2", "--warmup", "0", "--rounds", "1"],
}
SHARED = {"sides.py"}


WRITES = sorted(set(TINY) - {"diagrams.py", "overhead.py"})  # which print their tables, and write JSON to a file


def run(name: str, *arguments: str) -> str:
    """What the benchmark prints; it must end well and say nothing on stderr, whatever peers are installed."""
    path = str(ROOT / "benchmarks" / name)
    folders = [str(ROOT), str(ROOT / "benchmarks")]
    program = f"import sys; sys.path[:1] = {folders!r}; sys.argv = {[path, *arguments]!r}; import runpy; "
    program += f"runpy.run_path({path!r}, run_name='__main__')"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """What a tiny run of a benchmark prints and writes as JSON; each is run once."""

    @functools.cache
    def once(name: str) -> tuple[str, dict]:
        path = tmp_path_factory.mktemp("figures") / "figures.json"
        printed = run(name, "--json", str(path), *TINY[name])
        return printed, json.loads(path.read_text(encoding="utf-8"))

    return once


def test_there_is_a_tiny_run_of_every_benchmark():
    assert {path.name for path in (ROOT / "benchmarks").glob("*.py")} == set(TINY) | SHARED


@pytest.mark.parametrize("name", sorted(TINY))
def test_a_benchmark_says_how_to_run_it(name):
    assert f"python benchmarks/{name}" in (ROOT / "benchmarks" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(set(TINY) - set(WRITES)))
def test_a_benchmark_runs(name):
    assert run(name, *TINY[name]).strip()


@pytest.mark.parametrize("name", WRITES)
def test_a_benchmark_prints_a_table_and_writes_its_figures(name, figures):
    printed, written = figures(name)
    assert printed.startswith(written["machine"])
    assert "tinygrad_cnn  " in printed
    assert written["batch"] == int(TINY[name][TINY[name].index("--batch") + 1])


def test_the_diagrams_benchmark_times_every_renderer_and_weighs_the_skeleton():
    printed = json.loads(run("diagrams.py", "--json", *TINY["diagrams.py"]))
    own = ["build the drawing", "layout and SVG", "DOT", "text", "Mermaid", "Model Explorer"]
    for name in own:
        assert set(printed["seconds"][name]) == {"13", "26"}
        assert min(printed["seconds"][name].values()) > 0
    assert {"PNG of the SVG", "DOT, dot -Tsvg"} <= set(printed["seconds"])
    assert len(printed["skeleton"]) == 3


def test_the_training_steps_of_all_sides_are_timed_and_the_fastest_pytorch_has_speed_1(figures):
    written = figures("train_step.py")[1]
    assert set(written) == {"machine", "threads", "batch", "cases"}
    assert list(written["cases"]) == [f"{name}, training step, batch 2" for name in ("S", "M", "ResNet-20")]
    for case in written["cases"].values():
        assert min(case["seconds"].values()) > 0
        rivals = [speed for name, speed in case["speed"].items() if name.startswith("torch")]
        assert set(case["speed"]) == (set(case["seconds"]) if rivals else set())
        assert not rivals or max(rivals) == 1


def test_a_network_is_timed_alone():
    printed = run("train_step.py", "--networks", "S", *TINY["train_step.py"])
    assert "\nS, training step, batch 2\n" in printed
    assert "\nM, " not in printed


def test_growth_is_an_exponent_and_a_ratio_for_each_side(figures):
    cases = figures("scaling.py")[1]["cases"]
    assert set(cases["exponents"]) == {"batch", "pixels", "depth"}
    sides = set(cases["two threads against one"])
    assert all(set(exponents) == sides for exponents in cases["exponents"].values())
    assert "tinygrad_cnn" in sides


def test_the_exponent_of_a_power_law_is_found(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import scaling

    assert scaling.exponent([8, 16, 32], [3.0 * n**1.5 for n in (8, 16, 32)]) == pytest.approx(1.5)


def test_memory_is_measured_for_each_side_in_a_process_of_its_own(figures):
    sizes = figures("memory.py")[1]["bytes"]
    assert "tinygrad_cnn" in sizes
    assert all(size["before"] > 2**20 and size["step"] >= 0 for size in sizes.values())


def test_layers_have_a_forward_and_gradients_of_every_shape(figures):
    cases = figures("layers.py")[1]["cases"]
    assert len(cases) == 2 * 14
    assert {case.rpartition(", ")[2] for case in cases} == {"forward", "forward and gradients"}
