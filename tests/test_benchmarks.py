"""Every benchmark runs and prints what it measured; no number is judged here."""

import functools
import importlib.util
import json
import os
import re
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
    "mpi.py": ["--only", "8x8", "--batch", "4", "--warmup", "0", "--rounds", "1"],
    "overhead.py": ["--warmup", "0", "--rounds", "1"],
    "scaling.py": ["--batch", "2", "--smallest", "2", "--doublings", "1", "--warmup", "0", "--rounds", "1"],
    "targets.py": ["--only", "step S, 1 thread|import", "--batch", "2", "--warmup", "0", "--rounds", "1"],
    "train_step.py": ["--batch", "2", "--warmup", "0", "--rounds", "1"],
}
SHARED = {"peers.py", "sides.py"}


def run(name: str, *arguments: str) -> str:
    """What the benchmark prints; it must end well and say nothing on stderr, whatever peers are installed."""
    path = str(ROOT / "benchmarks" / name)
    folders = [str(ROOT), str(ROOT / "benchmarks")]
    program = f"import sys; sys.path[:1] = {folders!r}; sys.argv = {[path, *arguments]!r}; import runpy; "
    program += f"runpy.run_path({path!r}, run_name='__main__')"
    without_numba = {"TINYGRAD_CNN_NUMBA": "0"} if name == "mpi.py" else {}  # which each process would load anew
    environment = {**os.environ, **without_numba}
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
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


@pytest.mark.parametrize("name", sorted(TINY))
def test_a_benchmark_prints_a_table_and_writes_its_figures(name, figures):
    printed, written = figures(name)
    assert printed.startswith(written["machine"])
    if "said" in written:
        pytest.skip(written["said"])
    assert len(printed.splitlines()) > 3
    assert "--batch" not in TINY[name] or written["batch"] == int(TINY[name][TINY[name].index("--batch") + 1])


def test_the_diagrams_benchmark_times_every_renderer_and_weighs_the_skeleton(figures):
    written = figures("diagrams.py")[1]
    own = ["build the drawing", "layout and SVG", "DOT", "text", "Mermaid", "Model Explorer"]
    for name in own:
        assert set(written["seconds"][name]) == {"13", "26"}
        assert min(written["seconds"][name].values()) > 0
    assert {"PNG of the SVG", "DOT, dot -Tsvg"} <= set(written["seconds"])
    assert len(written["skeleton"]) == 3


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


def test_growth_is_an_exponent_with_a_verdict_and_a_ratio_for_each_side(figures):
    printed, written = figures("scaling.py")
    cases = written["cases"]
    sides = set(cases["speed against one thread"]["2"])
    for figure in ("exponents", "exponents of the last doubling", "growth"):
        assert set(cases[figure]) == {"batch", "pixels", "depth"}
        assert all(set(of_sides) >= sides for of_sides in cases[figure].values())
    assert "tinygrad_cnn" in sides
    assert printed.count("linear") == sum(map(len, cases["growth"].values()))


@pytest.fixture
def scripts(monkeypatch):
    """The benchmarks can be imported."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


@pytest.mark.parametrize(
    ("power", "verdict"),
    [(0.0, "less than linear: fixed costs are spread"), (0.95, "linear"), (1.0, "linear"), (2.0, "more than linear")],
)
def test_the_exponent_of_a_power_law_is_found_and_judged(scripts, power, verdict):
    import scaling

    found = scaling.exponent([8, 16, 32], [3.0 * n**power for n in (8, 16, 32)])
    assert found == pytest.approx(power)
    assert scaling.verdict(found) == verdict


def test_what_an_op_costs_is_a_time_and_a_ratio_to_each_peer(figures):
    written = figures("overhead.py")[1]
    assert set(written["microseconds_per_op"]) == set(written["ours_over_theirs"])
    assert min(written["microseconds_per_op"].values()) > 0
    assert written["ours_over_theirs"]["tinygrad_cnn"] == 1


def test_memory_is_measured_for_each_side_in_a_process_of_its_own(figures):
    written = figures("memory.py")[1]
    sizes = written["bytes"]
    assert "tinygrad_cnn" in sizes
    assert set(written["ours_over_theirs"]) == set(sizes)
    assert all(size["before"] > 2**20 and size["step"] >= 0 for size in sizes.values())


def test_more_processes_are_timed_and_put_on_paper_or_said_to_be_missing(figures):
    printed, written = figures("mpi.py")
    if importlib.util.find_spec("mpi4py") is None or "said" in written:
        assert written["said"].startswith("not measured: mpi4py or mpiexec is not installed")
        return
    for name, case in written["cases"].items():
        assert printed.count(name) == 1 + 5
        assert case["faster"] == pytest.approx(case["alone"] / case["together"])
        assert 0 < case["share"] < 1
        paper = case["on paper"]
        assert paper["1"]["step"] == pytest.approx(case["alone"])
        assert [row["reducing"] for row in paper.values()] == sorted(row["reducing"] for row in paper.values())
    assert [case["calls"] for case in written["cases"].values()] == [2 + 2 * 3]  # three batch norms


def test_layers_have_a_forward_and_gradients_of_every_shape(figures):
    cases = figures("layers.py")[1]["cases"]
    assert len(cases) == 2 * 14
    assert {case.rpartition(", ")[2] for case in cases} == {"forward", "forward and gradients"}


def test_the_table_of_targets_says_what_is_met_and_why_a_figure_is_missing(figures):
    printed, written = figures("targets.py")
    lines = printed.splitlines()
    assert lines[1:4] == ["", "| what | must | measured | |", "| --- | --- | --- | --- |"]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[4:]] == [
        "training step S, 1 thread", "import", "numba imported before the first kernel",
        "NumPy only, training step S, 1 thread", "NumPy only, import",
    ]  # fmt: skip
    for line, target in zip(lines[4:], written["targets"], strict=True):
        if target["measured"] is None:
            assert re.search(r"\|  \| not measured: (PyTorch|numba) is not installed \|$", line)
        else:
            assert re.search(r"\| (\d+\.\d\d(x| s)|yes|no) \| (met|missed( by \d+%)?) \|$", line)


def test_the_targets_that_need_pytorch_and_numba_are_measured_where_they_are(figures):
    for module in ("torch", "numba"):
        pytest.importorskip(module, reason=f"{module} is not installed: its targets are not measured")
    written = figures("targets.py")[1]
    assert all(target["measured"] is not None for target in written["targets"])
    assert written["targets"][2]["said"] == "met"  # the import alone does not import numba


@pytest.mark.parametrize(
    ("unit", "must", "value", "bound", "said"),
    [
        ("x", 2.0, 2.0, "≥ 2.00x", "met"),
        ("x", 2.0, 1.5, "≥ 2.00x", "missed by 25%"),
        ("s", 0.2, 0.2, "≤ 0.20 s", "met"),
        ("s", 0.2, 0.3, "≤ 0.20 s", "missed by 50%"),
        ("of PyTorch's", 0.9, 0.99, "≤ 0.90 of PyTorch's", "missed by 10%"),
        ("?", 0.0, 0.0, "no", "met"),
        ("?", 1.0, 0.0, "yes", "missed"),
        ("x", None, 3.0, "", "no target"),
    ],
)
def test_a_target_is_met_or_missed_by_a_part_of_it(scripts, unit, must, value, bound, said):
    import targets

    target = targets.Target("it", must, unit, lambda given: value)
    assert (targets.bound(target), targets.verdict(target, value)) == (bound, said)


def test_a_benchmark_that_fails_ends_the_table_with_its_complaint(scripts):
    import targets

    with pytest.raises(SystemExit, match=r"-c raise ValueError\('broken'\) ended with 1:(.|\n)*ValueError: broken"):
        targets.child("-c", "raise ValueError('broken')", numba=False)
