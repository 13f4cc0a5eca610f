"""The node tests of the package onnx itself: none fails, and those on the list pass."""

import re
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx.defs", reason="needs the extra onnx")

import node_cases
import onnx

HERE = Path(__file__).parent
MADE_WITH = (1, 23)  # the onnx whose tests are on the list


@pytest.fixture(scope="module")
def report():
    found = node_cases.run(node_cases.cases(node_cases.CNN))
    print("\n" + found.table())
    return found


def test_no_node_test_of_the_layers_fails(report):
    assert report.failed == []


def test_every_listed_node_test_passes(report):
    listed = (HERE / "must_pass.txt").read_text().split()
    assert len(listed) == len(set(listed)) >= 184
    there = {name for _, name, _ in report.passed + report.unsupported + report.failed}
    missing = set(listed) - {name for _, name, _ in report.passed}
    if tuple(map(int, onnx.__version__.split(".")[:2])) < MADE_WITH:
        missing &= there
    assert sorted(missing) == []


def test_what_is_unsupported_is_so_for_a_reason_that_is_said(report):
    reasons = re.compile(r"not supported|are supported|is supported")
    assert [case for case in report.unsupported if not reasons.search(case[2])] == []


def test_volumes_are_refused_as_unsupported(report):
    volumes = [why for _, name, why in report.unsupported if name == "test_maxpool_3d_default"]
    assert len(volumes) == 1
    assert re.search(r"MaxPool 'number 0': .* windows along one or two axes are supported, not 3", volumes[0])


def test_a_wrong_operator_is_seen(monkeypatch):
    from tinygrad_cnn.onnx.operators import registered

    monkeypatch.setitem(registered(), "Tanh", lambda node, x: x * 1.001)
    found = node_cases.run(node_cases.cases(["tanh"]))
    assert len(found.failed) == 2
    assert not found.passed


def test_the_report_prints_from_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tests.onnx_models", "tanh"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(HERE / "__main__.py"), run_name="__main__")
    assert ended.value.code == 0
    assert re.search(r"^Tanh +2 +0 +0$", capsys.readouterr().out, re.MULTILINE)
