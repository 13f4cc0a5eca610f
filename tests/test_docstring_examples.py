"""The examples in docstrings run and print what stands below them; each way to understand a network has one."""

import doctest
import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.declaration import registry
from tinygrad_cnn.emit.templates import templates

PACKAGE = Path(tg.__file__).parent
NAMES = {"np": np, "tg": tg, "nn": tg.nn, "F": tg.nn.functional}


def examples():
    """Every docstring of the package with an example, by the name of what it documents."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " not in path.read_text(encoding="utf-8"):
            continue
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
        yield from (test for test in doctest.DocTestFinder().find(module, globs=vars(module) | NAMES) if test.examples)


EXAMPLES = {test.name: test for test in examples()}


@pytest.fixture
def forgotten():
    """What an example declares is forgotten after it."""
    ops, scripts = set(registry), dict(templates)
    yield
    for name in set(registry) - ops:
        del registry[name]
    templates.clear()
    templates.update(scripts)


def reported(test):
    """How many examples of a docstring fail, and what they say."""
    said: list[str] = []
    return doctest.DocTestRunner(verbose=False).run(test, out=said.append, clear_globs=False).failed, "".join(said)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_prints_what_stands_below_it(name, forgotten):
    if name.startswith("tinygrad_cnn.onnx.") and importlib.util.find_spec("onnx") is None:
        pytest.skip("needs the extra onnx")
    failed, said = reported(EXAMPLES[name])
    assert failed == 0, said


FEATURES = {
    "explain": tg.explain,
    "explain_grad": tg.explain_grad,
    "Explanation": tg.explanation.Explanation,
    "gradcheck": tg.testing.gradcheck,
    "gradgradcheck": tg.testing.gradgradcheck,
    "check_op": tg.testing.check_op,
    "exact_check": tg.testing.exact_check,
    "adjoint_check": tg.testing.adjoint_check,
    "conv2d_matrix": tg.conv2d_matrix,
    "doctor": tg.doctor,
    "solve_conv": tg.solve_conv,
    "detect_anomaly": tg.detect_anomaly,
    "Picture.find_nan": type(tg.draw(tg.ones(1, requires_grad=True).sum())).find_nan,
    "ShapeError": tg.ShapeError,
    "mse_loss": tg.mse_loss,
    "to_numpy": tg.to_numpy,
    "template": tg.emit.template,
    "conventions": tg.conventions,
    "record": tg.record,
    "Trace.diff": type(tg.record(lambda x: x * 2.0, tg.ones(1))).diff,
}


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_has_an_example(name):
    documented = FEATURES[name]
    assert f"{documented.__module__}.{name}" in EXAMPLES
    assert len(EXAMPLES[f"{documented.__module__}.{name}"].examples) > 0


def test_an_example_that_prints_something_else_fails():
    wrong = doctest.DocTestParser().get_doctest(">>> tg.arange(2).tolist()\n[0, 2]\n", dict(NAMES), "wrong", None, 0)
    failed, said = reported(wrong)
    assert failed == 1
    assert "Got:\n    [0, 1]" in said
