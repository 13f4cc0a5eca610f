"""python -m tests.error_branches [--report FOLDER] [argument of pytest ...]"""

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from error_branches import recorder

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE, TESTS = ROOT / "tinygrad_cnn", ROOT / "tests"
LEAST = 95  # percent of the lines
# It raises where a file has half a character in its name, and asks the system for files of its own.
NOT_UNDER_COVERAGE = "not (test_diagram_hostile and ud800) and not what_the_system_is_asked_for"


class Raise(NamedTuple):
    """A `raise` of the package, with the lines that it takes up."""

    name: str
    first: int
    last: int
    text: str
    anew: bool  # not the same error once more
    words: tuple[str, ...]  # of the message as it is written, apart where values stand between

    @property
    def lines(self) -> range:
        return range(self.first, self.last + 1)

    def __str__(self) -> str:
        return f"tinygrad_cnn/{self.name}:{self.first}: {self.text}"


def raises() -> Iterator[Raise]:
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Raise):
                text = " ".join(ast.unparse(node).split())
                parts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
                words = tuple(part for part in parts if isinstance(part, str))
                name, anew = str(path.relative_to(PACKAGE)), isinstance(node.exc, ast.Call)
                yield Raise(name, node.lineno, node.end_lineno or node.lineno, text, anew, words)


def phrases(words: tuple[str, ...]) -> set[str]:
    """Four words of a message in a row, or all that it has in a row, wherever that is ten letters or more."""
    rows = [part.split() for part in words]
    found = {" ".join(row[i : i + 4]) for row in rows for i in range(max(1, len(row) - 3))}
    return {phrase for phrase in found if len(phrase) >= 10}


def run(folder: Path, arguments: list[str]) -> int:
    """The suite under coverage, whose data go into the folder."""
    settings = folder / "settings"
    settings.write_text(
        f"[run]\nsource = {PACKAGE}\nparallel = true\npatch = subprocess\ndata_file = {folder / 'data'}\n"
    )
    command = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", "-m", "pytest", "-q"]
    command += ["-p", "tests.error_branches.recorder", "-p", "no:cacheprovider", "-k", NOT_UNDER_COVERAGE]
    command += arguments
    return subprocess.run(command, cwd=ROOT, env={**os.environ, recorder.FOLDER: str(folder)}).returncode


def report(folder: Path) -> int:
    """Print what is missing; 0 if nothing is."""
    from coverage import Coverage

    data = Coverage(data_file=str(folder / "data"), config_file=str(folder / "settings"))
    data.combine([str(folder)], keep=True)
    total, missing = 0, 0
    executed: dict[str, set[int]] = {}
    print("lines executed, of the files where they are fewer than", LEAST, "%")
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        _, lines, _, absent, spans = data.analysis2(str(path))
        executed[name] = set(lines) - set(absent)
        total, missing = total + len(lines), missing + len(absent)
        if len(absent) * 100 > (100 - LEAST) * len(lines):
            print(f"{100 - 100 * len(absent) / len(lines):5.1f} %  tinygrad_cnn/{name}: {spans}")
    percent = 100 - 100 * missing / total
    print(f"{percent:5.1f} %  of {total} lines")
    places, every = set(recorder.noted(folder)), list(raises())
    never = [one for one in every if not executed[one.name].intersection(one.lines)]
    unread = [one for one in every if one.anew and one not in never]
    unread = [one for one in unread if not any((one.name, line) in places for line in one.lines)]
    tests = " ".join(" ".join(path.read_text() for path in TESTS.rglob("*.py")).replace("\\", "").split())
    often = Counter(phrase for one in every for phrase in phrases(one.words))
    # some errors are only seen as text: one has been looked at if a phrase that no other has stands in a test
    unread = [one for one in unread if not any(often[p] == 1 and p in tests for p in phrases(one.words))]
    print(f"\n{len(every)} raise statements, {len(never)} never executed")
    print(*never, sep="\n")
    print(f"\n{len(unread)} messages that no test looks at")
    print(*unread, sep="\n")
    return int(percent < LEAST or bool(never) or bool(unread))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.error_branches", description="What no test reaches.")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="of a run whose data lie there; runs nothing")
    options, arguments = parser.parse_known_args()
    try:
        import coverage  # noqa: F401
    except ImportError:
        print("tests.error_branches: coverage is not installed; pip install --group coverage", file=sys.stderr)
        return 2
    if options.report is not None:
        return report(options.report)
    folder = Path(tempfile.mkdtemp(prefix="error-branches-"))
    status = run(folder, arguments)
    print(f"data in {folder}")
    return report(folder) or status


if __name__ == "__main__":
    sys.exit(main())
