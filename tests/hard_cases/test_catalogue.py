"""Every hard case has a test or a reason, and the report says which, runs them and fails where one does."""

import subprocess
import sys
from pathlib import Path

import pytest

from hard_cases.__main__ import main
from hard_cases.catalogue import IN_PART, NOT_APPLICABLE, PENDING, TITLES, ids_in, names_in
from hard_cases.questions import QUESTIONS
from hard_cases.report import Outcome, table, verdict, verdicts

TESTS = Path(__file__).resolve().parents[1]


def named_ids():
    """The ids in the names of the tests in all files, and of the questions."""
    names = [name for file in TESTS.rglob("test_*.py") for name in names_in(file.read_text("utf-8"))]
    nodes = [*names, *(f"test[{name}]" for name in QUESTIONS)]
    return frozenset().union(*map(ids_in, nodes))


def test_every_id_has_a_test_or_a_reason():
    named = named_ids()
    assert sorted(TITLES.keys() - named - NOT_APPLICABLE.keys() - PENDING) == []
    assert sorted(named & PENDING) == [], "these have tests now: take them out of PENDING"
    assert sorted(named - TITLES.keys()) == [], "the catalogue has no such ids"
    assert sorted(named & NOT_APPLICABLE.keys()) == []


def test_the_catalogue_has_160_ids_up_to_H186_and_every_exception_is_one():
    assert (len(TITLES), max(TITLES)) == (160, 186)
    assert {*NOT_APPLICABLE, *IN_PART, *PENDING} <= TITLES.keys()


@pytest.mark.parametrize(
    ("node", "ids"),
    [
        ("tests/test_x.py::test_H12_powers_of_zero", {12}),
        ("tests/test_x.py::TestLosses::test_H12_H13_both[5-H14]", {12, 13}),
        ("tests/test_x.py::test_H35_and_H40_variance", {35, 40}),
        ("tests/test_x.py::test_the_answer[H103 smoothing, ignore, weight]", {103}),
        ("tests/test_x.py::test_kinks[H5-maximum]", {5}),
        ("tests/test_x.py::test_kinks[H5a-maximum]", set()),
        ("tests/H7/test_H8.py::test_sizes[3-H9]", set()),
        ("tests/test_x.py::test_an_image_of_HxW[a::test_H1_b]", set()),
    ],
)
def test_ids_stand_in_the_name_or_begin_the_parameters(node, ids):
    assert ids_in(node) == ids


def test_one_failure_outweighs_what_passed_and_skips_are_reasons():
    passed, failed, skipped = Outcome("passed"), Outcome("failed"), Outcome("skipped", "needs onnx")
    assert verdict(12, [passed, failed, passed]) == ("failed", "1 of 3 tests")
    assert verdict(12, [passed, skipped, passed]) == ("passed", "2 tests")
    assert verdict(12, [passed]) == ("passed", "1 test")
    assert verdict(89, [passed]) == ("passed", f"1 test; not applicable: {IN_PART[89]}")
    assert verdict(12, [skipped]) == ("not applicable", "here: needs onnx")
    assert verdict(12, []) == ("no test", "and no reason given")


def test_an_id_with_a_reason_is_not_applicable_and_a_pending_one_says_so(monkeypatch):
    monkeypatch.setitem(NOT_APPLICABLE, 12, "there are no powers here")
    monkeypatch.setattr("hard_cases.report.PENDING", frozenset({13}))
    assert verdict(12, []) == ("not applicable", "there are no powers here")
    assert verdict(13, []) == ("pending", "no test yet")


def test_the_table_has_a_line_for_each_id_under_its_group_and_totals():
    outcomes = {
        "t.py::test_H1_H98_a": Outcome("passed"),
        "t.py::test_H98_b": Outcome("failed"),
        "t.py::test[H2 nan]": Outcome("skipped", "no torch"),
    }
    assert table(verdicts(outcomes, [1, 2, 3, 98])).splitlines() == [
        "kinks, ties, special points",
        "  H1   passed         relu at 0 (1 test)",
        "  H2   not applicable relu of nan, infinities and -0 (here: no torch)",
        "  H3   no test        inf and nan that come back to a closed relu (and no reason given)",
        "  1 passed, 1 not applicable, 0 failed, 1 no test",
        "",
        "softmax and losses",
        "  H98  failed         an ignored row of nan (1 of 2 tests)",
        "  0 passed, 0 not applicable, 1 failed",
        "",
        "all: 1 passed, 1 not applicable, 1 failed, 1 no test",
    ]


SUITE = """
import pytest
def test_H1_holds(): assert True
@pytest.mark.parametrize("name", ["H2 right", "H2 {second}"])
def test_answers(name): assert name != "H2 wrong"
def test_H3_is_skipped(): pytest.skip("needs a printer")
def test_without_an_id(): raise SystemExit("this must not run")
"""


@pytest.mark.asserts
@pytest.mark.parametrize(("second", "status"), [("also right", 0), ("wrong", 1)])
def test_the_command_runs_what_has_an_id_and_fails_where_a_test_does(tmp_path, second, status):
    (tmp_path / "test_small_suite.py").write_text(SUITE.format(second=second))
    done = command(tmp_path, "H1", "h2", "3")
    assert done.returncode == status, done.stderr
    assert "H1   passed         relu at 0 (1 test)" in done.stdout
    assert f"H2   {'failed' if status else 'passed'}" in done.stdout
    assert "H3   not applicable inf and nan that come back to a closed relu (here: needs a printer)" in done.stdout
    assert "1 deselected" in done.stdout
    assert done.stderr == ""


@pytest.mark.asserts
def test_the_command_fails_for_an_id_without_a_test_and_for_a_broken_file(tmp_path):
    (tmp_path / "test_small_suite.py").write_text(SUITE.format(second="also right"))
    (tmp_path / "test_broken.py").write_text("import no_such_module")
    done = command(tmp_path, "H1", "H50")
    assert done.returncode == 1
    assert "H1   passed" in done.stdout
    assert "H50  no test" in done.stdout
    assert "could not be collected: " in done.stdout
    assert "test_broken.py" in done.stdout


@pytest.mark.asserts
def test_a_file_that_is_skipped_as_a_whole_gives_the_reason_for_its_ids(tmp_path):
    (tmp_path / "test_extra.py").write_text(
        "import pytest\npytest.importorskip('no_such_module', reason='needs the extra')\n"
        "class TestFiles:\n    async def test_H180_paths(self): pass\ndef test_H181_H50_offsets(): pass"
    )
    done = command(tmp_path, "H180", "H181")
    assert done.returncode == 0
    assert "0 passed, 2 not applicable, 0 failed\n" in done.stdout
    assert done.stdout.count("(here: needs the extra)") == 2


@pytest.mark.asserts
def test_the_command_fails_where_pytest_does_not_run_to_its_end(tmp_path):
    (tmp_path / "test_stopped.py").write_text("def test_H1_holds(): pass\ndef test_H2_stops(): raise KeyboardInterrupt")
    done = command(tmp_path, "H1")
    assert done.returncode == 0
    done = command(tmp_path, "H1", "H2")
    assert done.returncode == 1
    assert "pytest did not run to its end: INTERRUPTED" in done.stdout


def command(tests, *ids):
    return subprocess.run(
        [sys.executable, "-m", "tests.hard_cases", "--tests", str(tests), *ids],
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("wrong", ["H18", "H187", "x", "H", "12.5", ""])
def test_what_is_no_id_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        main([wrong])
    assert ended.value.code == 2
    assert f"{wrong!r} is no id of the catalogue; the ids are H1 to H186" in capsys.readouterr().err


def test_recording_without_pytorch_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit, match="PyTorch is not installed; its answers cannot be recorded: pip install torch"):
        main(["--record"])
