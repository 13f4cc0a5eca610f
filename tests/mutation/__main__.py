"""The table of survivors: python -m tests.mutation [--kernels | --changed [REF]] [op, function or kernel ...]"""

import argparse
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported: products are tiny
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mutation import changed
from mutation.equivalent import reason
from mutation.equivalent_kernels import reason as kernel_reason
from mutation.equivalent_kernels import stale
from mutation.kernels import JUDGED, kernel_mutants, missing
from mutation.kill import all_mutants, survives
from mutation.kill_kernels import passes, survives_kernel
from mutation.mutants import Mutant, mutants


class Table:
    """How many mutants of each title were made, and which of them live without a reason."""

    def __init__(self) -> None:
        self.made: dict[str, int] = {}
        self.lived: dict[str, int] = {}
        self.excused, self.unexplained, self.stale = 0, list[str](), list[str]()
        self.start = time.perf_counter()

    def add(self, title: str, label: str, lives: bool, why: str | None) -> None:
        self.made[title] = self.made.get(title, 0) + 1
        self.excused += lives and why is not None
        if lives and why is None:
            self.lived[title] = self.lived.get(title, 0) + 1
            self.unexplained.append(label)

    def show(self) -> int:
        for title, count in self.made.items():
            print(f"{title:44} {count:5} mutants {self.lived.get(title, ''):>5}")
        seconds = time.perf_counter() - self.start
        total = sum(self.made.values())
        print(f"{total} mutants, {self.excused} equivalent, {len(self.unexplained)} alive, {seconds:.1f} s")
        for label in self.unexplained:
            print(f"alive: {label}")
        for pattern in self.stale:
            print(f"a reason that excuses nothing: {pattern}")
        return 1 if self.unexplained or self.stale else 0


def judge_rules(table: Table, mutants: Iterable[Mutant]) -> None:
    for mutant in mutants:
        table.add(mutant.label.split(":")[0], mutant.label, survives(mutant), reason(mutant.label))


def _lives(place: tuple[str, int]) -> bool:
    warnings.simplefilter("ignore")
    return survives_kernel(kernel_mutants(place[0])[place[1]])


def judge_kernels(table: Table, names: list[str], most: int | None = None) -> None:
    """On every processor; `most`: so many mutants at most, evenly chosen."""
    for name in names:
        if why := missing(name):
            print(f"not judged: kernels/{name}.py, as {why}")
    names = [name for name in names if not missing(name)]
    every = 1 if most is None else max(1, -(-sum(len(kernel_mutants(name)) for name in names) // most))
    if every > 1:
        print(f"1 of {every} mutants of the kernels, for there are more than {most}")
    for name in names:
        passes(name)  # unbroken, or it raises
        places, living = [(name, k) for k in range(0, len(kernel_mutants(name)), every)], list[str]()
        with multiprocessing.get_context("fork").Pool() as pool:
            for (_, k), lives in zip(places, pool.imap(_lives, places, 16), strict=True):
                label = kernel_mutants(name)[k].label
                table.add(label.split(":")[0], label, lives, kernel_reason(label))
                living += [label] * lives
        if every == 1:
            table.stale += stale(name, living)


def main(arguments: list[str]) -> int:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--kernels", action="store_true", help="kernels instead of gradient rules")
    mode.add_argument("--changed", nargs="?", const="", metavar="REF", help="of files that differ from REF")
    parser.add_argument("--most", type=int, metavar="N", help="judge so many mutants of kernels at most, evenly chosen")
    parser.add_argument("names", nargs="*", help=f"ops or functions; with --kernels of {', '.join(JUDGED)}")
    given = parser.parse_args(arguments)
    table = Table()
    if given.changed is not None:
        if given.names:
            parser.error("--changed takes one commit and no names")
        reference = given.changed or changed.default_reference()
        if reference is None:
            print("git knows no other commit: nothing has changed")
            return 0
        paths = changed.files(reference)
        modules, kernels = changed.judged(paths)
        for name in changed.unjudged(paths):
            print(f"not judged, as it has no cases: kernels/{name}.py")
        judge_rules(table, (mutant for module in modules for mutant in mutants(import_module(module))))
        judge_kernels(table, kernels, given.most)
    elif given.kernels:
        unknown = [name for name in given.names if name not in JUDGED]
        if unknown:
            parser.error(f"no cases for {', '.join(unknown)}; there are some for {', '.join(JUDGED)}")
        judge_kernels(table, given.names or list(JUDGED), given.most)
    else:
        judge_rules(table, all_mutants(given.names))
    return table.show()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
