"""Memory that results borrow: nobody who still has an array sees it change, and it is kept within limits."""

import gc
import os
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import laid_out

import tinygrad_cnn as tg
from tinygrad_cnn import memory
from tinygrad_cnn.kernels import buffers

ROOT = Path(__file__).resolve().parent.parent
SHAPE = (2, 8, 40, 40)  # as float32 more than SMALLEST bytes


def start_anew(patch):
    patch.setattr(buffers, "_slabs", [])
    patch.setattr(buffers, "_over", deque())


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch):
    gc.collect()
    start_anew(monkeypatch)


def address(x):
    return memory.owner(np.asarray(x)).ctypes.data


def tensor(x):
    return tg.from_numpy(x)


def torchs(x):
    return pytest.importorskip("torch", reason="PyTorch is not installed").from_numpy(x)


# How one can have the memory of an array without having the array.
KEEPERS = {
    "itself": lambda x: x,
    "slice": lambda x: x[1, ::2],
    "one value": lambda x: x[1:, 7:, 39:, 39:].reshape(()),
    "reversed": lambda x: x[::-1],
    "T": lambda x: x.T,
    "transpose and reshape": lambda x: x.transpose(0, 2, 3, 1).reshape(2, 40, 40, 2, 4),
    "another dtype": lambda x: x.view(np.int32),
    "broadcast": lambda x: np.broadcast_to(x, (3, *x.shape)),
    "window": lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 3),
    "memoryview": memoryview,
    "ctypes": lambda x: x.ctypes,
    "DLPack": np.from_dlpack,
    "capsule": lambda x: x.__dlpack__(),
    "Tensor": tensor,
    "Tensor, detached": lambda x: tensor(x).detach(),
    "numpy() of a Tensor": lambda x: tensor(x).numpy(),
    "Tensor, sliced": lambda x: tensor(x)[1],
    "torch": torchs,
    "torch, sliced": lambda x: torchs(x)[1, :, ::2].T,
}


@pytest.mark.filterwarnings("ignore:.*T` on tensors of dimension other than 2:UserWarning")
@pytest.mark.parametrize("name", KEEPERS)
def test_memory_is_lent_again_when_the_last_who_has_it_is_gone_and_not_before(name):
    array = buffers.empty(SHAPE)
    array[...] = 3
    place = address(array)
    keeper = KEEPERS[name](array)
    del array
    others = [buffers.empty(SHAPE) for _ in range(3)]
    for other in others:
        other[...] = 4
    assert place not in map(address, others)
    if name not in ("ctypes", "capsule"):
        assert (np.asarray(keeper).view(np.float32) == 3).all()
    del keeper
    gc.collect()
    assert address(buffers.empty(SHAPE)) == place


def held():
    """Bytes of the slabs."""
    return sum(len(slab.memory) for slab in buffers._slabs)


def assert_whole(arrays):
    """In each slab, what is free, what has been left and what these arrays have are places that make it up."""
    for slab in buffers._slabs:
        start = slab.memory.ctypes.data
        taken = [(address(a) - start, address(a) - start + memory.owner(a).nbytes) for a in arrays]
        taken = [(a, b) for a, b in taken if 0 <= a < len(slab.memory)]
        left = [loan.place[1:] for loan in list(buffers._over) if loan.place[0] is slab]
        places = sorted([*slab.free, *taken, *left])
        assert [a for a, _ in places] == [0, *(b for _, b in places[:-1])]
        assert places[-1][1] == len(slab.memory)
        assert all(a < b for a, b in slab.free)
        assert all(b < a for (_, b), (a, _) in zip(slab.free, slab.free[1:], strict=False))


@st.composite
def orders(draw):
    """Sizes to ask for, and after each which of the arrays that are there are let go, as numbers to be taken modulo."""
    pages = st.integers(16, 19) | st.integers(16, 80)
    sizes = draw(st.lists(st.tuples(pages, st.integers(0, 1)), min_size=1, max_size=5))
    steps = st.tuples(st.sampled_from(sizes), st.lists(st.integers(0, 20), max_size=3), st.booleans())
    return [(k * buffers.PAGE - less, *rest) for (k, less), *rest in draw(st.lists(steps, max_size=40))]


@given(orders(), st.integers(16, 120), st.sampled_from([0, 200, 10**6]))
def test_no_two_arrays_that_are_there_share_memory_whatever_the_order_and_the_limits(steps, slab, most):
    with pytest.MonkeyPatch.context() as patch:
        start_anew(patch)
        patch.setattr(buffers, "SLAB", slab * buffers.PAGE)
        patch.setattr(buffers, "MOST", most * buffers.PAGE)
        there = []
        for number, (size, gone, as_view) in enumerate(steps):
            array = buffers.empty((size,), np.uint8)
            array[...] = number
            there.append((array[1:][::-1] if as_view else array, number))
            del array
            for k in gone:
                if there:
                    there.pop(k % len(there))
            assert all((array == number).all() for array, number in there)
            assert_whole([array for array, _ in there if array.size and not memory.owner(array).flags.owndata])
        there.clear()
        buffers.empty((buffers.SMALLEST,), np.uint8)
        assert sum(slab.is_free() for slab in buffers._slabs) == len(buffers._slabs) - 1


def test_arrays_that_threads_pass_to_one_another_keep_their_values():
    wrong, shared, lock = [], [], threading.Lock()

    def work(seed):
        rng = np.random.default_rng(seed)
        mine = []
        for step in range(300):
            array = buffers.empty((buffers.SMALLEST + 4096 * int(rng.integers(3)),), np.uint8)
            value = int(rng.integers(256))
            array[...] = value
            mine.append((array[step % 7 :], value))
            del array
            with lock:
                shared.append(mine.pop(int(rng.integers(len(mine)))))  # and another thread may let it go
                mine.append(shared.pop(int(rng.integers(len(shared)))))
            if len(mine) > 4:
                a, right = mine.pop(0)
                if not (a == right).all():
                    wrong.append((seed, step))
            if step % 50 == 0:
                cycle = [mine.pop()]
                cycle.append(cycle)  # the garbage collector lets it go, anywhere

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared.clear()
    gc.collect()
    assert wrong == []
    last = buffers.empty(SHAPE)
    assert not buffers._over
    assert_whole([last])


@given(st.lists(st.integers(1, 9), max_size=4), st.sampled_from([np.float16, np.float32, np.float64, np.int64, bool]))
def test_memory_has_the_shape_and_dtype_asked_for_and_is_whole_pages_of_its_own(shape, dtype):
    before = buffers.empty((500, *shape), dtype)
    array = buffers.empty((500, *shape), dtype)
    assert not np.shares_memory(array, before)
    assert (array.shape, array.dtype) == ((500, *shape), dtype)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    if array.nbytes >= buffers.SMALLEST:
        assert array.ctypes.data % buffers.PAGE == 0
        assert array.nbytes <= memory.owner(array).nbytes < array.nbytes + buffers.PAGE


@pytest.mark.parametrize("shape", [(), (0,), (5, 0, 2**40), (buffers.SMALLEST - 1,)])
def test_small_arrays_are_numpys_own(shape):
    array = buffers.empty(shape, np.uint8)
    assert array.flags.owndata
    assert buffers._slabs == []


def test_whoever_finds_the_slabs_in_use_gets_an_array_of_numpys():
    with buffers._turn:
        array = buffers.empty(SHAPE)
    assert array.flags.owndata
    assert not buffers.empty(SHAPE).flags.owndata


def test_an_array_that_is_too_large_for_a_slab_has_one_of_its_own(monkeypatch):
    monkeypatch.setattr(buffers, "SLAB", 2 * buffers.SMALLEST)
    arrays = [buffers.empty((k * buffers.SMALLEST,), np.uint8) for k in (1, 5, 1)]
    assert [len(slab.memory) for slab in buffers._slabs] == [2 * buffers.SMALLEST, 5 * buffers.SMALLEST]
    assert abs(address(arrays[0]) - address(arrays[2])) == buffers.SMALLEST


def test_free_slabs_are_given_up_for_a_new_one_where_they_are_too_many(monkeypatch):
    one = buffers.SMALLEST
    monkeypatch.setattr(buffers, "SLAB", one)
    monkeypatch.setattr(buffers, "MOST", 4 * one)
    arrays = [buffers.empty((one,), np.uint8) for _ in range(7)]
    assert held() == 7 * one  # all in use
    del arrays[2:]
    larger = buffers.empty((2 * one,), np.uint8)
    assert held() == 4 * one
    assert [slab.is_free() for slab in buffers._slabs] == [False] * 3
    for array in (*arrays, larger):
        assert any(np.shares_memory(array, slab.memory) for slab in buffers._slabs)


def test_a_free_slab_beyond_the_most_is_given_up_by_the_next_array_that_needs_no_new_one(monkeypatch):
    one = buffers.SMALLEST
    monkeypatch.setattr(buffers, "SLAB", 2 * one)
    monkeypatch.setattr(buffers, "MOST", 3 * one)
    first, large = buffers.empty((one,), np.uint8), buffers.empty((8 * one,), np.uint8)
    assert held() == 10 * one
    del large
    second = buffers.empty((one,), np.uint8)
    assert held() == 2 * one
    assert not np.shares_memory(first, second)


def test_a_small_array_does_not_hold_the_slab_of_a_large_one(monkeypatch):
    one = buffers.SMALLEST
    monkeypatch.setattr(buffers, "SLAB", 2 * one)
    large = buffers.empty((16 * one,), np.uint8)
    del large
    small = buffers.empty((one,), np.uint8)
    assert sorted(len(slab.memory) for slab in buffers._slabs) == [2 * one, 16 * one]
    assert any(len(slab.memory) == 16 * one and slab.is_free() for slab in buffers._slabs)
    again = buffers.empty((8 * one,), np.uint8)
    assert held() == 18 * one
    assert not np.shares_memory(small, again)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_borrows_memory_though_another_thread_was_at_it():
    program = """
import os
from tinygrad_cnn.kernels import buffers
buffers._turn.acquire()  # as another thread would have
child = os.fork()
if child == 0:
    os._exit(5 if buffers.empty((10**6,)).flags.owndata else 7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(program) == (0, "7\n", "")


def run(program):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    return process.returncode, process.stdout, process.stderr


def test_nothing_is_said_at_the_end_of_the_interpreter():
    program = """
import builtins
from tinygrad_cnn.kernels import buffers
a = buffers.empty((10**6,))
builtins.last = buffers.empty((10**6,))  # goes when the names of the module are gone
cycle = [buffers.empty((10**6,))]
cycle.append(cycle)
"""
    assert run(program) == (0, "", "")


# Tensors whose memory is borrowed


def borrowed(seed=0):
    """A result of an op, in memory from here."""
    data = np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)
    x = tg.Tensor(laid_out(data, "channels last"), requires_grad=True)
    return x + x * 2.0


def test_results_of_ops_borrow_memory():
    y = borrowed()
    assert not memory.owner(y.array).flags.owndata
    place = address(y.array)
    del y
    again = [borrowed() for _ in range(2)]
    assert place in [address(y.array) for y in again]


def test_what_an_op_keeps_and_is_changed_in_place_is_refused_in_borrowed_memory_too():
    y = borrowed()
    loss = (y * y).sum()
    with tg.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match=r"mul: its input '[xy]' of shape .* was changed in place \(add_\)"):
        loss.backward()


def test_a_change_is_not_reported_of_those_who_borrow_the_memory_later():
    y = borrowed()
    places = {address(y.array)}
    with tg.no_grad():
        y.add_(1)
    del y
    x = tg.Tensor(np.ones(SHAPE, np.float32), requires_grad=True)
    kept = [x + 1.0 * x for _ in range(3)]
    assert places & {address(y.array) for y in kept}
    sum((y * y).sum() for y in kept).backward()  # nothing was changed
    assert np.array_equal(x.grad.numpy(), np.full(SHAPE, 3 * 2 * 2 * 2.0))
    assert [memory.changed_since(y.array, 0) for y in kept] == [None] * 3


def test_an_array_that_is_changed_is_known_by_all_its_views_and_not_by_its_memory():
    array = buffers.empty(SHAPE)
    view, place = array.transpose(0, 2, 3, 1)[1:], address(array)
    memory.mark_changed(view[0], "test")
    assert memory.changed_since(array, 0) == memory.changed_since(view, 0) == "test"
    memory.mark_shared(array)
    assert memory.is_shared(view)
    del array, view
    again = [buffers.empty(SHAPE) for _ in range(20)]  # some of them with the id of what is gone
    assert address(again[0]) == place
    assert [memory.changed_since(array, 0) for array in again] == [None] * 20
    assert not any(map(memory.is_shared, again))


OPS = [
    lambda x, y: x + y,
    lambda x, y: x.relu(),
    lambda x, y: x * (y > 0),
    lambda x, y: x - x.mean((0, 2, 3), keepdim=True),
    lambda x, y: x.detach(),
]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=25))
def test_tensors_that_are_gone_take_no_other_tensors_values_with_them(steps):
    y = borrowed()
    there = [(y, y.numpy().copy()), (y[:1], y.numpy()[:1].copy())]
    del y
    for kind, i, j, keep in steps:
        x, y = there[i % len(there)][0], there[j % len(there)][0]
        z = OPS[kind](x, y)
        there.append((z, z.numpy().copy()))
        del x, y, z
        if not keep:
            there.pop(i % len(there))
        for tensor_, values in there:
            assert np.array_equal(tensor_.numpy(), values)


def test_a_graph_keeps_what_its_gradients_need_when_all_its_tensors_but_the_last_are_gone():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 16, 40, 40)).astype(np.float32), rng.standard_normal((16, 16, 3, 3)) / 12

    def gradients(dtype):
        leaves = [tg.Tensor(a.astype(dtype), requires_grad=True) for a in (x, w)]
        h = leaves[0]
        for _ in range(3):
            h = tg.conv2d(h, leaves[1], padding=1).relu() + h  # what came before is gone
        junk = [(h.detach() * k).relu() for k in range(3)]
        loss = (h * h).mean()
        del h, junk
        loss.backward()
        return [leaf.grad.numpy() for leaf in leaves]

    for mine, right in zip(gradients(np.float32), gradients(np.float64), strict=True):
        assert np.allclose(mine, right, rtol=0, atol=1e-4 * abs(right).max())
