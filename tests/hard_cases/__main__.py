"""The state of the hard cases:  python -m tests.hard_cases [H12 H98 ...]

Runs every test of the suite that has an id in its name and prints, by group, passed, not applicable (with the reason)
or failed. Exit code 1 where a test fails, where tests could not run, or where an id has no test and no reason.
"""

import argparse
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from hard_cases.catalogue import TITLES  # noqa: E402
from hard_cases.report import run, table  # noqa: E402


def number(text: str) -> int:
    """12 of "H12" or "12"."""
    digits = text.upper().removeprefix("H")
    if not digits.isdecimal() or int(digits) not in TITLES:
        raise argparse.ArgumentTypeError(f"{text!r} is no id of the catalogue; the ids are H1 to H{max(TITLES)}")
    return int(digits)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hard_cases", description=__doc__.partition("\n")[0])
    parser.add_argument("ids", nargs="*", type=number, metavar="ID", help="such as H12; all, unless given")
    parser.add_argument("--tests", type=Path, default=TESTS, help="where the tests are")
    parser.add_argument("--record", action="store_true", help="write answers.json anew from the PyTorch installed")
    options = parser.parse_args(argv)
    if options.record:
        from hard_cases.recording import record

        print(record())
        return 0
    found, broken = run(options.ids or TITLES, options.tests)
    print(table(found))
    print(*broken, sep="\n", end="\n" if broken else "")
    return 1 if broken or any(kind in ("failed", "no test") for kind, _ in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
