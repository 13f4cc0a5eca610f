"""Training is bitwise the same with 1, 2 and 4 threads, with numba and without, and from several Python threads."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from digests import CASES, FEW, digest

import tinygrad_cnn as tg
from tinygrad_cnn.kernels import compiled, parallel

TESTS = Path(__file__).resolve().parent


@functools.cache
def digests(threads, numba, *arguments):
    """By a process of its own, with so many threads of ours and two of BLAS, whose number is not to matter."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TINYGRAD_CNN_")}
    clean |= {"PYTHONPATH": str(TESTS.parent), "TINYGRAD_CNN_QUIET": "1", "TINYGRAD_CNN_THREADS": str(threads)}
    clean |= {"OPENBLAS_NUM_THREADS": "2"} | ({} if numba else {"TINYGRAD_CNN_NUMBA": "0"})
    command = [sys.executable, "-W", "error", str(TESTS / "digests.py"), *arguments]
    process = subprocess.run(command, capture_output=True, text=True, env=clean)
    assert (process.returncode, process.stderr) == (0, "")
    return json.loads(process.stdout)


@pytest.fixture
def threads():
    """The number of threads may be changed."""
    before = tg.get_num_threads()
    yield tg.set_num_threads
    tg.set_num_threads(before)


@pytest.mark.parametrize("numba", [True, False], ids=["numba", "NumPy only"])
@pytest.mark.parametrize("count", [2, 4])
def test_processes_with_more_threads_train_to_the_same_bits(count, numba):
    if numba and not compiled.available():
        pytest.skip("numba is not installed, or refused")
    one = digests(1, numba)
    assert len(set(one.values())) > len(CASES) // 2  # a digest that sees nothing would be the same everywhere
    assert digests(count, numba) == one


@pytest.mark.parametrize("name", CASES)
def test_one_process_trains_to_the_same_bits_with_any_number_of_threads(threads, monkeypatch, name):
    threads(1)
    alone = digest(CASES[name])
    assert parallel._pool is None
    for small in (parallel.SMALL, 0):  # 0: every piece of work that can be shared is
        monkeypatch.setattr(parallel, "SMALL", small)
        for count in (2, 4):
            threads(count)
            assert digest(CASES[name]) == alone
            assert parallel._pool is not None  # the threads took part


@pytest.mark.parametrize("numba", [True, False], ids=["numba", "NumPy only"])
def test_python_threads_that_train_at_once_do_not_change_the_bits(numba):
    if numba and not compiled.available():
        pytest.skip("numba is not installed, or refused")
    alone = digests(1, numba)
    assert digests(2, numba, "together") == [[name, alone[name]] for name in 2 * FEW]
