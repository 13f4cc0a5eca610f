"""The fault table and the long runs: python -m tests.reliability [--quick]

Faults in files and processes are tests of the suite, chosen by the ids of their cases; the rest is in this folder. It
takes some minutes, and exits with 1 if anything did not hold.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from . import long_run, training
from .checks import Row, Scenario

TESTS = Path(__file__).resolve().parent.parent

# the cases of faults that tests of the suite show, and what they are
IN_THE_SUITE = {
    "H127": "an exception at any node, rule or hook",
    "H128": "a rule that returns something else",
    "H129": "an interrupt at any moment",
    "H160": "SIGKILL during a save",
    "H161": "temporary files of killed saves",
    "H162": "disk full, input and output errors, read-only folders",
    "H163": "SIGINT and SIGTERM during a save",
    "H164": "the order of writing, syncing and renaming",
    "H165": "a save over the file that was loaded",
    "H166": "truncation at every byte",
    "H167": "bits flipped, zeroed, doubled",
    "H175": "two writers, and readers meanwhile",
    "H176": "a training run that is killed and goes on",
}


def of_the_suite() -> list[Row]:
    """One row for each case, from a run of the tests that name it."""
    files = sorted(
        {str(path) for path in TESTS.rglob("test_*.py") if re.search("|".join(IN_THE_SUITE), path.read_text())}
    )
    names = " or ".join(f"{case}_" for case in IN_THE_SUITE)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA", "--tb=no", "-k", names, *files],
        cwd=TESTS.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    outcomes = re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED)\b.*?(test_\S+|.*)$", run.stdout, re.MULTILINE)
    rows = []
    for case, what in IN_THE_SUITE.items():
        mine = [(outcome, test) for outcome, test in outcomes if f"{case}_" in test]
        failures = [test for outcome, test in mine if outcome in ("FAILED", "ERROR")]
        if not mine:
            failures = [f"no test of {case} ran: {run.stdout[-500:]}{run.stderr[-500:]}"]
        rows.append(Row(f"{case}: {what}", f"{sum(o == 'PASSED' for o, _ in mine)} tests", tuple(failures)))
    return rows


def show(rows: list[Row], title: str, seconds: float) -> int:
    print(f"\n{title} ({seconds:.0f} s)")
    for row in rows:
        print(f"  {'failed' if row.failures else 'held  '}  {row.name:58} {row.times}")
        for failure in row.failures[:10]:
            print(f"            {failure}")
    return sum(bool(row.failures) for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description="The fault table and long runs.")
    parser.add_argument("--quick", action="store_true", help="fewer faults and shorter runs, in about a minute")
    thorough = not parser.parse_args().quick
    failed = 0
    tables: list[tuple[str, list[Scenario]]] = [
        ("Faults in training", training.SCENARIOS),
        ("Long runs", long_run.SCENARIOS),
    ]
    for title, scenarios in tables:
        began = time.perf_counter()
        failed += show([scenario(thorough) for scenario in scenarios], title, time.perf_counter() - began)
    began = time.perf_counter()
    failed += show(of_the_suite(), "Faults shown by tests of the suite", time.perf_counter() - began)
    print(f"\n{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
