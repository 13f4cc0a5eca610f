"""`tg.profile`: calls, FLOPs and bytes are exact, times are there, and profiling changes and keeps nothing."""

import asyncio
import contextlib
import gc
import json
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import Tensor, nn, optim
from tinygrad_cnn.flops import flops_of, total_flops
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.watching import watchers


class Net(nn.Module):
    """conv, relu, pool, fc on images of 1x6x6."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(18, 3))

    def forward(self, x):
        return self.head(F.max_pool2d(F.relu(self.conv(x)), 2))


X, LABELS = np.random.default_rng(0).normal(size=(4, 1, 6, 6)).astype(np.float32), np.array([0, 1, 2, 0])
STEP = {
    ("conv2d", "forward"): 1,
    ("relu", "forward"): 1,
    ("max_pool2d", "forward"): 1,
    ("reshape", "forward"): 1,
    ("linear", "forward"): 1,
}


def step(net=None, optimizer=None):
    net = net or Net()
    loss = F.cross_entropy(net(Tensor(X)), LABELS)
    loss.backward()
    if optimizer:
        optimizer.step()
    return loss


def calls(p):
    return {(row.name, row.phase): row.calls for row in p.rows}


def row(table, name, phase="forward"):
    (found,) = [row for row in table if (row.name, row.phase) == (name, phase)]
    return found


def nodes_of(output):
    found, waiting = [], [output.node]
    while waiting:
        node = waiting.pop()
        if node.plan is not None and node not in found:
            found.append(node)
            waiting += node.parents
    return found


# --- what is counted ---


def test_every_op_of_a_step_is_counted_forward_and_backward_and_the_optimizers_step_too():
    net = Net()
    optimizer = optim.SGD(net.parameters(), momentum=0.9)
    with tg.profile() as p:
        for _ in range(3):
            step(net, optimizer)
    for (name, phase), n in STEP.items():
        assert calls(p)[name, phase] == 3 * n
        assert calls(p)[name, "backward"] == 3 * n
    assert calls(p)["SGD.step", "update"] == 3
    assert len(calls(p)) == 2 * 6 + 1  # the five ops and the loss


def test_flops_are_those_that_the_ops_declare():
    with tg.profile() as p:
        step()
    assert row(p.rows, "conv2d").flops == 4 * 2 * 36 * (2 * 9 + 1)
    assert (
        row(p.rows, "conv2d", "backward").flops == 2 * 9 * 4 * 2 * 36 + 4 * 2 * 36
    )  # weight and bias; no gradient of x
    assert row(p.rows, "linear").flops == 4 * 3 * (2 * 18 + 1)
    assert row(p.rows, "relu").flops == 4 * 2 * 36
    assert row(p.rows, "max_pool2d").flops == 3 * 4 * 2 * 9
    assert row(p.rows, "reshape").flops == 0


def test_the_flops_of_all_rows_are_those_of_the_graph():
    with tg.profile() as p:
        x = Tensor(X, requires_grad=True)
        loss = F.cross_entropy(Net()(x * 2.0), LABELS)
    nodes = nodes_of(loss)
    assert sum(row.flops for row in p.rows) == total_flops(nodes)
    for node in nodes:
        assert row(p.rows, node.plan.op.name).flops == flops_of(node)


@given(st.lists(st.sampled_from(["relu", "exp", "sum", "mul", "add", "cat"]), max_size=6), st.integers(1, 4))
def test_ops_without_a_graph_are_counted_as_those_with_one(names, n):
    def compute(x):
        for name in names:
            if name in ("mul", "add"):
                x = getattr(tg, name)(x, 1.5 if name == "mul" else x)
            elif name == "cat":
                x = tg.cat([x, x])
            elif name == "sum":
                x = tg.sum(x, -1, keepdims=True)
            else:
                x = getattr(tg, name)(x)

    x = Tensor(np.ones((n, 3)), requires_grad=True)
    with tg.profile() as recorded:
        compute(x)
    with tg.profile() as plain, tg.no_grad():
        compute(x)
    with tg.profile() as constant:
        compute(x.detach())
    found = [{(r.name, r.phase, r.calls, r.flops, r.bytes) for r in p.rows} for p in (recorded, plain, constant)]
    assert found[0] == found[1] == found[2]
    assert sum(row.calls for row in recorded.rows) == len(names)


def test_bytes_are_the_arrays_read_and_written_each_once_and_none_for_a_view():
    x, y = Tensor(np.ones((2, 3), np.float32)), Tensor(np.ones(3, np.float32))
    with tg.profile() as p:
        x + y
        x * x
        x.reshape(3, 2)
    assert row(p.rows, "add").bytes == 24 + 12 + 24
    assert row(p.rows, "mul").bytes == 24 + 24
    assert row(p.rows, "reshape").bytes == 0


def test_the_bytes_of_a_backward_are_the_gradients_and_what_the_rules_keep():
    x, y = (Tensor(np.ones(3, np.float32), requires_grad=True) for _ in range(2))
    z = (x * y).sum()
    with tg.profile() as p:
        z.backward()
    assert row(p.rows, "mul", "backward").bytes == 12 + 2 * 12 + 2 * 12
    assert row(p.rows, "sum", "backward").bytes == 4 + 12


def test_an_array_that_rules_keep_twice_is_counted_once():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    z = x * x
    with tg.profile() as p:
        z.sum().backward()
    assert row(p.rows, "mul", "backward").bytes == 12 + 12 + 2 * 12


def test_a_broadcast_view_that_rules_keep_counts_as_its_memory():
    x, y = Tensor(np.ones(1, np.float32)).expand(4), Tensor(np.ones(4, np.float32), requires_grad=True)
    z = x * y
    with tg.profile() as p:
        z.sum().backward()
    assert row(p.rows, "mul", "backward").bytes == 16 + 4 + 16


B = Tensor(np.ones((1000, 10), np.float32))  # 40 kB


@pytest.mark.parametrize(
    ("x", "y", "read"),
    [
        (B, B[:1], 40_000),
        (B[:500], B[500:], 40_000),
        (B[:600], B[400:], 40_000),
        (B[:300], B[500:800], 24_000),
        (B[::2], B[1::2], 40_000),
        (B[::2], B[::2], 20_000),
        (B[:10], B[:10].T, 400),
        (B[:1].expand(7, 10), B[3:10], 40 + 280),
        (B[:0], B[:1], 40),
    ],
)
def test_memory_that_two_inputs_share_is_counted_once_and_what_they_do_not_share_is(x, y, read):
    for one, other in ((x, y), (y, x)):
        with tg.profile() as p:
            out = tg.add(one, other)
        assert row(p.rows, "add").bytes == read + out.array.nbytes
        one, other = (t.detach().requires_grad_() for t in (one, other))
        product = one * other
        g = tg.ones_like(product)
        with tg.profile() as p:
            tg.grad(product, (one, other), g)
        assert row(p.rows, "mul", "backward").bytes == read + sum(t.array.nbytes for t in (one, other, product))


def test_gradients_that_nobody_asked_for_are_not_counted():
    x, y = (Tensor(np.ones(3, np.float32), requires_grad=True) for _ in range(2))
    z = (x * y).sum()
    with tg.profile() as p:
        tg.grad(z, x)
    assert row(p.rows, "mul", "backward").bytes == 12 + 2 * 12 + 12


def test_the_bytes_of_a_step_are_the_parameters_their_gradients_and_the_state():
    w = nn.Parameter(np.ones(3, np.float32))
    optimizer = optim.SGD([w], momentum=0.9)
    w.sum().backward()
    with tg.profile() as p:
        optimizer.step()
    assert row(p.rows, "SGD.step", "update").bytes == 12 * (2 + 1 + 2)
    assert row(p.rows, "SGD.step", "update").flops is None


def test_an_op_that_declares_no_cost_has_none():
    x = Tensor(np.ones(3), requires_grad=True)
    with tg.profile() as p:
        _costless()(x).sum().backward()
    assert row(p.rows, "costless_op_of_a_test").flops is None
    assert row(p.rows, "costless_op_of_a_test", "backward").flops is None
    assert "-" in str(p)


def _costless(made=[]):  # noqa: B006  (an op is registered once)
    if not made:

        @tg.op
        def costless_op_of_a_test(x, /):
            """x"""
            return x.copy()

        costless_op_of_a_test.vjp(x=lambda g: g)
        made.append(costless_op_of_a_test)
    return made[0]


def test_times_are_positive_and_no_longer_than_the_block():
    with tg.profile() as p:
        step()
        assert p.seconds > 0
    assert all(row.seconds > 0 for row in p.rows)
    assert sum(row.seconds for row in p.rows) <= p.seconds
    kept = p.seconds
    step()
    assert p.seconds == kept


def test_a_gradient_of_a_gradient_counts_each_second_once(tmp_path):
    x = Tensor(np.ones(3), requires_grad=True)
    with tg.profile() as p:
        (g,) = tg.grad((x * x * x).sum(), x, create_graph=True)
        g.sum().backward()
    assert calls(p)["mul", "backward"] > 2
    assert row(p.rows, "mul").calls > 2  # also those of the rules
    events = saved(p, tmp_path)
    outermost = [a for a in events if not any(a is not b and inside(a, b) for b in events)]
    assert len(outermost) < len(events)
    assert sum(row.seconds for row in p.rows) == pytest.approx(sum(a["dur"] for a in outermost) / 1e6)
    assert all(row.seconds > 0 for row in p.rows)


def test_a_block_in_a_block_of_the_same_profile_counts_its_time_once():
    p, began = tg.profile(), time.perf_counter()
    with p:
        time.sleep(0.01)
        with p:
            time.sleep(0.01)
    assert 0.02 <= p.seconds <= time.perf_counter() - began


# --- per module ---


def test_a_module_has_the_ops_in_it_and_in_its_modules():
    with tg.profile() as p:
        step()
    table = p.by_module()
    assert {row.name for row in table} == {
        "Net", "conv Conv2d", "head Sequential", "head.0 Flatten", "head.1 Linear", "outside modules",
    }  # fmt: skip
    for phase in ("forward", "backward"):
        assert row(table, "Net", phase).calls == 5
        assert row(table, "head Sequential", phase).calls == 2
        assert row(table, "conv Conv2d", phase).calls == 1
        assert row(table, "outside modules", phase).calls == 1  # the loss
        ops = [r for r in p.rows if r.phase == phase]
        parts = [row(table, name, phase) for name in ("Net", "outside modules")]
        assert sum(r.seconds for r in parts) == pytest.approx(sum(r.seconds for r in ops))
        assert sum(r.flops for r in parts) == sum(r.flops or 0 for r in ops)
        assert sum(r.bytes for r in parts) == sum(r.bytes for r in ops)
    assert row(table, "conv Conv2d").flops == row(p.rows, "conv2d").flops


def test_tables_are_sorted_by_time_and_printed_with_a_line_a_row():
    with tg.profile() as p:
        step()
    for table in (p.rows, p.by_module()):
        times = [row.seconds for row in table]
        assert times == sorted(times, reverse=True)
        lines = str(table).splitlines()
        assert lines[0].split() == ["phase", "calls", "ms", "%", "MFLOP", "GFLOP/s", "MB"]
        assert [line.split("  ")[0].split(" forward")[0].split(" backward")[0] for line in lines[1:]] == [
            row.name for row in table
        ]
    assert str(p).startswith(str(p.rows))
    assert " ms in the block" in str(p)


def test_nothing_seen_is_an_empty_table():
    p = tg.profile()
    assert (p.rows, p.by_module(), p.seconds) == ([], [], 0)
    assert str(p).endswith("ops: 0.000 ms")


# --- the trace ---


def saved(p, tmp_path):
    path = tmp_path / "trace.json"
    p.save(path)
    trace = json.loads(path.read_text(encoding="utf-8"))
    return trace["traceEvents"]


def inside(inner, outer):
    return outer["ts"] - 1e-3 <= inner["ts"] and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"] + 1e-3


def assert_nested(events):
    """Any two events of a thread are apart, or one is inside the other."""
    assert all(event["ph"] == "X" and event["ts"] >= 0 and event["dur"] >= 0 for event in events)
    for i, a in enumerate(events):
        for b in events[:i]:
            apart = a["ts"] + a["dur"] <= b["ts"] + 1e-3 or b["ts"] + b["dur"] <= a["ts"] + 1e-3
            assert a["tid"] != b["tid"] or apart or inside(a, b) or inside(b, a), (a, b)


def named(events, name, cat):
    return [event for event in events if (event["name"], event["cat"]) == (name, cat)]


def test_a_trace_has_an_event_an_op_inside_those_of_its_modules(tmp_path):
    net = Net()
    optimizer = optim.SGD(net.parameters())
    with tg.profile() as p:
        for _ in range(2):
            step(net, optimizer)
    events = saved(p, tmp_path)
    assert_nested(events)
    for cat in ("forward", "backward"):
        nets, convs = named(events, "Net", cat), named(events, "conv Conv2d", cat)
        assert len(nets) == len(convs) == 2
        for k in range(2):
            (op,) = [event for event in named(events, "conv2d", cat) if inside(event, convs[k])]
            assert inside(convs[k], nets[k])
            assert op["args"]["module"] == "conv"
            assert op["args"]["shape"] == [4, 2, 6, 6]
            assert op["args"]["flops"] == row(p.rows, "conv2d", cat).flops // 2
            (linear,) = [event for event in named(events, "linear", cat) if inside(event, nets[k])]
            assert not inside(linear, convs[k])
    assert len(named(events, "SGD.step", "update")) == 2
    ops = sum(row.calls for row in p.rows)
    assert len(events) == ops + 2 * 2 * 5  # and a span for each of five modules


def test_calls_of_one_module_after_another_have_spans_of_their_own(tmp_path):
    net = Net()
    with tg.profile() as p, tg.no_grad():
        net(Tensor(X))
        net(Tensor(X))
    events = saved(p, tmp_path)
    assert_nested(events)
    assert len(named(events, "Net", "forward")) == 2


def test_a_block_inside_a_forward_has_the_modules_that_run_already(tmp_path):
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, x):
            with tg.profile() as p:
                self.inner(x)
            return p

    p = Looks()(Tensor(np.ones((1, 2), np.float32)))
    assert {event["name"] for event in saved(p, tmp_path)} == {"Looks", "inner Linear", "linear"}
    assert {row.name for row in p.by_module()} == {"Looks", "inner Linear"}


def test_a_trace_of_gradients_of_gradients_is_nested(tmp_path):
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    with tg.profile() as p:
        (g,) = tg.grad(net(x).sum(), x, create_graph=True)
    events = saved(p, tmp_path)
    assert_nested(events)
    assert len(named(events, "Sequential", "forward")) == len(named(events, "Sequential", "backward")) == 1
    with p:
        (g * g).sum().backward()
    assert_nested(saved(p, tmp_path))


def test_a_backward_right_after_a_forward_has_spans_of_its_own(tmp_path):
    net = Net()
    with tg.profile() as p:
        net(Tensor(X)).backward(np.ones((4, 3), np.float32))
    events = saved(p, tmp_path)
    assert_nested(events)
    assert len(named(events, "head.1 Linear", "forward")) == len(named(events, "head.1 Linear", "backward")) == 1


def test_a_module_without_ops_has_no_span(tmp_path):
    net = nn.Sequential(nn.Identity(), nn.ReLU())
    with tg.profile() as p:
        net(Tensor(X))
    assert {event["name"] for event in saved(p, tmp_path)} == {"Sequential", "1 ReLU", "relu"}


def test_an_empty_trace_is_one(tmp_path):
    assert saved(tg.profile(), tmp_path) == []


# --- blocks ---


def test_nothing_is_seen_before_and_after_a_block():
    x = Tensor(np.ones(2), requires_grad=True)
    y = x * 2.0
    with tg.profile() as p:
        z = y + 1.0
    tg.exp(z).sum().backward()
    assert calls(p) == {("add", "forward"): 1}
    assert watchers == []


def test_a_backward_in_the_block_is_seen_whatever_block_its_graph_is_from():
    x = Tensor(np.ones(2), requires_grad=True)
    y = (x * 2.0).sum()
    with tg.profile() as p:
        y.backward()
    assert calls(p) == {("sum", "backward"): 1, ("mul", "backward"): 1}


def test_the_innermost_block_sees_and_the_outer_one_goes_on():
    x = Tensor(np.ones(2))
    with tg.profile() as outer:
        x * 2.0
        with tg.profile() as inner:
            x + 2.0
        x - 2.0
    assert set(calls(outer)) == {("mul", "forward"), ("sub", "forward")}
    assert set(calls(inner)) == {("add", "forward")}


def test_a_block_that_is_entered_again_adds_up():
    x, p = Tensor(np.ones(2)), tg.profile()
    for _ in range(2):
        with p:
            x * 2.0
    with p, p:
        x * 2.0
    assert calls(p) == {("mul", "forward"): 3}
    assert watchers == []


@pytest.mark.parametrize("outer", [tg.watch, tg.profile])
def test_watching_and_profiling_go_together(outer):
    blocks = [tg.watch(), tg.profile()]
    if outer is tg.profile:
        blocks.reverse()
    with blocks[0], blocks[1]:
        loss = step()
    p = next(block for block in blocks if isinstance(block, tg.profile))
    assert row(p.rows, "conv2d", "backward").calls == 1
    record = loss.node.watch.record
    assert record.value is not None
    assert record.gradient is not None


def test_an_exception_in_an_op_ends_the_block_and_the_op_is_not_counted():
    x = Tensor(np.ones(2)) * 2.0
    p = tg.profile()
    with pytest.raises(tg.ShapeError, match="do not broadcast"), p:
        x * 2.0 + Tensor(np.ones(3))
    assert calls(p) == {("mul", "forward"): 1}
    assert watchers == []


def test_an_exception_in_a_rule_passes_and_the_block_goes_on():
    x = Tensor(np.ones(2), requires_grad=True)
    bad = _failing()
    with tg.profile() as p:
        with pytest.raises(ZeroDivisionError):
            bad(x).sum().backward()
        (x * 2.0).sum().backward()
    assert calls(p)["mul", "backward"] == 1
    assert ("failing_op_of_a_test", "backward") not in calls(p)
    assert all(row.seconds > 0 for row in p.rows)


def test_an_exception_that_a_rule_catches_leaves_the_rule_its_time():
    x = Tensor(np.ones(2), requires_grad=True)
    with tg.profile() as p:
        _catching()(x).sum().backward()
    assert calls(p)["catching_op_of_a_test", "backward"] == 1
    assert ("failing_op_of_a_test", "backward") not in calls(p)


def _catching(made=[]):  # noqa: B006
    if not made:

        @tg.op
        def catching_op_of_a_test(x, /):
            """x"""
            return x.copy()

        def rule(g):
            with contextlib.suppress(ZeroDivisionError):
                _failing()(Tensor(g, requires_grad=True)).sum().backward()
            return g

        catching_op_of_a_test.vjp(x=rule)
        made.append(catching_op_of_a_test)
    return made[0]


def _failing(made=[]):  # noqa: B006
    if not made:

        @tg.op
        def failing_op_of_a_test(x, /):
            """x"""
            return x.copy()

        failing_op_of_a_test.vjp(x=lambda g: g / (1 // 0))
        made.append(failing_op_of_a_test)
    return made[0]


def test_another_thread_is_not_seen():
    x = Tensor(np.ones(2), requires_grad=True)
    with tg.profile() as p:
        thread = threading.Thread(target=lambda: (x * 2.0).sum().backward())
        thread.start()
        thread.join()
    assert p.rows == []


def test_one_profile_serves_two_threads_at_once(tmp_path):
    p, both = tg.profile(), threading.Barrier(2)

    def run():
        with p:
            both.wait(timeout=60)
            step()
            both.wait(timeout=60)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls(p)["conv2d", "backward"] == 2
    events = saved(p, tmp_path)
    assert len({event["tid"] for event in events}) == 2
    assert len(events) == sum(row.calls for row in p.rows) + 2 * 2 * 5
    assert_nested(events)
    assert watchers == []


def test_a_task_that_profiles_does_not_see_its_neighbour():
    x = Tensor(np.ones(2))

    async def profiling():
        with tg.profile() as p:
            await asyncio.sleep(0)
            x * 2.0
            await asyncio.sleep(0)
        return p

    async def plain():
        await asyncio.sleep(0)
        x + 3.0

    async def main():
        return (await asyncio.gather(profiling(), plain()))[0]

    assert calls(asyncio.run(main())) == {("mul", "forward"): 1}


def test_profiling_changes_no_bit():
    net = Net()
    weights = net.state_dict()
    found = []
    for profiled in (False, True):
        other = Net()
        other.load_state_dict(weights)
        optimizer = optim.SGD(other.parameters(), lr=0.1)
        if profiled:
            with tg.profile():
                losses = [step(other, optimizer).item() for _ in range(3)]
        else:
            losses = [step(other, optimizer).item() for _ in range(3)]
        found.append((losses, [p.numpy().tobytes() for p in other.parameters()]))
    assert found[0] == found[1]


def test_a_profile_keeps_no_array_graph_or_module_alive():
    net = Net()
    x = Tensor(X, requires_grad=True)
    with tg.profile() as p:
        y = net(x)
        loss = F.cross_entropy(y, LABELS)
        loss.backward()
        with pytest.raises(ZeroDivisionError):
            _failing()(y.detach().requires_grad_()).sum().backward()
    gone = [weakref.ref(thing) for thing in (net, x, y, loss, y.array, loss.node, net.conv.weight)]
    del net, x, y, loss
    gc.collect()
    assert [ref() for ref in gone] == [None] * len(gone)
    assert p.rows
