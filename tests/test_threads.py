"""The pool of threads, and the loops that numba compiles: what they do where something is missing or goes wrong."""

import contextvars
import gc
import importlib.util
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import tinygrad_cnn as tg
from tinygrad_cnn.kernels import compiled, parallel

ROOT = Path(__file__).resolve().parent.parent
MANY = 1e12  # enough steps for threads


@pytest.fixture
def threads():
    """The number of threads may be changed."""
    before = tg.get_num_threads()
    yield tg.set_num_threads
    tg.set_num_threads(before)


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def run(program, **environment):
    """A program in a new process: (exit status, what it wrote, its complaints)."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TINYGRAD_CNN_")}
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
    )
    return process.returncode, process.stdout.strip(), process.stderr


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("chunks", [0, 1, 3, 50])
def test_every_chunk_is_computed_once(threads, count, chunks):
    threads(count)
    done = []
    parallel.run(done.append, chunks, MANY)
    assert sorted(done) == list(range(chunks))


def test_small_work_stays_on_the_thread_that_asked(threads):
    threads(4)
    seen = []
    parallel.run(lambda _: seen.append(threading.get_ident()), 8, parallel.SMALL - 1)
    assert set(seen) == {threading.get_ident()}


def test_large_work_is_shared(threads):
    threads(2)
    both = threading.Barrier(2, timeout=60)
    parallel.run(lambda _: both.wait(), 2, MANY)  # ends only if two threads are inside at once


def test_the_pool_is_shared_by_many_python_threads_and_by_regions_inside_regions(threads):
    threads(3)

    def job(seed):
        total = np.zeros(20)

        def outer(i):
            def inner(j):
                total[4 * i + j] = seed + 4 * i + j

            parallel.run(inner, 4, MANY)

        parallel.run(outer, 5, MANY)
        return total

    with ThreadPoolExecutor(6) as users:
        for seed, total in zip(range(40), users.map(job, range(40)), strict=True):
            assert np.array_equal(total, seed + np.arange(20.0))


def test_an_exception_ends_the_region_and_leaves_blas_as_it_was(threads):
    threads(2)
    before, done = blas_threads(), []

    def body(i):
        if i == 5:
            raise ValueError("chunk 5")
        done.append(i)

    with pytest.raises(ValueError, match="chunk 5"):
        parallel.run(body, 10**6, MANY)
    assert len(done) < 10**6
    assert blas_threads() == before
    parallel.run(done.append, 3, MANY)


# Spans


def steps(per_thread):
    """So many that each thread takes one span, or up to four."""
    return float(parallel.SMALL if per_thread == 1 else MANY)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [0, 1, 2, 5, 1000])
@pytest.mark.parametrize("per_thread", [1, 4])
def test_spans_make_up_the_range_and_are_few(threads, count, length, per_thread):
    threads(count)
    seen = []
    parallel.spans(lambda first, last: seen.append((first, last)), length, steps(per_thread))
    seen.sort()
    assert [number for first, last in seen for number in range(first, last)] == list(range(length))
    most, lengths = 1 if count == 1 else count * per_thread, [last - first for first, last in seen]
    assert len(seen) <= most
    assert max(lengths, default=0) == -(-length // most)
    assert max(lengths, default=0) - min(lengths, default=0) <= 1


def test_little_work_is_one_span_of_the_thread_that_asked(threads):
    threads(4)
    seen = []
    parallel.spans(lambda *span: seen.append((span, threading.get_ident())), 1000, parallel.SMALL - 1)
    assert seen == [((0, 1000), threading.get_ident())]


def test_a_region_ends_when_its_last_span_has_ended_whoever_computes_it(threads):
    threads(2)
    me, mine, both = threading.get_ident(), threading.Event(), threading.Barrier(2, timeout=60)
    done = []

    def body(first, _):
        both.wait()
        if threading.get_ident() == me:
            mine.set()
        else:
            assert mine.wait(60)
            np.sort(np.random.default_rng(0).random(10**6))
        done.append(first)

    for _ in range(5):
        parallel.spans(body, 2, steps(1))
        assert sorted(done) == [0, 1]
        done.clear()
        mine.clear()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("mine", [True, False])
def test_an_error_in_any_thread_is_raised_when_no_span_runs_any_more(threads, error, mine):
    threads(2)
    me, both = threading.get_ident(), threading.Barrier(2, timeout=60)
    done, running = [], []

    def body(first, last):
        running.append(first)
        if len(done) < 2:
            done.append(first)
            both.wait()
            if (threading.get_ident() == me) is mine:
                running.remove(first)
                raise error(first)
        np.sort(np.random.default_rng(0).random(10**6))
        running.remove(first)

    for _ in range(5):
        with pytest.raises(error):
            parallel.spans(body, 1000, MANY)
        assert running == []
        done.clear()
    seen = []
    parallel.spans(lambda *span: seen.append(span), 2, MANY)
    assert sorted(seen) == [(0, 1), (1, 2)]


def test_the_first_of_several_errors_is_raised(threads):
    threads(2)
    me, both, first = threading.get_ident(), threading.Barrier(2, timeout=60), threading.Event()

    def body(_, last):
        both.wait()
        if threading.get_ident() != me:
            first.set()
            raise ValueError("first")
        assert first.wait(60)
        while not any(region.error for region in regions()):
            pass
        raise ValueError("second")

    def regions():
        return [found for found in gc.get_objects() if isinstance(found, parallel._Region)]

    with pytest.raises(ValueError, match="first"):
        parallel.spans(body, 2, steps(1))


def test_spans_may_lie_in_spans_of_several_python_threads_while_the_number_of_threads_changes(threads):
    threads(3)

    def job(seed):
        total = np.zeros(400)

        def outer(first, last):
            for i in range(first, last):
                part = total[20 * i : 20 * i + 20]

                def inner(start, stop, i=i, part=part):
                    part[start:stop] += seed + 20 * i + np.arange(start, stop)

                parallel.spans(inner, 20, MANY)

        parallel.spans(outer, 20, MANY)
        threads(1 + seed % 4)
        return total

    with ThreadPoolExecutor(6) as users:
        for seed, total in zip(range(60), users.map(job, range(60)), strict=True):
            assert np.array_equal(total, seed + np.arange(400.0))


def pool_threads():
    return {thread for thread in threading.enumerate() if thread.name == "tinygrad_cnn"}


def test_the_number_of_threads_may_change_while_a_region_runs_and_the_old_threads_end(threads):
    threads(1)
    for thread in pool_threads():
        thread.join(60)
    threads(2)
    me, both, three = threading.get_ident(), threading.Barrier(2, timeout=60), threading.Barrier(3, timeout=60)

    def body(*_):
        both.wait()
        if threading.get_ident() == me:
            old.update(pool_threads())
            threads(3)
            parallel.spans(lambda *_: three.wait(), 3, steps(1))

    old = set()
    parallel.spans(body, 2, steps(1))
    assert len(old) == 1
    for thread in old:
        thread.join(60)
        assert not thread.is_alive()
    assert len(pool_threads()) == 2


def test_spans_have_the_context_of_the_caller(threads):
    threads(2)
    name, both, seen = contextvars.ContextVar("name", default="none"), threading.Barrier(2, timeout=60), []

    def body(*_):
        both.wait()
        np.float64(1) / np.zeros(1)  # a warning is an error here
        seen.append(name.get())
        name.set("changed inside")
        both.wait()
        with np.errstate(divide="raise"):
            pass

    for given in ("first", "second"):
        token = name.set(given)
        with np.errstate(divide="ignore"):
            parallel.spans(body, 2, steps(1))
        assert seen == [given] * 2
        seen.clear()
        name.reset(token)


def becomes_true(what):
    """Whether it does within a minute."""
    return any(what() or time.sleep(0.001) for _ in range(60000))


class Held:
    """What a weak reference can tell of."""


@pytest.mark.parametrize("fails", [False, True])
def test_no_thread_keeps_what_a_body_had(threads, fails):
    threads(2)
    both = threading.Barrier(2, timeout=60)

    def region():
        held = Held()

        def body(*_):
            both.wait()
            if fails:
                raise ValueError(held)

        if fails:
            with pytest.raises(ValueError, match="Held"):
                parallel.spans(body, 2, steps(1))
        else:
            parallel.spans(body, 2, steps(1))
        return weakref.ref(held)

    held = region()
    if fails:
        gc.collect()  # an error and its traceback are a cycle
    assert becomes_true(lambda: held() is None)


@pytest.fixture
def looks(monkeypatch):
    """How often a thread has looked at a number before it slept."""
    if compiled.spin() is None:
        pytest.skip("numba is not installed or refused, or vector code does not know this processor")
    looked, plain = [], compiled.spin().wait

    class Spin:
        @staticmethod
        def wait(*arguments):
            looked.append(threading.get_ident())
            return plain(*arguments)

    monkeypatch.setattr(compiled, "spin", lambda: Spin)
    return looked


def shared_regions():
    """Regions that two threads must be in at once."""
    both = threading.Barrier(2, timeout=60)
    for _ in range(50):
        parallel.spans(lambda *_: both.wait(), 2, steps(1))


def test_threads_wait_awake_where_each_has_a_processor(threads, looks, monkeypatch):
    monkeypatch.setattr(parallel, "_processors", lambda: 2)
    threads(2)
    me, both = threading.get_ident(), threading.Barrier(2, timeout=60)

    def body(*_):
        both.wait()
        assert threading.get_ident() == me or becomes_true(lambda: me in looks)

    parallel.spans(body, 2, steps(1))
    assert becomes_true(lambda: set(looks) - {me})


def test_more_threads_than_processors_sleep_at_once(threads, looks, monkeypatch):
    monkeypatch.setattr(parallel, "_processors", lambda: 2)
    threads(3)
    shared_regions()
    assert looks == []


def test_threads_sleep_where_they_cannot_wait_awake(threads, monkeypatch):
    monkeypatch.setattr(compiled, "spin", lambda: None)
    threads(2)
    shared_regions()


def test_waiting_awake_ends_when_the_number_changes_and_after_so_many_looks():
    spin = compiled.spin()
    if spin is None:
        pytest.skip("numba is not installed or refused, or vector code does not know this processor")
    numbers = np.array([7, 8])
    assert not spin.wait(numbers, 7, 1000, 0)
    assert spin.wait(numbers, 8, 1, 0)
    with ThreadPoolExecutor(1) as other:
        ended = other.submit(spin.wait, numbers, 7, 10**12, 10)
        numbers[0] = 9
        assert ended.result(60)


def test_blas_has_one_thread_inside_whoever_leaves_first(threads):
    threads(2)
    before, inside = blas_threads(), []
    first, second = threading.Event(), threading.Event()

    def other():
        parallel.run(lambda _: (first.set(), second.wait(60)), 1, 0)
        inside.append(blas_threads())

    thread = threading.Thread(target=other)
    with parallel.one_blas_thread():
        thread.start()
        assert first.wait(60)
        second.set()
        thread.join()
        inside.append(blas_threads())
    assert inside == [[1] * len(before)] * 2
    assert blas_threads() == before


HOLD = """
import threading
import numpy  # its BLAS
from threadpoolctl import threadpool_info
from tinygrad_cnn.kernels import parallel

def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

before, held = blas_threads(), []
with parallel.one_blas_thread():  # threadpoolctl 3.8 refuses all but the first thread that sets a limit
    pass
inside, leave = threading.Event(), threading.Event()

def hold():
    with parallel.one_blas_thread():
        held.append(blas_threads())
        inside.set()
        leave.wait(60)

thread = threading.Thread(target=hold)
thread.start()
inside.wait(60)
with parallel.one_blas_thread():
    pass  # this thread comes and goes while the other is inside
held.append(blas_threads())
leave.set()
thread.join()
assert held == [[1] * len(before)] * 2, held
assert blas_threads() == before, (blas_threads(), before)
inside.clear()
leave.clear()
with parallel.one_blas_thread():
    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(60)
leave.set()  # now the other thread leaves last
thread.join()
assert blas_threads() == before, (blas_threads(), before)
"""


def test_any_python_thread_holds_blas_to_one_thread_and_lets_it_go():
    assert run(HOLD, OPENBLAS_NUM_THREADS="2") == (0, "", "")


def test_threads_have_the_callers_error_state(threads):
    threads(2)
    both = threading.Barrier(2, timeout=60)

    def body(_):
        both.wait()
        np.float64(1) / np.zeros(1)  # a warning is an error here

    with np.errstate(divide="ignore"):
        parallel.run(body, 2, MANY)


def test_scratch_memory_is_aligned_and_each_thread_has_its_own():
    mine = parallel.scratch("test", 100)
    assert mine.ctypes.data % 64 == 0
    assert np.shares_memory(mine, parallel.scratch("test", 50, np.float64))
    with ThreadPoolExecutor(1) as other:
        assert not np.shares_memory(mine, other.submit(parallel.scratch, "test", 100).result())
    assert parallel.scratch("test", 1000).size == 1000


@pytest.mark.parametrize("n", [True, 1.0, "2", None])
def test_the_number_of_threads_is_an_integer(n):
    with pytest.raises(TypeError, match=r"set_num_threads: n is .*; a positive integer is needed"):
        tg.set_num_threads(n)


@pytest.mark.parametrize("n", [0, -2])
def test_the_number_of_threads_is_positive(n):
    with pytest.raises(ValueError, match=f"set_num_threads: n is {n}; it must be at least 1"):
        tg.set_num_threads(n)


def test_the_environment_and_the_cpus_give_the_number_of_threads():
    program = "import tinygrad_cnn as tg; print(tg.get_num_threads())"
    assert run(program, TINYGRAD_CNN_THREADS="3") == (0, "3", "")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert run(program) == (0, str(usable), "")
    for wrong in ("0", "two"):
        status, _, complaints = run(program, TINYGRAD_CNN_THREADS=wrong)
        assert status
        assert f"TINYGRAD_CNN_THREADS is '{wrong}'; it must be a positive integer" in complaints


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_a_pool_of_its_own():
    program = """
import os, threading
from tinygrad_cnn.kernels import parallel
parallel.set_num_threads(2)
both = threading.Barrier(2, timeout=60)
parallel.run(lambda _: both.wait(), 2, 1e12)
child = os.fork()
if child == 0:
    both = threading.Barrier(2, timeout=60)
    parallel.run(lambda _: both.wait(), 2, 1e12)
    parallel.spans(lambda *_: both.wait(), 2, 2.0**19)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    status, written, _ = run(program, PYTHONWARNINGS="ignore")
    assert (status, written) == (0, "7")


CONVOLVE = """
import sys
import numpy as np, tinygrad_cnn as tg
assert "numba" not in sys.modules and "threadpoolctl" not in sys.modules
rng = np.random.default_rng(0)
x, w = rng.standard_normal((2, 32, 9, 7)).astype("f"), rng.standard_normal((33, 32, 3, 3)).astype("f")
y = tg.conv2d(x, w, padding=1)
exact = tg.conv2d(x.astype(float), w.astype(float), padding=1)
assert abs(y - exact).max() < 1e-4 * abs(exact).max(), abs(y - exact).max()
print(sys.modules.get("numba") is not None)
"""


def test_numba_is_imported_at_the_first_kernel_and_not_before():
    status, written, complaints = run(CONVOLVE)
    assert status == 0, complaints
    assert written == str(importlib.util.find_spec("numba") is not None)


@pytest.mark.parametrize("_", range(3))  # it takes luck to meet
def test_numba_may_be_asked_for_first_by_several_threads_at_once(_):
    program = """
import numpy as np
from tinygrad_cnn.kernels import norm, parallel
parallel.set_num_threads(2)
x = np.ones((50000, 11), np.float32)
assert np.array_equal(norm.total(x), [50000] * 11)
"""
    assert run(program, TINYGRAD_CNN_QUIET="1") == (0, "", "")


def test_everything_works_without_numba():
    for program, environment in [
        (CONVOLVE, {"TINYGRAD_CNN_NUMBA": "0"}),
        ("import sys; sys.modules['numba'] = None\n" + CONVOLVE.replace('"numba" not in sys.modules and ', ""), {}),
    ]:
        assert run(program, **environment) == (0, "False", "")


needs_numba = pytest.mark.skipif(not compiled.available(), reason="numba is not installed, or refused")


@needs_numba
def test_a_loop_runs_where_no_folder_for_compiled_code_is_writable(tmp_path):
    source = tmp_path / "code"
    source.mkdir()
    text = "from tinygrad_cnn.kernels.compiled import compiled\n\n@compiled\ndef double(x):\n    x[:] = 2 * x\n"
    (source / "loops.py").write_text(text)
    program = f"""
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, {str(source)!r})
import numpy as np, loops
from tinygrad_cnn.kernels import compiled
import numba.core.caching as caching
# what numba says where the folders of the source, of the user and of IPython cannot be written
caching.CacheImpl._locator_classes = []
x = np.ones(3)
loops.double(x)
print(x.sum(), type(loops.double._fast._cache).__name__)
"""
    assert run(program)[:2] == (0, "6.0 NullCache")
    assert not (source / "__pycache__").exists()


@needs_numba
def test_a_loop_is_compiled_again_where_compiled_code_cannot_be_kept(monkeypatch):
    calls = []

    def full(_):
        calls.append(1)
        raise OSError(28, "No space left on device")

    loop = compiled.Loop(lambda x: x + 1)
    loop._fast = full
    assert loop(2) == 3
    assert calls == [1]
    assert loop(3) == 4
    assert calls == [1]


def test_an_error_inside_a_loop_is_raised():
    @compiled.compiled
    def wrong(x):
        return 1 // x if x else x.missing

    with pytest.raises(Exception, match="missing"):
        wrong(0)


def test_slow_compilation_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(compiled, "_seconds", 0.0)
    monkeypatch.setattr(compiled, "_told", False)
    monkeypatch.delenv("TINYGRAD_CNN_QUIET")
    for seconds in (0.6, 0.3):
        compiled._count(seconds)
    assert capsys.readouterr().err == ""
    for seconds in (0.3, 5):
        compiled._count(seconds)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "compiling kernels with numba" in said.err
    monkeypatch.setattr(compiled, "_told", False)
    monkeypatch.setenv("TINYGRAD_CNN_QUIET", "1")
    compiled._count(5)
    assert capsys.readouterr().err == ""


@needs_numba
def test_a_loop_is_compiled_once_for_each_dtype():
    @compiled.compiled
    def add(x, y):
        for i in range(len(x)):
            y[i] += x[i]

    for dtype in (np.float32, np.float64, np.float32):
        y = np.ones(3, dtype)
        add(np.arange(3, dtype=dtype), y)
        assert np.array_equal(y, [1, 2, 3])
    assert len(add._fast.overloads) == 2
    assert add.__name__ == "add"
    assert add.python is not add
