"""The targets of python -m tests.fuzz take their own seeds, and notice a reader that is wrong."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz import seeds, targets

import tinygrad_cnn as tg

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "folder", lambda: tmp_path)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_seeds_are_read_and_so_is_what_becomes_of_them(name):
    if name == "onnx" and importlib.util.find_spec("onnx") is None:
        pytest.skip("needs the extra onnx")
    target = targets.TARGETS[name]
    seeds, rng = target.seeds(), np.random.default_rng(0)
    assert seeds
    for seed in seeds:
        target.read(seed)
        for _ in range(20):
            spoiled = bytearray(seed)
            spoiled[rng.integers(len(seed))] = rng.integers(256)
            target.read(bytes(spoiled[: rng.integers(1, len(seed) + 1)]))


def test_a_round_trip_that_changes_a_number_is_noticed(monkeypatch):
    load = tg.load

    def wrong(path):
        state = load(path)
        return state if path.name != "again.safetensors" else {name: value * 2 for name, value in state.items()}

    monkeypatch.setattr(tg, "load", wrong)
    with pytest.raises(AssertionError, match="after a round trip"):
        targets.read_weights(targets.weights_seeds()[2])


def test_another_exception_comes_through(monkeypatch):
    def wrong(path):
        raise KeyError(path)

    monkeypatch.setattr(tg, "load", wrong)
    with pytest.raises(KeyError):
        targets.read_weights(b"")


def test_a_checkpoint_that_is_refused_too_late_is_noticed(monkeypatch):
    def wrong(path, model):
        with tg.no_grad():
            next(iter(model.parameters())).add_(1.0)
        raise tg.CheckpointError("late")

    monkeypatch.setattr(targets, "load_checkpoint", wrong)
    with pytest.raises(AssertionError, match="changed the model"):
        targets.read_checkpoint(b"")


def test_the_command_names_what_it_needs():
    command = [sys.executable, "-c", "import sys; sys.modules['atheris'] = None; sys.argv = ['fuzz', 'weights']\n"
               "from tests.fuzz.__main__ import main; sys.exit(main())"]  # fmt: skip
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "atheris is not installed; pip install" in run.stderr


@pytest.mark.parametrize(("wanted", "status"), [("5", 0), ("6", 1)])
def test_a_property_test_shares_its_runs_over_seeds_and_a_failure_is_told(
    wanted, status, tmp_path, monkeypatch, capsys
):
    test = tmp_path / "test_one.py"
    test.write_text(f"import os\ndef test_it():\n    assert os.environ['HYPOTHESIS_EXAMPLES'] == {wanted!r}\n")
    monkeypatch.setitem(seeds.TESTS, "one", str(test))
    assert seeds.fuzz("one", 9, 2) == status
    told = capsys.readouterr().out
    assert told.endswith(f"one: 2 seeds of 5 examples for each test, {2 * status} failed\n")
    assert ("assert '5' == '6'" in told) == bool(status)
