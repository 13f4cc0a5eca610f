"""`tg.watch`: what is kept of every op is what NumPy says of its arrays, and watching changes nothing else."""

import asyncio
import contextvars
import gc
import math
import sys
import threading
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor
from tinygrad_cnn.digits_net import DigitsNet
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.observation import BINS, MAPS, NUMBERS, SIDE, norm, summarize
from tinygrad_cnn.records import saved_of
from tinygrad_cnn.watching import watchers

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
arrays = st.one_of(
    *(hnp.arrays(dtype, shapes) for dtype in (np.float16, np.float32, np.float64, np.int64, np.uint8, np.bool_))
)
HARD = (
    np.zeros((0,)),
    np.zeros((3, 0)),
    np.array(2.5),
    np.array([1e308, -1e308, 1e308]),
    np.array([[1e308] * 4]),
    np.array([math.nan, math.inf, -math.inf]),
    np.array([5e-324, 1e-310]),
    np.array([[1e300, 1e-300], [1.0, -0.0]]),
    np.array([65504, -65504], np.float16),
    np.array([2**63 - 1, -(2**63)]),
)


def record_of(tensor):
    return tensor.node.watch.record if tensor.node is not None and tensor.node.watch is not None else None


def ops_of(output):
    """All op Nodes that lead to a Tensor."""
    found, waiting = [], [output.node]
    while waiting:
        node = waiting.pop()
        if node.plan is not None and node not in found:
            found.append(node)
            waiting += node.parents
    return found


def leaf(*shape, dtype="float64", seed=0):
    values = np.random.default_rng(seed).normal(size=shape)
    return Tensor(values, dtype=dtype, requires_grad=True)


# --- the numbers ---


def moments(finite):
    """Mean and population standard deviation in exact arithmetic."""
    values = [Fraction(float(value)) for value in finite.ravel()]
    mean, top = sum(values) / len(values), max(map(abs, values))
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    return float(mean), float(top) * math.sqrt(variance / top**2) if top else 0.0


@given(arrays)
@example(HARD[3])
@example(HARD[4])
@example(HARD[5])
@example(HARD[6])
@example(HARD[7])
def test_a_summary_says_what_numpy_says(array):
    seen = summarize(array)
    exact = array.astype(np.float64)
    finite = exact[np.isfinite(exact)]
    assert (seen.shape, seen.dtype, seen.size) == (array.shape, str(array.dtype), array.size)
    assert seen.nans == np.isnan(exact).sum()
    assert seen.infs == np.isinf(exact).sum()
    assert seen.minus_infs == np.isneginf(exact).sum()
    assert seen.zeros == (exact == 0).sum()
    assert seen.is_finite == bool(np.isfinite(exact).all())
    if not finite.size:
        assert all(math.isnan(value) for value in (seen.mean, seen.std, seen.low, seen.high))
        assert seen.counts == ()
        return
    assert (seen.low, seen.high) == (float(finite.min()), float(finite.max()))
    top = max(abs(seen.low), abs(seen.high))
    mean, std = moments(finite)
    assert abs(seen.mean - mean) <= 1e-12 * top
    assert abs(seen.std - std) <= 1e-12 * top + 5e-324
    assert sum(seen.counts) == finite.size
    assert len(seen.counts) == (1 if seen.low == seen.high else BINS)
    assert seen.counts[0] > 0 < seen.counts[-1]  # the range is tight


@given(arrays)
@example(HARD[3])
@example(HARD[5])
@example(HARD[6])
@example(HARD[7])
def test_the_norm_is_euclidean_and_neither_overflows_nor_underflows(array):
    values = [float(value) for value in array.ravel()]
    with np.errstate(all="raise"):
        found = norm(array)
    if any(map(math.isnan, values)):
        assert math.isnan(found)
    else:
        assert found == pytest.approx(math.hypot(*values), rel=1e-12)
    np.testing.assert_equal(summarize(array).norm, found)


@pytest.mark.parametrize("array", HARD, ids=lambda a: f"{a.dtype}{a.shape}")
def test_no_array_makes_a_summary_warn_or_raise_whatever_numpy_is_told(array):
    expected = summarize(array, maps=True)
    with np.errstate(all="raise"):
        found = summarize(array, maps=True)
    assert repr(found) == repr(expected)


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5)))
def test_dead_channels_are_those_that_are_zero_in_the_whole_batch(array):
    seen = summarize(array)
    assert seen.channels == array.shape[1]
    assert seen.dead == sum(not array[:, c].any() for c in range(array.shape[1]))


def test_a_vector_has_no_channels():
    seen = summarize(np.zeros(3))
    assert (seen.dead, seen.channels) == (0, 0)


def test_small_arrays_are_kept_whole_in_memory_of_their_own():
    array = np.arange(float(NUMBERS))
    seen = summarize(array)
    array[0] = 99
    assert seen.numbers is not None
    assert seen.numbers[0] == 0
    assert summarize(np.zeros(NUMBERS + 1)).numbers is None


def test_the_pictures_of_an_array_are_its_first_planes():
    array = np.random.default_rng(0).normal(size=(2, MAPS + 3, 5, 4))
    np.testing.assert_array_equal(summarize(array, maps=True).maps, array[0, :MAPS].astype(np.float32))
    kernels = np.random.default_rng(0).normal(size=(6, 1, 3, 3))
    np.testing.assert_array_equal(summarize(kernels, maps=True).maps, kernels[:, 0].astype(np.float32))
    large = np.random.default_rng(0).normal(size=(1, 2, 3 * SIDE, SIDE))
    np.testing.assert_array_equal(summarize(large, maps=True).maps, large[0, :, ::3, ::3].astype(np.float32))
    assert summarize(array).maps is None
    assert summarize(np.zeros(5), maps=True).maps is None
    assert summarize(np.zeros((1, 0, 2, 2)), maps=True).maps is None


def test_a_finite_value_too_large_for_a_picture_s_dtype_stays_finite():
    maps = summarize(np.array([[1e300, -1e300], [math.inf, math.nan]]), maps=True).maps
    np.testing.assert_array_equal(np.isfinite(maps), [[[True, True], [False, False]]])


# --- records of ops ---


def test_every_op_leaves_a_record_of_its_value_its_inputs_and_its_line():
    x, c = leaf(2, 3), Tensor(np.array([1.0, 2.0, 3.0]))
    with tg.watch():
        y = x * c; line = sys._getframe().f_lineno  # fmt: skip  # noqa: E702
        z = y.exp()
    np.testing.assert_array_equal(record_of(y).value.numbers, y.array)
    np.testing.assert_array_equal(record_of(y).inputs[0].numbers, x.array)
    np.testing.assert_array_equal(record_of(y).inputs[1].numbers, c.array)
    assert record_of(y).line == (__file__, line)
    assert record_of(z).line == (__file__, line + 1)
    assert record_of(z).inputs == {}  # y's own record has it
    assert record_of(y).seconds >= 0


def test_a_file_beside_the_package_whose_name_begins_like_it_is_not_the_package():
    file = f"{Path(tg.__file__).parent}_demo.py"
    names = {"x": leaf(2, 3)}
    with tg.watch():
        exec(compile("\ny = x.exp()", file, "exec"), names)
    assert record_of(names["y"]).line == (file, 2)


def test_the_line_of_an_op_inside_a_network_of_the_package_is_the_network_s():
    with tg.watch():
        loss = F.mse_loss(DigitsNet()(Tensor(np.ones((1, 1, 8, 8), np.float32))), Tensor(np.zeros((1, 10), np.float32)))
    files = [node.watch.record.line[0].rpartition("/")[2] for node in ops_of(loss)]
    assert files[0] == "test_watch.py"
    assert set(files) == {"test_watch.py", "digits_net.py"}


def test_what_a_record_says_is_kept_is_what_the_node_keeps():
    with tg.watch():
        loss = F.cross_entropy(
            DigitsNet(np.random.default_rng(0))(Tensor(np.ones((2, 1, 8, 8), np.float32))), Tensor([1, 2])
        )
    for node in ops_of(loss):
        assert node.watch.record.saved == saved_of(node)
    before = {node: node.watch.record.saved for node in ops_of(loss)}
    loss.backward()
    assert before == {node: node.watch.record.saved for node in ops_of(loss)}
    assert all(saved_of(node) == () for node in before)


def test_without_stats_or_lines_a_record_has_neither():
    x = leaf(3)
    with tg.watch(stats=False, lines=False):
        y = (x * 2.0).sum()
    y.backward()
    for record in (node.watch.record for node in ops_of(y)):
        assert (record.value, record.gradient, record.inputs, record.parts, record.line) == (None, None, {}, {}, None)
        assert record.backward_seconds >= 0


def test_images_are_kept_where_they_are_asked_for():
    for images in (False, True):
        with tg.watch(images=images):
            y = leaf(1, 2, 3, 3) * 2.0
        y.sum().backward()
        record = record_of(y)
        assert [s.maps is not None for s in (record.value, record.gradient, record.parts[0])] == [images] * 3


# --- gradients ---


@pytest.mark.parametrize("is_inside", [True, False])
def test_gradients_and_parts_are_those_of_the_chain_rule(is_inside):
    x, w = leaf(2, 3), leaf(3, seed=1)
    with tg.watch():
        a = x * w
        b = a.sigmoid()
        c = a + b  # a is used twice
        loss = (c * c).sum()
        if is_inside:
            loss.backward()
    if not is_inside:
        loss.backward()
    s = 1 / (1 + np.exp(-x.array * w.array))
    dc = 2 * c.array
    through = dc * s * (1 - s)
    expected = {
        (c, 0): dc, (c, 1): dc, (b, 0): through, (a, 0): (dc + through) * w.array,
        (a, 1): ((dc + through) * x.array).sum(0),
    }  # fmt: skip
    for (tensor, i), part in expected.items():
        np.testing.assert_allclose(record_of(tensor).parts[i].numbers, part, rtol=1e-12)
    for tensor, gradient in ((c, dc), (b, dc), (a, dc + through)):
        np.testing.assert_allclose(record_of(tensor).gradient.numbers, gradient, rtol=1e-12)
    assert record_of(loss).gradient.numbers == 1.0


_BINARY = (lambda a, b: a * b, lambda a, b: a + b, lambda a, b: a - b, tg.maximum)
_UNARY = (lambda a, _: a.sigmoid(), lambda a, _: a.tanh(), lambda a, _: a * 0.5, lambda a, _: a.relu())


@given(st.lists(st.tuples(st.sampled_from(_BINARY + _UNARY), st.integers(0), st.integers(0)), min_size=1, max_size=12))
def test_the_gradient_of_a_value_is_the_sum_of_the_parts_that_its_users_send(steps):
    leaves = [leaf(2, 3, seed=k) for k in range(2)]
    with tg.watch():
        values = list(leaves)
        for step, i, j in steps:
            values.append(step(values[i % len(values)], values[j % len(values)]))
        loss = sum(v.sum() for v in values[2:])
    loss.backward()
    sums = {}
    for node in ops_of(loss):
        for k, parent in enumerate(node.parents):
            sums[parent] = sums.get(parent, 0.0) + node.watch.record.parts[node.plan.indices[k]].numbers
    for node, whole in sums.items():
        found = node.watch.grad.array if node.plan is None else node.watch.record.gradient.numbers
        np.testing.assert_allclose(found, whole, rtol=1e-12, atol=1e-12)


def test_a_record_has_the_latest_backward_alone():
    x = leaf(3)
    with tg.watch():
        y = x * 2.0
        z = y.sum()
    z.backward(retain_graph=True)
    z.backward(Tensor(10.0, dtype="float64"))
    np.testing.assert_array_equal(record_of(y).gradient.numbers, np.full(3, 10.0))
    np.testing.assert_array_equal(record_of(y).parts[0].numbers, np.full(3, 20.0))
    np.testing.assert_array_equal(x.grad.array, np.full(3, 22.0))
    with tg.watch():
        product = leaf(2) * (other := leaf(2))
        result = product.sum()
    result.backward(retain_graph=True)
    tg.grad(result, other)
    assert list(record_of(product).parts) == [1]


def test_the_gradients_of_a_second_order_graph_are_recorded_too():
    x = leaf(3)
    with tg.watch():
        y = (x * x * x).sum()
        (g,) = tg.grad(y, x, create_graph=True)
        g.sum().backward()
    np.testing.assert_allclose(x.grad.array, 6 * x.array, rtol=1e-12)
    assert all(node.watch.record.gradient is not None for node in ops_of(g))


# --- watching changes nothing ---


def train(watched):
    """Three steps of DigitsNet with dropout after it; the losses and the parameters, as bytes."""
    generator = np.random.default_rng(3)
    net = DigitsNet(generator)
    drop = tg.nn.Dropout(0.3, generator=generator)
    optimizer = tg.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    found = []
    for _ in range(3):
        x = Tensor(generator.normal(size=(4, 1, 8, 8)).astype(np.float32))
        optimizer.zero_grad()
        if watched:
            with tg.watch(images=True):
                loss = F.cross_entropy(drop(net(x)), Tensor([0, 1, 2, 3]))
        else:
            loss = F.cross_entropy(drop(net(x)), Tensor([0, 1, 2, 3]))
        loss.backward()
        found += [loss.array.tobytes(), *(p.grad.array.tobytes() for p in net.parameters())]
        optimizer.step()
    return [*found, *(p.array.tobytes() for p in net.parameters())]


def test_results_and_gradients_are_the_same_bits_with_and_without():
    assert train(watched=True) == train(watched=False)


def test_nothing_is_recorded_before_and_after_a_block():
    x = leaf(2)
    before = x * 2.0
    with tg.watch():
        inside = before * 3.0
    after = inside * 4.0
    after.sum().backward()
    assert [record_of(t) is not None for t in (before, inside, after)] == [False, True, False]
    assert watchers == []


def test_an_inner_block_watches_in_its_own_way_and_the_outer_one_goes_on():
    x = leaf(2)
    outer = tg.watch()
    with outer:
        with tg.watch(stats=False):
            a = x * 2.0
        b = x * 3.0
        with outer:
            c = x * 4.0
        with tg.watch(stats=False), outer:
            d = x * 5.0
        e = x * 6.0
        with tg.watch(stats=False):
            with outer:
                pass
            f = x * 7.0
    g = x * 8.0
    kept = [record_of(t) and record_of(t).value is not None for t in (a, b, c, d, e, f, g)]
    assert kept == [False, True, True, True, True, False, None]
    assert watchers == []


def test_an_exception_ends_the_block_and_passes():
    x = leaf(2)
    with pytest.raises(tg.ShapeError, match="do not broadcast"), tg.watch():
        x + leaf(3)
    assert watchers == []
    assert record_of(x * 2.0) is None


def test_another_thread_is_not_watched():
    x, made = leaf(2), []
    with tg.watch():
        thread = threading.Thread(target=lambda: made.extend((x * 2.0, (x * 2.0).detach())))
        thread.start()
        thread.join()
    assert record_of(made[0]) is None
    assert not hasattr(made[1], "outline")


def test_one_watch_serves_two_threads_at_once():
    x, watch, both, made = leaf(2), tg.watch(), threading.Barrier(2), []

    def run(factor):
        with watch:
            both.wait(timeout=60)
            made.append(x * factor)
            both.wait(timeout=60)
        made.append(x * factor)

    threads = [threading.Thread(target=run, args=(float(k),)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record_of(t) is not None for t in made] == [True, True, False, False]
    assert watchers == []


def test_a_context_of_before_is_not_watched_and_a_copy_of_the_watched_one_is():
    x, before = leaf(2), contextvars.copy_context()
    with tg.watch():
        inside = contextvars.copy_context()
        assert record_of(before.run(lambda: x * 2.0)) is None
        assert record_of(inside.run(lambda: x * 2.0)) is not None


def test_a_task_that_watches_does_not_watch_its_neighbour():
    x = leaf(2)

    async def watching():
        with tg.watch():
            await asyncio.sleep(0)
            return x * 2.0

    async def plain():
        await asyncio.sleep(0)
        return x * 3.0

    async def both():
        return await asyncio.gather(watching(), plain())

    watched, other = asyncio.run(both())
    assert record_of(watched) is not None
    assert record_of(other) is None


def test_dropping_the_loss_frees_the_records():
    x = leaf(2)
    gc.disable()
    try:
        with tg.watch():
            hidden = (x * 2.0).detach() * x
            loss = hidden.sum()
        loss.backward()
        held = [weakref.ref(loss.node), weakref.ref(record_of(hidden).value.numbers)]
        held.append(weakref.ref(record_of(hidden).gradient.numbers))
        del hidden, loss
        assert [ref() for ref in held] == [None] * 3
    finally:
        gc.enable()


# --- cuts ---


def under_no_grad(h):
    with tg.no_grad():
        return h * 3.0


@pytest.mark.parametrize(
    ("op", "why", "end"),
    [
        ("detach", "detach", lambda h: h.detach()),
        ("detach", "detach", lambda h: h.data),
        ("detach", "detach", lambda h: h.detach().exp() + 1.0),
        ("mul", "no_grad", under_no_grad),
        ("argmax", "argmax", lambda h: h.argmax(1)),
        ("greater", "greater", lambda h: h > 0.0),
        ("eq", "eq", lambda h: h == 0.0),
        ("cast", "cast", lambda h: h.long()),
    ],
)
def test_a_result_without_gradient_remembers_the_op_that_ended_it(op, why, end):
    with tg.watch():
        h = leaf(2, 3) * 2.0
        result = end(h)
    (cut,) = result.outline.cuts
    assert (cut.op, cut.why, cut.sources) == (op, why, (h.node,))
    assert cut.line[0] == __file__


def test_outside_a_block_and_without_gradient_no_cut_is_kept():
    h = leaf(2) * 2.0
    assert not hasattr(h.detach(), "outline")
    with tg.watch():
        plain = Tensor([1.0]) * 2.0
        assert not hasattr(plain, "outline")
        assert not hasattr(plain.detach(), "outline")


def test_a_running_mean_remembers_a_bounded_number_of_cuts():
    w = leaf(3)
    with tg.watch():
        ema, total = w.detach(), 0.0
        for _ in range(100):
            ema = ema * 0.9 + w.detach() * 0.1
            total = total + (w * 2.0).sum().detach()
    assert len({cut.sources for cut in ema.outline.cuts}) == 1
    assert len(total.outline.cuts) == 16


def test_whole_values_are_kept_on_request_as_copies_of_their_own():
    x, w = Tensor(np.arange(600.0).reshape(20, 30)), leaf(20, 30)
    with tg.watch(values=True):
        out = (x * w).exp()
    exp, mul = record_of(out), out.node.parents[0].watch.record
    expected = {0: x.numpy(), 1: w.numpy().copy(), -1: x.numpy() * w.numpy()}
    assert expected.keys() == mul.arrays.keys()
    assert exp.arrays.keys() == {-1}  # what enters is the other's output
    with tg.no_grad():
        w += 1.0
    for i, array in expected.items():
        assert np.array_equal(mul.arrays[i], array)
    with tg.watch():
        assert record_of(x * w).arrays == {}


@pytest.mark.parametrize("name", ["stats", "images", "lines", "values"])
def test_what_is_no_bool_is_refused(name):
    with pytest.raises(TypeError, match=f"watch: {name} is 'yes'; True or False is needed"):
        tg.watch(**{name: "yes"})
