"""Property tests that draw what users write, under many seeds, each in a process of its own."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = {
    "engine": "tests/test_stateful_engine.py",
    "graphs": "tests/test_random_graphs.py",
    "networks": "tests/test_generated_networks.py",
}


def _run(name: str, seed: int, examples: int) -> tuple[int, str]:
    told = {"HYPOTHESIS_PROFILE": "thorough", "HYPOTHESIS_EXAMPLES": str(examples), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS[name], f"--hypothesis-seed={seed}"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def fuzz(name: str, runs: int, seeds: int) -> int:
    """Each test of the file, `runs` examples in all, over the seeds 0, 1, ...; 0 if all pass."""
    examples, failed = -(-runs // seeds), 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for seed, (status, text) in enumerate(pool.map(lambda seed: _run(name, seed, examples), range(seeds))):
            print(f"seed {seed}: {text.strip().splitlines()[-1] if text.strip() else f'status {status}'}", flush=True)
            if status:
                failed += 1
                print(text)
    print(f"{name}: {seeds} seeds of {examples} examples for each test, {failed} failed")
    return int(failed > 0)
