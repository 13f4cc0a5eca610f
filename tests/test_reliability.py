"""The scenarios of python -m tests.reliability, in their short form, and that each of them can fail."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reliability import long_run, training
from reliability.checks import Check
from reliability.injection import Injection, SystemInjection, each_call

import tinygrad_cnn as tg
from tinygrad_cnn.interchange import save
from tinygrad_cnn.optim.optimizer import Optimizer

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("scenario", [*training.SCENARIOS, *long_run.SCENARIOS], ids=lambda scenario: scenario.__name__)
def test_what_must_hold_holds(scenario):
    row = scenario(False)
    assert row.failures == ()
    assert any(character.isdigit() for character in row.times)


def test_an_injection_counts_calls_and_raises_out_of_the_one_asked_for():
    x = tg.Tensor(np.ones(3), requires_grad=True)
    kept = [x.reshape(3, 1)]  # the first call prepares the op
    with Injection() as count:
        kept.append(x.reshape(3, 1))
    assert count.calls > 0
    seen = []

    def run(injection):
        with injection:
            kept.append(x.reshape(3, 1))

    assert each_call(run, Injection, seen.append, KeyError) == (count.calls, count.calls)
    assert len(seen) == count.calls
    assert all(":" in place for place in seen)


def test_an_error_of_the_system_is_raised_out_of_each_call_of_a_save(tmp_path):
    path = tmp_path / "w.safetensors"
    old = {"w": np.arange(3.0)}
    save(old, path)
    content, places = path.read_bytes(), []

    def run(injection):
        with injection:
            save({"w": np.arange(5.0)}, path)
        path.write_bytes(content)  # the save was whole

    def check(place):
        places.append(place)
        assert path.read_bytes() == content or np.array_equal(tg.load(path)["w"].numpy(), np.arange(5.0))
        assert [file.name for file in tmp_path.iterdir()] == [path.name]
        path.write_bytes(content)

    functions = {"writelines", "flush", "fsync", "open"}
    raised, calls = each_call(run, lambda *k: SystemInjection("atomic.py", functions, *k), check, OSError)
    assert raised == calls
    assert functions <= set(places)


def test_a_backward_that_delivers_gradients_one_by_one_is_noticed(monkeypatch):
    made = training.problem()
    monkeypatch.setattr(training, "problem", lambda: made)

    def torn(self):
        for p in made[0].parameters():
            (g,) = tg.grad(self, [p], retain_graph=True)
            p.grad = g if p.grad is None else p.grad + g

    monkeypatch.setattr(tg.Tensor, "backward", torn)
    assert any("a gradient changed" in failure for failure in training.exception_in_backward(False).failures)


def test_a_step_that_tears_a_parameter_from_its_state_is_noticed(monkeypatch):
    def torn(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                value, state = self.update(p.array, p.grad.array, self.state.get(p, {}), group)
                p.array[...] = value
                self._state_bytes(p)  # a call between the two
                self.state[p] = {key: np.asarray(v) if key in self.arrays else v for key, v in state.items()}

    monkeypatch.setattr(Optimizer, "step", torn)
    row = training.interrupt_in_step(True)
    assert any("torn" in failure for failure in row.failures)


def test_a_run_that_leaves_cycles_is_noticed(monkeypatch):
    keep = tg.Tensor.backward

    def leaky(self, *arguments, **options):
        cycle = [self]
        cycle.append(cycle)
        keep(self, *arguments, **options)

    monkeypatch.setattr(tg.Tensor, "backward", leaky)
    run = long_run.train(20, 20)
    assert run["unreachable"] >= 20


def test_a_failed_check_is_in_the_row():
    check = Check("name")
    check.that(True, "fine")
    check.that(False, "broken")
    assert check.row("2 times") == ("name", "2 times", ("broken",))


def test_the_command_says_what_it_can():
    run = subprocess.run(
        [sys.executable, "-m", "tests.reliability", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--quick" in run.stdout
