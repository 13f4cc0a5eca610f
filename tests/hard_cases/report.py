"""Which hard cases hold: the tests of the suite that have an id in their name are run, and counted by id."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .catalogue import GROUPS, IN_PART, NOT_APPLICABLE, PENDING, ids_in, names_in

ROOT = Path(__file__).resolve().parents[2]


class Outcome(NamedTuple):
    """How a test ended: "passed", "failed" or "skipped"; and why it was skipped."""

    kind: str
    reason: str = ""


class Collector:
    """A pytest plugin that runs the tests of some ids only and keeps how they end."""

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = frozenset(ids)
        self.outcomes: dict[str, Outcome] = {}
        self.broken: list[str] = []
        self.files: dict[str, Path] = {}

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        chosen, others = [], []
        for item in items:
            (chosen if self.ids & ids_in(item.nodeid) else others).append(item)
        config.hook.pytest_deselected(items=others)
        items[:] = chosen

    def pytest_collectstart(self, collector: Any) -> None:
        self.files[collector.nodeid] = collector.path

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.broken.append(report.nodeid)
        if report.skipped:  # the whole file, as where an extra is missing: its names are all that is known of its tests
            for name in names_in(self.files[report.nodeid].read_text(encoding="utf-8")):
                if self.ids & ids_in(name):
                    self.outcomes[f"{report.nodeid}::{name}"] = Outcome("skipped", _reason(report))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.outcomes[report.nodeid] = Outcome("failed")
        elif report.skipped:
            self.outcomes[report.nodeid] = Outcome("skipped", _reason(report))
        elif report.when == "call":
            self.outcomes[report.nodeid] = Outcome("passed")


def _reason(report: Any) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


class Verdict(NamedTuple):
    """What the tests of an id say: "passed", "failed", "not applicable", "pending" or "no test", and details."""

    kind: str
    detail: str


def verdict(number: int, outcomes: Iterable[Outcome]) -> Verdict:
    outcomes = list(outcomes)
    kinds = [outcome.kind for outcome in outcomes]
    passed = kinds.count("passed")
    if "failed" in kinds:
        return Verdict("failed", f"{kinds.count('failed')} of {len(kinds)} tests")
    if passed:
        tests = f"{passed} test{'s' if passed > 1 else ''}"
        return Verdict("passed", f"{tests}; not applicable: {IN_PART[number]}" if number in IN_PART else tests)
    if outcomes:
        return Verdict("not applicable", f"here: {outcomes[0].reason}")
    if number in NOT_APPLICABLE:
        return Verdict("not applicable", NOT_APPLICABLE[number])
    return Verdict("pending", "no test yet") if number in PENDING else Verdict("no test", "and no reason given")


def verdicts(outcomes: Mapping[str, Outcome], ids: Iterable[int]) -> dict[int, Verdict]:
    by_id: dict[int, list[Outcome]] = defaultdict(list)
    for node, outcome in outcomes.items():
        for number in ids_in(node):
            by_id[number].append(outcome)
    return {number: verdict(number, by_id[number]) for number in ids}


def table(found: Mapping[int, Verdict]) -> str:
    """A line for each id under its group, the totals of the group, and those of all."""
    lines = []
    for group, titles in GROUPS.items():
        asked = [number for number in titles if number in found]
        if not asked:
            continue
        lines += ["", group]
        for number in asked:
            kind, detail = found[number]
            lines.append(f"  {f'H{number}':<5}{kind:<15}{titles[number]} ({detail})")
        lines.append(f"  {_totals([found[number] for number in asked])}")
    return "\n".join([*lines, "", f"all: {_totals(found.values())}"]).lstrip("\n")


def _totals(found: Iterable[Verdict]) -> str:
    kinds = [verdict.kind for verdict in found]
    named = [f"{kinds.count(kind)} {kind}" for kind in ("passed", "not applicable", "failed")]
    return ", ".join(named + [f"{kinds.count(kind)} {kind}" for kind in ("pending", "no test") if kind in kinds])


def run(ids: Iterable[int], tests: Path) -> tuple[dict[int, Verdict], list[str]]:
    """The verdict on each id after a run of the tests below `tests`, and what kept tests from running."""
    ids = list(ids)
    collector = Collector(ids)
    config = ["--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), "-q", "--no-header", "-p", "no:cacheprovider"]
    status = pytest.main([*config, "--continue-on-collection-errors", str(tests)], plugins=[collector])
    broken = [f"could not be collected: {file}" for file in collector.broken]
    if status in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        broken.append(f"pytest did not run to its end: {pytest.ExitCode(status).name}")
    return verdicts(collector.outcomes, ids), broken
