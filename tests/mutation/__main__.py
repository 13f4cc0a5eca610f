"""The table of survivors: python -m tests.mutation [op or function ...]"""

import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mutation.equivalent import reason
from mutation.kill import all_mutants, survives


def main(names: list[str]) -> int:
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    made, lived, excused = Counter[str](), Counter[str](), 0
    unexplained = []
    for mutant in all_mutants(names):
        title = mutant.label.split(":")[0]
        made[title] += 1
        if survives(mutant):
            if reason(mutant.label):
                excused += 1
            else:
                lived[title] += 1
                unexplained.append(mutant.label)
    for title, count in made.items():
        print(f"{title:40} {count:5} mutants {lived[title] or '':>5}")
    total = sum(made.values())
    print(f"{total} mutants, {excused} equivalent, {len(unexplained)} alive, {time.perf_counter() - start:.1f} s")
    for label in unexplained:
        print(f"alive: {label}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
