"""Every example runs, says what it did, and complains of nothing."""

import importlib.util
import json
import os
import re
import runpy
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
NUMBERED = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
EXAMPLES = sorted(
    {*(ROOT / "examples").glob("*.py")} - {*NUMBERED} - {ROOT / "examples" / f for f in ("checks.py", "figures.py")}
)
PICTURES = ROOT / "examples" / "pictures"
PLOTS = importlib.util.find_spec("matplotlib") is not None

# Runs examples one after the other in a process: importing for each by itself would take most of the time.
DRIVER = """
import contextlib, io, json, runpy, sys
sys.path[:0] = sys.argv[2].split(",")
paths, sys.argv = sys.argv[3:], ["example", sys.argv[1]]
results = {}
for path in paths:
    text = io.StringIO()
    end = None
    with contextlib.redirect_stdout(text):
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as error:
            end = str(error)
    results[path] = [text.getvalue(), end]
print(json.dumps(results))
"""


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


def run_all(paths: list[Path], folder: Path, before: str = "") -> dict[str, tuple[str, str | None]]:
    """The name of each example -> what it printed, and the text that it ended with, if it did."""
    command = [sys.executable, "-W", "error", "-c", before + DRIVER, str(folder / "made"),
               f"{ROOT / 'examples'},{ROOT}", *map(str, paths)]  # fmt: skip
    environment = {**os.environ, "TINYGRAD_CNN_QUIET": "1"}
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")
    return {Path(path).stem: (text, end) for path, (text, end) in json.loads(process.stdout).items()}


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """What all numbered examples printed, and the folder that they were run in."""
    folder = tmp_path_factory.mktemp("examples")
    return run_all(NUMBERED, folder), folder


@pytest.mark.parametrize("name", [path.stem for path in NUMBERED])
def test_a_numbered_example_keeps_what_it_promises(numbered, name):
    text, end = numbered[0][name]
    assert end is None
    assert len(re.findall(r"^ok  ", text, re.MULTILINE)) >= 4
    drawn = PLOTS or name.startswith("18")
    assert ("\npicture" in text, "no picture: matplotlib is not installed" in text) == (drawn, not drawn)


def test_there_are_eighteen_in_order():
    assert [path.name[:2] for path in NUMBERED] == [f"{k:02}" for k in range(1, 19)]


def test_pictures_go_into_the_named_folder_and_nowhere_else(numbered):
    folder = numbered[1]
    assert [path.name for path in folder.iterdir()] == ["made"]
    made = {path.name for path in (folder / "made").iterdir()}
    pngs = {f"{path.stem}.png" for path in NUMBERED[:-1]} if PLOTS else set()
    assert made == pngs | {"18_draw_the_graph.svg", "18_draw_the_graph.html"}


def size(png: Path) -> tuple[int, int]:
    return struct.unpack(">2I", png.read_bytes()[16:24])


def test_the_index_shows_a_picture_of_each_that_is_as_it_is_drawn(numbered):
    index = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r'^\| \[(\w+)\]\((\w+\.py)\) \| .+ \| <img src="pictures/([\w.]+)" width="\d+" alt="[^"]+"> \|$',
                      index, re.MULTILINE)  # fmt: skip
    ends = ["svg" if path is NUMBERED[-1] else "png" for path in NUMBERED]
    assert rows == [(p.stem, p.name, f"{p.stem}.{end}") for p, end in zip(NUMBERED, ends, strict=True)]
    assert {path.name for path in PICTURES.iterdir()} == {picture for *_, picture in rows}
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 400_000
    for drawn in (numbered[1] / "made").glob("*.png"):
        assert size(drawn) == size(PICTURES / drawn.name)
    title = re.compile(r'aria-label="([^"]+)"')
    kept, drawn = (title.search((f / "18_draw_the_graph.svg").read_text(encoding="utf-8"))
                   for f in (PICTURES, numbered[1] / "made"))  # fmt: skip
    assert kept[1] == drawn[1]


def test_every_example_is_in_the_index():
    index = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in [*NUMBERED, *EXAMPLES] if f"({path.name})" not in index] == []


def test_an_example_stops_at_the_first_number_that_is_wrong(tmp_path):
    """conv2d is made to give one too much."""
    wrong = """
import tinygrad_cnn.nn.functional as F
right = F.conv2d
F.conv2d = lambda *args, **options: right(*args, **options) + 1
"""
    found = run_all(NUMBERED[:1], tmp_path, f"import sys; sys.path.insert(0, {str(ROOT)!r})" + wrong)
    text, end = found["01_kernel_by_hand"]
    assert end == "WRONG  conv2d: got 66, promised was 65"
    assert text.endswith("ok  the sum: 65\n")


def test_without_matplotlib_an_example_says_what_to_install(tmp_path):
    none = "import sys; sys.modules['matplotlib'] = None\n"
    ((text, end),) = run_all(NUMBERED[:1], tmp_path, none).values()
    assert end is None
    assert text.endswith("\n\nno picture: matplotlib is not installed; pip install 'tinygrad_cnn[plot]'\n")
    assert list(tmp_path.iterdir()) == []


CHECKS = runpy.run_path(str(ROOT / "examples" / "checks.py"))
check, refused = CHECKS["check"], CHECKS["refused"]


def test_check_prints_what_is_right_and_ends_the_program_at_what_is_not(capsys):
    check("a number", 0.1 + 0.2, 0.3, within=1e-9)
    check("an array", np.array([[1, 2]]), [[1, 2]])
    check("many", np.zeros((4, 5)), np.zeros((4, 5)))
    check("a word", "nan", "nan")
    assert capsys.readouterr().out.splitlines() == [
        "ok  a number: 0.3", "ok  an array: [[1 2]]", "ok  many: all 20 numbers of 4 x 5", "ok  a word: nan",
    ]  # fmt: skip
    for call, text in (
        (lambda: check("x", 0.1 + 0.2, 0.3), "WRONG  x: got 0.3, promised was 0.3"),
        (lambda: check("x", [1.0, np.nan], [1.0, 2.0], within=0.1), "WRONG  x: got [ 1. nan], promised was [1. 2.]"),
        (lambda: check("x", [1, 2], [[1, 2]]), "WRONG  x: the shape is (2,), (1, 2) was promised"),
        (lambda: check("x", 1.2, 1.0, within=0.1), "WRONG  x: got 1.2, promised was 1"),
    ):
        with pytest.raises(SystemExit) as end:
            call()
        assert str(end.value) == text
    assert capsys.readouterr().out == ""


def test_refused_wants_the_error_and_its_words(capsys):
    refused("a text as number", ValueError, lambda: int("x"), "invalid literal", "'x'")
    assert capsys.readouterr().out == "ok  a text as number: ValueError: invalid literal for int() with base 10: 'x'\n"
    with pytest.raises(SystemExit, match="WRONG  a: a ValueError was promised, but the result is 3"):
        refused("a", ValueError, lambda: int("3"))
    with pytest.raises(SystemExit, match=r"WRONG  a: invalid literal .* which does not say banana"):
        refused("a", ValueError, lambda: int("x"), "literal", "banana")
    with pytest.raises(ZeroDivisionError):
        refused("a", ValueError, lambda: 1 / 0)


@pytest.mark.parametrize("path", [*NUMBERED, *EXAMPLES], ids=lambda path: path.name)
def test_an_example_says_how_to_run_it(path):
    assert f"python examples/{path.name}" in path.read_text(encoding="utf-8")
